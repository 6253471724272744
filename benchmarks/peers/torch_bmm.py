"""Training by PyTorch: all runs at once in batched matrix products, with explicit gradients.

Arrays are updated in place where possible.
"""

import torch

from benchmarks.peers import Peer
from benchmarks.problems import arrays
from bpexp.config.schema import TrainConfig
from bpexp.typing import Array


class TorchBatched(Peer):
    """Trains in float64 on all cores."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        problem = arrays(runs)
        self.lr, self.shape = problem.lr, (problem.epochs, len(runs))
        self.X = torch.from_numpy(problem.X.copy()).expand(len(runs), *problem.X.shape)
        self.Y = torch.from_numpy(problem.Y.copy())
        self.initial = [
            torch.from_numpy(w) for w in (problem.W1, problem.b1, problem.W2, problem.b2)
        ]

    @torch.inference_mode()
    def train(self) -> None:
        """See ``Peer``."""
        X, Y, lr = self.X, self.Y, self.lr
        W1, b1, W2, b2 = (w.clone() for w in self.initial)
        self.losses = torch.empty(self.shape, dtype=torch.float64)
        Xt = X.transpose(1, 2)
        for losses in self.losses:
            A1 = torch.baddbmm(b1, X, W1).sigmoid_()
            A2 = torch.baddbmm(b2, A1, W2).sigmoid_()
            error = A2 - Y
            torch.mean(error * error, dim=(1, 2), out=losses)
            D2 = torch.ops.aten.sigmoid_backward(error, A2)
            D1 = torch.ops.aten.sigmoid_backward(torch.bmm(D2, W2.transpose(1, 2)), A1)
            W2.baddbmm_(A1.transpose(1, 2), D2, alpha=-lr)
            b2.sub_(D2.sum(1, keepdim=True), alpha=lr)
            W1.baddbmm_(Xt, D1, alpha=-lr)
            b1.sub_(D1.sum(1, keepdim=True), alpha=lr)

    def results(self) -> tuple[Array, ...]:
        """The final losses."""
        return (self.losses[-1].numpy(),)


prepare = TorchBatched
