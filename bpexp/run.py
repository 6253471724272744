"""One run: from its configuration to its result, a pure function."""

from dataclasses import replace

from bpexp.config import Model, TrainConfig
from bpexp.data import load
from bpexp.data.dataset import Dataset, accuracy
from bpexp.nn import init, stopping
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import forward
from bpexp.nn.train import train
from bpexp.results import Outcome, TrainResult


def train_config(config: TrainConfig) -> TrainResult:
    """Train what ``config`` describes. Raises ConfigError if its data cannot be had."""
    dataset = load(config.data)
    sizes = (dataset.X.shape[1], *config.hidden, dataset.Y.shape[1])
    functions = [config.model.activation] * len(config.hidden) + [config.model.output]
    weights, biases = init.initialise(sizes, _draw(config.model), config.seed)
    stop: dict[Outcome, list[stopping.Criterion]] = {Outcome.CONVERGED: [], Outcome.STALLED: []}
    if config.stop.loss is not None:
        stop[Outcome.CONVERGED].append(stopping.below_loss(config.stop.loss))
    if config.stop.correct is not None:
        stop[Outcome.CONVERGED].append(stopping.all_correct(dataset.Y, config.stop.correct))
    if config.stop.patience is not None:
        stop[Outcome.STALLED].append(stopping.no_progress(config.stop.patience))
    result = train(
        dataset.X, dataset.Y, weights, biases, functions,
        config.model.loss, config.lr, config.epochs, stop,
    )  # fmt: skip
    return _judge(result, dataset, functions, config.model.loss)


def _draw(model: Model) -> init.Draw:
    rules = {"uniform": init.uniform(model.init_low, model.init_high),
             "glorot": init.glorot, "he": init.he}  # fmt: skip
    return rules[model.init]


def _judge(result: TrainResult, dataset: Dataset, functions: list[str], loss: str) -> TrainResult:
    """Add accuracy, and loss and accuracy on the test rows, where they apply."""
    if result.outcome is Outcome.DIVERGED:
        return result
    if dataset.classes:
        result = replace(result, accuracy=accuracy(result.predictions, dataset.Y))
    if len(dataset.X_test):
        activations, Z = forward(dataset.X_test, result.weights, result.biases, functions)
        objective = LOSSES[loss, functions[-1]]
        total = objective.total(Z, activations[-1], dataset.Y_test)
        result = replace(result, test_loss=objective.per_sample(total, *dataset.Y_test.shape))
        if dataset.classes:
            result = replace(result, test_accuracy=accuracy(activations[-1], dataset.Y_test))
    return result
