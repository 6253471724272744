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
        tuples = {name: tuple(fields[name]) for name in ("sizes", "activation_names")}
        self.network = Network(**{**fields, **tuples})
        with np.load(context.artifacts["weights"], allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Compute the outputs.

        Args:
            context: Not used.
            model_input: The columns of the table that the network was trained on, before
                standardization; one row per sample.
            params: Not used.

        Returns:
            Outputs, one row per sample.

        Raises:
            MlflowException: A cell is no finite number, or missing.
        """
        from bpexp.nn.arithmetic import EXACT
        from bpexp.nn.mlp import forward

        X = np.hstack([
            self._features(model_input[name], place)
            for place, name in enumerate(self.settings["columns"])
        ])  # fmt: skip
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

    def _features(self, column: "pd.Series[Any]", place: int) -> Any:
        """The inputs of the network that a column of the table gives, (n_rows, n_features).

        A column of texts has an input for each text of the training rows.
        """
        is_missing = column.isna()
        if is_missing.any() and "medians" not in self.arrays:
            row = int(np.flatnonzero(is_missing)[0]) + 1
            raise _invalid(f"a value in every cell, got none in column {column.name!r}, row {row}")
        texts = self.settings["texts"].get(column.name)
        if texts is not None:
            return np.array([[float(str(cell) == text) for text in texts] for cell in column])
        if column.dtype.kind in "mMc":
            raise _invalid(f"a column of numbers, got {column.name!r} of type {column.dtype}")
        try:
            values = column.to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise _invalid(f"a column of numbers, got {column.name!r}: {error}") from error
        if is_missing.any():
            values = np.where(is_missing, self.arrays["medians"][place], values)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise _invalid(f"finite, got {values[row]} in column {column.name!r}, row {row + 1}")
        return values[:, None]


def _invalid(reason: str) -> mlflow.MlflowException:
    message = f"Every input must be {reason}."
    return mlflow.MlflowException.invalid_parameter_value(message)  # type: ignore[no-any-return]


mlflow.models.set_model(ServedNetwork())
