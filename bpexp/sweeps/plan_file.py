"""The plan of a sweep as a file: stored when the sweep starts, read when it is resumed.

The file is gzipped lines of JSON. The first line holds the runtime settings, the keys that vary,
the study, the version of the arithmetic, a digest of the identities of all runs and one of the
names of the columns and classes of their data; each further
line holds the configuration of one job, as ``identity.canonical_json`` writes it. The first line
and the lines of each generation are separate members of the gzip file, which read as one text.
"""

import gzip
import hashlib
import io
import itertools
import json
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bpexp.config.schema import TrainConfig, parse_runtime, parse_train, plain
from bpexp.data import DataConfig, Dataset, load
from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.nn.arithmetic import VERSION
from bpexp.runs import file_names, identity, record_digests
from bpexp.sweeps.grid.setting_values import MAX_RUNS
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import Plan, PlannedSearch, restore_jobs
from bpexp.sweeps.rungs import Rung

NAME = file_names.PLAN
MAX_BYTES = 10**9
"""Maximum size after decompression: a thousand bytes for each of a million runs."""


class PlanEncoder:
    """Writes the plans of one sweep, each of which continues the one before.

    Only the jobs of new generations are encoded, so that a generation costs what it adds.
    """

    def __init__(self) -> None:
        """No generation is encoded yet."""
        self._generations: list[bytes] = []
        self._identities = hashlib.sha256()

    def to_bytes(self, plan: Plan) -> bytes:
        """Return the content of the file; the password in the store's address is masked."""
        for jobs in plan.jobs_by_generation[len(self._generations) :]:
            lines = "".join(f"\n{identity.canonical_json(job.config)}" for job in jobs)
            self._generations.append(_packed(lines))
            _add_identities(jobs, self._identities)
        return b"".join([_packed(_head(plan, self._identities.hexdigest())), *self._generations])


def to_bytes(plan: Plan) -> bytes:
    """Return the content of the file; the password in the store's address is masked."""
    return PlanEncoder().to_bytes(plan)


def _head(plan: Plan, identities: str) -> str:
    """The first line of the file."""
    runtime = plain(plan.runtime)
    runtime["tracking"]["uri"] = passwords.mask(runtime["tracking"]["uri"] or "") or None
    rows = itertools.groupby(job.study_row for job in plan.jobs)
    head = {
        "runtime": runtime,
        "varying": plan.varying,
        "arithmetic": VERSION,
        "identities": identities,
        "names": _digest_of_names(plan),
        "study": plan.study,
        "study_rows": [[name, sum(1 for _ in jobs)] for name, jobs in rows] if plan.study else [],
        "extensions": plan.extensions,
        "search": None if plan.search is None else _search_to_plain(plan.search),
        "generations": plan.generations,
        "rungs": [_rung_to_plain(rung) for rung in plan.rungs],
        "trains_pruned": plan.trains_pruned,
    }
    return json.dumps(head)


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), compresslevel=3, mtime=0)


def from_bytes(content: bytes, load_data: Callable[[DataConfig], Dataset] = load) -> Plan:
    """Read a plan.

    Args:
        content: The content of the file.
        load_data: Loads the data sets.

    Raises:
        ConfigError: The file is broken, or its data or the arithmetic have changed.
    """
    try:
        first_line, *lines = _unpacked(content).decode().split("\n")
        head = json.loads(first_line)
        if len(lines) > MAX_RUNS:
            raise ValueError(f"{len(lines)} runs")
        configs = [parse_train(json.loads(line)) for line in lines]
        plan = _plan(head, configs, load_data)
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, EOFError,
            zlib.error) as error:  # fmt: skip
        raise _broken() from error
    if head.get("identities") != _digest_of_identities(plan):
        what = "data have" if head.get("arithmetic") == VERSION else "data and arithmetic have"
        raise ConfigError(f"The {what} changed since this sweep started; start a new sweep.")
    names = _digest_of_names(plan)
    if head.get("names", names) != names:
        raise ConfigError(
            "The columns or classes of the data have other names than when this sweep started; "
            "name them as then, or start a new sweep."
        )
    return plan


class PlannedRuns(NamedTuple):
    """The size of a stored plan.

    Attributes:
        so_far: The number of jobs; of a search or a race, those that were proposed so far.
        trials: The number of trials that a search may have; None for another sweep.
        at_most: The number of jobs of a search with so many trials; ``so_far`` for another sweep.
    """

    so_far: int
    trials: int | None
    at_most: int


def planned_runs(content: bytes) -> PlannedRuns:
    """The size of a stored plan, without reading its jobs.

    Raises:
        ConfigError: The file is broken.
    """
    try:
        first_line, *lines = _unpacked(content).split(b"\n")
        head = json.loads(first_line)
        search = _search(head.get("search"))
        if search is None:
            return PlannedRuns(len(lines), None, len(lines))
        trials = int(head["runtime"]["search"]["trials"])
        return PlannedRuns(len(lines), trials, trials * search.n_replicates)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, EOFError,
            zlib.error) as error:  # fmt: skip
        raise _broken() from error


def _broken() -> ConfigError:
    return ConfigError("The sweep's plan is a broken file; start a new sweep.")


def _plan(
    head: dict[str, Any],
    configs: Sequence[TrainConfig],
    load_data: Callable[[DataConfig], Dataset],
) -> Plan:
    """Make the plan, and load its data; a broken first line raises errors of various types."""
    if not isinstance(head["runtime"], dict) or not isinstance(head["study"], dict | None):
        raise TypeError("a mapping is expected")
    rows = [str(name) for name, count in head["study_rows"] for _ in range(int(count))]
    if rows and len(rows) != len(configs):
        raise ValueError(f"{len(rows)} names of rows for {len(configs)} runs")
    varying, runtime = tuple(map(str, head["varying"])), parse_runtime(head["runtime"])
    return Plan(
        tuple(restore_jobs(configs, rows, varying, load_data)),
        runtime,
        varying,
        study=head["study"],
        search=_search(head.get("search")),
        extensions=tuple(map(str, head.get("extensions", ()))),
        generations=_generations(head.get("generations", [0]), len(configs)),
        rungs=tuple(_rung(values, len(configs)) for values in head.get("rungs", ())),
        trains_pruned=bool(head.get("trains_pruned", False)),
    )


def _generations(values: Sequence[Any], n_jobs: int) -> tuple[int, ...]:
    found = tuple(map(int, values))
    if found[:1] != (0,) or any(a >= b for a, b in itertools.pairwise((*found, n_jobs))):
        raise ValueError(f"generations that start at {found} of {n_jobs} runs")
    return found


def _rung_to_plain(rung: Rung) -> dict[str, Any]:
    scores = [[i, score if math.isfinite(score) else None] for i, score in rung.scores.items()]
    return {
        "epoch": rung.epoch,
        "scores": scores,
        "kept": sorted(rung.kept),
        "pruned": sorted(rung.pruned),
    }


def _rung(values: dict[str, Any], n_jobs: int) -> Rung:
    scores = {
        int(index): math.inf if score is None else float(score) for index, score in values["scores"]
    }
    kept, pruned = (frozenset(map(int, values[name])) for name in ("kept", "pruned"))
    known = scores.keys() <= set(range(n_jobs)) and kept | pruned <= scores.keys()
    if not known or kept & pruned or int(values["epoch"]) < 1:
        raise ValueError("a rung of other runs")
    return Rung(int(values["epoch"]), scores, kept, pruned)


def _search_to_plain(search: PlannedSearch) -> dict[str, Any]:
    return {
        "arguments": [passwords.mask_text(text) for text in search.arguments],
        "searched": dict(search.searched),
        "n_replicates": search.n_replicates,
    }


def _search(values: dict[str, Any] | None) -> PlannedSearch | None:
    if values is None:
        return None
    searched = {str(key): str(text) for key, text in values["searched"].items()}
    return PlannedSearch(
        tuple(map(str, values["arguments"])), searched, int(values["n_replicates"])
    )


def _unpacked(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise ValueError("more than a gigabyte")
    return unpacked


def _digest_of_names(plan: Plan) -> str:
    """A digest of the names of the columns and classes of each data set, which identities lack."""
    datasets = {id(job.dataset): job.dataset for job in plan.jobs}.values()
    names = " ".join(record_digests.of_names(dataset) for dataset in datasets)
    return hashlib.sha256(names.encode()).hexdigest()


def _digest_of_identities(plan: Plan) -> str:
    sha = hashlib.sha256()
    _add_identities(plan.jobs, sha)
    return sha.hexdigest()


def _add_identities(jobs: Sequence[Job], sha: "hashlib._Hash") -> None:
    for job in jobs:
        sha.update(identity.of_run(job.config, job.dataset).encode())
