"""The probability of improvement of rliable (Agarwal et al. 2021), which is optional here.

rliable 1.2 works with arch below 7.2, which cannot be imported with pandas 3. Simulate with it in
an environment of its own: ``pip install -e . rliable 'arch<7.2' 'pandas<3'``.

Its metric calls SciPy's Mann-Whitney test for each of thousands of bootstrap samples. The same
number is computed here without a test, and its bootstrap is left as it is.
"""

import warnings
from typing import Any

import numpy as np

from bpexp.typing import Array

RESAMPLES = 2000


def available() -> bool:
    """Whether rliable is installed."""
    try:
        import rliable.library  # noqa: F401
    except (ImportError, TypeError):
        # A TypeError: arch with pandas 3.
        return False
    return True


def is_better(a: Array, b: Array, level: float, rng: np.random.Generator) -> bool:
    """Whether the whole interval of P(a is lower than b) is above 0.5.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group, (m,).
        level: Confidence level of the interval.
        rng: Draws the seed of the bootstrap.
    """
    low, _ = _interval(a, b, level, rng)
    return low > 0.5


def differ(a: Array, b: Array, level: float, rng: np.random.Generator) -> bool:
    """Whether the interval of P(a is lower than b) leaves out 0.5."""
    low, high = _interval(a, b, level, rng)
    return not low <= 0.5 <= high


def _interval(a: Array, b: Array, level: float, rng: np.random.Generator) -> tuple[float, float]:
    from rliable import library

    # Its bootstrap draws from NumPy's global generator.
    seed = int(rng.integers(2**31))
    np.random.seed(seed)
    with warnings.catch_warnings():
        # arch announces another way to pass a random generator.
        warnings.simplefilter("ignore", FutureWarning)
        _, found = library.get_interval_estimates(
            {"both": [a[:, None], b[:, None]]},
            _probability,
            reps=RESAMPLES,
            confidence_interval_size=level,
            random_state=np.random.RandomState(seed),
        )
    low, high = found["both"][:, 0]
    return float(low), float(high)


def _probability(a: Any, b: Any) -> Array:
    """``rliable.metrics.probability_of_improvement`` of scores where smaller is better."""
    lower = (a[:, :1] < b[:, 0]) + 0.5 * (a[:, :1] == b[:, 0])
    return np.array([lower.mean()])
