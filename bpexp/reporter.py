"""Receives the progress and the results of a run or sweep while it is carried out.

``bpexp.app`` talks to a ``Reporter`` and never to a terminal. The command line passes
``bpexp.cli.terminal.TerminalReporter``; Python callers get ``SilentReporter``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bpexp.runs.objective import Objective
    from bpexp.sweeps.job import Job
    from bpexp.sweeps.plan import Plan
    from bpexp.sweeps.row import Row
    from bpexp.sweeps.runner import FinishedSweep
    from bpexp.tracking.store import Store
    from bpexp.typing import Array


class Reporter(Protocol):
    """The events of one run or sweep, in the order in which they are reported."""

    def announce(self, plan: "Plan", store: "Store", where: str) -> None:
        """Report the plan before training starts.

        Args:
            plan: The checked runs.
            store: Where they will be tracked.
            where: A description of the workers, such as ``"2 workers"``.
        """

    def progress(
        self, total: int, objective: "Objective | None"
    ) -> "AbstractContextManager[Callable[[Row], None]]":
        """Report progress while ``total`` runs are trained, which ``objective`` ranks.

        Args:
            total: Number of runs.
            objective: What ranks them; None if they are not ranked together.

        Returns:
            A context manager that gives a function to call with the row of each finished run.
        """

    def on_epochs(self, jobs: "Sequence[Job]", losses: "Array") -> None:
        """Report further epochs of jobs, with their losses, (n_epochs, L); called by any thread."""

    def finished(self, result: "FinishedSweep", store: "Store") -> None:
        """Report the results."""

    def say(self, sentence: str) -> None:
        """Report any other message, as one sentence."""


class SilentReporter:
    """A ``Reporter`` that prints nothing."""

    def announce(self, plan: "Plan", store: "Store", where: str) -> None:
        """Print nothing."""

    @contextmanager
    def progress(
        self, total: int, objective: "Objective | None"
    ) -> "Iterator[Callable[[Row], None]]":
        """Print nothing."""
        yield lambda row: None

    def on_epochs(self, jobs: "Sequence[Job]", losses: "Array") -> None:
        """Print nothing."""

    def finished(self, result: "FinishedSweep", store: "Store") -> None:
        """Print nothing."""

    def say(self, sentence: str) -> None:
        """Print nothing."""
