"""A search over a space: Optuna's samplers behind the contract ``Sampler``.

The trials are a function of the space, the settings of the search and the scores alone. They are
proposed by generation, with earlier proposals of the generation counted as bad (constant liar), and
scores are told in the order of the trials. The state of a sampler is never stored: to resume, the
stored scores are told again.

>>> from bpexp.config.compose import composer
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
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from bpexp.config.schema import SearchConfig
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.samplers.base import Proposal
from bpexp.sweeps.samplers.space import Choices, Dimension, Integers, Reals, Space, parse

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = ["SearchSampler", "Trial", "best_so_far", "median", "parse", "version"]

NEEDS = {"cma_es": "cmaes", "gp": "torch"}
"""Packages that a method needs beside Optuna."""


@dataclass(frozen=True)
class Trial:
    """A trial that has been told its scores.

    Attributes:
        number: Its number, counted from 0.
        overrides: What it sets.
        value: The statistic of the scores of its replicates; smaller is better, inf if it failed.
        is_repeated: Whether an earlier trial has the same overrides, so that nothing was trained.
    """

    number: int
    overrides: tuple[str, ...]
    value: float
    is_repeated: bool = False


def median(scores: Sequence[float]) -> float:
    """The median of the scores of a trial's replicates."""
    return statistics.median(scores)


class SearchSampler:
    """Proposes trials, each with all replicates. See ``Sampler``.

    Attributes:
        trials: The trials whose scores were told.
        n_jobs: The maximum number of jobs of the search.
    """

    def __init__(
        self,
        space: Space,
        settings: SearchConfig,
        statistic: Callable[[Sequence[float]], float] = median,
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
        self.n_jobs = settings.trials * len(space.replicates)
        self._space, self._settings, self._statistic = space, settings, statistic
        self._proposer: _Proposer
        if settings.name == "sobol":
            self._proposer = _Sobol(space.dimensions, settings)
        else:
            self._proposer = _Optuna(space.dimensions, settings)
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


def best_so_far(trials: Sequence[Trial]) -> list[float]:
    """The smallest value of the trials up to each one; inf while all failed.

    >>> best_so_far([Trial(0, (), 3.0), Trial(1, (), 5.0), Trial(2, (), 1.0)])
    [3.0, 3.0, 1.0]
    """
    best: list[float] = []
    for trial in trials:
        best.append(min(trial.value, best[-1]) if best else trial.value)
    return best


def version(method: str) -> str:
    """The package that a method is from, with its version: ``optuna 5.0.0``."""
    package = "scipy" if method == "sobol" else "optuna"
    return f"{package} {metadata.version(package)}"


def _import(method: str) -> Any:
    """Import Optuna and what a method needs. Raises ConfigError if it is not installed."""
    try:
        if method in NEEDS:
            importlib.import_module(NEEDS[method])
        return importlib.import_module("optuna")
    except ImportError as error:
        extra = "'bpexp[search]'" if error.name != "torch" else "torch"
        raise ConfigError(
            f"search={method} needs the package {error.name}: pip install {extra}."
        ) from error


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


class _Proposer(Protocol):
    """Proposes values of the dimensions, and receives the values of the trials."""

    def propose(self, count: int) -> list[list[Any]]:
        """The values of the dimensions of the next ``count`` trials."""
        ...

    def observe(self, values: Sequence[float]) -> None:
        """Receive the values of the trials that were proposed last, in order."""
        ...


class _Sobol:
    """A scrambled Sobol sequence; SciPy's, since Optuna's starts with a random generation."""

    def __init__(self, dimensions: Sequence[Dimension], settings: SearchConfig) -> None:
        # Imported late: it takes most of a second.
        from scipy.stats.qmc import Sobol

        self._dimensions = dimensions
        self._points = Sobol(len(dimensions), scramble=True, rng=settings.seed)

    def propose(self, count: int) -> list[list[Any]]:
        """See ``_Proposer``."""
        with warnings.catch_warnings():
            # SciPy warns that the balance of the sequence needs a power of 2.
            warnings.simplefilter("ignore", UserWarning)
            points = self._points.random(count).tolist() if count else []
        return [
            [_at(dimension, u) for dimension, u in zip(self._dimensions, point, strict=True)]
            for point in points
        ]

    def observe(self, values: Sequence[float]) -> None:
        """Ignore the values: the sequence does not depend on them."""


class _Optuna:
    """A sampler of Optuna, asked by generation and told in order."""

    def __init__(self, dimensions: Sequence[Dimension], settings: SearchConfig) -> None:
        assert settings.name is not None
        optuna = _import(settings.name)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = {
            str(number): _distribution(one) for number, one in enumerate(dimensions)
        }
        with warnings.catch_warnings():
            # Optuna calls some of its samplers experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = _sampler(settings, len(dimensions))
        self._study = optuna.create_study(sampler=sampler, direction="minimize")
        self._asked: list[Any] = []

    def propose(self, count: int) -> list[list[Any]]:
        """See ``_Proposer``."""
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [[trial.params[name] for name in self._distributions] for trial in self._asked]

    def observe(self, values: Sequence[float]) -> None:
        """See ``_Proposer``."""
        for trial, value in zip(self._asked, values, strict=True):
            self._study.tell(trial, value)


def _at(dimension: Dimension, share: float) -> Any:
    """The value of a dimension at a share of its length, in [0, 1)."""
    if isinstance(dimension, Reals | Integers):
        # An integer stands for the interval of length 1 around it.
        half = 0.5 if isinstance(dimension, Integers) else 0.0
        low, high = dimension.low - half, dimension.high + half
        value = low * (high / low) ** share if dimension.is_log else low + (high - low) * share
        if isinstance(dimension, Integers):
            return min(max(round(value), dimension.low), dimension.high)
        return min(max(value, dimension.low), dimension.high)
    return int(share * len(dimension.alternatives))


def _sampler(settings: SearchConfig, n_dimensions: int) -> "BaseSampler":
    """The sampler of Optuna for a method."""
    from optuna import samplers

    if settings.name == "random":
        return samplers.RandomSampler(seed=settings.seed)
    if settings.name == "cma_es":
        # A generation of the search is one of the evolution strategy, which has at least 2.
        return samplers.CmaEsSampler(seed=settings.seed, popsize=max(2, settings.generation))
    if settings.name == "gp":
        return samplers.GPSampler(seed=settings.seed, n_startup_trials=max(10, 2 * n_dimensions))
    return samplers.TPESampler(seed=settings.seed, constant_liar=True)


def _distribution(dimension: Dimension) -> "BaseDistribution":
    """The distribution of Optuna for a dimension."""
    from optuna import distributions

    if isinstance(dimension, Reals):
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)
    if isinstance(dimension, Integers):
        return distributions.IntDistribution(dimension.low, dimension.high, log=dimension.is_log)
    count = len(dimension.alternatives)
    if isinstance(dimension, Choices):
        return distributions.CategoricalDistribution(tuple(range(count)))
    return distributions.IntDistribution(0, count - 1)
