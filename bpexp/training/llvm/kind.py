"""What a kernel is generated for: one kind of network, of any widths.

>>> network = Network(sizes=(2, 3, 1), activation_names=("sigmoid", "sigmoid"))
>>> KernelKind(network, group_size=8, training=Training("adam")).training.optimizer
'adam'
"""

from typing import NamedTuple

from bpexp.nn.network import Network


class Training(NamedTuple):
    """What a training kernel does in addition to the forward pass.

    Attributes:
        optimizer: Name of the optimizer.
        has_weight_decay: Whether the runs use weight decay.
        has_lr_divisor: Whether the learning rate of each parameter is divided by a number.
        is_shuffled: Whether each run has its own order of the samples.
    """

    optimizer: str
    has_weight_decay: bool = False
    has_lr_divisor: bool = False
    is_shuffled: bool = False


class KernelKind(NamedTuple):
    """What a kernel is generated for.

    Attributes:
        network: Number of layers, activations and loss; widths and class weights are not used, only
            whether there are such weights.
        group_size: Runs in a group: ``LANES`` or 1.
        training: What a training kernel does; None for an evaluation kernel.
    """

    network: Network
    group_size: int
    training: Training | None = None
