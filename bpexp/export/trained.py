"""A trained network, from the files of its run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bpexp.config.schema import TrainConfig, parse_train
from bpexp.data import load
from bpexp.data.source import moments
from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import ARITHMETICS
from bpexp.nn.mlp import forward
from bpexp.nn.network import Network
from bpexp.runs.result import Outcome
from bpexp.tracking import artifact_files
from bpexp.training import replay, run_batch
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that takes inputs as its user has them, not standardised.

    ``mean`` and ``scale``, (n_features,), standardise them (0 and 1 where the run did not);
    ``X`` are the training rows, (n_samples, n_features). ``tracked`` are the run's
    predictions for them, (n_samples, n_outputs), or None where these were made while the
    weights changed, by mini-batches.
    """

    network: Network
    numerics: str
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    mean: Array
    scale: Array
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    X: Array
    tracked: Array | None

    def predict(self, X: Array) -> Array:
        """Outputs for raw inputs."""
        scaled = (X - self.mean) / self.scale
        arithmetic = ARITHMETICS[self.numerics]
        activations, _ = forward(self.network, scaled, self.weights, self.biases, arithmetic)
        return activations[-1]

    @property
    def arrays(self) -> dict[str, Array]:
        """W1, b1, W2, b2, ..., mean, scale."""
        layers = enumerate(zip(self.weights, self.biases, strict=True), start=1)
        named = {
            f"{k}{i}": array for i, pair in layers for k, array in zip("Wb", pair, strict=True)
        }
        return {**named, "mean": self.mean, "scale": self.scale}

    @property
    def settings(self) -> dict[str, Any]:
        """What else a served model needs, ready for JSON."""
        return {
            "network": asdict(self.network), "numerics": self.numerics,
            "inputs": list(self.inputs), "targets": list(self.targets),
        }  # fmt: skip


def read(folder: Path, outcome: str, epochs_run: int, digest: str) -> Trained:
    """The network of the run whose artifacts are in ``folder``.

    A run that was not stopped early makes one more update after its last forward pass. The
    weights of that pass, which made the tracked predictions, are then trained again.
    Raises ConfigError where the run has no usable network, where the data are not those it
    was trained on (``digest``), or where it does not give the tracked predictions.
    """
    if outcome not in (Outcome.COMPLETED, Outcome.CONVERGED, Outcome.STALLED):
        raise ConfigError(f"RUN must have a trained network, got a run that is {outcome}.")
    config = parse_train(artifact_files.mapping(_content(folder, "config.yaml"), "config.yaml"))
    if config.numerics not in ARITHMETICS:
        raise ConfigError(f"numerics must be exact or native, got {config.numerics!r}.")
    dataset = load(config.data)
    if not dataset.digest.startswith(digest):
        raise ConfigError(
            f"data must be what the run was trained on (digest {digest}), "
            f"got {dataset.digest[:32]}."
        )
    raw = load(replace(config.data, standardize=False)).X
    mean, scale = np.zeros(raw.shape[1]), np.ones(raw.shape[1])
    if config.data.standardize:
        mean, scale = moments(raw)
    network = run_batch.make_network(config, dataset)
    n_samples, n_outputs = dataset.Y.shape
    chosen = len(dataset.X_validation) > 0
    # Predictions of weights that the validation rows chose were made when these were kept.
    whole = chosen or (config.batch_size or n_samples) >= n_samples
    kept = _content(folder, "predictions.csv")
    tracked = artifact_files.predictions(kept, n_outputs, "predictions.csv") if whole else None
    if tracked is not None and len(tracked) != n_samples:
        raise ConfigError(
            f"predictions.csv must have a row for each of {n_samples} samples, got {len(tracked)}."
        )
    if outcome == Outcome.COMPLETED and whole and not chosen:
        weights, biases = _before_last_update(config, network, epochs_run)
    else:
        arrays = artifact_files.arrays(_content(folder, "weights.npz"), "weights.npz")
        weights, biases = _layers(arrays, network)
    trained = Trained(
        network, config.numerics, weights, biases, mean, scale, dataset.inputs, dataset.targets,
        raw, tracked,
    )  # fmt: skip
    _check(trained)
    return trained


def _content(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ConfigError(f"RUN must have its artifacts, got none named {name}.") from error


def _layers(
    arrays: Mapping[str, Array], network: Network
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    layers = range(1, len(network.sizes))
    names = [*(f"W{i}" for i in layers), *(f"b{i}" for i in layers)]
    shapes = dict(zip(names, network.shapes, strict=True))
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ConfigError(f"weights.npz must hold the run's layers, got {', '.join(arrays)}.")
    return tuple(arrays[f"W{i}"] for i in layers), tuple(arrays[f"b{i}"] for i in layers)


def _before_last_update(
    config: TrainConfig, network: Network, epochs_run: int
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    snapshot = replay.state_before_epoch(config, epochs_run)
    weights, biases = network.split(snapshot.state.parameters[:, 0])
    return tuple(weights), tuple(biases)


def _check(trained: Trained) -> None:
    """Exact arithmetic gives the tracked bits everywhere, native within 1e-9."""
    if trained.tracked is None:
        return
    apart = float(abs(trained.predict(trained.X) - trained.tracked).max())
    if apart > (0.0 if trained.numerics == "exact" else 1e-9):
        raise ConfigError(
            f"RUN must give its tracked predictions on this machine, got {apart:.1e} off."
        )
