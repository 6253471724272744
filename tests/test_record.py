"""What is tracked of a run: its settings, its metrics, its files, byte for byte."""

import csv
import io
import zipfile
from dataclasses import replace

import numpy as np
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bpexp.config.compose import compose_settings
from bpexp.config.schema import flatten, parse, plain
from bpexp.data import load
from bpexp.runs.result import Outcome, TrainResult
from bpexp.tracking import record

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
def test_settings_are_those_of_the_whole_configuration_in_one_piece(seed, lr, low, hidden, bits):
    config = replace(
        DEFAULT, seed=seed, lr=lr, hidden=hidden, data=replace(PARITY, bits=bits),
        model=replace(DEFAULT.model, init_low=low),
    )  # fmt: skip
    params, document = record.settings(config)
    assert document.decode() == yaml.safe_dump(plain(config), sort_keys=False)
    assert params == {key: str(value) for key, value in flatten(plain(config)).items()}


def test_of_a_session_every_setting_is_kept_but_no_password():
    asked = {"backend": "dask", "tracking__uri": "postgresql://me:secret@host/db"}
    assert record.session_settings(parse(compose_settings(asked))[1]) == {
        "n_jobs": "-1", "engine": "auto", "reuse": "False", "export": "None",
        "backend.name": "dask", "backend.address": "None",
        "tracking.uri": "postgresql://me:***@host/db", "tracking.experiment": "bpexp",
        "tracking.points": "100", "tracking.runs": "True",
    }  # fmt: skip


def result(losses, predictions):
    one = np.ones((1, 1))
    return TrainResult(Outcome.COMPLETED, losses, predictions, (one, 2 * one), (3 * one, 4 * one))


@given(arrays("float64", (4, 1)))
def test_predictions_are_the_table_that_the_csv_module_writes(predictions):
    dataset = load(DEFAULT.data)
    written = record.artifacts(result(np.ones(3), predictions), dataset)["predictions.csv"]
    expected = io.StringIO()
    writer = csv.writer(expected, lineterminator="\n")
    names = [*dataset.inputs, *dataset.targets]
    writer.writerow([*names, *(f"predicted {name}" for name in dataset.targets)])
    writer.writerows(np.hstack([dataset.X, dataset.Y, predictions]).tolist())
    assert written.decode() == expected.getvalue()


def test_arrays_are_kept_to_the_bit_in_files_without_a_date():
    losses = np.array([1.0, -0.0, np.nan, np.inf, 5e-324])
    files = record.artifacts(result(losses, np.ones((4, 1))), load(DEFAULT.data))
    kept = np.load(io.BytesIO(files["losses.npz"]), allow_pickle=False)
    assert kept["loss"].tobytes() == losses.tobytes()
    weights = np.load(io.BytesIO(files["weights.npz"]), allow_pickle=False)
    assert {name: weights[name].item() for name in weights} == {"W1": 1, "b1": 3, "W2": 2, "b2": 4}
    for name in ("losses.npz", "weights.npz"):
        with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_metrics_are_points_of_the_curve_and_the_final_figures():
    losses = np.array([4.0, 3.0, 2.0, 1.0])
    made = record.metrics(replace(result(losses, np.ones((4, 1))), accuracy=0.5), 2)
    assert made == [
        ("loss", 4.0, 1), ("loss", 1.0, 4),
        ("final_loss", 1.0, 4), ("epochs_run", 4.0, 4), ("accuracy", 0.5, 4),
    ]  # fmt: skip
    assert {type(point.value) for point in made} == {float}
    assert [m.key for m in record.metrics(result(losses, np.ones((4, 1))), 0)] == [
        "final_loss",
        "epochs_run",
    ]
