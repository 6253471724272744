"""A sweep's figures, drawn by a process that loads matplotlib while all else goes on.

It is started first of all, so nothing heavy is imported here.
"""

import gc
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[..., Callable[[], bytes]]
"""(function that makes a figure, its arguments) -> what waits for the figure's PNG."""

_drawing: ContextVar[Draw | None] = ContextVar("_drawing", default=None)


@contextmanager
def beside() -> Iterator[Draw]:
    """Draws in a process of its own, gone at the end of the block whatever it does; blocks within
    share it. Here where matplotlib is loaded already, and what that process cannot.
    """
    shared = _drawing.get()
    if shared is not None or "matplotlib.figure" in sys.modules or not (started := _started()):
        yield shared or here
        return
    process, channel = started
    # Only now: the process is to start before anything else is imported.
    from concurrent.futures import ThreadPoolExecutor

    # One thread, which sends, waits and reads: one figure after the other.
    talking = ThreadPoolExecutor(1)

    def draw(make: Callable[..., "Figure"], *values: Any) -> Callable[[], bytes]:
        drawing = talking.submit(_asked, channel, make, values)

        def wait() -> bytes:
            return drawing.result() or _drawn(make, *values)

        return wait

    token = _drawing.set(draw)
    try:
        yield draw
    finally:
        _drawing.reset(token)
        process.kill()
        process.wait()
        talking.shutdown()
        channel.close()


def here(make: Callable[..., "Figure"], *values: Any) -> Callable[[], bytes]:
    """See ``Draw``: drawn by this process when it is waited for."""
    return partial(_drawn, make, *values)


_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from bpexp.render import plot_process; plot_process.serve()"


def _started() -> tuple[subprocess.Popen[bytes], socket.socket] | None:
    """The process and the way to it, which is closed where this process has ended, too; None
    where the system has no room for them.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError:
        return None
    with theirs:
        try:
            # A group of its own: the terminal's Ctrl-C is its parent's to handle.
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *sys.path],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                process_group=0,
            )  # fmt: skip
        except OSError:
            ours.close()
            return None
    return process, ours


def _asked(channel: socket.socket, make: Callable[..., "Figure"], values: Any) -> bytes:
    """The figure's PNG; nothing where the process has died or could not draw it."""
    try:
        channel.sendall(pickle.dumps((make, values)))
        with channel.makefile("rb") as answers:
            return bytes(pickle.load(answers))
    except (OSError, EOFError, pickle.UnpicklingError):
        return b""


def serve() -> None:
    """What the process does: draw what it is sent by standard input until that is closed."""
    # All that is imported stays, and the process ends soon.
    gc.disable()
    from bpexp.render import plots

    # The first figure takes longer: matplotlib is imported, fonts are read.
    _drawn(plots.summary, [], None)
    with socket.socket(fileno=os.dup(0)) as channel, channel.makefile("rb") as requests:
        while True:
            try:
                make, values = pickle.load(requests)
            except EOFError:
                return
            channel.sendall(pickle.dumps(_drawn(make, *values)))


def _drawn(make: Callable[..., "Figure"], *values: Any) -> bytes:
    from bpexp.render import plots

    return plots.png(make(*values))
