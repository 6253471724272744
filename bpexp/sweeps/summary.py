"""A sweep summed up: ranking, results table, note, and the parent run's record."""

import math
from collections.abc import Sequence

from bpexp.config.schema import flatten, plain
from bpexp.render import plots
from bpexp.render.plot_process import Draw
from bpexp.render.table_files import Cell, Columns, as_csv, as_parquet
from bpexp.runs import environment
from bpexp.studies.definition import Study
from bpexp.studies.maps import grid_maps
from bpexp.studies.measures import StudyRun
from bpexp.studies.verdict import Evaluation, evaluate
from bpexp.sweeps.plan import shown
from bpexp.sweeps.results import DRAWN, Row, ranked
from bpexp.sweeps.runner import Finished
from bpexp.tracking.contract import Metric, RunRecord
from bpexp.tracking.read import FIGURES

STUDY_METRICS = ("final_loss", "test_loss", "test_accuracy")


def table(finished: Finished) -> Columns:
    """One row a run, in the sweep's order: its id, settings, outcome and figures."""
    # Column by column: a dictionary a row would take several times the memory of the table.
    columns: dict[str, list[Cell]] = {}
    for place, row in enumerate(finished.rows):
        for key, value in _entries(finished, row).items():
            column = columns.setdefault(key, [])
            # Not every run has every setting: those of another data set, say.
            column += [None] * (place - len(column))
            column.append(value)
    for column in columns.values():
        column += [None] * (len(finished.rows) - len(column))
    return columns


def _entries(finished: Finished, row: Row) -> dict[str, Cell]:
    return {
        "run_id": row.run_id,
        **_row_name(finished, row),
        "name": row.name,
        **_settings(row),
        "outcome": row.outcome,
        "reason": row.reason,
        **{key: getattr(row, key) for key in FIGURES},
    }


def _row_name(finished: Finished, row: Row) -> dict[str, str]:
    study = finished.plan.study
    return {} if study is None else {"study_row": study.row_of_job(row.index).name}


def _settings(row: Row) -> dict[str, Cell]:
    flat = flatten(plain(row.config))
    return {key: shown(v) if isinstance(v, list) else v for key, v in flat.items()}


def _swept(finished: Finished) -> dict[str, str]:
    """The values of each setting that varies, shortened where they are many."""
    values = finished.plan.values
    return {
        key: _few(list(dict.fromkeys(shown(v.get(key)) for v in values)))
        for key in finished.plan.varying
    }


def note(finished: Finished) -> str:
    """Markdown: what was swept, how the runs ended, which one won."""
    plan, rows = finished.plan, finished.rows
    # The run that won comes first: MLflow's page of a run folds all but the first lines away.
    first, best = f"Swept {len(plan.configs)} runs on `{plan.configs[0].data.name}`.", ranked(rows)
    if best:
        first += (
            f" Lowest final loss: **{best[0].final_loss:.6g}** by run **{best[0].name}** "
            f"(`{best[0].run_id}`)."
        )
    ends = {o: sum(r.outcome == o for r in rows) for o in dict.fromkeys(r.outcome for r in rows)}
    lines = [first, "", "Outcomes: " + ", ".join(f"{n} {o}" for o, n in ends.items()) + ".", ""]
    lines += [f"- `{key}`: {values}" for key, values in _swept(finished).items()]
    return "\n".join(lines)


def _few(values: Sequence[str]) -> str:
    if len(values) <= 8:
        return ", ".join(values)
    return f"{', '.join(values[:3])} ... {values[-1]} ({len(values)} values)"


def evaluate_study(study: Study, finished: Finished) -> Evaluation:
    """Compare the runs of a study's sweep with the published results."""
    runs = {
        row.index: StudyRun(
            row.outcome,
            row.epochs_run,
            {n: v for n in STUDY_METRICS if (v := getattr(row, n)) is not None},
        )
        for row in finished.rows
    }
    return evaluate(study, runs)


def _heat_map(keys: Sequence[str], rows: Sequence[Row]) -> plots.HeatMap:
    """Final losses by the two settings that vary."""
    settings = [[shown(row.values[key]) for key in keys] for row in rows]
    return plots.heat_map(keys, settings, [row.final_loss or 0.0 for row in rows])


def sweep_record(draw: Draw, finished: Finished, started: int, ended: int) -> RunRecord:
    """What the parent run of a sweep holds; its curves are drawn while its tables are made."""
    plan, best = finished.plan, ranked(finished.rows)
    metrics = [Metric("runs", float(len(finished.rows)), 0)]
    drawings = {}
    if best:
        mapped = _heat_map(plan.varying, best) if len(plan.varying) == 2 else None
        curves = [(row.name, row.curve) for row in best[:DRAWN]]
        drawings["summary.png"] = draw(plots.summary, curves, mapped)
        if best[0].final_loss is not None and math.isfinite(best[0].final_loss):
            metrics.append(Metric("best_final_loss", best[0].final_loss, 0))
    results = table(finished)
    files = {"results.csv": as_csv(results), "results.parquet": as_parquet(results)}
    if plan.study is not None:
        evaluation = evaluate_study(plan.study, finished)
        files |= evaluation.files()
        if plan.study.grid:
            maps = grid_maps(plan.study, evaluation.values[0])
            files["study.png"] = draw(plots.study_maps, maps)()
        told = files["study.md"].decode()
    else:
        told = note(finished)
    files |= {name: drawn() for name, drawn in drawings.items()}
    varied = {f"sweep.{key}": values for key, values in _swept(finished).items()}
    tags = environment.tags() | {
        "mlflow.note.content": told,
        "bpexp.kind": "sweep",
        "bpexp.best_run": best[0].run_id if best else "none",
    }
    return RunRecord("", finished.status, started, ended, varied, tags, metrics, files)
