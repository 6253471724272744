"""What is trained in the comparisons: four problems, in every form a contestant needs."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bpexp.config.schema import TrainConfig, conf_dir, parse
from bpexp.data import load
from bpexp.training import run_batch
from bpexp.typing import Array


class Problem(NamedTuple):
    """Overrides of the default run, its layers as text, how many runs, and how many epochs
    make one timing.
    """

    overrides: tuple[str, ...]
    layers: str
    runs: int
    epochs: int


PROBLEMS = {
    "xor": Problem((), "2-2-1", 1024, 30_000),
    "parity": Problem(("data=parity", "data.bits=4", "hidden=8"), "4-8-1", 1024, 2_000),
    "encoder": Problem(("data=encoder", "data.size=10", "hidden=5"), "10-5-10", 1024, 1_500),
    # Smaller steps than the others': its 1,348 rows are summed over.
    "digits": Problem(("data=digits", "hidden=32", "lr=0.001"), "64-32-10", 16, 150),
}


class Arrays(NamedTuple):
    """A problem without its package: X (n_samples, n_in), Y (n_samples, n_out) and the first
    weights of every run, W1 (runs, n_in, hidden), b1 (runs, 1, hidden), W2, b2.
    """

    X: Array
    Y: Array
    lr: float
    W1: Array
    b1: Array
    W2: Array
    b2: Array


def configs(name: str, runs: int, epochs: int) -> list[TrainConfig]:
    """The problem's runs, one seed after the other."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        chosen = OmegaConf.to_container(compose("config", list(PROBLEMS[name].overrides)))
    first = parse(chosen)[0]
    numerics = run_batch.resolve_numerics(first, load(first.data))
    first = replace(first, epochs=epochs, numerics=numerics)
    return [replace(first, seed=seed) for seed in range(runs)]


def arrays(runs: list[TrainConfig]) -> Arrays:
    """The same runs as arrays."""
    dataset = load(runs[0].data)
    shape = run_batch.make_network(runs[0], dataset)
    split = [shape.split(run_batch.initial_parameters(config, shape)) for config in runs]
    W1, W2 = (np.stack([weights[i] for weights, _ in split]) for i in range(2))
    b1, b2 = (np.stack([biases[i] for _, biases in split]) for i in range(2))
    return Arrays(dataset.X, dataset.Y, runs[0].lr, W1, b1, W2, b2)
