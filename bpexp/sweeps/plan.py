"""The plan of a sweep: its checked jobs, and the settings that vary between them.

>>> from bpexp.config.compose import compose_settings
>>> plan = make_plan([compose_settings({"lr": lr, "seed": 3}) for lr in (0.1, 1.0)])
>>> len(plan.jobs), plan.varying
(2, ('lr',))
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from operator import attrgetter
from typing import Any

from bpexp.config import combinations
from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import (
    TRAIN,
    BudgetConfig,
    RuntimeConfig,
    SearchConfig,
    TrainConfig,
    flatten,
    parse,
    plain,
    train_keys,
)
from bpexp.data import DataConfig, Dataset, load
from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.render.wording import listed
from bpexp.runs.objective import Objective
from bpexp.sweeps import budget, comparable, objective
from bpexp.sweeps.job import Job, format_setting
from bpexp.sweeps.rungs import Rung

SWEEP_HINT = "add -m and use the launcher bpexp, or call bpexp.sweep"
"""What to type where a setting makes sense only in a sweep."""
SHARED = ("data", "model", "optimizer", "schedule", "stop", "hidden")
"""Settings that most jobs of a sweep have in common: equal ones are kept in memory and checked
against their data once."""

Values = Mapping[str, Any]
"""A composed configuration: nested dicts, lists and scalars."""


@dataclass(frozen=True)
class PlannedSearch:
    """What a search that proposes the jobs of a plan needs to be continued.

    Attributes:
        arguments: The sweep arguments, from which its space is read again.
        searched: What is searched: a description of the values of each setting, or of the settings
            of a zip, by its key.
        n_replicates: Number of jobs of a trial.
    """

    arguments: tuple[str, ...]
    searched: Mapping[str, str]
    n_replicates: int

    @property
    def descriptions(self) -> list[str]:
        """Each searched setting with its values, as in ``lr (0.001 to 1, log)``."""
        return [f"{key} ({values})" for key, values in self.searched.items()]


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep, and how they are executed.

    Attributes:
        jobs: All jobs, in order.
        runtime: How the jobs are executed; nothing in it changes a result.
        varying: Dotted keys of the settings that vary.
        overrides: The overrides of the command line.
        composed: The composed configuration of the first job.
        study: The definition of the study that the jobs belong to, as plain values.
        search: The search that proposes the jobs, if there is one.
        extensions: The arguments with which jobs were added to the sweep later.
        generations: The index of the first job of each generation.
        rungs: Where combinations were judged so far, in order; see ``rungs``.
        trains_pruned: Whether the user wants pruned jobs to be trained to their ends after all.
    """

    jobs: tuple[Job, ...]
    runtime: RuntimeConfig
    varying: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    composed: Values = field(default_factory=dict)
    study: Values | None = None
    search: PlannedSearch | None = None
    extensions: tuple[str, ...] = ()
    generations: tuple[int, ...] = (0,)
    rungs: tuple[Rung, ...] = ()
    trains_pruned: bool = False

    @property
    def jobs_by_generation(self) -> list[tuple[Job, ...]]:
        """The jobs of each generation."""
        ends = (*self.generations[1:], len(self.jobs))
        return [self.jobs[a:b] for a, b in zip(self.generations, ends, strict=True)]

    @property
    def last_generation(self) -> tuple[Job, ...]:
        """The jobs of the last generation."""
        return self.jobs[self.generations[-1] :]

    @property
    def is_race(self) -> bool:
        """Whether the number of seeds depends on the results (``seeds=auto``)."""
        return self.runtime.seeds.name is not None

    @property
    def max_jobs(self) -> int:
        """The number of jobs if a search has all trials, and a race all seeds."""
        if self.search is not None:
            return self.runtime.search.trials * self.search.n_replicates
        if self.is_race:
            return sum(job.config.seed == 0 for job in self.jobs) * self.runtime.seeds.max
        return len(self.jobs)

    def values_of(self, key: str) -> list[str]:
        """The different values of a setting that varies, as text, in the order of the jobs."""
        return list(dict.fromkeys(job.shown(key) for job in self.jobs if key in job.varying))

    @property
    def configs(self) -> list[TrainConfig]:
        """The configuration of each job."""
        return [job.config for job in self.jobs]

    @property
    def datasets(self) -> dict[DataConfig, Dataset]:
        """The data set of each data configuration."""
        # Most jobs share the object, which is compared faster than its settings are hashed.
        jobs = {id(job.config.data): job for job in self.jobs}.values()
        return {job.config.data: job.dataset for job in jobs}

    @cached_property
    def objective(self) -> Objective:
        """What the jobs are compared by. Raises ConfigError if the runs do not have it."""
        jobs = {id(job.config.stop): job for job in self.jobs}.values()
        stops = dict.fromkeys(job.config.stop for job in jobs)
        return objective.choose(self.datasets, stops, self.runtime.objective)

    def with_generation(self, composed: Iterable[Values]) -> "Plan":
        """Return a plan with another generation of jobs, whose indices continue those here.

        Args:
            composed: The configuration of each new job.

        Raises:
            ConfigError: As ``make_plan``.
        """
        datasets = self.datasets
        added = make_plan(composed, datasets=datasets)
        if added.runtime != self.runtime:
            raise _different_runtime(self.runtime, added.runtime)
        compared = [*_one_of_each_kind(self.jobs), *added.configs]
        varying = _in_order({*self.varying, *_varying_keys(compared)})
        known = self.jobs
        if varying != self.varying:
            # Those planned before get new names.
            known = tuple(_jobs(self.configs, datasets, varying))
        new = _jobs(added.configs, added.datasets, varying, first=len(known))
        generations = (*self.generations, len(known))
        return replace(self, jobs=(*known, *new), varying=varying, generations=generations)


@dataclass(frozen=True)
class StudyRows:
    """The definition of a study, as plain values, and the name of each job's row."""

    definition: Values
    rows: Sequence[str]


def make_plan(
    composed: Iterable[Values],
    overrides: Sequence[str] = (),
    study: StudyRows | None = None,
    *,
    datasets: Mapping[DataConfig, Dataset] | None = None,
) -> Plan:
    """Check the composed configurations of all jobs, their data included.

    Each data set is loaded once, here: see ``Job.dataset``.

    Args:
        composed: The configuration of each job as nested plain values.
        overrides: The overrides of the command line.
        study: The study that the jobs belong to.
        datasets: Data sets that are loaded already.

    Returns:
        The plan.

    Raises:
        ConfigError: A setting breaks its rule; in a study the message names the row.
    """
    rows = study.rows if study else ()
    configs: list[TrainConfig] = []
    loaded = dict(datasets or {})
    runtime: RuntimeConfig | None = None
    first: Values = {}
    unique: dict[Any, Any] = {}
    for index, values in enumerate(composed):
        row = rows[index] if rows else ""
        with study_row_in_errors(row):
            config, job_runtime = parse(values)
        first, runtime = first or values, runtime or job_runtime
        if job_runtime != runtime:
            raise _different_runtime(runtime, job_runtime)
        parts = {name: getattr(config, name) for name in SHARED}
        shared = {name: unique.setdefault((type(p), p), p) for name, p in parts.items()}
        if config.data not in loaded:
            with study_row_in_errors(row):
                loaded[config.data] = load(config.data)
        configs.append(replace(config, **shared))
    if runtime is None:
        raise ConfigError("A sweep needs at least one run.")
    if study:
        _check_runtime_of_study(runtime)
    varying = _varying_keys(configs)
    jobs = _jobs(configs, loaded, varying, rows)
    _check_data(jobs)
    definition = study.definition if study else None
    plan = Plan(tuple(jobs), runtime, varying, tuple(overrides), first, definition)
    # Refuse an objective that the runs do not have before anything is written.
    comparable.check(plan.jobs, plan.objective, runtime)
    budget.check(runtime.budget, jobs)
    return plan


def _check_runtime_of_study(runtime: RuntimeConfig) -> None:
    """Check that all trials of a study are trained, and no others. Raises ConfigError."""
    if runtime.confirm:
        raise ConfigError(f"confirm must be 0 in a study, got {runtime.confirm}.")
    if runtime.seeds.name is not None:
        raise ConfigError("seeds must be null in a study, which lists its trials.")
    if runtime.budget != BudgetConfig():
        raise ConfigError("budget.* must be null in a study, which needs all of its runs.")
    if runtime.search.halving is not None:
        raise ConfigError("search.halving must be null in a study, which needs all of its runs.")


def _check_data(jobs: Sequence[Job]) -> None:
    """Check jobs against their data, equal settings once. Raises ConfigError."""
    checked: set[tuple[Any, ...]] = set()
    for job in jobs:
        key = tuple(getattr(job.config, name) for name in SHARED)
        if key not in checked:
            with study_row_in_errors(job.study_row):
                combinations.check_data(job.config, job.dataset)
            checked.add(key)


def restore_jobs(
    configs: Sequence[TrainConfig],
    rows: Sequence[str],
    varying: Sequence[str],
    load_data: Callable[[DataConfig], Dataset],
) -> list[Job]:
    """Make the jobs of a plan that was read from a file, which holds no names; load their data.

    Args:
        configs: The configuration of each job.
        rows: The study row of each job; empty without a study.
        varying: Dotted keys of the settings that vary.
        load_data: Loads the data sets.

    Raises:
        ConfigError: The data do not fit a configuration any more.
    """
    datasets = {data: load_data(data) for data in dict.fromkeys(c.data for c in configs)}
    jobs = _jobs(configs, datasets, varying, rows)
    _check_data(jobs)
    return jobs


def single_run_plan(composed: Values, overrides: Sequence[str] = ()) -> Plan:
    """Make the plan of one run that is not a sweep.

    Raises:
        ConfigError: As ``make_plan``, and for a study, which is always a sweep.
    """
    if composed.get("study") is not None:
        raise ConfigError(f"+study is a sweep: {SWEEP_HINT}.")
    if composed.get("confirm"):
        raise ConfigError(f"confirm needs a sweep: {SWEEP_HINT}.")
    plan = make_plan([composed], overrides)
    if plan.runtime.search != SearchConfig():
        raise ConfigError(f"search is a sweep: {SWEEP_HINT}.")
    if plan.is_race:
        raise ConfigError(f"seeds=auto is a sweep: {SWEEP_HINT}.")
    if plan.runtime.budget != BudgetConfig():
        raise ConfigError(f"budget.* needs a sweep: {SWEEP_HINT}.")
    return plan


def check_different_runs(plan: Plan, typed: Callable[[int], Mapping[str, Any]]) -> None:
    """Check that no two jobs are the same run, such as ``hidden=2`` and ``hidden=[2]``.

    Args:
        plan: The plan.
        typed: Returns the settings of the job with an index as the user gave them, by key.

    Raises:
        ConfigError: Two jobs have equal configurations.
    """
    known: dict[TrainConfig, int] = {}
    for job in plan.jobs:
        first = known.setdefault(job.config, job.index)
        if first != job.index:
            one, other = typed(first), typed(job.index)
            keys = [key for key in other if str(one.get(key)) != str(other[key])]
            if not keys:
                raise ConfigError(
                    f"The runs of a sweep must be different, got {job.name} twice; leave one of "
                    "them out."
                )
            first_text, second_text = (
                " ".join(f"{key}={settings[key]}" for key in keys if key in settings)
                for settings in (one, other)
            )
            raise ConfigError(
                f"The runs of a sweep must be different, got the same run from {first_text} and "
                f"{second_text}; leave one of them out."
            )


@contextmanager
def study_row_in_errors(row: str) -> Iterator[None]:
    """Prefix the message of a ConfigError with the name of a study's row; "" without a study."""
    try:
        yield
    except ConfigError as error:
        if not row:
            raise
        raise ConfigError(f"study row {row}: {error}") from error


def _different_runtime(one: RuntimeConfig, other: RuntimeConfig) -> ConfigError:
    first, second = flatten(plain(one)), flatten(plain(other))
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    got = [
        passwords.mask(" ".join(f"{key}={format_setting(some.get(key))}" for key in keys))
        for some in (first, second)
    ]
    return ConfigError(
        f"{listed(keys)} must be the same for all runs of a sweep, got {got[0]} and {got[1]}; "
        "type one value, outside of sub-sweeps."
    )


def _jobs(
    configs: Sequence[TrainConfig],
    datasets: Mapping[DataConfig, Dataset],
    varying: Sequence[str],
    rows: Sequence[str] = (),
    first: int = 0,
) -> list[Job]:
    """Make jobs with their names.

    Args:
        configs: The configuration of each job.
        datasets: The data set of each data configuration.
        varying: Dotted keys of the settings that vary in the sweep.
        rows: The study row of each job; empty without a study.
        first: The index of the first job.
    """
    return [
        Job(
            index=first + position,
            name=_job_name(config, job_values),
            config=config,
            dataset=datasets[config.data],
            varying=job_values,
            study_row=row,
        )
        for position, (config, job_values, row) in enumerate(
            zip(configs, _values(configs, varying), rows or [""] * len(configs), strict=True)
        )
    ]


def _varying_keys(configs: Sequence[TrainConfig]) -> tuple[str, ...]:
    """The dotted keys whose values differ between the configurations that have them."""
    varying: set[str] = set()
    for name in (f.name for f in fields(TrainConfig)):
        found: dict[str, set[str]] = {}
        for part in dict.fromkeys(getattr(config, name) for config in configs):
            for key, value in flatten({name: plain(part)}).items():
                found.setdefault(key, set()).add(str(value))
        # The name of an option tells which of its settings a job has.
        varying |= {key for key, texts in found.items() if len(texts) > 1}
    return _in_order(varying)


def _in_order(keys: Iterable[str]) -> tuple[str, ...]:
    """Dotted keys in the order in which they are shown.

    The seed comes last in job names, as in `lr=0.1 seed=3`, because it only numbers replicates.
    """
    groups, order = [f.name for f in fields(TrainConfig)], train_keys()

    def position(key: str) -> tuple[bool, int, int]:
        group = key.partition(".")[0]
        return is_replicate_key(group), groups.index(group), order.index(key)

    return tuple(sorted(keys, key=position))


def _one_of_each_kind(jobs: Sequence[Job]) -> list[TrainConfig]:
    """A configuration for each combination of options, which determine the settings that it has."""
    parts = attrgetter(*TRAIN)
    return list({tuple(map(type, parts(job.config))): job.config for job in jobs}.values())


def _values(configs: Sequence[TrainConfig], varying: Sequence[str]) -> list[dict[str, Any]]:
    """The values of the settings that vary and that each configuration has, by dotted key."""
    values: list[dict[str, Any]] = [{} for _ in configs]
    for name, keys in itertools.groupby(varying, key=lambda key: key.partition(".")[0]):
        own = list(keys)
        flat: dict[Any, dict[str, Any]] = {}
        for config, job_values in zip(configs, values, strict=True):
            part = getattr(config, name)
            if part not in flat:
                flat[part] = flatten({name: plain(part)})
            job_values |= {key: flat[part][key] for key in own if key in flat[part]}
    return values


def _job_name(config: TrainConfig, varying: Values) -> str:
    """The varying settings; for a job without any, its data set and main settings."""
    if varying:
        return _settings_text(varying)
    main = {"lr": config.lr, "hidden": list(config.hidden), "seed": config.seed}
    return f"{config.data.name} {_settings_text(main)}"


def _settings_text(values: Values) -> str:
    return " ".join(f"{key}={format_setting(value)}" for key, value in values.items())
