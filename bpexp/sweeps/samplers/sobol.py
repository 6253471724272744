"""The method ``sobol`` of a search: a scrambled Sobol sequence."""

import warnings
from collections.abc import Sequence
from typing import Any

from scipy.stats.qmc import Sobol

from bpexp.config.schema import SearchConfig
from bpexp.sweeps.samplers.space import Dimension, Integers, Reals


class SobolProposer:
    """See ``search.Proposer``. The sequence is SciPy's: Optuna's starts with random points."""

    def __init__(self, dimensions: Sequence[Dimension], settings: SearchConfig) -> None:
        self._dimensions = dimensions
        self._points = Sobol(len(dimensions), scramble=True, rng=settings.seed)

    def propose(self, count: int) -> list[list[Any]]:
        """See ``Proposer.propose``."""
        with warnings.catch_warnings():
            # SciPy warns that the balance of the sequence needs a power of 2.
            warnings.simplefilter("ignore", UserWarning)
            points = self._points.random(count).tolist() if count else []
        return [
            [_at(dimension, u) for dimension, u in zip(self._dimensions, point, strict=True)]
            for point in points
        ]

    def observe(self, values: Sequence[float]) -> None:
        """Ignore the values: the sequence does not depend on them."""


def _at(dimension: Dimension, share: float) -> Any:
    """The value of a dimension at a share of its length, in [0, 1)."""
    if isinstance(dimension, Reals | Integers):
        # An integer stands for the interval of length 1 around it.
        half = 0.5 if isinstance(dimension, Integers) else 0.0
        low, high = dimension.low - half, dimension.high + half
        value = low * (high / low) ** share if dimension.is_log else low + (high - low) * share
        if isinstance(dimension, Integers):
            return min(max(round(value), dimension.low), dimension.high)
        return min(max(value, dimension.low), dimension.high)
    return int(share * len(dimension.alternatives))
