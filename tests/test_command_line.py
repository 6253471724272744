"""The program on the command line: training, sweeps, and the commands on a store."""

import csv
import io
import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from exact_csv import read_csv
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.experimental.callback import Callback
from mlflow import MlflowClient
from psutil import Process
from read_back import client_of, tracked
from servers import postgresql
from sklearn.datasets import load_iris
from sweeping import children, clean_environment, command_of, wait_until

import bpexp as package
from bpexp.config.schema import flatten
from bpexp.errors.command_names import COMMANDS
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.job import format_setting
from bpexp.tracking import output_directory


@pytest.mark.usefixtures("a_store")
def test_a_run_prints_and_tracks_the_default_experiment(new_process, tmp_path):
    done = new_process()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for digits in ("0.06029012", "0.94447222", "0.94436700", "0.05997169"):
        assert digits in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.rstrip().endswith("Review: bpexp ui")
    (run,) = tracked(folder=tmp_path)
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.1"
    assert run.data.params["model.loss"] == "half_squared"
    assert run.data.metrics["epochs_run"] == 10_000
    assert run.data.tags["bpexp.outcome"] == "completed"
    api = client_of(tmp_path)
    history = api.get_metric_history(run.info.run_id, "loss")
    steps = [point.step for point in history]
    assert len(steps) == 100
    assert (steps[0], steps[-1]) == (1, 10_000)
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "xor"
    folder = api.download_artifacts(run.info.run_id, "")
    losses = np.load(f"{folder}/losses.npz", allow_pickle=False)["loss"]
    assert [point.value for point in history] == [losses[step - 1] for step in steps]
    weights = np.load(f"{folder}/weights.npz", allow_pickle=False)
    shapes = {name: weights[name].shape for name in weights.files}
    assert shapes == {"W1": (2, 2), "b1": (1, 2), "W2": (2, 1), "b2": (1, 1)}
    table = read_csv(f"{folder}/predictions.csv")
    assert list(table.columns) == [
        "row", "split", "x1", "x2", "y1", "predicted label", "predicted y1",
    ]  # fmt: skip


@pytest.mark.usefixtures("a_store")
def test_tracked_metrics_and_predictions_follow_from_the_tracked_weights(inside, tmp_path):
    """Computes all of them again from weights.npz and scikit-learn's copy of the data."""
    done = inside("data=iris", "model=classifier", "hidden=[8,4]", "lr=0.01", "stop.loss=0.4")
    assert done.returncode == 0, done.stderr
    (run,) = tracked(folder=tmp_path)
    # The epoch that meets the criterion makes no update, so the predictions use these weights.
    assert run.data.tags["bpexp.outcome"] == "converged"
    folder = client_of(tmp_path).download_artifacts(run.info.run_id, "")
    weights = np.load(f"{folder}/weights.npz", allow_pickle=False)
    assert {name: weights[name].shape for name in weights.files} == {
        "W1": (4, 8), "b1": (1, 8), "W2": (8, 4), "b2": (1, 4), "W3": (4, 3), "b3": (1, 3),
    }  # fmt: skip

    def predict(A):
        for layer in "12":
            A = np.tanh(A @ weights[f"W{layer}"] + weights[f"b{layer}"])
        exponentials = np.exp(A @ weights["W3"] + weights["b3"])
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    inputs, classes = load_iris(return_X_y=True)
    table = read_csv(f"{folder}/predictions.csv")
    training, test = (
        table.loc[table["split"] == split, "row"].to_numpy() - 1 for split in ("training", "test")
    )
    scaled = (inputs - inputs[training].mean(axis=0)) / inputs[training].std(axis=0)
    rows = table["row"] - 1
    np.testing.assert_array_equal(table.iloc[:, 2:6], inputs[rows])
    assert table["class"].tolist() == load_iris().target_names[classes[rows]].tolist()
    outputs = table.iloc[:, -3:].to_numpy()
    np.testing.assert_allclose(outputs, predict(scaled[rows]), rtol=1e-9, atol=1e-12)
    for rows, loss, accuracy in (
        (training, "final_loss", "accuracy"), (test, "test_loss", "test_accuracy")
    ):  # fmt: skip
        given = predict(scaled[rows])
        entropy = -np.log(given[range(len(rows)), classes[rows]]).mean()
        assert run.data.metrics[loss] == pytest.approx(entropy, rel=1e-9)
        assert run.data.metrics[accuracy] == (given.argmax(axis=1) == classes[rows]).mean()
    kept = flatten(yaml.safe_load(Path(folder, "config.yaml").read_text()))
    tracked_values = {key: run.data.params[key] for key in kept}
    assert tracked_values == {key: str(value) for key, value in kept.items()}


@pytest.mark.usefixtures("a_store")
def test_a_sweep_is_a_parent_run_with_child_runs(bpexp, tmp_path):
    done = bpexp("-m", "lr=0.1,1", "seed=range(0,3)", "epochs=200", "n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "6 runs over lr (2 values), seed (3 values) on 2 workers" in done.stdout
    runs = tracked(folder=tmp_path)
    (parent,) = [r for r in runs if r.data.tags.get("bpexp.kind") == "sweep"]
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 6
    assert {r.info.run_name for r in children} == {
        f"lr={lr} seed={s}" for s in range(3) for lr in ("0.1", "1")
    }
    assert {r.data.tags["bpexp.sweep"] for r in children} == {parent.info.run_id}
    best = min(children, key=lambda r: r.data.metrics["final_loss"])
    assert best.info.run_name in parent.data.tags["mlflow.note.content"]
    folder = client_of(tmp_path).download_artifacts(parent.info.run_id, "")
    # A checkout with uncommitted changes also has a git.diff.
    assert set(os.listdir(folder)) - {"git.diff"} == {
        "results.csv", "results.parquet", "summary.png", "config.yaml", "plan.jsonl.gz",
        "environment.json",
    }  # fmt: skip
    height, width, _ = plt.imread(f"{folder}/summary.png").shape
    assert 400 < height < width < 4000
    table = pd.read_parquet(f"{folder}/results.parquet")
    by_id = {r.info.run_id: r.data.metrics["final_loss"] for r in children}
    assert dict(zip(table.run_id, table.final_loss, strict=True)) == by_id


def test_the_first_sweep_of_the_readme_prints_what_the_readme_shows(inside, tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    shown = readme.partition("```text\n")[2].partition("```")[0].splitlines()
    done = inside("-m", "lr=0.01,0.1,1", "n_jobs=2").stdout.splitlines()

    def comparable(lines):
        """The lines without run ids and without the folder of the store."""
        return [re.sub(r"[0-9a-f]{8}$|/+\S*/outputs", "", line.rstrip()) for line in lines]

    assert comparable(done) == comparable(shown)
    assert "Preparing" not in inside("epochs=5").stdout


@pytest.mark.usefixtures("a_store")
def test_a_sweep_on_few_samples_prints_the_predictions_of_its_best_run(inside, tmp_path):
    many = inside("-m", "seed=1,2", "data=iris", "model=classifier", "epochs=20")
    assert "\n1 combination by median final loss\n" in many.stdout
    assert "Predictions" not in many.stdout
    done = inside("-m", "seed=range(0,40)", "epochs=20")
    lines = done.stdout.splitlines()
    (parent,) = [
        r
        for r in tracked(folder=tmp_path)
        if r.info.run_name == "sweep seed, xor, gradient_descent, 40 runs"
    ]
    best = parent.data.tags["bpexp.best_run"]
    # MLflow copies single artifacts to a temporary folder that stays; it returns this one as it is.
    folder = client_of(tmp_path).download_artifacts(best, "")
    table = read_csv(f"{folder}/predictions.csv")
    predicted = [f"{value:.8f}" for value in table["predicted y1"]]
    at = lines.index(f"Predictions of {client_of(tmp_path).get_run(best).info.run_name}")
    assert [line.split()[-1] for line in lines[at + 2 : at + 6]] == predicted


@pytest.mark.parametrize("arguments", [["backend=serial"], [], ["-m", "seed=1,2"]])
def test_training_ends_when_the_store_cannot_be_opened(bpexp, arguments):
    typed = [*arguments, "epochs=1000000000", "stop.loss=0"]
    done = bpexp(*typed, "tracking.uri=http://127.0.0.1:9", BPEXP_RETRY_SECONDS="0")
    assert done.returncode == 1
    assert "Cannot open the store" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "value"), [(["lr=-1"], "-1"), (["-m", "lr=0.1,abc", "seed=1,2"], "'abc'")]
)
def test_a_process_with_bad_input_prints_one_sentence(bpexp, tmp_path, arguments, value):
    done = bpexp(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"bpexp: lr must be a finite number above 0, got {value}.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lrr=1"], "lrr is not a key of the configuration; did you mean lr?"),
        (["hidden=0"], "hidden must be a width of at least 1 or a list of such widths, got 0."),
        (["epochs=1.5"], "epochs must be a whole number in 1..1000000000, got 1.5."),
        (["data=iri"], "data must be one of"),
        (["data=file"], "data.path and data.target must be given; type data.path=PATH"),
        (["data=file", "data.path=missing.csv", "data.target=y"], "file, got 'missing.csv'"),
        (["-m", "seed=1,2", "data=xor,iris", "model.output=softmax"], "at least two outputs"),
        (["-m", "lr=1,0.1,0"], "got 0."),
        (["rnus"], "rnus is not a command; did you mean bpexp runs?"),
        (["show", "abc"], "No runs in ./outputs yet. Start with: bpexp lr=0.1"),
        (["tracking.uri=nowhere"], "tracking.uri must be a database"),
    ],
)  # fmt: skip
def test_bad_input_prints_one_sentence_and_writes_nothing(inside, tmp_path, arguments, said):
    done = inside(*arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_three_classes_do_not_fit_a_single_sigmoid(inside, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,1\n3,2\n")
    done = inside("data=file", "data.path=t.csv", "data.target=y")
    assert done.returncode == 1
    assert "single sigmoid output, got 3 classes: 0, 1, 2" in done.stderr
    assert os.listdir(tmp_path) == ["t.csv"]


@pytest.mark.usefixtures("a_store")
def test_a_range_is_counted_in_decimals(inside):
    done = inside("-m", "lr=range(0.1,0.5,0.1)", "epochs=5")
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader(io.StringIO(inside("runs", "--format", "csv").stdout))
    assert sorted(row["lr"] for row in rows if row["outcome"] == "completed") == [
        "0.1",
        "0.2",
        "0.3",
        "0.4",
    ]


@pytest.mark.usefixtures("a_store")
def test_hydras_basic_launcher_runs_the_jobs(inside):
    # Hydra knows the number of a job only inside the job.
    override = "tracking.experiment=job ${hydra:job.num}"
    done = inside("-m", "seed=1,2", "epochs=5", "hydra/launcher=basic", override)
    assert done.returncode == 0, done.stderr
    for experiment, seed in (("job 0", "1"), ("job 1", "2")):
        assert list(package.load_runs(experiment=experiment).seed.astype(str)) == [seed]


class Returned(Callback):
    """A callback of Hydra that collects what the jobs return, as sweepers such as Optuna's do."""

    values: ClassVar[list] = []

    def on_job_end(self, config, job_return, **_):
        self.values.append(job_return.return_value)


@pytest.mark.usefixtures("a_store")
def test_a_job_of_another_launcher_returns_its_final_loss(inside):
    Returned.values.clear()
    callback = "+hydra.callbacks.returned._target_=test_command_line.Returned"
    jobs = ("model=regressor", "lr=0.1,1e300", "epochs=5")
    done = inside("-m", *jobs, "hydra/launcher=basic", callback)
    assert done.returncode == 0, done.stderr
    losses = dict(package.load_runs()[["lr", "final_loss"]].itertuples(index=False))
    # The second diverges, possibly with a loss that is no number, which Optuna would refuse.
    assert Returned.values == [losses[0.1], math.inf]


@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("launcher", ["bpexp", pytest.param("basic", marks=pytest.mark.slow)])
def test_the_number_of_a_job_is_known_in_every_launcher(inside, launcher):
    jobs = ("lr=0.1,0.2", "seed=${hydra:job.num}", "epochs=5")
    done = inside("-m", *jobs, f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stderr
    runs = package.load_runs().sort_values("lr")
    assert [(float(r.lr), int(r.seed)) for r in runs.itertuples()] == [(0.1, 0), (0.2, 1)]


@pytest.mark.usefixtures("a_store")
def test_an_infinite_loss_is_infinite_everywhere(inside):
    done = inside("-m", "seed=1,2", "model=regressor", "lr=1e300", "epochs=5")
    assert "diverged" in done.stdout
    table = pd.read_csv(io.StringIO(inside("runs", "--format", "csv").stdout))
    assert table["final_loss"].dropna().tolist() == [np.inf, np.inf]
    (folder,) = Path("outputs", "sweeps").iterdir()
    assert pd.read_csv(folder / "results.csv")["final_loss"].tolist() == [np.inf, np.inf]
    assert package.load_runs()["final_loss"].tolist() == [np.inf, np.inf]


def test_a_sweep_with_the_same_run_twice_is_refused(inside):
    done = inside("-m", "hidden=2,[2]", "epochs=5")
    assert (done.returncode, done.stdout) == (1, "")
    assert all(text in done.stderr for text in ("be different", "from hidden=2 and hidden=[2];"))
    assert not Path("outputs").exists()


# The weights between the two wide layers would need 298 GB.
TOO_WIDE = ["-m", "hidden=2,[200000,200000],3", "epochs=5"]


@pytest.mark.slow
@pytest.mark.usefixtures("a_store", "eight_gigabytes")
def test_a_failed_job_of_hydras_basic_launcher_does_not_affect_the_others(inside, tmp_path):
    done = inside(*TOO_WIDE, "hydra/launcher=basic")
    by_hidden = {r.data.params["hidden"]: r for r in tracked(folder=tmp_path)}
    assert {key: run.info.status for key, run in by_hidden.items()} == {
        "[2]": "FINISHED", "[200000, 200000]": "FAILED", "[3]": "FINISHED",
    }  # fmt: skip
    failed = by_hidden["[200000, 200000]"]
    why = f"{failed.info.run_name}: {failed.data.tags['bpexp.reason']}"
    assert f"failed: {why}" in done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, f"bpexp: {why}.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "typed", "said"),
    [
        ("joblib", "lr=0.1,-1", "lr must be a finite number above 0, got -1."),
        ("basic", "lr=0.1,-1", "lr must be a finite number above 0, got -1."),
        ("basic", "model=sigmoid,classifier", "model.output=softmax needs at least two outputs"),
        ("basic", "tracking.points=1,-1", "tracking.points must be a whole number of at least 0"),
        ("basic", "export=best", "export=best needs the launcher bpexp"),
        ("basic", "+study=fahlman_1988", "+study is a sweep: add -m and use the launcher bpexp"),
    ],
)
def test_every_launcher_checks_all_jobs_before_the_first(inside, tmp_path, launcher, typed, said):
    done = inside("-m", typed, "epochs=5", f"hydra/launcher={launcher}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"bpexp: {said}")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.usefixtures("a_store")
def test_every_setting_is_tracked_as_a_parameter(inside, tmp_path, sweep):
    overrides = ["data=parity", "optimizer=adam", "epochs=5", "n_jobs=2", "tracking.points=7"]
    composed = yaml.safe_load(inside("--cfg", "job", *overrides).stdout)
    assert inside(*sweep, *overrides).returncode == 0
    run = next(r for r in tracked(folder=tmp_path) if r.data.tags.get("bpexp.kind") != "sweep")
    given = {key: format_setting(value) for key, value in flatten(composed).items()}
    # A width is tracked as a list. Searches, races, budgets, previews and names are of the sweep.
    given |= {"hidden": "2"}
    of_sweep = ("search.", "seeds.", "budget.", "dry_run", "tracking.name")
    given = {key: value for key, value in given.items() if not key.startswith(of_sweep)}
    params = {key: yaml.safe_load(text) for key, text in run.data.params.items()}
    params = {key: None if value == "None" else value for key, value in params.items()}
    assert {key: format_setting(value) for key, value in params.items()} == given
    (columns, *_) = csv.reader(io.StringIO(inside("runs", "--format", "csv").stdout))
    assert "optimizer.beta1" in columns
    assert not [name for name in columns if name.startswith(("n_jobs", "tracking.", "backend."))]
    assert "n_jobs" in inside("show", run.info.run_id).stdout


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        pytest.param(["hydra.run.dir=elsewhere"], 1, id="run"),
        pytest.param(["-m", "seed=1,2", "hydra.sweep.dir=elsewhere"], 3, id="sweep"),
        pytest.param(
            ["-m", "seed=1,2", "hydra.sweep.dir=elsewhere", "hydra/launcher=basic"],
            2,
            id="basic",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.usefixtures("a_store")
def test_hydras_folders_do_not_move_the_store_or_the_data(inside, tmp_path, arguments, runs):
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,1\n")
    table = ["data=file", "data.path=t.csv", "data.target=y"]
    done = inside(*arguments, *table, "epochs=5", "hydra.job.chdir=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("Review: bpexp ui")
    assert [r.info.status for r in tracked(folder=tmp_path)] == ["FINISHED"] * runs
    assert {r.data.params.get("data.path", "t.csv") for r in tracked(folder=tmp_path)} == {"t.csv"}
    assert [p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("mlflow.db")] == ["outputs"]


@pytest.mark.usefixtures("a_store")
def test_results_are_written_to_the_folder_of_the_sweep(inside, tmp_path):
    done = inside("-m", "lr=choice(0.1,0.5)", "epochs=5", "hydra.sweep.dir=somewhere")
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "somewhere") == ["results.csv"]
    table = read_csv(tmp_path / "somewhere" / "results.csv")
    children = [r for r in tracked(folder=tmp_path) if r.data.tags.get("bpexp.kind") != "sweep"]
    assert {r.info.run_id: float(r.data.params["lr"]) for r in children} == dict(
        zip(table.run_id, table.lr, strict=True)
    )
    assert list(table.lr) == [0.1, 0.5]


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_hydras_joblib_launcher_runs_the_jobs(bpexp, tmp_path):
    done = bpexp("-m", "hydra/launcher=joblib", "lr=0.1,0.5", "epochs=50")
    assert done.returncode == 0, done.stderr
    runs = tracked(folder=tmp_path)
    assert [r.info.status for r in runs] == ["FINISHED"] * 2
    assert {r.data.params["lr"] for r in runs} == {"0.1", "0.5"}


@pytest.mark.parametrize(
    ("there", "wanted"), [([], "outputs/reports/x"), (["sweeps"], "outputs"), (["mine"], "outputs")]
)
def test_gitignore_is_written_only_to_an_outputs_folder_that_bpexp_made(tmp_path, there, wanted):
    for name in there:
        (tmp_path / "outputs" / name).mkdir(parents=True)
    output_directory.create(tmp_path / wanted)
    assert (tmp_path / wanted).is_dir()
    # Hydra creates outputs/sweeps before there is a store.
    ours = [] if there == ["mine"] else [(tmp_path / "outputs" / ".gitignore", "*\n")]
    assert [(file, file.read_text()) for file in tmp_path.rglob(".gitignore")] == ours


NAN = (
    "data.path must hold finite numbers, got nan in column 'a', row {} of t.csv; "
    "add data.missing=drop"
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,0\n2,1\n", "data.target must name columns of t.csv (a, b), got 'y'."),
        ("a,y\n1,0\n,1\n", NAN.format(2)),
        ("a,y\nnan,0\n2,1\n", NAN.format(1)),
    ],
)
def test_a_table_without_its_target_or_with_gaps_is_refused(inside, tmp_path, content, said):
    (tmp_path / "t.csv").write_text(content)
    done = inside("data=file", "data.path=t.csv", "data.target=y")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"bpexp: {said}")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["t.csv"]


def test_cfg_prints_the_configuration_and_trains_nothing(inside, tmp_path):
    done = inside("--cfg", "job", "lr=0.7")
    assert done.returncode == 0
    assert "\nlr: 0.7\n" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_lists_commands_and_settings(inside):
    done = inside("--help")
    assert done.returncode == 0
    for word in ("compare RUN RUN", "lr=0.1", "breast_cancer", "bpexp -m"):
        assert word in done.stdout


def test_help_shows_the_settings_of_the_selected_option(inside):
    done = inside("optimizer=adam", "--help")
    assert done.returncode == 0
    assert "optimizer.beta1=0.9" in done.stdout
    done = inside("optimizer=adm", "-h")
    assert done.returncode == 1
    assert done.stderr.startswith("bpexp: optimizer must be one of adam, ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_fits_80_columns(inside, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    done = inside(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: bpexp {command} ")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_version_is_that_of_bpexp(inside):
    done = inside("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"bpexp {version('bpexp')} (Hydra {version('hydra-core')})\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "words"),
    [
        (">&-", ""),
        ("2>&- <&-", "epochs: 3"),
        (">/dev/full", "bpexp: The output, or a file, cannot be read or written: No space left"),
        ("rmdir", "bpexp: The working directory was deleted; change to another"),
    ],
)
def test_closed_streams_and_a_deleted_folder_are_no_fault_of_the_program(tmp_path, streams, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    script = f'"$0" -m bpexp --cfg job epochs=3 {streams}'
    if streams == "rmdir":
        script = 'rmdir "$PWD"; "$0" -m bpexp epochs=3'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=folder, env=clean_environment(),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == (not words.startswith("bpexp"))
    assert words in done.stdout or words in done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--info"], ["runs", "--format", "csv"], ["-m", "lr=0.1,1", "epochs=5"],
        *(pytest.param(rarer, marks=pytest.mark.slow)
          for rarer in (["--version"], ["--cfg", "job"], ["runs", "--help"], ["explain"])),
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.usefixtures("a_store")
def test_a_broken_pipe_prints_no_error(warm, tmp_path, arguments):
    reader, pipe = os.pipe()
    os.close(reader)
    program = warm.start(tmp_path, *arguments, environment=clean_environment(), stdout=pipe)
    os.close(pipe)
    assert program.communicate() == (None, "")
    assert program.returncode in (0, 141)
    # A sweep continues without a reader.
    wanted = ["FINISHED"] * 3 if "-m" in arguments else []
    assert [r.info.status for r in tracked(folder=tmp_path)] == wanted


@pytest.mark.usefixtures("a_store")
def test_commands_read_the_store(inside):
    assert inside("-m", "lr=0.1,1", "epochs=20").returncode == 0
    runs = json.loads(inside("runs", "--format", "json", "--filter", "params.lr = '1.0'").stdout)
    assert [run["name"] for run in runs] == ["lr=1"]
    shown = inside("show", runs[0]["run_id"][:10]).stdout
    assert re.search(r"lr +1\.0", shown)
    assert "weights.npz" in shown
    compared = inside("compare", "lr=0.1", "lr=1").stdout
    assert re.search(r"^lr +0\.1 +1\.0", compared, re.M)
    assert "epochs " not in compared
    bad = inside("runs", "--filter", "nonsense")
    assert bad.returncode == 2
    assert "--filter must be an MLflow filter" in bad.stderr


@pytest.mark.usefixtures("a_store")
def test_a_sweep_ends_with_its_id_and_the_commands_to_type_next(inside):
    done = inside("-m", "lr=0.1,1", "epochs=5")
    sweep, report, review = done.stdout.splitlines()[-3:]
    (runs,) = {r["sweep"] for r in json.loads(inside("runs", "--format", "json").stdout)} - {""}
    assert sweep == f"Sweep {runs[:8]}"
    assert report == f"Report: bpexp report {runs[:8]}"
    assert review == "Review: bpexp ui"


@pytest.mark.usefixtures("a_store")
def test_latest_is_the_newest_sweep_or_single_run(inside):
    def names(*arguments):
        return [run["name"] for run in json.loads(inside("runs", *arguments).stdout)]

    missing = inside("report", "latest")
    assert missing.returncode == 2
    assert missing.stderr == "bpexp: The experiment 'bpexp' has no sweep yet.\n"
    assert inside("-m", "lr=0.1,1", "epochs=5").returncode == 0
    assert inside("show", "latest").stdout.startswith("sweep lr, xor, gradient_descent, 2 runs  ")
    assert inside("seed=7", "epochs=6").returncode == 0
    assert inside("show", "latest").stdout.startswith("xor lr=0.1 hidden=2 seed=7  ")
    # Runs that start in the same millisecond are in the order of their ids, which are random.
    assert sorted(names("--format", "json", "--sweep", "latest")) == ["lr=0.1", "lr=1"]
    assert sorted(package.load_runs("latest")["name"]) == ["lr=0.1", "lr=1"]


@pytest.mark.slow
def test_the_first_run_in_a_folder_says_that_it_prepares_a_store(inside):
    first, second = inside("epochs=5"), inside("epochs=5")
    assert first.stdout.splitlines()[1] == "Preparing a new store (a few seconds) ..."
    assert "Preparing" not in second.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_the_review_command_names_a_store_that_is_not_the_default(inside, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = inside("seed=1", "epochs=5", "tracking.uri=sqlite:///../outputs/mlflow.db")
    assert done.stdout.splitlines()[-1] == f"Review: bpexp ui --uri '{uri}'"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert inside("seed=2", "epochs=5").returncode == 0
    names = [run["name"] for run in json.loads(inside("runs", "--format", "json").stdout)]
    assert [name.split()[-1] for name in names] == ["seed=2", "seed=1"]
    assert os.listdir(elsewhere) == []


@pytest.mark.usefixtures("a_store")
def test_python_sweeps_return_a_table_and_runs_are_read_back(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = package.sweep(lr=[0.1, 1], seed=range(2), epochs=5, hidden=[[3, 2]])
    assert list(zip(table.lr, table.seed, table.hidden, strict=True)) == [
        (0.1, 0, "[3,2]"), (0.1, 1, "[3,2]"), (1.0, 0, "[3,2]"), (1.0, 1, "[3,2]"),
    ]  # fmt: skip
    alone = package.train(lr=1, seed=1, epochs=5, hidden=[3, 2])
    assert alone.final_loss == table.final_loss[3]
    runs = package.load_runs(filter="params.lr = '1.0'").set_index("run_id")
    assert set(runs.index) == set(table.run_id[2:])
    assert runs.final_loss[table.run_id[3]] == alone.final_loss
    with pytest.raises(ConfigError, match=r"^lr must be a finite number above 0, got -1\.$"):
        package.sweep(lr=[1, -1], epochs=5)
    assert len(tracked(folder=tmp_path)) == 5
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("a_store", "eight_gigabytes")
def test_a_failed_run_is_named_and_does_not_affect_the_others(inside, tmp_path):
    done = inside(*TOO_WIDE, "n_jobs=2")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (reported,) = [line for line in done.stdout.splitlines() if line.startswith("failed: ")]
    runs = tracked(folder=tmp_path)
    (failed,) = [r for r in runs if r.data.tags.get("bpexp.outcome") == "failed"]
    assert failed.info.run_name.startswith("hidden=[200000,200000]")
    assert reported == f"failed: {failed.info.run_name}: {failed.data.tags['bpexp.reason']}"
    # The failed run, and the sweep that it belongs to.
    assert sorted(r.info.status for r in runs) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    assert failed.info.status == "FAILED"


TWO_SWEEPS = [["-m", f"seed={seeds}", "epochs=5", "n_jobs=2"] for seeds in ("1,2", "3,4")]


def run_together(warm, folder, commands):
    """Start all commands before any of them ends, and check that each succeeds."""
    together = [warm.start(folder, *one, environment=clean_environment()) for one in commands]
    written = [process.communicate() for process in together]
    for process, (out, err) in zip(together, written, strict=True):
        assert process.returncode == 0, err
        # On a slow machine, one that waits for another one says so.
        assert err == "" or (err.startswith("Waiting") and err.count("\n") == 1)
        assert "1 combination by median final loss" in out


@pytest.mark.slow
def test_two_processes_can_create_an_sqlite_store_at_the_same_time(warm, tmp_path):
    run_together(warm, tmp_path, TWO_SWEEPS)
    assert [r.info.status for r in tracked(folder=tmp_path)] == ["FINISHED"] * 6
    assert (tmp_path / "outputs" / ".gitignore").read_text() == "*\n"


@pytest.mark.slow
def test_two_processes_can_create_the_tables_of_postgresql_at_the_same_time(warm, tmp_path):
    with postgresql() as server:
        uri = f"tracking.uri={server.uri}"
        run_together(warm, tmp_path, [[*one, uri] for one in TWO_SWEEPS])
        client = MlflowClient(server.uri)
        experiment = client.get_experiment_by_name("bpexp").experiment_id
        runs = client.search_runs([experiment])
        assert [r.info.status for r in runs] == ["FINISHED"] * 6


@pytest.mark.usefixtures("a_store")
def test_logs_are_printed_only_if_verbose(bpexp):
    loud = bpexp("epochs=5", "hydra.verbose=true")
    assert loud.returncode == 0
    assert "[hydra._internal.hydra][DEBUG]" in loud.stderr
    assert "[DEBUG]" not in loud.stdout
    # test_a_run_prints_and_tracks_the_default_experiment checks that there is none without it.


@pytest.mark.usefixtures("a_store")
def test_divergence_is_reported_but_is_no_failure(inside, tmp_path):
    done = inside("model=regressor", "lr=1e200", "epochs=50")
    assert done.returncode == 0, done.stderr
    (run,) = tracked(folder=tmp_path)
    assert run.data.tags["bpexp.outcome"] == "diverged"
    assert done.stdout.splitlines()[1:3] == [
        f"diverged: {run.info.run_name}: not finite at epoch 2",
        f"Run {run.info.run_id}",
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_only_ten_diverged_runs_are_listed(inside):
    done = inside("-m", "model=regressor", "lr=1e-3,1e200", "seed=range(0,12)", "epochs=20")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("diverged: lr=1e+200 seed=") for line in lines) == 10
    assert "diverged: 2 more (results.csv has them all)" in lines
    assert "Best 2 of 2 combinations by median final loss" in [line.strip() for line in lines]


@pytest.fixture
def launch(warm, a_store, tmp_path):
    """Starts the program in a session like a terminal's; kills it at the end of the test."""
    with ExitStack() as cleanup:

        def begin(*arguments):
            process = warm.start(tmp_path, *arguments, environment=clean_environment())
            cleanup.callback(process.kill)
            return process

        yield begin


def test_ctrl_c_keeps_finished_runs_and_marks_the_others_as_killed(launch, tmp_path):
    process = launch("-m", "seed=1,2,3", "epochs=20,400000000", "n_jobs=2")
    database = f"file:{tmp_path}/outputs/mlflow.db?mode=ro"

    def one_is_finished():
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database, uri=True)) as db:
            return db.execute("select count(*) from runs where status='FINISHED'").fetchone()[0]

    wait_until(one_is_finished, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    statuses = [r.info.status for r in tracked(folder=tmp_path)]
    assert "RUNNING" not in statuses
    assert statuses.count("KILLED") + statuses.count("FINISHED") == 7
    assert statuses.count("FINISHED") >= 1
    assert "Interrupted" in out


def test_workers_block_ctrl_c(launch, tmp_path):
    process = launch("-m", "seed=1,2", "epochs=4000000", "engine=numpy", "n_jobs=2")

    def workers():
        return [child for child in children(process.pid) if "popen_loky" in command_of(child)]

    wait_until(lambda: len(workers()) == 2, process)
    # The program handles the signal; each worker would print a traceback.
    for worker in workers():
        blocked = re.search(r"^SigBlk:\s+(\w+)", Path(f"/proc/{worker}/status").read_text(), re.M)
        assert int(blocked[1], 16) & 1 << (signal.SIGINT - 1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "Interrupted: 0 runs kept, 2 marked KILLED." in out.splitlines()
    (sweep,) = re.findall(r"^Sweep (\w{8})$", out, re.M)
    assert f"Resume: bpexp resume {sweep}" in out.splitlines()


def test_ctrl_c_marks_a_single_run(launch, tmp_path):
    process = launch("epochs=400000000")
    # By then it trains: starting takes less than half of this.
    wait_until(lambda: Process(process.pid).cpu_times().user > 1.5, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "Interrupted: 0 runs kept, 1 marked KILLED." in out.splitlines()
    (run,) = tracked(folder=tmp_path)
    assert (run.info.status, run.data.tags["bpexp.outcome"]) == ("KILLED", "interrupted")


def test_a_program_that_a_test_waits_for_in_vain_is_killed_and_leaves_nothing_open(launch):
    process = launch("epochs=400000000")
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.01)
    assert process.returncode == -signal.SIGKILL
    assert process.stdout.closed
    assert process.stderr.closed


@pytest.mark.slow
def test_a_terminal_without_utf_8_shows_other_characters_as_codes(new_process):
    done = new_process("explain", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u03b7" in done.stdout


@pytest.mark.parametrize("arguments", [["lr=0.1"], ["-m", "lr=0.1,1"]], ids=["run", "sweep"])
def test_hydra_composes_the_configuration_once(inside, monkeypatch, arguments):
    original, composed = ConfigLoaderImpl.load_configuration, []

    def counted(loader, config_name, overrides, *others, **options):
        composed.append(overrides)
        return original(loader, config_name, overrides, *others, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    assert inside(*arguments, "--dry-run").returncode == 0
    assert len(composed) == 1


@pytest.mark.parametrize("argument", ["hydra.mode=MULTIRUN", "+experiment=swept"])
def test_a_setting_or_a_file_of_the_user_makes_a_sweep_without_m(inside, tmp_path, argument):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra: {mode: MULTIRUN}\n"
    (tmp_path / "conf" / "experiment" / "swept.yaml").write_text(text)
    done = inside(argument, "lr=0.1,1", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 runs over lr (2 values)")
