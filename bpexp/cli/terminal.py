"""Prints the plan, progress and results of a run or sweep to the terminal.

Colors and progress bars appear only where standard output is a terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from bpexp.cli.progress import ProgressBar
from bpexp.cli.ranking import ranking_table, ranking_title
from bpexp.cli.screen import console
from bpexp.config.replicates import is_replicate_key
from bpexp.data import Dataset
from bpexp.data.file_settings import FileConfig
from bpexp.render import text
from bpexp.render.wording import counted
from bpexp.runs import file_names, variation
from bpexp.runs.objective import Objective
from bpexp.runs.result import NoResult, Outcome
from bpexp.studies.definition import Study, parse
from bpexp.sweeps.data_notes import notes
from bpexp.sweeps.job import Job, by_combination
from bpexp.sweeps.plan import Plan, PlannedSearch
from bpexp.sweeps.row import Row, metric_names
from bpexp.sweeps.runner import FinishedSweep, StudyResults
from bpexp.tracking.ids import short
from bpexp.tracking.store import Store
from bpexp.typing import Array

MAX_LISTED = 10
"""Maximum number of failed and of diverged runs that are printed."""
MAX_PARTS = 5
"""Maximum number of rankings that are printed, of runs that are not ranked together."""


class TerminalReporter:
    """The ``bpexp.reporter.Reporter`` of the command line.

    Args:
        out: The console to print to; standard output by default.
    """

    def __init__(self, out: Console | None = None) -> None:
        self.out = out or console()
        self._bar: ProgressBar | None = None

    def announce(self, plan: Plan, store: Store, where: str) -> None:
        """Print the number of runs, what varies, the workers, and where runs are tracked."""
        tracked = f"tracked as experiment {plan.runtime.tracking.experiment!r} in {store.shown}"
        if plan.study is not None:
            self.say(f"Study {_study(parse(plan.study))} on {where}, {tracked}")
        elif plan.search is not None:
            self.say(f"{_search(plan, plan.search)} on {where}, {tracked}")
        elif plan.is_race:
            self.say(f"{_race(plan)} on {where}, {tracked}")
        elif len(plan.jobs) == 1:
            self.say(f"1 run of {plan.jobs[0].config.data.name}, layers {_layers(plan)}, {tracked}")
        else:
            over = _over(plan, plan.varying)
            self.say(f"{len(plan.jobs)} runs{over} on {where}, {tracked}")
        tasks = [
            _default_task(data, dataset)
            for data, dataset in plan.datasets.items()
            if isinstance(data, FileConfig) and data.task is None
        ]
        # Several splits of a file have the same task.
        for sentence in dict.fromkeys([*tasks, *notes(plan)]):
            self.say(sentence)

    @contextmanager
    def progress(self, total: int, objective: Objective | None) -> Iterator[Callable[[Row], None]]:
        """Show a bar with finished runs, time left and the best value; nothing in a pipe."""
        with ProgressBar(self.out, total, objective) as bar:
            self._bar = bar
            yield bar.on_result

    def on_epochs(self, jobs: Sequence[Job], losses: Array) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.on_epochs(jobs, losses)

    def finished(self, result: FinishedSweep, store: Store) -> None:
        """Print the results, the runs that went wrong, and the commands to type next."""
        best = result.ranking.best
        if result.study is not None:
            self._study_results(result.study)
        elif best and result.is_single_run:
            self._predictions(result, best)
            self._metrics(best)
        else:
            ranked = [ranking for ranking in result.rankings if ranking.best is not None]
            for ranking in ranked[:MAX_PARTS]:
                self._title(ranking_title(ranking))
                table = ranking_table(self.out, ranking, result.plan.varying, result.race)
                self.out.print(table)
            if repeated := sum(ranking.n_repeated for ranking in ranked):
                self.say(variation.about_repeated(repeated))
            if result.race is not None:
                self.say(result.race.verdict)
            if result.why_several:
                self.say(result.why_several)
            if best:
                self._predictions(result, best, f"Predictions of {best.job.name}")
        for outcome in (NoResult.FAILED, Outcome.DIVERGED):
            self._reasons([row for row in result.rows if row.outcome == outcome])
        if result.interrupted:
            killed = sum(row.outcome == NoResult.INTERRUPTED for row in result.rows)
            kept = len(result.rows) - killed
            self.say(f"Interrupted: {counted(kept, 'run')} kept, {killed} marked KILLED.")
        if result.n_left_out:
            self.say(_left_out(result))
        if result.parent is None:
            self.say(f"Run {result.rows[0].run_id}")
        else:
            self._next_commands(result, result.parent, store)
        self.say(f"Review: {store.ui_command}")

    def say(self, sentence: str) -> None:
        """Print a sentence on one line, however long it is."""
        self.out.print(sentence, soft_wrap=True)

    def _title(self, title: str) -> None:
        """Print the title of a table, which rich would wrap at the table's width."""
        self.out.print(title, style="bold", soft_wrap=True)

    def _next_commands(self, result: FinishedSweep, parent: str, store: Store) -> None:
        """Print the id of a sweep, and the commands that complete it and report on it."""
        self.say(f"Sweep {short(parent)}")
        if result.status != "FINISHED" or result.n_left_out:
            command = store.resume_command(parent, result.plan.runtime.tracking.experiment)
            self.say(f"Resume: {command}")
        elif n_pruned := sum(row.outcome == Outcome.PRUNED for row in result.rows):
            command = store.resume_command(parent, result.plan.runtime.tracking.experiment)
            which = "the pruned run to its end"
            if n_pruned > 1:
                which = f"the {n_pruned} pruned runs to their ends"
            self.say(f"Train {which}: {command} --pruned")
        if result.plan.study is not None:
            # Its report writes the page of the study, also if its rows are not ranked together.
            self.say(f"Report: {store.report_command(parent)}")
            return
        for ranking in [one for one in result.rankings if one.runs][:MAX_PARTS]:
            only = f" --only {ranking.part}" if ranking.part else ""
            self.say(f"Report: {store.report_command(parent)}{only}")

    def _study_results(self, study: StudyResults) -> None:
        self.out.print(text.table(study.table))
        for sentence in study.sentences:
            self.say(sentence)

    def _reasons(self, rows: Sequence[Row]) -> None:
        """Print the reasons of failures; only some, because thousands would hide the ranking."""
        for row in rows[:MAX_LISTED]:
            self.say(f"{row.outcome}: {row.job.name}: {row.reason}")
        if len(rows) > MAX_LISTED:
            rest = len(rows) - MAX_LISTED
            self.say(f"{rows[0].outcome}: {rest} more ({file_names.RESULTS_CSV} has them all)")

    def _predictions(self, result: FinishedSweep, row: Row, title: str = "") -> None:
        """Print the predictions of the best run if its data set is small."""
        dataset, predictions = row.job.dataset, result.predictions
        if predictions is None:
            return
        if title:
            self._title(title)
        predicted = [f"predicted {target}" for target in dataset.targets]
        table = Table(box=None, pad_edge=False)
        for column in (*dataset.inputs, *dataset.targets, *predicted):
            table.add_column(column, justify="right")
        inputs = dataset.in_user_units(dataset.X)
        for x, y, a in zip(inputs, dataset.Y, predictions, strict=True):
            table.add_row(*(f"{v:g}" for v in (*x, *y)), *(f"{v:.8f}" for v in a))
        self.out.print(table)

    def _metrics(self, row: Row) -> None:
        values = ", ".join(f"{name} {row.metrics[name]:.8g}" for name in metric_names([row]))
        self.out.print(f"{row.outcome}: {values}")


def _search(plan: Plan, search: PlannedSearch) -> str:
    settings, runs = plan.runtime.search, search.n_replicates
    each = f" of {runs} runs" if runs > 1 else ""
    return (
        f"Search by {settings.name} over {', '.join(search.descriptions)}: "
        f"{counted(settings.trials, 'trial')}{each}, {settings.generation} at a time"
    )


def _race(plan: Plan) -> str:
    seeds = plan.runtime.seeds
    n_combinations = len(by_combination(plan.jobs))
    what = f"Race of {n_combinations} combinations" if n_combinations > 1 else "1 combination"
    over = _over(plan, [key for key in plan.varying if not is_replicate_key(key)])
    block = counted(min(seeds.block, seeds.max), "seed")
    return f"{what}{over}: {block} at a time, at most {seeds.max},"


def _over(plan: Plan, keys: Sequence[str]) -> str:
    """The settings that vary, with their numbers of values; "" if there are none."""
    parts = ", ".join(f"{key} ({len(plan.values_of(key))} values)" for key in keys)
    return f" over {parts}" if parts else ""


def _left_out(result: FinishedSweep) -> str:
    """What a sweep whose budget is spent has not trained, as a sentence."""
    plan, spent = result.plan, "The budget is spent"
    if plan.is_race or plan.search is not None:
        return f"{spent}: {len(result.rows)} of at most {plan.max_jobs} runs are trained."
    are = "is" if result.n_left_out == 1 else "are"
    return f"{spent}: {result.n_left_out} of {len(plan.jobs)} runs {are} left out."


def _study(study: Study) -> str:
    rows, trials = counted(len(study.rows), "row"), counted(study.trials, "trial")
    points = f" at each of {study.n_points} points" if study.grid else ""
    return f"{study.name}: {rows} of {trials}{points}"


def _default_task(data: FileConfig, dataset: Dataset) -> str:
    """The task that the types of the target columns decide, as a line."""
    targets = ", ".join(data.target)
    if dataset.is_one_hot:
        task = f"classification of {targets} into {len(dataset.targets)} classes"
    elif dataset.is_classification:
        task = f"classification of {targets} by two numbers"
    else:
        task = f"regression of {targets}"
    return f"Task: {task}, by the values of the file; data.task changes it"


def _layers(plan: Plan) -> str:
    """The layer widths of the first run, such as 2-4-1."""
    config, dataset = plan.jobs[0].config, plan.jobs[0].dataset
    return "-".join(map(str, (dataset.X.shape[1], *config.hidden, dataset.Y.shape[1])))
