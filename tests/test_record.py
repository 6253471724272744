"""The parameters, metrics and artifacts that are stored for a run, byte for byte."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from exact_csv import read_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_iris
from sklearn.metrics import confusion_matrix

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.config.schema import flatten, parse, plain
from bpexp.data import load
from bpexp.runs import predictions_file
from bpexp.runs.result import Outcome, TrainResult
from bpexp.sweeps import run_record

DEFAULT = parse(compose_settings({}))[0]
PARITY = parse(compose_settings({"data": "parity"}))[0].data
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(
    seed=st.integers(0, 2**32 - 1),
    lr=numbers,
    low=st.sampled_from([0.0, -0.0, 1.0, -1.5]),
    hidden=st.lists(st.integers(1, 99), max_size=30).map(tuple),
    bits=st.integers(2, 6),
)
def test_parameters_and_yaml_equal_those_of_the_whole_configuration(seed, lr, low, hidden, bits):
    config = replace(
        DEFAULT, seed=seed, lr=lr, hidden=hidden, data=replace(PARITY, bits=bits),
        model=replace(DEFAULT.model, init_low=low),
    )  # fmt: skip
    params, document = run_record.config_documents(config)
    assert document.decode() == yaml.safe_dump(plain(config), sort_keys=False)
    assert params == {key: str(value) for key, value in flatten(plain(config)).items()}


def test_runtime_settings_are_stored_without_passwords():
    settings = {"backend": "dask", "tracking__uri": "postgresql://me:secret@host/db"}
    assert run_record.runtime_params(parse(compose_settings(settings))[1]) == {
        "n_jobs": "-1", "engine": "auto", "reuse": "False", "export": "None", "confirm": "0",
        "objective.name": "None", "objective.allow_test": "False",
        "backend.name": "dask", "backend.address": "None",
        "tracking.uri": "postgresql://me:***@host/db", "tracking.experiment": "bpexp",
        "tracking.points": "100", "tracking.runs": "True",
    }  # fmt: skip


def result(losses, predictions):
    one = np.ones((1, 1))
    return TrainResult(Outcome.COMPLETED, losses, predictions, (one, 2 * one), (3 * one, 4 * one))


@given(arrays("float64", (4, 1)))
def test_predictions_csv_equals_what_the_csv_module_writes(predictions):
    dataset = load(DEFAULT.data)
    files = run_record.result_artifacts(result(np.ones(3), predictions), dataset)
    expected = io.StringIO()
    writer = csv.writer(expected, lineterminator="\n")
    names = [*dataset.inputs, *dataset.targets]
    outputs = [f"predicted {name}" for name in dataset.targets]
    writer.writerow(["row", "split", *names, "predicted label", *outputs])
    for row, (X, Y, output) in enumerate(zip(dataset.X, dataset.Y, predictions, strict=True), 1):
        label = float(output[0] > 0.5)
        writer.writerow([row, "training", *map(float, (*X, *Y)), label, *map(float, output)])
    assert files["predictions.csv"].decode() == expected.getvalue()
    stored = predictions_file.training_outputs(files["predictions.csv"], 1, "predictions.csv")
    np.testing.assert_array_equal(stored, predictions)


SPLIT = {"test_fraction": 0.2, "validation_fraction": 0.2}


@pytest.mark.parametrize("limit", [10_000, 0])
@pytest.mark.parametrize(
    ("name", "model"), [("iris", "classifier"), ("table", "regressor"), ("bits", "sigmoid")]
)
def test_all_rows_are_stored_with_their_number_split_target_and_prediction(
    tmp_path, monkeypatch, limit, name, model
):
    monkeypatch.setattr(predictions_file, "MAX_CSV_NUMBERS", limit)
    random = np.random.RandomState(3)
    table = pd.DataFrame({"a": random.rand(30).round(3), "b": random.rand(30).round(3)})
    table["y"] = 100 * table["a"] + 5 if name == "table" else (table["a"] > 0.5).astype(int)
    if name == "bits":
        table["z"] = (table["b"] > 0.4).astype(int)
    table.to_csv(tmp_path / "t.csv", index=False)
    targets = ["y"] if name == "table" else ["y", "z"]
    data = {"name": "file", "path": str(tmp_path / "t.csv"), "target": targets, **SPLIT}
    if name == "iris":
        data = {"name": "iris", **SPLIT, "standardize": True}
    trained = bpexp.train(data=data, model=model, hidden=3, epochs=20, lr=0.01)
    dataset = trained.dataset
    title, content = predictions_file.of_result(trained, dataset)
    assert title == ("predictions.csv" if limit else "predictions.parquet")
    reader = read_csv if limit else pd.read_parquet
    stored = reader(io.BytesIO(content)).sort_values("row").reset_index(drop=True)
    assert stored["row"].tolist() == list(range(1, (150 if name == "iris" else 30) + 1))
    for split in ("training", "validation", "test"):
        rows = stored.loc[stored["split"] == split, "row"]
        assert rows.tolist() == sorted(getattr(dataset.rows, split))
    outputs = stored[[f"predicted {target}" for target in dataset.targets]].to_numpy()
    others = stored["split"] != "training"
    raw = load_iris().data if name == "iris" else table[["a", "b"]]
    if limit:
        shown = stored[list(dataset.inputs)].to_numpy()
        np.testing.assert_array_equal(shown, np.asarray(raw))
    # Other rows than those of training belong to the weights that predict new rows.
    expected = trained.predictor.outputs(np.asarray(raw)[others])
    np.testing.assert_array_equal(outputs[others], expected)
    if name == "iris":
        assert stored["class"].tolist() == load_iris().target_names[load_iris().target].tolist()
        assert stored["predicted label"][others].tolist() == trained.predict(raw[others]).tolist()
    elif name == "table":
        np.testing.assert_array_equal(stored["y"], table["y"])
        assert "predicted label" not in stored
    else:
        assert stored[["y", "z"]].to_numpy().tolist() == table[["y", "z"]].to_numpy().tolist()
        labels = stored[["predicted label y", "predicted label z"]].astype(float).to_numpy()
        np.testing.assert_array_equal(labels, outputs > 0.5)


def test_runs_on_large_data_sets_do_not_repeat_their_inputs():
    names = tuple(f"x{i}" for i in range(784))
    dataset = replace(
        load(DEFAULT.data), X=np.zeros((100, 784)), Y=np.eye(100)[:, :1], inputs=names, rows=None
    )
    _, content = predictions_file.of_result(result(np.ones(3), np.ones((100, 1))), dataset)
    assert len(content) < 5000


def test_arrays_are_stored_bit_identically_in_files_without_dates():
    losses = np.array([1.0, -0.0, np.nan, np.inf, 5e-324])
    files = run_record.result_artifacts(result(losses, np.ones((4, 1))), load(DEFAULT.data))
    kept = np.load(io.BytesIO(files["losses.npz"]), allow_pickle=False)
    assert kept["loss"].tobytes() == losses.tobytes()
    weights = np.load(io.BytesIO(files["weights.npz"]), allow_pickle=False)
    assert {name: weights[name].item() for name in weights} == {"W1": 1, "b1": 3, "W2": 2, "b2": 4}
    for name in ("losses.npz", "weights.npz"):
        with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_metrics_are_points_of_the_loss_curve_and_the_final_values():
    losses = np.array([4.0, 3.0, 2.0, 1.0])
    metrics = {"final_loss": 1.0, "epochs_run": 4, "accuracy": 0.5}
    made = run_record.metric_points(replace(result(losses, np.ones((4, 1))), metrics=metrics), 2)
    assert made == [
        ("loss", 4.0, 1), ("loss", 1.0, 4),
        ("final_loss", 1.0, 0), ("epochs_run", 4.0, 0), ("accuracy", 0.5, 0),
    ]  # fmt: skip
    assert {type(point.value) for point in made} == {float}
    measured = replace(result(losses, np.ones((4, 1))), metrics={"final_loss": 1.0})
    assert [point.key for point in run_record.metric_points(measured, 0)] == ["final_loss"]


@given(st.integers(1, 1500), st.sampled_from(["x", "é" * 20, "n" * 300]))
@settings(max_examples=20)
def test_the_schema_of_a_data_set_is_valid_json_with_as_many_columns_as_fit(n_columns, name):
    dataset = replace(
        load(DEFAULT.data), inputs=tuple(f"{name}{i}" for i in range(n_columns)), digest="d" * 64
    )
    stored = run_record.dataset_input(dataset)
    names = [column["name"] for column in json.loads(stored.schema)["mlflow_colspec"]]
    assert names == [*dataset.inputs, *dataset.targets][: len(names)]
    assert len(stored.schema) <= 60_000
    counts = json.loads(stored.profile)
    if len(names) <= n_columns:
        assert len(stored.schema) > 58_000
        assert counts["num_columns"] == n_columns + 1
        assert counts["num_columns_in_schema"] == len(names)
    else:
        assert "num_columns" not in counts


def test_a_confusion_matrix_of_each_kind_of_rows_is_a_table_and_a_picture():
    trained = bpexp.train(data={"name": "iris", **SPLIT, "standardize": True}, model="classifier",
                          hidden=3, epochs=20, lr=0.01)  # fmt: skip
    files = run_record.result_artifacts(trained, trained.dataset)
    stored = read_csv(io.BytesIO(files["confusion_matrix.csv"]))
    table = read_csv(io.BytesIO(files["predictions.csv"]))
    assert stored["split"].drop_duplicates().tolist() == ["training", "validation", "test"]
    for split, matrix in stored.groupby("split"):
        rows = table[table["split"] == split]
        expected = confusion_matrix(rows["class"], rows["predicted label"])
        assert matrix.iloc[:, 2:].to_numpy().tolist() == expected.tolist()
    picture = ElementTree.fromstring(files["confusion_matrix.svg"])
    texts = [element.text for element in picture.iter() if element.tag.endswith("text")]
    assert texts[0] == "Confusion matrix: 30 test rows"
    counts = [int(text) for text in texts if text.isdecimal()]
    assert counts == matrix_of(stored, "test")


def matrix_of(stored, split):
    return stored[stored["split"] == split].iloc[:, 2:].to_numpy().ravel().tolist()


@pytest.mark.parametrize("settings", [{}, {"data": "encoder", "hidden": 3}])
def test_small_data_sets_and_regressions_have_no_confusion_matrix(settings):
    trained = bpexp.train(**settings, epochs=5)
    assert "confusion_matrix.csv" not in run_record.result_artifacts(trained, trained.dataset)
