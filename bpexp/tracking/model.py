"""Logs a trained network as an MLflow model of its run, and registers it."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import mlflow
import pandas as pd
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types.schema import AnyType, ColSpec, Schema

from bpexp.tracking.reading import StoredRun
from bpexp.tracking.registration import Registration

NAME = "model"
REQUIREMENTS = ("mlflow", "numpy", "pandas")


class LoggedModel(NamedTuple):
    """A logged model.

    Attributes:
        uri: Its URI, by run and name.
        model_id: MLflow's id of the model.
    """

    uri: str
    model_id: str


def log(
    uri: str,
    run: StoredRun,
    folder: Path,
    code: Path,
    inputs: pd.DataFrame,
    outputs: pd.DataFrame,
) -> LoggedModel:
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
        The model.
    """
    # Columns of type double would refuse integers, which a CSV file may hold. The model itself
    # converts the columns.
    anything = AnyType()  # type: ignore[no-untyped-call]
    columns = Schema([ColSpec(anything, name=name) for name in inputs.columns])
    signature = ModelSignature(columns, infer_signature(inputs, outputs).outputs)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment_id=run.experiment_id)
    with _without_bytecode():
        logged = Model.log(
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
    return LoggedModel(f"runs:/{run.run_id}/{NAME}", str(logged.model_id))


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Let this process write no bytecode: MLflow imports the model's code where it is logged."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def register(uri: str, model: LoggedModel, registration: Registration) -> int:
    """Register a logged model as a new version, to which the alias is set.

    Sets MLflow's tracking URI for this process.

    Args:
        uri: Tracking URI of the store.
        model: The model.
        registration: Name and alias.

    Returns:
        The number of the version.
    """
    mlflow.set_tracking_uri(uri)
    with redirect_stderr(io.StringIO()):  # MLflow prints what the caller says.
        version = mlflow.register_model(f"models:/{model.model_id}", registration.name)
    mlflow.MlflowClient().set_registered_model_alias(
        registration.name, registration.alias, version.version
    )
    return int(version.version)
