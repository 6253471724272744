"""The accuracy that bpexp reaches beside scikit-learn's MLPClassifier with the same settings.

python -m benchmarks.accuracy > docs/accuracy.md
"""

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import fisher_exact
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from bpexp import train
from bpexp.analysis.statistics import Interval, bootstrap
from bpexp.config.compose import compose_settings
from bpexp.config.schema import parse
from bpexp.data import load
from bpexp.data.registry import DataConfig

PROBLEMS = {
    "XOR 2-4-1": {"data": {"name": "xor"}, "hidden": 4, "epochs": 1000, "lr": 0.05},
    "parity of 4 bits, 4-8-1": {"data": {"name": "parity", "bits": 4}, "hidden": 8,
                                "epochs": 1000, "lr": 0.05},
    "encoder 8-3-8": {"data": {"name": "encoder", "size": 8}, "hidden": 3, "epochs": 1000,
                      "lr": 0.05},
    "digits 64-32-10": {"data": {"name": "digits", "test_fraction": 0.25, "standardize": True},
                        "hidden": 32, "epochs": 30, "lr": 0.002, "batch_size": 64},
    "breast_cancer 30-16-2": {"data": {"name": "breast_cancer", "test_fraction": 0.25,
                                       "standardize": True},
                              "hidden": 16, "epochs": 60, "lr": 0.002, "batch_size": 64},
}  # fmt: skip


def ours(settings: dict, seed: int) -> float:
    """The accuracy of one run of bpexp."""
    data = load(_data(settings))
    output = "sigmoid" if data.Y.shape[1] == 1 else "softmax"
    model = {"activation": "tanh", "output": output, "loss": "cross_entropy", "init": "glorot"}
    result = train(**settings, model=model, optimizer="adam", seed=seed)
    accuracy = result.accuracy if result.test_accuracy is None else result.test_accuracy
    return np.nan if accuracy is None else accuracy


def theirs(settings: dict, seed: int) -> float:
    """The accuracy of one run of scikit-learn."""
    data = load(_data(settings))
    network = MLPClassifier(
        hidden_layer_sizes=(settings["hidden"],), activation="tanh", solver="adam", alpha=0.0,
        batch_size=settings.get("batch_size", len(data.X)), learning_rate_init=settings["lr"],
        max_iter=settings["epochs"], n_iter_no_change=settings["epochs"] + 1, tol=0.0,
        random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        # It warns that all epochs were used: they were asked for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(data.X, _labels(data.Y))
    X, Y = (data.X_test, data.Y_test) if len(data.X_test) else (data.X, data.Y)
    return float((network.predict(X) == _labels(Y)).mean())


def _data(settings: dict) -> DataConfig:
    return parse(compose_settings({"data": settings["data"]}))[0].data


def _labels(Y: np.ndarray) -> np.ndarray:
    return Y[:, 0] if Y.shape[1] == 1 else Y.argmax(axis=1)


def row(name: str, settings: dict, seeds: Sequence[int]) -> str:
    """One line of the table."""
    measured = [np.array([reached(settings, seed) for seed in seeds]) for reached in (ours, theirs)]
    mine, others = (bootstrap(values, np.mean, 0) for values in measured)
    rows = "test" if settings["data"].get("test_fraction") else "training"
    batch = settings.get("batch_size", "all")
    about = f"{settings['epochs']} | {batch} | {settings['lr']:g} | {rows}"
    meet = mine.low <= others.high and others.low <= mine.high
    said = "overlap" if meet else "lie apart"
    return f"| {name} | {about} | {_shown(mine)} | {_shown(others)} | {said} |"


def stuck(settings: dict, seeds: Sequence[int]) -> str:
    """How many runs do not get all training rows right, and whether that differs."""
    n = len(seeds)
    mine, others = (
        sum(reached(settings, seed) < 1.0 for seed in seeds) for reached in (ours, theirs)
    )
    p = fisher_exact([[mine, n - mine], [others, n - others]]).pvalue
    return STUCK.format(n=n, mine=mine, others=others, p=p)


def _shown(share: Interval) -> str:
    return f"{100 * share.estimate:.2f} [{100 * share.low:.2f}, {100 * share.high:.2f}]"


ABOUT = """\
# Accuracy beside scikit-learn's MLPClassifier

`python -m benchmarks.accuracy` measures and writes this page: the mean over {seeds} seeds, with its
95% bootstrap interval, of the accuracy on test rows, or on the training rows where there are no
others.

The same in both: rows, split and standardisation; widths, tanh units, the loss of the output; Adam
(beta 0.9, 0.999, epsilon 1e-8) at the same rate, no weight decay; epochs and batch size; Glorot's
bounds for the first weights. scikit-learn averages the gradient over a batch where bpexp sums it,
which Adam's step does not feel beyond its epsilon. Both draw weights and orders by themselves, so
runs of one seed are not the same runs.

| data | epochs | batch | rate | rows | bpexp, % | scikit-learn, % | intervals |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
STUCK = """
An XOR network gets stuck now and then, in both. Of {n} seeds, {mine} of bpexp's and {others} of
scikit-learn's do not get all four rows right (Fisher's exact test of a difference: p = {p:.2g}); in
a table of 20 seeds that may be none or one, and one is 2.5 points."""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description="Accuracy beside scikit-learn's MLPClassifier.")
    parser.add_argument("--seeds", type=int, default=20, help="seeds of each (20)")
    parser.add_argument("--stuck", type=int, default=300, help="seeds of XOR more (300)")
    asked = parser.parse_args()
    seeds = range(asked.seeds)
    print(ABOUT.format(seeds=len(seeds)))
    with threadpool_limits(1):
        for name, settings in PROBLEMS.items():
            print(row(name, settings, seeds), flush=True)
        print(stuck(PROBLEMS["XOR 2-4-1"], range(asked.stuck)))


if __name__ == "__main__":
    main()
