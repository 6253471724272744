"""Training by scikit-learn's MLPRegressor, one run per joblib task.

Its output layer is linear, so it computes slightly less than the other peers.
"""

import warnings

from joblib import Parallel, delayed, parallel_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from benchmarks.peers import Peer
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array

LR = 0.01
"""A learning rate at which no problem diverges."""


def fit(config: TrainConfig, X: Array, Y: Array) -> None:
    """Train one run by gradient descent."""
    model = MLPRegressor(
        hidden_layer_sizes=config.hidden, activation="logistic", solver="sgd", alpha=0.0,
        batch_size=len(X), learning_rate_init=LR, max_iter=config.epochs, shuffle=False,
        random_state=config.seed, tol=0.0, momentum=0.0, nesterovs_momentum=False,
        n_iter_no_change=config.epochs + 1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y if Y.shape[1] > 1 else Y[:, 0])


class SklearnMLP(Peer):
    """Trains the runs in the processes of joblib."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        self.runs, self.dataset = runs, load(runs[0].data)

    def train(self) -> None:
        """See ``Peer``."""
        X, Y = self.dataset.X, self.dataset.Y
        with parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
            Parallel()(delayed(fit)(config, X, Y) for config in self.runs)

    def results(self) -> tuple[Array, ...]:
        """Nothing, because the model is another one."""
        return ()


prepare = SklearnMLP
