"""Tables, progress bars and plots of a sweep, in terminals of any width and in pipes."""

import io
import math
import os
import pty
import re
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Timer

import numpy as np
import pandas as pd
import pytest
from sweeping import clean_environment

from bpexp.cli import progress
from bpexp.cli.ranking import ranking_table
from bpexp.cli.screen import Screen
from bpexp.cli.tables import frame_table
from bpexp.cli.terminal import TerminalReporter
from bpexp.config.compose import compose_settings
from bpexp.render import sweep_plot
from bpexp.runs.objective import objectives
from bpexp.runs.result import Outcome
from bpexp.sweeps import plan, ranking, summary_plot
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.results import SweepResults
from bpexp.sweeps.row import Row
from bpexp.training.batching import load_engine
from bpexp.training.loop import train_batch

RUNS = pd.DataFrame(
    {
        "run_id": [f"{i:08x}" + "0" * 24 for i in range(3)],
        "name": ["seed=0 lr=0.1 hidden=[8,4] model.init=glorot"] * 3,
        "status": ["FINISHED"] * 3, "outcome": ["completed"] * 3,
        "final_loss": [0.000137428] * 3, "epochs_run": [10_000.0] * 3, "accuracy": [0.990476] * 3,
        "test_loss": [0.0766208] * 3, "test_accuracy": [0.977778] * 3,
    }
)  # fmt: skip


def test_the_plot_of_a_sweep_has_loss_curves_and_a_heat_map_of_two_settings():
    composed = [
        {**compose_settings({}), "lr": lr, "hidden": hidden, "epochs": 3}
        for lr in (0.1, 1)
        for hidden in (2, 4)
    ]
    made = plan.make_plan(composed)
    curves = [((1, 3), np.array([4.0, loss])) for loss in (0.25, 0.5, 1.0, 2.0)]
    rows = [
        Row(job, "completed", metrics={"final_loss": curve[1][-1]}, curve=curve)
        for job, curve in zip(made.jobs, curves, strict=True)
    ]
    named = [sweep_plot.NamedCurve(row.job.name, *row.curve) for row in rows]
    drawn, mapped, _ = summary_plot.plot(ranking.rank(rows, made.objective)).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawn.lines}
    assert lines == {row.job.name: [[1, 4], [3, row.metrics["final_loss"]]] for row in rows}
    assert (mapped.get_ylabel(), mapped.get_xlabel()) == made.varying == ("lr", "hidden")
    assert mapped.get_title() == "Final loss"
    assert mapped.images[0].get_array().tolist() == [[0.25, 0.5], [1, 2]]
    assert drawn.get_ylabel() == "training loss per sample"
    # The frame of the best cell: lr=0.1 hidden=2.
    assert {patch.get_xy() for patch in mapped.patches} == {(-0.47, -0.47)}
    (alone,) = sweep_plot.summary(named, None).axes
    assert len(alone.lines) == len(alone.get_legend().get_texts()) == 4
    # The curves of many runs are one line collection without a legend, the worst run below.
    (many,) = sweep_plot.summary(named * 4, None).axes
    assert many.get_legend() is None
    lines = [line.tolist() for line in many.collections[0].get_segments()]
    assert lines == [[[1, 4], [3, row.metrics["final_loss"]]] for row in rows * 4][::-1]
    low, high = many.get_ylim()
    assert low < 0.25 < 4 < high


def test_the_plot_of_a_sweep_has_the_validation_loss_where_it_decides():
    settings = {"data": "iris", "data__validation_fraction": 0.2, "model": "classifier"}
    composed = [
        compose_settings({**settings, "lr": lr, "epochs": 7, "stop__validation_interval": 2})
        for lr in (0.01, 0.1)
    ]
    made = plan.make_plan(composed)
    results = SweepResults(made.objective)
    trained = train_batch(made.configs, load_engine("numpy"), made.jobs[0].dataset)
    found = [JobResult(made.jobs[index], result) for index, result in trained]
    ranked = ranking.rank(results.add(found), made.objective)
    (axes,) = summary_plot.plot(ranked).axes
    assert axes.get_ylabel() == "validation loss per sample"
    curves = {line.get_label(): line.get_xydata() for line in axes.lines}
    for job, result, _ in found:
        epochs, losses = result.validation
        assert curves[job.name].tolist() == np.column_stack([epochs, losses]).tolist()
    # Of another metric, the title says what orders the curves.
    by_accuracy = replace(ranked, objective=objectives()["accuracy"])
    (axes,) = summary_plot.plot(by_accuracy).axes
    assert axes.get_title() == "Training loss, from best (dark) to worst (light) by accuracy"


def test_a_later_run_that_is_better_than_a_diverged_one_has_its_predictions_kept():
    made = plan.make_plan([compose_settings({"seed": seed, "epochs": 5}) for seed in (0, 1)])
    results = SweepResults(made.objective)
    for index, result in train_batch(made.configs, load_engine("numpy"), made.jobs[0].dataset):
        if index == 0:
            lost = {**result.metrics, "final_loss": math.nan}
            result = replace(
                result, outcome=Outcome.DIVERGED, losses=np.full(5, np.nan), metrics=lost
            )
        (row,) = results.add([JobResult(made.jobs[index], result)])
    assert results.predictions(row).tolist() == result.predictions.tolist()
    # The losses of the diverged run do not stay in memory.
    assert [len(results.rows[index].curve[1]) for index in (0, 1)] == [0, 5]


def test_a_diverged_run_counts_as_the_worst_value_where_higher_is_better(capsys):
    jobs = plan.make_plan([compose_settings({"seed": seed}) for seed in range(12)]).jobs
    finished = {"final_loss": 0.5, "r2": 0.25, "epochs_run": 5.0}
    rows = [Row(job, "completed", metrics=finished) for job in jobs[4:]]
    rows += [Row(job, "diverged", metrics={"final_loss": math.nan}) for job in jobs[:4]]
    out = Screen(width=200)
    out.print(ranking_table(out, ranking.rank(rows, objectives()["r2"]), []))
    assert "-\u221e to 0.25" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 100, 120, 10_000])
def test_tables_cut_no_id_and_no_number(width, capsys):
    out = Screen(width=width)
    out.print(frame_table(out, RUNS))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "\u2026" not in "".join(lines)
    assert sum("0.000137428" in line for line in lines) == 3
    assert [line[:8] for line in lines[1:] if line[:1] == "0"] == [f"{i:08x}" for i in range(3)]
    if width == 10_000:
        assert lines[0].split() == list(RUNS.columns)


def test_the_progress_bar_shows_finished_runs_time_left_and_the_best_loss():
    now = 0
    out = Screen(
        file=io.StringIO(), force_terminal=True, width=80, record=True,
        get_time=lambda: float(now),
    )  # fmt: skip
    row = Row(Job(0, "", None, None), "completed", metrics={"final_loss": 0.125})
    with TerminalReporter(out).progress(100, objectives()["final_loss"]) as advance:
        # One run per second. The losses of diverged and failed runs do not count.
        for one in [row] * 38 + [
            replace(row, outcome="diverged", metrics={"final_loss": 0.0}),
            replace(row, outcome="failed", metrics={}),
        ]:
            now += 1
            advance(one)
    assert re.findall(r"40/100 (\S+) best final loss (\S+)", out.export_text())[-1] == (
        "0:01:00",
        "0.125",
    )


def test_the_progress_bar_of_a_run_shows_its_epochs_and_its_loss(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)
    now = 0
    out = Screen(
        file=io.StringIO(), force_terminal=True, width=80, record=True,
        get_time=lambda: float(now),
    )  # fmt: skip
    (job,) = plan.make_plan([compose_settings({"epochs": 1000})]).jobs
    reporter = TerminalReporter(out)
    with reporter.progress(1, objectives()["final_loss"]):
        for step in range(1, 5):
            now += 1
            reporter.on_epochs([job], np.full((100, 1), 1.0 / step))
            out.print()
    assert re.findall(r"400/1000 (\S+) epochs, loss (\S+)", out.export_text())[-1] == (
        "0:00:06",
        "0.25",
    )


def test_the_progress_bar_of_a_sweep_counts_unfinished_runs_by_their_epochs(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)
    out = Screen(file=io.StringIO(), force_terminal=True, width=80, record=True)
    jobs = plan.make_plan([compose_settings({"epochs": 100, "seed": s}) for s in range(4)]).jobs
    reporter = TerminalReporter(out)
    with reporter.progress(4, objectives()["final_loss"]) as on_result:
        reporter.on_epochs(jobs, np.ones((50, 4)))
        out.print()
        on_result(Row(jobs[0], "completed", metrics={"final_loss": 0.5}))
        reporter.on_epochs(jobs[1:], np.ones((40, 3)))
        out.print()
    shown = re.findall(r"(\d)/4", out.export_text())
    assert shown[-1] == "3"


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_a_sweep_in_a_terminal_shows_a_progress_bar_and_complete_ids(warm, tmp_path):
    terminal = {"COLUMNS": "80", "LINES": "40", "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    process = warm.start(
        tmp_path, "-m", "seed=1,2", "lr=0.1,1", "data=parity", "model.init=he,glorot",
        "data.test_fraction=0.3", "epochs=5", environment=clean_environment() | terminal,
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    output, deadline = b"", Timer(120, partial(os.kill, process.pid, signal.SIGKILL))
    deadline.start()
    # Reading fails when the program has closed its side of the terminal.
    with suppress(OSError):
        while part := os.read(ours, 65536):
            output += part
    deadline.cancel()
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = output.decode()
    assert "8/8" in text
    assert "best final loss" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "\u2026" not in plain
    ranked = plain[plain.index("Best 4 of 4 combinations by median final loss") :].splitlines()[2:6]
    assert [int(line.split()[0]) for line in ranked] == list(range(1, 5))
    assert all(re.search(r" [0-9a-f]{8}$", line) for line in ranked)
