"""Update rules against PyTorch's, where it has them, and against steps worked by hand."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bpexp.nn.optimizers import RULES

SETTINGS = {
    "gradient_descent": (0.1,),
    "momentum": (0.1, 0.9),
    "nesterov": (0.1, 0.9),
    "rmsprop": (0.01, 0.99, 1e-8),
    "adam": (0.01, 0.9, 0.999, 1e-8),
    "rprop": (0.01, 1.2, 0.5, 1e-6, 50.0),
}


def walk(name, gradients, lr, *settings, start=None):
    """The parameters after each of the given gradients."""
    w = np.zeros(gradients.shape[1]) if start is None else start.copy()
    slots = [np.full_like(w, lr if s is None else s) for s in RULES[name].slots]
    path = []
    for g in gradients:
        w, *slots = RULES[name].update(w, g, *slots, lr, *settings)
        path.append(w)
    return np.array(path)


STEPS = np.genfromtxt(Path(__file__).with_name("pytorch_steps.csv"), delimiter=",", names=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hundred_steps_are_pytorchs(name):
    """Kept as PyTorch 2.13 took them, in float64, by pytorch_steps.py."""
    lr, *settings = SETTINGS[name]
    gradients = STEPS["gradient"][:, None]
    assert len(gradients) == 100
    ours = walk(name, gradients, lr, *settings)[:, 0]
    np.testing.assert_allclose(ours, STEPS[name], rtol=1e-12, atol=1e-12)


def test_two_steps_of_each_rule_worked_by_hand():
    two = np.array([[1.0], [2.0]])
    # step = 0.9 step - 0.1 g: -0.1, then -0.09 - 0.2.
    assert walk("momentum", two, 0.1, 0.9)[:, 0] == pytest.approx([-0.1, -0.39])
    # The same steps, looked ahead: 0.9 step - 0.1 g once more.
    assert walk("nesterov", two, 0.1, 0.9)[:, 0] == pytest.approx([-0.19, -0.19 - 0.461])
    # Mean squares 0.5, then 0.5 * 0.5 + 0.5 * 4 = 2.25, whose root is 1.5.
    assert walk("rmsprop", two, 0.3, 0.5, 0.0)[:, 0] == pytest.approx(
        [-0.3 / 0.5**0.5, -0.3 / 0.5**0.5 - 0.3 * 2.0 / 1.5]
    )
    # Corrected means: 1, then (0.25 + 1) / 0.75; squares 1, then (0.25 + 2) / 0.75 = 3.
    assert walk("adam", two, 0.3, 0.5, 0.5, 0.0)[:, 0] == pytest.approx(
        [-0.3, -0.3 - 0.3 * (1.25 / 0.75) / 3**0.5]
    )
    # The sign stays: 0.1, then 0.12; it turns: 0.06 and no step; then 0.06 once more.
    signs = np.array([[1.0], [2.0], [-1.0], [-1.0]])
    steps = walk("rprop", signs, 0.1 / 1.2, 1.2, 0.5, 1e-6, 50.0)[:, 0]
    assert steps == pytest.approx([-0.1 / 1.2, -0.1 / 1.2 - 0.1, -0.1 / 1.2 - 0.1,
                                   -0.1 / 1.2 - 0.1 + 0.05])  # fmt: skip


def test_quickprop_on_a_parabola_worked_by_hand():
    # E = (w - 3)^2 / 2, so S = 3 - w; lr = 0.1, mu = 1.75, mu / (1 + mu) = 7/11.
    w, slots, path = np.zeros(1), [np.zeros(1), np.zeros(1)], []
    for _ in range(4):
        w, *slots = RULES["quickprop"].update(w, w - 3.0, *slots, 0.1, 1.75)
        path.append(float(w[0]))
    # No step yet: 0.1 * 3. Then S = 2.7 > 7/11 * 3: 0.27 + 1.75 * 0.3.
    # Then S = 1.905 > 7/11 * 2.7: 0.1905 + 1.75 * 0.795.
    # Then S = 0.32325 < 7/11 * 1.905: 0.032325 and the jump to the bottom from there.
    first, second = 0.3, 0.3 + 0.27 + 0.525
    third = second + 0.1905 + 1.75 * 0.795
    assert path == pytest.approx([first, second, third, 3.0 + 0.1 * (3.0 - third)])


def test_every_rule_goes_down_a_bowl():
    for name, (lr, *settings) in {**SETTINGS, "quickprop": (0.1, 1.75)}.items():
        w = np.array([2.0, -1.0])
        slots = [np.full_like(w, lr if s is None else s) for s in RULES[name].slots]
        losses = []
        for _ in range(400):
            losses.append(float((w * w).sum()))
            # Quickprop works its parabola out even where it is not the way: 0/0 at rest.
            with np.errstate(invalid="ignore"):
                w, *slots = RULES[name].update(w, w, *slots, lr, *settings)
        assert losses[-1] < 1e-2 * losses[0], name
        assert any(a > b for a, b in pairwise(losses))
