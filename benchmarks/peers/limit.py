"""The limit: ``limit.c``, compiled for this machine and the problem's sizes, on one core."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.training import run_batch
from bpexp.typing import Array

FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")


def prepare(runs: list[TrainConfig]) -> Callable[[], Callable[[], tuple[Array, ...]]]:
    """Raises ImportError where there is no gcc."""
    dataset = load(runs[0].data)
    shape, epochs, n = run_batch.make_network(runs[0], dataset), runs[0].epochs, len(runs)
    train = _compiled(len(dataset.X), shape.sizes, n)
    first = np.stack([run_batch.initial_parameters(config, shape) for config in runs], axis=-1)
    lr = _aligned((n,), runs[0].lr)
    X, Y = np.ascontiguousarray(dataset.X), np.ascontiguousarray(dataset.Y)
    losses = _aligned((epochs, n), 0.0)

    def all_runs() -> Callable[[], tuple[Array, ...]]:
        weights = _aligned(first.shape, first)
        train(*(ctypes.c_void_p(a.ctypes.data) for a in (weights, X, Y, lr, losses)), epochs)
        return lambda: (losses[-1], losses, weights)

    return all_runs


def _compiled(n_samples: int, sizes: tuple[int, ...], n_runs: int) -> Callable[..., None]:
    if shutil.which("gcc") is None:
        raise ImportError("gcc is not installed")
    n_in, n_hidden, n_out = sizes
    defined = {"S": n_samples, "F": n_in, "H": n_hidden, "O": n_out, "L": n_runs}
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "limit.so")
        source = Path(__file__).with_suffix(".c")
        defines = [f"-D{name}={value}" for name, value in defined.items()]
        subprocess.run(["gcc", *FLAGS, *defines, "-o", library, source, "-lm"], check=True)
        loaded: Callable[..., None] = ctypes.CDLL(str(library)).train
    return loaded


def _aligned(shape: tuple[int, ...], values: "float | Array") -> Array:
    """An array that begins with a cache line."""
    size = int(np.prod(shape))
    raw = np.empty(size + 8)
    start = -(raw.ctypes.data // 8) % 8
    out = raw[start : start + size].reshape(shape)
    out[:] = values
    return out
