"""Training by ``c_program.c`` on one core, compiled for this machine and the problem's sizes."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers import Peer
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.training import run_batch
from bpexp.typing import Array

FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
CACHE_LINE = 8
"""Numbers per cache line."""


class CProgram(Peer):
    """Trains all runs together; raises ImportError if gcc is not installed."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        dataset = load(runs[0].data)
        network, n_runs = run_batch.make_network(runs[0], dataset), len(runs)
        self.epochs = runs[0].epochs
        self.train_function = _compile(len(dataset.X), network.sizes, n_runs)
        self.initial = np.stack([run_batch.initial_parameters(c, network) for c in runs], axis=-1)
        self.lr = _aligned((n_runs,), runs[0].lr)
        self.X, self.Y = np.ascontiguousarray(dataset.X), np.ascontiguousarray(dataset.Y)
        self.losses = _aligned((self.epochs, n_runs), 0.0)

    def train(self) -> None:
        """See ``Peer``."""
        self.weights = _aligned(self.initial.shape, self.initial)
        arrays = (self.weights, self.X, self.Y, self.lr, self.losses)
        self.train_function(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), self.epochs)

    def results(self) -> tuple[Array, ...]:
        """Final losses, all losses (epochs, n_runs) and final weights (n_parameters, n_runs)."""
        return self.losses[-1], self.losses, self.weights


prepare = CProgram


def _compile(n_samples: int, sizes: tuple[int, ...], n_runs: int) -> Callable[..., None]:
    if shutil.which("gcc") is None:
        raise ImportError("gcc is not installed")
    n_in, n_hidden, n_out = sizes
    constants = {"S": n_samples, "F": n_in, "H": n_hidden, "O": n_out, "L": n_runs}
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "c_program.so")
        source = Path(__file__).with_suffix(".c")
        definitions = [f"-D{name}={value}" for name, value in constants.items()]
        subprocess.run(["gcc", *FLAGS, *definitions, "-o", library, source, "-lm"], check=True)
        train: Callable[..., None] = ctypes.CDLL(str(library)).train
    return train


def _aligned(shape: tuple[int, ...], values: float | Array) -> Array:
    """An array that starts at a cache line and has the given values."""
    size = int(np.prod(shape))
    buffer = np.empty(size + CACHE_LINE)
    start = -(buffer.ctypes.data // CACHE_LINE) % CACHE_LINE
    array = buffer[start : start + size].reshape(shape)
    array[:] = values
    return array
