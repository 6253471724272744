"""A sweep's figures, drawn by a process that has loaded matplotlib while the runs were trained."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from bpexp.review import figures
from bpexp.sweeps import processes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[..., Callable[[], bytes]]
"""(function that makes a figure, its arguments) -> what waits for the figure's PNG."""


@contextmanager
def beside() -> Iterator[Draw]:
    """Draws in a process of its own, here where matplotlib is loaded already."""
    if "matplotlib.figure" in sys.modules:
        yield here
        return
    with processes.single() as submit:
        submit(_load)

        def draw(make: Callable[..., "Figure"], *values: Any) -> Callable[[], bytes]:
            drawing = submit(_drawn, make, *values)

            def wait() -> bytes:
                try:
                    return bytes(drawing.result())
                except BrokenExecutor:
                    return _drawn(make, *values)

            return wait

        yield draw


def here(make: Callable[..., "Figure"], *values: Any) -> Callable[[], bytes]:
    """See ``Draw``: drawn by this process when it is waited for."""
    return partial(_drawn, make, *values)


def _load() -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def _drawn(make: Callable[..., "Figure"], *values: Any) -> bytes:
    return figures.png(make(*values))
