"""The executor ``backend=serial``: one batch after the other in this process and thread.

It is meant for debugging: breakpoints, profilers and tracebacks work as in any program.
"""

from collections.abc import Generator, Sequence
from typing import Self

from bpexp.config.schema import BackendConfig, RuntimeConfig
from bpexp.sweeps.executors.base import Batch, CallingThread, Executor, register
from bpexp.sweeps.job import JobResult


@register("serial", BackendConfig)
class SerialExecutor(Executor):
    """Trains in the calling thread."""

    def __init__(self) -> None:
        self._thread = CallingThread()

    @classmethod
    def from_config(cls, runtime: RuntimeConfig) -> Self:
        """See ``Executor.from_config``; the executor has no settings."""
        return cls()

    @property
    def n_workers(self) -> int:
        """Always 1."""
        return 1

    def map(self, batches: Sequence[Batch]) -> Generator[list[JobResult], None, None]:
        """See ``Executor.map``."""
        self._thread = CallingThread()
        yield from self._thread.train(batches, self.on_epochs)

    def cancel(self) -> None:
        """See ``Executor.cancel``."""
        self._thread.cancel()
