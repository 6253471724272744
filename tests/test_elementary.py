"""The elementary functions against correctly rounded values from mpmath."""

import math

import mpmath
import numpy as np
import pytest

from bpexp.nn import elementary
from bpexp.nn.arithmetic import EXACT

mpmath.mp.prec = 200


def ordered(values):
    """Map floats to integers so that differences are distances in units in the last place."""
    bits = np.asarray(values, float).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def ulps(got, expected):
    return int(np.abs(ordered(got) - ordered(expected)).max())


def spread(rng, low, high, n=4000):
    """Uniformly distributed points, and points near 0 of all magnitudes."""
    small = 10.0 ** rng.uniform(-323, 0, n // 2)
    return np.concatenate([rng.uniform(low, high, n), small, -small])


CASES = {
    "exp": (lambda rng: spread(rng, -745.2, 709.79), mpmath.exp, 1),
    "exp_of_negative": (lambda rng: -abs(spread(rng, -745.2, 0.0)), mpmath.exp, 1),
    "log": (
        lambda rng: np.concatenate([10.0 ** rng.uniform(-323, 308, 4000), rng.uniform(0.5, 2, 4000),
                                    rng.integers(1, 2**52, 500).view(float)]),
        mpmath.log, 1,
    ),
    "log1p": (lambda rng: np.abs(spread(rng, 0.0, 1.0)), mpmath.log1p, 3),
    "sigmoid": (
        lambda rng: np.concatenate([spread(rng, -745.5, 40.0), rng.uniform(-9, 9, 20_000)]),
        lambda z: 1 / (1 + mpmath.exp(-z)), 3,
    ),
    "tanh": (
        lambda rng: np.concatenate([spread(rng, -25.0, 25.0), rng.uniform(-1, 1, 4000)]),
        mpmath.tanh, 3,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:divide:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid:RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_errors_are_at_most_the_documented_ulps(name):
    points, exact, most = CASES[name]
    x = points(np.random.default_rng(0))
    expected = [float(exact(mpmath.mpf(float(v)))) for v in x]
    assert ulps(getattr(elementary, name)(x), expected) <= most


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
def test_errors_where_they_are_largest_are_at_most_the_documented_ulps(name):
    """Errors from the exact value, not from its rounding.

    At the limits of the range reduction, and where the exponential is close to 1.
    """
    _, exact, most = CASES[name]
    rng = np.random.default_rng(4)
    halves = rng.integers(-1000, 50, 6000) + 0.5
    edges = halves * math.log(2.0) * (1.0 + rng.uniform(-3e-6, 3e-6, 6000))
    x = np.concatenate([edges / (2.0 if name == "tanh" else 1.0), rng.uniform(-0.4, 0.4, 6000)])
    for value, got in zip(x, getattr(elementary, name)(x), strict=True):
        real = exact(mpmath.mpf(float(value)))
        assert abs(float(got) - real) <= most * float(np.spacing(abs(float(real)))), value


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("exp", {-np.inf: 0.0, np.inf: np.inf, -746.0: 0.0, 710.0: np.inf, 0.0: 1.0}),
        ("exp_of_negative", {-np.inf: 0.0, -746.0: 0.0, -0.0: 1.0}),
        ("log", {0.0: -np.inf, np.inf: np.inf, 1.0: 0.0}),
        ("log1p", {0.0: 0.0, 5e-324: 5e-324, 2.0**-53: 2.0**-53, 1.0: math.log(2.0)}),
        ("sigmoid", {-np.inf: 0.0, -746.0: 0.0, 1e308: 1.0, np.inf: 1.0, 0.0: 0.5}),
        ("tanh", {-np.inf: -1.0, np.inf: 1.0, 0.0: 0.0}),
    ],
)
def test_values_at_the_limits_of_the_range(name, ends):
    function = getattr(elementary, name)
    assert function(np.array(list(ends))).tolist() == list(ends.values())
    assert np.isnan(function(np.array([np.nan]))).all()


def test_the_shorter_sigmoid_is_bit_identical():
    most = elementary.MODERATE
    z = np.append(spread(np.random.default_rng(3), -most, most, 40_000), [-most, most, 0.0, -0.0])
    assert elementary.sigmoid_of_moderate(z).tobytes() == elementary.sigmoid(z).tobytes()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_logarithm_of_a_negative_number_is_nan():
    assert np.isnan(elementary.log(np.array([-1.0, -5e-324, -np.inf]))).all()


def softmax_of(row):
    powers = [mpmath.exp(mpmath.mpf(z) - mpmath.mpf(max(row))) for z in row]
    return [float(p / mpmath.fsum(powers)) for p in powers]


@pytest.mark.parametrize("n_outputs", [2, 3, 10, pytest.param(300, marks=pytest.mark.slow)])
def test_the_error_of_softmax_is_at_most_three_ulps(n_outputs):
    rng = np.random.default_rng(2)
    scales = np.geomspace(1e-6, 372.0, 6000 // n_outputs)
    Z = rng.uniform(-1, 1, (len(scales), n_outputs)) * scales[:, None]
    expected = [softmax_of(row) for row in Z.tolist()]
    assert min(min(row) for row in expected) < 1e-200
    assert ulps(EXACT.softmax(Z), expected) <= 3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0], [0.5, 0.5]),
        ([0.0, -800.0], [1.0, 0.0]),
        ([1e308, -1e308], [1.0, 0.0]),
        ([1e308, 1e308], [0.5, 0.5]),
        ([3.0, -np.inf], [1.0, 0.0]),
        ([np.inf, 0.0], [np.nan, np.nan]),
        ([np.nan, 0.0], [np.nan, np.nan]),
    ],
)
def test_softmax_at_the_limits_of_the_range(logits, expected):
    np.testing.assert_array_equal(EXACT.softmax(np.array([logits])), [expected])


def test_sine_and_cosine_of_turns():
    f = np.random.default_rng(1).uniform(-3, 3, 1000)
    exact = [float(mpmath.sin(2 * mpmath.pi * mpmath.mpf(float(v)))) for v in f]
    np.testing.assert_allclose(elementary.sin_of_turns(f), exact, atol=5e-16)
    exact = [float(mpmath.cos(2 * mpmath.pi * mpmath.mpf(float(v)))) for v in f]
    np.testing.assert_allclose(elementary.cos_of_turns(f), exact, atol=5e-16)
    assert elementary.cos_of_turns(np.array([0.0])).tolist() == [1.0]
