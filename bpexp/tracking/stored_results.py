"""From what a store holds back to configurations and results; what it holds is only data."""

import json
from dataclasses import dataclass
from typing import Any

from bpexp.config.schema import TrainConfig, parse_train
from bpexp.data import load
from bpexp.fields.checks import ConfigError, brief
from bpexp.runs import fingerprint, identity
from bpexp.runs.run_tags import CONFIG, IDENTITY
from bpexp.tracking import artifact_files
from bpexp.tracking.archive import Archive, StoredRun
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Kept:
    """The arrays of a stored result: losses, predictions, and W1, b1, W2, b2, ..."""

    outcome: str
    losses: Array
    predictions: Array
    layers: dict[str, Array]

    @property
    def digest(self) -> str:
        """As ``identity.of_result`` of the result that was stored."""
        arrays = (self.losses, self.predictions, *self.layers.values())
        return identity.of_arrays(self.outcome, arrays)


def config_of(run: StoredRun, archive: Archive) -> TrainConfig:
    """The run's configuration, seen to be the one that its identity names.

    Raises ConfigError where it breaks the schema, or where its data are not those of the run.
    """
    config = parse_train(_settings(run, archive))
    if config.numerics == "auto":
        raise ConfigError("numerics must be exact or native in a stored run, got 'auto'.")
    recorded, found = run.tags.get(IDENTITY), identity.of_run(config)
    made = run.tags.get(fingerprint.TAG, "").split(" ")[:2]
    same_arithmetic = made == fingerprint.arithmetic(config.numerics).split(" ")[:2]
    if recorded == found or not same_arithmetic:
        return config
    digest = load(config.data).digest
    if run.data is not None and not digest.startswith(run.data):
        raise ConfigError(
            f"data={config.data.name} must be the data it was trained on (digest {run.data}), "
            f"got digest {digest[:32]}."
        )
    raise ConfigError(
        f"the stored configuration must have the identity {recorded}, got one of {found}."
    )


def _settings(run: StoredRun, archive: Archive) -> dict[str, Any]:
    text = run.tags.get(CONFIG)
    if not text:
        return artifact_files.mapping(
            archive.file(run.run_id, "config.yaml"), "the stored configuration"
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("the stored configuration must be readable, got none.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the stored configuration must be a mapping, got {brief(values)}.")
    return values


def result_of(run: StoredRun, archive: Archive) -> Kept:
    """The run's result from its artifacts. Raises ConfigError where they cannot be read."""
    losses = losses_of(run, archive)
    layers = _arrays(run, archive, "weights.npz")
    order = [f"{kind}{i}" for i in range(1, len(layers) // 2 + 1) for kind in "Wb"]
    if not layers or set(layers) != set(order):
        raise ConfigError(
            f"weights.npz of run {run.run_id[:8]} must hold W1, b1, ..., got {', '.join(layers)}."
        )
    predictions = predictions_of(run, archive, layers[order[-1]].size)
    ordered = {name: layers[name] for name in order}
    return Kept(run.tags.get("bpexp.outcome", ""), losses, predictions, ordered)


def predictions_of(run: StoredRun, archive: Archive, n_outputs: int) -> Array:
    """What it predicts, (n_samples, n_outputs). Raises ConfigError where it cannot be read."""
    content = archive.file(run.run_id, "predictions.csv")
    return artifact_files.predictions(
        content, n_outputs, f"predictions.csv of run {run.run_id[:8]}"
    )


def losses_of(run: StoredRun, archive: Archive) -> Array:
    """Its loss at every epoch. Raises ConfigError where they cannot be read."""
    arrays = _arrays(run, archive, "losses.npz")
    if set(arrays) != {"loss"}:
        raise ConfigError(
            f"losses.npz of run {run.run_id[:8]} must hold loss, got {', '.join(arrays)}."
        )
    return arrays["loss"]


def _arrays(run: StoredRun, archive: Archive, name: str) -> dict[str, Array]:
    return artifact_files.arrays(archive.file(run.run_id, name), f"{name} of run {run.run_id[:8]}")
