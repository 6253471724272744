"""A search over a space: Optuna's samplers behind the contract ``Sampler``.

The trials are a function of the space, the settings of the search and the scores alone. They are
proposed by generation, with earlier proposals of the generation counted as bad (constant liar), and
scores are told in the order of the trials. The state of a sampler is never stored: to resume, the
stored scores are told again. The modules of the methods are imported when they are used, because
Optuna and SciPy take most of a second.

>>> from bpexp.config.compose import composer
>>> from bpexp.sweeps.samplers.space import parse
>>> space = parse(["lr=tag(log,interval(1e-3,1))", "seed=0,1"], composer().parse)
>>> sampler = SearchSampler(space, SearchConfig(name="random", trials=4, generation=2))
>>> [len(sampler.ask())]
[4]
>>> sampler.tell([0.5, 0.3, 0.2, 0.1])
>>> [round(trial.value, 3) for trial in sampler.trials]
[0.4, 0.15]
"""

import importlib
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bpexp.config.schema import SearchConfig
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.samplers import packages
from bpexp.sweeps.samplers.base import Proposal
from bpexp.sweeps.samplers.lr_range import LrRangeProposer
from bpexp.sweeps.samplers.space import Choices, Space
from bpexp.sweeps.samplers.trials import Trial


class Proposer(Protocol):
    """A method of a search: proposes values of the dimensions, and receives those of the trials."""

    def propose(self, count: int) -> list[list[Any]]:
        """The values of the dimensions of the next ``count`` trials."""
        ...

    def observe(self, values: Sequence[float]) -> None:
        """Receive the values of the trials that were proposed last, in order."""
        ...


class SearchSampler:
    """Proposes trials, each with all replicates. See ``Sampler``.

    Attributes:
        trials: The trials whose scores were told.
    """

    def __init__(
        self,
        space: Space,
        settings: SearchConfig,
        statistic: Callable[[Sequence[float]], float] = statistics.median,
    ) -> None:
        """Prepare a search.

        Args:
            space: What is searched.
            settings: How it is searched.
            statistic: The value of a trial, from the scores of its replicates.

        Raises:
            ConfigError: A package is missing, or the method cannot search such a space.
        """
        assert settings.name is not None
        _check_space(space, settings.name)
        self.trials: list[Trial] = []
        self._space, self._settings, self._statistic = space, settings, statistic
        self._proposer = _proposer(space, settings)
        self._asked: list[tuple[str, ...]] = []
        self._new: list[tuple[str, ...]] = []

    def ask(self) -> Sequence[Proposal]:
        """The jobs of the next generation, trial by trial.

        A trial that repeats an earlier one takes its value. A generation of nothing but such
        trials proposes no jobs, and the next one is asked for.
        """
        while True:
            count = min(self._settings.generation, self._settings.trials - len(self.trials))
            self._asked, self._new = [], []
            proposals: list[Proposal] = []
            for values in self._proposer.propose(count):
                point = self._space.point(values)
                self._asked.append(point)
                if point not in self._new and self._value_of(point) is None:
                    self._new.append(point)
                    proposals += self._space.jobs(values)
            if proposals or not count:
                return proposals
            self.tell([])

    def tell(self, scores: Sequence[float | None]) -> None:
        """Receive the scores of the last generation, in the order of its jobs."""
        n_replicates = len(self._space.replicates)
        told = [math.inf if score is None or math.isnan(score) else score for score in scores]
        values = {
            point: self._statistic(told[index * n_replicates : (index + 1) * n_replicates])
            for index, point in enumerate(self._new)
        }
        for point in self._asked:
            earlier = self._value_of(point)
            value = values[point] if earlier is None else earlier
            self.trials.append(Trial(len(self.trials), point, value, earlier is not None))
        self._proposer.observe([trial.value for trial in self.trials[-len(self._asked) :]])
        self._asked = []

    def _value_of(self, point: tuple[str, ...]) -> float | None:
        """The value of an earlier trial with the same overrides."""
        return next((trial.value for trial in self.trials if trial.overrides == point), None)


def _check_space(space: Space, method: str) -> None:
    """Raise ConfigError if a method cannot search a space."""
    choices = [one.key for one in space.dimensions if isinstance(one, Choices)]
    if method == "cma_es" and choices:
        raise ConfigError(
            f"search=cma_es searches numbers only, got choices of {', '.join(choices)}; use "
            "interval(...), int(interval(...)) or range(...), or search=tpe."
        )
    if method == "cma_es" and len(space.dimensions) < 2:
        raise ConfigError(
            "search=cma_es needs at least two searched settings, got "
            f"{space.dimensions[0].key}; use search=tpe."
        )


def _proposer(space: Space, settings: SearchConfig) -> Proposer:
    """The method of a search. Raises ConfigError if a package that it needs is not installed."""
    assert settings.name is not None
    try:
        if settings.name == "lr_range":
            return LrRangeProposer(space.dimensions, settings)
        if settings.name == "sobol":
            from bpexp.sweeps.samplers.sobol import SobolProposer

            return SobolProposer(space.dimensions, settings)
        if settings.name in packages.NEEDS:
            importlib.import_module(packages.NEEDS[settings.name])
        from bpexp.sweeps.samplers.optuna_study import OptunaProposer
    except ImportError as error:
        extra = "-e '.[search]'" if error.name != "torch" else "torch"
        raise ConfigError(
            f"search={settings.name} needs the package {error.name}: pip install {extra}."
        ) from error
    return OptunaProposer(space.dimensions, settings)
