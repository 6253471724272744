"""The script of an exported MLflow model, which MLflow runs to load the model.

The exported copy imports the modules of bpexp that were bundled with the model under another
package name, so bpexp need not be installed where the model is served. They are imported in the
methods, because MLflow also runs the script where the model is saved and they are not importable.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd


class ServedNetwork(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """Maps a table of inputs to a table of outputs, one column per unit."""

    def load_context(self, context: Any) -> None:
        """Load the weights and settings.

        Args:
            context: MLflow's context, with the paths of the artifacts.
        """
        from bpexp.nn.network import Network

        self.settings = json.loads(Path(context.artifacts["settings"]).read_text())
        fields: dict[str, Any] = self.settings["network"]
        tuples = {name: tuple(fields[name]) for name in ("sizes", "functions")}
        self.network = Network(**{**fields, **tuples})
        with np.load(context.artifacts["weights"], allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Compute the outputs.

        Args:
            context: Not used.
            model_input: Inputs before standardization, one row per sample.
            params: Not used.

        Returns:
            Outputs, one row per sample.

        Raises:
            MlflowException: A column holds something other than numbers.
        """
        from bpexp.nn.arithmetic import EXACT
        from bpexp.nn.mlp import forward

        columns = model_input[self.settings["inputs"]]
        try:
            X = np.ascontiguousarray(columns, np.float64)
        except (TypeError, ValueError) as error:
            raise mlflow.MlflowException.invalid_parameter_value(
                f"Every input must be a column of numbers: {error}."
            ) from error
        layers = range(1, len(self.network.sizes))
        activations, _ = forward(
            self.network,
            (X - self.arrays["mean"]) / self.arrays["scale"],
            [self.arrays[f"W{i}"] for i in layers],
            [self.arrays[f"b{i}"] for i in layers],
            EXACT,
        )
        outputs = activations[-1]
        if "target_scale" in self.arrays:
            outputs = outputs * self.arrays["target_scale"] + self.arrays["target_mean"]
        return pd.DataFrame(outputs, columns=self.settings["targets"])


mlflow.models.set_model(ServedNetwork())
