"""What the compiled engine and its callers agree on: which runs are taken one by one; of the
kernel the numbers that stand for names, and the room.
"""

import itertools
from collections.abc import Sequence

from bpexp.nn.network import Network

LANES = 32
"""Numbers in a vector: four of the widest processor's, which works on one while others wait."""
NO_PATIENCE = 2**62
"""Epochs that a lane without the rule is given."""
RECENT = 8
"""Epochs whose losses are turned from rows to columns at once: a cache line of each lane's."""
FEW, WIDE = 8, 32
"""Lanes at most and units of hidden layers at least that are done sooner one by one."""

ACTIVATIONS = ("sigmoid", "symmetric_sigmoid", "tanh", "softsign", "relu", "identity", "softmax")
LOSSES = ("half_squared", "cross_entropy")
ERRORS = ("linear", "arctanh")
RULES = ("gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "rprop", "quickprop")

PARAMETERS = {
    "sizes": "int64[1]", "functions": "int64[1]", "loss": "int64", "error": "int64",
    "dead_zone": "float64", "offset": "float64", "bias_input": "float64",
    "X": "float64[2]", "x": "float64[1]", "Y": "float64[2]",
    "rule": "int64", "divisor": "float64[1]", "decays": "bool",
    "batch_size": "int64", "block_size": "int64",
    "factors": "float64[1]", "orders": "int64[3]", "watch": "bool",
    "parameters": "float64[3]", "slots": "float64[3]", "settings": "float64[3]",
    "lr": "float64[3]", "decay": "float64[3]",
    "stop_loss": "float64[3]", "stop_correct": "float64[3]", "patience": "int64[3]",
    "best": "float64[3]", "waited": "int64[3]", "outputs": "float64[3]",
    "losses": "float64[2]", "endings": "int8[2]", "stopped": "float64[3]",
    "work": "float64[2]", "places": "int64[2]",
}  # fmt: skip
"""The parameters of ``kernel.advance`` in order: a number, or an array of so many axes."""


def work_rows(sizes: Sequence[int], n_samples: int, n_strips: int, block_size: int) -> int:
    """Rows of room that ``advance`` needs: for its blocks, gradient, targets, losses and count."""
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))
    block = (2 * sum(sizes) + sizes[-1]) * block_size
    return block + n_parameters + n_samples * sizes[-1] + RECENT * n_strips + 1


def one_by_one(network: Network, n_lanes: int) -> bool:
    """Whether so many runs of the network are done sooner one by one than side by side."""
    return n_lanes <= FEW or min(network.sizes[1:-1], default=0) >= WIDE
