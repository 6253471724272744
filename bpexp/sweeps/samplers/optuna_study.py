"""The methods of a search that are samplers of Optuna: asked by generation and told in order."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna import distributions, samplers
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from bpexp.config.schema import SearchConfig
from bpexp.sweeps.samplers.space import Choices, Dimension, Integers, Reals


class OptunaProposer:
    """See ``search.Proposer``."""

    def __init__(self, dimensions: Sequence[Dimension], settings: SearchConfig) -> None:
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
        """See ``Proposer.propose``."""
        # CMA-ES divides by a weight that is 0 in generations of fewer than four trials.
        with np.errstate(divide="ignore"):
            self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [[trial.params[name] for name in self._distributions] for trial in self._asked]

    def observe(self, values: Sequence[float]) -> None:
        """See ``Proposer.observe``."""
        for trial, value in zip(self._asked, values, strict=True):
            self._study.tell(trial, value)


def _sampler(settings: SearchConfig, n_dimensions: int) -> BaseSampler:
    """The sampler of Optuna for a method."""
    if settings.name == "random":
        return samplers.RandomSampler(seed=settings.seed)
    if settings.name == "cma_es":
        # A generation of the search is one of the evolution strategy, which has at least 2.
        return samplers.CmaEsSampler(seed=settings.seed, popsize=max(2, settings.generation))
    if settings.name == "gp":
        return samplers.GPSampler(seed=settings.seed, n_startup_trials=max(10, 2 * n_dimensions))
    return samplers.TPESampler(seed=settings.seed, constant_liar=True)


def _distribution(dimension: Dimension) -> BaseDistribution:
    """The distribution of Optuna for a dimension."""
    if isinstance(dimension, Reals):
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)
    if isinstance(dimension, Integers):
        return distributions.IntDistribution(dimension.low, dimension.high, log=dimension.is_log)
    count = len(dimension.alternatives)
    if isinstance(dimension, Choices):
        return distributions.CategoricalDistribution(tuple(range(count)))
    return distributions.IntDistribution(0, count - 1)
