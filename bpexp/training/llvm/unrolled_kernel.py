"""Straight-line code for very small networks: a whole epoch without loops.

The training functions of ``bpexp.nn`` are traced once, on arrays of symbols, for one problem: its
data are constants of the code. If an epoch has no more than a few thousand operations, LLVM keeps
the weights of eight runs in registers, while the kernel for networks of any width loads and stores
them. Training XOR takes less than half the time. Nothing is reordered or fused, so the results are
bit-identical to NumPy's.

The code has no branches. It cannot handle runs with stopping criteria, and its results are
discarded if a run diverges or a sigmoid has an extreme argument; ``engine`` then uses the kernel
for networks of any width.

>>> supports_network(Network(sizes=(2, 2, 1), activation_names=("sigmoid", "sigmoid")), 4)
True
>>> supports_network(Network(sizes=(64, 32, 10), activation_names=("sigmoid", "sigmoid")), 1000)
False
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from bpexp.nn import elementary, ieee
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward, sample_losses
from bpexp.nn.network import Network, joined
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.training.engine import BatchState, Problem, Progress, RunStatus
from bpexp.training.llvm import jit
from bpexp.training.llvm.codegen import INDEX, NUMBER, Variable, constant, for_range
from bpexp.training.llvm.formulas import formulas_key
from bpexp.training.llvm.lane_layout import LANES, aligned_empty, from_lane_groups, to_lane_groups
from bpexp.training.llvm.vector_ir import FLOATS, Symbol, broadcast
from bpexp.training.update import apply_update, hyperparameter_names, initial_state
from bpexp.typing import Array

MAX_OPERATIONS = 4_000
"""Maximum number of operations in an epoch: their code fits into the L1 cache."""
ENTRY = "bpexp_train_unrolled"


def supports_network(network: Network, n_samples: int) -> bool:
    """Return whether a network can be traced and is small enough."""
    n_units = sum(network.sizes[1:])
    # An activation and its derivative take about 36 operations, a weight 6.
    operations = n_samples * (36 * n_units + 6 * (network.n_parameters - n_units))
    kind_of_loss = network.loss, network.error_signal, network.dead_zone
    is_plain = kind_of_loss == ("half_squared", "linear", 0.0)
    # ``ieee.where`` does not work on arrays of symbols.
    is_branchless = all(ACTIVATIONS[name].is_branchless for name in network.activation_names)
    return is_plain and is_branchless and operations <= MAX_OPERATIONS


def supports(problem: Problem, state: BatchState) -> bool:
    """Return whether this kernel can train a batch: full batches, no stopping criteria."""
    n_samples = len(problem.X)
    return (
        problem.batch_size >= n_samples
        and OPTIMIZERS[problem.optimizer].is_branchless
        and supports_network(problem.network, n_samples)
        and not state.has_stopping_criterion
    )


def advance(problem: Problem, state: BatchState, lr_factors: Array) -> Progress | None:
    """Train a batch that this kernel ``supports``.

    Args:
        problem: What the runs share.
        state: The runs; changed in place, unless None is returned.
        lr_factors: Factor of the learning rate in each epoch, (n_epochs,).

    Returns:
        The losses and statuses; None if a run diverged or an argument of sigmoid was extreme.
    """
    n_epochs, n_runs = len(lr_factors), state.n_runs
    changed = [state.parameters, state.optimizer_state, state.outputs]
    parameters, optimizer_state, outputs = groups = [to_lane_groups(a, LANES) for a in changed]
    n_groups = len(parameters)
    # A cache line longer than needed: rows of 1024 or 4096 losses would share their cache sets.
    stride = -(-n_epochs // 8) * 8 + 8
    losses = aligned_empty((n_groups * LANES, stride))
    extremes = aligned_empty((n_groups, LANES))
    arrays = Arguments(
        lr_factors=np.ascontiguousarray(lr_factors),
        parameters=parameters,
        optimizer_state=optimizer_state,
        hyperparameters=to_lane_groups(state.hyperparameters, LANES),
        lr=to_lane_groups(state.lr, LANES),
        weight_decay=to_lane_groups(state.weight_decay, LANES),
        losses=losses,
        outputs=outputs,
        extremes=extremes,
    )
    function = _load_function(problem)
    function(n_groups, n_epochs, stride, *(array.ctypes.data for array in arrays))
    run_losses = losses[:n_runs, :n_epochs].T
    is_finite = np.isfinite(parameters).all() and np.isfinite(run_losses.sum())
    if not (is_finite and extremes.max() <= elementary.MODERATE):
        return None
    for array, group in zip(changed, groups, strict=True):
        array[:] = from_lane_groups(group, array)
    return Progress(run_losses, np.full(n_runs, RunStatus.RUNNING, np.int8), state.parameters)


class Arguments(NamedTuple):
    """The array arguments of the kernel.

    Shapes are (n_groups, rows, LANES), but (n_epochs,) for ``lr_factors`` and (n_lanes, stride) for
    ``losses``. ``extremes``, (n_groups, LANES), receives the largest magnitude of an argument of
    sigmoid.
    """

    lr_factors: Any
    parameters: Any
    optimizer_state: Any
    hyperparameters: Any
    lr: Any
    weight_decay: Any
    losses: Any
    outputs: Any
    extremes: Any


def _load_function(problem: Problem) -> Any:
    arrays = [(a.shape, a.tobytes()) for a in (problem.X, problem.Y, problem.lr_divisor)]
    formulas = formulas_key(problem.network.activation_names, problem.optimizer)
    key = (problem.network, problem.optimizer, problem.has_weight_decay, arrays, *formulas)
    types = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * len(Arguments._fields)
    function_type = jit.FunctionType(ENTRY, None, types)
    return jit.load_function(key, function_type, lambda: generate_module(problem))


def generate_module(problem: Problem) -> str:
    """Generate the kernel for a problem.

    Its arguments are n_groups, n_epochs, stride (of ``losses``), and ``Arguments``.

    Returns:
        The program as LLVM assembly.
    """
    module, n_arrays = ir.Module(), len(Arguments._fields)
    types = [INDEX] * 3 + [NUMBER.as_pointer()] * n_arrays
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), ENTRY)
    n_groups, n_epochs, stride = function.args[:3]
    arrays = Arguments(*function.args[3:])
    b = ir.IRBuilder(function.append_basic_block("entry"))
    with for_range(b, 0, n_groups) as group:
        _append_training(_GroupRows(b, group), problem, arrays, n_epochs, stride)
    b.ret_void()
    return str(module)


class _GroupRows(NamedTuple):
    """The rows of one group in arrays of (n_groups, n_rows, LANES).

    Attributes:
        b: Appends instructions.
        group: Index of the group, an LLVM integer.
    """

    b: ir.IRBuilder
    group: Any

    def addresses(self, array: Any, n_rows: int) -> list[Any]:
        """Return the address of each row."""
        b = self.b
        first = b.mul(self.group, INDEX(n_rows * LANES))
        addresses = [b.gep(array, [b.add(first, INDEX(k * LANES))]) for k in range(n_rows)]
        return [b.bitcast(address, FLOATS.as_pointer()) for address in addresses]

    def load(self, array: Any, n_rows: int) -> list[Any]:
        """Load the rows, as Symbols."""
        return [Symbol(self.b, self.b.load(a, align=8)) for a in self.addresses(array, n_rows)]


def _append_training(
    rows: _GroupRows, problem: Problem, arrays: Arguments, n_epochs: Any, stride: Any
) -> None:
    """Append the training of one group: load its state, train all epochs, store the state."""
    b, n_parameters = rows.b, problem.network.n_parameters
    n_state = len(initial_state(problem.optimizer))
    n_hyperparameters = len(hyperparameter_names(problem.optimizer))
    state_addresses = rows.addresses(arrays.parameters, n_parameters)
    state_addresses += rows.addresses(arrays.optimizer_state, n_state * n_parameters)
    state = [Variable(b, Symbol(b, b.load(a, align=8))) for a in state_addresses]
    outputs = [Variable(b, constant(b, 0.0)) for _ in range(problem.Y.size)]
    extreme = Variable(b, constant(b, 0.0))
    hyperparameters = rows.load(arrays.hyperparameters, n_hyperparameters)
    (lr,), (weight_decay,) = rows.load(arrays.lr, 1), rows.load(arrays.weight_decay, 1)
    with for_range(b, 0, n_epochs) as epoch:
        lr_factor = broadcast(b, b.load(b.gep(arrays.lr_factors, [epoch])))
        inputs = _EpochInputs(
            state=_array([variable.get() for variable in state], 1 + n_state, n_parameters, 1),
            lr=_array([lr * lr_factor], 1),
            weight_decay=_array([weight_decay], 1),
            hyperparameters=_array(hyperparameters, n_hyperparameters, 1),
        )
        loss, new_outputs, new_state = _trace_epoch(problem, inputs, extreme)
        first_row = b.mul(b.mul(rows.group, INDEX(LANES)), stride)
        for lane in range(LANES):
            row = b.add(first_row, b.mul(stride, INDEX(lane)))
            number = b.extract_element(loss.value, ir.IntType(32)(lane))
            b.store(number, b.gep(arrays.losses, [b.add(row, epoch)]))
        for variable, value in zip([*state, *outputs], [*new_state, *new_outputs], strict=True):
            variable.set(value)
    addresses = [
        *state_addresses,
        *rows.addresses(arrays.outputs, problem.Y.size),
        *rows.addresses(arrays.extremes, 1),
    ]
    for variable, address in zip([*state, *outputs, extreme], addresses, strict=True):
        b.store(variable.get().value, address, align=8)


class _EpochInputs(NamedTuple):
    """Arrays of symbols that an epoch starts from.

    Attributes:
        state: Parameters and optimizer state, (1 + n_state, n_parameters, 1).
        lr: (1,).
        weight_decay: (1,).
        hyperparameters: (n_hyperparameters, 1).
    """

    state: Any
    lr: Any
    weight_decay: Any
    hyperparameters: Any


def _array(symbols: Sequence[Symbol], *shape: int) -> Any:
    array = np.empty(len(symbols), object)
    array[:] = symbols
    return array.reshape(shape)


def _trace_epoch(
    problem: Problem, inputs: _EpochInputs, extreme: Variable
) -> tuple[Symbol, Any, Any]:
    """Trace an epoch: the four steps of ``NumpyEngine.advance`` on arrays of symbols.

    Args:
        problem: What the runs share.
        inputs: What the epoch starts from.
        extreme: The largest magnitude so far of an argument of sigmoid; updated.

    Returns:
        The training loss, the outputs and the new state, the last two as flat arrays.
    """
    network = problem.network

    def sigmoid(z: Any) -> Any:
        size, largest = abs(z), extreme.get()
        extreme.set(ieee.where(size > largest, size, largest))
        return elementary.sigmoid_of_moderate(z)

    arithmetic = EXACT._replace(sigmoid=_elementwise(sigmoid), tanh=_elementwise(elementary.tanh))
    X, Y = problem.X[:, :, None], problem.Y[:, :, None]
    loss = LOSSES[network.loss].on(network.activation_names[-1])
    parameters, *optimizer_state = inputs.state
    weights, biases = network.split(parameters)
    # 1. forward pass
    activations, logits = forward(network, X, weights, biases, arithmetic)
    # 2. loss
    losses = sample_losses(network, logits, activations[-1], Y, arithmetic)
    total = arithmetic.sum(losses, 0)
    (reported_loss,) = loss.reported(total, *problem.Y.shape)
    # 3. backward pass
    gradient = joined(*backward(network, activations, Y, weights, arithmetic))
    # 4. update
    if problem.has_weight_decay:
        gradient = gradient + inputs.weight_decay * parameters
    lr = inputs.lr / problem.lr_divisor[:, None]
    parameters, optimizer_state = apply_update(
        problem.optimizer, parameters, gradient, optimizer_state, lr, inputs.hyperparameters
    )
    new_state = np.concatenate([parameters, *optimizer_state]).ravel()
    return reported_loss, activations[-1].ravel(), new_state


def _elementwise(formula: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply a formula to each symbol of an array."""
    function: Callable[[Any], Any] = np.frompyfunc(formula, 1, 1)
    return function
