"""The contract of a sampler: it chooses the configurations that a sweep tries.

A sampler proposes generations of jobs and receives their results. A grid is one generation; a
search proposes further generations that depend on the results so far.

>>> from bpexp.sweeps.samplers.grid import GridSampler
>>> sampler = GridSampler([["lr=0.1"], ["lr=1"]])
>>> sampler.ask(), sampler.ask()
([['lr=0.1'], ['lr=1']], [])
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Proposal = Sequence[str] | Mapping[str, Any]
"""What a job is composed from: a list of overrides, or a mapping of settings."""


class Sampler(Protocol):
    """Proposes the jobs of a sweep. Used by one thread.

    Proposals must depend only on the settings of the sampler and on the results that ``tell``
    received, not on the number of workers or the order in which jobs finish.
    """

    def ask(self) -> Sequence[Proposal]:
        """The next generation of jobs, in order; empty when the sweep is complete."""
        ...

    def tell(self, objectives: Sequence[float | None]) -> None:
        """Receive the objectives of the last generation, in the order of its jobs.

        Args:
            objectives: Each job's final training loss; None for a run that failed or diverged.
        """
        ...
