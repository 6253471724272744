"""Full-batch gradient descent: arrays in, arrays out."""

from collections.abc import Mapping, Sequence

import numpy as np

from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward
from bpexp.nn.stopping import Criterion
from bpexp.results import Outcome, TrainResult
from bpexp.typing import Array


def train(
    X: Array,
    Y: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    functions: Sequence[str],
    loss: str,
    lr: float,
    epochs: int,
    stop: Mapping[Outcome, Sequence[Criterion]] | None = None,
) -> TrainResult:
    """Train from the given weights for at most ``epochs`` full-batch steps of size ``lr``.

    X: (n_samples, n_features); Y: (n_samples, n_outputs); ``functions``: activation of
    each layer; ``loss``: "half_squared" or "cross_entropy". ``stop`` maps the outcome to
    report to the criteria that end training with it. The arguments are left unchanged.
    """
    weights, biases = [W.copy() for W in weights], [b.copy() for b in biases]
    objective = LOSSES[loss, functions[-1]]
    criteria = [(outcome, c) for outcome, group in (stop or {}).items() for c in group]
    outcome, losses = Outcome.COMPLETED, np.empty(epochs)
    activations = [X]
    # A diverging run overflows on its way; it is reported as an outcome, not as a warning.
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(epochs):
            # 1. forward pass
            activations, logits = forward(X, weights, biases, functions)
            # 2. error
            total = objective.total(logits, activations[-1], Y)
            losses[epoch] = objective.per_sample(total, *Y.shape)
            if not np.isfinite(losses[epoch]):
                outcome = Outcome.DIVERGED
                break
            met = [o for o, criterion in criteria if criterion(losses[epoch], activations[-1])]
            if met:
                outcome = met[0]
                break
            # 3. backward pass
            weight_gradients, bias_gradients = backward(activations, Y, weights, functions, loss)
            # 4. update
            for parameters, gradients in ((weights, weight_gradients), (biases, bias_gradients)):
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= lr * gradient
            if not all(np.isfinite(p).all() for p in (*weights, *biases)):
                outcome = Outcome.DIVERGED
                break
    return TrainResult(
        outcome=outcome,
        losses=losses[: epoch + 1].copy(),
        predictions=activations[-1],
        weights=tuple(weights),
        biases=tuple(biases),
    )
