"""Training by scikit-learn's MLPRegressor, one run per joblib task.

Its output layer is linear, so it computes slightly less than the other peers.
"""

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from benchmarks.peers import Peer, SeparateRuns
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array

LR = 0.01
"""A learning rate at which no problem diverges."""


def fit(config: TrainConfig, X: Array, Y: Array, **settings: Any) -> None:
    """Train one run for all epochs of its configuration.

    Args:
        config: The configuration, whose widths, epochs and seed are used.
        X: Inputs, (n_samples, n_in).
        Y: Targets, (n_samples, n_out).
        settings: The other settings of MLPRegressor.
    """
    model = MLPRegressor(
        hidden_layer_sizes=config.hidden, activation="logistic", alpha=0.0, tol=0.0,
        max_iter=config.epochs, n_iter_no_change=config.epochs + 1, random_state=config.seed,
        **settings,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y if Y.shape[1] > 1 else Y[:, 0])


def fit_by_gradient_descent(config: TrainConfig, X: Array, Y: Array) -> None:
    """Train one run by gradient descent with full batches."""
    fit(
        config, X, Y, solver="sgd", batch_size=len(X), learning_rate_init=LR, shuffle=False,
        momentum=0.0, nesterovs_momentum=False,
    )  # fmt: skip


def prepare(runs: list[TrainConfig]) -> Peer:
    """See ``benchmarks.peers``."""
    data = load(runs[0].data)
    return SeparateRuns(fit_by_gradient_descent, [(config, data.X, data.Y) for config in runs])
