"""Searches as sweeps: from arguments to the first plan, and from a plan to its sampler."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from bpexp.config import folds
from bpexp.config.compose import Composer
from bpexp.config.options import group_of, key_of
from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import RUNTIME, SearchConfig, parse_runtime, plain
from bpexp.fields.checks import ConfigError
from bpexp.runs import comparability
from bpexp.runs.objective import Objective
from bpexp.sweeps import comparable
from bpexp.sweeps.generations import Generations, train_config
from bpexp.sweeps.grid import sub_sweeps, sweep_files
from bpexp.sweeps.plan import Plan, PlannedSearch, make_plan
from bpexp.sweeps.rungs import pruned_epochs
from bpexp.sweeps.samplers import lr_range
from bpexp.sweeps.samplers.search import SearchSampler
from bpexp.sweeps.samplers.space import Space, parse
from bpexp.sweeps.samplers.trials import Trial, best_of

TIED = (
    "; all trials are tied, so that the search learns nothing: search by objective=final_loss, or "
    "with more epochs"
)
"""What follows from trials of which no run has converged."""


@dataclass
class SearchGenerations(Generations):
    """The generations of a search."""

    sampler: SearchSampler

    @classmethod
    def of_plan(cls, plan: Plan, composer: Composer) -> Self:
        """The generations of the search of a plan, new or stored. Raises ConfigError."""
        runtime = plain(plan.runtime)
        return cls(
            _sampler(plan, composer), lambda overrides: {**composer.compose(overrides), **runtime}
        )

    def progress(self, plan: Plan) -> Sequence[str]:
        """See ``Generations.progress``."""
        trials, objective = self.trials(plan), plan.objective
        best = best_of(trials)
        count = f"{len(trials)} of {plan.runtime.search.trials} trials"
        if not math.isfinite(best.value):
            return [f"{count}: no trial has a finite {objective.label} yet"]
        # A run that did not converge counts all of its epochs.
        if objective.is_time and best.value >= plan.jobs[0].config.epochs:
            is_first = len(plan.generations) == 1
            is_last = len(trials) == plan.runtime.search.trials
            return [f"{count}: no run has converged yet{TIED if is_first or is_last else ''}"]
        assert plan.search is not None
        is_replicated = plan.search.n_replicates > 1
        label = objective.center_label if is_replicated else objective.label
        value, overrides = objective.as_measured(best.value), " ".join(best.overrides)
        return [f"{count}: {objective.superlative} {label} {value:.6g} with {overrides}"]

    def trials(self, plan: Plan) -> Sequence[Trial]:
        """The trials so far, with the epochs after which those that were pruned were stopped."""
        assert plan.search is not None
        stopped = pruned_epochs(plan.rungs)
        epochs: dict[tuple[str, ...], int] = {}
        first = 0
        for trial in self.sampler.trials:
            if not trial.is_repeated:
                jobs = range(first, first + plan.search.n_replicates)
                first = jobs.stop
                epochs[trial.overrides] = max(stopped.get(index, 0) for index in jobs)
        return [
            replace(trial, pruned_at=epochs[trial.overrides] or None)
            for trial in self.sampler.trials
        ]


def settings_of(arguments: Sequence[str], composer: Composer) -> SearchConfig | None:
    """The settings of the search that the arguments ask for; None if they ask for none."""
    for text in filter(sub_sweeps.is_union, arguments):
        words = itertools.chain.from_iterable(map(sub_sweeps.words, sub_sweeps.parts(text)))
        if any(group_of(word) == "search" for word in words):
            raise ConfigError(
                f"search must be the same for all runs of a sweep, got {text!r}; type it outside "
                "of sub-sweeps, or start a sweep with each."
            )
    own = [text for text in arguments if group_of(text) == "search"]
    if not own:
        return None
    for override in composer.parse(own):
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.get_key_element()} must be one value for all runs of a sweep, got "
                f"{override.input_line!r}; start a sweep with each."
            )
    composed = composer.compose(own)
    runtime = parse_runtime({key: composed[key] for key in composed if key in RUNTIME})
    return runtime.search if runtime.search.name is not None else None


def first_plan(
    arguments: Sequence[str],
    settings: SearchConfig,
    composer: Composer,
    compose: Callable[[Iterable[Any]], Iterable[Mapping[str, Any]]],
) -> Plan:
    """Plan the first generation of a search.

    Args:
        arguments: The sweep arguments.
        settings: The settings of the search.
        composer: Parses the arguments.
        compose: Composes the configurations of proposed jobs.

    Raises:
        ConfigError: A proposed job, or one at a limit of the space, breaks a rule; its trials
            cannot be ranked together; or a package is missing.
    """
    if any(map(sweep_files.is_sweep_file, arguments)):
        raise ConfigError("A search takes no file of sub-sweeps; type what is searched instead.")
    if any(group_of(text) == "study" for text in arguments):
        raise ConfigError("A study lists its settings; leave out search, or +study.")
    arguments = _with_default(arguments, settings)
    space = _space(arguments, composer)
    plan = make_plan(compose(SearchSampler(space, settings).ask()), arguments)
    for values in compose(space.alternatives()):
        train_config(values)
    _check_one_ranking(space, plan, compose)
    described = {dimension.key: dimension.values for dimension in space.dimensions}
    search = PlannedSearch(tuple(arguments), described, len(space.replicates))
    return replace(plan, search=search)


def _with_default(arguments: Sequence[str], settings: SearchConfig) -> Sequence[str]:
    """The arguments, with learning rates if ``search=lr_range`` has none."""
    if settings.name != "lr_range" or any(key_of(text) == "lr" for text in arguments):
        return arguments
    return [*arguments, lr_range.DEFAULT]


def _check_one_ranking(
    space: Space, plan: Plan, compose: Callable[[Iterable[Any]], Iterable[Mapping[str, Any]]]
) -> None:
    """Check that the trials of a search can be ranked together, before the first one is trained.

    Raises:
        ConfigError: They cannot.
    """
    jobs = compose(space.alternatives(("data", "model", "stop")))
    found = [comparable.decisive_settings_of(values, plan.objective) for values in jobs]
    if comparability.differing(found):
        raise comparable.not_together(plan.jobs, found, plan.objective, "a search")


def _sampler(plan: Plan, composer: Composer) -> SearchSampler:
    """A new sampler of the search of a plan. Raises ConfigError if a package is missing."""
    assert plan.search is not None
    space = _space(plan.search.arguments, composer)
    # Every job of the first trial has this limit, in whatever order jobs are trained.
    horizon = plan.jobs[0].config.epochs
    return SearchSampler(space, plan.runtime.search, partial(_value, plan.objective, horizon))


def _value(objective: Objective, horizon: int, scores: Sequence[float]) -> float:
    """The statistic by which a trial is judged, from the scores of its replicates."""
    return objective.center(scores, horizon)


def _space(arguments: Sequence[str], composer: Composer) -> Space:
    """The space, in which the folds of a cross-validation are replicates."""
    space = parse(arguments, composer.parse, is_replicate_key)
    data = [text for text in space.fixed if group_of(text) == "data"]
    numbers = folds.fold_numbers(composer.compose(data))
    if numbers is None or any(key_of(text) == "data.fold" for text in space.replicates[0]):
        return space
    replicates = [(*one, f"data.fold={number}") for one in space.replicates for number in numbers]
    return replace(space, replicates=tuple(replicates))
