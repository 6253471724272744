"""Training with mini-batches by scikit-learn's MLPRegressor, one run per joblib task."""

from benchmarks.peers import Peer, SeparateRuns
from benchmarks.peers.sklearn_mlp import fit
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array


def fit_by_adam(config: TrainConfig, X: Array, Y: Array) -> None:
    """Train one run by Adam."""
    batch_size = config.batch_size or len(X)
    fit(config, X, Y, solver="adam", batch_size=batch_size, learning_rate_init=config.lr)


def prepare(runs: list[TrainConfig]) -> Peer:
    """See ``benchmarks.peers``."""
    data = load(runs[0].data)
    return SeparateRuns(fit_by_adam, [(config, data.X, data.Y) for config in runs])
