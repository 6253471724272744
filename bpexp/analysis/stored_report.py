"""Build a report on runs of an MLflow store."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bpexp.analysis import (
    confirmation,
    halving,
    lr_range,
    objective_choice,
    race,
    study_verdicts,
)
from bpexp.analysis.findings import Findings
from bpexp.analysis.groups import Grouped, group
from bpexp.analysis.lr_range import LrRange
from bpexp.analysis.options import DEFAULTS, ReportOptions
from bpexp.analysis.report import Report, build
from bpexp.analysis.trials import Trials
from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.render import markdown
from bpexp.render.wording import counted
from bpexp.runs import file_names, predictions_file, run_tags
from bpexp.runs.objective import Objective
from bpexp.sweeps import integrity, metric_differences, sweep_integrity
from bpexp.tracking import log_artifacts, lookup, run_tables, stored_results
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.reading import Parts, Query, StoredRun
from bpexp.tracking.unreadable import UnreadableRunError
from bpexp.typing import Array

ENVIRONMENT_TAGS = (
    "bpexp.python", "bpexp.platform", "bpexp.processor", "bpexp.version.", "bpexp.git.",
)  # fmt: skip
"""Prefixes of the tags that describe the environment of a run."""
_RESULT_FILES = {"losses.npz", "weights.npz", *predictions_file.NAMES}
_DIGESTS = integrity.TO_CHECK.tags
_METRICS = Parts(params=(), tags=_DIGESTS, data=False)
_ONLY_TAGS = Parts(params=(), metrics=(), data=False)

LossesAt = Callable[[Array, StoredRun, Archive], Array]
"""Reads the losses of a run at some epochs, as ``stored_results.losses_at``."""


@dataclass(frozen=True)
class RunFiles:
    """Reads the losses and artifacts of runs from a store; each run is checked once."""

    archive: Archive
    _checked: dict[str, StoredRun] = field(default_factory=dict, init=False)

    def losses(self, rows: pd.DataFrame, epochs: Array) -> Array:
        """Losses of runs at the given epochs, (n_runs, n_epochs); nan after the end of a run.

        Raises:
            ConfigError: The artifacts of a run are not those that were written.
        """
        return self._of_each(rows, epochs, stored_results.losses_at)

    def validation_losses(self, rows: pd.DataFrame, epochs: Array) -> Array:
        """Validation losses of runs at the given epochs, (n_runs, n_epochs).

        Between two evaluations they are interpolated; after the last one it stays. Those of a run
        whose artifacts were deleted are nan.

        Raises:
            ConfigError: The artifacts of a run are not those that were written.
        """
        return self._of_each(rows, epochs, _validation_losses)

    def artifact(self, row: Any, name: str) -> bytes | None:
        """The content of an artifact of a run; None if it does not exist.

        Raises:
            ConfigError: The artifacts of the run are not those that were written.
        """
        found = self._checked_runs([row["run_id"]])
        return self.archive.file_if_any(found[0], name) if found else None

    def data(self, row: Any) -> tuple[TrainConfig, Dataset] | None:
        """The configuration and the data of a run.

        None if the run has no artifacts, or if the data are missing or have changed.

        Raises:
            ConfigError: The artifacts of the run are not those that were written.
        """
        for run in self._checked_runs([row["run_id"]]):
            with suppress(UnreadableRunError):
                return stored_results.config_of(run, self.archive)
        return None

    def _of_each(self, rows: pd.DataFrame, epochs: Array, losses_at: LossesAt) -> Array:
        """Losses of runs at the given epochs; nan for a run that is not in the store."""
        runs = self._checked_runs(list(rows["run_id"]))
        losses = self.archive.for_each(runs, lambda run: losses_at(epochs, run, self.archive))
        found = dict(zip((run.run_id for run in runs), losses, strict=True))
        unknown = np.full(len(epochs), np.nan)
        return np.array([found.get(run_id, unknown) for run_id in rows["run_id"]])

    def _checked_runs(self, run_ids: Sequence[str]) -> Sequence[StoredRun]:
        """The stored runs with some ids, after comparing their artifacts with their digests.

        A run whose artifacts were all deleted is reported with its metrics.
        """
        new = [run_id for run_id in run_ids if run_id not in self._checked]
        runs = self.archive.reader.get(new, integrity.TO_CHECK)
        finished = [run for run in runs if run.status == "FINISHED"]
        kept = [run for run in finished if _RESULT_FILES & self.archive.files(run).keys()]
        problems = integrity.artifact_problems(kept, self.archive)
        for run in kept:
            _refuse(run, problems.get(run.run_id, ""))
        self._checked.update((run.run_id, run) for run in runs)
        return [self._checked[run_id] for run_id in run_ids if run_id in self._checked]


def _validation_losses(epochs: Array, run: StoredRun, archive: Archive) -> Array:
    if archive.file_if_any(run, "validation.npz") is None:
        return np.full(len(epochs), np.nan)
    evaluated = stored_results.validation_of(run, archive)
    return np.interp(epochs, evaluated.epochs, evaluated.losses)


def of_sweeps(
    archive: Archive,
    parents: Sequence[StoredRun],
    options: ReportOptions = DEFAULTS,
) -> Report:
    """Build the report on one or more sweeps.

    Args:
        archive: Reads the store; the sweeps may belong to several experiments.
        parents: Parent runs of the sweeps.
        options: What the user chose.

    Returns:
        The report.

    Raises:
        ConfigError: A run is not the parent of a sweep or is given twice, or as
            ``report.build``.
    """
    ids = [parent.run_id for parent in parents]
    if len(set(ids)) < len(ids):
        raise ConfigError("report compares different sweeps, but the same sweep was given twice.")
    for parent in parents:
        if not parent.is_sweep:
            raise ConfigError(
                f"{parent.name!r} is a single run; give the id of a sweep's parent run."
            )
        sweep_integrity.check_tags(parent)
    # The shortest prefix of at least 8 digits that tells the ids apart.
    digits = next(n for n in range(8, 33) if len({run_id[:n] for run_id in ids}) == len(ids))
    read = [_sweep_table(archive, parent) for parent in parents]
    tables = [
        table.frame.assign(sweep=parent.run_id[:digits])
        for parent, table in zip(parents, read, strict=True)
    ]
    names = [f"{parent.name} ({parent.run_id[:digits]})" for parent in parents]
    files, environment = RunFiles(archive), _environment(parents)
    options = replace(options, choice=objective_choice.with_objective_of(options.choice, parents))
    find_race = None
    if len(parents) == 1 and run_tags.SEEDS in parents[0].tags:
        is_part = bool(options.only)
        in_order = tables[0] if read[0].is_ordered else None
        find_race = partial(race.find, parents[0], in_order, archive, is_part=is_part)
    study = study_verdicts.sentence(archive, parents[0]) if len(parents) == 1 else ""
    try:
        report = build(
            pd.concat(tables), " and ".join(names), environment, files, options, find_race
        )
    except ConfigError as error:
        raise ConfigError(f"{error} {study}".rstrip()) from error
    return replace(
        report,
        study=study,
        deleted=" ".join(table.deleted for table in read if table.deleted),
        lr_range=_lr_range(parents, report.findings.grouped, report.findings.objective, files),
        caution=_caution(parents) if find_race is None else "",
        halving=halving.read(archive, parents[0]) if len(parents) == 1 else None,
        confirmation=_confirmation(archive, parents, tables, report),
        trials=_trials(parents, read, report.findings),
    )


def lr_range_of(archive: Archive, parent: StoredRun, objective: Objective) -> LrRange | None:
    """The learning rates of a sweep of ``search=lr_range``; None if too few runs have a result."""
    grouped = group(_sweep_table(archive, parent).frame.assign(sweep=""))
    return _lr_range([parent], grouped, objective, RunFiles(archive))


def _lr_range(
    parents: Sequence[StoredRun], grouped: Grouped, objective: Objective, files: RunFiles
) -> LrRange | None:
    is_one = len(parents) == 1 and _is_lr_range(parents[0])
    return lr_range.estimate(grouped, objective, files.losses) if is_one else None


def _is_lr_range(parent: StoredRun) -> bool:
    """Whether learning rates were searched by ``search=lr_range``."""
    return parent.tags.get(run_tags.SEARCH) == "lr_range"


def _trials(
    parents: Sequence[StoredRun], tables: "Sequence[_SweepTable]", findings: Findings
) -> Trials | None:
    """The groups of a search in the order of its trials; None if it is no search."""
    (parent, *others) = parents
    is_search = not others and run_tags.SEARCH in parent.tags and not _is_lr_range(parent)
    if not is_search or not tables[0].is_ordered:
        return None
    in_order = sorted(findings.summaries, key=lambda summary: int(summary.group.rows.index.min()))
    return Trials(findings, in_order)


def _caution(runs: Iterable[StoredRun]) -> str:
    """Why p values of runs are too small; "" if no sweep with ``seeds=auto`` is among them."""
    if not any(run_tags.SEEDS in run.tags for run in runs):
        return ""
    return (
        "Some numbers of seeds follow from the results (seeds=auto), but p values and intervals "
        "are those of fixed numbers: they are too optimistic."
    )


def _confirmation(
    archive: Archive, parents: Sequence[StoredRun], tables: Sequence[pd.DataFrame], report: Report
) -> str:
    """What fresh seeds show of the best combinations of a sweep; "" if it was not confirmed."""
    if len(parents) > 1 or run_tags.CONFIRMED_BY not in parents[0].tags:
        return ""
    fresh = archive.get(parents[0].tags[run_tags.CONFIRMED_BY])
    if fresh is None or not fresh.is_sweep:
        return ""  # It was deleted.
    table = _sweep_table(archive, fresh).frame.assign(sweep="fresh")
    grouped = group(pd.concat([tables[0].assign(sweep="chosen"), table]))
    return confirmation.summary_of_groups(report.findings.objective, grouped)


class _SweepTable(NamedTuple):
    """The runs of a sweep.

    Attributes:
        frame: A row for each run.
        is_ordered: Whether the rows have the order of the jobs: it is the table of an ended sweep.
        deleted: A sentence on runs that were deleted from the store and have no row; "" if none
            was.
    """

    frame: pd.DataFrame
    is_ordered: bool
    deleted: str = ""


def _sweep_table(archive: Archive, parent: StoredRun) -> _SweepTable:
    """The runs of a sweep: its table of results, after comparing it with the metrics of the runs.

    A sweep that did not end has no such table; its runs are read from the store.
    """
    query = Query(sweep=parent.run_id, with_parents=False)
    table = run_tables.results_table(archive, parent)
    if table is None:
        parts = replace(run_tables.table_parts(), tags=_DIGESTS)
        runs = _checked(archive, parent.experiment_id, query, parts)
        return _SweepTable(run_tables.frame(runs), is_ordered=False)
    compared = metric_differences.ComparedTable(table)
    sweep_integrity.checked_file(parent, archive, file_names.RESULTS_PARQUET)
    stored = set()
    for run in _checked(archive, parent.experiment_id, query, _METRICS):
        # The table matches its digest, so that the run must be another one.
        problem = compared.problem_of(run)
        if problem:
            raise ConfigError(
                f"{run.label} is altered: {problem}; bpexp reproduce {run.short_id} says more."
            )
        if parent.status != "RUNNING":
            _refuse(run, integrity.status_problem(run))
        stored.add(run.run_id)
    return _without_deleted(table, stored, parent)


def _without_deleted(
    table: pd.DataFrame, stored: Collection[str], parent: StoredRun
) -> _SweepTable:
    """Leave out the runs of a table that were tracked and are not in the store any more."""
    is_deleted = (table["run_id"] != "") & ~table["run_id"].isin(stored)
    n_deleted = int(is_deleted.sum())
    if not n_deleted:
        return _SweepTable(table, is_ordered=True)
    if n_deleted == len(table):
        raise ConfigError(
            f"All runs of {parent.label} were deleted, or moved to another sweep; bpexp resume "
            f"{parent.short_id} trains them again."
        )
    rows = list(zip(table["name"], table["run_id"], strict=True))
    was, them = ("was", "it") if n_deleted == 1 else ("were", "them")
    return _SweepTable(
        table[~is_deleted],
        True,
        f"{sweep_integrity.missing_runs(rows, stored)} {counted(n_deleted, 'run')} of "
        f"{len(table):,} {was} left out; bpexp resume {parent.short_id} trains {them} again.",
    )


def _checked(archive: Archive, experiment: str, query: Query, parts: Parts) -> Iterator[StoredRun]:
    """The runs that a query selects, after comparing their values with their digests.

    Args:
        archive: Reads the store.
        experiment: Id of the experiment.
        query: Selects the runs.
        parts: What is read of each run; metrics and ``_DIGESTS`` must be among it.

    Raises:
        ConfigError: The metrics or the configuration of a run are not those that were written.
    """
    for run in archive.reader.search(experiment, query, parts):
        if run_tags.DIGESTS in run.tags and not integrity.has_recorded_values(run):
            whole = archive.get(run.run_id) or run
            _refuse(whole, integrity.artifact_problem(whole, archive))
        yield run


def _refuse(run: StoredRun, problem: str) -> None:
    """Raise ConfigError if a run has a problem."""
    if problem:
        raise integrity.altered_error(run, problem)


def of_experiment(
    archive: Archive,
    name: str,
    options: ReportOptions = DEFAULTS,
) -> Report:
    """Build the report on all runs of an experiment, whichever sweep they belong to.

    Args:
        archive: The experiment.
        name: Its name.
        options: What the user chose.

    Returns:
        The report.

    Raises:
        ConfigError: The experiment has no runs, or as ``report.build``.
    """
    # In two passes over pages of runs: all tags of all runs would need much memory.
    parts = replace(run_tables.table_parts(), tags=_DIGESTS)
    runs = _checked(archive, archive.experiment_id, Query(with_parents=False), parts)
    frame = run_tables.frame(runs).assign(sweep="")
    if frame.empty:
        raise ConfigError(f"The experiment {name!r} has no runs.")
    tagged = archive.reader.search(archive.experiment_id, Query(), _ONLY_TAGS)
    files, environment = RunFiles(archive), _environment(tagged)
    report = build(frame, f"experiment {name}", environment, files, options)
    races = archive.reader.search(
        archive.experiment_id, Query(tags={run_tags.SEEDS: "auto"}), _ONLY_TAGS, limit=1
    )
    return replace(report, caution=_caution(races))


def _environment(runs: Iterable[StoredRun]) -> Mapping[str, str]:
    """The environment of the runs by tag; different values are joined by semicolons."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.tags.items():
            if key.startswith(ENVIRONMENT_TAGS):
                values.setdefault(key.removeprefix("bpexp."), set()).add(value)
    return {key: "; ".join(sorted(found)) for key, found in sorted(values.items())}


def keep(archive: Archive, parent: StoredRun, report: Report) -> None:
    """Log the report to the sweep's parent run: page, plots and tables, and the answer as a note.

    Args:
        archive: Where the sweep is stored.
        parent: Parent run of the sweep.
        report: The report.

    Raises:
        ConfigError: The sweep or its experiment was deleted.
        TrackingError: The store rejected the report, or stayed unavailable.
    """
    files = report.files(["html"])
    tables = {"ranking.json": report.table}
    if len(report.predictions):
        tables["predictions.json"] = report.predictions
    experiment = lookup.experiment_name(archive.reader, parent)
    tracker = open_tracker(archive.store, experiment)
    log_artifacts.log(tracker, parent, files, tables, "Report", markdown.inline(report.answer))
