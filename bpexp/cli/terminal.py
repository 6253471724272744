"""What a run or sweep prints. Colours and bars only where a terminal shows them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bpexp.cli.screen import Screen
from bpexp.data import load
from bpexp.sweeps.executors.dask_cluster import Cluster
from bpexp.sweeps.executors.local import workers
from bpexp.sweeps.plan import Plan, shown
from bpexp.sweeps.results import Row, ranked
from bpexp.sweeps.runner import PRINTED, Finished
from bpexp.sweeps.summary import evaluate_study
from bpexp.tracking.read import FIGURES
from bpexp.tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd


def console() -> Console:
    """Standard output; piped text is plain and never folded."""
    plain = Screen()
    return plain if plain.is_terminal else Screen(width=10_000, no_color=True)


def announce(out: Console, plan: Plan, store: Store, cluster: Cluster | None) -> None:
    """Say what is about to be done, and by whom: this machine's workers or a cluster's."""
    n, config = len(plan.configs), plan.configs[0]
    sizes = "-".join(map(str, _sizes(plan)))
    where = f"experiment {plan.session.tracking.experiment!r} in {store.shown}"
    if plan.study is not None:
        rows, trials, cells = len(plan.study.rows), plan.study.trials, plan.study.n_points
        points = f" at each of {cells} points" if plan.study.grid else ""
        out.print(
            f"Study {plan.study.name}: {rows} row{'s' * (rows > 1)} of {trials} "
            f"trial{'s' * (trials > 1)}{points} on "
            f"{_workers(plan, cluster)}, tracked as {where}", soft_wrap=True
        )  # fmt: skip
    elif n == 1:
        out.print(
            f"1 run of {config.data.name}, layers {sizes}, tracked as {where}", soft_wrap=True
        )
    else:
        parts = [
            f"{key} ({len({shown(v.get(key)) for v in plan.values})} values)"
            for key in plan.varying
        ]
        over = f" over {', '.join(parts)}" if parts else ""
        out.print(
            f"{n} runs{over} on {_workers(plan, cluster)}, tracked as {where}", soft_wrap=True
        )


def _workers(plan: Plan, cluster: Cluster | None) -> str:
    jobs = workers(plan.session.n_jobs) if cluster is None else cluster.size
    whose = "" if cluster is None else f" of {cluster.address}"
    return f"{jobs} worker{'s' * (jobs > 1)}{whose}"


def _sizes(plan: Plan) -> tuple[int, ...]:
    config = plan.configs[0]
    dataset = load(config.data)
    return (dataset.X.shape[1], *config.hidden, dataset.Y.shape[1])


@contextmanager
def progress(out: Console, total: int) -> Iterator[Callable[[Row], None]]:
    """A live bar with runs done, time left and the best loss; nothing when piped."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}"),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=total, best="")
        lowest = np.inf

        def advance(row: Row) -> None:
            nonlocal lowest
            if row.final_loss is not None and row.outcome != "diverged":
                lowest = min(lowest, row.final_loss)
            best = f"best loss {lowest:.4g}" if np.isfinite(lowest) else ""
            bar.update(task, advance=1, best=best)

        yield advance


def report(out: Console, finished: Finished, store: Store) -> None:
    """The predictions of one run, or the ranking of a sweep; what went wrong; what to type next."""
    best = ranked(finished.rows)
    if finished.plan.study is not None:
        study = finished.plan.study
        evaluation = evaluate_study(study, finished)
        out.print(text_table(evaluation.table()))
        for sentence in evaluation.sentences():
            out.print(sentence, soft_wrap=True)
    elif best and finished.parent is None:
        _predictions(out, finished, best[0])
        _figures(out, best[0])
    elif best:
        _ranking(out, finished, best)
        _predictions(out, finished, best[0], f"Predictions of {best[0].name}")
    for outcome in ("failed", "diverged"):
        _unsound(out, [row for row in finished.rows if row.outcome == outcome])
    if finished.interrupted:
        left = sum(r.outcome == "interrupted" for r in finished.rows)
        out.print(f"Interrupted: {len(finished.rows) - left} runs kept, {left} marked KILLED.")
    if finished.parent is None:
        out.print(f"Run {finished.rows[0].run_id}")
    out.print(f"Review: {store.ui_command}", soft_wrap=True)


def _unsound(out: Console, rows: Sequence[Row]) -> None:
    """Ten of them with their reasons; thousands would hide the ranking."""
    for row in rows[:10]:
        out.print(f"{row.outcome}: {row.name}: {row.reason}", soft_wrap=True)
    if len(rows) > 10:
        out.print(f"{rows[0].outcome}: {len(rows) - 10} more (results.csv has them all)")


def _predictions(out: Console, finished: Finished, row: Row, title: str = "") -> None:
    """What the best run predicts, if its data set is small."""
    dataset, predictions = load(row.config.data), finished.predictions
    if predictions is None or dataset.X.size > PRINTED:
        return
    if title:
        # A line, and no title of the table: that would be folded to its width.
        out.print(title, style="bold", soft_wrap=True)
    guessed = [f"predicted {target}" for target in dataset.targets]
    table = Table(box=None, pad_edge=False)
    for column in (*dataset.inputs, *dataset.targets, *guessed):
        table.add_column(column, justify="right")
    for x, y, a in zip(dataset.X, dataset.Y, predictions, strict=True):
        table.add_row(*(f"{v:g}" for v in (*x, *y)), *(f"{v:.8f}" for v in a))
    out.print(table)


def _figures(out: Console, row: Row) -> None:
    figures = [(key, getattr(row, key)) for key in FIGURES]
    text = ", ".join(f"{key} {value:.8g}" for key, value in figures if value is not None)
    out.print(f"{row.outcome}: {text}")


def _ranking(out: Console, finished: Finished, best: list[Row]) -> None:
    figures = [key for key in FIGURES if any(getattr(r, key) is not None for r in best)]
    shown_rows = best[:10]
    columns = {
        "rank": [str(rank) for rank, _ in enumerate(shown_rows, start=1)],
        **{key: [shown(r.values[key]) for r in shown_rows] for key in finished.plan.varying},
        **{key: [_number(getattr(r, key)) for r in shown_rows] for key in figures},
        "outcome": [r.outcome for r in shown_rows],
        "run": [r.run_id[:8] for r in shown_rows],
    }
    ranking = _fitted(out, columns, foldable=finished.plan.varying)
    ranking.title = f"Best {len(shown_rows)} of {len(best)}"
    ranking.title_justify, ranking.title_style = "left", "bold"
    out.print(ranking)


SPARE = ("epochs_run", "test_loss", "accuracy", "status", "test_accuracy", "outcome")
"""Columns that a narrow terminal goes without, the first one first."""
TEXTS = ("run_id", "name", "status", "outcome", "run")


def _fitted(out: Console, columns: Mapping[str, Sequence[str]], foldable: Collection[str]) -> Table:
    """A table of as many columns as the terminal has room for; no number or id is cut."""
    left = dict(columns)
    unlimited = out.options.update(width=10_000)
    for key in (None, *SPARE):
        left.pop(key or "", None)
        table = Table(box=None, pad_edge=False)
        for title in left:
            side: JustifyMethod = "left" if title in TEXTS else "right"
            table.add_column(title, justify=side, overflow="fold", no_wrap=title not in foldable)
        for row in zip(*left.values(), strict=True):
            table.add_row(*row)
        if table.__rich_measure__(out, unlimited).maximum <= out.width:
            break
    return table


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6g}"


def text_table(rows: Sequence[Sequence[str]]) -> Table:
    """A table of text; the first row is the header."""
    header, *body = rows
    out = Table(box=None, pad_edge=False)
    for title in header:
        out.add_column(title, justify="right")
    for row in body:
        out.add_row(*row)
    return out


def frame_table(out: Console, frame: "pd.DataFrame") -> Table:
    """A table of runs: id, name, status, outcome, final figures."""
    keys = ["run_id", "name", "status", "outcome"]
    keys += [c for c in FIGURES if c in frame and frame[c].notna().any()]
    rows = frame.to_dict("records")
    columns = {k: [_number(r[k]) if k in FIGURES else str(r[k]) for r in rows] for k in keys}
    columns["run_id"] = [run_id[:8] for run_id in columns["run_id"]]
    return _fitted(out, columns, foldable=("name",))
