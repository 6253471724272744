"""What is typed wrongly is answered in one sentence that says what to type."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpexp.cli.screen import Screen
from bpexp.data import load, tabular
from bpexp.data.tabular import FileConfig
from bpexp.fields.checks import ConfigError, Widths

DEEP = f"hidden={'[' * 2000}{']' * 2000}"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("lr=0.1,1", "lr must be one value for a single run, got '0.1,1'; to sweep over it type "
                     "python -m bpexp -m lr=0.1,1, for a list lr=[0.1,1]."),
        ("--lr 0.1", "--lr is not an option; settings have no dashes and an = (lr=...), "
                     "--help lists them."),
        ("--epochs=5", "--epochs=5 is not an option; settings have no dashes and an = (epochs=5), "
                       "--help lists them."),
        ("--cfg foo", "argument --cfg/-c: invalid choice: 'foo'"),
        ("lr", "lr is neither a verb nor key=value; a setting needs its value, without spaces: "
               "lr=..."),
        ("run", "run is neither a verb nor key=value; did you mean runs?"),
        ("lr=1 0.1", "'0.1' must be key=value, such as lr=0.5 (--help lists the keys)."),
        ("lr=1 data.path=a&b", "'data.path=a&b' must be key=value without spaces around =; texts "
                               "with special characters need quotes within quotes"),
        ("-m lr=", "lr must be a finite number above 0, got ''."),
        ("data=spiral", "data must be one of breast_cancer, digits, encoder, file, iris, parity, "
                        "proben1, spirals, symmetry, xor, got 'spiral'."),
        ("data=3", "data must be the name of a configuration (--help lists them), got '3'."),
        ("data.bits=3", "data.bits is a setting of data=parity or symmetry; add data=parity."),
        ("hiden=3", "hiden is not a key of the configuration; did you mean hidden?"),
        ("hydra/launcher=nope", "hydra/launcher must be one of basic, bpexp"),
        ("+x._target_=os.system", "x is not a key of the configuration"),
        ("data._target_=os.system", "data._target_ is not a key of the configuration"),
        (DEEP, "settings must be nested less deeply."),
        ("-m seed=range(0,1000000000)", "seed must have at most 1000000 values, got"),
        ("-m seed=range(0,2000) lr=range(1,1000)", "at most 1000000 runs, got 1998000."),
        ("-m lr=range(0,1,0)", "lr must be a range of finite numbers with a step other than 0"),
        ("-m lr=range(0,nan,1)", "lr must be a range of finite numbers with a step other than 0"),
        (f"tracking.experiment={'x' * 501}", "must be a text of at most 500 characters, got"),
        ("tracking.experiment='a\x1bb'", "must be a text without control characters, in UTF-8, "
                                         "got 'a\\x1bb'."),
        ("hidden=100000000000000000000", "hidden must be a width of at most 1000000 or a list"),
        ("batch_size=100000000000000000000", "batch_size must be a whole number of at most 10000"),
        ("hydra.run.dir=/proc/x", "'/proc/x' could not be used: No such file or directory."),
        ("-m hydra.sweep.dir=/etc/hostname/x", "hydra.sweep.dir must be a folder that can be "
                                               "written, got '/etc/hostname/x': it is in no"),
        ("runs -n -3", "argument -n: must be a whole number of at least 1, got '-3'"),
        ("show", "the following arguments are required: RUN (bpexp show --help)."),
        ("explain --foo", "unrecognized arguments: --foo (bpexp explain --help)."),
        ("explain lr=1,2", "lr must be one value, got 'lr=1,2'."),
        ("explain lr", "'lr' must be key=value, such as lr=0.5 (--help lists the keys)."),
    ],
)  # fmt: skip
def test_a_mistype_is_answered_by_what_to_type(typed, said, inside, tmp_path):
    done = inside(*typed.split(" "))
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith("bpexp: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_a_long_value_is_not_said_in_full():
    with pytest.raises(ConfigError) as error:
        Widths()("hidden", ["x" * 10**6] * 1000)
    assert len(str(error.value)) < 10_000


def test_names_are_shown_and_not_obeyed(capsys):
    Screen(width=60).print("[/] [red]a :smile: \x1b[31m\x07")
    assert capsys.readouterr().out == "[/] [red]a :smile: \\x1b[31m\\x07\n"


def bad_table(path, **options):
    with pytest.raises(ConfigError) as error:
        load(FileConfig(name="file", path=str(path), target=("y",), **options))
    return str(error.value)


def test_rows_longer_than_the_header_are_refused_and_not_shifted(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,2,3\n4,5,6\n")
    assert "rows no longer than its header" in bad_table(tmp_path / "t.csv")


def test_columns_of_one_name_are_refused(tmp_path):
    arrays = [pa.array([1.0, 2.0])] * 3
    pq.write_table(pa.Table.from_arrays(arrays, names=["a", "a", "y"]), tmp_path / "t.parquet")
    assert "different columns, got 'a' twice" in bad_table(tmp_path / "t.parquet")


def test_a_column_name_with_control_characters_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("\x1b[2Ja,y\n1,2\n")
    assert "without control characters, got '\\x1b[2Ja'" in bad_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "column", [np.array([1j, 2]), np.array([1, 2], "M8[s]"), np.array([1, 2], "m8[s]")]
)
def test_dates_and_complex_numbers_are_no_numbers(tmp_path, column):
    np.savez(tmp_path / "t.npz", a=column, y=np.array([0.0, 1.0]))
    assert "must hold numbers in column 'a'" in bad_table(tmp_path / "t.npz")


def test_labels_without_an_order_are_refused(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": [[1], [2]]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert "labels of one kind, numbers or texts" in bad_table(tmp_path / "t.parquet")


def test_more_classes_than_outputs_can_be_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.arange(5000.0), y=np.arange(5000.0))
    assert "at most 4096 classes, got 5000" in bad_table(tmp_path / "t.npz", classes=True)


def test_what_unpacks_to_more_than_memory_is_refused():
    with pytest.raises(ConfigError, match="a quarter of this machine's memory"):
        tabular._check_size(10**15)


def test_standardised_inputs_are_finite_or_refused(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.array([1e200, -1e200]), y=np.array([0.0, 1.0]))
    assert "squares add up to a finite number" in bad_table(tmp_path / "t.npz", standardize=True)
