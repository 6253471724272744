"""The parameters, metrics and artifacts that are stored for a run, byte for byte."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bpexp.config.compose import compose_settings
from bpexp.config.schema import flatten, parse, plain
from bpexp.data import load
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
        "n_jobs": "-1", "engine": "auto", "reuse": "False", "export": "None",
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
    writer.writerow([*names, *(f"predicted {name}" for name in dataset.targets)])
    writer.writerows(np.hstack([dataset.X, dataset.Y, predictions]).tolist())
    assert files["predictions.csv"].decode() == expected.getvalue()


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
