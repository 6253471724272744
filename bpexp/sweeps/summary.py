"""The parent run of a finished sweep: its table of results, note, tags and metrics."""

import math
from collections.abc import Sequence
from dataclasses import fields

from bpexp.config.schema import TrainConfig, flatten, plain
from bpexp.render import markdown
from bpexp.render.document import BulletList, Document, Paragraph, Span, code, strong
from bpexp.render.table_files import Cell, Columns, as_csv, as_parquet
from bpexp.render.wording import abbreviated, counted
from bpexp.runs import environment, file_names, metrics, run_tags
from bpexp.sweeps import rungs_table
from bpexp.sweeps.job import format_setting
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.race_result import RaceResult
from bpexp.sweeps.ranking import values_of, why_best
from bpexp.sweeps.runner import FinishedSweep
from bpexp.sweeps.samplers.trials import best_so_far
from bpexp.tracking.contract import MetricPoint, RunRecord

MAX_LISTED = 8
"""Maximum number of best runs in the note."""


def results_table(finished: FinishedSweep) -> Columns:
    """The results as columns by name, with one entry per job, in order.

    Settings and metrics that a job does not have are None. Metrics that no job has are left out.
    """
    rows = finished.rows
    columns: dict[str, list[Cell]] = {"run_id": [row.run_id for row in rows]}
    if any(row.job.study_row for row in rows):
        columns["study_row"] = [row.job.study_row for row in rows]
    columns["name"] = [row.job.name for row in rows]
    for field in fields(TrainConfig):
        values = [getattr(row.job.config, field.name) for row in rows]
        columns |= _setting_columns(field.name, values)
    columns["outcome"] = [row.outcome for row in rows]
    columns["reason"] = [row.reason for row in rows]
    for name in metrics.listed(row.metrics for row in rows):
        columns[name] = [row.metrics.get(name) for row in rows]
    return columns


def _setting_columns(name: str, values: Sequence[object]) -> dict[str, list[Cell]]:
    """The columns of a top-level setting, of which each row has a value; several for a group."""
    # The runs of a sweep share the objects of their groups.
    cells = {id(value): _cells(name, value) for value in {id(v): v for v in values}.values()}
    keys = dict.fromkeys(key for found in cells.values() for key in found)
    return {key: [cells[id(value)].get(key) for value in values] for key in keys}


def _cells(name: str, value: object) -> dict[str, Cell]:
    """The cells of a top-level setting by dotted key."""
    flat = flatten({name: plain(value)})
    return {k: format_setting(v) if isinstance(v, list) else v for k, v in flat.items()}


def note(finished: FinishedSweep) -> str:
    """A note in Markdown: what was swept, the best run, and how the runs ended."""
    plan, rows = finished.plan, finished.rows
    # MLflow's page of a run shows the first lines and folds the rest, so the best run is there.
    is_proposed = plan.is_race or plan.search is not None
    part = f"{len(rows)} of {'at most ' * is_proposed}" if finished.n_left_out else ""
    n_runs = plan.max_jobs if finished.n_left_out else len(plan.jobs)
    data = code(plan.jobs[0].config.data.name)
    first: list[str | Span] = [f"Swept {part}{counted(n_runs, 'run')} on ", data, "."]
    for ranking in finished.rankings[:MAX_LISTED]:
        if (best := ranking.best) is not None:
            of_part = f" with {ranking.part}" if ranking.part else ""
            first += [f" Best run{of_part}: ", strong(best.job.name), " ("]
            first += [code(best.run_id), f"), {why_best(ranking)}."]
    outcomes = [row.outcome for row in rows]
    counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes)]
    if finished.race is not None:
        first.append(f" {finished.race.verdict}")
    items = [(code(key), f": {values}") for key, values in _varying_values(finished).items()]
    blocks = [Paragraph(tuple(first)), Paragraph(f"Outcomes: {', '.join(counts)}.")]
    return markdown.render(Document([*blocks, BulletList(items)] if items else blocks))


def _varying_values(finished: FinishedSweep) -> dict[str, str]:
    """The values of each setting that varies, as text."""
    plan = finished.plan
    return {key: abbreviated(plan.values_of(key)) for key in plan.varying}


def sweep_record(finished: FinishedSweep, started: int, ended: int) -> RunRecord:
    """The record that ends the parent run of a sweep.

    Args:
        finished: The sweep.
        started: When it started, in milliseconds since the Unix epoch.
        ended: When it ended.
    """
    ranking = finished.ranking
    points = [MetricPoint("runs", float(len(finished.rows)), 0)]
    results = results_table(finished)
    files = {
        file_names.RESULTS_CSV: as_csv(results),
        file_names.RESULTS_PARQUET: as_parquet(results),
    }
    if finished.study is not None:
        files |= finished.study.files
    objective, best = ranking.objective, ranking.best
    if best is not None:
        (value,) = values_of([best], objective)
        if math.isfinite(value):
            points.append(MetricPoint(f"best_{objective.name}", value, 0))
    if finished.race is not None:
        points += [
            MetricPoint("combinations_in_race", float(k), n) for n, k in finished.race.history
        ]
        files["race.csv"] = as_csv(race_table(finished.race))
    if finished.plan.rungs:
        files[rungs_table.NAME] = as_csv(rungs_table.rungs_table(finished))
    if finished.trials:
        points += _best_so_far_points(finished)
        files[file_names.TRIALS_CSV] = as_csv(trials_table(finished))
    tags = environment.tags() | {
        "mlflow.note.content": finished.study.note if finished.study else note(finished),
        run_tags.KIND: run_tags.SWEEP_KIND,
        run_tags.BEST_RUN: _best_run(finished),
        run_tags.OBJECTIVE: objective.name,
    }
    if finished.race is not None:
        tags[run_tags.VERDICT] = finished.race.verdict
    values = _varying_values(finished)
    params = shared_settings(finished.plan) | {f"sweep.{key}": values[key] for key in values}
    if finished.plan.extensions:
        # Settings that all runs shared before the sweep was extended are parameters, too.
        params |= values
    return RunRecord("", finished.status, started, ended, params, tags, points, files)


def _best_run(finished: FinishedSweep) -> str:
    """The value of the tag of the best run."""
    if finished.why_several:
        return run_tags.SEVERAL
    return "none" if finished.ranking.best is None else finished.ranking.best.run_id


def trials_table(finished: FinishedSweep) -> Columns:
    """The trials of a search as columns by name: settings, value and best value so far."""
    objective, trials = finished.plan.objective, finished.trials
    settings = [dict(text.split("=", 1) for text in trial.overrides) for trial in trials]
    keys = list(dict.fromkeys(key for one in settings for key in one))
    values = [objective.as_measured(trial.value) for trial in trials]
    best = [objective.as_measured(value) for value in best_so_far(trials)]
    pruned = [trial.pruned_at for trial in trials]
    return {
        "trial": [trial.number for trial in trials],
        **{key: [one.get(key) for one in settings] for key in keys},
        objective.name: values,
        "best so far": best,
        "repeated": [trial.is_repeated for trial in trials],
        **({"pruned at epoch": pruned} if any(pruned) else {}),
    }


def race_table(race: RaceResult) -> Columns:
    """The combinations of a race as columns: seeds, median or mean, evidence."""
    combinations, objective = race.combinations, race.objective
    keys = list(dict.fromkeys(key for one in combinations for key in one.job.combination))
    return {
        **{key: [one.job.combination.get(key) for one in combinations] for key in keys},
        "seeds": [one.n_seeds for one in combinations],
        "state": [race.state(one) for one in combinations],
        f"{objective.name}_{objective.statistic}": [one.center.value for one in combinations],
        f"{objective.name}_low": [one.center.low for one in combinations],
        f"{objective.name}_high": [one.center.high for one in combinations],
        "evidence_that_worse": [one.evidence for one in combinations],
    }


def _best_so_far_points(finished: FinishedSweep) -> list[MetricPoint]:
    """The best value so far by the number of the trial, once there is one."""
    best = best_so_far(finished.trials)
    as_measured = finished.plan.objective.as_measured
    return [
        MetricPoint("best_so_far", as_measured(value), trial)
        for trial, value in enumerate(best)
        if math.isfinite(value)
    ]


def shared_settings(plan: Plan) -> dict[str, str]:
    """The settings that have one value in all jobs, as MLflow parameters."""
    # Jobs with other options of a group have other settings in it.
    other_options = [key.removesuffix("name") for key in plan.varying if key.endswith(".name")]
    settings = flatten(plain(plan.jobs[0].config))
    return {
        key: str(value)
        for key, value in settings.items()
        if key not in plan.varying and not key.startswith(tuple(other_options))
    }
