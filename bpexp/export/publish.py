"""Logs the network of a run as an MLflow model of that run."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.runs.run_tags import RESULT
from bpexp.sweeps import integrity
from bpexp.tracking import read
from bpexp.tracking.archive import Archive, stored
from bpexp.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from bpexp.export.trained import TrainedNetwork

N_EXAMPLES = 5
"""Number of training rows that the model has as its input example."""


def publish(store: Store, client: "MlflowClient", run: "Run", *, onnx: bool = False) -> list[str]:
    """Log the network of a run as an MLflow model.

    Args:
        store: The store of the run.
        client: Client of the store.
        run: A finished run.
        onnx: Whether to log model.onnx, too.

    Returns:
        Messages for the user: the model's URI, how it was checked and how to serve it.

    Raises:
        ConfigError: The run has no network that gives its logged predictions, or its artifacts
            are outside the store.
    """
    import pandas as pd

    from bpexp.export import files, onnx_file, trained
    from bpexp.tracking import model

    run_id = run.info.run_id
    if not read.has_artifacts_inside(run, store):
        raise ConfigError(
            f"The artifacts of the run are in {run.info.artifact_uri}, outside the folder of the "
            "store, and are not read."
        )
    _check_intact(run, client, store)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()
        client.download_artifacts(run_id, "", str(folder / "run"))
        network = trained.read(folder / "run", *read.training_summary(run))
        if onnx:
            (folder / "model.onnx").write_bytes(onnx_file.model(network))
        X = network.X[:N_EXAMPLES]
        inputs = pd.DataFrame(X, columns=list(network.inputs))
        outputs = pd.DataFrame(network.predict(X), columns=list(network.targets))
        uri = model.log(store.uri, run, folder, files.write(network, folder), inputs, outputs)
        if onnx:
            client.log_artifact(run_id, str(folder / "model.onnx"))
    return [
        f"{run.info.run_name}: {uri}; {_verification(network)}.",
        *(["model.onnx: verified with onnxruntime."] if onnx else []),
        f"Serve it with: MLFLOW_TRACKING_URI='{store.shown}' mlflow models serve -m {uri} "
        "--env-manager local",
    ]


def _check_intact(run: "Run", client: "MlflowClient", store: Store) -> None:
    """Raises ConfigError where the artifacts or metrics of a finished run are not its own."""
    if RESULT not in run.data.tags:
        return  # A run without a result is rejected with a better message.
    experiment = client.get_experiment(run.info.experiment_id).name
    found = integrity.problems(stored(run), Archive(client, store, experiment))
    if found:
        raise ConfigError(f"{run.info.run_name} ({run.info.run_id[:8]}) is altered: {found[0]}")


def _verification(network: "TrainedNetwork") -> str:
    """How the predictions of the network were compared with those of the run, in words."""
    if network.tracked is None:
        return "it has the weights after the last mini-batch"
    return f"its {len(network.tracked)} predictions are bit-identical to those of the run"
