"""The layout of the kernel's arrays: widths of the layers, and where each part begins.

The compiled kernel works for networks of any widths, so it reads the widths and offsets from an
array when it runs. ``Layout.of`` computes them as ints. The generated code works with the same
class, whose numbers are then LLVM values that it loads from that array.

>>> network = Network(sizes=(2, 3, 1), activation_names=("sigmoid", "sigmoid"))
>>> layout = Layout.of(network, group_size=8)
>>> layout.row_lengths  # 8 runs side by side
{0: 16, 1: 24, 2: 8}
>>> layout.weights, layout.biases, layout.n_parameters
({1: 0, 2: 48}, {1: 72, 2: 96}, 104)
>>> named = layout.map_numbers(lambda position, number: f"layout[{position}]")
>>> named.n_parameters, named.to_list()[:3]
('layout[11]', ['layout[0]', 'layout[1]', 'layout[2]'])
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bpexp.nn.network import Network
from bpexp.training.llvm.lane_layout import LANES, row_length

BLOCKS = {0: 32, 2**15: 128, 2**18: 256}
"""Samples that go through the network together, by the minimum number of parameters of a wide
network (group size 1). With few, their activations stay in the caches; with many, weights and
gradients that do not fit into the caches are read less often."""

PANEL_TERMS = 128
"""Terms of a sum that are added before the next columns. With the columns of a tile they are a
panel, which stays in the L1 cache while all rows use it."""
PANEL_COLUMNS = 256
"""Columns whose panels are copied at once. They fit into the L2 cache."""
PANEL_ROWS = 120
"""Rows whose left numbers are copied at once: whole tiles, of 3 or 4 rows. They fit into the L2
cache."""
MIN_BLOCKED_ROWS, MIN_BLOCKED_TERMS = 16, 16
"""Size of a product from which blocking it is faster."""
MIN_RIGHT_PANELS = 2**13
"""Numbers in the copied panels of the right matrix from which it is faster to copy a left matrix
that is read transposed: few columns use a copy rarely, and few terms are read as fast without."""


@dataclass(frozen=True)
class Layout:
    """Sizes and offsets, in numbers, of one group of runs. Layer 0 holds the inputs.

    Attributes:
        block: Maximum number of samples that go through the network together.
        widths: Units of each layer.
        row_lengths: Numbers in a row of each layer's units, padding included.
        weights: Offset of the weights into each layer, in the parameters.
        biases: Offset of the biases of each layer, in the parameters.
        n_parameters: Numbers in the parameters, padding included.
        gradient: Offset of the gradient in the workspace; it is laid out like the parameters.
        ones: Offset of ``block`` ones.
        sample_losses: Offset of the loss of each sample of a block.
        X: Offset of a block of inputs in each run's own order.
        Y: Offset of a block of targets in each run's own order.
        logits: Offset of a block of each layer's logits.
        activations: Offset of a block of each layer's activations.
        deltas: Offset of a block of each layer's deltas, dE/dz.
        transposed: Offset of the transposed weights into each layer but the first.
        loss_terms: Offset of a row of the terms of a sample's loss.
        packed_right: Offset of copied panels of the right matrix of a product.
        packed_left: Offset of copied panels of the left matrix of a product.
        workspace_size: Numbers in the workspace of one thread.
        thread_size: Numbers at the end of the workspace, from ``loss_terms`` on, of which each
            further thread has a copy after it.
    """

    block: Any
    widths: Mapping[int, Any]
    row_lengths: Mapping[int, Any]
    weights: Mapping[int, Any]
    biases: Mapping[int, Any]
    n_parameters: Any
    gradient: Any
    ones: Any
    sample_losses: Any
    X: Any
    Y: Any
    logits: Mapping[int, Any]
    activations: Mapping[int, Any]
    deltas: Mapping[int, Any]
    transposed: Mapping[int, Any]
    loss_terms: Any
    packed_right: Any
    packed_left: Any
    workspace_size: Any
    thread_size: Any

    def size_for(self, n_threads: int) -> int:
        """Numbers in the workspace of several threads."""
        return int(self.workspace_size + (n_threads - 1) * self.thread_size)

    @classmethod
    def of(cls, network: Network, group_size: int) -> "Layout":
        """Compute the layout for a network and a group size."""
        widths = dict(enumerate(network.sizes))
        row_lengths = {layer: row_length(n, group_size) for layer, n in widths.items()}
        layers = list(widths)[1:]
        parameters = _Allocator()
        weights = {i: parameters.allocate(widths[i - 1] * row_lengths[i]) for i in layers}
        biases = {i: parameters.allocate(row_lengths[i]) for i in layers}
        n_wide = parameters.size if group_size == 1 else 0
        block = max(size for least, size in BLOCKS.items() if n_wide >= least)
        workspace = _Allocator()
        longest_row = max(row_lengths.values())

        def blocks() -> dict[int, int]:
            return {i: workspace.allocate(block * row_lengths[i]) for i in layers}

        # The parts of the workspace, in the order in which they are in memory.
        gradient = workspace.allocate(parameters.size)
        ones = workspace.allocate(block)
        sample_losses = workspace.allocate(block * group_size)
        X = workspace.allocate(block * row_length(widths[0], LANES))
        Y = workspace.allocate(block * row_lengths[layers[-1]])
        logits, activations, deltas = blocks(), blocks(), blocks()
        transposed = {i: workspace.allocate(widths[i] * row_lengths[i - 1]) for i in layers[1:]}
        loss_terms = workspace.allocate(row_lengths[layers[-1]])
        packed_right = workspace.allocate(PANEL_TERMS * min(PANEL_COLUMNS, longest_row))
        packed_left = workspace.allocate(PANEL_TERMS * min(PANEL_ROWS, longest_row))
        return cls(
            block=block,
            widths=widths,
            row_lengths=row_lengths,
            weights=weights,
            biases=biases,
            n_parameters=parameters.size,
            gradient=gradient,
            ones=ones,
            sample_losses=sample_losses,
            X=X,
            Y=Y,
            logits=logits,
            activations=activations,
            deltas=deltas,
            transposed=transposed,
            loss_terms=loss_terms,
            packed_right=packed_right,
            packed_left=packed_left,
            workspace_size=workspace.size,
            thread_size=workspace.size - loss_terms,
        )

    def to_list(self) -> list[Any]:
        """Return all numbers in the order in which the kernel reads them."""
        numbers: list[Any] = []
        self.map_numbers(lambda position, number: numbers.append(number))
        return numbers

    def map_numbers(self, function: Callable[[int, Any], Any]) -> "Layout":
        """Replace each number by ``function(position, number)``; positions follow ``to_list``."""
        positions = itertools.count()
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                changed[field.name] = {
                    layer: function(next(positions), number) for layer, number in value.items()
                }
            else:
                changed[field.name] = function(next(positions), value)
        return Layout(**changed)


class _Allocator:
    """Places parts of an array one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def allocate(self, size: int) -> int:
        """Return the offset of a new part."""
        offset = self.size
        self.size += size
        return offset
