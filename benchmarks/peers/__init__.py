"""The implementations of training that are compared.

Each module has a function ``prepare(runs)`` that returns a ``Peer``. Loading and compilation
take place in ``prepare`` or in the first training.
"""

from abc import ABC, abstractmethod

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
