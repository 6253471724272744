"""Runs in parallel by joblib, each apart from the others' errors and crashes."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bpexp.config import TrainConfig
from bpexp.results import Failure, TrainResult
from bpexp.run import train_config

Indexed = tuple[int, TrainResult | Failure]


def attempt(index: int, config: TrainConfig) -> Indexed:
    """Train, with an error as a value: an exception would end everybody's results."""
    try:
        return index, train_config(config)
    except Exception as error:
        return index, Failure(f"{type(error).__name__}: {error}")


def workers(n_jobs: int, n_runs: int) -> int:
    """How many workers ``n_jobs`` means here, for so many runs."""
    available = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
    return max(1, min(available, n_runs))


def train_all(configs: Sequence[TrainConfig], n_jobs: int) -> Iterator[Indexed]:
    """Results with their index, as they come.

    When a worker dies, the runs that may have been on it are repeated one at a time in
    a process of their own; the one that dies again is a Failure, the others go on.
    """
    n_workers = workers(n_jobs, len(configs))
    if len(configs) == 1:
        yield attempt(0, configs[0])
        return
    waiting = dict(enumerate(configs))
    while waiting:
        try:
            for index, result in _parallel(waiting, n_workers):
                del waiting[index]
                yield index, result
        except TerminatedWorkerError:
            for index in list(waiting)[: 2 * n_workers]:
                yield _alone(index, waiting.pop(index))


def _parallel(jobs: dict[int, TrainConfig], n_workers: int) -> Iterator[Indexed]:
    # One BLAS thread a worker: the runs are the parallelism.
    with parallel_config("loky", n_jobs=n_workers, inner_max_num_threads=1):
        pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        with _without_interrupts():
            results = pool(delayed(attempt)(index, config) for index, config in list(jobs.items()))
        yield from results


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Workers started here do not get the terminal's Ctrl-C: it is the parent's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(index: int, config: TrainConfig) -> Indexed:
    from joblib.externals.loky import ProcessPoolExecutor

    with ProcessPoolExecutor(max_workers=1) as executor:
        try:
            result: Indexed = executor.submit(attempt, index, config).result()
            return result
        except TerminatedWorkerError as error:
            return index, Failure(f"its worker process died: {str(error).splitlines()[0]}")
