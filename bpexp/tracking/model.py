"""Logs a trained network as an MLflow model of its run."""

from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types.schema import AnyType, ColSpec, Schema

from bpexp.tracking.reading import StoredRun

NAME = "model"
REQUIREMENTS = ("mlflow", "numpy", "pandas")


def log(
    uri: str,
    run: StoredRun,
    folder: Path,
    code: Path,
    inputs: pd.DataFrame,
    outputs: pd.DataFrame,
) -> str:
    """Log a pyfunc model from code; the run itself, with its end time, does not change.

    Sets MLflow's tracking URI and experiment for this process.

    Args:
        uri: Tracking URI of the store.
        run: The run that trained the network.
        folder: Contains ``served.py``, ``weights.npz`` and ``settings.json``.
        code: Python file or package that ``served.py`` imports.
        inputs: Example inputs; the signature has their columns.
        outputs: The network's outputs for ``inputs``, from which their types are inferred.

    Returns:
        The URI of the model.
    """
    # Columns of type double would refuse integers, which a CSV file may hold. The model itself
    # converts the columns.
    anything = AnyType()  # type: ignore[no-untyped-call]
    columns = Schema([ColSpec(anything, name=name) for name in inputs.columns])
    signature = ModelSignature(columns, infer_signature(inputs, outputs).outputs)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment_id=run.experiment_id)
    Model.log(
        artifact_path=None,
        name=NAME,
        flavor=mlflow.pyfunc,
        run_id=run.run_id,
        python_model=str(folder / "served.py"),
        code_paths=[str(code)],
        artifacts={
            "weights": str(folder / "weights.npz"),
            "settings": str(folder / "settings.json"),
        },
        signature=signature,
        input_example=inputs,
        pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
    )
    return f"runs:/{run.run_id}/{NAME}"
