"""The contract of a sampler, which proposes the jobs of a sweep from the results of earlier ones.

It is asked for a generation of jobs, and told their scores before it is asked for the next one. A
grid needs no sampler: its jobs are known from the start (``bpexp.sweeps.grid``).

>>> class Halving:
...     "Halves the learning rate until the loss no longer falls."
...
...     def __init__(self, lr):
...         self.lr, self.lowest, self.is_done = lr, float("inf"), False
...
...     def ask(self):
...         return [] if self.is_done else [{"lr": self.lr}]
...
...     def tell(self, scores):
...         (loss,) = scores
...         self.is_done = loss is not None and loss >= self.lowest
...         self.lowest = self.lowest if loss is None else min(self.lowest, loss)
...         self.lr /= 2
>>> sampler: Sampler = Halving(0.4)
>>> for loss in (0.3, 0.2, 0.25):
...     print(sampler.ask())
...     sampler.tell([loss])
[{'lr': 0.4}]
[{'lr': 0.2}]
[{'lr': 0.1}]
>>> sampler.ask()
[]

``bpexp.app.run_sweep`` trains the generations of a sampler.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Proposal = Sequence[str] | Mapping[str, Any]
"""What a job is composed from: a list of overrides, or a mapping of settings."""


class Sampler(Protocol):
    """Proposes the jobs of a sweep. Used by one thread.

    Proposals must depend on the sampler's settings and on the results that it received only: not on
    the number of workers or the order in which jobs finish.
    """

    def ask(self) -> Sequence[Proposal]:
        """The next generation of jobs, in order; empty when the sweep is complete."""
        ...

    def tell(self, scores: Sequence[float | None]) -> None:
        """Receive the scores of the last generation, in the order of its jobs.

        Args:
            scores: The value of each job's objective, negated where higher values are better, so
                that smaller scores are better; +inf for a run that did not converge where epochs
                to converge are the objective; None for a run that failed or diverged.
        """
        ...
