"""What the runs of a pack share, and what each lane has of its own."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bpexp.nn.network import Network
from bpexp.typing import Array

Integers = NDArray[np.int64]

NO_PATIENCE = 2**62
"""Epochs that a lane without the rule is given."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Shared by all lanes. X: (n_samples, n_features); Y: (n_samples, n_outputs).

    ``rule`` names the update rule; ``divisor``, (n_parameters,), divides the learning rate
    of each parameter; ``decays`` says that lanes have a weight decay; an epoch takes the
    samples ``batch_size`` at a time; ``numerics`` names the arithmetic.
    """

    network: Network
    X: Array
    Y: Array
    rule: str
    divisor: Array
    decays: bool
    batch_size: int
    numerics: str


@dataclass(eq=False)
class Lanes:
    """The state of L runs; in every array the last axis is the lane.

    ``run``: each lane's place in its pack; ``parameters``: (n_parameters, L); ``slots``:
    (n_slots, n_parameters, L); ``settings`` of the rule: (n_settings, L); ``outputs`` of
    each sample's latest forward pass: (n_samples, n_outputs, L), older ones where a lane goes
    on while another has ended. The stopping rules are
    -1 (for ``patience``: a very large number) where there is none; ``best`` is the lowest
    loss so far and ``waited`` the epochs since. Engines change the arrays in place.
    """

    run: Integers
    parameters: Array
    slots: Array
    settings: Array
    lr: Array
    decay: Array
    stop_loss: Array
    stop_tolerance: Array
    patience: Integers
    best: Array
    waited: Integers
    outputs: Array

    def take(self, keep: Any) -> "Lanes":
        """The lanes that ``keep`` selects, as arrays of their own."""
        return Lanes(
            *(np.ascontiguousarray(getattr(self, f.name)[..., keep]) for f in fields(self))
        )


class Ending(IntEnum):
    """How a lane stands after an epoch."""

    RUNNING = 0
    CONVERGED = 1
    STALLED = 2
    DIVERGED = 3


class Progress(NamedTuple):
    """Epochs that were run: their ``losses``, (epochs, L), and for each lane its
    ``Ending``. ``stopped`` holds the parameters, (n_parameters, L), that lanes which ended
    are left with.
    """

    losses: Array
    endings: NDArray[np.int8]
    stopped: Array


class Engine(Protocol):
    """Runs epochs until all of ``factors`` are used up or a lane ends.

    ``factors``: each epoch's multiple of the learning rate, (epochs,). ``orders``: in which
    order each lane takes the samples, (epochs, n_samples, L), or None for index order.
    """

    def __call__(
        self, problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None
    ) -> Progress:
        """Changes ``lanes`` in place."""
        ...


class Cancelled(BaseException):
    """Raised in a worker whose results are no longer wanted."""


def interruptible(engine: Engine, is_cancelled: Callable[[], bool]) -> Engine:
    """The engine; it raises Cancelled when it is called after ``is_cancelled`` returns True."""

    def advance(*arguments):  # type: ignore[no-untyped-def]
        if is_cancelled():
            raise Cancelled
        return engine(*arguments)

    return advance
