"""Carry out a plan: train in parallel, track as results come, sum up."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from bpexp.data import load
from bpexp.runs import environment
from bpexp.runs.result import Failure, TrainResult
from bpexp.runs.run_tags import marks
from bpexp.sweeps import provenance
from bpexp.sweeps.executors.dask_cluster import Cluster
from bpexp.sweeps.executors.local import Indexed, train_all, workers
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.results import Row, Tally
from bpexp.sweeps.run_writer import Keeper
from bpexp.tracking import process, spool
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.record import run_record, schedule
from bpexp.tracking.retry import TrackingError
from bpexp.training import batching
from bpexp.training.batching import RunBatch
from bpexp.typing import Array

PRINTED = 64
"""Input values of a data set, at most, whose predictions are printed."""


@dataclass(frozen=True)
class Finished:
    """A carried-out plan: rows in the plan's order, and the parent run of a sweep.

    ``predictions`` are those of the first in the ranking, ``files`` those of the parent.
    """

    plan: Plan
    rows: Sequence[Row]
    interrupted: bool
    parent: str | None
    predictions: Array | None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """MLflow's word: KILLED if interrupted, FAILED if a run failed, else FINISHED."""
        if self.interrupted:
            return "KILLED"
        return "FAILED" if any(row.outcome == "failed" for row in self.rows) else "FINISHED"


@dataclass(frozen=True)
class Beginning:
    """What there is before the first run is tracked: the tracker, the parent of a sweep, the
    command that would resume it, and the runs that need not be trained.
    """

    tracker: Tracker
    parent: str | None = None
    resume: str = ""
    tally: Tally = field(default_factory=Tally)


Summarise = Callable[["Finished", int, int], RunRecord]
"""(finished, started, ended) -> what the parent run of a sweep holds."""


def execute(
    plan: Plan,
    begin: Callable[[int], Beginning],
    may_have_rows: bool,
    summarise: Summarise,
    progress: Callable[[Row], None],
    cluster: Cluster | None = None,
) -> Finished:
    """Train and track every run of ``plan`` that has no row yet; ``progress`` is called after each.

    They are trained on ``cluster`` if there is one, else on this machine. ``begin``, given the
    time in ms, opens the store; it runs in a thread while the first runs are trained, unless it
    ``may_have_rows``. On Ctrl-C what is finished is kept and the rest is tracked as KILLED.
    """
    started = _now()
    with ThreadPoolExecutor(1) as writer:
        opening = writer.submit(begin, started)
        tally = opening.result().tally if may_have_rows else Tally()
        for row in tally.rows.values():
            progress(row)
        keeper = Keeper(lambda: opening.result().tracker, lambda: opening.result().parent, writer)
        try:
            interrupted = _train(plan, opening, keeper, tally, started, progress, cluster)
            for index, run_id in keeper.deliver():
                tally.rows[index] = replace(tally.rows[index], run_id=run_id)
            beginning = opening.result()
            rows = [tally.rows[index] for index in sorted(tally.rows)]
            finished = Finished(plan, rows, interrupted, beginning.parent, tally.predictions)
            if beginning.parent is None:
                return finished
            record = summarise(finished, started, _now(started))
            beginning.tracker.close_run(beginning.parent, record)
        except TrackingError as error:
            if opening.exception() is not None or opening.result().parent is None:
                raise
            raise _unfinished(error, plan, keeper, opening.result(), tally.rows) from error
        return replace(finished, files=record.artifacts)


def _train(
    plan: Plan,
    opening: Future[Beginning],
    keeper: Keeper,
    tally: Tally,
    started: int,
    progress: Callable[[Row], None],
    cluster: Cluster | None,
) -> bool:
    """Train and keep what has no row yet; whether it was interrupted."""
    left = [index for index in range(len(plan.configs)) if index not in tally.rows]
    if cluster is None:
        n_jobs = plan.session.n_jobs
        results = train_all(_packs(plan, left, workers(n_jobs)), plan.configs, n_jobs)
    else:
        results = cluster.train_all(_packs(plan, left, cluster.size), plan.configs)
    under_way: list[tuple[Sequence[Indexed], Callable[[], list[Row]]]] = []

    def settle() -> None:
        while under_way:
            pack, written = under_way.pop(0)
            rows = written()
            tally.add(pack, rows)
            for row in rows:
                progress(row)

    try:
        for pack in _interruptible(results):
            parent = opening.result().parent
            with _interrupts_held():
                # A pack is made ready while the one before it is written.
                written = _track(keeper, plan, pack, parent, started)
                settle()
                under_way.append((pack, written))
        with _interrupts_held():
            settle()
    except KeyboardInterrupt:
        settle()
        if keeper.waiting:
            # The store is away: it is not waited for again, nor for runs without a result.
            raise TrackingError("Interrupted.") from None
        stopped = Failure("interrupted before it was finished", interrupted=True)
        cut = [(index, stopped) for index in left if index not in tally.rows]
        tally.add(cut, _track(keeper, plan, cut, opening.result().parent, started)())
        return True
    return False


def _unfinished(
    error: TrackingError, plan: Plan, keeper: Keeper, beginning: Beginning, rows: Mapping[int, Row]
) -> TrackingError:
    """What a sweep ends with whose store does not take all of it: one sentence."""
    parts = [str(error).rstrip(".")]
    if plan.session.tracking.runs:
        tracked = sum(bool(row.run_id) for row in rows.values())
        parts.append(f"{tracked} of {len(plan.configs)} runs are tracked")
    if keeper.waiting:
        assert beginning.parent is not None
        parts.append(f"{keeper.waiting} wait in {spool.folder(beginning.parent)}")
    return TrackingError("; ".join([*parts, f"to go on: {beginning.resume}"]))


def _packs(plan: Plan, left: Sequence[int], n_workers: int) -> list[RunBatch]:
    """The runs ``left`` to train, in packs."""
    configs = [plan.configs[index] for index in left]
    made = batching.make_batches(configs, plan.session.engine, n_workers)
    return [RunBatch(tuple(left[place] for place in pack.runs), pack.engine) for pack in made]


def _interruptible(results: Iterator[list[Indexed]]) -> Iterator[list[Indexed]]:
    """The same results; the generator is closed, what it has under way ended, on the way out."""
    try:
        yield from results
    finally:
        if hasattr(results, "close"):
            results.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: what is tracked must also be known here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def sweep_name(plan: Plan) -> str:
    """lr x seed, 30 runs."""
    if plan.study is not None:
        return f"study {plan.study.name}, {len(plan.configs)} runs"
    return (
        f"sweep {' x '.join(plan.varying) or plan.configs[0].data.name}, {len(plan.configs)} runs"
    )


def _track(
    keeper: Keeper,
    plan: Plan,
    results: Sequence[Indexed],
    parent: str | None,
    started: int,
) -> Callable[[], list[Row]]:
    """Begin to keep results; their rows, once they are kept."""
    if parent is not None and not plan.session.tracking.runs:
        return lambda: [_row(plan, index, "", result) for index, result in results]
    tags = environment.tags() | {process.TAG: process.own()}
    tags |= {"bpexp.sweep": parent} if parent else provenance.tags(plan)
    ended = _now(started)
    records = [
        run_record(
            plan.configs[index], plan.session, result, load(plan.configs[index].data),
            plan.names[index], tags | marks(plan.configs[index], result), started, ended,
        )
        for index, result in results
    ]  # fmt: skip
    if parent is None:
        files = environment.artifacts()
        records = [replace(r, artifacts={**r.artifacts, **files}) for r in records]
    kept = keeper.keep([index for index, _ in results], records)
    return lambda: [
        _row(plan, index, run_id, result)
        for (index, result), run_id in zip(results, kept(), strict=True)
    ]


def _row(plan: Plan, index: int, run_id: str, result: TrainResult | Failure) -> Row:
    name, values, config = plan.names[index], plan.values[index], plan.configs[index]
    if isinstance(result, Failure):
        outcome = "interrupted" if result.interrupted else "failed"
        return Row(index, run_id, name, values, config, outcome, result.reason)
    epochs = schedule(result.epochs_run, 100)
    return Row(
        index, run_id, name, values, config, result.outcome.value,
        f"not finite at epoch {result.epochs_run}" if result.outcome == "diverged" else "",
        result.final_loss, result.epochs_run,
        result.accuracy, result.test_loss, result.test_accuracy, result.lowest_validation_loss,
        (epochs, result.losses[np.subtract(epochs, 1)]),
    )  # fmt: skip


def _now(earliest: int = 0) -> int:
    """Milliseconds since the epoch; where the clock was set back, not before ``earliest``."""
    return max(earliest, time.time_ns() // 1_000_000)
