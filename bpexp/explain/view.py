"""What all sections of the document use: the step, the sample that is shown, common phrases."""

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
    """A step, the sample whose values are shown, and the format of numbers.

    Attributes:
        step: The step.
        row: The row of the sample in the batch of the step.
        show: Formats a number.
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
        """The number of the sample in the data set, from 1."""
        return int(self.step.rows[self.row]) + 1

    @property
    def bias_factor(self) -> str:
        """The text of the constant input of the biases as a factor; empty if it is 1."""
        value = self.network.bias_input
        return "" if value == 1.0 else f"{value:g} "

    @property
    def weight(self) -> str:
        """The weight of the sample's class in the loss; empty if classes have no weights."""
        weights = self.step.forward.sample_weights
        return "" if weights is None else self.show(weights[self.row])

    def with_offset(self, slope: str) -> str:
        """The text of a derivative plus ``model.derivative_offset``, unless that is 0."""
        offset = self.network.derivative_offset
        return f"({slope} + {offset:g})" if offset else slope


def followed_row(step: Step, sample: int | None) -> int:
    """Find the row of a sample in the batch of a step.

    Args:
        step: The step.
        sample: The number of the sample in the data set, from 1; None for the one with the
            largest loss.

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
    """The symbol of a target; targets count from 1."""
    return indexed("x", 0, k).replace("x", "y")


def layer_input(layer: int) -> str:
    """The symbol of the input vector of a layer; layers count from 1."""
    return "x" if layer == 1 else indexed("a", layer - 1)


def count(n: int, noun: str) -> str:
    """The number with its noun in singular or plural."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def spoken(name: str) -> str:
    """A name of the configuration with spaces for underscores."""
    return name.replace("_", " ")


def more_units(n_units: int) -> str:
    """A sentence with the number of units that are not shown; empty if all are shown."""
    return f"Likewise {count(n_units - MAX_UNITS, 'more unit')}." if n_units > MAX_UNITS else ""
