"""What a sweep may spend before it ends: runs, epochs and seconds (``budget.*``).

A sweep with a budget is trained in rounds, and ends between two of them. Which runs a budget of
runs or epochs leaves out depends on the order and the results of the jobs only, not on the workers.

>>> from bpexp.config.compose import compose_settings
>>> from bpexp.sweeps.plan import make_plan
>>> jobs = make_plan([compose_settings({"seed": s, "epochs": 100}) for s in range(9)]).jobs
>>> [len(Budget(limits).next_round(jobs, n_workers=2)) for limits in (
...     BudgetConfig(), BudgetConfig(runs=3), BudgetConfig(epochs=450))]
[9, 3, 4]
"""

import time
from collections.abc import Sequence

from bpexp.config.compose import compose
from bpexp.config.schema import RUNTIME, BudgetConfig, parse_runtime
from bpexp.fields.checks import ConfigError
from bpexp.runs.result import Failure
from bpexp.sweeps.job import Job, JobResult

RUNS_PER_WORKER = 8
"""Runs per worker of the first round, if there is a budget of seconds: the compiled engine trains
so many in little more than the time of one."""
SHORT_ROUND = 0.1
"""A round that takes a smaller share of the seconds that are left is followed by one twice as
large."""


class Budget:
    """What is left of the budget of one command. Used by one thread; the time starts at once."""

    def __init__(self, limits: BudgetConfig) -> None:
        self._limits = limits
        self._n_runs = self._n_epochs = 0
        self._started = self._round_started = time.monotonic()
        self._runs_per_worker = RUNS_PER_WORKER

    def next_round(self, jobs: Sequence[Job], n_workers: int) -> Sequence[Job]:
        """The jobs to train next; empty if the budget is spent.

        Args:
            jobs: The jobs that are not trained yet, in order.
            n_workers: How many batches are trained at the same time.
        """
        limits = self._limits
        if limits.runs is not None:
            jobs = jobs[: limits.runs - self._n_runs]
        if limits.seconds is not None:
            is_spent = self._seconds_left() <= 0.0
            jobs = [] if is_spent else jobs[: self._runs_per_worker * n_workers]
        if limits.epochs is not None:
            jobs = _that_fit(jobs, limits.epochs - self._n_epochs)
        return jobs

    def spend(self, trained: Sequence[JobResult]) -> None:
        """Count the results of jobs; a failed run counts all of its epochs."""
        self._n_runs += len(trained)
        self._n_epochs += sum(
            one.job.config.epochs if isinstance(one.result, Failure) else one.result.epochs_run
            for one in trained
        )

    def end_round(self) -> None:
        """Choose the size of the next round by the time that the last one took."""
        now = time.monotonic()
        if now - self._round_started < SHORT_ROUND * self._seconds_left():
            self._runs_per_worker *= 2
        self._round_started = now

    def _seconds_left(self) -> float:
        seconds = self._limits.seconds
        return float("inf") if seconds is None else self._started + seconds - time.monotonic()


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments that set a budget, and all others.

    >>> split(["seed=1,2", "budget.runs=3"])
    (['budget.runs=3'], ['seed=1,2'])
    """
    limits = [text for text in arguments if text.startswith("budget.")]
    return limits, [text for text in arguments if text not in limits]


def of_arguments(arguments: Sequence[str]) -> BudgetConfig:
    """The budget that arguments such as ``budget.runs=10`` set. Raises ConfigError."""
    for argument in arguments:
        key = argument.partition("=")[0]
        if key not in ("budget.runs", "budget.epochs", "budget.seconds"):
            raise ConfigError(
                f"resume takes budget.runs, budget.epochs and budget.seconds, got {argument!r}; "
                "bpexp extend adds runs to a sweep."
            )
    values = compose(arguments)
    return parse_runtime({key: values[key] for key in values if key in RUNTIME}).budget


def check(limits: BudgetConfig, jobs: Sequence[Job]) -> None:
    """Raise ConfigError if a budget of epochs is smaller than that of a single run."""
    longest = max(job.config.epochs for job in jobs)
    if limits.epochs is not None and limits.epochs < longest:
        raise ConfigError(
            f"budget.epochs must be at least epochs ({longest}), the most of a single run, got "
            f"{limits.epochs}."
        )


def _that_fit(jobs: Sequence[Job], n_epochs: int) -> Sequence[Job]:
    """The first jobs whose maximum numbers of epochs add up to at most ``n_epochs``."""
    for position, job in enumerate(jobs):
        n_epochs -= job.config.epochs
        if n_epochs < 0:
            return jobs[:position]
    return jobs
