"""The parent run of a finished sweep: its table of results, plot, note, tags and metrics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpexp.config.schema import flatten, plain
from bpexp.render import plots
from bpexp.render.table_files import Cell, Columns, as_csv, as_parquet
from bpexp.runs import environment, metrics, run_tags
from bpexp.sweeps.job import format_setting
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.results import MAX_CURVES, Row, rank
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking.contract import MetricPoint, RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LISTED = 8
"""Maximum number of values of a varying setting that are all listed."""


@dataclass(frozen=True)
class StudyFiles:
    """The note in Markdown and the files, by name, of the parent run of a study."""

    note: str
    files: Mapping[str, bytes] = field(default_factory=dict)


def results_table(finished: FinishedSweep) -> Columns:
    """The results as columns by name, with one entry per job, in order.

    Settings and metrics that a job does not have are None. Metrics that no job has are left out.
    """
    # Built by column: a dictionary per row would take several times the memory of the table.
    columns: dict[str, list[Cell]] = {}
    names = metrics.listed(row.metrics for row in finished.rows)
    for index, row in enumerate(finished.rows):
        for key, value in _cells(row, names).items():
            column = columns.setdefault(key, [])
            column += [None] * (index - len(column))
            column.append(value)
    for column in columns.values():
        column += [None] * (len(finished.rows) - len(column))
    return columns


def _cells(row: Row, metric_names: Sequence[str]) -> dict[str, Cell]:
    job = row.job
    settings = flatten(plain(job.config))
    return {
        "run_id": row.run_id,
        **({"study_row": job.study_row} if job.study_row else {}),
        "name": job.name,
        **{k: format_setting(v) if isinstance(v, list) else v for k, v in settings.items()},
        "outcome": row.outcome,
        "reason": row.reason,
        **{name: row.metrics.get(name) for name in metric_names},
    }


def note(finished: FinishedSweep) -> str:
    """A note in Markdown: what was swept, the best run, and how the runs ended."""
    plan, rows, best = finished.plan, finished.rows, rank(finished.rows)
    # MLflow's page of a run shows the first lines and folds the rest, so the best run is there.
    first = f"Swept {len(plan.jobs)} runs on `{plan.jobs[0].config.data.name}`."
    if best:
        first += (
            f" Lowest final loss: **{best[0].final_loss:.6g}** by run **{best[0].job.name}** "
            f"(`{best[0].run_id}`)."
        )
    outcomes = [row.outcome for row in rows]
    counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes)]
    lines = [first, "", f"Outcomes: {', '.join(counts)}.", ""]
    lines += [f"- `{key}`: {values}" for key, values in _varying_values(finished).items()]
    return "\n".join(lines)


def _varying_values(finished: FinishedSweep) -> dict[str, str]:
    """The values of each setting that varies, as text."""
    jobs = finished.plan.jobs
    return {
        key: _abbreviated(list(dict.fromkeys(j.shown(key) for j in jobs if key in j.varying)))
        for key in finished.plan.varying
    }


def _abbreviated(values: Sequence[str]) -> str:
    if len(values) <= MAX_LISTED:
        return ", ".join(values)
    return f"{', '.join(values[:3])} ... {values[-1]} ({len(values)} values)"


def sweep_record(
    finished: FinishedSweep, started: int, ended: int, study: StudyFiles | None = None
) -> RunRecord:
    """The record that ends the parent run of a sweep.

    Args:
        finished: The sweep.
        started: When it started, in milliseconds since the Unix epoch.
        ended: When it ended.
        study: The note and files of a study.
    """
    plan, best = finished.plan, rank(finished.rows)
    points = [MetricPoint("runs", float(len(finished.rows)), 0)]
    results = results_table(finished)
    files = {"results.csv": as_csv(results), "results.parquet": as_parquet(results)}
    if study is not None:
        files |= study.files
    if best:
        files["summary.png"] = plots.png(plot(plan.varying, best))
        if best[0].final_loss is not None and math.isfinite(best[0].final_loss):
            points.append(MetricPoint("best_final_loss", best[0].final_loss, 0))
    tags = environment.tags() | {
        "mlflow.note.content": study.note if study is not None else note(finished),
        run_tags.KIND: run_tags.SWEEP_KIND,
        run_tags.BEST_RUN: best[0].run_id if best else "none",
    }
    varying = {f"sweep.{key}": values for key, values in _varying_values(finished).items()}
    params = shared_settings(plan) | varying
    return RunRecord("", finished.status, started, ended, params, tags, points, files)


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


def plot(varying: Sequence[str], best: Sequence[Row]) -> "Figure":
    """Plot the loss curves, and a heat map of the final loss if exactly two settings vary.

    Args:
        varying: The keys of the settings that vary.
        best: The rows of ranked runs, the best first.
    """
    heat_map = None
    if len(varying) == 2:
        settings = [[row.job.shown(key) for key in varying] for row in best]
        heat_map = plots.heat_map(varying, settings, [row.final_loss or 0.0 for row in best])
    curves = [(row.job.name, row.curve) for row in best[:MAX_CURVES]]
    return plots.summary(curves, heat_map)
