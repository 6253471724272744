"""Reads what is in a store with MLflow's own client."""

from pathlib import Path

import mlflow


def client_of(folder="."):
    """MLflow's client of the store in a folder."""
    return mlflow.MlflowClient(f"sqlite:///{Path(folder).absolute()}/outputs/mlflow.db")


def tracked(filter_string="", folder="."):
    """The runs and sweeps in the store in a folder, the newest first."""
    client = client_of(folder)
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    return client.search_runs([experiment], filter_string, max_results=5000)
