"""Predictions of a trained network for new rows, in the units and classes of the user's table.

>>> import bpexp
>>> result = bpexp.train([[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"],
...                      model="classifier", hidden=4, lr=0.3, epochs=2000)
>>> result.predict([[0, 1], [1, 1]]).tolist()
['yes', 'no']
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset, new_rows, python_tables
from bpexp.fields.checks import ConfigError, brief
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.mlp import forward
from bpexp.runs import output_metrics
from bpexp.runs.result import Outcome, TrainResult, as_subclass
from bpexp.training.run_batch import make_network
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network with everything that new rows need.

    Attributes:
        config: The configuration of the run.
        dataset: The data that it was trained on.
        weights: Weights of each layer, (n_in, n_out), after the last update, or with validation
            rows those of the lowest validation loss.
        biases: Biases of each layer, (1, n_out).
    """

    config: TrainConfig
    dataset: Dataset
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def outputs(self, X: Any, name: str = "X") -> Array:
        """The outputs of the network, in the units of the targets.

        Args:
            X: Rows as in the table that the network was trained on, before standardization: a
                table of pandas, or an array (n_rows, n_columns).
            name: What error messages call ``X``.

        Returns:
            Outputs, (n_rows, n_outputs).

        Raises:
            ConfigError: A column is missing, or a cell is not a finite number.
        """
        assert self.dataset.preparation is not None
        decimal = getattr(self.config.data, "decimal", ".")
        rows = new_rows.inputs(X, self.dataset.preparation, decimal=decimal, name=name)
        return self.outputs_of_inputs(rows)

    def outputs_of_inputs(self, inputs: Array) -> Array:
        """The outputs for inputs of the network, in the units of the targets.

        Args:
            inputs: Encoded and standardized, (n_rows, n_features).

        Returns:
            Outputs, (n_rows, n_outputs).
        """
        network = make_network(self.config, self.dataset)
        activations, _ = forward(network, inputs, self.weights, self.biases, EXACT)
        return self.dataset.scaling_for(self.config.model.output).original(activations[-1])

    def labels(self, outputs: Array) -> NDArray[Any]:
        """The predictions that outputs, (n_rows, n_outputs), stand for.

        Returns:
            A regression has the outputs. A classification has the class of each row as it is in
            the user's table, or for several binary targets the class of each of them. The shape
            is (n_rows,) for one target, else (n_rows, n_targets).
        """
        data = self.dataset
        if not data.is_classification:
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs
        labels: NDArray[Any] = _as_array(self.classes)[data.class_codes(outputs)]
        return labels

    def predict(self, X: Any) -> NDArray[Any]:
        """The predictions for new rows; see ``labels``, and ``outputs`` for the arguments."""
        return self.labels(self.outputs(X))

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n_rows, n_classes), in the order of ``classes``.

        Raises:
            ConfigError: The outputs are no probabilities, or as ``outputs``.
        """
        probabilities = self.probabilities(self.outputs(X))
        if probabilities is None:
            raise ConfigError(
                "Probabilities need a classification with model=classifier, or with one sigmoid "
                "output for the targets 0 and 1; outputs(X) returns the outputs of this network."
            )
        return probabilities

    def probabilities(self, outputs: Array) -> Array | None:
        """The probability of each class from outputs; None if they are no probabilities."""
        data, function = self.dataset, self.config.model.output
        if data.is_one_hot and function == "softmax":
            return outputs
        is_one_bit = outputs.shape[1] == 1 and data.two_values == (0.0, 1.0)
        if data.is_classification and is_one_bit and function == "sigmoid":
            return np.hstack([1.0 - outputs, outputs])
        return None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes of a classification, in the order of their probabilities."""
        data = self.dataset
        if not data.is_classification:
            return ()
        return data.labels if data.is_one_hot else data.two_values

    def score(self, X: Any, y: Any) -> float:
        """The accuracy of a classification, or R² of a regression, as in scikit-learn.

        Args:
            X: New rows, see ``outputs``.
            y: Their targets, (n_rows,) or (n_rows, n_targets): classes, or numbers.

        Raises:
            ConfigError: y has another shape, or its values are none of the classes.
        """
        predicted = self.predict(X)
        expected = python_tables.as_array(y, "y")
        if expected.ndim == 2 and expected.shape[1] == 1:
            expected = expected[:, 0]
        if expected.shape != predicted.shape:
            raise ConfigError(
                f"y must have the shape {predicted.shape} of the predictions, got {expected.shape}."
            )
        if not self.dataset.is_classification:
            return self._r2(expected, predicted)
        known = set(self.classes)
        values = expected.ravel().tolist()
        if not known.intersection(values):
            raise ConfigError(
                f"y must hold classes such as {brief(self.classes[0])}, got {brief(values[0])}."
            )
        pairs = zip(expected.tolist(), predicted.tolist(), strict=True)
        return sum(bool(one == other) for one, other in pairs) / len(predicted)

    @staticmethod
    def _r2(expected: NDArray[Any], predicted: Array) -> float:
        if np.iscomplexobj(expected):
            raise ConfigError("y must hold real numbers.")
        try:
            targets = np.asarray(expected, np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError("y must hold numbers.") from error
        if not np.isfinite(targets).all():
            raise ConfigError("y must hold finite numbers.")
        n = len(targets)
        if n < 2:
            raise ConfigError(f"R² needs at least two rows, got {n}.")
        values = output_metrics.of_numbers(targets.reshape(n, -1), predicted.reshape(n, -1))
        return values.get("r2", float("nan"))


@dataclass(frozen=True, eq=False)
class FittedResult(TrainResult):
    """The result of a training whose network predicts for new rows.

    Attributes:
        config: The configuration of the run.
        dataset: The data that it was trained on.
    """

    config: TrainConfig = field(kw_only=True)
    dataset: Dataset = field(kw_only=True)

    @property
    def predictor(self) -> Predictor:
        """The network, see ``Predictor``. Raises ConfigError if the run diverged."""
        if self.outcome is Outcome.DIVERGED:
            raise ConfigError("The run has diverged, so that its network cannot predict.")
        return Predictor(self.config, self.dataset, self.weights, self.biases)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the classes or numbers of new rows.

        Args:
            X: Rows as in the training data, before standardization: a table of pandas, or an
                array (n_rows, n_columns).

        Returns:
            The class of each row as it is in the training data, or numbers in the units of the
            targets: (n_rows,) for one target, else (n_rows, n_targets).

        Raises:
            ConfigError: The run diverged, a column is missing, or a cell is not a finite number.
        """
        return self.predictor.predict(X)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n_rows, n_classes); see ``Predictor``."""
        return self.predictor.predict_proba(X)

    def score(self, X: Any, y: Any) -> float:
        """The accuracy of a classification, or R² of a regression; see ``Predictor``."""
        return self.predictor.score(X, y)


def fitted(result: TrainResult, config: TrainConfig, dataset: Dataset) -> FittedResult:
    """Add to a result what its predictions for new rows need."""
    return as_subclass(result, FittedResult, config=config, dataset=dataset)


def _as_array(labels: tuple[Any, ...]) -> NDArray[Any]:
    """Labels of one type as an array of that type."""
    if len({type(label) for label in labels}) == 1:
        return np.asarray(labels)
    return np.array(labels, dtype=object)
