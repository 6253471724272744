"""Activation functions a = f(z) and their derivatives, which are written in terms of a.

See Rumelhart, Hinton and Williams 1986, eq. 10 onwards. All functions but softmax are
elementwise. To add an activation, register a record with everything that depends on it:

>>> sorted(ACTIVATIONS)  # doctest: +NORMALIZE_WHITESPACE
['identity', 'relu', 'sigmoid', 'softmax', 'softsign', 'symmetric_sigmoid', 'tanh']
>>> import numpy as np
>>> from bpexp.nn.arithmetic import EXACT
>>> relu = ACTIVATIONS["relu"]
>>> a = relu.function(EXACT, np.array([-1.0, 2.0]))
>>> a.tolist(), relu.derivative(a).tolist()
([0.0, 2.0], [0.0, 1.0])
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bpexp.fields import Registry
from bpexp.nn.arithmetic import Arithmetic
from bpexp.nn.ieee import where
from bpexp.nn.notation import ActivationNotation, factor
from bpexp.typing import Array

OnnxNode = Callable[..., str]
"""(operator, *inputs, **attributes) adds an ONNX node and returns the name of its output. The
constants "one" and "half" may be used as inputs."""


@dataclass(frozen=True)
class Activation:
    """An activation function with everything that the package derives from it.

    Attributes:
        name: The value of ``model.activation`` and ``model.output``.
        function: (arithmetic, z) -> a. Elementwise functions are also traced by the compiler
            on symbols, so they use only operators, ``abs``, ``where`` and ``arithmetic``.
        derivative: a -> f'(z), elementwise; None for softmax, which is not elementwise.
        range: The lowest and the highest value that a target may have.
        notation: How the function is written in worked examples.
        onnx: (node, z) -> name of the output of its ONNX nodes.
        is_branchless: Whether function and derivative use only + - * /, ``abs``,
            ``arithmetic.sigmoid`` and ``arithmetic.tanh``, which allows the compiler's fastest
            code for small networks. With ``where`` it must be False.
    """

    name: str
    function: Callable[[Arithmetic, Array], Array]
    derivative: Callable[[Array], Array] | None
    range: tuple[float, float]
    notation: ActivationNotation
    onnx: Callable[[OnnxNode, str], str]
    is_branchless: bool = False

    def slope(self, a: Array) -> Array:
        """f'(z), elementwise; for softmax the diagonal a (1 - a) of its Jacobian."""
        return sigmoid_derivative(a) if self.derivative is None else self.derivative(a)


def sigmoid_derivative(a: Array) -> Array:
    """a (1 - a)."""
    return a * (1.0 - a)


def symmetric_sigmoid_derivative(a: Array) -> Array:
    """(1/2 + a) (1/2 - a), the derivative of sigmoid(z) - 1/2."""
    return (0.5 + a) * (0.5 - a)


def tanh_derivative(a: Array) -> Array:
    """1 - a^2."""
    return 1.0 - a * a


def softsign(z: Array) -> Array:
    """z / (1 + |z|) (Elliott 1993)."""
    return z / (1.0 + abs(z))


def softsign_derivative(a: Array) -> Array:
    """(1 - |a|)^2."""
    return (1.0 - abs(a)) * (1.0 - abs(a))


def relu(z: Array) -> Array:
    """max(z, 0); NaN stays NaN."""
    out: Array = where(z <= 0.0, 0.0, z)
    return out


def relu_derivative(a: Array) -> Array:
    """1 where a > 0, otherwise 0."""
    out: Array = where(a > 0.0, 1.0, 0.0)
    return out


def softmax_vjp(arithmetic: Arithmetic, A: Array, V: Array) -> Array:
    """The vector-Jacobian product of softmax: a (v - sum_k v_k a_k) over axis 1.

    Args:
        arithmetic: The implementation of sums.
        A: Outputs of softmax, (n_samples, n_outputs[, n_runs]).
        V: The derivative of the loss with respect to A, of the same shape.

    Returns:
        The derivative of the loss with respect to the logits, of the same shape.
    """
    return A * (V - arithmetic.sum(V * A, 1)[:, None])


UNBOUNDED = (-math.inf, math.inf)
"""The range of an activation that allows any target."""

ACTIVATIONS = Registry("activation", [
    Activation(
        "sigmoid",
        lambda arithmetic, z: arithmetic.sigmoid(z),
        sigmoid_derivative,
        (0.0, 1.0),
        ActivationNotation("σ", "1 / (1 + e⁻ᶻ)", "a (1 − a)", lambda a: f"{a} · (1 − {a})"),
        lambda node, z: node("Sigmoid", z),
        is_branchless=True,
    ),
    Activation(
        "symmetric_sigmoid",
        lambda arithmetic, z: arithmetic.sigmoid(z) - 0.5,
        symmetric_sigmoid_derivative,
        (-0.5, 0.5),
        ActivationNotation(
            "s", "1 / (1 + e⁻ᶻ) − ½", "(½ + a) (½ − a)",
            lambda a: f"(½ + {factor(a)}) · (½ − {factor(a)})",
        ),
        lambda node, z: node("Sub", node("Sigmoid", z), "half"),
        is_branchless=True,
    ),
    Activation(
        "tanh",
        lambda arithmetic, z: arithmetic.tanh(z),
        tanh_derivative,
        (-1.0, 1.0),
        ActivationNotation(
            "tanh", "(eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)", "1 − a²", lambda a: f"(1 − {factor(a)}²)"
        ),
        lambda node, z: node("Tanh", z),
        is_branchless=True,
    ),
    Activation(
        "softsign",
        lambda arithmetic, z: softsign(z),
        softsign_derivative,
        (-1.0, 1.0),
        ActivationNotation(
            "softsign", "z / (1 + |z|)", "(1 − |a|)²", lambda a: f"(1 − |{a}|)²"
        ),
        # onnxruntime implements the operator Softsign in single precision only.
        lambda node, z: node("Div", z, node("Add", node("Abs", z), "one")),
        is_branchless=True,
    ),
    Activation(
        "relu",
        lambda arithmetic, z: relu(z),
        relu_derivative,
        UNBOUNDED,
        ActivationNotation(
            "relu", "max(z, 0)", "1 where z > 0, else 0", lambda a: "0" if a == "0" else "1"
        ),
        lambda node, z: node("Relu", z),
    ),
    Activation(
        "identity",
        lambda arithmetic, z: z,
        np.ones_like,
        UNBOUNDED,
        ActivationNotation("id", "z", "1", lambda a: "1"),
        lambda node, z: node("Identity", z),
        is_branchless=True,
    ),
    Activation(
        "softmax",
        lambda arithmetic, z: arithmetic.softmax(z),
        None,
        UNBOUNDED,
        ActivationNotation("softmax", "eᶻ / Σ eᶻ over the layer"),
        lambda node, z: node("Softmax", z, axis=1),
    ),
])  # fmt: skip


def elementwise_activations() -> list[str]:
    """The names of the activations that hidden layers can have: all but softmax."""
    return [name for name, a in ACTIVATIONS.items() if a.derivative is not None]
