"""What the sections of the page have in common: the step, the followed sample, small phrases."""

from dataclasses import dataclass

import numpy as np

from bpexp.explain.step import Step
from bpexp.explain.symbols import indexed
from bpexp.fields.checks import ConfigError
from bpexp.nn.network import Network
from bpexp.nn.notation import Show

MAX_UNITS = 4
"""Maximum number of units, inputs and terms of a sum that are written out."""
MAX_SAMPLES = 8
"""Maximum number of samples that are listed."""


@dataclass(frozen=True, eq=False)
class View:
    """A step, the sample that is followed through the network, and how numbers are written.

    ``row``: the row of the followed sample in the step's batch.
    """

    step: Step
    row: int
    show: Show

    @property
    def network(self) -> Network:
        """The network that is trained."""
        return self.step.problem.network

    @property
    def sample(self) -> int:
        """The number of the followed sample in the data set, from 1."""
        return int(self.step.rows[self.row]) + 1

    @property
    def bias_factor(self) -> str:
        """The constant input of the biases as a factor; empty if it is 1."""
        value = self.network.bias_input
        return "" if value == 1.0 else f"{value:g} "

    def with_offset(self, slope: str) -> str:
        """The derivative plus the constant that the model adds to it, if there is one."""
        offset = self.network.offset
        return f"({slope} + {offset:g})" if offset else slope


def followed_row(step: Step, sample: int | None) -> int:
    """The row of a sample in the step's batch.

    Args:
        step: The step.
        sample: The sample's number in the data set, from 1; None for the largest loss.

    Raises:
        ConfigError: The sample is not in the batch.
    """
    if sample is None:
        return int(np.argmax(step.forward.losses))
    found = np.flatnonzero(step.rows == sample - 1)
    if not len(found):
        samples = np.sort(step.rows + 1)
        listed = ", ".join(map(str, samples[:MAX_SAMPLES]))
        more = ", ..." if len(samples) > MAX_SAMPLES else ""
        raise ConfigError(f"--sample must be one of this step's ({listed}{more}), got {sample}.")
    return int(found[0])


def target(k: int) -> str:
    """The symbol of target ``k``, from 1."""
    return indexed("x", 0, k).replace("x", "y")


def layer_input(layer: int) -> str:
    """The symbol of the vector that layer ``layer`` receives."""
    return "x" if layer == 1 else indexed("a", layer - 1)


def count(n: int, noun: str) -> str:
    """The number with its noun in singular or plural."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def spoken(name: str) -> str:
    """A configuration name as words."""
    return name.replace("_", " ")


def more_units(n_units: int) -> str:
    """A sentence on the units of a layer that are not written out; empty if all are."""
    return f"Likewise {count(n_units - MAX_UNITS, 'more unit')}." if n_units > MAX_UNITS else ""
