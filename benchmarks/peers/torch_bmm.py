"""PyTorch: all runs in batched matrix products, gradients written out, nothing allocated anew
that can be updated in place.
"""

from collections.abc import Callable

import torch

from benchmarks.problems import arrays
from bpexp.config.schema import TrainConfig
from bpexp.typing import Array


def prepare(runs: list[TrainConfig]) -> Callable[[], Array]:
    """float64, on all cores."""
    problem = arrays(runs)
    lr, epochs, n = problem.lr, runs[0].epochs, len(runs)
    X = torch.from_numpy(problem.X.copy()).expand(n, *problem.X.shape)
    Y = torch.from_numpy(problem.Y.copy())
    first = [torch.from_numpy(w) for w in (problem.W1, problem.b1, problem.W2, problem.b2)]

    @torch.inference_mode()
    def train() -> Array:
        W1, b1, W2, b2 = (w.clone() for w in first)
        losses = torch.empty((epochs, n), dtype=torch.float64)
        Xt = X.transpose(1, 2)
        for epoch in range(epochs):
            A1 = torch.baddbmm(b1, X, W1).sigmoid_()
            A2 = torch.baddbmm(b2, A1, W2).sigmoid_()
            error = A2 - Y
            torch.mean(error * error, dim=(1, 2), out=losses[epoch])
            D2 = torch.ops.aten.sigmoid_backward(error, A2)
            D1 = torch.ops.aten.sigmoid_backward(torch.bmm(D2, W2.transpose(1, 2)), A1)
            W2.baddbmm_(A1.transpose(1, 2), D2, alpha=-lr)
            b2.sub_(D2.sum(1, keepdim=True), alpha=lr)
            W1.baddbmm_(Xt, D1, alpha=-lr)
            b1.sub_(D1.sum(1, keepdim=True), alpha=lr)
        return losses[-1].numpy()

    return train
