"""Generates the forward pass and the loss of a block of samples for one group of runs.

The code works for networks with a given number of layers and given activation functions, of any
widths. Products are computed by the function that ``product.define_product`` wrote; everything
elementwise is traced from the formulas in ``bpexp.nn``. Sums are added in index order.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.nn import elementary
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.ieee import where
from bpexp.nn.losses import ERROR_SIGNALS, LOSSES, binary_cross_entropy
from bpexp.training.llvm.codegen import (
    BOOLEAN,
    INDEX,
    NUMBER,
    ZERO_SUM,
    Matrix,
    Variable,
    any_lane,
    constant,
    for_range,
    to_index,
)
from bpexp.training.llvm.kind import KernelKind
from bpexp.training.llvm.lane_layout import LANES
from bpexp.training.llvm.layout import Layout
from bpexp.training.llvm.product import ProductArguments, product_name
from bpexp.training.llvm.team import Team
from bpexp.training.llvm.vector_ir import Symbol, broadcast

Rows = tuple[Any, Any]
"""First row and end of rows, LLVM integers."""


class Program(NamedTuple):
    """A kernel that is being generated.

    Attributes:
        b: Appends instructions.
        kind: What the kernel is generated for.
        arguments: LLVM values of the kernel's arguments, by name; see ``kernel``.
        layout: Layout whose numbers are LLVM values.
        team: The threads that call the kernel together.
    """

    b: ir.IRBuilder
    kind: KernelKind
    arguments: Mapping[str, Any]
    layout: Layout
    team: Team


class ForwardCode:
    """Appends the code of forward pass and loss of one group of runs to a program.

    The attributes are matrices of the group, see ``Layout``: parameters and outputs are arguments
    of the kernel, ``logits``, ``activations`` and ``deltas`` (by layer), ``sample_losses`` and
    ``loss_terms`` are in the workspace.

    Args:
        program: The program.
        group: Index of the group, an LLVM integer.
    """

    def __init__(self, program: Program, group: Any) -> None:
        b, kind, arguments, layout, self.team = program
        self.b, self.arguments, self.layout, self.group = b, arguments, layout, group
        self.network, self.group_size = kind.network, kind.group_size
        self.layers = range(1, len(self.network.sizes))
        self.last = self.layers[-1]
        self.n_outputs = layout.widths[self.last]
        self.output_length = layout.row_lengths[self.last]
        self.parameters = self.group_matrix("parameters", 1, layout.n_parameters)
        self.weights, self.biases = (
            {i: self.layer_matrix(self.parameters.data, offsets[i], i) for i in self.layers}
            for offsets in (layout.weights, layout.biases)
        )
        self.outputs = self.group_matrix("outputs", arguments["n_samples"], self.output_length)
        self.loss_terms = self.layer_matrix(
            self._own_workspace(layout.loss_terms), INDEX(0), self.last
        )
        self.sample_losses = Matrix(
            b,
            b.gep(arguments["workspace"], [layout.sample_losses]),
            INDEX(self.group_size),
            self.group_size,
        )
        self.logits, self.activations, self.deltas = (
            {i: self.workspace_matrix(offsets[i], i) for i in self.layers}
            for offsets in (layout.logits, layout.activations, layout.deltas)
        )
        # Rows: thresholds, and the weights of low and of high targets. See ``ClassWeights``.
        self.class_weights = Matrix(
            b, arguments["class_weights"], self.output_length, self.group_size
        )
        self.total_loss = Variable(b, constant(b, ZERO_SUM))

    def group_matrix(self, name: str, n_rows: Any, length: Any) -> Matrix:
        """The group's part of an argument, a matrix with so many rows of this length."""
        size = self.b.mul(to_index(n_rows), to_index(length))
        address = self.b.gep(self.arguments[name], [self.b.mul(self.group, size)])
        return Matrix(self.b, address, to_index(length), self.group_size)

    def layer_matrix(self, data: Any, offset: Any, layer: int) -> Matrix:
        """A matrix that begins at an offset, whose rows hold the units of a layer."""
        address = self.b.gep(data, [offset])
        return Matrix(self.b, address, self.layout.row_lengths[layer], self.group_size)

    def workspace_matrix(self, offset: Any, layer: int) -> Matrix:
        """A matrix in the workspace, whose rows hold the units of a layer."""
        return self.layer_matrix(self.arguments["workspace"], offset, layer)

    def _own_workspace(self, offset: Any) -> Any:
        """Address of this thread's copy of a part of the workspace."""
        own = self.b.mul(self.team.thread, self.layout.thread_size)
        return self.b.gep(self.arguments["workspace"], [self.b.add(offset, own)])

    def block_in_index_order(self, first: Any) -> tuple[Matrix, Matrix]:
        """Inputs and targets of the samples from ``first`` on, in index order."""
        X = Matrix(self.b, self.arguments["X"], self.layout.widths[0])
        length = self.output_length if self.group_size == 1 else self.n_outputs
        Y = Matrix(self.b, self.arguments["Y"], length)
        return X.starting_at(first), Y.starting_at(first)

    def compute_product(
        self,
        shape: tuple[Any, Any, Any],
        left: Matrix,
        right: Matrix,
        sums: Matrix,
        transpose_left: bool = False,
        is_new: Any = None,
    ) -> None:
        """Store ``left @ right``, or ``left.T @ right``, in ``sums``, or add it to ``sums``.

        Args:
            shape: (rows, columns, terms per sum) of the product.
            left: Its numbers are vectors or scalars, depending on its group size.
            right: Has rows as long as those of ``sums``.
            sums: Result.
            transpose_left: Whether to transpose ``left``.
            is_new: Whether to replace the previous ``sums``, an LLVM boolean; None: True.
        """
        row_stride, term_stride = left.stride, INDEX(left.group_size)
        if transpose_left:
            row_stride, term_stride = term_stride, row_stride
        arguments = ProductArguments(
            *shape,
            left.data,
            row_stride,
            term_stride,
            right.data,
            right.stride,
            sums.data,
            BOOLEAN(True) if is_new is None else is_new,
            self._own_workspace(self.layout.packed_right),
            self._own_workspace(self.layout.packed_left),
        )
        self.b.call(self.b.module.globals[product_name(left.group_size)], arguments)

    def compute_rows(
        self, rows: Rows, n_terms: Any, left: Matrix, right: Matrix, sums: Matrix
    ) -> None:
        """Store some rows of ``left @ right`` in ``sums``; see ``compute_product``."""
        start, stop = rows
        shape = (self.b.sub(stop, start), right.stride, n_terms)
        self.compute_product(shape, left.starting_at(start), right, sums.starting_at(start))

    def forward(self, layer: int, X: Matrix, rows: Rows) -> None:
        """Compute the logits of a layer, and the activations of a hidden layer."""
        b, logits = self.b, self.logits[layer]
        below = self.activations[layer - 1] if layer > 1 else X
        length = self.layout.row_lengths[layer]
        self.compute_rows(rows, self.layout.widths[layer - 1], below, self.weights[layer], logits)
        with for_range(b, *rows) as r, for_range(b, 0, length, LANES) as j:
            bias = self.biases[layer].load(0, j)
            z = logits.load(r, j) + self.network.bias_input * bias
            logits.store(z, r, j)
            if layer < self.last:
                name = self.network.activation_names[layer - 1]
                self.activations[layer].store(activate(name, z), r, j)

    def loss(self, Y: Matrix, rows: Rows) -> None:
        """Compute the outputs and dE/dz of the last layer, and the loss of each sample."""
        b, function = self.b, self.network.activation_names[-1]
        outputs, logits = self.activations[self.last], self.logits[self.last]
        with for_range(b, *rows) as r:
            if function == "softmax":
                self._softmax(r)
            else:
                with self.output_vectors() as j:
                    outputs.store(activate(function, logits.load(r, j)), r, j)
            if self.network.loss == "half_squared":
                loss = 0.5 * self._squared_error(Y, r)
            elif function == "softmax":
                loss = self._categorical_cross_entropy(Y, r)
            else:
                loss = self._binary_cross_entropy(Y, r)
            if self.network.class_weights is not None:
                loss = self._weighted(loss, Y, r)
            self.sample_losses.store_unit(loss, r, 0)

    def add_losses(self, n_samples: Any) -> None:
        """Add the losses of the samples of a block to the total."""
        with for_range(self.b, 0, n_samples) as r:
            self.total_loss.set(self.total_loss.get() + self.sample_losses.load_unit(r, 0))

    def store_outputs(self, first: Any, rows: Rows) -> None:
        """Copy the outputs of a block to the rows from ``first`` on."""
        block = self.activations[self.last]
        with for_range(self.b, *rows) as r, self.output_vectors() as j:
            self.outputs.store(block.load(r, j), self.b.add(first, r), j)

    def reported_loss(self) -> Any:
        """The loss that is logged for the total loss, a Symbol."""
        b, network = self.b, self.network
        loss: Any = LOSSES[network.loss].on(network.activation_names[-1])
        n_samples, n_outputs = (
            broadcast(b, b.sitofp(count, NUMBER))
            for count in (self.arguments["n_samples"], self.n_outputs)
        )
        return loss.reported(self.total_loss.get(), n_samples, n_outputs)

    def output_vectors(self) -> Any:
        """A loop over the vectors in a row of outputs."""
        return for_range(self.b, 0, self.output_length, LANES)

    def _targets(self, Y: Matrix, r: Any, j: Any) -> Any:
        """The targets of a vector of outputs, which begins at column ``j`` of row ``r``.

        Side by side are units of one run, the same unit of several runs that have samples of their
        own in the row, or of several runs with the same samples: ``Y`` then has it once.
        """
        if Y.group_size == self.group_size:
            return Y.load(r, j)
        return Y.load_unit(r, self.b.udiv(j, INDEX(self.group_size)))

    def _sum_of_loss_terms(self) -> Any:
        total = Variable(self.b, constant(self.b, ZERO_SUM))
        with for_range(self.b, 0, self.n_outputs) as j:
            total.set(total.get() + self.loss_terms.load_unit(0, j))
        return total.get()

    def _largest_logit(self, r: Any) -> Any:
        """The largest logit of a sample; NaN if any of them is."""
        logits = self.logits[self.last]
        largest = Variable(self.b, logits.load_unit(r, 0))
        with for_range(self.b, 1, self.n_outputs) as j:
            z = logits.load_unit(r, j)
            largest.set(where(z > largest.get(), z, where(z == z, largest.get(), z)))
        return largest.get()

    def _softmax(self, r: Any) -> None:
        """Compute softmax with a compensated sum, as ``bpexp.nn.arithmetic.EXACT`` does."""
        b, outputs, logits = self.b, self.activations[self.last], self.logits[self.last]
        largest = self._largest_logit(r)
        with self.output_vectors() as j:
            outputs.store(elementary.exp_of_difference(logits.load(r, j), largest), r, j)
        total, rounding_error = (Variable(b, constant(b, ZERO_SUM)) for _ in range(2))
        with for_range(b, 0, self.n_outputs) as j:
            before, power = total.get(), outputs.load_unit(r, j)
            total.set(before + power)
            error = elementary.sum_error(before, power, total.get())
            rounding_error.set(rounding_error.get() + error)
        divisor = total.get() + rounding_error.get()
        with self.output_vectors() as j:
            outputs.store(outputs.load(r, j) / divisor, r, j)

    def _squared_error(self, Y: Matrix, r: Any) -> Any:
        """Compute the sum of the squared errors of a sample, and dE/dz of half of it."""
        network, outputs, deltas = self.network, self.activations[self.last], self.deltas[self.last]
        function = network.activation_names[-1]
        # The errors stay in the place of dE/dz until that is computed from them.
        with self.output_vectors() as j:
            error = outputs.load(r, j) - self._targets(Y, r, j)
            deltas.store(error, r, j)
            self.loss_terms.store(error * error, 0, j)
        total = self._sum_of_loss_terms()
        with self.output_vectors() as j:
            a = outputs.load(r, j)
            error = ERROR_SIGNALS[network.error_signal](deltas.load(r, j), network.dead_zone)
            if function == "softmax":
                self.loss_terms.store(error * a, 0, j)
            else:
                error = error * self.slope(function, a)
            deltas.store(error, r, j)
        if function == "softmax":
            weighted_error = self._sum_of_loss_terms()
            with self.output_vectors() as j:
                deltas.store(outputs.load(r, j) * (deltas.load(r, j) - weighted_error), r, j)
        return total

    def _binary_cross_entropy(self, Y: Matrix, r: Any) -> Any:
        outputs, deltas = self.activations[self.last], self.deltas[self.last]
        with self.output_vectors() as j:
            z, y = self.logits[self.last].load(r, j), self._targets(Y, r, j)
            deltas.store(outputs.load(r, j) - y, r, j)
            log1p_of_exp = elementary.log1p(elementary.exp_of_negative(-abs(z)))
            term: Any = binary_cross_entropy(z, y, log1p_of_exp)
            self.loss_terms.store(term, 0, j)
        return self._sum_of_loss_terms()

    def _categorical_cross_entropy(self, Y: Matrix, r: Any) -> Any:
        outputs, logits = self.activations[self.last], self.logits[self.last]
        largest = self._largest_logit(r)
        with self.output_vectors() as j:
            self.loss_terms.store(elementary.exp_of_negative(logits.load(r, j) - largest), 0, j)
        log_of_sum = elementary.log(self._sum_of_loss_terms())
        with self.output_vectors() as j:
            y = self._targets(Y, r, j)
            self.deltas[self.last].store(outputs.load(r, j) - y, r, j)
            self.loss_terms.store(y * ((largest - logits.load(r, j)) + log_of_sum), 0, j)
        return self._sum_of_loss_terms()

    def _weighted(self, loss: Any, Y: Matrix, r: Any) -> Any:
        """Multiply dE/dz of a sample by the weight of its class; return its weighted loss."""
        deltas = self.deltas[self.last]
        with self.output_vectors() as j:
            threshold, low, high = (self.class_weights.load(row, j) for row in range(3))
            is_high = threshold < self._targets(Y, r, j)
            self.loss_terms.store(where(is_high, high, low), 0, j)
        weight = self._sum_of_loss_terms()
        with self.output_vectors() as j:
            deltas.store(weight * deltas.load(r, j), r, j)
        return weight * loss

    def slope(self, function: str, a: Any) -> Any:
        """The derivative of an activation function, with the offset of the network."""
        derivative = 1.0 if function == "identity" else ACTIVATIONS[function].slope(a)
        return derivative + self.network.derivative_offset


def activate(function: str, z: Any) -> Any:
    """Trace an activation function."""
    return ACTIVATIONS[function].function(EXACT._replace(sigmoid=_sigmoid), z)


def _sigmoid(z: Any) -> Any:
    """Trace sigmoid, with a faster branch for moderate arguments in all lanes."""
    b, result = z.builder, Variable(z.builder, z)
    is_extreme = Symbol(b, b.not_((abs(z) <= elementary.MODERATE).value))
    with b.if_else(any_lane(is_extreme), likely=False) as (extreme, moderate):
        with extreme:
            result.set(elementary.sigmoid(z))
        with moderate:
            result.set(elementary.sigmoid_of_moderate(z))
    return result.get()
