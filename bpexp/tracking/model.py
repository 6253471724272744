"""A model logged to the run it comes from."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

NAME = "model"
REQUIREMENTS = ("mlflow", "numpy", "pandas")


def log(
    uri: str, run: "Run", folder: Path, code: Path, inputs: "pd.DataFrame", outputs: "pd.DataFrame"
) -> str:
    """Log the files of ``folder`` as a pyfunc model from code; returns its URI.

    ``inputs`` and ``outputs`` are examples; they also make the signature. The run itself
    stays as it is, its end included. Sets MLflow's tracking URI and experiment for the process.
    """
    import mlflow
    from mlflow.models import Model, infer_signature

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment_id=run.info.experiment_id)
    Model.log(
        artifact_path=None,
        name=NAME,
        flavor=mlflow.pyfunc,
        run_id=run.info.run_id,
        python_model=str(folder / "served.py"),
        code_paths=[str(code)],
        artifacts={
            "weights": str(folder / "weights.npz"),
            "settings": str(folder / "settings.json"),
        },
        signature=infer_signature(inputs, outputs),
        input_example=inputs,
        pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
    )
    return f"runs:/{run.info.run_id}/{NAME}"
