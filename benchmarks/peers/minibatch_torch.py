"""Training with mini-batches by PyTorch, one run per joblib task."""

from collections.abc import Sequence

import torch

from benchmarks.peers import Peer, SeparateRuns
from benchmarks.problems import initial_layers
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array


def train(config: TrainConfig, X: Array, Y: Array, layers: Sequence[tuple[Array, Array]]) -> float:
    """Train one run by Adam; return the last loss of a mini-batch."""
    modules: list[torch.nn.Module] = []
    for W, b in layers:
        linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T.copy()))
            linear.bias.copy_(torch.from_numpy(b[0].copy()))
        modules += [linear, torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    inputs, targets = torch.from_numpy(X.copy()), torch.from_numpy(Y.copy())
    generator = torch.Generator().manual_seed(config.seed)
    loss = torch.zeros(())
    for _ in range(config.epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for rows in order.split(config.batch_size or len(inputs)):
            optimizer.zero_grad(set_to_none=True)
            loss = 0.5 * ((model(inputs[rows]) - targets[rows]) ** 2).sum()
            loss.backward()
            optimizer.step()
    return float(loss.detach())


def prepare(runs: list[TrainConfig]) -> Peer:
    """See ``benchmarks.peers``."""
    data = load(runs[0].data)
    return SeparateRuns(train, [(c, data.X, data.Y, initial_layers(c)) for c in runs])
