"""Handles Ctrl-C, SIGTERM and SIGHUP, which end a program alike, and the end of its parent.

Python handles a signal between two instructions of the main thread. A signal that arrives after the
last instruction before a wait does not end the wait, nor does one that the system delivers to
another thread. The main thread therefore waits with ``next_item`` and ``result_of``, which look for
signals from time to time, wherever it may wait for long.

>>> items: SimpleQueue[int] = SimpleQueue()
>>> items.put(3)
>>> next_item(items)
3
"""

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what schedulers and ``kill`` send; what a closing terminal sends."""
Handler = Callable[[int, FrameType | None], object]

PARENT_CHECK_SECONDS = 0.5
"""How often a process looks whether its parent is alive."""
SIGNAL_CHECK_SECONDS = 0.2
"""How often the main thread looks for signals while it waits."""

T = TypeVar("T")


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
    """Handle a signal at the end of the context instead of inside it.

    Only the main thread receives signals; in other threads the context does nothing.
    """
    received: list[int] = []
    with _handled_by(lambda number, frame: received.append(number)) as before:
        yield
    if received:
        before[received[0]](received[0], None)


@contextmanager
def interrupts_calling(cancel: Callable[[], object]) -> Iterator[None]:
    """Call a function on the first signal, and raise KeyboardInterrupt at the end of the context.

    Further signals raise KeyboardInterrupt where they arrive. Only the main thread receives
    signals; in other threads the context does nothing.

    Args:
        cancel: Makes the context end soon. What it raises is raised where the signal arrives.
    """
    handler = _Cancelling(cancel)
    with _handled_by(handler):
        yield
    if handler.has_received:
        raise KeyboardInterrupt


class _Cancelling:
    """The handler of ``interrupts_calling``."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel, self.has_received = cancel, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.has_received:
            _interrupt(number, frame)
        self.has_received = True
        if number == signal.SIGHUP:
            _leave_terminal()
        self._cancel()


@contextmanager
def _handled_by(handler: Handler) -> Iterator[dict[int, Any]]:
    """Let a function handle the signals that interrupt; yields the handlers that it replaces."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupting = [number for number in before if _interrupts(before[number])]
    for number in interrupting:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number in interrupting:
            signal.signal(number, before[number])


def _interrupts(handler: object) -> bool:
    return handler in (_interrupt, signal.default_int_handler) or isinstance(handler, _Cancelling)


def next_item(queue: SimpleQueue[T]) -> T:
    """Wait for the next item of a queue, and handle the signals that arrive."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=SIGNAL_CHECK_SECONDS)


def in_daemon_thread(function: Callable[[], T]) -> futures.Future[T]:
    """Call a function in a thread that does not keep the program from ending."""
    future: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def result_of(future: futures.Future[T]) -> T:
    """Wait for the result of a future, and handle the signals that arrive; raises its error."""
    while not future.done():
        futures.wait([future], SIGNAL_CHECK_SECONDS)
    return future.result()


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
