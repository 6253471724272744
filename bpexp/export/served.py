"""A served model: MLflow runs this file, with the code, weights and settings beside it.

It is copied into the model, as are the modules of bpexp that it imports, under a name of
their own; so a model needs no bpexp where it is served.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """Raw inputs, one column each, to outputs, one column each."""

    def load_context(self, context: Any) -> None:
        """Read weights and settings."""
        # Not above: MLflow also runs this file when it saves the model.
        from bpexp.nn.network import Network

        self.settings = json.loads(Path(context.artifacts["settings"]).read_text())
        fields: dict[str, Any] = self.settings["network"]
        listed = {name: tuple(fields[name]) for name in ("sizes", "functions")}
        self.network = Network(**{**fields, **listed})
        with np.load(context.artifacts["weights"], allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Outputs, (n_samples, n_outputs)."""
        from bpexp.nn.arithmetic import ARITHMETICS
        from bpexp.nn.mlp import forward

        X = np.ascontiguousarray(model_input[self.settings["inputs"]], np.float64)
        layers = range(1, len(self.network.sizes))
        activations, _ = forward(
            self.network,
            (X - self.arrays["mean"]) / self.arrays["scale"],
            [self.arrays[f"W{i}"] for i in layers],
            [self.arrays[f"b{i}"] for i in layers],
            ARITHMETICS[self.settings["numerics"]],
        )
        return pd.DataFrame(activations[-1], columns=self.settings["targets"])


mlflow.models.set_model(Served())
