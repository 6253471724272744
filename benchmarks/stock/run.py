"""What each of the programs does in a run: train in NumPy, track by MLflow's fluent API."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from benchmarks.peers.numpy_loop import train
from bpexp.typing import Array

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
POINTS = 100
SETTINGS = {"lr": 0.1, "hidden": 2, "epochs": 10_000}


def weights(seed: int, hidden: int) -> list[Array]:
    """W1, b1, W2, b2."""
    rng = np.random.RandomState(seed)
    return [rng.rand(2, hidden), rng.rand(1, hidden), rng.rand(hidden, 1), rng.rand(1, 1)]


def train_and_track(settings: Mapping[str, Any]) -> float:
    """In an MLflow run that is open: parameters, 100 points of the loss, weights, predictions."""
    mlflow.log_params(dict(settings))
    epochs = int(settings["epochs"])
    W1, b1, W2, b2 = final = weights(int(settings["seed"]), int(settings["hidden"]))
    losses, predictions = train(X, Y, float(settings["lr"]), epochs, W1, b1, W2, b2)
    for epoch in range(0, epochs, max(1, epochs // POINTS)):
        mlflow.log_metric("loss", losses[epoch], step=epoch)
    mlflow.log_metric("final_loss", losses[-1])
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "weights.npz"), *final)
        np.savez(Path(folder, "losses.npz"), losses)
        np.savetxt(Path(folder, "predictions.csv"), predictions)
        mlflow.log_artifacts(folder)
    return losses[-1]
