"""Optimizers against PyTorch's, and against steps worked by hand."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import bpexp
from bpexp.fields.checks import ConfigError
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.optimizers import OPTIMIZERS

HYPERPARAMETERS = {
    "gradient_descent": (0.1,),
    "momentum": (0.1, 0.9),
    "nesterov": (0.1, 0.9),
    "rmsprop": (0.01, 0.99, 1e-8),
    "adam": (0.01, 0.9, 0.999, 1e-8),
    "rprop": (0.01, 1.2, 0.5, 1e-6, 50.0),
}


def initial_state(optimizer, w, lr):
    """The optimizer's state before the first update of w."""
    initial = optimizer.initial_state.items()
    return optimizer.state(**{k: np.full_like(w, lr if v is None else v) for k, v in initial})


def path(name, gradients, lr, *hyperparameters):
    """The parameters, 0 at first, after each of the given gradients."""
    optimizer = OPTIMIZERS[name]
    w = np.zeros(gradients.shape[1])
    state, values = initial_state(optimizer, w, lr), optimizer.hyperparameters(*hyperparameters)
    out = []
    for g in gradients:
        w, state = optimizer.update(w, g, state, lr, values)
        out.append(w)
    return np.array(out)


STEPS = np.genfromtxt(Path(__file__).with_name("pytorch_steps.csv"), delimiter=",", names=True)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_a_hundred_steps_equal_those_of_pytorch(name):
    """The steps of PyTorch 2.13 in float64 were saved by pytorch_steps.py."""
    lr, *settings = HYPERPARAMETERS[name]
    gradients = STEPS["gradient"][:, None]
    assert len(gradients) == 100
    ours = path(name, gradients, lr, *settings)[:, 0]
    np.testing.assert_allclose(ours, STEPS[name], rtol=1e-12, atol=1e-12)


def test_two_steps_of_each_optimizer_worked_by_hand():
    two = np.array([[1.0], [2.0]])
    # step = 0.9 step - 0.1 g: -0.1, then -0.09 - 0.2.
    assert path("momentum", two, 0.1, 0.9)[:, 0] == pytest.approx([-0.1, -0.39])
    # The same steps, then 0.9 step - 0.1 g once more.
    assert path("nesterov", two, 0.1, 0.9)[:, 0] == pytest.approx([-0.19, -0.19 - 0.461])
    # Mean squares 0.5, then 0.5 * 0.5 + 0.5 * 4 = 2.25, whose root is 1.5.
    assert path("rmsprop", two, 0.3, 0.5, 0.0)[:, 0] == pytest.approx(
        [-0.3 / 0.5**0.5, -0.3 / 0.5**0.5 - 0.3 * 2.0 / 1.5]
    )
    # Corrected means: 1, then (0.25 + 1) / 0.75; squares 1, then (0.25 + 2) / 0.75 = 3.
    assert path("adam", two, 0.3, 0.5, 0.5, 0.0)[:, 0] == pytest.approx(
        [-0.3, -0.3 - 0.3 * (1.25 / 0.75) / 3**0.5]
    )
    # Same sign: 0.1, then 0.12. Other sign: no step, and 0.06 for the next.
    signs = np.array([[1.0], [2.0], [-1.0], [-1.0]])
    steps = path("rprop", signs, 0.1 / 1.2, 1.2, 0.5, 1e-6, 50.0)[:, 0]
    assert steps == pytest.approx([-0.1 / 1.2, -0.1 / 1.2 - 0.1, -0.1 / 1.2 - 0.1,
                                   -0.1 / 1.2 - 0.1 + 0.05])  # fmt: skip


def test_quickprop_on_a_parabola_worked_by_hand():
    # E = (w - 3)^2 / 2, so S = 3 - w; lr = 0.1, mu = 1.75, mu / (1 + mu) = 7/11.
    optimizer = OPTIMIZERS["quickprop"]
    w, values, found = np.zeros(1), optimizer.hyperparameters(mu=1.75), []
    state = initial_state(optimizer, w, 0.1)
    for _ in range(4):
        w, state = optimizer.update(w, w - 3.0, state, 0.1, values)
        found.append(float(w[0]))
    # No step yet: 0.1 * 3. Then S = 2.7 > 7/11 * 3: 0.27 + 1.75 * 0.3.
    # Then S = 1.905 > 7/11 * 2.7: 0.1905 + 1.75 * 0.795.
    # Then S = 0.32325 < 7/11 * 1.905: 0.032325 and the step to the minimum of the parabola.
    first, second = 0.3, 0.3 + 0.27 + 0.525
    third = second + 0.1905 + 1.75 * 0.795
    assert found == pytest.approx([first, second, third, 3.0 + 0.1 * (3.0 - third)])


def test_every_optimizer_descends_a_paraboloid():
    for name, (lr, *values) in {**HYPERPARAMETERS, "quickprop": (0.1, 1.75)}.items():
        optimizer, w = OPTIMIZERS[name], np.array([2.0, -1.0])
        state = initial_state(optimizer, w, lr)
        losses = []
        for _ in range(400):
            losses.append(float((w * w).sum()))
            # Quickprop evaluates its parabola even where it does not use it: 0/0 at the minimum.
            with np.errstate(invalid="ignore"):
                w, state = optimizer.update(w, w, state, lr, optimizer.hyperparameters(*values))
        assert losses[-1] < 1e-2 * losses[0], name
        assert any(a > b for a, b in pairwise(losses))


def test_the_records_are_consistent():
    for optimizer in OPTIMIZERS.values():
        assert tuple(optimizer.initial_state) == optimizer.state._fields
        assert optimizer.symbols.keys() <= optimizer.initial_state.keys()
        assert optimizer.hyperparameters._fields == optimizer.hyperparameter_names


def test_an_optimizer_and_an_activation_from_outside_train_in_both_engines(monkeypatch):
    for registry in (OPTIMIZERS, ACTIVATIONS):
        monkeypatch.setattr(registry, "_records", dict(registry))

    def update(w, g, state, lr, hyperparameters):
        total = state.velocity + g * g
        return w - lr * hyperparameters.momentum * g / (1.0 + total), state._replace(velocity=total)

    momentum = OPTIMIZERS["momentum"]
    OPTIMIZERS.register(replace(momentum, name="damped", update=update))
    ACTIVATIONS.register(replace(
        ACTIVATIONS["tanh"], name="half_tanh", range=(-0.5, 0.5),
        function=lambda arithmetic, z: 0.5 * arithmetic.tanh(z),
        derivative=lambda a: 0.5 - 2.0 * (a * a),
    ))  # fmt: skip
    settings = {
        "optimizer": {"name": "damped", "momentum": 0.5}, "model__activation": "half_tanh",
        "epochs": 30, "hidden": 3,
    }  # fmt: skip
    results = [bpexp.train(**settings, engine=engine) for engine in ("numpy", "compiled")]
    assert results[0].losses[-1] < results[0].losses[0]
    np.testing.assert_array_equal(results[0].losses, results[1].losses)
    with pytest.raises(ConfigError, match=r"must have targets from -0\.5 to 0\.5"):
        bpexp.train(model__output="half_tanh")
