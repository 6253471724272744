"""Standardization: means and scales are those of scikit-learn's StandardScaler."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.data.preparation import fit
from bpexp.data.splits import moments


@pytest.mark.parametrize("value", [0.0, 0.7, -0.1, 1e-300, 1e17, 12345.678])
@pytest.mark.parametrize("rows", [1, 3, 10, 1000])
def test_a_constant_column_has_the_scale_one(value, rows):
    mean, scale = moments(np.full((rows, 1), value))
    assert scale.tolist() == [1.0]
    assert mean[0] == pytest.approx(value, rel=1e-12)


def test_a_test_value_of_a_constant_column_keeps_its_size():
    X = np.array([[0.7]] * 10 + [[0.8]])
    made = fit(X, ("a",), {}, np.arange(10), standardize=True)
    assert made.transform(X)[10, 0] == pytest.approx(0.1)


def test_a_small_deviation_on_a_large_mean_is_no_constant():
    _, scale = moments(np.array([[1e6], [1e6 + 1e-3]]))
    assert scale[0] == pytest.approx(5e-4, rel=1e-6)


def test_the_scale_of_a_tiny_column_is_kept():
    _, scale = moments(np.array([[1e-150], [3e-150]]))
    assert scale[0] == pytest.approx(1e-150)


COLUMN = st.one_of(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
    st.tuples(st.floats(-1e6, 1e6), st.integers(2, 30)).map(lambda t: [t[0]] * t[1]),
)


@given(COLUMN)
def test_mean_and_scale_are_those_of_scikit_learn(values):
    column = np.array(values)[:, None]
    # Near the bound the two programs may round a variance to different sides of it.
    spread, size = np.ptp(column), abs(column).max()
    if 0 < spread <= 1e-9 * size:
        return
    scaler = StandardScaler().fit(column)
    mean, scale = moments(column)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-6)


def test_a_table_of_many_rows_is_prepared_as_by_scikit_learn(tmp_path):
    """It is computed in blocks of rows; no cell is missing, but new rows may have missing cells."""
    X = np.random.default_rng(0).normal(3.0, 2.0, (1001, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=0.5)
    frame.to_parquet(tmp_path / "t.parquet")
    config = FileConfig(
        name="file", path=str(tmp_path / "t.parquet"), target=("y",), test_fraction=0.3,
        missing="median",
    )  # fmt: skip
    dataset = load(config)
    train, test = (numbers - 1 for numbers in (dataset.rows.training, dataset.rows.test))
    scaler = StandardScaler().fit(X[train])
    np.testing.assert_allclose(dataset.X, scaler.transform(X[train]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dataset.X_test, scaler.transform(X[test]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dataset.preparation.medians, np.median(X[train], axis=0))


def test_the_terminal_shows_the_units_of_the_file(inside, put_store, tmp_path):
    put_store(tmp_path)
    prices = "".join(f"{x},{1000 + 250 * x}\n" for x in (3, 7, 20))
    (tmp_path / "prices.csv").write_text(f"rooms,price\n{prices}")
    found = inside(
        "data=file", "data.path=prices.csv", "data.target=price", "model=regressor", "epochs=3"
    )
    rows = [line.split()[:2] for line in found.stdout.splitlines()]
    at = rows.index(["rooms", "price"])
    assert rows[at + 1 : at + 4] == [["3", "1750"], ["7", "2750"], ["20", "6000"]]
