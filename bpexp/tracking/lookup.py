"""Finds the run that a user names: by its id, the start of its id, its name, or ``latest``."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking.reading import NO_PARTS, Query, RunReader, StoredRun
from bpexp.tracking.store import deleted_experiment

LATEST = "latest"
"""Stands for the sweep or run of an experiment that was worked on last, see ``find``."""
_ID = re.compile(r"[0-9a-f]{32}")
"""A complete run id. A name may look like one, too."""


class FoundRun(NamedTuple):
    """A run, and the name of its experiment."""

    experiment: str
    run: StoredRun


class NoExperimentError(ConfigError):
    """The store does not have an experiment, not even a deleted one."""


class NoRunsError(NoExperimentError):
    """No run was stored yet, so that an experiment was not created."""


def experiment_id(reader: RunReader, name: str) -> str:
    """The id of an experiment.

    Raises:
        NoRunsError: The store has no experiment but MLflow's own.
        NoExperimentError: The experiment does not exist; the message lists those of the store.
        ConfigError: The experiment is deleted.
    """
    ids = reader.experiments()
    if name in ids:
        return ids[name]
    deleted = reader.experiments(are_deleted=True)
    if name in deleted:
        raise deleted_experiment(name, deleted[name])
    if ids.keys() <= {"Default"}:
        raise NoRunsError("The store has no runs yet. Start with: bpexp lr=0.1")
    raise NoExperimentError(
        f"--experiment must be an experiment of this store, got {name!r}; it has "
        f"{', '.join(map(repr, ids))}."
    )


def experiment_name(reader: RunReader, run: StoredRun) -> str:
    """The name of the experiment of a run. Raises ConfigError if the experiment is deleted."""
    name = _name_of(run.experiment_id, reader.experiments())
    if not name:
        raise ConfigError(f"The experiment of {run.label} is deleted.")
    return name


def with_id(reader: RunReader, run_id: str) -> StoredRun:
    """The run with a complete id. Raises ConfigError if the store does not have it."""
    runs = reader.get([run_id])
    if not runs:
        raise ConfigError(f"RUN must be a run of this store, got {run_id!r}.")
    return runs[0]


def _only_match(reader: RunReader, experiment: str, wanted: str) -> StoredRun | None:
    """The run that matches; None if none does. Raises ConfigError if several do."""
    matches = reader.matching(wanted, experiment) if wanted else []
    if len(matches) > 1:
        ids = ", ".join(run.run_id[:12] for run in matches[:5])
        raise ConfigError(
            f"{wanted!r} matches {len(matches)} runs; type the first digits of one id: {ids}."
        )
    return matches[0] if matches else None


def _no_match(wanted: str, *, is_sweep: bool) -> ConfigError:
    what, noun = ("SWEEP", "sweep") if is_sweep else ("RUN", "run")
    return ConfigError(
        f"{what} must be the id, its beginning, or the name of a {noun}, got {wanted!r}; "
        "bpexp runs lists them."
    )


def find(reader: RunReader, experiment: str, wanted: str, *, is_sweep: bool = False) -> FoundRun:
    """Find a run, first in one experiment, then in all others.

    Args:
        reader: Reads the store.
        experiment: The name of the experiment to search first.
        wanted: The id of a run, the start of its id, its name, or ``latest``: the sweep or single
            run whose training started last, which may be an older sweep that was resumed.
        is_sweep: Whether a sweep is wanted: ``latest`` is then no single run, and messages say
            SWEEP.

    Raises:
        ConfigError: No run matches, or several do.
    """
    if not isinstance(wanted, str):
        raise ConfigError(
            f"A run or a sweep must be named by a text, got {type(wanted).__name__}; a table of "
            "bpexp.sweep has the id of its sweep in attrs['sweep']."
        )
    if wanted == LATEST:
        return FoundRun(experiment, _latest(reader, experiment, is_sweep=is_sweep))
    experiments = reader.experiments()
    if _ID.fullmatch(wanted):
        for run in reader.get([wanted]):
            name = _name_of(run.experiment_id, experiments)
            if not name and run.experiment_id not in _deleted_ids(reader):
                raise ConfigError(
                    f"{run.label} is altered: it belongs to no experiment of this store."
                )
            if not name or _is_deleted(reader, run):
                raise _deleted_error(run, is_of_experiment=not name)
            return FoundRun(name, run)
    first = experiments.get(experiment)
    match = None if first is None else _only_match(reader, first, wanted)
    if match is not None:
        return FoundRun(experiment, match)
    elsewhere = _find_elsewhere(reader, experiments, experiment, wanted) if wanted else None
    if elsewhere is not None:
        return elsewhere
    # Says that the experiment does not exist, if so.
    experiment_id(reader, experiment)
    _check_not_deleted(reader, wanted)
    raise _no_match(wanted, is_sweep=is_sweep)


def _check_not_deleted(reader: RunReader, wanted: str) -> None:
    """Raise ConfigError if a name, or the beginning of an id, is that of a deleted run."""
    if not wanted:
        return
    deleted = _deleted_ids(reader)
    for found_id in [*reader.experiments().values(), *deleted]:
        stages = (True, False) if found_id in deleted else (True,)
        for are_deleted in stages:
            for run in reader.search(found_id, Query(are_deleted=are_deleted), NO_PARTS):
                if run.name == wanted or run.run_id.startswith(wanted):
                    raise _deleted_error(run, is_of_experiment=found_id in deleted)


def _deleted_ids(reader: RunReader) -> Collection[str]:
    """The ids of the deleted experiments."""
    return reader.experiments(are_deleted=True).values()


def _is_deleted(reader: RunReader, run: StoredRun) -> bool:
    # By tags that few runs share: a store may have many deleted runs, also beside sweeps and runs
    # without a result.
    keys = (run_tags.KIND, run_tags.IDENTITY, run_tags.RESULT)
    tags = {key: run.tags[key] for key in keys if key in run.tags}
    deleted = reader.search(run.experiment_id, Query(tags=tags, are_deleted=True), NO_PARTS)
    return any(one.run_id == run.run_id for one in deleted)


def _deleted_error(run: StoredRun, *, is_of_experiment: bool) -> ConfigError:
    """The error for a run that is deleted, or whose experiment is."""
    if run.is_sweep:
        advice = f"bpexp resume {run.short_id} --restore restores it."
    else:
        restore = f"runs restore --run-id {run.run_id}"
        if is_of_experiment:
            restore = f"experiments restore --experiment-id {run.experiment_id}"
        advice = f"set MLFLOW_TRACKING_URI to this store and restore it with: mlflow {restore}"
    return ConfigError(f"{run.label}, or its experiment, is deleted; {advice}")


def _name_of(experiment_id: str, experiments: Mapping[str, str]) -> str:
    """The name of an experiment; "" if it is not among some, which are given as ids by name."""
    return next((name for name, found_id in experiments.items() if found_id == experiment_id), "")


def _latest(reader: RunReader, experiment: str, *, is_sweep: bool) -> StoredRun:
    """The sweep of the run that started last, or that run itself if it is a single one."""
    found_id = experiment_id(reader, experiment)
    run = next(iter(reader.search(found_id, Query(), limit=1)), None)
    if is_sweep and run is not None and not (run.is_sweep or run.parent):
        runs = reader.search(found_id, Query(), NO_PARTS)
        newest = next((one for one in runs if one.is_sweep or one.parent), None)
        run = None if newest is None else with_id(reader, newest.run_id)
    if run is None:
        kind = "sweep" if is_sweep else "run"
        raise ConfigError(f"The experiment {experiment!r} has no {kind} yet.")
    if not run.parent:
        return run
    sweep = with_id(reader, run.parent)
    if _is_deleted(reader, sweep):
        raise _deleted_error(sweep, is_of_experiment=False)
    return sweep


def _find_elsewhere(
    reader: RunReader, experiments: Mapping[str, str], experiment: str, wanted: str
) -> FoundRun | None:
    """The only matching run outside of ``experiment``."""
    matches = [
        FoundRun(name, run)
        for name, found_id in experiments.items()
        if name != experiment
        for run in reader.matching(wanted, found_id)
    ]
    if len(matches) > 1:
        names = list(dict.fromkeys(name for name, _ in matches))
        raise ConfigError(
            f"{wanted!r} is not a run of experiment {experiment!r} and fits {len(matches)} runs of "
            f"{', '.join(map(repr, names))}; add --experiment {names[0]!r} or give the id."
        )
    return matches[0] if matches else None
