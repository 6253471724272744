"""Worker processes that ignore Ctrl-C, which the main process handles, and end with it.

This is the only module that uses what joblib does not document as public: loky, the process pool
inside it (``joblib.externals``), and whether it can start processes.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from typing import Any, Self

from joblib._multiprocessing_helpers import mp
from joblib.externals.loky import ProcessPoolExecutor, cpu_count
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bpexp.fields.memory_limit import memory_limit
from bpexp.sweeps.interrupts import SIGNALS, call_after_parent

TESTED = "1.6"
"""The version of joblib whose internals this module was tested with."""

__all__ = ["SingleProcess", "TerminatedWorkerError", "check_available", "count_that_fit",
           "cpu_count", "end_with_parent", "interrupts_blocked"]  # fmt: skip

BYTES_OF_A_WORKER = 100_000_000
"""About what a worker process needs beside its data, which are shared."""


def check_available() -> None:
    """Check that joblib can start processes; it would use threads of this process instead.

    Raises:
        OSError: It cannot, for instance because /dev/shm, where semaphores are, is full.
    """
    if mp is not None:
        return
    try:
        # joblib tried the same when it was imported.
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise OSError(f"{error.strerror}: /dev/shm") from error
    raise OSError("JOBLIB_MULTIPROCESSING=0, or /dev/shm could not be used at the start")


def count_that_fit() -> int:
    """How many worker processes fit into half of the memory; at least 1."""
    return max(1, memory_limit() // 2 // BYTES_OF_A_WORKER)


@cache
def end_with_parent(parent: int) -> None:
    """End this worker process soon after its parent, however that ends.

    A worker that trains would not notice that its parent was killed, and use a processor for hours.

    Args:
        parent: The process id of the parent.
    """

    if os.getpid() != parent:
        call_after_parent(parent, lambda: os._exit(1))


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block the signals of ``interrupts`` here; processes that start here inherit that.

    A closing terminal sends SIGHUP to the workers, too, whose death would be taken for a fault.
    """
    # Both trackers are started first: started with the first worker, they would unblock SIGINT and
    # SIGTERM for it. They ignore these two, but not SIGHUP.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
        loky_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SingleProcess:
    """A pool with one worker process, as a context manager that kills the process at its end."""

    def __enter__(self) -> Self:
        """Create the pool; the process starts with the first call of ``submit``."""
        self._executor = ProcessPoolExecutor(max_workers=1)
        return self

    def submit(self, *call: Any) -> Any:
        """Call a function in the process.

        Args:
            *call: The function, followed by its arguments.

        Returns:
            The future of its return value.
        """
        with interrupts_blocked():
            return self._executor.submit(*call)

    def __exit__(self, *exception: object) -> None:
        """Kill the process."""
        # Without kill_workers, Ctrl-C would wait for the training to end.
        self._executor.shutdown(kill_workers=True)
