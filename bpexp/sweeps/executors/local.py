"""Packs in parallel by joblib, each run apart from the others' errors and crashes."""

import threading
from collections.abc import Iterator, Sequence

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset, load
from bpexp.runs.result import Failure, TrainResult
from bpexp.sweeps.executors import processes
from bpexp.sweeps.executors.processes import without_interrupts
from bpexp.training.batching import RunBatch as Pack
from bpexp.training.batching import load_engine
from bpexp.training.engine import Engine, interruptible
from bpexp.training.loop import train_batch

Indexed = tuple[int, TrainResult | Failure]


def workers(n_jobs: int) -> int:
    """How many workers ``n_jobs`` means here."""
    return n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)


def train_all(
    packs: Sequence[Pack], configs: Sequence[TrainConfig], n_jobs: int
) -> Iterator[list[Indexed]]:
    """The results of each pack with their places in ``configs``, as packs are done.

    The compiled engine leaves Python's lock, so threads serve; the rest goes to processes.
    """
    compiled = [pack for pack in packs if pack.engine == "compiled"]
    others = [pack for pack in packs if pack.engine != "compiled"]
    if compiled:
        yield from _by_threads(compiled, configs, workers(n_jobs))
    if len(others) == 1 or workers(n_jobs) == 1:
        yield from (attempt(pack.runs, configs, load_engine(pack.engine)) for pack in others)
    elif others:
        yield from _by_processes(others, configs, workers(n_jobs))


def attempt(
    runs: Sequence[int],
    configs: Sequence[TrainConfig],
    engine: Engine,
    dataset: Dataset | None = None,
) -> list[Indexed]:
    """Train one pack, with errors as values: an exception would end everybody's results.

    Where a pack breaks, what was not finished is tried one run at a time. ``dataset`` is the
    pack's, where it need not be loaded.
    """
    done: dict[int, TrainResult | Failure] = {}
    try:
        for lane, result in train_batch([configs[run] for run in runs], engine, dataset):
            done[runs[lane]] = result
    except Exception as error:
        if len(runs) == 1:
            return [(runs[0], Failure(f"{type(error).__name__}: {error}"))]
        for run in runs:
            if run not in done:
                done |= attempt((run,), configs, engine, dataset)
    return list(done.items())


AHEAD = 2
"""Packs a worker thread may have trained before the first of them is taken."""


def _by_threads(
    packs: Sequence[Pack], configs: Sequence[TrainConfig], n_workers: int
) -> Iterator[list[Indexed]]:
    cancelled = threading.Event()
    engine = interruptible(load_engine("compiled"), cancelled.is_set)
    # Short runs are trained sooner than written: what is finished would fill the memory.
    ahead = threading.Semaphore(AHEAD * n_workers)

    def trained(runs: Sequence[int]) -> list[Indexed]:
        ahead.acquire()
        return attempt(runs, configs, engine)

    with parallel_config("threading", n_jobs=min(n_workers, len(packs))):
        pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        results = pool(delayed(trained)(pack.runs) for pack in packs)
        try:
            for pack in results:
                yield pack
                ahead.release()
        finally:
            cancelled.set()
            ahead.release(len(packs))


def _by_processes(
    packs: Sequence[Pack], configs: Sequence[TrainConfig], n_workers: int
) -> Iterator[list[Indexed]]:
    """When a worker dies, the packs that may have been on it are repeated apart, run by run."""
    waiting = {pack.runs: pack for pack in packs}
    while waiting:
        try:
            for results in _parallel(list(waiting.values()), configs, n_workers):
                del waiting[tuple(sorted(run for run, _ in results))]
                yield results
        except TerminatedWorkerError:
            for runs in list(waiting)[: 2 * n_workers]:
                pack = waiting.pop(runs)
                yield [_alone(run, configs[run], pack.engine) for run in pack.runs]


def _parallel(
    packs: Sequence[Pack], configs: Sequence[TrainConfig], n_workers: int
) -> Iterator[list[Indexed]]:
    # One BLAS thread a worker: the packs are the parallelism. Data are sent, as arrays: a worker
    # would take longer to import what reads them than to train.
    with parallel_config("loky", n_jobs=n_workers, inner_max_num_threads=1, max_nbytes=None):
        pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        with without_interrupts():
            results = pool(
                delayed(_in_worker)(
                    pack.runs,
                    [configs[run] for run in pack.runs],
                    pack.engine,
                    load(configs[pack.runs[0]].data),
                )
                for pack in packs
            )
        yield from results


def _in_worker(
    runs: tuple[int, ...], configs: Sequence[TrainConfig], engine: str, dataset: Dataset
) -> list[Indexed]:
    places = attempt(range(len(runs)), configs, load_engine(engine), dataset)
    return [(runs[place], result) for place, result in places]


def _alone(run: int, config: TrainConfig, engine: str) -> Indexed:
    try:
        with processes.single() as submit:
            result: Indexed
            (result,) = submit(_in_worker, (run,), [config], engine, load(config.data)).result()
            return result
    except TerminatedWorkerError as error:
        return run, Failure(f"its worker process died: {str(error).splitlines()[0]}")
