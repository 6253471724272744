"""Time one run by one thread of the compiled engine, and by one thread for each processor."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.kernel import make_config, make_dataset, n_operations
from benchmarks.rounds import Row, Table, alternate
from bpexp.sweeps.executors.processes import cpu_count
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.run_batch import PreparedBatch

PROBLEMS = (
    ((64, 32, 10), 32),
    ((784, 128, 10), 64),
    ((784, 128, 10), 128),
    ((784, 512, 256, 10), 256),
)
"""Layer widths and batch sizes; the first network is too small for several threads."""
N_ROWS = 2560
WORK = 4e9
"""Floating-point operations of the matrix products in one timing, at least: most of a second."""


def one_run(rounds: int, share: float) -> Iterator[Table]:
    """Compare the times of an epoch.

    Args:
        rounds: Number of rounds.
        share: Share of the epochs of a full timing.

    Yields:
        A table for each network and batch size.
    """
    counts = sorted({1, max(2, cpu_count())})
    for sizes, batch_size in PROBLEMS:
        candidates = {
            f"{count} thread{'s' * (count > 1)}": _timing(sizes, batch_size, count, share)
            for count in counts
        }
        rows: list[Row] = alternate(candidates, rounds)
        yield Table(
            title=f"One run of {'-'.join(map(str, sizes))}, batches of {batch_size}",
            unit="ms per epoch",
            note=f"Training {N_ROWS:,} rows with gradient descent, without tracking.",
            rows=rows,
        )


def _timing(
    sizes: tuple[int, ...], batch_size: int, n_threads: int, share: float
) -> Callable[[], float]:
    """Return a function that measures the milliseconds of an epoch once."""
    batch = PreparedBatch([make_config(sizes, batch_size)], make_dataset(sizes, N_ROWS))
    n_epochs = max(1, round(share * WORK / (N_ROWS * n_operations(sizes))))
    state, engine = batch.initial_state(), LlvmEngine()
    engine.max_threads = n_threads
    orders = batch.sample_orders(np.array([0]), 0, n_epochs)
    engine.advance(batch.problem, state, np.ones(n_epochs), orders)

    def measure() -> float:
        start = time.perf_counter()
        engine.advance(batch.problem, state, np.ones(n_epochs), orders)
        return 1000 * (time.perf_counter() - start) / n_epochs

    return measure
