"""The contract of a sampler: it chooses the configurations that a sweep tries.

A sampler proposes generations of jobs and is told their results. A grid is one generation; a search
proposes further ones that depend on the results so far.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Proposal = Sequence[str] | Mapping[str, Any]
"""What a job is composed from: a list of overrides, or a mapping of settings."""


class Sampler(Protocol):
    """Proposes the jobs of a sweep. Used by one thread.

    Proposals must be a function of the sampler's own settings and of the results it was told, and
    of nothing else: not of the number of workers or the order in which jobs finish.
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
