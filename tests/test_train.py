"""Training results against independent calculations."""

import itertools
import math
import re

import numpy as np
import pytest
from finite_differences import assert_gradients
from hypothesis import given
from hypothesis import strategies as st

import bpexp
from bpexp.fields.checks import ConfigError
from bpexp.nn import init
from bpexp.nn.activations import elementwise_activations
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward, output_delta
from bpexp.nn.network import Network
from bpexp.runs import metrics
from bpexp.runs.result import Outcome, TrainResult
from bpexp.training.sample_order import random_stream

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
RAW = {"standardize": False}
"""Settings of a file whose values are trained on as they are."""


def test_default_experiment_gives_the_known_predictions():
    result = bpexp.train()
    expected = ["0.06029012", "0.94447222", "0.94436700", "0.05997169"]
    assert [f"{p:.8f}" for p in result.predictions[:, 0]] == expected
    assert result.outcome is Outcome.COMPLETED
    assert result.epochs_run == 10_000
    error = result.predictions - Y
    assert result.final_loss == pytest.approx(float((error * error).sum()) / 4, rel=1e-15)


def test_the_default_experiment_equals_a_plain_numpy_loop():
    rng = np.random.RandomState(42)
    W1, W2, b1, b2 = (rng.rand(*shape) for shape in [(2, 2), (2, 1), (1, 2), (1, 1)])
    losses = []
    for _ in range(10_000):
        H = 1.0 / (1.0 + np.exp(-(X @ W1 + b1)))
        A = 1.0 / (1.0 + np.exp(-(H @ W2 + b2)))
        losses.append(((A - Y) ** 2).mean())
        delta2 = (A - Y) * A * (1.0 - A)
        delta1 = delta2 @ W2.T * H * (1.0 - H)
        W2, b2 = W2 - 0.1 * H.T @ delta2, b2 - 0.1 * delta2.sum(axis=0)
        W1, b1 = W1 - 0.1 * X.T @ delta1, b1 - 0.1 * delta1.sum(axis=0)
    result = bpexp.train()
    np.testing.assert_allclose(result.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(result.predictions, A, rtol=1e-9)
    for mine, theirs in zip([*result.weights, *result.biases], [W1, W2, b1, b2], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_initial_weights_are_drawn_from_the_stream_in_order():
    rng = np.random.RandomState(7)
    drawn = [rng.rand(*s) for s in [(3, 4), (4, 2), (1, 4), (1, 2)]]
    weights, biases = init.initialize([3, 4, 2], "uniform", 7)
    for mine, theirs in zip([*weights, *biases], drawn, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("name", "bound"), [("glorot", math.sqrt(6 / 70)), ("he", math.sqrt(6 / 30))]
)
def test_scaled_initializers_reach_their_bounds(name, bound):
    (W,), _ = init.initialize([30, 40], name, 0)
    assert abs(W).max() < bound
    assert W.max() > 0.98 * bound
    assert W.min() < -0.98 * bound


def test_one_step_worked_by_hand(tmp_path):
    # x = 1, target 1; seed 0 of U[0, 0] gives zeros: h = 1/2, a = 1/2, E = 1/8.
    # delta2 = (a - 1) a (1 - a) = -1/8; dW2 = delta2 h = -1/16; W2 = 0, so dW1 = 0.
    # With lr = 16: W2 = 1, b2 = 2, W1 = b1 = 0. Second pass: z = 1/2 + 2 = 5/2.
    (tmp_path / "one.csv").write_text("x,y\n1.0,1.0\n")
    data = {"name": "file", "path": str(tmp_path / "one.csv"), "target": "y", **RAW}
    settings = {"data": data, "model__init_high": 0.0, "hidden": 1, "lr": 16}
    result = bpexp.train(epochs=1, **settings)
    assert result.losses.tolist() == [0.25]
    assert result.predictions.tolist() == [[0.5]]
    assert [float(W[0, 0]) for W in result.weights] == [0.0, 1.0]
    assert [float(b[0, 0]) for b in result.biases] == [0.0, 2.0]
    # Now delta2 = (a - 1) a (1 - a) with a = s(5/2); W2 += -16 delta2 / 2;
    # delta1 = delta2 W2 / 4 = delta2 / 4, so W1 = b1 = -4 delta2.
    a = 1.0 / (1.0 + math.exp(-2.5))
    delta = (a - 1.0) * a * (1.0 - a)
    result = bpexp.train(epochs=2, **settings)
    assert result.predictions[0, 0] == pytest.approx(a, rel=1e-15)
    assert [float(W[0, 0]) for W in result.weights] == pytest.approx(
        [-4.0 * delta, 1.0 - 8.0 * delta], rel=1e-14
    )
    assert [float(b[0, 0]) for b in result.biases] == pytest.approx(
        [-4.0 * delta, 2.0 - 16.0 * delta], rel=1e-14
    )


COMBINATIONS = [
    (hidden, output, name)
    for hidden, (name, loss) in itertools.product(elementwise_activations(), LOSSES.items())
    for output in loss.outputs
]


@pytest.mark.parametrize(("hidden", "output", "loss"), COMBINATIONS)
@pytest.mark.parametrize("widths", [[], [3], [4, 3]])
def test_gradients_equal_central_finite_differences(hidden, output, loss, widths):
    rng = np.random.RandomState(1)
    inputs, targets = rng.randn(5, 2), np.eye(3)[[0, 1, 2, 0, 1]]
    network = Network((2, *widths, 3), (*[hidden] * len(widths), output), loss, bias_input=0.5)
    weights, biases = init.initialize(network.sizes, "uniform", 3, -1.0, 1.0)

    def total():
        activations, Z = forward(network, inputs, weights, biases, EXACT)
        return LOSSES[loss].on(output).per_row(EXACT, Z, activations[-1], targets).sum()

    activations, _ = forward(network, inputs, weights, biases, EXACT)
    by_weights, by_biases = backward(network, activations, targets, weights, EXACT)
    assert_gradients(total, [*weights, *biases], [*by_weights, *by_biases])


@given(st.floats(-1e3, 1e3), st.sampled_from([0.0, 1.0]))
def test_binary_cross_entropy_is_finite_and_right_for_every_logit(z, y):
    Z = np.array([[z]])
    (got,) = LOSSES["cross_entropy"].on("sigmoid").per_row(EXACT, Z, Z, np.array([[y]]))
    signed = z if y == 0.0 else -z
    expected = (
        signed + math.log1p(math.exp(-signed)) if signed > 0 else math.log1p(math.exp(signed))
    )
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_softmax_cross_entropy_is_stable_for_large_logits():
    Z, targets = np.array([[1000.0, 0.0, -1000.0]]), np.array([[0.0, 1.0, 0.0]])
    A = EXACT.softmax(Z)
    loss = LOSSES["cross_entropy"].on("softmax").per_row(EXACT, Z, A, targets)
    assert loss.tolist() == [1000.0]
    assert A.tolist() == [[1.0, 0.0, 0.0]]


def plain(seed, lr, epochs, batch_size, decay, by_fan_in, factor):
    """Weights of XOR 2-2-1 from an independent NumPy loop, with the biases in the last row."""
    rng = np.random.RandomState(seed)
    W1, W2, b1, b2 = (rng.rand(*shape) for shape in [(2, 2), (2, 1), (1, 2), (1, 1)])
    W1, W2 = np.vstack([W1, b1]), np.vstack([W2, b2])
    orders = random_stream(seed, "order of samples")
    for epoch in range(epochs):
        order = orders.permutation(4) if batch_size < 4 else np.arange(4)
        for batch in np.split(order, range(batch_size, 4, batch_size)):
            below = np.hstack([X[batch], np.ones((len(batch), 1))])
            hidden = np.hstack([1 / (1 + np.exp(-below @ W1)), np.ones((len(batch), 1))])
            out = 1 / (1 + np.exp(-hidden @ W2))
            delta2 = (out - Y[batch]) * out * (1 - out)
            delta1 = (delta2 @ W2.T * hidden * (1 - hidden))[:, :-1]
            rate = lr * factor(epoch) / (3 if by_fan_in else 1)
            W1, W2 = (
                W - rate * (a.T @ delta + decay * W)
                for W, a, delta in ((W1, below, delta1), (W2, hidden, delta2))
            )
    return W1, W2


@pytest.mark.parametrize("batch_size", [4, 3, 2, 1])
@pytest.mark.parametrize(("decay", "by_fan_in"), [(0.0, False), (0.01, False), (0.01, True)])
@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ({"name": "constant"}, lambda epoch: 1.0),
        ({"name": "step", "every": 7, "factor": 0.5}, lambda epoch: 0.5 ** (epoch // 7)),
        ({"name": "cosine", "warmup": 5},
         lambda e: 0.5 * (1 + math.cos(math.pi * e / 30)) * min((e + 1) / 5, 1)),
    ],
)  # fmt: skip
def test_batches_weight_decay_and_schedules_equal_a_plain_numpy_loop(
    batch_size, decay, by_fan_in, schedule, factor
):
    result = bpexp.train(
        seed=5, lr=0.8, epochs=30, batch_size=batch_size, schedule=schedule,
        optimizer__weight_decay=decay, optimizer__by_fan_in=by_fan_in,
    )  # fmt: skip
    theirs = plain(5, 0.8, 30, batch_size, decay, by_fan_in, factor)
    for W, b, both in zip(result.weights, result.biases, theirs, strict=True):
        np.testing.assert_allclose(np.vstack([W, b]), both, rtol=1e-12)


def test_training_stops_at_the_first_epoch_with_the_stop_loss():
    full = bpexp.train()
    first = int(np.flatnonzero(full.losses <= 0.01)[0]) + 1
    result = bpexp.train(stop__loss=0.01)
    assert result.outcome is Outcome.CONVERGED
    assert result.epochs_run == first
    np.testing.assert_array_equal(result.losses, full.losses[:first])


def test_no_update_follows_the_forward_pass_that_stops_training():
    result = bpexp.train(stop__tolerance=0.4)
    network = Network((2, 2, 1), ("sigmoid", "sigmoid"))
    activations, _ = forward(network, X, result.weights, result.biases, EXACT)
    np.testing.assert_array_equal(activations[-1], result.predictions)
    assert (abs(result.predictions - Y) < 0.4).all()
    assert result.outcome is Outcome.CONVERGED


def test_patience_counts_epochs_without_a_new_lowest_loss():
    # A step so long that the loss comes down once and then swings.
    full = bpexp.train(lr=60.0, epochs=2000)
    lowest, waited = math.inf, 0
    ends = []
    for epoch, loss in enumerate(full.losses, start=1):
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        ends += [epoch] * (waited == 5)
    stalled = bpexp.train(lr=60.0, epochs=2000, stop__patience=5)
    assert (stalled.outcome, stalled.epochs_run) == (Outcome.STALLED, ends[0])


def test_a_diverged_run_has_an_outcome_and_an_epoch(tmp_path):
    (tmp_path / "one.csv").write_text("x,y\n1.0,0.0\n")
    data = {"name": "file", "path": str(tmp_path / "one.csv"), "target": "y", **RAW}
    result = bpexp.train(
        data=data, model="regressor", hidden=[], lr=1e200, epochs=50,
        model__init="uniform", model__init_low=1.0, model__init_high=1.0,
    )  # fmt: skip
    assert result.outcome is Outcome.DIVERGED
    # z = w + b: 2 -> -4e200; then the squared error overflows in the second forward pass.
    assert result.epochs_run == 2
    assert result.losses.tolist() == [4.0, math.inf]


def test_a_run_with_infinite_weights_has_diverged_even_if_its_loss_is_finite(tmp_path):
    (tmp_path / "one.csv").write_text("x,y\n1.0,0.0\n")
    result = bpexp.train(
        data={"name": "file", "path": str(tmp_path / "one.csv"), "target": "y", **RAW}, hidden=[],
        model="regressor", model__init="uniform", model__init_low=1.0, lr=1e308, epochs=9,
    )  # fmt: skip
    # w = b = 1, z = 2: the first update is of -2e308, which no float64 is.
    assert (result.outcome, result.losses.tolist()) == (Outcome.DIVERGED, [4.0])
    assert result.weights[0].tolist() == [[-math.inf]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_shorter_run_equals_the_first_epochs_of_a_longer_one(seed, epochs):
    np.testing.assert_array_equal(
        bpexp.train(seed=seed, epochs=epochs).losses,
        bpexp.train(seed=seed, epochs=epochs + 5).losses[:epochs],
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget__runs": 3}, "budget.* needs a sweep: add -m"),
        ({"search": "tpe"}, "search is a sweep: add -m"),
        ({"confirm": 2}, "confirm needs a sweep: add -m"),
        ({"tracking__name": "mine"}, "tracking__name is for runs that are stored"),
        ({"tracking": {"name": "mine"}}, "tracking is for runs that are stored"),
        ({"reuse": True}, "reuse is for runs that are stored"),
        ({"export": "best"}, "export is for runs that are stored"),
        ({"dry_run": True}, "dry_run is for runs that are stored"),
    ],
)
def test_train_refuses_settings_that_it_would_ignore(settings, said):
    with pytest.raises(ConfigError, match=re.escape(said) + ".*bpexp.sweep"):
        bpexp.train(epochs=2, **settings)


def test_train_takes_settings_that_a_sweep_may_share_with_it():
    settings = {"n_jobs": 1, "reuse": False, "export": None, "objective": "accuracy"}
    assert bpexp.train(epochs=2, **settings).epochs_run == 2


def test_metrics_have_no_negative_zero():
    # SQLite stores -0.0 as 0, so that results.csv would change when a sweep is resumed.
    dataset = bpexp.train(epochs=1).dataset
    result = TrainResult(Outcome.COMPLETED, np.array([-0.0]), dataset.Y, (), ())
    values = metrics.compute(metrics.Evaluation(result, dataset))
    assert str(values["final_loss"]) == "0.0"
    assert type(values["epochs_run"]) is int


@pytest.mark.parametrize(
    ("loss", "output", "is_offset"),
    [
        ("half_squared", "sigmoid", True), ("half_squared", "softmax", False),
        ("cross_entropy", "sigmoid", False), ("cross_entropy", "softmax", False),
    ],
)  # fmt: skip
def test_the_derivative_offset_changes_the_outputs_that_its_description_names(
    loss, output, is_offset
):
    A, Y = np.array([[0.25, 0.75]]), np.array([[1.0, 0.0]])
    plain, shifted = (
        output_delta(Network((2, 2), (output,), loss, derivative_offset=offset), A, Y, EXACT)
        for offset in (0.0, 0.1)
    )
    # sigmoid: (a - y) (a (1 - a) + offset)
    np.testing.assert_allclose(shifted - plain, 0.1 * (A - Y) * is_offset, atol=1e-15)
