"""What of a sweep is done already, here or elsewhere in the experiment."""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from bpexp.config.compose import composer
from bpexp.data import load
from bpexp.fields.checks import ConfigError
from bpexp.runs import fingerprint, identity
from bpexp.runs.result import Outcome
from bpexp.runs.run_tags import IDENTITY, RESULT
from bpexp.sweeps import plan, plan_file
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.provenance import OVERRIDES
from bpexp.sweeps.results import DRAWN, Row, ranked
from bpexp.sweeps.runner import PRINTED
from bpexp.sweeps.samplers.grid import expand
from bpexp.tracking import process, spool
from bpexp.tracking.archive import Archive, StoredRun
from bpexp.tracking.contract import Tracker
from bpexp.tracking.process import Life
from bpexp.tracking.record import schedule
from bpexp.tracking.stored_results import losses_of, predictions_of
from bpexp.typing import Array

LARGEST = float(np.finfo(np.float64).max)
"""What MLflow keeps of an infinite metric in SQL."""


def check(run: StoredRun, ended: bool) -> None:
    """Raises ConfigError where the run is no sweep or its process may be at work on it.

    ``ended`` is the user's word that a process that cannot be seen from here is gone.
    """
    if not run.is_sweep:
        raise ConfigError(f"SWEEP must be a sweep, got {run.label}, which is a single run.")
    if run.status != "RUNNING":
        return
    tag = run.tags.get(process.TAG, "")
    life = process.life(tag)
    if life is Life.ALIVE:
        raise ConfigError(
            f"SWEEP must have ended, got {run.label}, which process {tag.split(' ')[3]} is at."
        )
    if life is Life.UNKNOWN and not ended:
        raise ConfigError(
            f"SWEEP must have been started on this machine, got {run.label} of host "
            f"{tag.split(' ')[0] or 'unknown'}; --ended says that its process has ended."
        )


def plan_of(run: StoredRun, archive: Archive) -> Plan:
    """The sweep's plan as it was kept, else composed again. Raises ConfigError."""
    content = archive.file_if_any(run.run_id, plan_file.FILE)
    if content is not None:
        return plan_file.from_bytes(content)
    # It died between the two: what was typed is there as soon as the sweep is.
    lost = ConfigError(f"SWEEP must have kept its plan, got {run.label}; start it again.")
    if OVERRIDES not in run.tags:
        raise lost
    try:
        typed = shlex.split(run.tags[OVERRIDES])
    except ValueError as error:
        raise ConfigError(f"SWEEP must have kept what was typed, got {run.label}.") from error
    composed = recompose(_settings(typed))
    if composed[0].get("study") is not None:
        raise lost
    return plan.make(composed, typed)


def recompose(typed: Sequence[str]) -> list[dict[str, Any]]:
    """The configurations of all jobs of the sweep with these overrides."""
    one = composer()
    return [one.compose(job) for job in expand(one.parse(typed))]


def _settings(typed: Sequence[str]) -> list[str]:
    """What was typed without Hydra's own settings, which change no run.

    What a store holds is data: it must name no code, as ``hydra.searchpath=[pkg://...]`` would,
    and read no environment, as ``${oc.env:...}`` would.
    """
    kept = [text for text in typed if not re.match(r"[+~]*hydra\b", text)]
    for text in kept:
        if "${" in text:
            raise ConfigError(
                f"a sweep that typed {text!r} must be started again, got its stored name."
            )
    return kept


def done(
    asked: Plan, children: Sequence[StoredRun], others: Sequence[StoredRun]
) -> dict[int, StoredRun]:
    """Of each run of the plan that is finished, by its place, the stored one.

    Each of ``children`` serves once; one of ``others`` serves all that are equal.
    """
    own: dict[str, list[StoredRun]] = defaultdict(list)
    for run in _whole(children):
        own[run.tags[IDENTITY]].append(run)
    elsewhere = {run.tags[IDENTITY]: run for run in _whole(others)}
    found: dict[int, StoredRun] = {}
    for index, config in enumerate(asked.configs):
        name = identity.of_run(config)
        if own[name]:
            found[index] = own[name].pop()
        elif name in elsewhere:
            arithmetic = fingerprint.arithmetic(config.numerics)
            # Native bits made on another machine are not what this one would give.
            if elsewhere[name].tags.get(fingerprint.TAG) == arithmetic:
                found[index] = elsewhere[name]
    return found


def unspool(asked: Plan, archive: Archive, tracker: Tracker, parent: str) -> None:
    """Write what waits in the spool to the sweep, but for runs that it has already.

    Raises ConfigError for a file that is broken, TrackingError where the store takes none.
    """
    files = spool.files(parent)
    if not files:
        # A broken file may have been taken away by hand.
        spool.tidy(parent)
        return
    children = archive.search(f"tags.`mlflow.parentRunId` = '{parent}'")
    lacking = Counter(identity.of_run(config) for config in asked.configs)
    lacking.subtract(run.tags[IDENTITY] for run in _whole(children))
    for file in files:
        wanted = []
        for run in spool.read(file):
            name = run.tags.get(IDENTITY, "")
            if run.status == "FINISHED" and lacking[name] > 0:
                wanted.append(run)
                lacking[name] -= 1
        tracker.stage(wanted, parent).commit()
        spool.remove(file)


def _whole(runs: Sequence[StoredRun]) -> Iterator[StoredRun]:
    """Those that are finished and have both digests and all that a row of results needs."""
    for run in runs:
        tagged = {IDENTITY, RESULT, "bpexp.outcome"} <= run.tags.keys()
        # A diverged run may have no finite loss.
        measured = "epochs_run" in run.metrics and (
            "final_loss" in run.metrics or run.tags.get("bpexp.outcome") == Outcome.DIVERGED
        )
        if run.status == "FINISHED" and tagged and measured:
            yield run


def rows(asked: Plan, found: Mapping[int, StoredRun], archive: Archive) -> dict[int, Row]:
    """The results of runs that are stored as if they had just been trained."""
    made = {index: _row(asked, index, run) for index, run in found.items()}
    for row in ranked(made.values())[:DRAWN]:
        losses = losses_of(found[row.index], archive)
        epochs = schedule(len(losses), 100)
        made[row.index] = replace(row, curve=(epochs, losses[np.subtract(epochs, 1)]))
    return made


def predictions(
    rows: Mapping[int, Row], found: Mapping[int, StoredRun], archive: Archive
) -> Array | None:
    """What the best of the stored runs predicts, (n_samples, n_outputs), where it is printed."""
    for best in ranked(rows.values())[:1]:
        dataset = load(best.config.data)
        if dataset.X.size <= PRINTED:
            # No sweep is held up for want of what is only to be shown.
            with suppress(ConfigError):
                kept = predictions_of(found[best.index], archive, dataset.Y.shape[1])
                return kept if kept.shape == dataset.Y.shape else None
    return None


def _row(asked: Plan, index: int, run: StoredRun) -> Row:
    def figure(key: str) -> float | None:
        value = run.metrics.get(key)
        return value if value is None or abs(value) < LARGEST else float(np.copysign(np.inf, value))

    epochs, outcome = int(run.metrics["epochs_run"]), run.tags["bpexp.outcome"]
    return Row(
        index, run.run_id, asked.names[index], asked.values[index], asked.configs[index], outcome,
        f"not finite at epoch {epochs}" if outcome == Outcome.DIVERGED else "",
        figure("final_loss"), epochs,
        figure("accuracy"), figure("test_loss"), figure("test_accuracy"),
        figure("lowest_validation_loss"),
    )  # fmt: skip
