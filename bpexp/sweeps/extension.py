"""Adds runs to the plan of a stored sweep: every combination that it has, with further values.

>>> from bpexp.config.compose import compose_settings, composer
>>> from bpexp.sweeps.plan import make_plan
>>> plan = make_plan([compose_settings({"lr": lr, "seed": 0}) for lr in (0.1, 1.0)])
>>> [job.name for job in extended(plan, ["seed=range(0,3)"], composer()).jobs[2:]]
['lr=0.1 seed=1', 'lr=0.1 seed=2', 'lr=1 seed=1', 'lr=1 seed=2']
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.types import Override

from bpexp.config import folds
from bpexp.config.compose import Composer
from bpexp.config.options import OPTION_GROUPS, key_of
from bpexp.config.schema import TRAIN, TrainConfig, parse_train, plain, setting_of, unknown_key
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.samplers import grid, sub_sweeps

Plain = dict[str, Any]


def extended(plan: Plan, arguments: Sequence[str], composer: Composer) -> Plan:
    """The plan with further jobs, whose indices continue those it has.

    Each configuration of the plan is combined with each combination of the values of the arguments,
    which replace its own. Those that the plan has already are left out. To a search only trials
    can be added: ``search.trials=N``; to a race only seeds: ``seeds.max=N``.

    Args:
        plan: The plan of a stored sweep.
        arguments: Sweep arguments that set keys on which results depend.
        composer: Parses them and composes options.

    Raises:
        ConfigError: An argument or a new job breaks a rule, nothing is new, or the sweep is a
            study.
    """
    if not arguments:
        raise ConfigError("extend takes settings with values to add, such as 'seed=range(10,50)'.")
    if plan.study is not None:
        raise ConfigError("A study has the runs that its definition lists; extend takes no study.")
    if plan.is_race:
        return _with_more_seeds(plan, arguments)
    if plan.search is not None:
        return _with_more_trials(plan, arguments)
    if plan.runtime.search.halving is not None:
        raise ConfigError(
            "A sweep with search.halving has judged its combinations by the runs that it has; "
            "start a new sweep."
        )
    known = set(plan.configs)
    new: list[TrainConfig] = []
    for values in folds.expanded(_combinations(plan, arguments, composer)):
        config = parse_train(values)
        if config not in known:
            known.add(config)
            new.append(config)
    if not new:
        raise ConfigError(
            f"The sweep has the runs of {' '.join(arguments)} already; bpexp resume trains those "
            "that are missing."
        )
    runtime = plain(plan.runtime)
    added = plan.with_generation({**plain(config), **runtime} for config in new)
    return replace(added, extensions=(*plan.extensions, *arguments))


def _combinations(plan: Plan, arguments: Sequence[str], composer: Composer) -> Iterator[Plain]:
    """Each distinct configuration of the plan with each combination of the arguments."""
    jobs = [
        [_checked(override) for override in composer.parse(overrides)]
        for overrides in sub_sweeps.jobs(arguments, composer.parse)
    ]
    by_keys: dict[tuple[str, ...], list[list[Override]]] = {}
    for overrides in jobs:
        keys = tuple(override.get_key_element() for override in overrides)
        by_keys.setdefault(keys, []).append(overrides)
    configs = dict.fromkeys(plan.configs)
    # Of the configurations that differ in replaced values only, one is combined with all others:
    # a sweep over thousands of seeds gets ten more, not ten for each seed.
    chosen: dict[tuple[str, ...], set[TrainConfig]] = {}
    for keys, some in by_keys.items():
        names = {key_of(key).partition(".")[0] for key in keys}
        others = [name for name in TRAIN if name not in names]
        first: dict[Hashable, TrainConfig] = {}
        for config in configs:
            kept = tuple(getattr(config, name) for name in others)
            replaced = _replaced(config, some[0], composer, names)
            first.setdefault((kept, _key(replaced)), config)
        chosen[keys] = set(first.values())
    grid.check_count(sum(len(chosen[keys]) * len(some) for keys, some in by_keys.items()))
    combined: dict[str, Plain] = {}
    for config in configs:
        for keys, some in by_keys.items():
            if config in chosen[keys]:
                for overrides in some:
                    values = _replaced(config, overrides, composer)
                    combined.setdefault(_key(values), values)
    yield from combined.values()


def _replaced(
    config: TrainConfig,
    overrides: Sequence[Override],
    composer: Composer,
    names: Iterable[str] = TRAIN,
) -> Plain:
    """The values of some top-level keys, with those of overrides in place of their own."""
    values: Plain = {name: plain(getattr(config, name)) for name in names}
    for override in overrides:
        _set(values, override, composer)
    return values


def _key(values: Plain) -> str:
    """A text that is the same for equal values."""
    return json.dumps(values, sort_keys=True)


def _checked(override: Override) -> Override:
    """Raise ConfigError for what does not set a value on which results depend."""
    key, text = override.get_key_element(), str(override.input_line)
    if override.is_delete() or "${" in text:
        raise ConfigError(f"extend takes settings with values, got {text!r}.")
    name = key_of(key)
    if setting_of(name) is None and name not in OPTION_GROUPS:
        raise unknown_key(name)
    if name.partition(".")[0] not in TRAIN:
        raise ConfigError(
            f"extend takes settings on which results depend, got {text!r}; all others stay as they "
            "were."
        )
    return override


def _set(values: Plain, override: Override, composer: Composer) -> None:
    """Set the value of an override in a configuration."""
    key = key_of(override.get_key_element())
    if key in OPTION_GROUPS:
        # Composed values are shared by all jobs; later overrides change single settings of these.
        values[key] = deepcopy(composer.compose([str(override.input_line)])[key])
        return
    *path, last = key.split(".")
    group = values
    for name in path:
        group = group.get(name, {})
        if not isinstance(group, dict):
            raise ConfigError(f"{key} is not a setting of this sweep.")
    group[last] = override.value()


def _with_more_trials(plan: Plan, arguments: Sequence[str]) -> Plan:
    """The plan of a search with more trials. Raises ConfigError for any other argument."""
    settings = plan.runtime.search
    if settings.name == "lr_range":
        raise ConfigError(
            "A sweep of search=lr_range is not extended, because its rates depend on their number; "
            "start a new sweep, with reuse=true."
        )
    trials = _number(arguments, "search.trials", "A search")
    if trials <= settings.trials:
        raise ConfigError(f"search.trials must be above {settings.trials}, got {trials}.")
    if settings.trials % settings.generation:
        raise ConfigError(
            f"A search is extended after a full generation, but its {settings.trials} trials are "
            f"no multiple of search.generation ({settings.generation}); start a new search."
        )
    runtime = replace(plan.runtime, search=replace(settings, trials=trials))
    return replace(plan, runtime=runtime, extensions=(*plan.extensions, *arguments))


def _with_more_seeds(plan: Plan, arguments: Sequence[str]) -> Plan:
    """The plan of a race with more seeds: its tests hold at every number of seeds.

    Raises:
        ConfigError: There is another argument, or the last block of the race was not a full one.
    """
    settings = plan.runtime.seeds
    most = _number(arguments, "seeds.max", "A sweep with seeds=auto")
    if most <= settings.max:
        raise ConfigError(f"seeds.max must be above {settings.max}, got {most}.")
    if settings.max % settings.block:
        raise ConfigError(
            f"A race is extended after a full block, but seeds.max={settings.max} is no multiple "
            f"of seeds.block ({settings.block}); start a new sweep."
        )
    runtime = replace(plan.runtime, seeds=replace(settings, max=most))
    return replace(plan, runtime=runtime, extensions=(*plan.extensions, *arguments))


def _number(arguments: Sequence[str], key: str, sweep: str) -> int:
    """The number that the only argument gives to a key. Raises ConfigError for others."""
    values = {name: value for name, _, value in (text.partition("=") for text in arguments)}
    text = values.get(key, "")
    if list(values) != [key] or not text.isdecimal():
        raise ConfigError(f"{sweep} is extended by {key}=N alone, got {' '.join(arguments)}.")
    return int(text)
