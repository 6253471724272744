"""Commands that read stored runs select, sort and check what they show."""

import io
import json
import os
import shutil
import sqlite3
from contextlib import chdir, closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

import bpexp
from bpexp.analysis import run_details
from bpexp.cli import ui
from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking import lookup
from bpexp.tracking.archive import open_archive
from bpexp.tracking.memory_reader import MemoryReader
from bpexp.tracking.reading import FINISHED, Query, StoredRun
from bpexp.tracking.store import locate


@pytest.fixture(scope="module")
def original(put_store, tmp_path_factory):
    """A folder with a sweep of four runs."""
    folder = tmp_path_factory.mktemp("original")
    put_store(folder)
    with chdir(folder):
        bpexp.sweep(lr=[0.1, 10.0], seed=range(2), epochs=4, engine="numpy")
    return folder


@pytest.fixture
def archive(original, copy_store, tmp_path, monkeypatch):
    """The sweep in the working directory."""
    monkeypatch.chdir(tmp_path)
    return open_archive(copy_store(original), "bpexp")


@pytest.fixture
def sweep(archive):
    (run,) = [run for run in archive.search() if run.is_sweep]
    return run


@pytest.fixture
def runs(archive):
    return archive.search(FINISHED)


def artifact(run, name):
    return Path("outputs", "artifacts", run.run_id, "artifacts", name)


def rows(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_runs_are_sorted_by_a_metric_or_a_setting(inside, archive):
    listed = ("runs", "--format", "json", "--sort")
    losses = [row["final_loss"] for row in rows(inside(*listed, "final_loss"))]
    assert losses[:4] == sorted(losses[:4])
    # The parent run has no accuracy.
    accuracy = [row["accuracy"] for row in rows(inside(*listed, "accuracy"))]
    assert accuracy[:4] == sorted(accuracy[:4], reverse=True)
    assert accuracy[4] is None
    # As numbers: as text, "10.0" is less than "2".
    learning_rates = [row["lr"] for row in rows(inside(*listed, "lr", "-n", "4"))]
    assert learning_rates == [0.1, 0.1, 10.0, 10.0]
    done = inside("runs", "--sort", "nonsense")
    assert done.returncode == 2
    assert "--sort must be a metric or a setting of these runs, got 'nonsense'." in done.stderr
    for mistyped, meant in (("final_los", "final_loss"), ("learning_rate", "lr")):
        done = inside("runs", "--sort", mistyped)
        assert (done.returncode, done.stderr) == (
            2,
            "bpexp: --sort must be a metric or a setting of these runs, got "
            f"{mistyped!r}; did you mean {meant}?\n",
        )


def test_a_single_run_has_no_runs_to_list(inside, runs):
    done = inside("runs", "--sweep", runs[0].run_id)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--sweep takes a sweep, got {runs[0].label}, which is a single run." in done.stderr


def test_a_run_has_bars_a_user_and_a_source_in_mlflow(archive, runs):
    run = runs[0]
    for name in ("final_loss", "epochs_run", "accuracy"):
        ((point,),) = archive.reader.history([run.run_id], name).values()
        assert point == (0, run.metrics[name])
    points = archive.reader.history([run.run_id], "loss")[run.run_id]
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert run.tags["mlflow.source.name"] == "bpexp"
    assert run.tags["mlflow.user"]


def test_show_and_compare_fold_packages_and_digests(inside, sweep, runs):
    one, other = (run.run_id for run in runs[:2])
    # The uncommitted changes of a checkout may have any words.
    artifact(sweep, "git.diff").unlink(missing_ok=True)
    shown = inside("show", one).stdout
    assert "bpexp.result" not in shown
    assert "packages and 4 digests: --all" in shown
    of_sweep = inside("show", sweep.run_id).stdout
    assert "packages and 1 digest: --all" in of_sweep
    for word in ("bpexp.result", "bpexp.config", "\npackages", "pytest "):
        assert word in inside("show", one, "--all").stdout
    compared = inside("compare", one, other)
    assert "bpexp.result" not in compared.stdout
    assert "Digests and packages that differ: 1 (--all)" in compared.stdout
    assert "bpexp.result" in inside("compare", one, other, "--all").stdout


def test_compare_shows_other_processors_and_no_processes():
    tags = {"bpexp.process": "host 1", "bpexp.sweep.70bda3e6": "linked"}
    runs = [
        StoredRun("1", "a", FINISHED, tags={**tags, "bpexp.processor": "Zen"}),
        StoredRun("2", "a", FINISHED, tags={"bpexp.processor": "Xeon"}),
    ]
    environment = run_details.Environment({}, {}, {}, "")
    details = [run_details.details(run, environment) for run in runs]
    assert run_details.differences(details) == {"bpexp.processor": ["Zen", "Xeon"]}


def test_a_stored_run_is_explained_like_its_settings(inside, sweep, runs):
    (best,) = [run for run in runs if run.run_id == sweep.tags["bpexp.best_run"]]
    settings = [f"{key}={best.params[key]}" for key in ("lr", "seed", "epochs")]
    expected = inside("explain", *settings).stdout
    assert len(expected) > 1000
    for named in (best.run_id, best.run_id[:10], sweep.run_id, "latest"):
        assert inside("explain", named).stdout == expected
    done = inside("explain", best.run_id, "lr=0.1")
    assert done.returncode == 2
    assert "explain takes either one run or settings such as lr=0.1" in done.stderr
    done = inside("explain", "0123456789")
    assert done.returncode == 2
    assert "RUN must be the id, its beginning, or the name of a run" in done.stderr
    done = inside("explain", "lattest")
    assert (done.returncode, done.stderr) == (
        2,
        "bpexp: explain takes a run (the first digits of its id, or latest) or settings such as "
        "lr=0.1, got 'lattest'.\n",
    )
    with closing(sqlite3.connect("outputs/mlflow.db")) as db, db:
        db.execute(
            "UPDATE tags SET value = replace(value, '0.1', '0.2') WHERE key = 'bpexp.config'"
        )
        lr = f"replace(value, '{best.params['lr']}', '0.3')"
        db.execute(f"UPDATE tags SET value = {lr} WHERE key = 'bpexp.config'")
    assert "does not match the run" in inside("explain", best.run_id).stderr


def _one_ulp(run, other):
    with np.load(artifact(run, "weights.npz")) as stored:
        arrays = dict(stored)
    arrays["W1"][0, 0] = np.nextafter(arrays["W1"][0, 0], 9)
    np.savez(artifact(run, "weights.npz"), **arrays)


def _swapped(run, other):
    shutil.rmtree(artifact(run, ""))
    shutil.copytree(artifact(other, ""), artifact(run, ""))


def _another_configuration(run, other):
    file = artifact(run, "config.yaml")
    file.write_text(file.read_text().replace("epochs: 4", "epochs: 5"))


def _truncated(run, other):
    file = artifact(run, "losses.npz")
    file.write_bytes(file.read_bytes()[:-30])


def _empty(run, other):
    artifact(run, "weights.npz").write_bytes(b"")


def _missing(run, other):
    artifact(run, "predictions.csv").unlink()


def _all_missing(run, other):
    shutil.rmtree(artifact(run, ""))


def _sql(statement):
    def change(run, other):
        with closing(sqlite3.connect("outputs/mlflow.db")) as db, db:
            assert db.execute(f"{statement} AND run_uuid = ?", (run.run_id,)).rowcount == 1

    return change


def _one_ulp_of_an_unfinished_run(run, other):
    _one_ulp(run, other)
    _sql("UPDATE runs SET status = 'KILLED' WHERE 1")(run, other)


def _one_ulp_without_digests(run, other):
    _one_ulp(run, other)
    for tag in ("result", "identity"):
        _sql(f"DELETE FROM tags WHERE key = 'bpexp.{tag}'")(run, other)


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (_one_ulp_of_an_unfinished_run, "The status was altered: it is KILLED"),
        (_one_ulp_without_digests, "The run has no result digest"),
        (_one_ulp, "do not match the result digest (weights.npz)"),
        (_swapped, "The losses, predictions and weights are those of lr="),
        (_another_configuration, "config.yaml was altered: it has another value of epochs"),
        (_truncated, "losses.npz of run {} is truncated or damaged"),
        (_empty, "weights.npz of run {} is empty"),
        (_missing, "Run {} has no artifact predictions.csv"),
        (_all_missing, "Run {} has no artifact losses.npz"),
        (_sql("UPDATE latest_metrics SET value = 0.125 WHERE key = 'final_loss'"),
         "The metric final_loss was altered: it is 0.125"),
        (_sql("UPDATE params SET value = '7' WHERE key = 'epochs'"),
         "The parameter epochs was altered: it is '7', but the configuration has '4'"),
        (_sql("UPDATE tags SET value = 'converged' WHERE key = 'bpexp.outcome'"), "result digest"),
        (_sql("DELETE FROM tags WHERE key = 'bpexp.result'"), "The run has no result digest"),
    ],
)  # fmt: skip
def test_an_altered_run_is_neither_explained_nor_predicted_with(inside, runs, alter, said):
    run, other = runs[:2]
    Path("rows.csv").write_text("x1,x2\n0,1\n")
    alter(run, other)
    for command in (["explain", run.run_id], ["predict", run.run_id, "rows.csv"]):
        done = inside(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert said.format(run.run_id[:8]) in done.stderr
        assert f"{run.name} ({run.run_id[:8]}) is altered" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert inside(*[other.run_id if word == run.run_id else word for word in command]).stdout


@pytest.mark.parametrize("name", ["losses.npz", "weights.npz", "predictions.csv"])
def test_a_report_names_a_run_whose_artifacts_were_altered(inside, sweep, runs, name):
    for run in runs:
        file = artifact(run, name)
        if name.endswith(".csv"):
            file.write_bytes(file.read_bytes()[:-2] + b"15\n")
        else:
            with np.load(file) as stored:
                arrays = {key: np.nextafter(stored[key], 9) for key in stored.files}
            np.savez(file, **arrays)
    done = inside("report", sweep.run_id)
    assert done.returncode == 2
    assert "bpexp verify" in done.stderr
    assert any(run.run_id[:8] in done.stderr for run in runs)
    assert not os.path.exists("outputs/reports")


def test_a_report_refuses_an_altered_table_of_results(inside, sweep, runs):
    file = artifact(sweep, "results.parquet")
    table = pd.read_parquet(io.BytesIO(file.read_bytes()))
    table.loc[1, "final_loss"] = 0.0
    table.to_parquet(file)
    done = inside("report", sweep.run_id)
    assert done.returncode == 2
    assert "results.parquet" in done.stderr
    assert "was altered" in done.stderr
    assert inside("resume", sweep.run_id).returncode == 0
    assert inside("report", sweep.run_id).returncode == 0


def test_altered_files_of_a_sweep_are_found(inside, sweep):
    file = artifact(sweep, "results.parquet")
    table = pd.read_parquet(io.BytesIO(file.read_bytes()))
    table.loc[1, "lr"] = 0.5
    table.to_parquet(file)
    for wanted in (sweep.run_id, "--all"):
        done = inside("verify", wanted)
        assert done.returncode == 1
        assert "results.parquet was altered: it does not match its digest" in done.stdout
    assert "results.parquet" in inside("report", sweep.run_id).stderr
    assert inside("resume", sweep.run_id).returncode == 0
    assert inside("verify", sweep.run_id).stdout == "4 of 4 runs match their digests.\n"
    artifact(sweep, "results.csv").unlink()
    assert "has no artifact results.csv; bpexp resume" in inside("verify", sweep.run_id).stdout


@pytest.mark.usefixtures("a_store")
def test_the_files_of_a_sweep_without_tracked_runs_are_verified(inside, tmp_path):
    Path("t.csv").write_text("a,y\n0,1\n1,0\n2,1\n")
    settings = ["data=file", "data.path=t.csv", "data.target=y", "lr=0.1,1", "epochs=4"]
    assert inside("-m", *settings, "tracking.runs=false", "n_jobs=1").returncode == 0
    (sweep,) = open_archive(locate(None, tmp_path, {}), "bpexp").search()
    for wanted in (sweep.run_id, "--all"):
        done = inside("verify", wanted)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
        assert done.stdout.startswith(f"not tracked: {sweep.label}: ")
        assert "cannot be checked" in done.stdout
    refused = inside("reproduce", sweep.run_id)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"bpexp verify {sweep.run_id[:8]} checks its tables" in refused.stderr
    Path("t.csv").write_text("a,y\n0,1\n1,0\n2,0\n")
    done = inside("verify", sweep.run_id)
    assert (done.returncode, done.stdout.startswith("unreadable: ")) == (2, True)
    file = artifact(sweep, "results.csv")
    file.write_bytes(file.read_bytes().replace(b"completed", b"converged"))
    done = inside("verify", sweep.run_id)
    assert done.returncode == 1
    assert "results.csv was altered: it does not match its digest" in done.stdout


def test_a_report_leaves_deleted_runs_out_and_says_so(inside, archive, sweep, runs):
    assert "deleted" not in inside("report", sweep.run_id).stdout
    archive.client.delete_run(runs[0].run_id)
    reported = inside("report", sweep.run_id, "--format", "json")
    assert f"moved to another sweep: {runs[0].label}" in reported.stdout
    assert f"1 run of {len(runs)} was left out" in reported.stdout
    assert f"bpexp resume {sweep.short_id} trains it again" in reported.stdout
    (file,) = Path("outputs", "reports").rglob("report.json")
    assert sum(row["runs"] for row in json.loads(file.read_text())["groups"]) == len(runs) - 1
    for run in runs[1:]:
        archive.client.delete_run(run.run_id)
    refused = inside("report", sweep.run_id)
    assert refused.returncode == 2
    assert "were deleted, or moved to another sweep; bpexp resume" in refused.stderr


def test_a_report_of_runs_without_artifacts_uses_their_metrics(inside, sweep, runs):
    for run in runs:
        shutil.rmtree(artifact(run, ""))
    done = inside("report", sweep.run_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lr=10" in done.stdout


def test_a_report_of_a_sweep_without_a_table_of_results_reads_its_runs(inside, sweep):
    with_table = inside("report", sweep.run_id).stdout
    artifact(sweep, "results.parquet").unlink()
    done = inside("report", sweep.run_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == with_table


def test_a_resumed_sweep_keeps_its_links_and_gets_no_second_run_of_a_job(inside, archive):
    for seeds, reuse in ((range(4), True), (range(2), False)):
        bpexp.sweep(lr=[0.1, 10.0], seed=seeds, epochs=4, engine="numpy", reuse=reuse)
    _, sweep, _ = [run for run in archive.search() if run.is_sweep]

    def children():
        return {run.run_id: run.parent for run in archive.search(Query(sweep=sweep.run_id))}

    before = children()
    assert sum(parent != sweep.run_id for parent in before.values()) == 4
    (lost, *_), linked = (
        [run_id for run_id, parent in before.items() if (parent == sweep.run_id) == is_own]
        for is_own in (True, False)
    )
    Path("outputs", "artifacts", lost, "artifacts", "losses.npz").unlink()
    done = inside("resume", sweep.run_id)
    assert done.returncode == 0, done.stderr
    assert "is trained again: Run" in done.stdout + done.stderr
    after = children()
    assert lost not in after
    assert len(after) == len(before) == 8
    assert set(linked) <= set(after)


def test_the_page_that_opens_shows_the_runs_of_the_newest_sweep(archive, sweep, runs):
    def page(wanted, experiment="bpexp"):
        place = urlsplit(ui._page(archive.reader, experiment, wanted))
        return place.path, parse_qs(place.query)

    path, query = page(None)
    assert path == f"experiments/{archive.experiment_id}/runs"
    assert query["searchFilter"] == [f"tags.`mlflow.parentRunId` = '{sweep.run_id}'"]
    assert query["compareRunsMode"] == ["CHART"]
    # MLflow folds the runs below their sweep if they are sorted by date.
    assert (query["orderByKey"], query["orderByAsc"]) == (["metrics.`final_loss`"], ["true"])
    assert page(sweep.run_id[:9]) == (path, query)
    assert page("all") == (path, {"workflowType": ["machine_learning"]})
    assert page(None, "absent")[0] == "experiments"
    with pytest.raises(ConfigError, match="ui takes a sweep"):
        page(runs[0].run_id)


@pytest.mark.usefixtures("a_store")
def test_reuse_links_the_runs_of_all_generations(inside, tmp_path):
    seeds = ("seeds=auto", "seeds.max=20", "seeds.block=2", "seeds.width=null")
    race = ("-m", "lr=0.1,1", "epochs=4", *seeds)
    first = inside(*race)
    assert first.returncode == 0, first.stderr
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    trained = {run.run_id for run in archive.search(FINISHED)}
    damaged = max(archive.search(FINISHED), key=lambda run: int(run.params["seed"]))
    # Of the third generation or a later one.
    assert int(damaged.params["seed"]) >= 4
    artifact(damaged, "losses.npz").unlink()
    second = inside(*race, "reuse=true")
    assert second.returncode == 0, second.stderr
    new = [run for run in archive.search(FINISHED) if run.run_id not in trained]
    assert [run.name for run in new] == [damaged.name]
    said = second.stdout + second.stderr
    assert f"{damaged.label} is trained again: Run {damaged.run_id[:8]} has no artifact" in said
    sweep = next(run for run in archive.search() if run.is_sweep)
    assert len(archive.search(Query(sweep=sweep.run_id))) == len(trained)
    assert inside("reproduce", sweep.run_id).returncode == 0
    # The same table and answer.
    ranked = [
        done.stdout[done.stdout.index("rank") :].split("Sweep")[0] for done in (first, second)
    ]
    assert ranked[0] == ranked[1]


@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("rows", [6, 6000])
@pytest.mark.parametrize(("old", "new"), [("a,b,y", "b,a,y"), ("u\n", "t\n")])
def test_a_table_whose_columns_or_classes_have_other_names_is_noticed(inside, rows, old, new):
    numbers = np.random.default_rng(0).normal(size=(rows, 2)).tolist()
    lines = [f"{a},{b},{'uv'[a > b]}" for a, b in numbers]
    table = "\n".join(["a,b,y", *lines, ""])
    Path("t.csv").write_text(table)
    Path("new.csv").write_text("a,b\n1,2\n")
    settings = ("data=file", "data.path=t.csv", "data.target=y", "model=classifier", "epochs=2")
    assert inside(*settings).returncode == 0
    commands = [("predict", "latest", "new.csv"), ("verify", "latest"), ("reproduce", "latest"),
                ("export", "latest"), ("explain", "latest")]  # fmt: skip
    for command in commands[:3]:
        assert inside(*command).returncode == 0
    Path("t.csv").write_text(table.replace(old, new))
    for command in commands:
        done = inside(*command)
        assert done.returncode == 2
        assert "have other names than when the run was trained" in done.stdout + done.stderr


OWN_TABLE = ("data=file", "data.path=t.csv", "data.target=y", "epochs=2", "seed=1,2")


def sweep_on(table, inside):
    """Train a sweep on a table of the user's."""
    Path("t.csv").write_text(table)
    assert inside("-m", *OWN_TABLE).returncode == 0


@pytest.mark.usefixtures("a_store")
def test_a_sweep_is_not_continued_on_columns_with_other_names(inside):
    table = "a,b,y\n0,1,0\n1,0,1\n1,1,1\n0,0,0\n"
    sweep_on(table, inside)
    Path("t.csv").write_text(table.replace("a,b,y", "b,a,y"))
    for command in (("resume", "latest"), ("extend", "latest", "seed=3")):
        done = inside(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert "have other names than when this sweep started" in done.stderr
    done = inside("-m", *OWN_TABLE, "reuse=true")
    assert done.returncode == 0
    assert done.stdout.count("is trained again: The columns or classes") == 2
    assert inside("verify", "latest").stdout == "2 of 2 runs match their digests.\n"


@pytest.mark.usefixtures("a_store")
def test_a_report_draws_no_surfaces_over_data_that_have_changed(inside):
    table = "a,b,y\n0,1,1\n1,0,1\n1,1,0\n0,0,0\n"
    sweep_on(table, inside)
    surfaces = []
    for content in (table, table.replace("0,1,1", "5,1,1")):
        Path("t.csv").write_text(content)
        assert inside("report", "latest", "-o", "report", "--format", "md").returncode == 0
        surfaces.append(Path("report/figures/surfaces.png").exists())
        shutil.rmtree("report")
    assert surfaces == [True, False]


def test_latest_is_what_was_worked_on_last():
    """Sweep 1 started before sweep 2, and was resumed after it; the single run is the newest."""

    def run(run_id, started, parent=None, kind=None):
        tags = {"mlflow.parentRunId": parent} if parent else {}
        tags |= {run_tags.KIND: run_tags.SWEEP_KIND} if kind else {}
        return StoredRun(run_id, run_id, "FINISHED", "7", started, tags=tags)

    stored = [run("a1", 1, kind="sweep"), run("a2", 4, "a1"), run("b1", 2, kind="sweep"),
              run("b2", 3, "b1"), run("c", 5)]  # fmt: skip
    found = {}
    for n in (4, 5):
        reader = MemoryReader("bpexp", "7", stored[:n], lambda run_id, metric: [])
        for is_sweep in (False, True):
            latest = lookup.find(reader, "bpexp", "latest", is_sweep=is_sweep)
            found[n, is_sweep] = latest.run.run_id
    assert found == {(4, False): "a1", (4, True): "a1", (5, False): "c", (5, True): "a1"}
