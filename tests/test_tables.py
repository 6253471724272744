"""Tables of users: what is read as a number, a label or a name, and what is refused."""

import gzip
import io
import zipfile
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exact_csv import read_csv
from hypothesis import given
from hypothesis import strategies as st

from bpexp.config.compose import compose_settings
from bpexp.config.schema import parse
from bpexp.data import columns, load, plain_text, preparation, text_files, tiles
from bpexp.data.file_settings import FileConfig
from bpexp.data.tabular import read_table
from bpexp.data.text_files import _exact_floats
from bpexp.fields.checks import ConfigError


@pytest.fixture
def table(tmp_path):
    """Loads a CSV text or a mapping of columns, which is written as Parquet."""

    def made(content, target="y", **settings):
        path = tmp_path / ("t.csv" if isinstance(content, str) else "t.parquet")
        if isinstance(content, str):
            path.write_text(content)
        else:
            pq.write_table(pa.table(content), path)
        targets = (target,) if isinstance(target, str) else target
        settings = {"standardize": False, **settings}
        return load(FileConfig(name="file", path=str(path), target=targets, **settings))

    return made


@pytest.fixture
def refusal(table):
    """The message with which a table is refused."""

    def made(content, target="y", **settings):
        with pytest.raises(ConfigError) as error:
            table(content, target, **settings)
        return str(error.value)

    return made


def csv_of(cells, name="y"):
    return f"a,{name}\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))


# Targets.


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint64", "int8", "int16", "int64", "float32", "float64", "Int64"]
)
def test_a_target_of_any_numeric_type_is_one_output(table, dtype):
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0], "y": pd.Series([10, 20, 30], dtype=dtype)})
    data = table(pa.Table.from_pandas(frame).to_pydict() | {"y": pa.array(frame["y"])})
    assert data.targets == ("y",)
    assert data.Y.tolist() == [[10], [20], [30]]
    assert not data.is_classification


def test_decimal_numbers_in_parquet_are_one_output(table):
    data = table({"a": [1.0, 2.0], "y": pa.array([Decimal("1.50"), Decimal("2.25")])})
    assert data.Y.tolist() == [[1.5], [2.25]]


def test_texts_and_booleans_are_classes_by_default(table):
    assert table(csv_of(["u", "v", "u"])).targets == ("y=u", "y=v")
    assert table(csv_of(["True", "False", "True"])).targets == ("y=False", "y=True")


def test_one_text_among_numbers_is_refused_with_its_row(refusal):
    cells = [str(i) for i in range(400)]
    cells[251] = "?"
    message = refusal(csv_of(cells))
    assert "'?' in row 252 (1 of 400 cells are no numbers) in column 'y'" in message
    assert "data.task=classification" in message
    assert """missing values, add 'data.missing_values=["?"]';""" in message


def test_texts_that_look_like_numbers_are_refused_as_labels(refusal):
    message = refusal(csv_of(['"1,250"', '"2,100"', '"3,000"']))
    assert "'1,250' in row 1 (3 of 3 cells are no numbers)" in message
    assert "thousands are separated" in message
    assert """decimal mark, add 'data.decimal=","\'""" in message


def test_a_regression_refuses_texts_and_names_the_first(refusal):
    message = refusal(csv_of(["1", '"1,250"', "x"]), task="regression")
    assert message.startswith("data.path must hold numbers in column 'y', got '1,250' in row 2 of ")
    assert "and 1 more in the column" in message


def test_a_classification_makes_each_number_a_class(table):
    data = table(csv_of(["3", "1", "3"]), task="classification")
    assert data.targets == ("y=1", "y=3")
    assert data.is_one_hot


def test_a_classification_keeps_mixed_texts_as_labels(table):
    data = table(csv_of(["1", "?", "1"]), task="classification")
    assert data.targets == ("y=1", "y=?")


def test_a_regression_of_zeros_and_ones_has_no_accuracy(table):
    assert table(csv_of(["0", "1"])).is_classification
    assert not table(csv_of(["0", "1"]), task="regression").is_classification


def test_several_binary_targets_are_a_classification_without_one_hot(table):
    data = table("a,y,z\n1,1,0\n2,0,0\n", ("y", "z"), task="classification")
    assert data.targets == ("y", "z")
    assert (data.is_classification, data.is_one_hot) == (True, False)


# Inputs.


def test_the_message_names_the_real_row_and_value(refusal):
    message = refusal("a,y\n5.1,0\n4.9,1\n?,0\n")
    assert message.startswith("data.path must hold numbers in column 'a', got '?' in row 3 of ")


def test_all_columns_with_problems_are_in_one_message(refusal):
    message = refusal("a,b,c,y\n1,,1,0\nx,2,inf,1\nz,3,2,0\n")
    assert "column 'a', got 'x' in row 2 of" in message
    assert "and 1 more in the column" in message
    assert "1 in 'b' (first nan in row 1), 1 in 'c' (first inf in row 2)" in message
    assert "data.drop" in message


@pytest.mark.parametrize("cell", ["2020_01", "1_000", "0x10", "１２", "1,5", "--1", "1.2.3"])
def test_a_text_that_python_or_a_person_reads_as_a_number_is_none(refusal, cell):
    assert f"got {cell!r} in row 2" in refusal(f'a,y\n1,0\n"{cell}",1\n')


def test_columns_can_be_chosen_and_left_out(table):
    content = "id,a,b,y\nr1,1,2,0\nr2,3,4,1\n"
    assert table(content, drop=("id",)).inputs == ("a", "b")
    assert table(content, inputs=("b",)).X.tolist() == [[2], [4]]
    assert table(content, inputs=("b", "a")).inputs == ("a", "b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": ("x",)}, "data.inputs must name columns of "),
        ({"drop": ("x",)}, "data.drop must name columns of "),
        ({"drop": ("y",)}, "data.drop must not name a target, got 'y'."),
        ({"inputs": ("a", "y")}, "data.inputs must not name a target, got 'y'."),
        ({"inputs": ("a",), "drop": ("a",)}, "data.drop must not name a column of data.inputs"),
        ({"drop": ("a",)}, "at least one row and one input column"),
    ],
)
def test_wrong_choices_of_columns_are_refused(refusal, settings, message):
    assert message in refusal("a,y\n1,0\n2,1\n", **settings)


# Headers.


@pytest.mark.parametrize("header", ["a,y,y", "y,a,a", '"a",a,y'])
def test_a_name_that_stands_twice_in_a_csv_header_is_refused(refusal, header):
    assert "must have different columns, got '" in refusal(f"{header}\n1,0,1\n2,1,0\n")


def test_a_column_that_is_called_as_pandas_renames_is_read(table):
    assert table("a,a.1,y\n1,2,0\n3,4,1\n").inputs == ("a", "a.1")


def test_an_index_that_pandas_wrote_is_refused_unless_a_setting_names_it(table, refusal):
    content = pd.DataFrame({"a": [1.5, 2.5], "y": [0, 1]}).to_csv()
    assert content.startswith(",a,y")
    assert 'data.drop=["Unnamed: 0"]' in refusal(content)
    assert table(content, drop=("Unnamed: 0",)).inputs == ("a",)
    assert table(content, inputs=("a",)).inputs == ("a",)
    assert table(content, inputs=("Unnamed: 0", "a")).X.tolist() == [[0, 1.5], [1, 2.5]]


def test_an_index_that_was_written_twice_is_refused(refusal):
    once = pd.DataFrame({"a": [1.5, 2.5], "y": [0, 1]}).to_csv()
    twice = pd.read_csv(io.StringIO(once)).to_csv(index=False)
    assert "got 'Unnamed: 0'" in refusal(twice)


# Against pandas and Python.


def test_old_versions_of_pandas_read_with_round_trip_precision():
    assert _exact_floats("3.0.2") == {"float_precision": "round_trip"}
    assert _exact_floats("2.2.3") == {"float_precision": "round_trip"}
    assert _exact_floats("3.1.1") == {}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_double_is_read_as_it_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("a,y\n" + "".join(f"{value!r},0.5\n" for value in values))
    data = load(FileConfig(name="file", path=str(path), target=("y",), standardize=False))
    assert data.X[:, 0].tolist() == values


CELL = st.one_of(
    st.floats().map(repr), st.integers().map(str), st.sampled_from(
        ["", "NA", "?", "1_0", " 1", "1 ", "+1", "1e5", "1E400", "True", "0x1", "1,5", "'1'", "-"]
    ), st.text("0123456789.eE+-_ ", max_size=6),
)  # fmt: skip


@given(st.lists(CELL, min_size=1, max_size=6))
def test_a_column_has_the_values_of_pandas_or_is_refused(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    frame = pd.DataFrame({"a": cells, "y": 0.5})
    frame.to_csv(path, index=False)
    try:
        data = load(FileConfig(name="file", path=str(path), target=("y",), standardize=False))
    except ConfigError:
        return
    expected = pd.to_numeric(read_csv(path, low_memory=False)["a"])
    assert data.X[:, 0].tolist() == expected.astype(float).tolist()
    assert np.isfinite(data.X).all()


@pytest.mark.parametrize(
    ("cells", "settings", "line"),
    [
        ("uvu", [], "Task: classification of y into 2 classes, by the values of the file; "),
        ("010", [], "Task: classification of y by two numbers, by the values of the file; "),
        ("567", ["model=regressor"], "Task: regression of y, by the values of the file; "),
    ],
)
def test_the_default_task_is_printed(inside, a_store, tmp_path, cells, settings, line):
    (tmp_path / "t.csv").write_text(csv_of(cells))
    table = ("data=file", "data.path=t.csv", "data.target=y", "epochs=2")
    assert f"\n{line}data.task changes it\n" in inside(*table, *settings).stdout
    chosen = inside(*table, *settings, "data.task=classification")
    assert chosen.returncode == 0
    assert "Task:" not in chosen.stdout


# Text files of other programs.


@pytest.mark.parametrize(
    ("name", "content", "settings"),
    [
        ("t.csv", b"a;y\n1,5;0\n2,5;1\n", {"decimal": ","}),
        ("t.csv", b"\xef\xbb\xbfa,y\r\n1.5,0\r\n2.5,1\r\n", {}),
        ("t.tsv", b"a\ty\n1.5\t0\n2.5\t1\n", {}),
        ("t.tsv", b"a\ty\tb, c\n1.5\t0\t1\n2.5\t1\t1\n", {"drop": ("b, c",)}),
        ("t.txt", b"a  y\n1.5  0\n2.5  1\n", {}),
        ("t.txt", b"a|y\n1.5|0\n2.5|1\n", {"separator": "|"}),
        ("t.csv.gz", gzip.compress(b"a,y\n1.5,0\n2.5,1\n", mtime=0), {}),
    ],
)
def test_text_files_are_read_in_their_form(tmp_path, name, content, settings):
    (tmp_path / name).write_bytes(content)
    settings = {"standardize": False, **settings}
    data = load(FileConfig(name="file", path=str(tmp_path / name), target=("y",), **settings))
    assert data.inputs == ("a",)
    assert (data.X.tolist(), data.Y.tolist()) == ([[1.5], [2.5]], [[0], [1]])


def test_a_file_without_a_header_has_numbers_as_names(tmp_path):
    (tmp_path / "iris.data").write_text("5.1,3.5,setosa\n4.9,3.0,virginica\n")
    path = str(tmp_path / "iris.data")
    data = load(FileConfig(name="file", path=path, target=("2",), header=False, standardize=False))
    assert data.inputs == ("0", "1")
    assert data.X.tolist() == [[5.1, 3.5], [4.9, 3.0]]
    assert data.targets == ("2=setosa", "2=virginica")


def test_a_path_may_start_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.csv").write_text("a,y\n1.5,0\n2.5,1\n")
    config = FileConfig(name="file", path="~/t.csv", target=("y",))
    assert len(load(config).X) == 2
    (tmp_path / "t.csv").write_text("a,y\n1.5,0\n")
    assert len(load(config).X) == 1


def test_a_zip_file_of_one_text_file_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as packed:
        packed.writestr("folder/t.csv", "a;y\n1,5;0\n2,5;1\n")
        packed.writestr("__MACOSX/t.csv", "x")
    config = FileConfig(name="file", path=str(tmp_path / "t.zip"), target=("y",), decimal=",")
    assert load(replace(config, standardize=False)).X.tolist() == [[1.5], [2.5]]
    with zipfile.ZipFile(tmp_path / "t.zip", "a") as packed:
        packed.writestr("u.csv", "a,y\n1,0\n")
    with pytest.raises(ConfigError, match=r"a zip file of one text file .* 'u\.csv'"):
        load(config)


@pytest.mark.parametrize(("setting", "value"), [("separator", ";"), ("missing_values", ("?",))])
def test_settings_of_text_files_are_refused_for_others(refusal, setting, value):
    message = refusal({"a": [1.0], "y": [1.0]}, **{setting: value})
    assert f"data.{setting} must go with a text file" in message


def test_a_first_line_of_numbers_gets_the_setting_to_add(refusal):
    assert "add data.header=false" in refusal("5.1,3.5,0\n4.9,3.0,1\n")
    assert "header" not in refusal("a,b\n1,2\n")


# Missing values.


MISSING = "a,b,y\n1,?,0\n,2,1\n3,4,0\n5, ?,1\n8,9,0\n"


def test_rows_with_missing_values_can_be_dropped(table):
    data = table(MISSING, missing_values=("?",), missing="drop")
    assert data.X.tolist() == [[3, 4], [8, 9]]
    assert data.rows.training.tolist() == [3, 5]


def test_missing_inputs_become_the_median_of_the_training_rows(table):
    data = table(MISSING, missing_values=("?",), missing="median")
    assert data.X.tolist() == [[1, 4], [4, 2], [3, 4], [5, 4], [8, 9]]
    split = table(MISSING, missing_values=("?",), missing="median", test_fraction=0.4)
    frame = pd.read_csv(io.StringIO(MISSING), na_values=["?", " ?"])
    medians = frame.iloc[split.rows.training - 1][["a", "b"]].median()
    filled = frame[["a", "b"]].fillna(medians)
    assert split.X.tolist() == filled.iloc[split.rows.training - 1].to_numpy().tolist()
    assert split.X_test.tolist() == filled.iloc[split.rows.test - 1].to_numpy().tolist()


@pytest.mark.parametrize("task", [None, "classification"])
def test_a_missing_target_is_refused_unless_its_row_is_dropped(table, refusal, task):
    content = "a,y\n1,0\n2,\n3,1\n"
    for missing in ("refuse", "median"):
        message = refusal(content, task=task, missing=missing)
        assert "in column 'y'" in message
        assert "row 2 of" in message
        assert "data.missing=drop;" in message
    assert len(table(content, task=task, missing="drop").Y) == 2


def test_the_message_about_missing_and_odd_cells_has_the_settings_that_help(refusal):
    message = refusal(MISSING)
    assert "got '?' in row 1 of" in message
    assert "1 in 'a' (first nan in row 2)" in message
    assert """add 'data.missing_values=["?"]'""" in message
    assert "add data.missing=drop or data.missing=median" in message


def test_a_decimal_comma_gets_the_setting_to_add(refusal):
    assert """add 'data.decimal=","'""" in refusal("a;y\n1,5;0\n2,5;1\n", separator=";")


def test_no_row_left_and_no_value_left_are_refused(refusal):
    assert "data.missing=drop must leave a row" in refusal("a,y\n,0\n,1\n", missing="drop")
    message = refusal("a,b,y\n,1,0\n,2,1\n", missing="median")
    assert "all cells of column 'a' are missing in the training rows" in message


# Columns of texts.


COLORS = "color,size,y\nred,1,0\nblue,2,1\nred,3,0\nteal,4,1\n"


def test_texts_are_refused_with_the_setting_that_helps(refusal):
    assert "add data.categorical=onehot" in refusal(COLORS)


def test_each_text_becomes_an_input(table):
    data = table(COLORS, categorical="onehot")
    assert data.inputs == ("color=blue", "color=red", "color=teal", "size")
    assert data.X.tolist() == [[0, 1, 0, 1], [1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 1, 4]]


def test_texts_are_not_standardized_and_numbers_are(table):
    data = table(COLORS, categorical="onehot", standardize=True)
    assert set(data.X[:, :3].ravel()) == {0, 1}
    assert data.X[:, 3] == pytest.approx((np.arange(4) - 1.5) / np.arange(4).std())


def test_a_text_of_no_training_row_is_zero_in_all_inputs(table):
    for seed in range(20):
        split = {"test_fraction": 0.25, "split_seed": seed, "stratify": False}
        data = table(COLORS, categorical="onehot", **split)
        if data.rows.test.tolist() == [4]:
            assert data.inputs == ("color=blue", "color=red", "size")
            assert data.X_test.tolist() == [[0, 0, 4]]
            return
    raise AssertionError("no seed tests the last row")


def test_a_missing_text_is_zero_in_all_inputs(table, refusal):
    content = COLORS.replace("teal", "")
    assert table(content, categorical="onehot", missing="median").X[3].tolist() == [0, 0, 4]
    assert "row 4 of" in refusal(content, categorical="onehot")


def test_one_text_among_numbers_does_not_make_categories(refusal):
    assert "got '?' in row 2" in refusal("a,y\n1,0\n?,1\n3,0\n", categorical="onehot")
    assert "got '1,250'" in refusal('a,y\n"1,250",0\n"2,100",1\n', categorical="onehot")


def test_a_column_of_categories_in_parquet_is_read_like_its_texts(table):
    colors = pd.Series(["red", "blue", "red"], dtype="category")
    frame = pa.Table.from_pandas(pd.DataFrame({"a": colors, "y": [0.0, 1.0, 2.0]}))
    columns = {name: frame[name] for name in frame.column_names}
    assert table(columns, categorical="onehot").inputs == ("a=blue", "a=red")


def test_equal_names_of_a_category_and_a_column_are_refused(refusal):
    content = "color,color=red,y\nred,1,0\nblue,2,1\n"
    assert "'color=red' twice" in refusal(content, categorical="onehot")


# More targets whose type must not decide in silence.


def test_booleans_with_missing_values_are_classes(table):
    content = {"a": [1.0, 2.0, 3.0], "y": pa.array([True, None, False])}
    data = table(content, missing="drop")
    assert data.targets == ("y=False", "y=True")


def test_dates_are_no_target_by_default(refusal):
    content = {"a": [1.0, 2.0], "y": pa.array([1, 2], pa.timestamp("s"))}
    assert "data.target must hold numbers or labels, got Timestamp" in refusal(content)


def test_texts_that_are_nearly_all_different_are_no_classes_by_default(table, refusal):
    content = csv_of([f"name {n}" for n in range(40)])
    assert "got 40 different texts in 40 rows of column 'y'" in refusal(content)
    assert len(table(content, task="classification").targets) == 40


def test_tables_that_standardize_to_the_same_values_have_different_digests(table):
    one, other = (table(f"a,y\n1,0\n{n},1\n", standardize=True) for n in (2, 3))
    assert one.X.tolist() == other.X.tolist()
    assert one.digest != other.digest


@pytest.mark.parametrize("cells", [["12 kg", "13 kg"], ["30min", "5min"], ["1.5 m", "-2 m"]])
def test_numbers_with_a_unit_are_refused_as_labels(refusal, cells):
    assert f"{cells[0]!r} in row 1 (2 of 2 cells are no numbers)" in refusal(csv_of(cells))


def test_the_first_text_after_a_missing_cell_of_pandas_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    cells = pd.Series([pd.NA, "1", "?", "2"], dtype="string")
    pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "y": cells}).to_parquet(path)
    with pytest.raises(ConfigError, match=r"'\?' in row 3 \(1 of 4 cells are no numbers\)"):
        load(FileConfig(name="file", path=str(path), target=("y",)))


def test_numbered_labels_are_labels(table):
    assert table(csv_of(["1st", "2nd", "1st"])).targets == ("y=1st", "y=2nd")
    assert table(csv_of(["class 1", "class 2"])).targets == ("y=class 1", "y=class 2")


def test_a_missing_label_is_no_number(refusal):
    message = refusal(csv_of(["yes", "NA", "no"]))
    assert message.startswith("data.path must hold labels in column 'y', got none in row 2 of ")


def test_the_case_of_a_files_ending_does_not_matter(tmp_path):
    (tmp_path / "T.CSV").write_text("a,y\n1,2\n3,4\n")
    assert load(FileConfig(name="file", path=str(tmp_path / "T.CSV"), target=("y",))).X.shape == (
        2,
        1,
    )
    # The configuration of a text file says nothing about other files.
    config = FileConfig(name="file", path="t.csv", target=("y",), separator=";")
    columns = {"a": np.array([1.0, 3.0]), "y": np.array([2.0, 4.0])}
    pq.write_table(pa.table(columns), tmp_path / "NEW.PARQUET")
    np.savez(tmp_path / "new", **columns)
    (tmp_path / "new.npz").rename(tmp_path / "NEW.NPZ")
    for name in ("NEW.PARQUET", "NEW.NPZ"):
        assert read_table(str(tmp_path / name), config).to_dict("list") == {
            "a": [1, 3], "y": [2, 4],
        }  # fmt: skip


# Whole tables against pandas.


NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(str), st.floats(-1e9, 1e9).map(repr),
    st.sampled_from(["", "NA", "nan", "?", "-", "1e3", "007"]),
)  # fmt: skip
WORDS = st.sampled_from(["red", "blue", "dark red", "", "NA", "?", "é", "None", "x;y", "a,b"])


@st.composite
def text_tables(draw):
    """A table as text, and the settings of bpexp and of pandas that read it."""
    n_rows = draw(st.integers(1, 8))
    cells = st.lists(NUMBERS, min_size=n_rows, max_size=n_rows)
    words = st.lists(WORDS, min_size=n_rows, max_size=n_rows)
    frame = pd.DataFrame({
        "a": draw(cells), "b": draw(cells), "k": draw(words),
        "y": draw(st.lists(st.floats(-9, 9).map(repr), min_size=n_rows, max_size=n_rows)),
    })  # fmt: skip
    separator, decimal = draw(st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", ",")]))
    header = draw(st.booleans())
    if decimal == ",":
        frame[["a", "b", "y"]] = frame[["a", "b", "y"]].map(lambda cell: cell.replace(".", ","))
    text = frame.to_csv(index=False, sep=separator, header=header)
    markers = draw(st.sampled_from([(), ("?",), ("?", "-")]))
    ours = {
        "decimal": decimal, "header": header, "missing_values": markers or None,
        "separator": draw(st.sampled_from([None, separator])) if header else separator,
    }  # fmt: skip
    theirs = {
        "sep": separator, "decimal": decimal, "na_values": list(markers),
        "header": 0 if header else None, "names": None if header else list("abky"),
    }  # fmt: skip
    return text, ours, theirs, draw(st.sampled_from(["refuse", "drop", "median"]))


@given(text_tables())
def test_a_table_has_the_values_of_pandas_or_is_refused(tmp_path_factory, drawn):
    text, ours, theirs, missing = drawn
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(text)
    a, b, k, y = "abky" if ours["header"] else "0123"
    config = FileConfig(
        name="file", path=str(path), target=(y,), inputs=(a, b, k), missing=missing,
        categorical="onehot", task="regression", standardize=False, scale_target=False, **ours,
    )  # fmt: skip
    try:
        data = load(config)
    except ConfigError:
        return
    frame = read_csv(path, low_memory=False, **theirs)
    if missing == "drop":
        frame = frame.dropna()
    assert data.Y[:, 0].tolist() == frame["y"].tolist()
    for name, column in zip((a, b, k), (frame["a"], frame["b"], frame["k"]), strict=True):
        if name in data.inputs:
            numbers = pd.to_numeric(column).astype(float)
            numbers = numbers.fillna(numbers.median()) if missing == "median" else numbers
            assert data.X[:, data.inputs.index(name)].tolist() == numbers.tolist()
        else:
            known = pd.get_dummies(column.astype(object)).astype(float)
            places = [place for place, n in enumerate(data.inputs) if n.startswith(f"{name}=")]
            assert [data.inputs[place][2:] for place in places] == known.columns.tolist()
            assert data.X[:, places].tolist() == known.to_numpy().tolist()


PARQUET_COLUMNS = st.sampled_from(
    ["int8", "uint16", "int64", "uint64", "float32", "float64", "bool", "Int32", "UInt8", "Float64",
     "boolean", "str", "category", "datetime64[s]", "decimal"]
)  # fmt: skip


@given(PARQUET_COLUMNS, st.lists(st.integers(0, 100), min_size=1, max_size=6), st.booleans())
def test_a_parquet_column_has_the_values_of_pandas_or_is_refused(
    tmp_path_factory, dtype, values, has_missing
):
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    numbers = pd.Series(values)
    column = numbers.map(Decimal) if dtype == "decimal" else numbers.astype(
        {"bool": bool, "boolean": bool}.get(dtype, "int64")
    ).astype(dtype)  # fmt: skip
    if has_missing:
        column = column.astype(object if column.dtype.kind in "biuf" else column.dtype)
        column.iloc[0] = None
    pd.DataFrame({"a": column, "y": np.arange(len(values)) / 2}).to_parquet(path)
    config = FileConfig(name="file", path=str(path), target=("y",), standardize=False)
    try:
        data = load(config)
    except ConfigError:
        assert has_missing or dtype in ("datetime64[s]",)
        return
    expected = pd.read_parquet(path)["a"].map(float)
    assert data.X[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("typed", "separator"), [(r"\t", "\t"), (r"\s+", " "), ("|", "|"), ("\t", "\t")]
)
def test_a_separator_can_be_typed(typed, separator):
    values = compose_settings({"data": "file", "data__path": "t.csv", "data__target": "y"})
    values["data"]["separator"] = typed
    assert parse(values)[0].data.separator == separator
    values["data"]["separator"] = "::"
    with pytest.raises(
        ConfigError, match=r"data\.separator must be one character, or \\t for a tab"
    ):
        parse(values)


def test_arrays_whose_columns_have_the_same_name_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.eye(2), x1=np.arange(2.0), y=np.arange(2.0))
    with pytest.raises(ConfigError, match="different columns, got 'x1' twice"):
        load(FileConfig(name="file", path=str(tmp_path / "t.npz"), target=("y",)))


@given(
    st.lists(st.sampled_from(["f8", "f4", "i8", "u1", "bool"]), min_size=1, max_size=4),
    st.integers(1, 5), st.randoms(use_true_random=False),
)  # fmt: skip
def test_columns_read_together_equal_those_read_one_by_one(dtypes, n_rows, random):
    values = [[random.choice([0, 1, 200, 2**53 + 1]) for _ in range(n_rows)] for _ in dtypes]
    frame = pd.DataFrame({
        f"c{place}": np.array(column).astype(dtype)
        for place, (column, dtype) in enumerate(zip(values, dtypes, strict=True))
    })  # fmt: skip
    together = columns.plain_numbers(frame, list(frame))
    one_by_one = np.column_stack([columns.to_numbers(frame[name]).values for name in frame])
    assert together.tolist() == one_by_one.tolist()
    assert together.flags["C_CONTIGUOUS"]
    frame["c0"] = np.nan
    assert columns.plain_numbers(frame, list(frame)) is None


COLUMNS, MANY, FEW = 64, 8200, 100
"""A chunk of pandas has at most 2**19 cells, so that the first one ends before row ``MANY``."""
TEXTS_IN_CHUNKS = {
    "whole numbers": ["1"] * (MANY + FEW),
    "whole numbers, then decimals": ["7"] * MANY + ["0.5"] * FEW,
    "a negative zero, then decimals": ["-0"] * MANY + ["0.5"] * FEW,
    "whole numbers, then unsigned ones": ["1"] * MANY + [str(2**63 + 1)] * FEW,
    "whole numbers, then texts": ["1"] * MANY + ["a"] * FEW,
    "texts, then missing cells": ["a"] * MANY + ["NA"] * FEW,
    "truth values, then texts": ["True", "NA"] * (MANY // 2) + ["a"] * FEW,
    "truth values, then numbers": ["True"] * MANY + ["2"] * FEW,
}


@pytest.mark.parametrize("name", TEXTS_IN_CHUNKS)
def test_a_text_that_is_read_in_chunks_gives_the_values_of_one_read_at_once(name, monkeypatch):
    names = ",".join(f"x{place}" for place in range(COLUMNS))
    rows = [",".join([cell] * COLUMNS) for cell in TEXTS_IN_CHUNKS[name]]
    text = "\n".join([names, *rows]).encode()
    together = pd.read_csv(io.BytesIO(text), low_memory=False)
    monkeypatch.setattr(text_files, "SMALL_TEXT", 0)
    found = text_files._rows(io.BytesIO(text))
    pd.testing.assert_frame_equal(found, together, check_exact=True)
    if found["x0"].dtype == float:
        assert found["x0"].to_numpy().tobytes() == together["x0"].to_numpy().tobytes()


INTEGER = st.one_of(st.integers(0, 300), st.integers(-(2**70), 2**70)).map(str)
DECIMAL = st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), INTEGER)
ODD_NUMBER = st.one_of(
    st.sampled_from(
        ["", "-0", "-00", "-0.0", "-0e1", "0", "00012", "1.", ".5", "-.5", "+1", "1e5", "1E+05",
         "1e400", "-1e400", "1e-400", "4.9e-324", "2.2250738585072011e-308", "1e23", "1-2", "--1",
         "2020-01-02", "20200102", "1e", "e", "-", ".", "1.5.2", "1,5", "NA", "1_0", " 1", '"1"',
         "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616"]
    ),
    st.text("0123456789.-+eE", max_size=20),
)  # fmt: skip


@st.composite
def texts_of_numbers(draw):
    """A text that may be plain, its settings, and the names of its columns."""
    n_columns, n_rows = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    kinds = draw(
        st.lists(st.sampled_from([INTEGER, DECIMAL]), min_size=n_columns, max_size=n_columns)
    )
    rows = [[draw(kind) for kind in kinds] for _ in range(n_rows)]
    for _ in range(draw(st.integers(0, 2))):
        rows[draw(st.integers(0, n_rows - 1))][draw(st.integers(0, n_columns - 1))] = draw(
            ODD_NUMBER
        )
    separator, decimal = draw(st.sampled_from([(",", "."), (";", ","), ("\t", "."), (";", ".")]))
    lines = [separator.join(cell.replace(".", decimal) for cell in row) for row in rows]
    odd_line = draw(
        st.sampled_from([None, None, None, "", separator, "1", " ", "7" + separator * 9])
    )
    if odd_line is not None:
        lines.insert(draw(st.integers(0, n_rows)), odd_line)
    header = draw(st.booleans())
    names = [f"c{place}" for place in range(n_columns)]
    if header:
        lines.insert(0, separator.join(names))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(lines) + draw(st.sampled_from(["", end, end + end]))
    settings = {"separator": separator, "decimal": decimal, "header": header}
    return text.encode(), FileConfig(name="file", path="t.csv", target=("c0",), **settings)


def read_or_error(text, config, **limits):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(plain_text if hasattr(plain_text, name) else text_files, name, value)
        try:
            return text_files.TextReader(config, lambda name: True).read(io.BytesIO(text), "t.csv")
        except Exception as error:
            return f"{type(error).__name__}: {error}"


@given(texts_of_numbers(), st.integers(1, 40), st.integers(1, 40))
def test_a_text_of_numbers_has_the_values_types_and_errors_of_pandas(drawn, part, sample):
    text, config = drawn
    expected = read_or_error(text, config)
    found = read_or_error(text, config, SMALL_TEXT=0, PART_BYTES=part, SAMPLE_BYTES=sample)
    if isinstance(expected, str):
        assert found == expected
        return
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    for name, column in expected.items():
        if column.dtype == float:
            assert found[name].to_numpy().tobytes() == column.to_numpy().tobytes()


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        (b"a,b\n1,2.5\n-3,1e5\n", True),
        (b"a,b\r\n1,2.5\r\n,4", True),
        (b"a,b\n1,2.5\n\n3,4\n", True),
        (b"a,b\n1,1-2\n", False),
        (b"a,b\n+1,2.5\n", False),
        (b"a,b\n-0,2.5\n", False),
        (b"a,b\n1,x\n", False),
        (b"a,b\n1\n", False),
    ],
)
def test_only_plain_texts_are_read_without_pandas(text, is_plain, monkeypatch):
    monkeypatch.setattr(text_files, "SMALL_TEXT", 0)
    read_by_pandas = []
    rows = text_files._rows
    monkeypatch.setattr(
        text_files, "_rows", lambda *args, **form: read_by_pandas.append(1) or rows(*args, **form)
    )
    config = FileConfig(name="file", path="t.csv", target=("b",))
    text_files.TextReader(config, lambda name: False).read(io.BytesIO(text), "t.csv")
    assert is_plain == (not read_by_pandas)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_large_text_of_numbers_gives_the_data_of_a_parquet_file(tmp_path, standardize):
    frame = pd.DataFrame(np.random.default_rng(0).integers(-99, 99, (20_000, 40))).add_prefix("x")
    frame["x1"] /= 8
    frame["y"] = frame["x0"] % 3
    frame = frame[["x0", "y", *[f"x{place}" for place in range(1, 40)]]]
    loaded = []
    for name, write in (("t.csv", frame.to_csv), ("t.parquet", frame.to_parquet)):
        write(tmp_path / name, index=False)
        config = FileConfig(
            name="file", path=str(tmp_path / name), target=("y",), task="classification",
            standardize=standardize, test_fraction=0.25,
        )  # fmt: skip
        loaded.append(load(config))
    assert loaded[0].digest == loaded[1].digest
    assert loaded[0].labels == loaded[1].labels == (0, 1, 2)
    assert loaded[0].X.flags["C_CONTIGUOUS"]


@given(st.integers(1, 1100), st.integers(1, 70), st.randoms(use_true_random=False))
def test_tables_are_copied_in_tiles_to_columns_and_back(n_rows, n_columns, random):
    X = np.random.RandomState(random.randrange(2**32)).rand(n_rows, n_columns)
    rows = np.array(sorted(random.sample(range(n_rows), random.randint(1, n_rows))))
    columns_of_rows = list(tiles.columns_of(X, rows))
    assert all(column.flags.c_contiguous for column in columns_of_rows)
    np.testing.assert_array_equal(tiles.from_columns(columns_of_rows), X[rows])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_missing_numbers_become_the_median_of_the_column(values):
    X = np.array(values)[:, None]
    rows = np.arange(len(X))
    made = preparation.fit(X, ("x",), {}, rows, fill_missing=True)
    assert made.medians.tolist() == [np.median(X)]
