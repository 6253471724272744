"""The implementations of training that are compared.

Each module has a function ``prepare(runs)`` that returns a ``Peer``. Loading and compilation
take place in ``prepare`` or in the first training.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from joblib import Parallel, delayed, parallel_config

from bpexp.typing import Array


class Peer(ABC):
    """Trains a fixed set of runs any number of times."""

    @abstractmethod
    def train(self) -> None:
        """Train all runs from their initial weights."""

    @abstractmethod
    def results(self) -> tuple[Array, ...]:
        """The results of the last training.

        Returns:
            The final losses, (n_runs,), followed by other results that are compared bit by bit;
            empty if the peer trains another model.
        """


class SeparateRuns(Peer):
    """Trains one run in this process, or several runs in the processes of joblib.

    The processes have one BLAS thread each.

    Args:
        train_run: Trains a run.
        tasks: Its arguments for each run.

    Attributes:
        trained: What ``train_run`` returned for each run in the last training.
    """

    def __init__(self, train_run: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> None:
        self.train_run, self.tasks = train_run, tasks
        self.trained: list[Any] = []

    def train(self) -> None:
        """See ``Peer``."""
        if len(self.tasks) == 1:
            self.trained = [self.train_run(*self.tasks[0])]
            return
        with parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
            self.trained = Parallel()(delayed(self.train_run)(*task) for task in self.tasks)

    def results(self) -> tuple[Array, ...]:
        """Nothing: initial weights, the order of the samples or the model are others."""
        return ()
