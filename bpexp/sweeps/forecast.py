"""What a sweep would take, without running it: the sentences of ``dry_run=true``.

>>> round(detectable_difference(16), 2)
0.99
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple, Self

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import abbreviated, counted
from bpexp.runs.result import Failure
from bpexp.sweeps import confirmation, rungs
from bpexp.sweeps.budget import Budget
from bpexp.sweeps.executors import Executor, make_batches
from bpexp.sweeps.executors.base import Batch, train_jobs
from bpexp.sweeps.job import Job, JobResult, by_combination
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.run_record import RunRecorder
from bpexp.training.batching import load_engine

TIMED_SECONDS = 0.2
"""How long the last timed training of a batch takes, unless it has fewer epochs."""
FASTEST, SLOWEST = 0.6, 2.5
"""The limits of the expected time, as multiples of what the timed epochs give. What other programs
on the machine do is not known; ``python -m benchmarks.forecast`` compares the time with that of
sweeps."""
MAX_TIMED = 5
"""Maximum number of batches that are timed."""
ROW_BYTES = 300
"""Bytes that a database needs for a parameter, a tag, a point of a metric or a row of results, with
their indices; measured with SQLite."""
SIGNIFICANCE, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Timed:
    """A batch that was trained for a few epochs.

    Attributes:
        batch: The batch.
        start: The seconds that a training takes whatever the number of its epochs.
        seconds: The seconds that each epoch takes.
        bytes: The bytes that are stored of a run.
    """

    batch: Batch
    start: float
    seconds: float
    bytes: float


@dataclass(frozen=True)
class Work:
    """What a command would train.

    Attributes:
        jobs: The jobs of the plan, without those that the budget leaves out.
        n_missing: How many runs the sweep lacks at most, with those of further generations.
        n_runs: How many of these the budget allows.
        n_confirming: The number of runs that confirm the best combinations after a complete sweep.
    """

    jobs: Sequence[Job]
    n_missing: int
    n_runs: int
    n_confirming: int

    @classmethod
    def of(cls, plan: Plan, missing: Sequence[Job], n_workers: int, *, confirms: bool) -> Self:
        """What is trained of a plan.

        Args:
            plan: The plan; of a search or a race, the generations so far.
            missing: Its jobs that have no finished run.
            n_workers: How many batches are trained at the same time.
            confirms: Whether the best combinations are confirmed afterwards.
        """
        n_missing = plan.max_jobs - (len(plan.jobs) - len(missing))
        limits = replace(plan.runtime.budget, seconds=None)
        # Further generations have other jobs, of the same kind.
        kind, n_further = missing or plan.jobs, n_missing - len(missing)
        within = Budget(limits).next_round([*missing, *[kind[-1]] * n_further], n_workers)
        jobs = missing[: len(within)]
        # A race may end before it has all seeds.
        is_complete = len(jobs) == len(missing) and (plan.is_race or len(within) == n_missing)
        n_confirming = confirmation.n_runs(plan) if confirms and is_complete else 0
        return cls(jobs, n_missing, len(within), n_confirming)

    def sentences(self, seconds: float, in_time: int) -> list[str]:
        """What the budget leaves out, and what confirms the best combinations.

        Args:
            seconds: The budget of seconds; inf for none.
            in_time: The largest number of runs that can be expected in this time.
        """
        found = []
        if self.n_runs < self.n_missing:
            found.append(f"The budget allows {self.n_runs} of {counted(self.n_missing, 'run')}.")
        if in_time < self.n_runs:
            found.append(f"In {_duration(seconds)} at most {in_time} of {self.n_runs} runs end.")
        if self.n_confirming:
            found.append(
                f"At most {counted(self.n_confirming, 'further run')} on fresh seeds "
                f"{'confirms' if self.n_confirming == 1 else 'confirm'} the best combinations that "
                "do not diverge."
            )
        return found


def sentences(
    plan: Plan, executor: Executor, stored: Collection[int], *, are_kept: bool, confirms: bool
) -> list[str]:
    """Describe what running a plan would take; nothing is written.

    Args:
        plan: The plan; of a search or a race, the generations so far.
        executor: What would train it.
        stored: The indices of the jobs that have a finished run in the store.
        are_kept: Whether these runs are kept, and not trained again.
        confirms: Whether the best combinations are confirmed afterwards.
    """
    missing = [job for job in plan.jobs if not (are_kept and job.index in stored)]
    work = Work.of(plan, missing, executor.n_workers, confirms=confirms)
    of_part = f" of the {_part(plan)}" if _part(plan) else ""
    lines = [
        *_settings(plan),
        f"In the store already: {len(stored)} of {len(plan.jobs)} runs{of_part}"
        f"{'' if are_kept else '; reuse=true would link them'}.",
    ]
    if not work.n_missing:
        lines.append("No run is missing.")
    if work.n_runs or work.n_confirming:
        left_out = {job.index for job in missing[len(work.jobs) :]}
        known = [job for job in plan.jobs if job.index not in left_out]
        lines += _training(plan, executor, work, known)
    return [*lines, "Dry run: nothing was written."]


def _training(plan: Plan, executor: Executor, work: Work, known: Sequence[Job]) -> list[str]:
    """What training takes, and what it shows.

    Args:
        plan: The plan.
        executor: What would train it.
        work: What would be trained.
        known: The jobs of the plan that have a run afterwards.
    """
    jobs = work.jobs or plan.jobs
    batches = make_batches(jobs, plan.runtime.engine, executor.n_workers)
    costs = _Costs.of(batches, plan, executor)
    halving = _halving(plan)
    epochs = halving.share * sum(job.config.epochs for job in jobs) / len(jobs)
    expected = _Expected.of(plan, work, costs, epochs)
    if expected.is_ended_by_budget:
        # Only complete sweeps are confirmed.
        work = replace(work, n_confirming=0)
    more = costs.seconds(work.n_confirming, epochs)
    time_range = _range(expected.shortest + FASTEST * more, expected.longest + SLOWEST * more)
    size = _bytes(costs.bytes * (expected.n_runs + work.n_confirming))
    at_most = "at most " if plan.is_race or expected.n_runs < work.n_runs else ""
    kind = "batch" if len(batches) == 1 else "batches"
    of_each = counted(max(len(batch.jobs) for batch in batches), "run")
    return [
        *work.sentences(expected.limit, expected.n_runs),
        *halving.sentences,
        f"{len(batches)} {kind} of at most {of_each} on {executor.description}.",
        f"Training takes about {time_range}{_if_stopped(plan)}, and the files {at_most}{size}.",
        _race(plan, len(known) - len(work.jobs) + work.n_runs) if plan.is_race else _power(known),
    ]


class _Costs(NamedTuple):
    """What a run takes of a worker, on average over the runs of the batches that were timed.

    Attributes:
        start: Seconds, whatever the number of its epochs.
        epoch: Seconds for each epoch.
        bytes: Bytes that are stored of it.
        n_workers: Number of workers that train at the same time.
    """

    start: float
    epoch: float
    bytes: float
    n_workers: int

    @classmethod
    def of(cls, batches: Sequence[Batch], plan: Plan, executor: Executor) -> Self:
        """Time some of the batches, evenly spaced, each with as many threads as it would have."""
        n_threads = executor.threads_per_batch(len(batches))
        some = batches[:: math.ceil(len(batches) / MAX_TIMED)]
        timed = [time_batch(batch, plan, n_threads) for batch in some]
        n_runs = sum(len(one.batch.jobs) for one in timed)
        return cls(
            start=sum(one.start for one in timed) / n_runs,
            epoch=sum(one.seconds for one in timed) / n_runs,
            bytes=sum(one.bytes for one in timed) / len(timed),
            n_workers=min(executor.n_workers, len(batches)),
        )

    def seconds(self, n_runs: int, epochs: float, limit: float | None = None) -> float:
        """The seconds for some runs: (start · n + epoch · min(epochs · n, limit)) / n_workers.

        Args:
            n_runs: Number of runs, n.
            epochs: How many epochs each of them is trained on average.
            limit: The number of epochs that all of them have together at most (``budget.epochs``).
        """
        trained = min(epochs * n_runs, limit or math.inf)
        return (self.start * n_runs + self.epoch * trained) / self.n_workers


class _Expected(NamedTuple):
    """What training is expected to take.

    Attributes:
        shortest: The seconds if everything is as fast as can be.
        longest: The seconds if everything is as slow as can be.
        limit: The seconds after which the budget ends the training; inf for none.
        n_runs: The largest number of runs that can end before.
        is_ended_by_budget: Whether the budget ends the training before all runs have ended.
    """

    shortest: float
    longest: float
    limit: float
    n_runs: int
    is_ended_by_budget: bool

    @classmethod
    def of(cls, plan: Plan, work: Work, costs: _Costs, epochs: float) -> Self:
        """What training takes.

        Args:
            plan: The plan.
            work: What is trained.
            costs: What a run takes.
            epochs: How many epochs a run is trained on average.
        """
        limits = plan.runtime.budget
        fewest = len(work.jobs) if plan.is_race else work.n_runs
        fast, slow = (
            speed * costs.seconds(n, epochs, limits.epochs)
            for speed, n in ((FASTEST, fewest), (SLOWEST, work.n_runs))
        )
        limit = limits.seconds or math.inf
        all_fast = FASTEST * costs.seconds(work.n_runs, epochs, limits.epochs)
        in_time = min(1.0, limit / all_fast) if all_fast else 1.0
        return cls(
            shortest=min(fast, limit),
            longest=min(slow, limit),
            limit=limit,
            n_runs=int(in_time * work.n_runs),
            is_ended_by_budget=fast > limit,
        )


class _Halving(NamedTuple):
    """What successive halving trains: its share of all epochs, and sentences on its rungs."""

    share: float
    sentences: Sequence[str]


def _halving(plan: Plan) -> _Halving:
    settings = plan.runtime.search
    if settings.halving is None or plan.trains_pruned:
        return _Halving(1.0, ())
    jobs = plan.jobs_by_generation[0]
    n_combinations = len(by_combination(jobs))
    longest = max(job.config.epochs for job in jobs)
    n_runs = len(jobs) / n_combinations
    steps = rungs.schedule(n_combinations, settings, longest)
    # All combinations of a generation are trained to its last epoch without halving.
    trained = rungs.epochs_of(n_combinations, settings, longest)
    share = trained / (n_combinations * longest)
    to_each = ", ".join(f"{count} to {epoch}" for epoch, count in steps)
    generation = "" if plan.search is None else " of each generation"
    return _Halving(
        share,
        [
            f"Of {n_combinations} combinations{generation}, by epochs: {to_each}; "
            f"{trained * n_runs:.0f} epochs instead of {n_combinations * longest * n_runs:.0f} "
            f"({100.0 * share:.2g}%)."
        ],
    )


def detectable_difference(n: int) -> float:
    """The difference of two means, in standard deviations, that n runs each find.

    Two-sided, with a significance of 5% and a power of 80%, by the normal approximation
    d = (z(1 - alpha / 2) + z(power)) sqrt(2 / n); J. Cohen, Statistical Power Analysis for the
    Behavioral Sciences, 1988, chapter 2.
    """
    normal = NormalDist()
    z = normal.inv_cdf(1.0 - SIGNIFICANCE / 2.0) + normal.inv_cdf(POWER)
    return float(z * (2.0 / n) ** 0.5)


def _part(plan: Plan) -> str:
    """Which part of a search the jobs of its plan are; "" if all jobs are known."""
    if plan.search is None:
        return ""
    return "first generation" if len(plan.generations) == 1 else "generations so far"


def _settings(plan: Plan) -> list[str]:
    first = f"{_part(plan)}, " if _part(plan) else ""
    return [f"{first}{key}: {abbreviated(plan.values_of(key))}" for key in plan.varying]


def time_batch(batch: Batch, plan: Plan, n_threads: int = 1) -> Timed:
    """Train a batch for more and more epochs, until one training takes a noticeable time.

    A process that has to wait for others once, while it trains a few epochs, would seem to be many
    times slower. So the time is that of the processors where it is less, as with one thread.
    """
    limit = max(job.config.epochs for job in batch.jobs)
    # The first training compiles.
    _ = _train(batch, 1, n_threads)
    clock = _Clock()
    trained = _train(batch, 1, n_threads)
    start = seconds = clock.seconds()
    epochs = 1
    while epochs < limit and seconds - start < TIMED_SECONDS:
        epochs = min(4 * epochs, limit)
        clock = _Clock()
        trained = _train(batch, epochs, n_threads)
        seconds = clock.seconds()
    run = max(len(one.result.losses) for one in trained if not isinstance(one.result, Failure))
    # The difference, because the start may take longer than many epochs.
    per_epoch = max(0.0, seconds - start) / max(1, run - 1)
    return Timed(batch, start, per_epoch, _stored_bytes(trained[0], batch, plan))


class _Clock:
    """Measures time from its creation on: that of the clock or of the processors, which is less."""

    def __init__(self) -> None:
        self._wall, self._processors = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """The seconds since the creation."""
        return min(time.perf_counter() - self._wall, time.process_time() - self._processors)


def _train(batch: Batch, epochs: int, n_threads: int) -> list[JobResult]:
    """The results of a batch with at most ``epochs`` epochs. Raises ConfigError if all fail."""
    jobs = [
        replace(job, config=replace(job.config, epochs=min(job.config.epochs, epochs)))
        for job in batch.jobs
    ]
    short = batch._replace(jobs=tuple(jobs))
    engine = load_engine(batch.engine)
    engine.max_threads = n_threads
    results = [one for part in train_jobs(short, engine) for one in part]
    finished = [one for one in results if not isinstance(one.result, Failure)]
    if not finished:
        raise ConfigError(f"Training fails: {results[0].job.name}.")
    return finished


def _stored_bytes(trained: JobResult, batch: Batch, plan: Plan) -> float:
    """The bytes of the files and rows of a run with all of its epochs."""
    if not plan.runtime.tracking.runs:
        return float(2 * ROW_BYTES)
    record = RunRecorder(plan.runtime, {}, {}, 0).record(trained, 0)
    files = sum(map(len, record.artifacts.values()))
    rows = len(record.params) + len(record.tags) + plan.runtime.tracking.points
    losses = 8 * (batch.jobs[0].config.epochs - trained.job.config.epochs)
    return float(files + losses + ROW_BYTES * rows)


def _power(jobs: Sequence[Job]) -> str:
    counts = [len(some) for some in by_combination(jobs)]
    n = min(counts)
    if len(counts) < 2:
        return f"One combination with {counted(n, 'run')}."
    if n < 2:
        return "One run of each combination shows no difference; repeat them: 'seed=range(0,10)'."
    return (
        f"{n} runs of each combination find a difference of {detectable_difference(n):.2f} "
        f"standard deviations between two combinations with probability {POWER:g} (significance "
        f"{SIGNIFICANCE:g}, not corrected for several comparisons)."
    )


def _race(plan: Plan, most: int) -> str:
    seeds = plan.runtime.seeds
    fewest = 1 + max(job.config.seed for job in plan.jobs)
    block = counted(min(seeds.block, seeds.max), "seed")
    return (
        f"{len(plan.jobs)} to {counted(most, 'run')}: {fewest} to {counted(seeds.max, 'seed')} of "
        f"each combination, by the results; combinations that are worse beyond doubt stop after "
        f"each {block}."
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds)} s"


def _range(low: float, high: float) -> str:
    """Two durations, with the unit once if it is the same: ``3 to 9 s``."""
    first, last = _duration(low), _duration(high)
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(f' {unit}') else first} to {last}"


def _if_stopped(plan: Plan) -> str:
    """A remark if runs may end before their last epoch."""
    may_stop = any(job.config.stop.may_stop_early for job in plan.jobs)
    return ", less where runs stop early" if may_stop else ""


def _bytes(size: float) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if size >= length:
            return f"{_two_digits(size / length)} {unit}"
    return f"{_two_digits(size / 1e3)} kB"


def _two_digits(number: float) -> str:
    """A number with two significant digits, and without an exponent unless it is very small.

    >>> _two_digits(219.6), _two_digits(0.0078), _two_digits(3.04)
    ('220', '0.0078', '3')
    """
    return f"{float(f'{number:.2g}'):g}"
