"""The method ``lr_range`` of a search: learning rates, evenly spaced on a logarithmic scale.

>>> rates(0.01, 1.0, 5)
[0.01, 0.0316, 0.1, 0.316, 1.0]
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bpexp.config.schema import SearchConfig
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.samplers.space import Dimension, Reals

DEFAULT = "lr=tag(log,interval(1e-4,10))"
"""The learning rates that are searched if none are given."""
DIGITS = 3
"""Significant digits of the rates, if that keeps them apart."""


class LrRangeProposer:
    """See ``search.Proposer``. The rates are proposed in ascending order."""

    def __init__(self, dimensions: Sequence[Dimension], settings: SearchConfig) -> None:
        """Prepare the rates.

        Raises:
            ConfigError: Anything but the learning rate is searched.
        """
        (first, *others) = dimensions
        if others or not isinstance(first, Reals) or first.key != "lr" or first.low <= 0.0:
            raise ConfigError(
                "search=lr_range searches an interval of learning rates above 0 and nothing else: "
                f"'{DEFAULT}'."
            )
        if settings.trials < 2:
            raise ConfigError(
                f"search.trials must be at least 2 with search=lr_range, got {settings.trials}."
            )
        self._left = rates(first.low, first.high, settings.trials)

    def propose(self, count: int) -> list[list[Any]]:
        """See ``Proposer.propose``."""
        proposed, self._left = self._left[:count], self._left[count:]
        return [[rate] for rate in proposed]

    def observe(self, values: Sequence[float]) -> None:
        """Ignore the values: the rates do not depend on them."""


def rates(low: float, high: float, count: int) -> list[float]:
    """Numbers from ``low`` to ``high`` with equal ratios, rounded to a few digits."""
    exact = np.geomspace(low, high, count).tolist()
    rounded = [low, *(float(f"{rate:.{DIGITS}g}") for rate in exact[1:-1]), high]
    is_ascending = all(a < b for a, b in itertools.pairwise(rounded))
    return rounded if is_ascending else exact
