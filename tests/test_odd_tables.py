"""Tables as other programs write them: the right values, or one sentence that says what to do."""

import bz2
import lzma
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.data_notes import notes
from bpexp.sweeps.plan import make_plan


def read(tmp_path, content, suffix=".csv", **settings):
    """The data set of a file with this content: text, bytes, or columns for Parquet."""
    path = tmp_path / f"t{suffix if isinstance(content, str | bytes) else '.parquet'}"
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(pa.table(content), path)
    settings = {"target": ("y",), "standardize": False, **settings}
    return load(FileConfig(name="file", path=str(path), **settings))


PLAIN = "a,y\n1.5,0\n2.5,1\n"


@pytest.mark.parametrize(
    ("content", "suffix", "settings"),
    [
        (PLAIN.encode("utf-16"), ".csv", {}),
        (b"\xfe\xff" + PLAIN.replace(",", "\t").encode("utf-16-be"), ".txt", {}),
        (bz2.compress(PLAIN.encode()), ".csv.bz2", {}),
        (lzma.compress(PLAIN.encode()), ".csv.xz", {}),
        (PLAIN.replace("\n", "\r").encode(), ".csv", {}),
        ("a,y\n1.5,0,\n2.5,1,\n", ".csv", {}),
        ("\n\na,y\n\n1.5,0\n  \n2.5,1\n", ".csv", {}),
        ('"a";"y"\n"1,5";"0"\n"2,5";"1"\n', ".csv", {"decimal": ","}),
        ("y,a\n-0,+1.5e0\n1,25E-1\n", ".csv", {}),
        ({"a": pa.array([1.5, 2.5], pa.float32()), "y": pa.array([0, 1], pa.uint64())}, "", {}),
        ({"y": pa.array(["0", "1"]), "a": pa.array([3, 5], pa.int8())}, "", {}),
        ({"y": [False, True, None], "a": pa.array([3, 5, 1])}, "", {"missing": "drop"}),
    ],
)
def test_a_table_in_an_unusual_form_has_its_values(tmp_path, content, suffix, settings):
    data = read(tmp_path, content, suffix, **settings)
    assert data.inputs == ("a",)
    doubled = np.issubdtype(data.X.dtype, np.floating) and data.X[0, 0] == 3.0
    assert (data.X / 2 if doubled else data.X).tolist() == [[1.5], [2.5]]
    classes = data.Y.argmax(axis=1) if data.is_one_hot else data.Y[:, 0]
    assert classes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("a;y\n1.250;0,5\n2;1,5\n", {"decimal": ","}, "got '1.250' in row 1.*thousands"),
        ("y;a\n1.250;0,5\n999;1,5\n", {"decimal": ","}, "got '1.250' in row 1 .1 of 2 cells"),
        ("a;y\n1,5;0\n?;1\n", {"decimal": ","}, "got '\\?' in row 2"),
        ("y;a\n1,5;0\n?;1\n", {"decimal": ","}, "got '\\?' in row 2 .1 of 2 cells"),
        ('a,y\n"1,250,000",0\n"900",1\n', {}, "got '1,250,000' in row 1.*thousands are separated"),
        ("a,y\n1e3,0\n1E-2,1\n1d3,1\n", {"categorical": "onehot"}, "got '1d3' in row 3"),
        ("gr\u00f6\u00dfe,y\n1,0\n".encode("latin-1"), {}, "must be text in UTF-8.*iconv"),
        ("a,y,\n1,0,\n2,1,\n", {}, "a separator at the end of lines.*data.drop"),
        ("a, y\n1, 0\n2, 1\n", {}, "got 'y'; did you mean ' y'\\?"),
        ("a,Y\n1,0\n2,1\n", {}, "got 'y'; did you mean 'Y'\\?"),
        ('a,y\n"1,0\n2,1\n', {}, "t.csv': a quote is not closed, in the cell starting at row 1"),
        ("# by x\na,y\n1,0\n", {}, "if the first line is a comment, delete it"),
        ("sep=;\na;y\n1;0\n", {}, "delete the first line, and add data.separator"),
        ("a|y\n1|0\n", {}, "if a character separates the columns, add data.separator"),
        ('a,y\n1,"u\tv"\n2,w\n', {}, "data.target must hold labels without control characters"),
        ('a,y\n"u\nv",0\nw,1\n', {"categorical": "onehot"}, "without control .*'a'; correct"),
        ("id,a,y\n1,5,0\n2,6,1\n3,7,0\n", {}, "numbers of its rows.*data.drop=..id"),
        ("a,y\n1, u\n2,v\n3,u\n", {}, "labels that look different, got ' u' and 'u' in column 'y'"),
        ("a,y\n1,u  w\n2,v\n3,u\u00a0w\n", {}, r"got 'u  w' and 'u.xa0w' in column 'y'"),
        ("a,y\n1,\u00e9\n2,v\n3,e\u0301\n", {}, r"got 'e.u0301' and '.xe9' in column 'y'"),
        ("a,y\nu ,0\nu,1\n", {"categorical": "onehot"}, "onehot must hold labels that look diff"),
        ("Index,a,y\n0,5,0\n1,6,1\n2,7,0\n", {}, "numbers of its rows.*data.inputs"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, content, settings, said):
    with pytest.raises(ConfigError, match=said) as error:
        read(tmp_path, content, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("id,a,y\n1,5,0\n2,6,1\n3,7,0\n", {"inputs": ("id", "a")}),
        ("x,a,y\n1,5,0\n2,6,1\n3,7,0\n", {}),
        ("id,a,y\n1,5,0\n3,6,1\n2,7,0\n", {}),
    ],
)
def test_numbers_of_rows_are_inputs_if_they_are_asked_for_or_named_otherwise(
    tmp_path, content, settings
):
    assert len(read(tmp_path, content, **settings).inputs) == 2


@pytest.mark.parametrize(
    "cells", [["30-39", "40-49"], ["<=50", ">50"], ["0-17", "65+"], ["(30, 39]", "(39, 50]"]]
)
def test_ranges_of_numbers_are_categories(tmp_path, cells):
    content = "a,y\n" + "".join(f'"{cell}",{row}\n' for row, cell in enumerate(cells))
    data = read(tmp_path, content, categorical="onehot")
    assert data.inputs == tuple(f"a={cell}" for cell in sorted(cells))


def test_categories_of_numbers_are_classes_in_a_file_and_from_python(tmp_path):
    frame = pd.DataFrame({"a": [0.5, 0.7, 0.9], "y": pd.Categorical([3, 1, 3])})
    frame.to_parquet(tmp_path / "t.parquet")
    path = str(tmp_path / "t.parquet")
    data = load(FileConfig(name="file", path=path, target=("y",)))
    assert (data.targets, data.labels) == (("y=1", "y=3"), (1, 3))
    assert bpexp.train(frame, target="y", epochs=1).predictor.classes == (1, 3)


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("a,y\n1,0\n2,0\n3,0\n", {"test": "a,y\n4,1\n"}, ["y=1"]),
        ("a,y\n1,-1\n2,-1\n", {"test": "a,y\n4,1\n"}, ["y=1"]),
        ("a,y\n1,u\n2,u\n", {"test": "a,y\n4,v\n"}, ["y=v"]),
        ("a,y,z\n1,0,1\n2,1,1\n", {"test": "a,y,z\n4,1,0\n"}, ["z=0"]),
        ("a,y\n1,0.5\n2,0.25\n", {"test": "a,y\n4,1\n"}, []),
    ],
)
def test_a_class_that_no_training_row_has_is_said(tmp_path, content, settings, said):
    (tmp_path / "t.csv").write_text(content)
    (tmp_path / "u.csv").write_text(settings["test"])
    target = ["y", "z"] if "z" in content.partition("\n")[0] else "y"
    plan = make_plan([
        compose_settings({
            "data": "file", "data__path": str(tmp_path / "t.csv"), "data__target": target,
            "data__test_path": str(tmp_path / "u.csv"), "model": "regressor",
        })
    ])  # fmt: skip
    assert [sentence.split()[6].rstrip(",") for sentence in notes(plan)] == said


@pytest.mark.parametrize(
    ("rows", "test", "said"),
    [
        ("1,0\n2,1\n3,1\n", "3,1\n1,0\n", "All test rows are training rows, too"),
        ("1,0\n2,1\n3,1\n", "1,0\n4,1\n", ""),
        ("1,0\n2,1\n3,1\n", "1,1\n", ""),
        ("-0.0,0\n2,1\n", "0,0\n", "All test rows are training rows, too"),
        ("1,1\n2,1\n3,1\n", "4,1\n", "All training rows have the same target"),
        ("1,0.5\n2,0.5\n", "3,0.7\n", "All training rows have the same target"),
        ("1,u\n2,u\n", "3,v\n", "No training row has the class y=v"),
    ],
)
def test_what_cannot_be_learned_or_tested_is_said(tmp_path, rows, test, said):
    (tmp_path / "t.csv").write_text(f"a,y\n{rows}")
    (tmp_path / "u.csv").write_text(f"a,y\n{test}")
    settings = {
        "data": "file", "data__path": str(tmp_path / "t.csv"), "data__target": "y",
        "data__test_path": str(tmp_path / "u.csv"), "model": "regressor",
    }  # fmt: skip
    sentences = notes(make_plan([compose_settings(settings)]))
    assert len(sentences) == bool(said)
    assert all(sentence.startswith(said) for sentence in sentences)


# Data from Python.

X = np.linspace(-1, 1, 12).reshape(6, 2)
Y = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]


def trained(X, y=None, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bpexp.train(X, y, epochs=2, **settings)


@pytest.mark.parametrize(
    ("given", "inputs", "targets"),
    [
        (lambda: (pd.DataFrame(np.c_[X, Y]), None, {"target": 2}), ("0", "1"), ("2",)),
        (lambda: (pd.DataFrame(np.c_[X, Y]), None, {"target": np.int64(2)}), ("0", "1"), ("2",)),
        (lambda: (pd.DataFrame(X, columns=["x", "y"]), Y, {}), ("x", "y"), ("target",)),
        (lambda: (X, pd.Series(Y, index=range(9, 3, -1)), {}), ("x1", "x2"), ("y",)),
        (lambda: (X, np.ma.masked_array(Y, False), {}), ("x1", "x2"), ("y",)),
        (lambda: (X.astype(object), tuple(Y), {}), ("x1", "x2"), ("y",)),
        (lambda: (pd.DataFrame(X > 0, columns=["a", "b"]), Y, {}), ("a", "b"), ("y",)),
    ],
)
def test_data_of_python_are_taken_as_they_are_meant(given, inputs, targets):
    values, y, settings = given()
    result = trained(values, y, **settings)
    assert (result.dataset.inputs, result.dataset.targets) == (inputs, targets)
    assert result.dataset.Y[:, 0].tolist() == Y


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: trained(pd.DataFrame(X, columns=["a", "a"]), Y), "different names, got 'a' twice"),
        (lambda: trained(pd.DataFrame(X, columns=[1, "1"]), Y), "different names, got '1' twice"),
        (lambda: trained(np.ma.masked_array(X, X > 0), Y), "got nan in column 'x1', row 4"),
        (lambda: trained("t.csv", Y), "must be a table of pandas.*got str; for a file use"),
        (lambda: trained({"a": [1]}, Y), "must be a table of pandas, an array or a list, got dict"),
        (lambda: trained(np.empty((3, 0)), [1, 0, 1]), "X must have at least one column"),
        (lambda: bpexp.train(data=[X, Y]), "or a tuple .X, y., got list"),
        (lambda: bpexp.train(data=(X, Y, Y)), "or a tuple .X, y., got tuple"),
        (lambda: bpexp.sweep(X, Y, lr=[0.1, 1]), "Arguments must be texts.*data=.X, y."),
        (lambda: bpexp.sweep(lr={0.1, 1}), "lr must be a list, which has an order, got a set"),
        (lambda: bpexp.sweep("seed=range(0,3),5"), "seed must be one range or list, or values"),
        (lambda: bpexp.train(lr=pd.NA), "lr must be a finite number above 0"),
        (lambda: trained(X, ["u"] * 6, model="classifier"), "at least two classes, got only 'u'"),
    ],
)
def test_what_python_cannot_mean_is_refused_in_one_sentence(call, said):
    with pytest.raises(ConfigError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def fitted():
    return trained(pd.DataFrame(X, columns=["a", "b"]), np.arange(6.0) - 2, model="regressor")


@pytest.mark.parametrize(
    "form",
    [
        lambda X: pd.DataFrame(X, columns=["a", "b"]).assign(y=0)[["y", "b", "a"]],
        lambda X: X.tolist(),
        lambda X: X.astype("float32").astype(float).astype(object),
        lambda X: pd.DataFrame({"b": map(str, X[:, 1]), "a": pd.array(X[:, 0], "Float64")}),
    ],
)
def test_new_rows_are_taken_in_any_form(fitted, form):
    rows = np.array([[0.0, 1.0], [0.5, -2.0]])
    assert fitted.predict(form(rows)).tolist() == fitted.predict(rows).tolist()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda r: r.predict(pd.DataFrame(np.ones((2, 3)), columns=list("aba"))), "'a' twice"),
        (lambda r: r.predict(pd.DataFrame({"A": [1], "b": [1]})), "none named 'a'"),
        (lambda r: r.predict(np.ma.masked_array(X, X > 0)), "none in column 'a', row 4"),
        (lambda r: r.score(X, [np.nan] * 6), "y must hold finite numbers"),
        (lambda r: r.score(X, np.ones(6) * 1j), "y must hold real numbers"),
        (lambda r: r.score(X, ["u"] * 6), "y must hold numbers"),
    ],
)
def test_new_rows_that_do_not_fit_are_refused(fitted, call, said):
    with pytest.raises(ConfigError, match=said):
        call(fitted)
