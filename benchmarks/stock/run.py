"""One run of the other tools: training in NumPy, tracking by MLflow's fluent API."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from benchmarks.peers.numpy_loop import Weights, train

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
POINTS = 100
"""Number of losses that are logged."""

SETTINGS = {"lr": 0.1, "hidden": 2, "epochs": 10_000}


def initial_weights(seed: int, hidden: int) -> Weights:
    """Uniform random weights W1, b1, W2, b2."""
    rng = np.random.RandomState(seed)
    return rng.rand(2, hidden), rng.rand(1, hidden), rng.rand(hidden, 1), rng.rand(1, 1)


def train_and_track(settings: Mapping[str, Any]) -> float:
    """Train a run and log parameters, losses, weights and predictions to the open MLflow run.

    Args:
        settings: The seed, the learning rate, the hidden units and the epochs.

    Returns:
        The final loss.
    """
    mlflow.log_params(dict(settings))
    epochs = int(settings["epochs"])
    weights = initial_weights(int(settings["seed"]), int(settings["hidden"]))
    losses, predictions = train(X, Y, weights, float(settings["lr"]), epochs)
    for epoch in range(0, epochs, max(1, epochs // POINTS)):
        mlflow.log_metric("loss", losses[epoch], step=epoch)
    mlflow.log_metric("final_loss", losses[-1])
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "weights.npz"), *weights)
        np.savez(Path(folder, "losses.npz"), losses)
        np.savetxt(Path(folder, "predictions.csv"), predictions)
        mlflow.log_artifacts(folder)
    return losses[-1]
