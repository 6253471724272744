"""Reads configurations and results of stored runs, and checks that they are what bpexp wrote."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bpexp.config.schema import TrainConfig, parse_train
from bpexp.data import Dataset
from bpexp.fields.checks import ConfigError, brief
from bpexp.nn.network import Network
from bpexp.runs import identity, predictions_file, record_digests, run_tags
from bpexp.runs.result import Validation
from bpexp.tracking import artifact_files
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import Point, StoredRun
from bpexp.tracking.unreadable import UnreadableRunError, unreadable_run_errors
from bpexp.typing import Array

Layers = tuple[tuple[Array, ...], tuple[Array, ...]]
"""Weights and biases of each layer, (n_in, n_out) and (1, n_out)."""

_CONFIG = "The stored configuration"


@dataclass(frozen=True, eq=False)
class StoredResult:
    """A result as it was stored.

    Attributes:
        outcome: A ``result.Outcome``.
        losses: Loss of each epoch, (epochs_run,).
        predictions: Outputs, (n_samples, n_outputs).
        layers: W1, (n_in, n_out), b1, (1, n_out), W2, b2, ...
        predictions_file: Name and content of the file that has the predictions.
    """

    outcome: str
    losses: Array
    predictions: Array
    layers: dict[str, Array]
    predictions_file: tuple[str, bytes]

    @property
    def digest(self) -> str:
        """Equal to ``identity.of_result`` of the result that was stored."""
        arrays = (self.losses, self.predictions, *self.layers.values())
        return identity.of_arrays(self.outcome, arrays)


@unreadable_run_errors()
def config_of(run: StoredRun, archive: Archive) -> tuple[TrainConfig, Dataset]:
    """The configuration and the data of a run, after checking both against its identity.

    The identity has the values of the data only; the names of columns have a digest of their own.

    Raises:
        UnreadableRunError: The configuration is invalid, or the data are not those of the run.
    """
    config = stored_config(run, archive)
    dataset = archive.load_data(config.data)
    version = run.tags.get(run_tags.ARITHMETIC)
    recorded, found = run.tags.get(run_tags.IDENTITY), identity.of_run(config, dataset, version)
    if recorded == found:
        digests = record_digests.parse(run.tags.get(run_tags.DIGESTS, ""))
        names = record_digests.of_names(dataset)
        if digests.get(record_digests.NAMES_KEY, names) != names:
            raise ConfigError(
                f"The columns or classes of data={config.data.name} have other names than when "
                "the run was trained; name them as in its predictions, or train it again."
            )
        return config, dataset
    if run.data is not None and not dataset.digest.startswith(run.data):
        raise ConfigError(
            f"The data of data={config.data.name} have changed since the run was trained: their "
            f"digest was {run.data}, now it is {dataset.digest[:32]}."
        )
    raise ConfigError(
        f"{_CONFIG} does not match the run: its identity is {found}, that of the run {recorded}."
    )


@unreadable_run_errors()
def stored_config(run: StoredRun, archive: Archive) -> TrainConfig:
    """The configuration of a run, without a check of its identity.

    Raises:
        UnreadableRunError: The configuration is invalid.
    """
    text = run.tags.get(run_tags.CONFIG)
    if text:
        return _parsed(text)
    # It was too long for a tag.
    return parse_train(artifact_files.mapping(archive.file(run, "config.yaml"), _CONFIG))


@unreadable_run_errors()
def config_in(content: bytes) -> TrainConfig:
    """The configuration in config.yaml of a run, without a check of its identity.

    Raises:
        UnreadableRunError: The content is malformed.
    """
    return parse_train(artifact_files.mapping(content, "config.yaml"))


@lru_cache(maxsize=1)
def _parsed(text: str) -> TrainConfig:
    """The configuration in a tag; several checks of a run ask for it in turn."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{_CONFIG} is not valid JSON.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{_CONFIG} must be a mapping, got {brief(values)}.")
    return parse_train(values)


@unreadable_run_errors()
def result_of(run: StoredRun, archive: Archive) -> StoredResult:
    """The result of a run, from its artifacts.

    Raises:
        UnreadableRunError: An artifact is missing or malformed.
    """
    losses = losses_of(run, archive)
    layers = _arrays(run, archive, "weights.npz")
    order = [f"{kind}{i}" for i in range(1, len(layers) // 2 + 1) for kind in "Wb"]
    if not layers or set(layers) != set(order):
        raise ConfigError(
            f"weights.npz of run {run.short_id} must contain W1, b1, ..., got {', '.join(layers)}."
        )
    file = _predictions_file(run, archive)
    predictions = _training_outputs(run, file, layers[order[-1]].size)
    ordered = {name: layers[name] for name in order}
    return StoredResult(run.tags.get(run_tags.OUTCOME, ""), losses, predictions, ordered, file)


@unreadable_run_errors()
def layers_of(network: Network, arrays: Mapping[str, Array]) -> Layers:
    """The layers of a network from the arrays of weights.npz.

    Raises:
        UnreadableRunError: The arrays are not those of such a network.
    """
    numbers = range(1, len(network.sizes))
    names = [f"{kind}{i}" for kind in "Wb" for i in numbers]
    shapes = dict(zip(names, network.shapes, strict=True))
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ConfigError(
            f"weights.npz does not have the layers of the run's network: {', '.join(arrays)}."
        )
    # A file may have its numbers in another order than a trained network.
    found = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return tuple(found[f"W{i}"] for i in numbers), tuple(found[f"b{i}"] for i in numbers)


@unreadable_run_errors()
def predictions_of(run: StoredRun, archive: Archive, n_outputs: int) -> Array:
    """The predictions of a run, (n_samples, n_outputs).

    Raises:
        UnreadableRunError: The artifact is missing or malformed.
    """
    return _training_outputs(run, _predictions_file(run, archive), n_outputs)


def _training_outputs(run: StoredRun, file: tuple[str, bytes], n_outputs: int) -> Array:
    name, content = file
    label = f"{name} of run {run.short_id}"
    return predictions_file.training_outputs(content, n_outputs, label)


def _predictions_file(run: StoredRun, archive: Archive) -> tuple[str, bytes]:
    """The name and the content of the file with the predictions of a run.

    Raises:
        UnreadableRunError: The artifact is missing.
    """
    try:
        return predictions_file.CSV, archive.file(run, predictions_file.CSV)
    except UnreadableRunError:
        content = archive.file_if_any(run, predictions_file.PARQUET)
        if content is None:
            raise
        return predictions_file.PARQUET, content


@unreadable_run_errors()
def losses_of(run: StoredRun, archive: Archive) -> Array:
    """The loss of each epoch of a run, (epochs_run,).

    Raises:
        UnreadableRunError: The artifact is missing or malformed.
    """
    return losses_in(archive.file(run, "losses.npz"), run)


@unreadable_run_errors()
def losses_in(content: bytes, run: StoredRun) -> Array:
    """The losses in losses.npz of a run, see ``losses_of``."""
    arrays = artifact_files.arrays(content, f"losses.npz of run {run.short_id}")
    if set(arrays) != {"loss"}:
        raise ConfigError(
            f"losses.npz of run {run.short_id} must contain loss, got {', '.join(arrays)}."
        )
    losses = arrays["loss"]
    if losses.ndim != 1 or not len(losses):
        raise ConfigError(f"losses.npz of run {run.short_id} must contain a loss of each epoch.")
    return losses


def losses_at(epochs: Array, run: StoredRun, archive: Archive) -> Array:
    """The losses of a run at some epochs, counted from 1, (n_epochs,); NaN after its end.

    Those of a run without losses.npz are interpolated between the logged points of its loss.

    Raises:
        UnreadableRunError: losses.npz is malformed.
    """
    content = archive.file_if_any(run, "losses.npz")
    if content is not None:
        values = losses_in(content, run)
        steps = np.arange(1, len(values) + 1)
    else:
        points = archive.reader.history([run.run_id], "loss").get(run.run_id)
        steps, values = np.array(points or [Point(0, np.nan)]).T
    return np.where(epochs <= steps[-1], np.interp(epochs, steps, values), np.nan)


@unreadable_run_errors()
def validation_of(run: StoredRun, archive: Archive) -> Validation:
    """The validation evaluations of a run.

    Raises:
        UnreadableRunError: The artifact is missing or malformed.
    """
    return validation_in(archive.file(run, "validation.npz"), run)


@unreadable_run_errors()
def validation_in(content: bytes, run: StoredRun) -> Validation:
    """The evaluations in validation.npz of a run, see ``validation_of``."""
    arrays = artifact_files.arrays(content, f"validation.npz of run {run.short_id}")
    shapes = {array.shape for array in arrays.values()}
    if set(arrays) != {"epoch", "loss"} or len(shapes) > 1 or (0,) in shapes:
        raise ConfigError(
            f"validation.npz of run {run.short_id} must contain an epoch for each loss, "
            f"got {', '.join(arrays)}."
        )
    return Validation(arrays["epoch"].astype(np.int64), arrays["loss"])


def _arrays(run: StoredRun, archive: Archive, name: str) -> dict[str, Array]:
    return artifact_files.arrays(archive.file(run, name), f"{name} of run {run.short_id}")
