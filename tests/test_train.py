"""The trainer against numbers worked out independently."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpexp.nn import init, stopping
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward
from bpexp.nn.train import train
from bpexp.results import Outcome

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])


def xor(seed=42, lr=0.1, epochs=10_000, **more):
    weights, biases = init.initialise([2, 2, 1], init.uniform(0.0, 1.0), seed)
    return train(X, Y, weights, biases, ["sigmoid", "sigmoid"], "half_squared", lr, epochs, **more)


def test_default_experiment_gives_the_known_predictions():
    result = xor()
    expected = ["0.06029012", "0.94447222", "0.94436700", "0.05997169"]
    assert [f"{p:.8f}" for p in result.predictions[:, 0]] == expected
    assert result.outcome is Outcome.COMPLETED
    assert result.epochs_run == 10_000
    error = result.predictions - Y
    assert result.final_loss == float((error * error).sum()) / 4


def test_initial_draws_follow_the_stream_in_order():
    rng = np.random.RandomState(7)
    drawn = [rng.rand(*s) for s in [(3, 4), (4, 2), (1, 4), (1, 2)]]
    weights, biases = init.initialise([3, 4, 2], init.uniform(0.0, 1.0), 7)
    for mine, theirs in zip([*weights, *biases], drawn, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("draw", "bound"), [(init.glorot, math.sqrt(6 / 70)), (init.he, math.sqrt(6 / 30))]
)
def test_scaled_initialisations_fill_their_bounds(draw, bound):
    (W,), _ = init.initialise([30, 40], draw, 0)
    assert abs(W).max() < bound
    assert W.max() > 0.98 * bound
    assert W.min() < -0.98 * bound


def test_one_step_worked_by_hand():
    # x = 1, target 1, W1 = 0, b1 = 0, W2 = 2, b2 = -1: h = 1/2, z = 0, a = 1/2.
    # E = 1/8. delta2 = (a - 1) a (1 - a) = -1/8; dW2 = -1/16.
    # delta1 = delta2 * 2 * h (1 - h) = -1/16; dW1 = -1/16. With lr = 16:
    one, zero = np.array([[1.0]]), np.array([[0.0]])
    weights, biases = [zero, np.array([[2.0]])], [zero, np.array([[-1.0]])]
    result = train(one, one, weights, biases, ["sigmoid"] * 2, "half_squared", 16.0, 1)
    assert result.losses.tolist() == [0.25]
    assert result.predictions.tolist() == [[0.5]]
    assert [float(W[0, 0]) for W in result.weights] == [1.0, 3.0]
    assert [float(b[0, 0]) for b in result.biases] == [1.0, 1.0]
    assert weights[1][0, 0] == 2.0


COMBINATIONS = [
    (hidden, output, loss)
    for hidden, (loss, output) in itertools.product(["sigmoid", "tanh", "relu", "identity"], LOSSES)
]


@pytest.mark.parametrize(("hidden", "output", "loss"), COMBINATIONS)
@pytest.mark.parametrize("widths", [[], [3], [4, 3]])
def test_gradients_equal_central_finite_differences(hidden, output, loss, widths):
    rng = np.random.RandomState(1)
    inputs, targets = rng.randn(5, 2), np.eye(3)[[0, 1, 2, 0, 1]]
    functions = [hidden] * len(widths) + [output]
    weights, biases = init.initialise([2, *widths, 3], init.uniform(-1.0, 1.0), 3)

    def total():
        activations, Z = forward(inputs, weights, biases, functions)
        return LOSSES[loss, output].total(Z, activations[-1], targets)

    activations, _ = forward(inputs, weights, biases, functions)
    by_weights, by_biases = backward(activations, targets, weights, functions, loss)
    step = 1e-6
    for parameter, gradient in zip([*weights, *biases], [*by_weights, *by_biases], strict=True):
        for at in np.ndindex(*parameter.shape):
            kept = parameter[at]
            parameter[at] = kept + step
            above = total()
            parameter[at] = kept - step
            below = total()
            parameter[at] = kept
            assert gradient[at] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-8)


@given(st.floats(-1e3, 1e3), st.sampled_from([0.0, 1.0]))
def test_binary_cross_entropy_is_finite_and_right_for_every_logit(z, y):
    a = ACTIVATIONS["sigmoid"].f(np.array([[z]]))
    got = LOSSES["cross_entropy", "sigmoid"].total(np.array([[z]]), a, np.array([[y]]))
    signed = z if y == 0.0 else -z
    expected = (
        signed + math.log1p(math.exp(-signed)) if signed > 0 else math.log1p(math.exp(signed))
    )
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_softmax_cross_entropy_is_stable_for_large_logits():
    Z, targets = np.array([[1000.0, 0.0, -1000.0]]), np.array([[0.0, 1.0, 0.0]])
    A = ACTIVATIONS["softmax"].f(Z)
    assert LOSSES["cross_entropy", "softmax"].total(Z, A, targets) == 1000.0
    assert A.tolist() == [[1.0, 0.0, 0.0]]


def test_it_stops_at_the_first_epoch_that_meets_the_loss():
    full = xor()
    first = int(np.flatnonzero(full.losses <= 0.01)[0]) + 1
    result = xor(stop={Outcome.CONVERGED: [stopping.below_loss(0.01)]})
    assert result.outcome is Outcome.CONVERGED
    assert result.epochs_run == first
    np.testing.assert_array_equal(result.losses, full.losses[:first])


def test_no_update_follows_the_pass_that_stops():
    result = xor(stop={Outcome.CONVERGED: [stopping.all_correct(Y, 0.4)]})
    activations, _ = forward(X, result.weights, result.biases, ["sigmoid"] * 2)
    np.testing.assert_array_equal(activations[-1], result.predictions)
    assert (abs(result.predictions - Y) < 0.4).all()


def test_patience_counts_epochs_without_a_new_lowest_loss():
    stop = stopping.no_progress(3)
    assert [stop(loss, Y) for loss in [3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 2.0, 2.0]] == [False] * 7 + [
        True
    ]


def test_divergence_is_an_outcome_with_its_epoch():
    one = np.array([[1.0]])
    result = train(one, one * 0, [one], [one * 0], ["identity"], "half_squared", 1e200, 50)
    assert result.outcome is Outcome.DIVERGED
    # w: 1 -> -1e200; then the squared error overflows in the second forward pass.
    assert result.epochs_run == 2
    assert result.losses.tolist() == [1.0, math.inf]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_shorter_run_is_the_beginning_of_a_longer_one(seed, epochs):
    np.testing.assert_array_equal(
        xor(seed, epochs=epochs).losses, xor(seed, epochs=epochs + 5).losses[:epochs]
    )
