"""Train stored runs again and say where their bits differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.fields.checks import ConfigError
from bpexp.runs import environment, fingerprint, identity
from bpexp.runs.result import Failure, TrainResult
from bpexp.runs.run_tags import RESULT
from bpexp.sweeps.executors.local import train_all, workers
from bpexp.tracking.archive import Archive, StoredRun
from bpexp.tracking.stored_results import Kept, config_of, result_of
from bpexp.training import batching
from bpexp.typing import Array


class Finding(StrEnum):
    """What came of making a run again."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Verdict:
    """A stored run, what was found, and a sentence on it where it is not identical."""

    run: StoredRun
    finding: Finding
    said: str = ""
    native: bool = False


class Asked(NamedTuple):
    """A stored run, and the configuration it is to be made again from."""

    run: StoredRun
    config: TrainConfig


def verify(
    archive: Archive, runs: Sequence[StoredRun], engine: str, n_jobs: int
) -> Iterator[Verdict]:
    """A verdict on each run, as they come; runs of one identity are trained once."""
    asked: dict[str, list[Asked]] = {}
    for run in runs:
        try:
            config = config_of(run, archive)
            batching.check_engine(config, engine)
        except ConfigError as error:
            yield Verdict(run, Finding.UNREADABLE, str(error))
        else:
            asked.setdefault(identity.of_run(config), []).append(Asked(run, config))
    groups = list(asked.values())
    configs = [group[0].config for group in groups]
    packs = list(batching.make_batches(configs, engine, workers(n_jobs)))
    for results in train_all(packs, configs, n_jobs):
        for index, result in results:
            for one in groups[index]:
                yield _judged(one, result, archive)


def _judged(asked: Asked, result: TrainResult | Failure, archive: Archive) -> Verdict:
    run, native = asked.run, asked.config.numerics == "native"
    if isinstance(result, Failure):
        said = f"it could not be trained again: {result.reason}."
        return Verdict(run, Finding.DIFFERENT, said, native)
    recorded = run.tags.get(RESULT)
    if recorded == identity.of_result(result):
        return Verdict(run, Finding.IDENTICAL, native=native)
    try:
        kept = result_of(run, archive)
    except ConfigError as error:
        said = f"its digest differs, and where cannot be said: {error}"
        return Verdict(run, Finding.DIFFERENT, said, native)
    if recorded is None and kept.digest == identity.of_result(result):
        return Verdict(run, Finding.IDENTICAL, native=native)
    said = _sentence(compare(kept, result), recorded in (None, kept.digest))
    return Verdict(run, Finding.DIFFERENT, said, native)


class Difference(NamedTuple):
    """``epoch``: the first whose loss differs, counted from 1, None if none does. ``ulps``:
    the largest distance of losses, predictions and weights; None where shapes differ.
    """

    outcomes: tuple[str, str]
    epoch: int | None
    ulps: dict[str, int | None]


def compare(kept: Kept, result: TrainResult) -> Difference:
    """Where a stored result and one made again differ."""
    pairs = zip(result.weights, result.biases, strict=True)
    layers = [array for pair in pairs for array in pair]
    return Difference(
        (kept.outcome, result.outcome.value),
        first_difference(kept.losses, result.losses),
        {
            "losses": largest([kept.losses], [result.losses]),
            "predictions": largest([kept.predictions], [result.predictions]),
            "weights": largest(list(kept.layers.values()), layers),
        },
    )


def first_difference(one: Array, other: Array) -> int | None:
    """The first epoch, counted from 1, that only one has or whose losses' bits differ."""
    shared = min(len(one), len(other))
    differ = np.flatnonzero(_places(one[:shared]) != _places(other[:shared]))
    if len(differ):
        return int(differ[0]) + 1
    return None if len(one) == len(other) else shared + 1


def largest(one: Sequence[Array], other: Sequence[Array]) -> int | None:
    """The largest distance in ulp: how many float64 lie between, plus one; 0 for equal bits.

    Of losses of different lengths what both have is compared; None for other shapes.
    """
    if [a.shape[1:] for a in one] != [a.shape[1:] for a in other]:
        return None
    distances = [0]
    for a, b in zip(one, other, strict=True):
        shared = min(len(a), len(b))
        p, q = _places(a[:shared]), _places(b[:shared])
        distances.append(int((np.maximum(p, q) - np.minimum(p, q)).max(initial=0)))
    return max(distances)


def _places(values: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """The place of each float64 among all of them in order."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    sign = np.uint64(2**63)
    return np.where(bits & sign, ~bits, bits | sign)


def _sentence(found: Difference, kept_well: bool) -> str:
    parts = []
    if found.outcomes[0] != found.outcomes[1]:
        parts.append(f"{found.outcomes[0]} before, {found.outcomes[1]} now")
    if found.epoch is not None:
        parts.append(f"the first epoch that differs is {found.epoch}")
    ulps = ", ".join(
        f"{name} {'of another shape' if ulp is None else f'{ulp} ulp'}"
        for name, ulp in found.ulps.items()
    )
    parts.append(f"largest differences: {ulps}")
    if not kept_well:
        parts.append("its artifacts are not those that its digest was made of")
    return "; ".join(parts) + "."


def surroundings(run: StoredRun, archive: Archive) -> dict[str, tuple[str, str]]:
    """What differs between the environment the run was made in and this one: (then, now)."""
    then = {**(archive.find(run.parent).tags if run.parent else {}), **run.tags}
    numerics = then.get(fingerprint.TAG, "exact").split(" ")[0]
    now = {**environment.tags(), **environment.details()}
    if numerics in ("exact", "native"):
        now[fingerprint.TAG] = fingerprint.arithmetic(numerics)
    return {
        key.removeprefix("bpexp."): (then.get(key, "not recorded"), value)
        for key, value in now.items()
        if key.startswith("bpexp.") and then.get(key, "not recorded") != value
    }
