"""Describes a stored run as text: settings, metrics and environment; and compares such texts.

>>> from bpexp.analysis import run_details
>>> run_details.differences([{"lr": "0.1", "seed": "1"}, {"lr": "0.2", "seed": "1"}])
{'lr': ['0.1', '0.2']}
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import yaml

from bpexp.config.schema import flatten
from bpexp.fields.checks import ConfigError
from bpexp.guards import yaml_size
from bpexp.runs import run_tags
from bpexp.sweeps.sweep_integrity import checked_file
from bpexp.tracking import artifact_files, run_tables
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.retry import TrackingError

_NOT_COMPARED = (
    run_tags.SWEEP,
    run_tags.PROCESS,
    run_tags.CONFIG,
    run_tags.IDENTITY,
    run_tags.DIGESTS,
)
"""Tags that differ between any two runs, or repeat what the parameters say."""

FOLDED_TAGS = (run_tags.IDENTITY, run_tags.RESULT, run_tags.DIGESTS, run_tags.CONFIG)
"""Tags that mean little to a reader: digests, and the configuration as one line."""
_PACKAGE = "package "
"""How the details begin that are versions of packages."""


@dataclass(frozen=True)
class Environment:
    """What a run was made with, from the artifacts of the run or of its sweep.

    Attributes:
        packages: Version of each installed package.
        libraries: Version of each BLAS and OpenMP library.
        first_config: For a sweep, the configuration of its first run, by dotted key.
        diff: Output of ``git diff``: uncommitted changes.
        problems: A sentence for each artifact that is malformed or was altered, and left out.
    """

    packages: Mapping[str, str]
    libraries: Mapping[str, str]
    first_config: Mapping[str, str]
    diff: str
    problems: tuple[str, ...] = ()


def read_environment(archive: Archive, run: StoredRun) -> Environment:
    """The environment of a run, without the artifacts that are malformed or were altered."""
    # The files of the environment belong to the sweep, unless it was deleted.
    owner = (archive.get(run.parent) if run.parent else None) or run
    packages: Mapping[str, str] = {}
    libraries: Mapping[str, str] = {}
    config: Mapping[str, str] = {}
    diff, problems = b"", list[str]()
    with _kept(problems):
        content = checked_file(owner, archive, "environment.json")
        packages, libraries = _parse_environment(content, owner)
    if run.is_sweep:
        with _kept(problems):
            config = _parse_config(checked_file(owner, archive, "config.yaml"), owner)
    with _kept(problems):
        diff = checked_file(owner, archive, "git.diff") or b""
    # Damaged digests are the problem of each file.
    found = tuple(dict.fromkeys(problems))
    return Environment(packages, libraries, config, diff.decode(errors="replace"), found)


@contextmanager
def _kept(problems: list[str]) -> Iterator[None]:
    """Add the sentence of an error about an artifact to a list, and go on."""
    try:
        yield
    except TrackingError:
        raise
    except ConfigError as error:
        problems.append(str(error))


def details(run: StoredRun, environment: Environment) -> dict[str, str]:
    """Settings, metrics and environment of a run, without the settings of its session."""
    tags = {
        key: value
        for key, value in run.tags.items()
        if key.startswith("bpexp.") and not _is_left_out(key)
    }
    digest = hashlib.sha256(environment.diff.encode()).hexdigest()[:12]
    return {
        "name": run.name,
        **environment.first_config,
        **dict(sorted(run_tables.settings(run).items())),
        **{key: f"{value:.12g}" for key, value in sorted(run.metrics.items())},
        **tags,
        **({"git.diff": f"SHA-256 {digest}"} if environment.diff else {}),
        **{f"library {name}": text for name, text in environment.libraries.items()},
        **{f"{_PACKAGE}{name}": version for name, version in environment.packages.items()},
    }


def _is_left_out(tag: str) -> bool:
    """Whether a tag is one of ``_NOT_COMPARED``, or that of a sweep that reuses the run."""
    return tag in _NOT_COMPARED or tag.startswith(run_tags.linked_sweep(""))


def differences(runs: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The details that are not equal in all runs.

    Args:
        runs: The ``details`` of each run.

    Returns:
        The value in each run, by key; "-" where a run has none.
    """
    keys = dict.fromkeys(key for run in runs for key in run)
    rows = {key: [run.get(key, "-") for run in runs] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def is_folded(key: str) -> bool:
    """Whether a detail is shown only to those who ask for all: digests and packages."""
    return key in FOLDED_TAGS or key.startswith(_PACKAGE)


def _parse_environment(
    content: bytes | None, run: StoredRun
) -> tuple[dict[str, str], dict[str, str]]:
    """Packages and libraries from environment.json."""
    if content is None:
        return {}, {}
    try:
        document = json.loads(content)
        packages = document["packages"].items()
        libraries = [dict(one) for one in document["libraries"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"environment.json of run {run.short_id} must hold packages and libraries, got others."
        ) from error
    return {name: str(number) for name, number in packages}, dict(map(_library, libraries))


def _library(info: Mapping[str, Any]) -> tuple[str, str]:
    """The name of a library with the folder it was loaded from, and its version and threads.

    The folder is part of the name because several packages bring a BLAS.
    """
    folder = PurePath(str(info.get("filepath"))).parent.name
    parts = [info.get(key) for key in ("version", "architecture", "threading_layer")]
    texts = [str(part) for part in parts if part] + [f"{info.get('num_threads')} threads"]
    return f"{info.get('internal_api')} ({folder})", ", ".join(texts)


def _parse_config(content: bytes | None, run: StoredRun) -> dict[str, str]:
    if content is None:
        return {}
    name = f"config.yaml of run {run.short_id}"
    yaml_size.check(content, name, artifact_files.MAX_VALUES)
    try:
        return {str(key): str(value) for key, value in flatten(yaml.safe_load(content)).items()}
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{name} must contain settings.") from error
