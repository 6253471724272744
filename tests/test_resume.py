"""Resuming sweeps, reusing stored runs, and what a sweep stores at its start."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from read_back import client_of, tracked

import bpexp
from bpexp.cli import commands
from bpexp.data.file_settings import FileConfig
from bpexp.fields.checks import ConfigError
from bpexp.runs import identity, run_tags
from bpexp.sweeps import plan_file
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.grid_plan import plan_grid
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.resume import recompose
from bpexp.tracking import database, durable, process
from bpexp.tracking.bulk import BulkStagedRuns
from bpexp.tracking.client import ClientStagedRuns
from bpexp.tracking.process import ProcessState
from bpexp.tracking.retry import TrackingError


@pytest.fixture(autouse=True)
def _here(a_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    """The number of runs that each call of the executor trained."""
    counts, original = [], LocalExecutor.map

    def counted(executor, batches):
        counts.append(sum(len(batch.jobs) for batch in batches))
        return original(executor, batches)

    monkeypatch.setattr(LocalExecutor, "map", counted)
    return counts


def sweeps():
    """Parents, the newest first."""
    return tracked("tags.`bpexp.kind` = 'sweep'")


def resume(wanted, *more):
    with pytest.raises(SystemExit) as ended:
        commands.main(["resume", wanted, *more])
    return ended.value.code


def results(parent):
    return pd.read_csv(client_of().download_artifacts(parent, "results.csv")).drop(columns="run_id")


def mark_as_killed(parent, lost):
    """Change a finished sweep in the store as if its process had been killed."""
    api = client_of()
    children = tracked(f"tags.`mlflow.parentRunId` = '{parent}'")
    for run in children[:lost]:
        api.delete_run(run.info.run_id)
    dead = process.current().rpartition(" ")[0] + " 1"
    api.set_tag(parent, run_tags.PROCESS, dead)
    api.update_run(parent, status="RUNNING")
    return dead


def test_resume_trains_only_the_missing_runs(trained):
    before = bpexp.sweep(seed=range(6), lr=[0.1, 1], epochs=20)
    (parent,) = sweeps()
    table = results(parent.info.run_id)
    mark_as_killed(parent.info.run_id, lost=5)
    assert resume(parent.info.run_id) == 0
    assert trained == [12, 5]
    pd.testing.assert_frame_equal(results(parent.info.run_id), table)
    (again,) = sweeps()
    assert again.info.status == "FINISHED"
    assert again.data.tags["mlflow.note.content"].startswith("Swept 12 runs on `xor`.")
    children = tracked(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len({run.data.tags["bpexp.identity"] for run in children}) == len(before) == 12
    assert resume(parent.info.run_id) == 0
    assert trained == [12, 5]


def test_resume_takes_the_name_of_a_backend(inside):
    bpexp.sweep(seed=[1, 2], epochs=2)
    mark_as_killed(sweeps()[0].info.run_id, lost=1)
    done = inside("resume", "latest", "--backend", "seriel")
    assert done.returncode == 2
    assert "one of local, serial, dask, or the address of a Dask scheduler" in done.stderr
    assert done.stderr.endswith("got 'seriel'; type --backend=serial.\n")
    done = inside("resume", "latest", "--backend", "serial")
    assert (done.returncode, done.stderr) == (0, "")


def printed_predictions(done):
    return re.search(r"^Predictions of .*?(?=^Sweep )", done.stdout, re.M | re.S)[0]


@pytest.mark.slow
def test_a_resumed_sweep_prints_the_same_predictions_and_keeps_its_tracking_uri(inside, tmp_path):
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    done = inside("-m", "seed=range(0,4)", "epochs=20", f"tracking.uri={uri}")
    predictions = printed_predictions(done)
    assert predictions.startswith("Predictions of seed=")
    (parent,) = sweeps()
    best = parent.data.tags["bpexp.best_run"]
    others = [run.info.run_id for run in tracked("params.seed LIKE '%'")]
    for run_id in {*others} - {best}:
        client_of().delete_run(run_id)
    done = inside("resume", parent.info.run_id)
    assert done.returncode == 0, done.stderr
    assert printed_predictions(done) == predictions
    children = tracked(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert [run.data.params["tracking.uri"] for run in children] == [uri] * 4
    # The predictions of a reused run are printed, too.
    done = inside("-m", "seed=range(0,4)", "epochs=20", f"tracking.uri={uri}", "reuse=true")
    assert printed_predictions(done) == predictions
    predictions_file = tmp_path / "outputs" / "artifacts" / best / "artifacts" / "predictions.csv"
    predictions_file.write_text("x1\n1\n")
    done = inside("-m", "seed=range(0,4)", "epochs=20", f"tracking.uri={uri}", "reuse=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"({best[:8]}) is trained again: predictions.csv" in done.stdout
    assert printed_predictions(done) == predictions


@pytest.mark.parametrize(
    ("uri", "stored"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret&sslmode=disable",
         "postgresql://host/db?user=me&password=***&sslmode=disable"),
    ],
)  # fmt: skip
def test_a_plan_file_contains_no_password(uri, stored):
    overrides = [f"tracking.uri='{uri}'"]
    content = plan_file.to_bytes(make_plan(recompose(overrides), overrides))
    assert b"secret" not in gzip.decompress(content)
    assert plan_file.from_bytes(content).runtime.tracking.uri == stored


def test_reading_a_plan_file_fails_after_a_change_of_the_arithmetic(monkeypatch):
    content = plan_file.to_bytes(make_plan(recompose([]), []))
    monkeypatch.setattr(plan_file, "VERSION", 99)
    monkeypatch.setattr(identity, "ARITHMETIC_VERSION", 99)
    with pytest.raises(ConfigError, match=r"^The data and arithmetic have changed"):
        plan_file.from_bytes(content)


def test_resume_trains_a_failed_run_again_and_replaces_it(trained):
    bpexp.sweep(seed=range(3), epochs=20)
    (parent,) = sweeps()
    (run,) = tracked("params.seed = '1'")
    client_of().set_terminated(run.info.run_id, "FAILED")
    assert resume(parent.info.run_name) == 0
    assert trained == [3, 1]
    (new,) = tracked("params.seed = '1'")
    assert (new.info.status, new.data.tags["bpexp.result"]) == (
        "FINISHED", run.data.tags["bpexp.result"],
    )  # fmt: skip
    assert new.info.run_id != run.info.run_id


def test_a_larger_sweep_with_reuse_trains_only_the_new_runs(trained, capsys):
    first = bpexp.sweep(seed=range(4), epochs=20)
    second = bpexp.sweep(seed=range(6), epochs=20, lr=[0.1], reuse=True)
    assert trained == [4, 2]
    assert list(second.run_id[:4]) == list(first.run_id)
    parent = sweeps()[0].info.run_id
    assert len(bpexp.load_runs(parent)) == 6
    key = f"tags.`bpexp.sweep.{parent}` = 'linked'"
    assert {r.info.run_id for r in tracked(key)} == set(first.run_id)
    with pytest.raises(SystemExit) as ended:
        commands.main(["reproduce", parent])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "6 of 6 runs identical to the bit.\n"
    third = bpexp.sweep(seed=range(6), epochs=20, reuse=True)
    # ``reproduce`` trains all six.
    assert trained == [4, 2, 6]
    assert set(third.run_id) == set(second.run_id)
    columns = ["final_loss", "epochs_run", "accuracy", "outcome"]
    pd.testing.assert_frame_equal(third[columns], second[columns])


def artifacts(run_id):
    return Path("outputs/artifacts", run_id, "artifacts")


def damage(run_ids):
    """Damage artifacts: one is empty, one missing, one truncated, and two are altered."""
    first, second, third, fourth, fifth = run_ids
    (artifacts(first) / "losses.npz").write_bytes(b"")
    shutil.rmtree(artifacts(second))
    file = artifacts(third) / "weights.npz"
    file.write_bytes(file.read_bytes()[:-1])
    shutil.copy(artifacts(fourth) / "losses.npz", artifacts(fifth) / "losses.npz")
    (artifacts(fourth) / "predictions.csv").unlink()


def test_resume_trains_runs_with_damaged_artifacts_again(trained, capsys):
    before = bpexp.sweep(seed=range(6), epochs=20)
    (parent,) = sweeps()
    damage(before.run_id[:5])
    capsys.readouterr()
    assert resume(parent.info.run_id) == 0
    assert trained == [6, 5]
    first, second = before.run_id[:2]
    printed = capsys.readouterr().out
    assert printed.count(" is trained again: ") == 5
    assert (
        f"seed=0 ({first[:8]}) is trained again: losses.npz of run {first[:8]} is empty.\n"
        in printed
    )
    assert f"Run {second[:8]} has no artifact losses.npz.\n" in printed
    children = tracked(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(run.info.run_name for run in children) == [f"seed={n}" for n in range(6)]
    assert before.run_id[5] in {run.info.run_id for run in children}
    assert not set(before.run_id[:5]) & {run.info.run_id for run in children}
    assert client_of().get_run(parent.info.run_id).info.status == "FINISHED"
    with pytest.raises(SystemExit) as ended:
        commands.main(["verify", parent.info.run_id])
    assert ended.value.code == 0
    assert resume(parent.info.run_id) == 0
    assert trained == [6, 5]


@pytest.mark.slow
def test_runs_that_replace_others_are_stored_after_the_store_failed(trained, monkeypatch, tmp_path):
    def refuse(staged):
        raise TrackingError("The store is full")

    bpexp.sweep(lr=[0.01, 0.1, 1], search__halving=3, search__min_epochs=2, epochs=6, n_jobs=1)
    (parent,) = sweeps()
    (whole,) = tracked("tags.`bpexp.outcome` = 'completed'")
    (artifacts(whole.info.run_id) / "losses.npz").write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(BulkStagedRuns, "commit", refuse)
        assert resume(parent.info.run_id, "--pruned") == 2
    assert list(tmp_path.glob("outputs/spool/*/*.npz"))
    n_trained = sum(trained)
    # Otherwise the sweep would still be running, in the process of the test.
    mark_as_killed(parent.info.run_id, lost=0)
    assert resume(parent.info.run_id) == 0
    assert sum(trained) == n_trained
    runs = tracked(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert [run.data.metrics["epochs_run"] for run in runs] == [6] * 3
    assert not (tmp_path / "outputs/spool").exists()


@pytest.mark.slow
def test_resume_trains_runs_without_their_other_artifacts_again(trained):
    settings = {"data": "iris", "data__validation_fraction": 0.2, "epochs": 9}
    before = bpexp.sweep(seed=range(6), **settings)
    (parent,) = sweeps()
    one, two, three, four, five, _ = before.run_id
    shutil.copy(artifacts(four) / "config.yaml", artifacts(five) / "config.yaml")
    (artifacts(one) / "validation.npz").unlink()
    (artifacts(two) / "validation.npz").write_bytes(b"")
    (artifacts(three) / "config.yaml").unlink()
    (artifacts(four) / "config.yaml").write_bytes(b"")
    assert resume(parent.info.run_id) == 0
    assert trained == [6, 5]
    with pytest.raises(SystemExit) as ended:
        commands.main(["verify", parent.info.run_id])
    assert ended.value.code == 0


def test_reuse_does_not_link_runs_with_damaged_artifacts(trained):
    before = bpexp.sweep(seed=range(6), epochs=20)
    damage(before.run_id[:5])
    after = bpexp.sweep(seed=range(6), epochs=20, reuse=True)
    assert trained == [6, 5]
    assert list(after.run_id == before.run_id) == [False] * 5 + [True]
    assert list(after.final_loss) == list(before.final_loss)
    link = f"tags.`bpexp.sweep.{sweeps()[0].info.run_id}` = 'linked'"
    assert [run.info.run_id for run in tracked(link)] == [before.run_id[5]]
    # The runs that were trained again are found before the damaged ones.
    bpexp.sweep(seed=range(6), epochs=20, reuse=True)
    assert trained == [6, 5]


def alter(run_id, what):
    """Change one metric, tag or file of a stored run, so that it can still be read."""
    folder = artifacts(run_id)
    if what == "metric":
        client_of().log_metric(run_id, "accuracy", 0.25)
    elif what == "tag":
        client_of().set_tag(run_id, "bpexp.outcome", "converged")
    elif what == "confusion_matrix.csv":
        text = (folder / what).read_text()
        (folder / what).write_text(text.replace("test,setosa,", "test,setosa,1"))
    elif what == "validation.npz":
        with np.load(folder / what) as found:
            values = dict(found)
        values["loss"][0] = np.nextafter(values["loss"][0], 1)
        np.savez(folder / what, **values)


ALTERED = {
    "metric": "The metric accuracy was altered: it is 0.25",
    "tag": "altered",
    "confusion_matrix.csv": "confusion_matrix.csv was altered: line",
    "validation.npz": "The metric lowest_validation_loss was altered",
}


def test_no_command_uses_a_run_of_which_something_was_altered(trained, capsys):
    settings = {"data": "iris", "data__validation_fraction": 0.2, "epochs": 1}
    settings |= {"data__test_fraction": 0.2}
    before = bpexp.sweep(seed=range(len(ALTERED)), **settings)
    (parent,) = sweeps()
    for run_id, what in zip(before.run_id, ALTERED, strict=True):
        alter(run_id, what)
    capsys.readouterr()
    for command in ("report", "bundle"):
        with pytest.raises(SystemExit) as ended:
            commands.main([command, parent.info.run_id])
        assert ended.value.code == 2
        assert "altered" in capsys.readouterr().err
    after = bpexp.sweep(seed=range(len(ALTERED)), **settings, reuse=True)
    assert not set(after.run_id) & set(before.run_id)
    assert list(after.accuracy) == list(before.accuracy)
    assert resume(parent.info.run_id) == 0
    printed = capsys.readouterr().out
    for sentence in ALTERED.values():
        assert sentence in printed
    assert trained == [4, 4, 4]


@pytest.mark.parametrize("reuse", [False, True])
def test_a_run_with_an_altered_identity_is_named_and_replaced(reuse, trained, capsys):
    altered, *_ = bpexp.sweep(seed=[1, 2], epochs=5, reuse=reuse).run_id
    (parent,) = sweeps()
    client_of().set_tag(altered, "bpexp.identity", "0" * 64)
    capsys.readouterr()
    assert resume(parent.info.run_id) == 0
    assert f"({altered[:8]}) is trained again: " in capsys.readouterr().out
    assert client_of().get_run(altered).info.lifecycle_stage == "deleted"
    assert trained == [2, 1]


def test_files_with_the_same_numbers_are_not_altered(trained):
    (run_id,) = bpexp.sweep(seed=[1], epochs=5).run_id
    with np.load(artifacts(run_id) / "weights.npz") as found:
        values = dict(found)
    np.savez_compressed(artifacts(run_id) / "weights.npz", **values)
    assert list(bpexp.sweep(seed=[1], epochs=5, reuse=True).run_id) == [run_id]
    assert trained == [1]


def test_runs_without_digests_of_their_files_are_checked_by_their_numbers(trained):
    run_ids = list(bpexp.sweep(seed=[1, 2], epochs=5).run_id)
    for run_id in run_ids:
        client_of().delete_tag(run_id, "bpexp.digests")
    shutil.copy(artifacts(run_ids[1]) / "losses.npz", artifacts(run_ids[0]) / "losses.npz")
    found = bpexp.sweep(seed=[1, 2], epochs=5, reuse=True).run_id
    assert (found[0] == run_ids[0], found[1] == run_ids[1]) == (False, True)


def test_a_sweep_with_an_empty_plan_is_composed_again(inside, trained):
    assert inside("-m", "seed=1,2", "epochs=5").returncode == 0
    (parent,) = sweeps()
    (artifacts(parent.info.run_id) / "plan.jsonl.gz").write_bytes(b"")
    mark_as_killed(parent.info.run_id, lost=1)
    assert resume(parent.info.run_id) == 0
    assert trained == [2, 1]


@pytest.mark.parametrize("reuse", [False, True])
def test_runs_of_other_sweeps_are_used_with_reuse_only(inside, trained, reuse):
    first = bpexp.sweep(seed=[1, 2, 3, 4], epochs=5)
    bpexp.sweep(seed=[1], epochs=5, reuse=reuse)
    (sweep, _) = sweeps()
    run_id = sweep.info.run_id
    n_known = 3 if reuse else 1
    dry = inside("extend", run_id, "seed=2,3", "--dry-run").stdout
    assert f"In the store already: {n_known} of 3 runs." in dry
    assert inside("extend", run_id, "seed=2,3").returncode == 0
    linked = tracked(f"tags.`bpexp.sweep.{run_id}` = 'linked'")
    assert {run.info.run_id for run in linked} == (set(first.run_id[:3]) if reuse else set())
    client_of().delete_run(next(iter(bpexp.load_runs(run_id).run_id)))
    assert resume(run_id) == 0
    assert len(bpexp.load_runs(run_id)) == 3
    assert sum(trained) == 4 + (1 if reuse else 4)


def test_artifacts_are_on_disk_before_their_runs_are_visible(monkeypatch):
    on_disk, names, original = set(), set(), durable.sync_file_system
    expected = {"config.yaml", "losses.npz", "weights.npz", "predictions.csv"}

    def recorded(folder):
        visible = {run.info.run_id for run in tracked()}
        for files in Path("outputs/artifacts").glob("*/artifacts"):
            if files.parent.name not in visible and expected <= {f.name for f in files.iterdir()}:
                on_disk.add(files.parent.name)
        names.update(file.name for file in folder.iterdir())
        original(folder)

    monkeypatch.setattr(durable, "sync_file_system", recorded)
    assert set(bpexp.sweep(seed=range(2), epochs=20).run_id) <= on_disk
    assert "plan.jsonl.gz" in names


def test_without_reuse_all_runs_are_trained(trained):
    for _ in range(2):
        bpexp.sweep(seed=range(2), epochs=20)
    assert trained == [2, 2]


def test_a_diverged_run_is_reused_with_its_infinite_metrics(trained):
    settings = {"model": "regressor", "seed": [9, 10], "lr": 1e300, "epochs": 60}
    first = bpexp.sweep(**settings)
    second = bpexp.sweep(**settings, reuse=True)
    assert trained == [2]
    assert set(first.outcome) == {"diverged"}
    pd.testing.assert_frame_equal(first, second)


def test_a_running_sweep_cannot_be_resumed_until_its_process_has_ended(capsys):
    bpexp.sweep(seed=range(2), epochs=20)
    (parent,) = sweeps()
    run_id = parent.info.run_id
    client_of().update_run(run_id, status="RUNNING")
    assert resume(run_id) == 2
    said = f"is still running, in process {os.getpid()}.\n"
    assert capsys.readouterr().err.endswith(said)
    bpexp.sweep(seed=[5], epochs=20)
    assert client_of().get_run(run_id).info.status == "RUNNING"
    other = " ".join(["elsewhere", *process.current().split(" ")[1:]])
    client_of().set_tag(run_id, run_tags.PROCESS, other)
    bpexp.sweep(seed=[6], epochs=20)
    assert client_of().get_run(run_id).info.status == "RUNNING"
    assert resume(run_id) == 2
    assert (
        "on the host elsewhere and may still run there; if it has ended, add --ended."
        in capsys.readouterr().err
    )
    assert resume(run_id, "--ended") == 0
    assert client_of().get_run(run_id).info.status == "FINISHED"


def test_the_next_sweep_closes_the_runs_of_a_dead_process():
    bpexp.sweep(seed=range(2), epochs=20)
    (parent,) = sweeps()
    mark_as_killed(parent.info.run_id, lost=0)
    bpexp.sweep(seed=[5], epochs=20)
    closed = client_of().get_run(parent.info.run_id)
    assert closed.info.status == "KILLED"
    assert closed.data.tags["bpexp.outcome"] == "interrupted"
    assert resume(parent.info.run_id) == 0
    again = client_of().get_run(parent.info.run_id)
    assert again.info.status == "FINISHED"
    assert "bpexp.outcome" not in again.data.tags


def delete_run(api, run):
    """Delete a sweep with its runs, as MLflow's page does."""
    for child in tracked(f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"):
        api.delete_run(child.info.run_id)
    api.delete_run(run.info.run_id)


def delete_experiment(api, run):
    api.delete_experiment(run.info.experiment_id)


@pytest.mark.parametrize("delete", [delete_run, delete_experiment])
@pytest.mark.parametrize(
    ("staged_runs", "notice"),
    [
        (BulkStagedRuns, ""),
        # As with a version of MLflow whose tables are not known.
        pytest.param(
            ClientStagedRuns, "Runs are written one by one: requested by the test.\n",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_sweep_that_is_deleted_meanwhile_is_restored_with_its_runs(
    staged_runs, notice, delete, inside, monkeypatch, trained, tmp_path
):
    def commit(staged):
        ids = original(staged)
        if staged.parent is not None:
            monkeypatch.setattr(staged_runs, "commit", original)
            (parent,) = sweeps()
            # Otherwise the sweep would still be running, in the process of the test.
            dead = process.current().rpartition(" ")[0] + " 1"
            client_of().set_tag(parent.info.run_id, run_tags.PROCESS, dead)
            delete(client_of(), parent)
        return ids

    if notice:
        monkeypatch.setattr(database, "unsupported_reason", lambda engine: "requested by the test")
    original = staged_runs.commit
    monkeypatch.setattr(staged_runs, "commit", commit)
    settings = ["hidden=2,3,4", "seed=1,2", "epochs=20", "engine=numpy", "n_jobs=1"]
    done = inside("-m", *settings)
    assert done.returncode == 1
    said = re.fullmatch(
        r"bpexp: The (sweep \w{8}|experiment) was deleted meanwhile; 2 of 6 runs are tracked; "
        r"4 wait in outputs/spool/\w+; to go on: bpexp (resume \w{8} --restore)\n",
        done.stderr.removeprefix(notice),
    )
    assert said, done.stderr
    command = said[2].split()
    assert "add --restore" in inside(*command[:-1]).stderr
    done = inside(*command)
    assert (done.returncode, done.stderr) == (0, notice)
    assert sum(trained) == 6
    assert [run.info.status for run in tracked()] == ["FINISHED"] * 7
    assert not (tmp_path / "outputs/spool").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # by MLflow
def test_an_experiment_that_is_renamed_meanwhile_gets_all_runs(inside, monkeypatch):
    def commit(staged):
        ids = original(staged)
        if staged.parent is not None:
            monkeypatch.setattr(BulkStagedRuns, "commit", original)
            experiment = client_of().get_experiment_by_name("mine").experiment_id
            client_of().rename_experiment(experiment, "renamed")
        return ids

    original = BulkStagedRuns.commit
    monkeypatch.setattr(BulkStagedRuns, "commit", commit)
    settings = ["hidden=2,3", "epochs=20", "engine=numpy", "n_jobs=1", "tracking.experiment=mine"]
    done = inside("-m", *settings, "export=best")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bit-identical to those of the run" in done.stdout
    found = client_of().get_experiment_by_name("renamed")
    runs = client_of().search_runs([found.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3


def test_a_single_run_cannot_be_resumed(capsys):
    (run_id,) = bpexp.sweep(seed=[1], epochs=20).run_id
    assert resume(run_id) == 2
    assert "is a single run; type the id of a sweep.\n" in capsys.readouterr().err


def test_a_process_is_identified_by_its_start_time():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process._start_time(child.pid)
    own = process.current().split(" ")
    tag = " ".join([*own[:4], str(child.pid), f"{started:.2f}"])
    assert process.state_of(tag) is ProcessState.ALIVE
    later = " ".join([*own[:4], str(child.pid), f"{started + 3:.2f}"])
    assert process.state_of(later) is ProcessState.DEAD
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.state_of(tag) is ProcessState.DEAD  # a zombie
    child.communicate()
    assert process.state_of(tag) is ProcessState.DEAD
    assert process.state_of(" ".join([*own[:3], "pid:[1]", *own[4:]])) is ProcessState.UNKNOWN
    assert process.state_of("") is ProcessState.UNKNOWN
    assert process.state_of(process.current()) is ProcessState.ALIVE


@pytest.fixture
def machine_id(tmp_path, monkeypatch):
    """Sets the machine id of this machine; None removes it."""
    file = tmp_path / "machine-id"
    monkeypatch.setattr(process, "_MACHINE_ID", file)

    def put(content):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(f"{content}\n")
        process._location.cache_clear()

    yield put
    process._location.cache_clear()


@pytest.mark.parametrize(
    ("there", "here", "state"),
    [
        ("a" * 32, "a" * 32, ProcessState.DEAD),
        ("a" * 32, "b" * 32, ProcessState.UNKNOWN),
        ("a" * 32, None, ProcessState.UNKNOWN),
        (None, None, ProcessState.UNKNOWN),
        ("uninitialized", "uninitialized", ProcessState.UNKNOWN),
        ("", "", ProcessState.UNKNOWN),
    ],
)
def test_a_process_of_another_boot_is_dead_only_on_the_same_machine(machine_id, there, here, state):
    machine_id(there)
    tag = process.current().split(" ")
    assert "a" * 32 not in tag
    tag[2] = "another-boot"
    machine_id(here)
    assert process.state_of(" ".join(tag)) is state


def test_a_sweep_of_a_machine_with_the_same_host_name_stays_open(machine_id):
    bpexp.sweep(seed=range(2), epochs=20)
    run_id = sweeps()[0].info.run_id
    machine_id("b" * 32)
    tag = process.current().split(" ")
    tag[2] = "another-boot"
    client_of().set_tag(run_id, run_tags.PROCESS, " ".join(tag))
    client_of().update_run(run_id, status="RUNNING")
    machine_id("a" * 32)
    bpexp.sweep(seed=[5], epochs=20)
    assert client_of().get_run(run_id).info.status == "RUNNING"
    machine_id("b" * 32)
    bpexp.sweep(seed=[6], epochs=20)
    assert client_of().get_run(run_id).info.status == "KILLED"


OVERRIDES = ["seed=range(0,3)", "lr=0.1,1", "hidden=2,[4,3]", "optimizer=adam,momentum", "epochs=7"]


def test_reading_a_plan_file_gives_the_same_plan():
    plan = make_plan(recompose(OVERRIDES), OVERRIDES)
    assert len(plan.configs) == 24
    restored = plan_file.from_bytes(plan_file.to_bytes(plan))
    assert (restored.jobs, restored.varying, restored.runtime) == (
        plan.jobs,
        plan.varying,
        plan.runtime,
    )


def test_a_grid_is_composed_again_with_its_folds_and_without_repeated_runs():
    iris = ["data=iris", "model=classifier", "data.folds=3", "epochs=3"]
    overrides = [*iris, "lr=0.1 | lr=0.1,1", "seed=1,2"]
    configs = plan_grid(recompose(overrides), overrides).plan.configs
    jobs = [(config.lr, config.seed, config.data.fold) for config in configs]
    assert jobs == [(lr, seed, fold) for lr in (0.1, 1) for seed in (1, 2) for fold in range(3)]


def test_reading_a_plan_file_fails_after_a_change_of_the_data(tmp_path):
    frame = pd.DataFrame({"a": [0.0, 1.0, 0.5], "y": [0.0, 1.0, 1.0]})
    frame.to_csv("t.csv", index=False)
    frame.assign(a=[0.0, 1.0, np.nextafter(0.5, 1)]).to_csv("u.csv", index=False)
    plan = make_plan(recompose(["data=file", "data.path=t.csv", "data.target=y"]))
    head, line = gzip.decompress(plan_file.to_bytes(plan)).decode().split("\n")
    other = gzip.compress(f"{head}\n{line.replace('t.csv', 'u.csv')}".encode())
    with pytest.raises(ConfigError, match="The data have changed"):
        plan_file.from_bytes(other)
    same = replace(plan.configs[0], data=FileConfig(name="file", path="t.csv", target=("y",)))
    assert plan_file.from_bytes(plan_file.to_bytes(plan)).configs == [same]


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", gzip.compress(b"[]", mtime=0), gzip.compress(b"{}", mtime=0)]
)
def test_a_broken_plan_file_is_an_error_of_one_sentence(content):
    with pytest.raises(ConfigError, match=r"^The sweep's plan is a broken file"):
        plan_file.from_bytes(content)


def test_a_sweep_of_settings_from_python_stores_no_part_of_them_as_overrides(a_store):
    """Without its plan it would be resumed as another sweep."""
    bpexp.sweep("lr=0.1,1", epochs=[5, 6])
    (whole,) = sweeps()
    assert "bpexp.overrides" not in whole.data.tags


def test_a_sweep_stores_overrides_and_environment(inside, tmp_path):
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    done = inside("-m", "lr=0.1,1", "epochs=5", f"tracking.uri={uri}")
    assert done.returncode == 0, done.stderr
    (parent,) = sweeps()
    tags, api = parent.data.tags, client_of()
    assert tags["bpexp.overrides"] == f"lr=0.1,1 epochs=5 tracking.uri={uri}"
    assert {"bpexp.cpu_features", "bpexp.processor"} <= set(tags)
    environment = json.loads(
        Path(api.download_artifacts(parent.info.run_id, "environment.json")).read_text()
    )
    assert environment["packages"]["numpy"] == np.__version__
    assert {one["user_api"] for one in environment["libraries"]} >= {"blas"}
    shown = inside("show", parent.info.run_id, "--all").stdout
    assert "bpexp.overrides" in shown
    assert "bpexp.cpu_features" in shown
    assert re.search(r"^configuration of the first run\n(  .+\n)*  lr +0\.1$", shown, re.M)
    assert f"numpy {np.__version__}" in shown
    assert re.search(r"^  openblas \(numpy\.libs\) +0\.\d.*, \d+ threads$", shown, re.M)
    done = inside("lr=0.5", "epochs=5")
    (single,) = tracked("params.lr = '0.5'")
    assert single.data.tags["bpexp.overrides"] == "lr=0.5 epochs=5"
    assert "environment.json" in {f.path for f in api.list_artifacts(single.info.run_id)}
    api.set_tag(single.info.run_id, "bpexp.cpu_features", "another 1.0")
    compared = inside("compare", parent.info.run_id, single.info.run_id, "--all").stdout
    assert "another 1.0" in compared
    assert re.search(r"^lr +0\.1 +0\.5 *$", compared, re.M)


def test_show_and_compare_print_packages_libraries_and_uncommitted_changes(inside):
    for lr in ("0.5", "0.7"):
        done = inside(f"lr={lr}", "epochs=5")
        assert done.returncode == 0, done.stderr
    api = client_of()
    one, other = (tracked(f"params.lr = '{lr}'")[0].info.run_id for lr in ("0.5", "0.7"))
    same = inside("compare", one, other, "--all").stdout
    assert "package" not in same
    assert "library" not in same
    file = Path(api.download_artifacts(other, "environment.json"))
    document = json.loads(file.read_text())
    document["packages"] |= {"numpy": "1.2.3", "another": "4.5"}
    document["libraries"] = [{**library, "num_threads": 77} for library in document["libraries"]]
    api.log_text(other, json.dumps(document), "environment.json")
    api.log_text(other, "".join(f"+line {n}\n" for n in range(150)), "git.diff")
    compared = inside("compare", one, other, "--all").stdout
    assert re.search(rf"^package numpy +{re.escape(np.__version__)} +1\.2\.3 *$", compared, re.M)
    assert re.search(r"^package another +- +4\.5 *$", compared, re.M)
    assert re.search(r"^library openblas \(numpy\.libs\) .*77 threads *$", compared, re.M)
    assert re.search(r"^git\.diff +.* SHA-256 [0-9a-f]{12} *$", compared, re.M)
    shown = inside("show", other).stdout
    assert "(git.diff, 100 of 150 lines; --all)\n+line 0\n" in shown
    assert "+line 99\n" in shown
    assert "+line 100\n" not in shown
    for content in ("[]", "{", '{"packages": 1, "libraries": []}', '{"packages": {}}'):
        api.log_text(other, content, "environment.json")
        assert "Not shown: environment.json" in inside("show", other, "--all").stderr
        done = inside("compare", one, other)
        assert done.returncode == 2
        assert done.stderr == (
            f"bpexp: environment.json of run {other[:8]} must hold packages and libraries, "
            "got others.\n"
        )


def sweep_without_plan(api, overrides):
    """Create the parent run of a sweep that was killed before its plan was stored."""
    experiment = api.get_experiment_by_name("bpexp") or api.get_experiment(
        api.create_experiment("bpexp")
    )
    tags = {"bpexp.kind": "sweep", "bpexp.overrides": overrides}
    run = api.create_run(experiment.experiment_id, tags=tags)
    api.set_terminated(run.info.run_id, "KILLED")
    return run.info.run_id


def test_stored_overrides_cannot_import_code(tmp_path, monkeypatch, inside):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("import os; os.mkdir('imported')")
    overrides = (
        "seed=1,2 epochs=5 hydra.searchpath=[pkg://evil] +hydra.callbacks.x._target_=os.getcwd"
    )
    sweep = sweep_without_plan(client_of(), overrides)
    monkeypatch.syspath_prepend(tmp_path)
    done = inside("resume", sweep)
    assert done.returncode == 0, done.stderr
    assert "2 runs over seed" in done.stdout
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("seed=1,2 tracking.experiment=${oc.env:HOME}", "used the interpolation"),
        ("seed=1 'lr=2", "has stored unreadable overrides"),
        ("x._target_=os.mkdir", "x._target_ is not a key of the configuration"),
    ],
)
def test_overrides_that_cannot_be_composed_are_an_error_of_one_sentence(inside, overrides, message):
    done = inside("resume", sweep_without_plan(client_of(), overrides))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
