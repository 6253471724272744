"""Handles Ctrl-C, SIGTERM and SIGHUP, which end a program alike, and the end of its parent."""

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what schedulers and ``kill`` send; what a closing terminal sends."""


PARENT_CHECK_SECONDS = 0.5
"""How often a process looks whether its parent is alive."""


def handle_termination() -> None:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, too: finished runs are then kept.

    A signal that is ignored stays ignored: ``nohup`` ignores SIGHUP.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_terminal()
    raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Send the output nowhere: writing to a terminal that was closed is an error."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Raise the KeyboardInterrupt of a signal at the end of the context instead of inside it.

    Only the main thread receives signals; in other threads the context does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupting = [n for n in SIGNALS if before[n] in (_interrupt, signal.default_int_handler)]
    for number in interrupting:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number in interrupting:
            signal.signal(number, before[number])
    if received:
        _interrupt(received[0], None)


def call_after_parent(parent: int, end: Callable[[], object]) -> None:
    """Call a function, in a thread, soon after the parent of this process has ended.

    Args:
        parent: The process id of the parent.
        end: Ends this process.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        end()

    threading.Thread(target=watch, daemon=True).start()
