"""Worker processes that ignore the terminal's Ctrl-C, which the main process handles.

This is the only module that uses loky, the process pool inside joblib, which joblib does not
document as public (``joblib.externals``).
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Self

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

TESTED = "1.6"
"""The version of joblib whose internals this module was tested with."""

__all__ = ["SingleProcess", "TerminatedWorkerError", "sigint_blocked"]


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this context; processes that start in it inherit the blocked signal."""
    # Both trackers are started first: started in this context, with the first worker, they
    # would unblock the signal for it.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
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
        with sigint_blocked():
            return self._executor.submit(*call)

    def __exit__(self, *exception: object) -> None:
        """Kill the process."""
        # Without kill_workers, Ctrl-C would wait for the training to end.
        self._executor.shutdown(kill_workers=True)
