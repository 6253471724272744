"""A run's network, logged as a model to the run that it comes from."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.tracking import read
from bpexp.tracking.store import Store

if TYPE_CHECKING:
    from bpexp.tracking.read import MlflowClient, Run


def publish(store: Store, client: "MlflowClient", run: "Run", *, onnx: bool = False) -> list[str]:
    """Log the run's network as an MLflow model, and as model.onnx if asked; returns what to say.

    Raises ConfigError where the run has no network that gives its tracked predictions.
    """
    import pandas as pd

    from bpexp.export import files, onnx_file, trained
    from bpexp.tracking import model

    run_id = run.info.run_id
    if not read.has_artifacts_inside(run, store):
        raise ConfigError(
            f"RUN must keep its artifacts beside its store, got {run.info.artifact_uri}."
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()
        client.download_artifacts(run_id, "", str(folder / "run"))
        made = trained.read(folder / "run", *read.training_summary(run))
        if onnx:
            (folder / "model.onnx").write_bytes(onnx_file.model(made))
        X = made.X[:5]
        inputs = pd.DataFrame(X, columns=list(made.inputs))
        outputs = pd.DataFrame(made.predict(X), columns=list(made.targets))
        uri = model.log(store.uri, run, folder, files.write(made, folder), inputs, outputs)
        if onnx:
            client.log_artifact(run_id, str(folder / "model.onnx"))
    if made.tracked is None:
        equal = "its weights are those after the last mini-batch"
    else:
        bits = "to the last bit" if made.numerics == "exact" else "within 1e-9"
        equal = f"its predictions equal the {len(made.tracked)} tracked {bits}"
    return [
        f"{run.info.run_name}: {uri}; {equal}.",
        *(["model.onnx: checked with onnxruntime."] if onnx else []),
        f"Serve: MLFLOW_TRACKING_URI='{store.shown}' mlflow models serve -m {uri} "
        "--env-manager local",
    ]
