"""Stored runs are trained again with bit-identical results, and differences are reported."""

import io
import json
import os
import shutil
import sqlite3
from contextlib import chdir, closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_back import client_of, tracked

import bpexp
from bpexp.cli import commands
from bpexp.config.schema import parse_train
from bpexp.nn.arithmetic import VERSION
from bpexp.reproduce import compare
from bpexp.runs import identity, record_digests
from bpexp.runs.ulp import max_ulp_distance
from bpexp.sweeps import stored_pages
from bpexp.sweeps.executors.local import LocalExecutor


@pytest.fixture(scope="module")
def original(tmp_path_factory, put_store):
    """A folder with a store of five runs, of which one diverges to NaN."""
    folder = tmp_path_factory.mktemp("original")
    put_store(folder)
    with chdir(folder):
        bpexp.sweep(seed=range(4), epochs=60)
        bpexp.sweep(model="regressor", seed=[9], lr=1e300, epochs=60)
    return folder


@pytest.fixture
def here(original, tmp_path, monkeypatch):
    """A copy of that store in the working directory; the original is renamed."""
    shutil.copytree(original / "outputs", tmp_path / "outputs")
    hidden = original.with_name("hidden")
    original.rename(hidden)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hidden.rename(original)


@pytest.fixture
def run(capsys):
    """Calls a command; returns its exit status, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            commands.main(list(arguments))
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


def one(seed):
    """The tracked run with a seed."""
    (found,) = tracked(f"params.seed = '{seed}'")
    return found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("engine", ["auto", "numpy", "compiled"])
def test_runs_of_a_copied_store_are_reproduced(run, engine):
    names = [r.info.run_id for r in tracked("metrics.epochs_run > 0")]
    status, message, _ = run("reproduce", *names, "--engine", engine)
    assert (status, message) == (0, "5 of 5 runs identical to the bit.\n")


def test_the_report_names_the_first_different_epoch_and_the_distance(here, run):
    api = client_of()
    there = one(2)
    folder = here / "outputs/artifacts" / there.info.run_id / "artifacts"
    with np.load(folder / "losses.npz", allow_pickle=False) as arrays:
        losses = arrays["loss"]
    losses[16] = np.nextafter(np.nextafter(losses[16], 9.0), 9.0)
    losses[40] = np.nextafter(losses[40], 9.0)
    np.savez(folder / "losses.npz", loss=losses)
    table = pd.read_csv(folder / "predictions.csv")
    table.loc[3, "predicted y1"] = np.nextafter(table["predicted y1"][3], -9.0)
    table.to_csv(folder / "predictions.csv", index=False)
    api.set_tag(there.info.run_id, "bpexp.result", "0" * 64)
    api.set_tag(there.info.run_id, "bpexp.version.numpy", "1.0.0")
    status, message, _ = run("reproduce", there.data.tags["mlflow.parentRunId"])
    assert status == 1
    first, *environment, last = message.splitlines()
    assert first == (
        f"different: seed=2 ({there.info.run_id[:8]}): the first different epoch is 17; largest "
        "differences: losses 2 ulp, predictions 1 ulp, weights 0 ulp; the stored artifacts do not "
        "match the stored digest."
    )
    assert environment == [f"  version.numpy: 1.0.0 then, {np.__version__} now"]
    assert last == "3 of 4 runs identical to the bit, 1 different."


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ('{"_target_": "os.system", "seed": 1}', "_target_ is not a key of the configuration"),
        ("[]", "The stored configuration must be a mapping, got []."),
        ("{", "The stored configuration is not valid JSON."),
        (
            '{"seed": 1e400, "lr": 0.2, "epochs": 60, "hidden": [2]}',
            "seed must be a whole number in 0..4294967295, got inf.",
        ),
        (
            '{"data":{"name":"xor"},"epochs":60,"hidden":[2],"lr":0.2,"model":{},'
            '"optimizer":{"name":"gradient_descent"},"schedule":{"name":"constant"},'
            '"seed":1,"stop":{}}',
            "The stored configuration does not match the run: its identity is ",
        ),
    ],
)
def test_a_stored_configuration_is_validated(run, stored, message):
    api = client_of()
    run_id = one(1).info.run_id
    api.set_tag(run_id, "bpexp.config", stored)
    status, out, err = run("reproduce", run_id)
    assert (status, err) == (2, "")
    assert out.startswith(f"unreadable: seed=1 ({run_id[:8]}): {message}")
    assert out.endswith("0 of 1 runs identical to the bit, 1 unreadable.\n")


def test_yaml_with_python_objects_is_rejected_and_not_executed(here, run):
    api = client_of()
    run_id = one(1).info.run_id
    file = here / "outputs/artifacts" / run_id / "artifacts/config.yaml"
    api.delete_tag(run_id, "bpexp.config")
    status, out, _ = run("reproduce", run_id)
    assert (status, out) == (0, "1 of 1 runs identical to the bit.\n")
    file.write_text(f"seed: !!python/object/apply:os.mkdir ['{here}/made']\n")
    status, out, _ = run("reproduce", run_id)
    assert status == 2
    assert "The stored configuration is not valid YAML." in out
    assert not (here / "made").exists()


def artifact(run_id, name):
    return Path("outputs/artifacts", run_id, "artifacts", name)


def change_weight(run_id):
    """Change one weight by one ulp; returns the value before and after."""
    file = artifact(run_id, "weights.npz")
    with np.load(file) as arrays:
        layers = dict(arrays)
    before = float(layers["W1"][0, 1])
    layers["W1"][0, 1] = np.nextafter(before, 9.0)
    np.savez(file, **layers)
    return before, float(layers["W1"][0, 1])


@pytest.mark.usefixtures("here")
def test_a_weight_that_was_changed_by_one_ulp_is_found(run):
    run_id = one(1).info.run_id
    before, after = change_weight(run_id)
    status, message, _ = run("reproduce", run_id)
    assert (status, message) == (
        1,
        (
            f"altered: seed=1 ({run_id[:8]}): weights.npz was altered: W1[0, 1] is {after!r}, but "
            f"training gives {before!r} (1 ulp).\n0 of 1 runs identical to the bit, 1 altered.\n"
        ),
    )
    status, message, _ = run("verify", "--all")
    assert (status, message) == (
        1,
        (
            f"altered: seed=1 ({run_id[:8]}): The losses, predictions or weights were altered: "
            "they do not match the result digest (weights.npz).\n"
            "4 of 5 runs match their digests, 1 altered.\n"
        ),
    )


@pytest.mark.usefixtures("here")
def test_altered_losses_are_named_by_their_epoch(run):
    run_id = one(2).info.run_id
    with np.load(artifact(run_id, "losses.npz")) as arrays:
        losses = arrays["loss"]
    before = float(losses[16])
    losses[16], losses[40] = 2.0, 3.0
    np.savez(artifact(run_id, "losses.npz"), loss=losses)
    status, message, _ = run("reproduce", run_id)
    assert status == 1
    assert f"the loss of epoch 17 is 2.0, but training gives {before!r} (" in message
    assert "weights.npz" not in message


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("command", "source"), [("reproduce", "training gives"), ("verify", "the run has")]
)
def test_an_altered_input_is_named_by_its_row(run, command, source):
    run_id = one(2).info.run_id
    file = artifact(run_id, "predictions.csv")
    lines = file.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("1.0,0.0,", "1.0,0.5,", 1)
    file.write_text("".join(lines))
    status, message, _ = run(command, run_id)
    assert status == 1
    assert f"predictions.csv was altered: 'x2' of row 3 is 0.5, but {source} 0.0 (" in message


@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize(
    ("command", "source"), [("reproduce", "training gives"), ("verify", "the run has")]
)
def test_altered_confusion_matrices_are_named_by_their_line(
    run, tmp_path, monkeypatch, command, source
):
    monkeypatch.chdir(tmp_path)
    (run_id,) = bpexp.sweep(data="iris", model="classifier", epochs=3, engine="numpy").run_id
    assert run(command, run_id)[0] == 0
    file = artifact(run_id, "confusion_matrix.csv")
    lines = file.read_text().split("\n")
    file.write_text("\n".join([lines[0], "training,setosa,0,0,0", *lines[2:]]))
    artifact(run_id, "confusion_matrix.svg").write_bytes(b"\xff")
    status, message, _ = run(command, run_id)
    assert status == 1
    wanted = f"is 'training,setosa,0,0,0', but {source} {lines[1]!r}."
    assert f"confusion_matrix.csv was altered: line 2 {wanted}" in message
    assert "confusion_matrix.svg was altered: line 1 is " in message
    artifact(run_id, "confusion_matrix.svg").unlink()
    assert f"Run {run_id[:8]} has no artifact confusion_matrix.svg." in run(command, run_id)[1]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["reproduce", "verify"])
def test_swapped_artifacts_are_recognized_as_those_of_the_other_run(run, command):
    one_id, other_id = (one(seed).info.run_id for seed in (0, 3))
    Path("outputs/artifacts", one_id).rename("outputs/artifacts/swap")
    Path("outputs/artifacts", other_id).rename(Path("outputs/artifacts", one_id))
    Path("outputs/artifacts/swap").rename(Path("outputs/artifacts", other_id))
    status, message, _ = run(command, one_id, other_id)
    assert status == 1
    sentence = "The losses, predictions and weights are those of seed="
    assert f"{sentence}3 ({other_id[:8]})." in message
    assert f"{sentence}0 ({one_id[:8]})." in message


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["reproduce", "verify"])
@pytest.mark.parametrize("name", ["losses.npz", "weights.npz", "predictions.csv"])
def test_missing_empty_and_truncated_artifacts_have_their_own_sentences(run, command, name):
    run_id = one(0).info.run_id
    file = artifact(run_id, name)
    content = file.read_bytes()
    file.unlink()
    start = f"altered: seed=0 ({run_id[:8]}): "
    status, message, _ = run(command, run_id)
    assert (status, message.splitlines()[0]) == (
        1,
        f"{start}Run {run_id[:8]} has no artifact {name}.",
    )
    for cut, state in ((0, "empty"), (len(content) - 1, "truncated")):
        file.write_bytes(content[:cut])
        status, message, _ = run(command, run_id)
        assert status == 1
        assert message.startswith(f"{start}{name} of run {run_id[:8]} is {state}")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["reproduce", "verify"])
def test_altered_metrics_are_named_with_the_value_of_the_result(run, command):
    run_id = one(1).info.run_id
    with np.load(artifact(run_id, "losses.npz")) as arrays:
        losses = arrays["loss"].tolist()
    with closing(sqlite3.connect("outputs/mlflow.db")) as db, db:
        db.execute(
            "UPDATE latest_metrics SET value = 0.25 WHERE run_uuid = ? "
            "AND key IN ('final_loss', 'accuracy')",
            [run_id],
        )
        db.execute(
            "UPDATE metrics SET value = 0.5 WHERE run_uuid = ? AND key = 'loss' AND step = 1",
            [run_id],
        )
    status, message, _ = run(command, run_id)
    assert (status, message.splitlines()[0]) == (
        1,
        (
            f"altered: seed=1 ({run_id[:8]}): The metric final_loss was altered: it is 0.25, but "
            f"the result has {losses[-1]!r}. The metric accuracy was altered: it is 0.25, but the "
            f"result has 0.5. The metric loss at step 1 was altered: it is 0.5, but the result has "
            f"{losses[0]!r}."
        ),
    )


def change(statement, run_id):
    with closing(sqlite3.connect("outputs/mlflow.db")) as db, db:
        assert db.execute(f"{statement} AND run_uuid = ?", [run_id]).rowcount == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE latest_metrics SET value = 0.25 WHERE key = 'final_loss'",
         "The metric final_loss was altered: it is 0.25, but the result has 0."),
        ("UPDATE latest_metrics SET value = 7 WHERE key = 'epochs_run'",
         "The metric epochs_run was altered: it is 7.0, but the result has 60."),
        ("DELETE FROM latest_metrics WHERE key = 'final_loss'",
         "The metric final_loss is missing."),
    ],
)  # fmt: skip
def test_an_altered_metric_with_a_new_digest_is_found(run, statement, said):
    run_id = one(1).info.run_id
    change(statement, run_id)
    altered = client_of().get_run(run_id).data
    digests = dict(record_digests.parse(altered.tags["bpexp.digests"]))
    digests["metrics"] = record_digests.of_metrics(altered.tags, altered.metrics)
    client_of().set_tag(run_id, "bpexp.digests", json.dumps(digests))
    for arguments in (["verify", run_id], ["verify", "--all"], ["reproduce", run_id]):
        status, message, _ = run(*arguments)
        assert status == 1
        assert said in message


@pytest.mark.usefixtures("here")
def test_an_altered_parameter_is_found(run):
    found = one(1)
    run_id, sweep = found.info.run_id, found.data.tags["mlflow.parentRunId"]
    change("UPDATE params SET value = '0.7' WHERE key = 'lr'", run_id)
    sentence = "The parameter lr was altered: it is '0.7', but the configuration has '0.1'."
    for arguments in (["verify", run_id], ["verify", sweep], ["reproduce", run_id]):
        status, message, _ = run(*arguments)
        assert status == 1
        assert sentence in message
    change("DELETE FROM params WHERE key = 'lr'", run_id)
    assert "The parameter lr was altered: it is None" in run("verify", run_id)[1]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["reproduce", "verify"])
def test_an_altered_configuration_file_is_found(run, command):
    run_id = one(1).info.run_id
    file = artifact(run_id, "config.yaml")
    file.write_text(file.read_text().replace("lr: 0.1", "lr: 0.5").replace("seed: 1", "seed: 2"))
    status, message, _ = run(command, run_id)
    assert status == 1
    assert "): config.yaml was altered: it has another value of seed, lr.\n" in message


@pytest.mark.usefixtures("here")
def test_an_altered_result_digest_is_distinguished_from_a_different_result(run):
    run_id = one(1).info.run_id
    client_of().set_tag(run_id, "bpexp.result", "0" * 64)
    status, message, _ = run("reproduce", run_id)
    assert (status, message.splitlines()[0]) == (
        1,
        (
            f"altered: seed=1 ({run_id[:8]}): The tag bpexp.result was altered: the artifacts "
            "equal the new result, the tag does not."
        ),
    )


@pytest.mark.usefixtures("here")
def test_intact_runs_are_verified_without_training(run, monkeypatch):
    monkeypatch.setattr(LocalExecutor, "map", None)
    assert run("verify", "--all") == (0, "5 of 5 runs match their digests.\n", "")
    sweep = one(1).data.tags["mlflow.parentRunId"]
    assert run("verify", sweep) == (0, "4 of 4 runs match their digests.\n", "")
    assert run("verify") == (2, "", "bpexp: verify must be given runs, sweeps or --all.\n")


def test_metrics_of_test_and_validation_rows_are_verified(a_store, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    data = {"name": "iris", "test_fraction": 0.2, "validation_fraction": 0.2}
    bpexp.sweep(data=data, seed=[1], epochs=20)
    assert run("verify", "--all") == (0, "1 of 1 runs match their digests.\n", "")
    assert run("reproduce", "--all")[0] == 0
    (there,) = tracked("metrics.epochs_run = 20")
    run_id, test_loss = there.info.run_id, there.data.metrics["test_loss"]
    with closing(sqlite3.connect("outputs/mlflow.db")) as db, db:
        db.execute("UPDATE latest_metrics SET value = 0.0 WHERE key = 'test_loss'")
    sentence = f"The metric test_loss was altered: it is 0.0, but the result has {test_loss!r}."
    assert sentence in run("verify", run_id)[1]
    assert sentence in run("reproduce", run_id)[1]
    artifact(run_id, "validation.npz").write_bytes(b"")
    for command in ("verify", "reproduce"):
        status, message, _ = run(command, run_id)
        assert status == 1
        assert f"validation.npz of run {run_id[:8]} is empty." in message


def test_the_report_names_a_different_version_of_the_arithmetic(here, run):
    api = client_of()
    run_id, now = one(3).info.run_id, VERSION
    api.set_tag(run_id, "bpexp.arithmetic", str(now - 1))
    config = parse_train(json.loads(one(3).data.tags["bpexp.config"]))
    api.set_tag(run_id, "bpexp.identity", identity.of_run(config, arithmetic=now - 1))
    api.set_tag(run_id, "bpexp.result", "2" * 64)
    status, out, _ = run("reproduce", run_id)
    assert status == 1
    assert f"  arithmetic: {now - 1} then, {now} now\n" in out


def test_a_missing_or_changed_data_file_is_reported(a_store, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"a": [0.0, 1.0, 0.5], "y": [0.0, 1.0, 1.0]})
    frame.to_csv("t.csv", index=False)
    bpexp.sweep(data={"name": "file", "path": "t.csv", "target": "y"}, epochs=20)
    assert run("reproduce", "--all")[0] == 0
    frame.loc[2, "a"] = 0.25
    frame.to_csv("t.csv", index=False)
    status, out, _ = run("reproduce", "--all")
    assert status == 2
    assert "The data of data=file have changed since the run was trained: their digest was " in out
    os.remove("t.csv")
    status, out, _ = run("reproduce", "--all")
    assert status == 2
    assert "data.path must be an existing file, got 't.csv'." in out


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "bpexp: reproduce must be given runs, sweeps or --all.\n"),
        (["--all", "x"], "bpexp: reproduce must be given runs, sweeps or --all.\n"),
        (["nonsense"], "bpexp: RUN must be the id, its beginning, or the name of a run, "
                       "got 'nonsense'; bpexp runs lists them.\n"),
        (["--all", "--n-jobs", "0"], "bpexp: --n-jobs must be a number of workers, or -1 for "
                                     "all processors, at most 1024, got 0.\n"),
        (["--all", "--n-jobs", "1025"], "bpexp: --n-jobs must be a number of workers, or -1 for "
                                        "all processors, at most 1024, got 1025.\n"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_reported_in_one_sentence(run, arguments, message):
    assert run("reproduce", *arguments) == (2, "", message)


FLOATS = st.floats(-1e300, 1e300)


@given(FLOATS, st.integers(0, 40))
def test_the_ulp_distance_is_the_number_of_steps_between_two_numbers(start, steps):
    end = start
    for _ in range(steps):
        end = np.nextafter(end, np.inf)
    # -0.0 and 0.0 are one step apart, which nextafter skips.
    crossed = 1 if (start < 0 or np.signbit(start)) and end > 0 else 0
    assert max_ulp_distance([np.array([start])], [np.array([end])]) == steps + crossed


def test_the_first_different_epoch():
    curve = np.array([3.0, 2.0, np.nan])
    assert compare.first_different_epoch(curve, curve.copy()) is None
    assert compare.first_different_epoch(curve, np.array([3.0, 2.5, np.nan])) == 2
    assert compare.first_different_epoch(curve, curve[:2]) == 3
    assert max_ulp_distance([np.zeros((2, 2))], [np.zeros((2, 3))]) is None


def test_npz_files_are_read_without_unpickling(here, run):
    api = client_of()
    run_id = one(0).info.run_id
    buffer = io.BytesIO()
    np.savez(buffer, loss=np.array([{"a": 1}], dtype=object))
    (here / "outputs/artifacts" / run_id / "artifacts/losses.npz").write_bytes(buffer.getvalue())
    api.set_tag(run_id, "bpexp.result", "0" * 64)
    status, out, _ = run("reproduce", run_id)
    assert status == 1
    assert "losses.npz of run" in out
    assert "allow_pickle=False" in out


@pytest.mark.slow
def test_worker_processes_find_the_same_as_this_process(here, run, monkeypatch):
    run_id = one(2).info.run_id
    artifact(run_id, "weights.npz").write_bytes(b"")
    alone = run("reproduce", "--all")
    monkeypatch.setattr(stored_pages, "MIN_RUNS", 1)
    monkeypatch.setattr(stored_pages, "PAGE_SIZE", 2)
    monkeypatch.setattr(stored_pages, "count_workers", lambda n_jobs: 2)
    assert run("reproduce", "--all") == alone
    assert alone[0] == 1
    assert "4 of 5 runs identical to the bit, 1 altered." in alone[1]
