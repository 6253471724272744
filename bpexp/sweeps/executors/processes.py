"""Processes of loky's that do not get the terminal's Ctrl-C: it is their parent's to handle."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_tracker


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes started in the block have SIGINT blocked."""
    # Started in the block, as they are with the first worker, they would unblock the signal.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def single() -> Iterator[Callable[..., Any]]:
    """One process, gone at the end of the block whatever it does: submit(function, *arguments)
    gives a future of what the function returns there.
    """
    executor = ProcessPoolExecutor(max_workers=1)

    def submit(*call: Any) -> Any:
        with without_interrupts():
            return executor.submit(*call)

    try:
        yield submit
    finally:
        # On Ctrl-C it would otherwise be waited for.
        executor.shutdown(kill_workers=True)
