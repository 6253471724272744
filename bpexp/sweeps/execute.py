"""Carry out a plan: train in parallel, track as results come, sum up."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bpexp.config import TrainConfig
from bpexp.data import load
from bpexp.results import Failure, TrainResult
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.pool import train_all
from bpexp.tracking import environment
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.record import run_record, schedule


@dataclass(frozen=True)
class Row:
    """One line of a sweep's results. ``curve`` is the thinned (epochs, losses)."""

    index: int
    run_id: str
    name: str
    values: dict[str, Any]
    config: TrainConfig
    outcome: str
    reason: str = ""
    final_loss: float | None = None
    epochs_run: int | None = None
    accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    curve: tuple[list[int], list[float]] = ((), ())  # type: ignore[assignment]


@dataclass(frozen=True)
class Finished:
    """A carried-out plan: rows in the plan's order, and the parent run of a sweep."""

    plan: Plan
    rows: Sequence[Row]
    interrupted: bool
    parent: str | None
    single: TrainResult | None

    @property
    def status(self) -> str:
        """MLflow's word: KILLED if interrupted, FAILED if a run failed, else FINISHED."""
        if self.interrupted:
            return "KILLED"
        return "FAILED" if any(row.outcome == "failed" for row in self.rows) else "FINISHED"


Summarise = Callable[["Finished", int, int], RunRecord]
"""(finished, started, ended) -> what the parent run of a sweep holds."""


def execute(
    plan: Plan,
    connect: Callable[[], Tracker],
    is_sweep: bool,
    summarise: Summarise,
    progress: Callable[[Row], None],
) -> Finished:
    """Train and track every run of ``plan``; ``progress`` is called after each.

    ``connect`` opens the store; it runs in a thread while the first runs train.
    On Ctrl-C what is finished is kept and the rest is tracked as KILLED.
    """
    started = _now()
    rows: dict[int, Row] = {}
    single: TrainResult | None = None
    interrupted = False
    with ThreadPoolExecutor(1) as opener:
        opening = opener.submit(connect)
        parent: str | None = None
        if is_sweep:
            tracker = opening.result()
            parent = tracker.open_run(sweep_name(plan), started, environment.tags())
        results = train_all(plan.configs, plan.session.n_jobs)
        try:
            for index, result in _interruptible(results):
                tracker = opening.result()
                rows[index] = _track(tracker, plan, index, result, parent, started)
                progress(rows[index])
                if isinstance(result, TrainResult) and not is_sweep:
                    single = result
        except KeyboardInterrupt:
            interrupted = True
            tracker = opening.result()
            stopped = Failure("interrupted before it was finished", interrupted=True)
            for index in range(len(plan.configs)):
                if index not in rows:
                    rows[index] = _track(tracker, plan, index, stopped, parent, started)
        ordered = [rows[index] for index in sorted(rows)]
        finished = Finished(plan, ordered, interrupted, parent, single)
        if parent is not None:
            tracker.close_run(parent, summarise(finished, started, _now()))
    return finished


def _interruptible(
    results: Iterator[tuple[int, TrainResult | Failure]],
) -> Iterator[tuple[int, TrainResult | Failure]]:
    """The same results; joblib's generator is closed, its workers ended, on the way out."""
    try:
        yield from results
    finally:
        if hasattr(results, "close"):
            results.close()


def sweep_name(plan: Plan) -> str:
    """lr x seed, 30 runs."""
    return (
        f"sweep {' x '.join(plan.varying) or plan.configs[0].data.name}, {len(plan.configs)} runs"
    )


def _track(
    tracker: Tracker,
    plan: Plan,
    index: int,
    result: TrainResult | Failure,
    parent: str | None,
    started: int,
) -> Row:
    config, name = plan.configs[index], plan.names[index]
    points = plan.session.tracking.points
    tags = environment.tags() | ({"bpexp.sweep": parent} if parent else {})
    record = run_record(config, result, load(config.data), name, tags, points, started, _now())
    run_id = tracker.record(record, parent)
    values = dict(plan.values[index])
    if isinstance(result, Failure):
        outcome = "interrupted" if result.interrupted else "failed"
        return Row(index, run_id, name, values, config, outcome, result.reason)
    epochs = schedule(result.epochs_run, 100)
    return Row(
        index, run_id, name, values, config, result.outcome.value,
        f"not finite at epoch {result.epochs_run}" if result.outcome == "diverged" else "",
        result.final_loss, result.epochs_run,
        result.accuracy, result.test_loss, result.test_accuracy,
        (epochs, [float(result.losses[e - 1]) for e in epochs]),
    )  # fmt: skip


def _now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
