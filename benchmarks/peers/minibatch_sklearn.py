"""Training with mini-batches by scikit-learn's MLPRegressor, one run per joblib task."""

import warnings

from joblib import Parallel, delayed, parallel_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from benchmarks.peers import Peer
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array


def fit(config: TrainConfig, X: Array, Y: Array) -> None:
    """Train one run by Adam."""
    model = MLPRegressor(
        hidden_layer_sizes=config.hidden, activation="logistic", solver="adam", alpha=0.0,
        batch_size=config.batch_size or len(X), learning_rate_init=config.lr,
        max_iter=config.epochs, random_state=config.seed, tol=0.0,
        n_iter_no_change=config.epochs + 1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y if Y.shape[1] > 1 else Y[:, 0])


class MinibatchSklearn(Peer):
    """Trains in this process, or several runs in the processes of joblib."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        self.runs, self.dataset = runs, load(runs[0].data)

    def train(self) -> None:
        """See ``Peer``."""
        X, Y = self.dataset.X, self.dataset.Y
        if len(self.runs) == 1:
            fit(self.runs[0], X, Y)
            return
        with parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
            Parallel()(delayed(fit)(config, X, Y) for config in self.runs)

    def results(self) -> tuple[Array, ...]:
        """Nothing, because initial weights and the order of the samples are others."""
        return ()


prepare = MinibatchSklearn
