"""Adds runs to the plan of a stored sweep: every combination that it has, with further values.

>>> from bpexp.config.compose import compose_settings, composer
>>> from bpexp.sweeps.plan import make_plan
>>> plan = make_plan([compose_settings({"lr": lr, "seed": 0}) for lr in (0.1, 1.0)])
>>> [job.name for job in extended_plan(plan, ["seed=range(0,3)"], composer()).jobs[2:]]
['lr=0.1 seed=1', 'lr=0.1 seed=2', 'lr=1 seed=1', 'lr=1 seed=2']
"""

import json
from collections.abc import Hashable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace

from hydra.core.override_parser.types import Override

from bpexp.config import folds
from bpexp.config.compose import Composer, Plain
from bpexp.config.options import OPTION_GROUPS, key_of
from bpexp.config.schema import TRAIN, TrainConfig, parse_train, plain, setting_of, unknown_key
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid import setting_values, sub_sweeps
from bpexp.sweeps.plan import Plan


def extended_plan(plan: Plan, arguments: Sequence[str], composer: Composer) -> Plan:
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
        more = _with_more_seeds(plan, arguments)
    elif plan.search is not None:
        more = _with_more_trials(plan, arguments)
    else:
        more = _with_combinations(plan, arguments, composer)
    return replace(more, extensions=(*plan.extensions, *arguments))


def _with_combinations(plan: Plan, arguments: Sequence[str], composer: Composer) -> Plan:
    """The plan of a grid with those combinations that it does not have yet."""
    if plan.runtime.search.halving is not None:
        raise ConfigError(
            "A sweep with search.halving has judged its combinations by the runs that it has; "
            "start a new sweep."
        )
    combined = folds.expanded(_combinations(plan, arguments, composer))
    known = set(plan.configs)
    new = [one for one in dict.fromkeys(map(parse_train, combined)) if one not in known]
    if not new:
        raise ConfigError(
            f"The sweep has the runs of {' '.join(arguments)} already; bpexp resume trains those "
            "that are missing."
        )
    runtime = plain(plan.runtime)
    return plan.with_generation({**plain(config), **runtime} for config in new)


def _combinations(plan: Plan, arguments: Sequence[str], composer: Composer) -> list[Plain]:
    """Each distinct configuration of the plan with each combination of the arguments."""
    jobs: dict[tuple[str, ...], list[list[Override]]] = {}
    for texts in sub_sweeps.jobs(arguments, composer.parse):
        overrides = [_checked(override) for override in composer.parse(texts)]
        keys = tuple(override.get_key_element() for override in overrides)
        jobs.setdefault(keys, []).append(overrides)
    configs = list(dict.fromkeys(plan.configs))
    extended = {
        keys: _different_otherwise(configs, some[0], composer) for keys, some in jobs.items()
    }
    setting_values.check_count(sum(len(extended[keys]) * len(some) for keys, some in jobs.items()))
    combined: dict[str, Plain] = {}
    for config in configs:
        for keys, some in jobs.items():
            if config in extended[keys]:
                for overrides in some:
                    values = _replaced(config, overrides, composer)
                    combined.setdefault(_key(values), values)
    return list(combined.values())


def _different_otherwise(
    configs: Sequence[TrainConfig], overrides: Sequence[Override], composer: Composer
) -> set[TrainConfig]:
    """The first of those configurations that differ only in the settings that overrides replace.

    One of them is combined with all values: a sweep over thousands of seeds gets ten more, not ten
    for each seed.
    """
    names = {key_of(override.get_key_element()).partition(".")[0] for override in overrides}
    others = [name for name in TRAIN if name not in names]
    first: dict[Hashable, TrainConfig] = {}
    for config in configs:
        kept = tuple(getattr(config, name) for name in others)
        replaced = _key(_replaced(config, overrides, composer, names))
        first.setdefault((kept, replaced), config)
    return set(first.values())


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
    trials = _number(arguments, "search.trials", "A search", settings.trials)
    if settings.trials % settings.generation:
        raise ConfigError(
            f"A search is extended after a full generation, but its {settings.trials} trials are "
            f"no multiple of search.generation ({settings.generation}); start a new search."
        )
    runtime = replace(plan.runtime, search=replace(settings, trials=trials))
    return replace(plan, runtime=runtime)


def _with_more_seeds(plan: Plan, arguments: Sequence[str]) -> Plan:
    """The plan of a race with more seeds: its tests hold at every number of seeds.

    Raises:
        ConfigError: There is another argument, or the last block of the race was not a full one.
    """
    settings = plan.runtime.seeds
    most = _number(arguments, "seeds.max", "A sweep with seeds=auto", settings.max)
    if settings.max % settings.block:
        raise ConfigError(
            f"A race is extended after a full block, but seeds.max={settings.max} is no multiple "
            f"of seeds.block ({settings.block}); start a new sweep."
        )
    runtime = replace(plan.runtime, seeds=replace(settings, max=most))
    return replace(plan, runtime=runtime)


def _number(arguments: Sequence[str], key: str, sweep: str, before: int) -> int:
    """The number that the only argument gives to a key.

    Raises:
        ConfigError: There is another argument, or the number is not above the one before.
    """
    values = {name: value for name, _, value in (text.partition("=") for text in arguments)}
    text = values.get(key, "")
    if list(values) != [key] or not text.isdecimal():
        raise ConfigError(f"{sweep} is extended by {key}=N alone, got {' '.join(arguments)}.")
    number = int(text)
    if number <= before:
        raise ConfigError(f"{key} must be above {before}, got {number}.")
    return number
