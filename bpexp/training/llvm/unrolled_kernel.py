"""Small networks as straight code: an epoch, traced and compiled for the one problem.

The textbook's functions run once on symbols, which write down each operation. Of a network whose
whole epoch is some hundreds of them LLVM keeps the weights of several lanes in registers, where
loops for networks of any shape load and store them. Nothing is reordered or fused, so the bits
are NumPy's.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from bpexp.nn import elementary, ieee
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward
from bpexp.nn.network import Network, joined
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.training.engine import NO_PATIENCE, Ending, Lanes, Problem, Progress
from bpexp.training.llvm import jit
from bpexp.training.llvm.lane_layout import aligned, in_lanes, in_strips
from bpexp.training.llvm.vector_ir import LANES, REAL, Symbol, spread
from bpexp.typing import Array

ACTIVATIONS = {"sigmoid", "symmetric_sigmoid", "tanh", "softsign", "identity"}
SMOOTH_RULES = {"gradient_descent", "momentum", "nesterov", "rmsprop", "adam"}
"""Formulas without a choice between numbers, which arrays of symbols do not have."""
LARGEST = 4_000
"""Operations of an epoch at most: their code stays in the first-level cache."""
ENTRY = "bpexp_train"
INDEX = ir.IntType(64)


def suits(network: Network, n_samples: int, batch_size: int, rule: str) -> bool:
    """Whether such a problem can be traced, and gains by it."""
    units = sum(network.sizes[1:])
    operations = n_samples * (36 * units + 6 * (network.n_parameters - units))
    plain = (network.loss, network.error, network.dead_zone) == ("half_squared", "linear", 0.0)
    smooth = ACTIVATIONS.issuperset(network.functions) and rule in SMOOTH_RULES
    return plain and smooth and batch_size >= n_samples and operations <= LARGEST


def takes(problem: Problem, lanes: Lanes) -> bool:
    """Whether such a problem suits and no lane has a stopping rule."""
    rules = (lanes.stop_loss >= 0.0) | (lanes.stop_tolerance > 0.0) | (lanes.patience < NO_PATIENCE)
    network, n_samples = problem.network, len(problem.X)
    return not rules.any() and suits(network, n_samples, problem.batch_size, problem.rule)


def advance(problem: Problem, lanes: Lanes, factors: Array) -> Progress | None:
    """See ``problem.Engine``, for what it ``takes`` and samples in index order; None, with
    ``lanes`` as they were, where a lane comes to its end or a logit is beyond
    ``elementary.MODERATE``.
    """
    epochs, n = len(factors), len(lanes.run)
    changing = [lanes.parameters, lanes.slots, lanes.outputs]
    parameters, slots, outputs = strips = [in_strips(array, LANES) for array in changing]
    settings, lr, decay = (in_strips(a, LANES) for a in (lanes.settings, lanes.lr, lanes.decay))
    n_strips = len(parameters)
    # Rows that begin in different sets of the cache: a strip writes to all of its at once.
    stride = -(-epochs // 8) * 8 + 8
    losses, extremes = aligned((n_strips * LANES, stride)), aligned((n_strips, LANES))
    arrays = (
        np.ascontiguousarray(factors), parameters, slots, settings, lr, decay, losses, outputs,
        extremes,
    )  # fmt: skip
    _function(problem)(n_strips, epochs, stride, *(array.ctypes.data for array in arrays))
    curves = losses[:n, :epochs].T
    sound = np.isfinite(curves[-1]).all() and np.isfinite(parameters).all()
    if not (sound and np.isfinite(curves.sum()) and extremes.max() <= elementary.MODERATE):
        return None
    for array, strip in zip(changing, strips, strict=True):
        array[:] = in_lanes(strip, array)
    endings = np.full(n, Ending.RUNNING, np.int8)
    return Progress(curves, endings, lanes.parameters)


def _function(problem: Problem) -> Any:
    arrays = [(a.shape, a.tobytes()) for a in (problem.X, problem.Y, problem.divisor)]
    about = (problem.network, problem.rule, problem.decays, arrays)
    arguments = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 9
    return jit.function(about, ENTRY, lambda: module(problem), None, arguments)


def module(problem: Problem) -> str:
    """LLVM's text of ENTRY(n_strips, epochs, stride, factors, parameters, slots, settings, lr,
    decay, losses, outputs, extremes).

    Arrays are (n_strips, rows, LANES), but for factors (epochs,) and losses (lanes, stride);
    ``extremes`` are the largest magnitudes of a logit.
    """
    made, address = ir.Module(), ir.DoubleType().as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [INDEX] * 3 + [address] * 9)
    function = ir.Function(made, kind, ENTRY)
    n_strips, epochs, stride, factors, *arrays, losses, outputs, extremes = function.args
    network, rule = problem.network, OPTIMIZERS[problem.rule]
    P, n_slots = network.n_parameters, len(rule.initial_state)
    b = ir.IRBuilder(function.append_basic_block())
    strips, body, done, end = (function.append_basic_block() for _ in range(4))

    def rows(array: Any, count: int) -> list[Any]:
        """Where the strip's rows of the array are."""
        first = b.mul(strip, INDEX(count * LANES))
        places = [b.gep(array, [b.add(first, INDEX(k * LANES))]) for k in range(count)]
        return [b.bitcast(place, REAL.as_pointer()) for place in places]

    def loaded(places: Sequence[Any], *shape: int) -> Any:
        return _symbols(b, [b.load(place, align=8) for place in places], *shape)

    before = b.block
    b.branch(strips)
    b.position_at_end(strips)
    strip = b.phi(INDEX)
    strip.add_incoming(INDEX(0), before)
    held = rows(arrays[0], P) + rows(arrays[1], n_slots * P)
    first = [b.load(place, align=8) for place in held]
    n_settings = len(rule.hyperparameter_names)
    settings = loaded(rows(arrays[2], n_settings), n_settings, 1)
    lr, decay = (loaded(rows(array, 1), 1) for array in arrays[3:])
    curve = b.mul(b.mul(strip, INDEX(LANES)), stride)
    predicted, (farthest,) = rows(outputs, problem.Y.size), rows(extremes, 1)
    b.branch(body)

    b.position_at_end(body)
    epoch, extreme = b.phi(INDEX), b.phi(REAL)
    state = [b.phi(REAL) for _ in held]
    epoch.add_incoming(INDEX(0), strips)
    extreme.add_incoming(ir.Constant(REAL, [0.0] * LANES), strips)
    for now, value in zip(state, first, strict=True):
        now.add_incoming(value, strips)
    rate = lr * spread(b, b.load(b.gep(factors, [epoch])))
    far = [Symbol(b, extreme)]
    loss, A, after = _epoch(
        problem, _symbols(b, state, 1 + n_slots, P, 1), rate, decay, settings, far
    )
    for lane in range(LANES):
        one = b.extract_element(loss.value, ir.IntType(32)(lane))
        row = b.add(curve, b.mul(stride, INDEX(lane)))
        b.store(one, b.gep(losses, [b.add(row, epoch)]))
    following = b.add(epoch, INDEX(1))
    epoch.add_incoming(following, body)
    extreme.add_incoming(far[0].value, body)
    for now, symbol in zip(state, after, strict=True):
        now.add_incoming(symbol.value, body)
    b.cbranch(b.icmp_signed("<", following, epochs), body, done)

    b.position_at_end(done)
    for symbol, place in zip([*after, *A, far[0]], [*held, *predicted, farthest], strict=True):
        b.store(symbol.value, place, align=8)
    next_strip = b.add(strip, INDEX(1))
    strip.add_incoming(next_strip, done)
    b.cbranch(b.icmp_signed("<", next_strip, n_strips), strips, end)
    b.position_at_end(end)
    b.ret_void()
    return str(made)


def _symbols(builder: ir.IRBuilder, values: Sequence[Any], *shape: int) -> Any:
    symbols = np.empty(len(values), object)
    symbols[:] = [Symbol(builder, value) for value in values]
    return symbols.reshape(shape)


def _epoch(
    problem: Problem, state: Any, lr: Any, decay: Any, settings: Any, far: list[Any]
) -> tuple[Symbol, Any, Any]:
    """The textbook's four steps, as in ``reference.advance``, on arrays of symbols: the loss, the
    outputs, and ``state`` after it: parameters and slots, flat.

    ``far`` holds the largest magnitude of a sigmoid's argument so far.
    """
    network = problem.network

    def sigmoid(z: Any) -> Any:
        size = abs(z)
        far[0] = ieee.where(size > far[0], size, far[0])
        return elementary.sigmoid_of_moderate(z)

    arithmetic = EXACT._replace(sigmoid=_each(sigmoid), tanh=_each(elementary.tanh))
    X, Y = problem.X[:, :, None], problem.Y[:, :, None]
    loss = LOSSES[network.loss].on(network.functions[-1])
    weights, biases = network.split(state[0])
    # 1. forward pass
    activations, logits = forward(network, X, weights, biases, arithmetic)
    # 2. error
    total = arithmetic.sum(loss.per_row(arithmetic, logits, activations[-1], Y), 0)
    (reported,) = loss.reported(total, *problem.Y.shape)
    # 3. backward pass
    gradient = joined(*backward(network, activations, Y, weights, arithmetic))
    # 4. update
    if problem.decays:
        gradient = gradient + decay * state[0]
    rates = lr / problem.divisor[:, None]
    optimizer = OPTIMIZERS[problem.rule]
    slots, hyperparameters = optimizer.state(*state[1:]), optimizer.hyperparameters(*settings)
    w, slots = optimizer.update(state[0], gradient, slots, rates, hyperparameters)
    return reported, activations[-1].ravel(), np.concatenate([w, *slots]).ravel()


def _each(formula: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The formula of each of an array's symbols."""
    made: Callable[[Any], Any] = np.frompyfunc(formula, 1, 1)
    return made
