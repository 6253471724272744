"""scikit-learn's MLPRegressor by plain gradient descent, joblib's processes for both cores.

Its output layer is linear, so it has a little less to compute than the others.
"""

import warnings
from collections.abc import Callable

from joblib import Parallel, delayed, parallel_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array


def fit(config: TrainConfig, X: Array, Y: Array) -> None:
    """One run; the learning rate is one that no problem diverges with."""
    model = MLPRegressor(
        hidden_layer_sizes=config.hidden, activation="logistic", solver="sgd", alpha=0.0,
        batch_size=len(X), learning_rate_init=0.01, max_iter=config.epochs, shuffle=False,
        random_state=config.seed, tol=0.0, momentum=0.0, nesterovs_momentum=False,
        n_iter_no_change=config.epochs + 1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y if Y.shape[1] > 1 else Y[:, 0])


def prepare(runs: list[TrainConfig]) -> Callable[[], None]:
    """One task a run."""
    dataset = load(runs[0].data)

    def all_runs() -> None:
        with parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
            Parallel()(delayed(fit)(config, dataset.X, dataset.Y) for config in runs)

    return all_runs
