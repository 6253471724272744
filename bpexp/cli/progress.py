"""The progress bar of a run, by epochs, or of a sweep, by runs."""

import threading
import time
from collections.abc import Sequence
from typing import Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bpexp.runs.objective import Objective
from bpexp.runs.result import Outcome
from bpexp.sweeps.job import Job
from bpexp.sweeps.ranking import scores_of
from bpexp.sweeps.row import Row
from bpexp.typing import Array

SECONDS_BETWEEN_UPDATES = 0.1
"""Short epochs are reported more often than a bar can be drawn."""


class ProgressBar:
    """A bar with the time left; it appears only in a terminal. Use it as a context manager.

    A single run is shown by its epochs and its loss, a sweep by its runs and the best value of the
    objective so far. Runs that have not ended count by the share of their epochs that is done.
    """

    def __init__(self, out: Console, total: int, objective: Objective | None) -> None:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._is_single, self._objective = total == 1, objective
        self._bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
        self._task = self._bar.add_task("", total=total, text="")
        self._lock = threading.Lock()
        self._n_finished, self._lowest = 0, np.inf
        self._epochs: dict[int, int] = {}
        """Epochs done by the runs that have not ended, by the index of their job."""
        self._shares: dict[int, float] = {}
        self._last_update = -np.inf

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove the bar."""
        # Old versions of rich print an empty line for a disabled bar.
        if not self._bar.disable:
            self._bar.stop()

    def on_result(self, row: Row) -> None:
        """Count a finished run."""
        if self._bar.disable:
            return
        with self._lock:
            self._n_finished += 1
            self._epochs.pop(row.job.index, None)
            self._shares.pop(row.job.index, None)
            if self._is_single:
                self._bar.update(self._task, total=1, completed=1, text="")
            else:
                text = self._best_so_far(row)
                self._bar.update(self._task, completed=self._completed(), text=text)

    def on_epochs(self, jobs: Sequence[Job], losses: Array) -> None:
        """Count further epochs of jobs, with their losses, (n_epochs, L)."""
        if self._bar.disable:
            return
        with self._lock:
            for job in jobs:
                done = self._epochs.get(job.index, 0) + len(losses)
                self._epochs[job.index] = done
                self._shares[job.index] = min(1.0, done / job.config.epochs)
            now = time.monotonic()
            if now - self._last_update < SECONDS_BETWEEN_UPDATES:
                return
            self._last_update = now
            if self._is_single:
                (job,) = jobs
                text = f"epochs, loss {losses[-1, 0]:.4g}"
                self._bar.update(
                    self._task, total=job.config.epochs, completed=self._epochs[job.index],
                    text=text,
                )  # fmt: skip
            else:
                self._bar.update(self._task, completed=self._completed())

    def _best_so_far(self, row: Row) -> str:
        """The best value after another run; "" if there is none, or without an objective."""
        if self._objective is None:
            return ""
        if row.outcome != Outcome.PRUNED:
            self._lowest = min(self._lowest, float(scores_of([row], self._objective)[0]))
        if not np.isfinite(self._lowest):
            return ""
        best = self._objective.as_measured(self._lowest)
        return f"best {self._objective.label} {best:.4g}"

    def _completed(self) -> float:
        return self._n_finished + sum(self._shares.values())
