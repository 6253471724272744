"""Loads the trained network of a run from its artifacts and verifies its predictions.

>>> import numpy as np
>>> from bpexp.nn.network import Network
>>> network = TrainedNetwork(
...     Network((2, 1), ("identity",)),
...     weights=(np.array([[1.0], [2.0]]),), biases=(np.array([[0.5]]),),
...     mean=np.zeros(2), scale=np.ones(2), inputs=("x1", "x2"), targets=("y1",),
...     X=np.zeros((1, 2)), tracked=None,
... )
>>> network.predict(np.array([[1.0, 1.0]]))
array([[3.5]])
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.data.preparation import Preparation
from bpexp.data.target_scaling import UNSCALED, TargetScaling
from bpexp.export.stored_predictor import check_has_network
from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.mlp import forward
from bpexp.nn.network import Network
from bpexp.runs.result import Outcome
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.stored_results import Layers, config_of, layers_of, result_of
from bpexp.training import replay, run_batch
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network that takes inputs before standardization.

    Attributes:
        network: The architecture.
        weights: Weights of each layer, (n_in, n_out).
        biases: Biases of each layer, (1, n_out).
        mean: Subtracted from the inputs, (n_features,); 0 without standardization.
        scale: Divides the inputs, (n_features,); 1 without standardization.
        scaling: How the targets were scaled for training.
        preparation: How the inputs were made from the columns of a table; None if they are the
            columns.
        inputs: Names of the inputs.
        targets: Names of the outputs.
        X: The training rows before standardization, (n_samples, n_features).
        tracked: The predictions for ``X`` that the run logged, (n_samples, n_outputs). None if
            they belong to other weights, because these changed after each mini-batch.
    """

    network: Network
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    mean: Array
    scale: Array
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    X: Array
    tracked: Array | None
    scaling: TargetScaling = UNSCALED
    preparation: Preparation | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the inputs are made from."""
        return self.inputs if self.preparation is None else self.preparation.columns

    @property
    def texts(self) -> dict[str, list[str]]:
        """For each column of texts the texts that are inputs."""
        made = self.preparation
        return {} if made is None else {
            name: [made.texts[name][position] for position in seen]
            for name, seen in made.seen.items()
        }  # fmt: skip

    def table(self, n_rows: int) -> dict[str, list[Any]]:
        """The first training rows by the columns of the table, with missing numbers filled."""
        columns: dict[str, list[Any]] = {}
        place = 0
        for name in self.columns:
            texts = self.texts.get(name, [])
            features = self.X[:n_rows, place : place + max(1, len(texts))]
            place += features.shape[1]
            if name in self.texts:
                columns[name] = [texts[r.argmax()] if r.any() else None for r in features]
            else:
                columns[name] = features[:, 0].tolist()
        return columns

    def predict(self, X: Array) -> Array:
        """Compute the outputs, (n_samples, n_outputs), for inputs (n_samples, n_features)."""
        scaled = (X - self.mean) / self.scale
        activations, _ = forward(self.network, scaled, self.weights, self.biases, EXACT)
        return self.scaling.original(activations[-1])

    @property
    def arrays(self) -> dict[str, Array]:
        """All arrays by name: W1, b1, ..., mean, scale, and what fills cells and scales targets."""
        named: dict[str, Array] = {}
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            named |= {f"W{i}": W, f"b{i}": b}
        named |= {"mean": self.mean, "scale": self.scale}
        if self.preparation is not None and self.preparation.medians is not None:
            named["medians"] = self.preparation.medians
        if self.scaling is not UNSCALED:
            named |= {"target_mean": self.scaling.mean, "target_scale": self.scaling.scale}
        return named

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the arrays, as values that JSON can hold."""
        return {
            "network": asdict(self.network),
            "columns": list(self.columns),
            "texts": self.texts,
            "targets": list(self.targets),
        }


def read(run: StoredRun, archive: Archive) -> TrainedNetwork:
    """Load the network of a run and check that it gives the logged predictions.

    The stored weights of a run that used all its epochs include the update of the last epoch,
    but its predictions were computed before that update. Such a run is trained again up to
    its last forward pass.

    Args:
        run: A finished run.
        archive: Where it is stored.

    Returns:
        The network.

    Raises:
        ConfigError: The run has no trained network, its artifacts are not those that it wrote, the
            data have changed, or the network does not give the logged predictions.
    """
    check_has_network(run, archive, "export")
    config, dataset = config_of(run, archive)
    stored = result_of(run, archive)
    assert dataset.preparation is not None
    mean, scale = dataset.preparation.mean, dataset.preparation.scale
    raw = archive.load_data(replace(config.data, standardize=False)).X
    network = run_batch.make_network(config, dataset)
    has_validation = len(dataset.X_validation) > 0
    is_full_batch = (config.batch_size or len(dataset.Y)) >= len(dataset.Y)
    has_updated = run.outcome in (Outcome.COMPLETED, Outcome.PRUNED)
    if has_updated and is_full_batch and not has_validation:
        weights, biases = _before_last_update(config, dataset, network, len(stored.losses))
    else:
        weights, biases = layers_of(network, stored.layers)
    trained = TrainedNetwork(
        network=network,
        weights=weights,
        biases=biases,
        mean=mean,
        scale=scale,
        inputs=dataset.inputs,
        targets=dataset.targets,
        X=raw,
        # With validation rows the stored weights and predictions are those of the lowest loss.
        tracked=stored.predictions if has_validation or is_full_batch else None,
        scaling=dataset.scaling_for(config.model.output),
        preparation=dataset.preparation,
    )
    _check_predictions(trained)
    return trained


def _before_last_update(
    config: TrainConfig, dataset: Dataset, network: Network, epochs_run: int
) -> Layers:
    """Train the run again up to its last forward pass."""
    snapshot = replay.state_before_epoch(config, epochs_run, dataset=dataset)
    weights, biases = network.split(snapshot.state.parameters[:, 0])
    return tuple(weights), tuple(biases)


def _check_predictions(trained: TrainedNetwork) -> None:
    """Check that the predictions are bit-identical to the logged ones. Raises ConfigError."""
    if trained.tracked is None:
        return
    difference = float(abs(trained.predict(trained.X) - trained.tracked).max())
    if difference > 0.0:
        raise ConfigError(
            f"The network's predictions differ from the logged ones by up to {difference:.1e}, "
            "so it was not exported."
        )
