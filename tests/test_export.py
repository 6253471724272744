"""Networks are exported as MLflow models and as ONNX."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from exact_csv import read_csv
from servers import await_answer, free_port
from sklearn.datasets import load_iris

import bpexp
from bpexp.cli import commands
from bpexp.export import onnx_file
from bpexp.export.publish import publish
from bpexp.export.trained import TrainedNetwork
from bpexp.fields.checks import ConfigError
from bpexp.nn import init
from bpexp.nn.activations import ACTIVATIONS, elementwise_activations
from bpexp.nn.network import Network
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.registration import Registration
from bpexp.tracking.store import locate

# MLflow warns about its own type hints when its model classes are imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")


@pytest.fixture
def store(a_store, tmp_path, monkeypatch):
    """Work in an empty folder; returns the URI of its store."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/outputs/mlflow.db"


def exported(capsys, run, *options):
    capsys.readouterr()
    commands.main(["export", run, *options])
    return capsys.readouterr().out


def inputs_of(run):
    file = mlflow.artifacts.download_artifacts(f"runs:/{run}/predictions.csv")
    table = read_csv(file)
    return table[table["split"] == "training"]


@pytest.mark.slow
def test_the_loaded_model_gives_bit_identical_predictions(store, capsys):
    table = bpexp.sweep(lr=[0.1, 1], epochs=500)
    run = table.run_id[1]
    api = mlflow.MlflowClient(store)
    before = api.get_run(run)
    output = exported(capsys, run)
    assert f"runs:/{run}/model; its 4 predictions are bit-identical to those of the run." in output
    model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
    tracked = inputs_of(run)
    outputs = model.predict(tracked[["x1", "x2"]])
    np.testing.assert_array_equal(outputs["y1"], tracked["predicted y1"])
    signature = model.metadata.signature
    assert signature.inputs.input_names() == ["x1", "x2"]
    assert signature.outputs.input_names() == ["y1"]
    example = model.input_example
    assert example.to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    after = api.get_run(run)
    assert after.info == before.info
    assert (after.data.params, after.data.metrics) == (before.data.params, before.data.metrics)
    (logged,) = after.outputs.model_outputs
    assert api.get_logged_model(logged.model_id).experiment_id == before.info.experiment_id


def test_a_sweep_exports_its_best_run(store, capsys):
    table = bpexp.sweep(lr=[0.1, 1, 0.01], epochs=500)
    api = mlflow.MlflowClient(store)
    parent = api.get_run(table.run_id[0]).data.tags["mlflow.parentRunId"]
    best = table.run_id[table.final_loss.idxmin()]
    assert f"runs:/{best}/model" in exported(capsys, parent)


def test_export_best_exports_the_best_run_of_a_sweep(inside, store):
    done = inside("-m", "lr=0.1,1,0.01", "epochs=500", "export=best")
    assert (done.returncode, done.stderr) == (0, "")
    api = mlflow.MlflowClient(store)
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    (best,) = [run for run in runs if run.data.params.get("lr") == "1.0"]
    assert [run.info.run_id for run in runs if run.outputs.model_outputs] == [best.info.run_id]
    uri = f"runs:/{best.info.run_id}/model"
    assert f"lr=1: {uri}; its 4 predictions are bit-identical to those of the run." in done.stdout
    tracked = inputs_of(best.info.run_id)
    outputs = mlflow.pyfunc.load_model(uri).predict(tracked[["x1", "x2"]])
    np.testing.assert_array_equal(outputs["y1"], tracked["predicted y1"])


def test_export_best_reports_that_all_runs_diverged(inside, store):
    done = inside("-m", "model=regressor", "lr=1e200,1e201", "epochs=20", "export=best")
    assert done.returncode == 0
    assert done.stdout.endswith("No run has a network to export.\n")


@pytest.mark.slow
def test_a_resumed_sweep_exports_its_best_run(inside, store):
    assert inside("-m", "seed=1,2", "epochs=20", "export=best").returncode == 0
    api = mlflow.MlflowClient(store)
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    (parent,) = [run for run in runs if run.data.tags.get("bpexp.kind") == "sweep"]
    done = inside("resume", parent.info.run_id)
    assert done.returncode == 0, done.stderr
    assert "/model; its 4 predictions are bit-identical" in done.stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"stop__loss": 0.2, "lr": 5},
        pytest.param({"data": "iris", "model": "classifier"}, marks=pytest.mark.slow),
        {"data": "iris", "model": "classifier", "optimizer": "adam", "schedule": "cosine"},
    ],
)
def test_models_take_inputs_before_standardization(store, capsys, settings):
    (run,) = bpexp.sweep(epochs=300, **settings).run_id
    assert "model.onnx: verified" in exported(capsys, run, "--onnx")
    model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
    names = model.metadata.signature.inputs.input_names()
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    if "data" in settings:
        # The training rows as scikit-learn loads them, before standardization.
        X = load_iris().data[inputs_of(run)["row"] - 1]
        assert names == load_iris().feature_names
    outputs = model.predict(pd.DataFrame(X, columns=names)).to_numpy()
    tracked = inputs_of(run).to_numpy()[:, -outputs.shape[1] :]
    np.testing.assert_array_equal(outputs, tracked)


def test_a_model_takes_integers_and_booleans_and_refuses_texts(store, capsys, tmp_path):
    run = bpexp.sweep(epochs=500).run_id[0]
    exported(capsys, run)
    model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
    (tmp_path / "new.csv").write_text("x1,x2\n0,0\n0,1\n1,0\n1,1\n")
    frame = pd.read_csv(tmp_path / "new.csv")
    assert set(frame.dtypes) == {np.dtype("int64")}
    tracked = inputs_of(run)["predicted y1"]
    for given in (frame, frame.astype(bool), frame.astype("float32"), frame.astype("Int8")):
        np.testing.assert_array_equal(model.predict(given)["y1"], tracked)
    with pytest.raises(mlflow.MlflowException, match="Every input must be a column of numbers"):
        model.predict(pd.DataFrame({"x1": ["a"], "x2": [0]}))


@pytest.mark.slow
def test_a_model_takes_the_columns_of_the_table_in_any_order(inside, store, capsys, tmp_path):
    text = "size,color,y\n1,red,0.5\n2,blue,1.5\n,red,1\n4,,2.5\n"
    (tmp_path / "t.csv").write_text(text)
    settings = {"data": "file", "data__path": "t.csv", "data__target": "y", "model": "regressor"}
    more = {"data__categorical": "onehot", "data__missing": "median", "epochs": 20}
    run = bpexp.sweep(**settings, **more).run_id[0]
    exported(capsys, run)
    model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
    assert model.metadata.signature.inputs.input_names() == ["size", "color"]
    tracked = inputs_of(run)["predicted y"].tolist()
    table = pd.read_csv(tmp_path / "t.csv")
    assert model.predict(table[["y", "color", "size"]])["y"].tolist() == tracked
    # A text of no training row is 0 in all inputs, as a missing one.
    assert model.predict(table.fillna({"color": "green"}))["y"].tolist() == tracked
    with pytest.raises(mlflow.MlflowException, match="color"):
        model.predict(table[["size"]])
    assert model.input_example["color"].tolist()[:3] == ["red", "blue", "red"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([None, 1.0], "a value in every cell, got none in column 'x2', row 1"),
        ([0.0, np.inf], "finite, got inf in column 'x2', row 2"),
        (["a", 1], "a column of numbers, got 'x2'"),
        (pd.to_datetime(["2020-01-01"] * 2), "a column of numbers, got 'x2' of type datetime"),
    ],
)
def test_a_model_refuses_cells_that_are_no_numbers(cells, said):
    # Imported here, where the warning of MLflow is ignored.
    from bpexp.export import served

    model = served.ServedNetwork()
    model.settings = {"columns": ["x2"], "texts": {}}
    model.arrays = {}
    with pytest.raises(mlflow.MlflowException, match=said):
        model.predict(None, pd.DataFrame({"x2": cells}))


@pytest.mark.slow
def test_the_model_can_be_served_without_bpexp(store, capsys, tmp_path):
    (run,) = bpexp.sweep(epochs=200, seed=3).run_id
    exported(capsys, run)
    tracked = inputs_of(run)
    rows = tracked[["x1", "x2"]].to_dict(orient="split", index=False)
    (tmp_path / "in.json").write_text(json.dumps({"dataframe_split": rows}))
    # This module shadows bpexp and fails on import: the model must use the code bundled with it.
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "bpexp.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "models", "predict", "-m", f"runs:/{run}/model",
         "-i", "in.json", "-o", "out.json", "-t", "json", "--env-manager", "local"],
        cwd=tmp_path, capture_output=True, text=True, timeout=170,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(tmp_path / "blocked")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert [row["y1"] for row in answer] == tracked["predicted y1"].tolist()


def test_a_model_contains_no_pickle(store, capsys, tmp_path):
    (run,) = bpexp.sweep(epochs=20).run_id
    exported(capsys, run)
    folder = mlflow.artifacts.download_artifacts(f"runs:/{run}/model", dst_path=str(tmp_path / "m"))
    files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    assert {os.path.splitext(name)[1] for name in files} <= {
        ".py", ".npz", ".json", ".yaml", ".txt", "",
    }  # fmt: skip
    (weights,) = [name for name in files if name.endswith(".npz")]
    with np.load(weights, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"W1", "b1", "W2", "b2", "mean", "scale"}
    requirements = (Path(folder) / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == ["mlflow", "numpy", "pandas"]


def test_onnx_gives_the_logged_predictions(store, capsys):
    (run,) = bpexp.sweep(epochs=50, model__activation="softsign", model__bias_input=0.5).run_id
    assert "model.onnx: verified with onnxruntime." in exported(capsys, run, "--onnx")
    path = mlflow.artifacts.download_artifacts(f"runs:/{run}/model.onnx")
    tracked = inputs_of(run)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"inputs": tracked[["x1", "x2"]].to_numpy(np.float64)})
    np.testing.assert_allclose(outputs[:, 0], tracked["predicted y1"], rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("output", [*ACTIVATIONS])
@pytest.mark.parametrize("hidden", elementwise_activations())
def test_onnx_supports_every_activation(hidden, output):
    network = Network((2, 4, 3), (hidden, output), bias_input=0.5)
    weights, biases = init.initialize(network.sizes, "uniform", 1, -2.0, 2.0)
    X = np.random.RandomState(0).randn(7, 2)
    trained = TrainedNetwork(
        network, tuple(weights), tuple(biases), X.mean(0), X.std(0),
        ("a", "b"), ("c", "d", "e"), X, None,
    )  # fmt: skip
    outputs = onnx_file.run(onnx_file.model(trained), X)
    np.testing.assert_allclose(outputs, trained.predict(X), rtol=0.0, atol=1e-14)


def test_a_mini_batch_run_is_exported_with_its_final_weights(store, capsys):
    (run,) = bpexp.sweep(epochs=20, batch_size=2).run_id
    assert "it has the weights after the last mini-batch" in exported(capsys, run)
    path = mlflow.artifacts.download_artifacts(f"runs:/{run}/weights.npz")
    model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
    with np.load(path, allow_pickle=False) as arrays:
        hidden = 1.0 / (1.0 + np.exp(-arrays["b1"]))
        expected = 1.0 / (1.0 + np.exp(-(hidden @ arrays["W2"] + arrays["b2"])))
    got = model.predict(pd.DataFrame({"x1": [0.0], "x2": [0.0]}))
    assert got["y1"].item() == pytest.approx(expected.item(), rel=1e-14)


def refused(capsys, run, *options):
    with pytest.raises(SystemExit) as exit_info:
        commands.main(["export", run, *options])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


def test_a_run_without_a_network_is_refused_in_one_line(store, capsys, tmp_path):
    (run,) = bpexp.sweep(model="regressor", lr=1e200, epochs=50).run_id
    assert "it is diverged." in refused(capsys, run)
    parent = mlflow.MlflowClient(store).get_run(run).data.tags["mlflow.parentRunId"]
    assert "RUN must be a sweep with a run that finished" in refused(capsys, parent)
    assert "RUN must be the id" in refused(capsys, "nonsense")


def test_a_run_whose_data_have_changed_is_refused(store, capsys, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,y\n1,0\n2,1\n")
    data = {"name": "file", "path": str(file), "target": "y"}
    (run,) = bpexp.sweep(data=data, epochs=20).run_id
    file.write_text("a,y\n1,0\n3,1\n")
    assert "The data of data=file have changed since the run was trained" in refused(capsys, run)
    assert mlflow.MlflowClient(store).get_run(run).outputs.model_outputs == []


@pytest.mark.slow
def test_the_table_of_results_is_written_even_if_the_export_fails(store, inside, tmp_path):
    assert inside("-m", "lr=0.1,1", "epochs=5").returncode == 0
    # Nothing is exported to a folder that the user chose for the artifacts.
    mlflow.MlflowClient(store).create_experiment(
        "elsewhere", artifact_location=(tmp_path / "elsewhere").as_uri()
    )
    done = inside("-m", "lr=0.2,2", "epochs=5", "export=best", "tracking.experiment=elsewhere",
                  f"hydra.sweep.dir={tmp_path}/kept")  # fmt: skip
    assert done.returncode == 1
    assert "outside the folder of the store" in done.stderr
    assert pd.read_csv(tmp_path / "kept" / "results.csv").lr.tolist() == [0.2, 2.0]


def test_a_run_with_the_artifacts_of_another_run_is_refused(store, capsys):
    one, other = bpexp.sweep(seed=[1, 2], epochs=20).run_id
    folder = Path("outputs/artifacts")
    (folder / one).rename(folder / "swap")
    (folder / other).rename(folder / one)
    (folder / "swap").rename(folder / other)
    sweep = mlflow.MlflowClient(store).get_run(one).data.tags["mlflow.parentRunId"][:8]
    assert refused(capsys, one) == (
        f"bpexp: seed=1 ({one[:8]}) is altered: The losses, predictions and weights are those of "
        f"seed=2 ({other[:8]}); bpexp verify {one[:8]} says more, and bpexp resume {sweep} trains "
        "it again.\n"
    )


@pytest.mark.slow
def test_a_model_is_registered_with_an_alias(store, capsys):
    one, other = bpexp.sweep(seed=[1, 2], epochs=20).run_id
    assert "Registered as version 1 of my net: models:/my net@champion\n" in exported(
        capsys, one, "--register", "my net"
    )
    output = exported(capsys, other, "--register", "my net", "--alias", "staging")
    assert "Registered as version 2 of my net" in output
    assert "mlflow models serve -m 'models:/my net@staging' --env-manager local" in output
    api = mlflow.MlflowClient(store)
    for alias, number, run in (("champion", 1, one), ("staging", 2, other)):
        found = api.get_model_version_by_alias("my net", alias)
        assert (int(found.version), found.run_id) == (number, run)
    tracked = inputs_of(other)
    model = mlflow.pyfunc.load_model("models:/my net@staging")
    outputs = model.predict(tracked[["x1", "x2"]])
    np.testing.assert_array_equal(outputs["y1"], tracked["predicted y1"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--register", name], "--register must be a name") for name in ("", " ", "a/b", "a:b", "..")]
    + [(["--register", "net", "--alias", alias], "--alias must have letters")
       for alias in ("", "latest", "Latest", "v3", "a b", "a/b")],
)  # fmt: skip
def test_a_bad_name_or_alias_is_refused_before_a_model_is_logged(store, capsys, options, reason):
    archive = open_archive(locate(store, Path(), {}), "bpexp")
    with pytest.raises(ConfigError, match=reason):
        publish(archive, StoredRun("0" * 32, "x", "FINISHED"), registration=named(options))


def test_an_alias_without_a_registered_model_is_refused(store, capsys):
    assert refused(capsys, "latest", "--alias", "staging") == (
        "bpexp: --alias is of a registered model; add --register NAME.\n"
    )


def named(options):
    """The registration that options of the command line stand for."""
    return Registration(*[*options[1::2], "champion"][:2])


@pytest.mark.long
def test_the_printed_commands_serve_a_model_and_call_it(store, capsys, tmp_path):
    (run,) = bpexp.sweep(data="iris", model="classifier", epochs=30).run_id
    lines = exported(capsys, run, "--register", "iris net").splitlines()
    serve, call = (line.partition(" with: ")[2] for line in lines[-2:])
    port = free_port()
    # The served model does not need bpexp.
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "bpexp.py").write_text("raise ImportError('not here')")
    log = tmp_path / "log"
    scripts = str(Path(sys.executable).parent)
    with open(log, "w") as out:
        process = subprocess.Popen(
            f"{serve} --port {port}", shell=True, cwd=tmp_path, stdout=out, stderr=out,
            start_new_session=True,
            env={**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}",
                 "PYTHONPATH": str(tmp_path / "blocked")},
        )  # fmt: skip
    try:
        await_answer(f"http://127.0.0.1:{port}/ping", process, log.read_text)
        called = call.replace(":5000/", f":{port}/")
        done = subprocess.run(called, shell=True, capture_output=True, text=True, timeout=60)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["predictions"]
    first = inputs_of(run).iloc[0]
    assert list(answer.values()) == first.to_numpy()[-3:].tolist()
