"""Predictions for new rows: from Python with arrays and tables, and on the command line."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exact_csv import read_csv
from sklearn import datasets, metrics
from sklearn.preprocessing import StandardScaler

import bpexp
from bpexp.fields.checks import ConfigError

IRIS, SPECIES = datasets.load_iris(return_X_y=True)
CLASSIFIER = {"model": "classifier", "hidden": 3, "lr": 0.01, "epochs": 60}
REGRESSOR = {"model": "regressor", "hidden": 3, "lr": 0.002, "epochs": 60}


@pytest.fixture(scope="module")
def iris():
    return bpexp.train(IRIS, SPECIES, **CLASSIFIER, data__test_fraction=0.2)


def softmax_network(result, X):
    """The forward pass with NumPy."""
    h = 1 / (1 + np.exp(-(X @ result.weights[0] + result.biases[0])))
    if result.config.model.activation == "tanh":
        h = np.tanh(X @ result.weights[0] + result.biases[0])
    e = np.exp(h @ result.weights[1] + result.biases[1])
    return e / e.sum(axis=1, keepdims=True)


def test_predictions_of_arrays_are_those_of_the_network_on_standardized_inputs(iris):
    # The rows that were not held out are in the order of the table.
    rows = iris.dataset.rows
    scaler = StandardScaler().fit(IRIS[rows.training - 1])
    expected = softmax_network(iris, scaler.transform(IRIS))
    np.testing.assert_allclose(iris.predict_proba(IRIS), expected, rtol=1e-9)
    predicted = iris.predict(IRIS)
    assert predicted.tolist() == expected.argmax(axis=1).tolist()
    assert predicted.dtype == SPECIES.dtype
    assert iris.score(IRIS, SPECIES) == metrics.accuracy_score(SPECIES, predicted)
    held_out = rows.test - 1
    assert iris.score(IRIS[held_out], SPECIES[held_out]) == iris.metrics["test_accuracy"]


def test_data_may_be_a_pair_a_table_or_lists(iris):
    table = pd.DataFrame(IRIS).assign(species=SPECIES)
    same = [
        bpexp.train(data=(IRIS, SPECIES), **CLASSIFIER, data__test_fraction=0.2),
        bpexp.train(table, target="species", **CLASSIFIER, data__test_fraction=0.2),
        bpexp.train(data=table, target="species", **CLASSIFIER, data__test_fraction=0.2),
        bpexp.train(IRIS.tolist(), SPECIES.tolist(), **CLASSIFIER, data__test_fraction=0.2),
    ]
    for result in same:
        assert result.losses.tolist() == iris.losses.tolist()
    reordered = table[table.columns[::-1]]
    assert same[1].predict(reordered).tolist() == iris.predict(IRIS).tolist()


def test_texts_and_booleans_are_predicted_as_such():
    names = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
    result = bpexp.train(IRIS, pd.Series(names), **CLASSIFIER)
    assert result.score(IRIS, names) == (result.predict(IRIS) == names).mean()
    result = bpexp.train(IRIS, SPECIES == 0, **CLASSIFIER)
    assert result.predict(IRIS).dtype == bool
    assert result.score(IRIS, SPECIES == 0) == 1.0


def test_regressions_predict_in_the_units_of_the_targets():
    X, y = datasets.load_diabetes(return_X_y=True)
    result = bpexp.train(X, y, **REGRESSOR)
    assert result.score(X, y) == pytest.approx(metrics.r2_score(y, result.predict(X)), rel=1e-9)
    assert result.score(X, y) > 0.2
    two = bpexp.train(X, np.column_stack([y, -y]), **REGRESSOR)
    assert two.predict(X).shape == (len(X), 2)
    np.testing.assert_allclose(two.score(X, np.column_stack([y, -y])), metrics.r2_score(
        np.column_stack([y, -y]), two.predict(X)
    ), rtol=1e-9)  # fmt: skip


def test_texts_and_missing_values_of_new_rows_are_prepared_as_in_training():
    table = pd.DataFrame({
        "size": [1.0, 2.0, np.nan, 4.0] * 5, "color": ["red", "blue", "red", "blue"] * 5,
        "price": [1.0, 5.0, 2.0, 6.0] * 5,
    })  # fmt: skip
    settings = {**REGRESSOR, "data__categorical": "onehot", "data__missing": "median"}
    result = bpexp.train(table, target="price", **settings)
    new = pd.DataFrame({"color": ["red", "green"], "size": [2.0, np.nan]})
    median = result.dataset.preparation.medians[0]
    filled = new.assign(size=new["size"].fillna(median))
    assert result.predict(new).tolist() == result.predict(filled).tolist()
    assert result.predict(new[["size", "color"]].to_numpy()).tolist() == (
        result.predict(new).tolist()
    )


def test_built_in_data_sets_predict_their_own_values():
    result = bpexp.train(lr=1, hidden=4, epochs=2000, data__low=0.1, data__high=0.9)
    assert set(result.predict([[0, 0], [0, 1]]).tolist()) <= {0.1, 0.9}
    with pytest.raises(ConfigError, match="Probabilities need a classification"):
        result.predict_proba([[0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: bpexp.train(IRIS), "target must name the column"),
        (lambda r: bpexp.train(y=SPECIES), "X must be given with y"),
        (lambda r: bpexp.train(IRIS, SPECIES[:5]), "same number of rows, got 150 and 5"),
        (lambda r: bpexp.train(IRIS[:, 0], SPECIES), "X must have two dimensions"),
        (lambda r: bpexp.train([[1], [1, 2]], [0, 1]), "X must have rows of equal length"),
        (lambda r: bpexp.train(IRIS, SPECIES, target="y"), "target must be left out if y"),
        (lambda r: bpexp.train(IRIS, SPECIES, data="xor"), "data must be left out if X"),
        (lambda r: bpexp.train(target="y"), "target must go with a table of pandas"),
        (lambda r: bpexp.train(IRIS, SPECIES, data__path="a.csv"), "data__path must be left out"),
        (lambda r: r.predict(IRIS[:, :3]), r"X must have 4 columns .*\(150, 3\)"),
        (lambda r: r.predict(IRIS[0]), r"X must have 4 columns .*\(4,\)"),
        (lambda r: r.predict(IRIS[:0]), "at least one row"),
        (lambda r: r.predict([[1, 2, np.nan, 4]]), "a value in every cell, .*'x3', row 1"),
        (lambda r: r.predict([[1, 2, "a", 4]]), "finite numbers in column 'x3', got 'a' in row 1"),
        (lambda r: r.predict([[1, 2, np.inf, 4]]), "finite numbers in column 'x3', got inf"),
        (lambda r: r.predict(pd.DataFrame({"x1": [1]})), "none named 'x2', 'x3', 'x4'"),
        (lambda r: r.score(IRIS, SPECIES[:5]), "y must have the shape"),
        (lambda r: r.score(IRIS, SPECIES.astype(str)), "y must hold classes such as 0, got '"),
        (
            lambda r: bpexp.train(IRIS, SPECIES, model="regressor", lr=1e300).predict(IRIS),
            "has diverged",
        ),
    ],
)
def test_bad_data_are_refused_in_one_sentence(iris, call, message):
    with pytest.raises(ConfigError, match=message):
        call(iris)


@pytest.mark.usefixtures("a_store")
def test_sweeps_take_data_from_python_and_keep_them(inside, iris):
    table = bpexp.sweep(
        data=(IRIS, SPECIES), **CLASSIFIER, seed=[42, 43], data__test_fraction=0.2, n_jobs=1,
        backend="serial",
    )  # fmt: skip
    assert table["final_loss"][0] == iris.final_loss
    assert inside("reproduce", "latest").stdout.startswith("2 of 2 runs identical")
    pd.DataFrame(IRIS, columns=["x1", "x2", "x3", "x4"]).to_csv("new.csv", index=False)
    done = inside("predict", table["run_id"][0], "new.csv")
    printed = read_csv(io.StringIO(done.stdout))
    assert printed["row"].tolist() == list(range(1, 151))
    assert printed["predicted y"].tolist() == iris.predict(IRIS).tolist()
    probabilities = printed[[f"probability of {label}" for label in range(3)]]
    np.testing.assert_array_equal(probabilities.to_numpy(), iris.predict_proba(IRIS))
    done = inside("predict", "latest", "new.csv", "--output", "out.csv")
    assert "out.csv (150 rows)" in done.stdout
    written = Path("out.csv").read_bytes()
    # Earlier predictions may be written again.
    assert inside("predict", "latest", "new.csv", "--output", "out.csv").returncode == 0
    assert Path("out.csv").read_bytes() == written
    (artifact,) = Path("outputs/artifacts", table["run_id"][0]).rglob("predictions.csv")
    for file in ("new.csv", "outputs/mlflow.db", str(artifact)):
        before = Path(file).read_bytes()
        refused = inside("predict", "latest", "new.csv", "--output", file)
        assert refused.returncode == 2
        assert "--output must be a new file" in refused.stderr
        assert Path(file).read_bytes() == before
    for arguments, message in (
        (["nope.csv"], "FILE must be an existing file, got 'nope.csv'"),
        (["new.csv", "--output", "none/out.csv"], "--output must be a file that can be written"),
    ):
        done = inside("predict", "latest", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
