"""Which engine trains which runs, and how many side by side. Neither changes a result."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.training import run_batch
from bpexp.training.engine import Engine
from bpexp.training.llvm.lane_layout import one_by_one

WIDTH = 128
"""Lanes of a pack at most: their state stays in the second-level cache."""
HISTORY = 2**23
"""Losses of a pack at most, unless it is a single run: 64 MiB."""
WORK = 2**34
"""Multiplications of a pack at most, some seconds, where its runs are taken one by one."""
START_UP = 0.2
"""Seconds the compiled engine takes to load, and at most to compile for a kind of network."""


class Pack(NamedTuple):
    """Runs to train side by side, by their places in the sweep, and the engine's name."""

    runs: tuple[int, ...]
    engine: str


def packs(configs: Sequence[TrainConfig], engine: str, n_workers: int) -> Iterator[Pack]:
    """All runs in packs, as even as can be over the workers."""
    groups: dict[TrainConfig, list[int]] = {}
    for index, config in enumerate(configs):
        groups.setdefault(run_batch.key(config), []).append(index)
    chosen = _auto(configs, groups) if engine == "auto" else engine
    for group in groups.values():
        first = configs[group[0]]
        if first.numerics == "native":
            yield from (Pack((run,), "numpy") for run in group)
            continue
        width = _width(first, len(group), n_workers)
        n_packs = -(-len(group) // width)
        # Each pack holds some of all settings: none is slow as a whole, and the runs that are
        # stored first, which MLflow's pages show first, speak for the sweep.
        yield from (Pack(tuple(group[k::n_packs]), chosen) for k in range(n_packs))


def _width(config: TrainConfig, n_runs: int, n_workers: int) -> int:
    """How many runs like that a pack holds at most."""
    width = min(WIDTH, -(-n_runs // n_workers), HISTORY // config.epochs)
    dataset = load(config.data)
    network = run_batch.network(config, dataset)
    if one_by_one(network, WIDTH):
        width = min(width, WORK // (3 * network.n_parameters * len(dataset.X) * config.epochs))
    return max(1, width)


def load_engine(name: str) -> Engine:
    """The engine of that name."""
    if name == "compiled":
        from bpexp.training.llvm import compiled

        return compiled.advance
    from bpexp.training import numpy_engine

    return numpy_engine.advance


def _auto(configs: Sequence[TrainConfig], groups: dict[TrainConfig, list[int]]) -> str:
    """Compiled where that is sooner done, by a rough count of NumPy's calls."""
    seconds = 0.0
    for config, group in groups.items():
        dataset = load(config.data)
        calls = 150 + 3 * (len(dataset.X) + sum(run_batch.network(config, dataset).sizes))
        seconds += config.epochs * calls * 1e-6 * (1 + len(group) / 64)
    return "compiled" if seconds > START_UP else "numpy"
