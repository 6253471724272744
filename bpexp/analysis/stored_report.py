"""Build a report on runs of an MLflow store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from bpexp.analysis import (
    confirmation,
    halving,
    lr_range,
    objective_choice,
    race,
    study_verdicts,
)
from bpexp.analysis.comparability import SeveralRankingsError
from bpexp.analysis.findings import Findings
from bpexp.analysis.groups import Grouped, group
from bpexp.analysis.lr_range import LrRange
from bpexp.analysis.options import DEFAULTS, ReportOptions
from bpexp.analysis.report import Report, build
from bpexp.analysis.run_files import RunFiles
from bpexp.analysis.stored_sweep import StoredSweep, table_of
from bpexp.analysis.trials import Trials
from bpexp.fields.checks import ConfigError
from bpexp.render import markdown
from bpexp.runs import run_tags
from bpexp.runs.objective import Objective
from bpexp.sweeps import sweep_integrity
from bpexp.tracking import log_artifacts, lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.reading import Parts, Query, StoredRun

ENVIRONMENT_TAGS = (
    "bpexp.python", "bpexp.platform", "bpexp.processor", "bpexp.version.", "bpexp.git.",
)  # fmt: skip
"""Prefixes of the tags that describe the environment of a run."""
_ONLY_TAGS = Parts(params=(), metrics=(), data=False)


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
    _check_parents(parents)
    sweeps = [StoredSweep.read(archive, parent) for parent in parents]
    options = replace(options, choice=objective_choice.with_objective_of(options.choice, parents))
    if len(sweeps) == 1:
        report = _of_one_sweep(archive, sweeps[0], options)
    else:
        report = _of_several_sweeps(archive, sweeps, options)
    return replace(report, left_out=" ".join(sweep.left_out for sweep in sweeps if sweep.left_out))


def _check_parents(parents: Sequence[StoredRun]) -> None:
    """Raise ConfigError if a run is not the parent of a sweep, is altered, or is given twice."""
    if len({parent.run_id for parent in parents}) < len(parents):
        raise ConfigError("report compares different sweeps, but the same sweep was given twice.")
    for parent in parents:
        if not parent.is_sweep:
            raise ConfigError(
                f"{parent.name!r} is a single run; give the id of a sweep's parent run."
            )
        sweep_integrity.check_tags(parent)


def _of_several_sweeps(
    archive: Archive, sweeps: Sequence[StoredSweep], options: ReportOptions
) -> Report:
    """Build the report that compares sweeps."""
    ids = [sweep.parent.run_id for sweep in sweeps]
    # The shortest prefix of at least 8 digits that tells the ids apart.
    digits = next(n for n in range(8, 33) if len({run_id[:n] for run_id in ids}) == len(ids))
    tables = [sweep.labeled(sweep.parent.run_id[:digits]) for sweep in sweeps]
    parents = [sweep.parent for sweep in sweeps]
    title = " and ".join(f"{parent.name} ({parent.run_id[:digits]})" for parent in parents)
    report = build(pd.concat(tables), title, _environment(parents), RunFiles(archive), options)
    return replace(report, caution=_caution(parents))


def _of_one_sweep(archive: Archive, sweep: StoredSweep, options: ReportOptions) -> Report:
    """Build the report on a sweep, with what applies to a single one only."""
    parent, files, find_race = sweep.parent, RunFiles(archive), None
    if sweep.is_race:
        in_order, is_part = sweep.table if sweep.is_ordered else None, bool(options.only)
        find_race = partial(race.find, parent, in_order, archive, is_part=is_part)
    study, label = study_verdicts.sentence(archive, parent), parent.run_id[:8]
    title, environment = f"{parent.name} ({label})", _environment([parent])
    try:
        report = build(sweep.labeled(label), title, environment, files, options, find_race)
    except SeveralRankingsError as error:
        raise SeveralRankingsError(f"{error} {study}".rstrip()) from error
    findings = report.findings
    return replace(
        report,
        study=study,
        lr_range=_lr_range(sweep, findings.grouped, findings.objective, files),
        halving=halving.read(archive, parent),
        confirmation=_confirmation(archive, sweep, findings.objective),
        trials=_trials(sweep, findings),
    )


def lr_range_of(archive: Archive, parent: StoredRun, objective: Objective) -> LrRange | None:
    """The learning rates of a sweep of ``search=lr_range``; None if too few runs have a result."""
    sweep = StoredSweep.read(archive, parent)
    return _lr_range(sweep, group(sweep.labeled("")), objective, RunFiles(archive))


def _lr_range(
    sweep: StoredSweep, grouped: Grouped, objective: Objective, files: RunFiles
) -> LrRange | None:
    return lr_range.estimate(grouped, objective, files.losses) if sweep.is_lr_range else None


def _trials(sweep: StoredSweep, findings: Findings) -> Trials | None:
    """The groups of a search in the order of its trials; None if it is no search."""
    if not sweep.has_trials or not sweep.is_ordered:
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


def _confirmation(archive: Archive, sweep: StoredSweep, objective: Objective) -> str:
    """What fresh seeds show of the best combinations of a sweep; "" if it was not confirmed."""
    run_id = sweep.parent.tags.get(run_tags.CONFIRMED_BY)
    fresh = None if run_id is None else archive.get(run_id)
    if fresh is None or not fresh.is_sweep:
        return ""  # It was not confirmed, or the other sweep was deleted.
    tables = [sweep.labeled("chosen"), StoredSweep.read(archive, fresh).labeled("fresh")]
    return confirmation.summary_of_groups(objective, group(pd.concat(tables)))


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
    table = table_of(archive, archive.experiment_id, Query(are_sweeps=False))
    if table.empty:
        raise ConfigError(f"The experiment {name!r} has no runs.")
    tagged = archive.reader.search(archive.experiment_id, Query(), _ONLY_TAGS)
    files, environment = RunFiles(archive), _environment(tagged)
    report = build(table.assign(sweep=""), f"experiment {name}", environment, files, options)
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
