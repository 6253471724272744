"""Stored runs are trained again with bit-identical results, and differences are reported."""

import io
import os
import shutil
from contextlib import chdir
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpexp
from bpexp.cli import commands
from bpexp.nn.arithmetic import VERSIONS
from bpexp.reproduce import compare


@pytest.fixture(scope="module")
def original(tmp_path_factory, put_store):
    """A folder with a store of six runs, of which one diverges to NaN and one is native."""
    folder = tmp_path_factory.mktemp("original")
    put_store(folder)
    with chdir(folder):
        bpexp.sweep(seed=range(4), epochs=60)
        bpexp.sweep(model="regressor", seed=[9], lr=1e300, epochs=60)
        bpexp.sweep(numerics=["native"], epochs=60)
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


def client():
    return mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/outputs/mlflow.db")


def tracked(api, filter_string=""):
    (experiment,) = [e for e in api.search_experiments() if e.name == "bpexp"]
    return api.search_runs([experiment.experiment_id], filter_string)


def one(api, seed):
    (found,) = tracked(api, f"params.seed = '{seed}' and params.numerics = 'exact'")
    return found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("engine", ["auto", "numpy", "compiled"])
def test_runs_of_a_copied_store_are_reproduced(run, engine):
    exact = "metrics.epochs_run > 0 and params.numerics = 'exact'"
    names = [r.info.run_id for r in tracked(client(), exact)]
    status, message, _ = run("reproduce", *names, "--engine", engine)
    assert (status, message) == (0, "5 of 5 runs identical to the bit.\n")


@pytest.mark.usefixtures("here")
def test_the_report_says_that_native_results_depend_on_the_machine(run):
    status, message, _ = run("reproduce", "--all")
    assert status == 0
    assert message == (
        "6 of 6 runs identical to the bit.\n1 with numerics=native, whose results depend on the "
        "NumPy, BLAS and CPU of one machine; numerics=exact gives the same results on every "
        "machine.\n"
    )


def test_the_report_names_the_first_different_epoch_and_the_distance(here, run):
    api = client()
    there = one(api, 2)
    folder = here / "outputs/artifacts" / there.info.run_id / "artifacts"
    with np.load(folder / "losses.npz", allow_pickle=False) as arrays:
        losses = arrays["loss"]
    losses[16] = np.nextafter(np.nextafter(losses[16], 9.0), 9.0)
    losses[40] = np.nextafter(losses[40], 9.0)
    np.savez(folder / "losses.npz", loss=losses)
    table = pd.read_csv(folder / "predictions.csv")
    table.loc[3, "predicted y1"] = np.nextafter(table["predicted y1"][3], -9.0)
    table.to_csv(folder / "predictions.csv", index=False)
    status, message, _ = run("reproduce", there.info.run_id)
    assert (status, message) == (0, "1 of 1 runs identical to the bit.\n")

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
        ('{"seed": 1e400}', "seed must be a whole number in 0..4294967295, got inf."),
        (
            '{"data":{"name":"xor"},"epochs":60,"hidden":[2],"lr":0.2,"model":{},"numerics":'
            '"exact","optimizer":{"name":"gradient_descent"},"schedule":{"name":"constant"},'
            '"seed":1,"stop":{}}',
            "The stored configuration does not match the run: its identity is ",
        ),
    ],
)
def test_a_stored_configuration_is_validated(run, stored, message):
    api = client()
    run_id = one(api, 1).info.run_id
    api.set_tag(run_id, "bpexp.config", stored)
    status, out, err = run("reproduce", run_id)
    assert (status, err) == (2, "")
    assert out.startswith(f"unreadable: seed=1 ({run_id[:8]}): {message}")
    assert out.endswith("0 of 1 runs identical to the bit, 1 unreadable.\n")


def test_yaml_with_python_objects_is_rejected_and_not_executed(here, run):
    api = client()
    run_id = one(api, 1).info.run_id
    file = here / "outputs/artifacts" / run_id / "artifacts/config.yaml"
    api.delete_tag(run_id, "bpexp.config")
    status, out, _ = run("reproduce", run_id)
    assert (status, out) == (0, "1 of 1 runs identical to the bit.\n")
    file.write_text(f"seed: !!python/object/apply:os.mkdir ['{here}/made']\n")
    status, out, _ = run("reproduce", run_id)
    assert status == 2
    assert "The stored configuration is not valid YAML." in out
    assert not (here / "made").exists()


def test_the_report_names_a_different_version_of_the_arithmetic(here, run):
    api = client()
    run_id, now = one(api, 3).info.run_id, VERSIONS["exact"]
    api.set_tag(run_id, "bpexp.arithmetic", f"exact {now - 1}")
    api.set_tag(run_id, "bpexp.identity", "1" * 64)
    api.set_tag(run_id, "bpexp.result", "2" * 64)
    status, out, _ = run("reproduce", run_id)
    assert status == 1
    assert f"  arithmetic: exact {now - 1} then, exact {now} now\n" in out


def test_a_missing_or_changed_data_file_is_reported(tmp_path, monkeypatch, run):
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
                                     "all, got 0.\n"),
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
    assert compare.max_ulp_distance([np.array([start])], [np.array([end])]) == steps + crossed


def test_the_first_different_epoch():
    curve = np.array([3.0, 2.0, np.nan])
    assert compare.first_different_epoch(curve, curve.copy()) is None
    assert compare.first_different_epoch(curve, np.array([3.0, 2.5, np.nan])) == 2
    assert compare.first_different_epoch(curve, curve[:2]) == 3
    assert compare.max_ulp_distance([np.zeros((2, 2))], [np.zeros((2, 3))]) is None


def test_npz_files_are_read_without_unpickling(here, run):
    api = client()
    run_id = one(api, 0).info.run_id
    buffer = io.BytesIO()
    np.savez(buffer, loss=np.array([{"a": 1}], dtype=object))
    (here / "outputs/artifacts" / run_id / "artifacts/losses.npz").write_bytes(buffer.getvalue())
    api.set_tag(run_id, "bpexp.result", "0" * 64)
    status, out, _ = run("reproduce", run_id)
    assert status == 1
    assert "losses.npz of run" in out
    assert "allow_pickle=False" in out
