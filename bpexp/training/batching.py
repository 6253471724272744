"""Chooses the engine and groups the runs of a sweep into batches.

These choices influence the speed only, never a result. The compiled engine is imported when it is
needed: LLVM takes 40 MB of memory, and commands that read stored runs do not train.

>>> from dataclasses import replace
>>> from bpexp.config.compose import compose_settings
>>> from bpexp.config.schema import parse
>>> config, _ = parse(compose_settings({"seed": 1, "epochs": 9}))
>>> configs = [config, replace(config, seed=2), replace(config, hidden=(3,))]
>>> list(group_runs(configs, "numpy", n_workers=1))
[RunBatch(runs=(0, 1), engine='numpy'), RunBatch(runs=(2,), engine='numpy')]
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bpexp.config.schema import TrainConfig
from bpexp.data import DataConfig, Dataset, load
from bpexp.training.engine import Engine
from bpexp.training.llvm.lane_layout import MAX_FEW_RUNS, choose_group_size
from bpexp.training.numpy_engine import NumpyEngine
from bpexp.training.run_batch import batch_key, make_network

MAX_RUNS = 128
"""Maximum number of runs in a batch. The state of so many small networks fits into the L2 cache."""
MAX_LOSSES = 2**23
"""Maximum number of losses, 64 MiB, that the runs of a batch have in all their epochs; a single run
may have more."""
MAX_PRODUCTS = 2**34
"""Maximum number of multiplications to train a batch, which take seconds; a batch of one vector may
take more. The vectors of a batch are trained in turn, epoch by epoch, and all end at its end: with
more of them in a batch, the first results would come later."""


class RunBatch(NamedTuple):
    """Runs to train together.

    Attributes:
        runs: Indices of the runs in the sweep.
        engine: Name of the engine, ``numpy`` or ``compiled``.
    """

    runs: tuple[int, ...]
    engine: str


def group_runs(
    configs: Sequence[TrainConfig],
    engine: str,
    n_workers: int,
    datasets: Mapping[DataConfig, Dataset] | None = None,
) -> Iterator[RunBatch]:
    """Group runs into batches of about equal size.

    Args:
        configs: Configurations of the runs.
        engine: Name of the engine: ``numpy``, ``compiled``, or ``auto``, which means ``compiled``.
        n_workers: Number of batches that can be trained at the same time.
        datasets: Their data, if they are already loaded.

    Yields:
        Batches that contain each run once.
    """
    compatible: dict[TrainConfig, list[int]] = {}
    for index, config in enumerate(configs):
        compatible.setdefault(batch_key(config), []).append(index)
    engine_name = "compiled" if engine == "auto" else engine
    for runs in compatible.values():
        first = configs[runs[0]]
        dataset = load(first.data) if datasets is None else datasets[first.data]
        vector_size = choose_group_size(make_network(first, dataset), MAX_RUNS)
        max_size = _max_batch_size(first, dataset, vector_size)
        if engine_name == "numpy":
            vector_size = 1
        sizes = _batch_sizes(len(runs), vector_size, max_size, n_workers)
        yield from (RunBatch(batch, engine_name) for batch in _interleaved(runs, sizes))


def _max_batch_size(config: TrainConfig, dataset: Dataset, vector_size: int) -> int:
    """Maximum number of runs like ``config`` in a batch; see ``_batch_sizes``."""
    n_products = make_network(config, dataset).n_products(len(dataset.X)) * config.epochs
    limit = vector_size * max(1, MAX_PRODUCTS // (vector_size * n_products))
    return max(1, min(MAX_RUNS, MAX_LOSSES // config.epochs, limit))


def _batch_sizes(n_runs: int, vector_size: int, max_size: int, n_workers: int) -> list[int]:
    """The numbers of runs in the batches that runs are divided into.

    Args:
        n_runs: Number of runs.
        vector_size: Number of runs that the engine computes at once, as one vector. Fewer take as
            long, so that all batches but the last one have whole vectors, unless batches have so
            few runs that the engine computes one at a time.
        max_size: Maximum number of runs in a batch.
        n_workers: Number of batches that can be trained at the same time.

    >>> _batch_sizes(20, vector_size=8, max_size=128, n_workers=2)
    [16, 4]
    >>> _batch_sizes(5, vector_size=8, max_size=128, n_workers=2)
    [3, 2]
    """
    share = math.ceil(n_runs / n_workers)
    if share <= MAX_FEW_RUNS or max_size < vector_size:
        vector_size = 1
    n_vectors = math.ceil(n_runs / vector_size)
    max_vectors = min(max_size // vector_size, math.ceil(share / vector_size))
    n_batches = math.ceil(n_vectors / max_vectors)
    vectors = [len(range(k, n_vectors, n_batches)) for k in range(n_batches)]
    sizes = [vector_size * count for count in vectors]
    sizes[-1] -= vector_size * n_vectors - n_runs
    return sizes


def _interleaved(runs: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Divide runs into batches of these sizes.

    Each batch then has some runs of every setting. No batch is much slower than the others, and the
    first stored runs represent the whole sweep.

    >>> _interleaved(range(9), [6, 3])
    [(0, 2, 3, 5, 6, 8), (1, 4, 7)]
    """
    places = sorted(
        ((place + 0.5) / size, batch) for batch, size in enumerate(sizes) for place in range(size)
    )
    batches: list[list[int]] = [[] for _ in sizes]
    for run, (_, batch) in zip(runs, places, strict=True):
        batches[batch].append(run)
    return [tuple(batch) for batch in batches]


def load_engine(name: str) -> Engine:
    """Return the engine with this name: ``numpy`` or ``compiled``.

    >>> type(load_engine("numpy")).__name__
    'NumpyEngine'
    """
    if name == "compiled":
        from bpexp.training.llvm.engine import LlvmEngine

        return LlvmEngine()
    return NumpyEngine()
