"""Generates the kernels: functions that train groups of runs, or evaluate their losses.

A kernel is generated for one kind of network (``KernelKind``: number of layers, activations, loss,
optimizer) and works for all widths and data. The training kernel consists of these loops, with
"group" as explained in ``lane_layout``:

    for each epoch:
        for each group of runs:
            for each mini-batch:
                for each block of samples:
                    forward pass, loss, backward pass: add to the gradient
                update the parameters
        return if a run has ended

A block is small enough for its activations to stay in the L1 and L2 caches. Sums are added in
index order and no operations are fused or reordered, so the results are bit-identical to NumPy's.
Several threads can share the work, see ``team``.

>>> from bpexp.nn.network import Network
>>> from bpexp.training.llvm.kind import Training
>>> network = Network(sizes=(2, 2, 1), activation_names=("sigmoid", "sigmoid"))
>>> kind = KernelKind(network, LANES, Training("adam"))
>>> "define i64 @bpexp_train(" in training_module(kind).replace('"', "")
True
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.nn.ieee import where
from bpexp.training.llvm import jit
from bpexp.training.llvm.codegen import (
    INDEX,
    NUMBER,
    Matrix,
    Variable,
    any_lane,
    constant,
    for_range,
    maximum,
    minimum,
    tiled_loops,
)
from bpexp.training.llvm.forward import ForwardCode, Program, Rows
from bpexp.training.llvm.kind import KernelKind
from bpexp.training.llvm.lane_layout import LANES
from bpexp.training.llvm.layout import Layout
from bpexp.training.llvm.product import (
    BLOCKED_PRODUCT,
    Tile,
    blocked_product_module,
    define_product,
)
from bpexp.training.llvm.team import Team
from bpexp.training.llvm.vector_ir import BOOLEANS, INTEGERS, Symbol, broadcast
from bpexp.training.update import apply_update, hyperparameter_names, initial_state

TRAIN, EVALUATE = "bpexp_train", "bpexp_evaluate"
"""Names of the generated functions."""


class Signature(NamedTuple):
    """Names of the arguments of a kernel.

    Attributes:
        sizes: Integers.
        integer_arrays: Addresses of int64 arrays.
        number_arrays: Addresses of float64 arrays.
    """

    sizes: tuple[str, ...]
    integer_arrays: tuple[str, ...]
    number_arrays: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the arguments."""
        return self.sizes + self.integer_arrays + self.number_arrays


TRAIN_SIGNATURE = Signature(
    (
        "n_epochs", "first_stored_epoch", "n_groups", "n_samples", "batch_size", "thread",
        "n_threads",
    ),
    ("layout", "sample_orders", "team", "cancelled"),
    (
        "lr_factors", "X", "Y", "class_weights", "lr_divisor", "lr", "weight_decay",
        "hyperparameters", "parameters", "final_parameters", "optimizer_state", "outputs",
        "stopping", "losses", "workspace",
    ),
)  # fmt: skip
EVALUATE_SIGNATURE = Signature(
    ("n_groups", "n_samples", "thread", "n_threads"),
    ("layout", "team", "cancelled"),
    ("X", "Y", "class_weights", "parameters", "outputs", "losses", "workspace"),
)
WRITTEN_BY_THREADS = {
    "parameters", "final_parameters", "optimizer_state", "outputs", "stopping", "losses",
    "workspace", "team", "cancelled",
}  # fmt: skip
"""Arrays that other threads may change while a kernel runs."""
STOPPING = ("stop_loss", "stop_tolerance", "patience", "best_loss", "epochs_since_best")
"""The rows of the array ``stopping``: attributes of ``BatchState``."""


def training_module(kind: KernelKind) -> str:
    """Generate a training kernel.

    The kernel returns the number of epochs done. It returns early after an epoch that ends a run,
    or leaves a parameter that is not finite. It returns ``CANCELLED`` soon after another thread
    changes the number at ``cancelled`` from 0; all results are then without meaning.

    The arguments of the kernel are those of ``TRAIN_SIGNATURE``:

    - ``thread``, ``n_threads`` and ``team``, see ``team``: all other arguments are the same in all
      threads, which return the same number unless they are cancelled;
    - ``layout``: the numbers of a ``Layout``, as ``Layout.to_list`` returns them;
    - ``X``, (n_samples, n_inputs), and ``Y``: inputs, and targets as ``RunGroups.pad_outputs``
      returns them;
    - ``lr_factors``, (n_epochs,);
    - ``sample_orders``, (n_epochs, n_samples, n_groups * group_size): only read if samples are
      shuffled;
    - ``class_weights``, (3, row length): thresholds, and the weights of low and of high targets;
      only read if there are such weights;
    - ``lr_divisor``, laid out like the parameters of a group: only read if there is one;
    - ``first_stored_epoch``: ``outputs`` receives the outputs of this and later epochs only, since
      storing them takes as long as a part of the training;
    - ``losses``, (n_epochs, n_groups * group_size): receives the training losses;
    - ``final_parameters``: receives the parameters before the last update of an epoch;
    - ``stopping``: has the rows of ``STOPPING``, of which the kernel updates the last two;
    - ``workspace``: holds 0, but 1 at ``Layout.ones``; of ``Layout.size_for`` the threads;
    - all other arrays are those of a ``BatchState`` by name, (n_groups, ..., group_size).

    Args:
        kind: What the kernel is generated for; it has ``training``.

    Returns:
        The program as LLVM assembly.
    """
    module = ir.Module()
    program = _begin_function(module, kind, TRAIN, TRAIN_SIGNATURE)
    b, arguments = program.b, program.arguments
    n_runs = b.mul(arguments["n_groups"], INDEX(kind.group_size))
    losses = Matrix(b, arguments["losses"], n_runs, kind.group_size)
    with for_range(b, 0, arguments["n_epochs"]) as epoch:
        has_ended = Variable(b, Symbol(b, ir.Constant(BOOLEANS, [False] * LANES)))
        with for_range(b, 0, arguments["n_groups"]) as group:
            code = _TrainingCode(program, group)
            code.train_epoch(epoch)
            with b.if_then(program.team.is_first):
                loss = code.reported_loss()
                losses.store_unit(loss, epoch, group)
                ended = b.or_(has_ended.get().value, code.ended_runs(loss))
                has_ended.set(Symbol(b, ended))
        with b.if_then(program.team.decision(any_lane(has_ended.get()))):
            b.ret(b.add(epoch, INDEX(1)))
    b.ret(arguments["n_epochs"])
    return str(module)


def evaluation_module(kind: KernelKind) -> str:
    """Generate an evaluation kernel, which computes the outputs and the loss of each run.

    Its arguments are those of ``EVALUATE_SIGNATURE``, with shapes as in ``training_module``, but
    ``losses`` is (n_groups * group_size,). It returns 0 or ``CANCELLED``.

    Args:
        kind: What the kernel is generated for; its ``training`` is not used.

    Returns:
        The program as LLVM assembly.
    """
    module = ir.Module()
    program = _begin_function(module, kind, EVALUATE, EVALUATE_SIGNATURE)
    b, _, arguments, layout, team = program
    losses = Matrix(b, arguments["losses"], INDEX(0), kind.group_size)
    with for_range(b, 0, arguments["n_groups"]) as group:
        code = ForwardCode(program, group)
        n_samples = arguments["n_samples"]
        with for_range(b, 0, n_samples, layout.block) as first:
            team.return_if_cancelled()
            count = minimum(b, b.sub(n_samples, first), layout.block)
            X, Y = code.block_in_index_order(first)
            rows = team.share(count)
            for layer in code.layers:
                code.forward(layer, X, rows)
            code.loss(Y, rows)
            code.store_outputs(first, rows)
            team.barrier()
            with b.if_then(team.is_first):
                code.add_losses(count)
            team.barrier()
        with b.if_then(team.is_first):
            losses.store_unit(code.reported_loss(), 0, group)
    b.ret(INDEX(0))
    return str(module)


def libraries() -> list[jit.Library]:
    """What the kernels of all kinds call: the same code, which takes long to compile."""
    tile = _tile(left_group_size=1)
    return [jit.Library((BLOCKED_PRODUCT, tile), lambda: blocked_product_module(tile))]


def _tile(left_group_size: int) -> Tile:
    """As many sums as fit into the registers: 32 with AVX-512, 16 of half the size with AVX."""
    if jit.has_cpu_feature("avx512f"):
        return Tile(4, 4, n_held=4)
    if jit.has_cpu_feature("avx") and left_group_size == 1:
        return Tile(3, 2, n_held=1)
    return Tile(2, 2, n_held=2)


def _begin_function(
    module: ir.Module, kind: KernelKind, name: str, signature: Signature
) -> Program:
    """Begin a kernel, with the functions that it calls."""
    types = [INDEX] * len(signature.sizes)
    types += [INDEX.as_pointer()] * len(signature.integer_arrays)
    types += [NUMBER.as_pointer()] * len(signature.number_arrays)
    function = ir.Function(module, ir.FunctionType(INDEX, types), name)
    arguments = dict(zip(signature.names, function.args, strict=True))
    for array in signature.integer_arrays + signature.number_arrays:
        if array not in WRITTEN_BY_THREADS:
            arguments[array].add_attribute("noalias")
    for left_group_size in sorted({1, kind.group_size}):
        define_product(module, _tile(left_group_size), left_group_size)
    b = ir.IRBuilder(function.append_basic_block())
    layout = Layout.of(kind.network, kind.group_size).map_numbers(
        lambda position, _: b.load(b.gep(arguments["layout"], [INDEX(position)]))
    )
    return Program(b, kind, arguments, layout, Team(b, arguments))


class Kernel(NamedTuple):
    """A function that can be generated.

    Attributes:
        name: Its name in the generated code.
        signature: Its arguments.
        generate: From a kind to the program that defines it, as LLVM assembly.
    """

    name: str
    signature: Signature
    generate: Callable[[KernelKind], str]


TRAINING_KERNEL = Kernel(TRAIN, TRAIN_SIGNATURE, training_module)
EVALUATION_KERNEL = Kernel(EVALUATE, EVALUATE_SIGNATURE, evaluation_module)


class _TrainingCode(ForwardCode):
    """Appends the code that trains one group of runs for one epoch.

    Args:
        program: The program, of a kind with ``training``.
        group: Index of the group, an LLVM integer.
    """

    def __init__(self, program: Program, group: Any) -> None:
        super().__init__(program, group)
        b, kind, arguments, layout, _ = program
        assert kind.training is not None
        self.training, optimizer = kind.training, kind.training.optimizer
        n_parameters, size = layout.n_parameters, kind.group_size
        # One number per run, or rows of them.
        self.lr = self.group_matrix("lr", 1, size)
        self.weight_decay = self.group_matrix("weight_decay", 1, size)
        self.stopping = self.group_matrix("stopping", len(STOPPING), size)
        self.n_hyperparameters = len(hyperparameter_names(optimizer))
        self.hyperparameters = self.group_matrix("hyperparameters", self.n_hyperparameters, size)
        # Rows laid out like the parameters.
        self.final_parameters = self.group_matrix("final_parameters", 1, n_parameters)
        self.n_state = len(initial_state(optimizer))
        self.optimizer_state = self.group_matrix("optimizer_state", self.n_state, n_parameters)
        workspace = arguments["workspace"]
        self.gradient = Matrix(b, b.gep(workspace, [layout.gradient]), n_parameters)
        self.weight_gradients, self.bias_gradients = (
            {i: self.layer_matrix(self.gradient.data, offsets[i], i) for i in self.layers}
            for offsets in (layout.weights, layout.biases)
        )
        # Blocks of samples; the product with ones sums dE/dz to the gradient of the biases.
        shuffled_length = b.mul(layout.widths[0], INDEX(size))
        self.shuffled_X = Matrix(b, b.gep(workspace, [layout.X]), shuffled_length, size)
        self.shuffled_Y = self.workspace_matrix(layout.Y, self.last)
        self.ones = Matrix(b, b.gep(workspace, [layout.ones]), INDEX(1))
        self.transposed_weights = {
            i: self.workspace_matrix(layout.transposed[i], i - 1) for i in self.layers[1:]
        }
        # How many outputs are not within the tolerance; 0, or NaN for a run that has diverged.
        self.missed, self.nonfinite = (Variable(b, constant(b, 0.0)) for _ in range(2))

    def train_epoch(self, epoch: Any) -> None:
        """Append an epoch of a group."""
        b, arguments = self.b, self.arguments
        n_samples, batch_size = arguments["n_samples"], arguments["batch_size"]
        n_batches = b.sdiv(b.add(n_samples, b.sub(batch_size, INDEX(1))), batch_size)
        lr_factor = Matrix(b, arguments["lr_factors"], INDEX(0)).load_unit(0, epoch)
        lr = self.lr.load_unit(0, 0) * lr_factor
        with for_range(b, 0, n_batches) as batch:
            start = b.mul(batch, batch_size)
            stop = minimum(b, b.add(start, batch_size), n_samples)
            self._transpose_weights()
            self.team.barrier()
            with for_range(b, start, stop, self.layout.block) as first:
                self.team.return_if_cancelled()
                count = minimum(b, b.sub(stop, first), self.layout.block)
                self._train_block(epoch, first, count, is_first=b.icmp_signed("==", first, start))
            # 4. update
            is_last = b.icmp_signed("==", stop, n_samples)
            columns = self.team.share(self.layout.n_parameters)
            with b.if_then(is_last), for_range(b, *columns, LANES) as column:
                self.final_parameters.store(self.parameters.load(0, column), 0, column)
            self._update(lr, columns)
            self.team.barrier()
            with b.if_then(b.and_(is_last, self.team.is_first)):
                self._check_parameters()

    def ended_runs(self, loss: Any) -> Any:
        """For which runs this was the last epoch, an LLVM vector of booleans.

        The decision is that of ``bpexp.training.stopping``.
        """
        stop_loss, stop_tolerance, patience, best_loss, epochs_since_best = (
            self.stopping.load_unit(row, 0) for row in range(len(STOPPING))
        )
        better = loss < best_loss
        best_loss = where(better, loss, best_loss)
        epochs_since_best = where(better, 0.0, epochs_since_best + 1.0)
        self.stopping.store_unit(best_loss, STOPPING.index("best_loss"), 0)
        self.stopping.store_unit(epochs_since_best, STOPPING.index("epochs_since_best"), 0)
        missed = where(stop_tolerance > 0.0, self.missed.get(), 1.0)
        # An infinite or undefined number times 0 is NaN, which equals nothing.
        is_finite = loss * 0.0 + self.nonfinite.get() == 0.0
        ends = [loss <= stop_loss, epochs_since_best >= patience, missed == 0.0]
        return reduce(self.b.or_, [end.value for end in ends], self.b.not_(is_finite.value))

    def _train_block(self, epoch: Any, first: Any, count: Any, is_first: Any) -> None:
        """Append forward and backward pass of ``count`` samples from ``first`` on.

        ``is_first`` is whether they are the first of a mini-batch, an LLVM boolean.
        """
        rows = self.team.share(count)
        if self.training.is_shuffled:
            X, Y = self._shuffled_block(epoch, first, rows)
        else:
            X, Y = self.block_in_index_order(first)
        # 1. forward pass
        for layer in self.layers:
            self.forward(layer, X, rows)
        # 2. loss
        self.loss(Y, rows)
        is_stored = self.b.icmp_signed(">=", epoch, self.arguments["first_stored_epoch"])
        with self.b.if_then(is_stored):
            self._store_block_outputs(epoch, first, rows)
        # 3. backward pass
        for layer in reversed(self.layers[1:]):
            self._propagate_deltas(layer, rows)
        self.team.barrier()
        with self.b.if_then(self.team.is_first):
            self.add_losses(count)
            self._count_missed(Y, count)
        for layer in reversed(self.layers):
            self._add_gradient(layer, X, count, is_first)
        self.team.barrier()

    def _transpose_weights(self) -> None:
        """Transpose the weights, so that the backward pass reads them row by row."""
        for layer, transposed in self.transposed_weights.items():
            n_in, n_out = self.layout.widths[layer - 1], self.layout.widths[layer]
            # With group size 1, collect whole vectors: storing single numbers far apart is slow.
            start, stop = self.team.share(n_in)
            for rows, n_rows in tiled_loops(self.b, stop, [LANES, 1], 1, start):
                with rows as k, for_range(self.b, 0, n_out) as j:
                    if n_rows == LANES and self.group_size == 1:
                        transposed.store(self.weights[layer].load_column(k, j), j, k)
                        continue
                    for row in (self.b.add(k, INDEX(i)) for i in range(n_rows)):
                        transposed.store_unit(self.weights[layer].load_unit(row, j), j, row)

    def _shuffled_block(self, epoch: Any, first: Any, rows: Rows) -> tuple[Matrix, Matrix]:
        """Copy inputs and targets of a block in each run's own order."""
        X, Y = self.block_in_index_order(INDEX(0))
        with self._shuffled_samples(epoch, first, rows) as (row, lane, sample):
            n_inputs = self.layout.widths[0]
            self._copy_units(n_inputs, (X, sample, INDEX(0)), (self.shuffled_X, row, lane))
            self._copy_units(self.n_outputs, (Y, sample, INDEX(0)), (self.shuffled_Y, row, lane))
        return self.shuffled_X, self.shuffled_Y

    def _store_block_outputs(self, epoch: Any, first: Any, rows: Rows) -> None:
        """Copy the outputs of a block to the rows of their samples."""
        if not self.training.is_shuffled:
            self.store_outputs(first, rows)
            return
        block = self.activations[self.last]
        with self._shuffled_samples(epoch, first, rows) as (row, lane, sample):
            self._copy_units(self.n_outputs, (block, row, lane), (self.outputs, sample, lane))

    @contextmanager
    def _shuffled_samples(
        self, epoch: Any, first: Any, rows: Rows
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Loop over rows of a block and the lanes; yield (row, lane, index of the sample)."""
        b, group_size = self.b, INDEX(self.group_size)
        n_runs = b.mul(self.arguments["n_groups"], group_size)
        orders = Matrix(b, self.arguments["sample_orders"], n_runs)
        with for_range(b, *rows) as row, for_range(b, 0, group_size) as lane:
            position = b.mul(epoch, self.arguments["n_samples"])
            position = b.add(position, b.add(first, row))
            run = b.add(b.mul(self.group, group_size), lane)
            yield row, lane, b.load(orders.address(position, run))

    def _copy_units(
        self, n_units: Any, source: tuple[Matrix, Any, Any], target: tuple[Matrix, Any, Any]
    ) -> None:
        """Copy the units of one lane; source and target are (matrix, row, lane)."""
        b = self.b

        def address(place: tuple[Matrix, Any, Any], unit: Any) -> Any:
            matrix, row, lane = place
            return matrix.address(row, b.add(b.mul(unit, INDEX(matrix.group_size)), lane))

        with for_range(b, 0, n_units) as unit:
            b.store(b.load(address(source, unit)), address(target, unit))

    def _count_missed(self, Y: Matrix, count: Any) -> None:
        """Count outputs that are not within the tolerance, if there is one."""
        b, outputs = self.b, self.activations[self.last]
        tolerance = self.stopping.load_unit(STOPPING.index("stop_tolerance"), 0)
        with (
            b.if_then(any_lane(tolerance > 0.0)),
            for_range(b, 0, count) as r,
            for_range(b, 0, self.n_outputs) as j,
        ):
            error = abs(outputs.load_unit(r, j) - Y.load_unit(r, j))
            missed = where(error < tolerance, constant(b, 0.0), 1.0)
            self.missed.set(self.missed.get() + missed)

    def _add_gradient(self, layer: int, X: Matrix, count: Any, is_first: Any) -> None:
        """Add the gradient of a block to the gradient of the mini-batch."""
        below = self.activations[layer - 1] if layer > 1 else X
        deltas, length = self.deltas[layer], self.layout.row_lengths[layer]
        start, stop = self.team.share(self.layout.widths[layer - 1])
        shape = (self.b.sub(stop, start), length, count)
        left = below._replace(data=below.address(0, self.b.mul(start, INDEX(below.group_size))))
        sums = self.weight_gradients[layer].starting_at(start)
        self.compute_product(shape, left, deltas, sums, transpose_left=True, is_new=is_first)
        start, stop = self.team.share(length)
        shape = (INDEX(1), self.b.sub(stop, start), count)
        right, sums = (
            matrix._replace(data=matrix.address(0, start))
            for matrix in (deltas, self.bias_gradients[layer])
        )
        self.compute_product(shape, self.ones, right, sums, transpose_left=True, is_new=is_first)

    def _propagate_deltas(self, layer: int, rows: Rows) -> None:
        """Compute the deltas of the layer below."""
        b, deltas = self.b, self.deltas[layer - 1]
        function = self.network.activation_names[layer - 2]
        length = self.layout.row_lengths[layer - 1]
        above, weights = self.deltas[layer], self.transposed_weights[layer]
        self.compute_rows(rows, self.layout.widths[layer], above, weights, deltas)
        with for_range(b, *rows) as r, for_range(b, 0, length, LANES) as k:
            slope = self.slope(function, self.activations[layer - 1].load(r, k))
            deltas.store(deltas.load(r, k) * slope, r, k)

    def _update(self, lr: Any, columns: tuple[Any, Any]) -> None:
        """Update some parameters and their optimizer state: their first column, and their end."""
        b, training, gradient = self.b, self.training, self.gradient
        start, stop = columns
        lr_divisor = Matrix(b, self.arguments["lr_divisor"], INDEX(0))
        weight_decay = self.weight_decay.load_unit(0, 0)
        hyperparameters = [
            self.hyperparameters.load_unit(row, 0) for row in range(self.n_hyperparameters)
        ]
        if self.network.bias_input != 1.0:
            with for_range(b, maximum(b, start, self.layout.biases[1]), stop, LANES) as column:
                g = self.network.bias_input * gradient.load(0, column)
                gradient.store(g, 0, column)
        with for_range(b, start, stop, LANES) as column:
            w, g = self.parameters.load(0, column), gradient.load(0, column)
            if training.has_weight_decay:
                g = g + weight_decay * w
            parameter_lr = lr / lr_divisor.load(0, column) if training.has_lr_divisor else lr
            state = [self.optimizer_state.load(row, column) for row in range(self.n_state)]
            w, state = apply_update(training.optimizer, w, g, state, parameter_lr, hyperparameters)
            self.parameters.store(w, 0, column)
            for row, values in enumerate(state):
                self.optimizer_state.store(values, row, column)

    def _check_parameters(self) -> None:
        """Set ``nonfinite`` to 0, or to NaN for runs with a parameter that is not finite."""
        b, check = self.b, Variable(self.b, constant(self.b, 0.0))
        if self.group_size == LANES:
            with for_range(b, 0, self.layout.n_parameters, LANES) as column:
                check.set(check.get() + self.parameters.load(0, column) * 0.0)
            self.nonfinite.set(check.get())
            return
        # Padding units are ignored. They can hold anything.
        lanes: Any = Symbol(b, ir.Constant(INTEGERS, list(range(LANES))))
        for layer in self.layers:
            n_in, n_out = self.layout.widths[layer - 1], self.layout.widths[layer]
            for matrix, n_rows in ((self.weights[layer], n_in), (self.biases[layer], INDEX(1))):
                with (
                    for_range(b, 0, n_rows) as row,
                    for_range(b, 0, self.layout.row_lengths[layer], LANES) as column,
                ):
                    is_unit = lanes < broadcast(b, b.sub(n_out, column))
                    check.set(check.get() + where(is_unit, matrix.load(row, column) * 0.0, 0.0))
        of_lanes = [b.extract_element(check.get().value, INDEX(lane)) for lane in range(LANES)]
        self.nonfinite.set(broadcast(b, reduce(b.fadd, of_lanes)))
