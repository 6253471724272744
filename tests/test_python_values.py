"""Settings from Python may be numbers and arrays of NumPy, columns of pandas, and paths."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.config.schema import parse
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid.python_jobs import compose_jobs


@pytest.mark.parametrize(
    ("key", "value", "plain"),
    [
        ("seed", np.int64(3), 3),
        ("seed", np.uint8(3), 3),
        ("lr", np.float64(0.1), 0.1),
        ("lr", np.float32(0.5), 0.5),
        ("lr", np.array(0.25), 0.25),
        ("reuse", np.bool_(True), True),
        ("hidden", np.array([8, 4]), [8, 4]),
        ("hidden", pd.Series([8, 4]), [8, 4]),
        ("hidden", (np.int32(8), 4), [8, 4]),
        ("data__path", Path("a") / "b.csv", "a/b.csv"),
        ("data", {"name": np.str_("file"), "path": Path("t.csv"), "target": ["y"]},
         {"name": "file", "path": "t.csv", "target": ["y"]}),
    ],
)  # fmt: skip
def test_a_value_is_converted_to_the_type_of_python(key, value, plain):
    node = compose_settings({key: value})
    for part in key.split("__"):
        node = node[part]
    assert node == plain
    assert type(node) is type(plain)


def test_a_run_with_numpy_settings_is_that_with_python_settings():
    one = bpexp.train(seed=np.int64(3), lr=np.float64(0.5), hidden=np.array([3]), epochs=5)
    other = bpexp.train(seed=3, lr=0.5, hidden=[3], epochs=5)
    np.testing.assert_array_equal(one.losses, other.losses)


def test_functions_that_read_create_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri in (None, "sqlite:///absent.db"):
        for read in (bpexp.load_runs, bpexp.report, partial(bpexp.extend, "latest", "seed=1")):
            with pytest.raises(ConfigError, match=r"^No runs in .* yet\. Start with"):
                read(uri=uri)
    assert not list(tmp_path.iterdir())


def test_a_table_of_a_sweep_has_its_id(a_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = bpexp.sweep(lr=[0.1, 1], epochs=2)
    sweep = rows.attrs["sweep"]
    assert bpexp.load_runs().sweep.unique().tolist() == [sweep]
    assert "lr=" in bpexp.report(sweep).answer
    assert bpexp.extend(sweep, seed=[1]).attrs["sweep"] == sweep
    with pytest.raises(ConfigError, match=r"named by a text, got DataFrame; .* attrs\['sweep'\]"):
        bpexp.report(rows)


def test_an_array_is_swept(a_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = bpexp.sweep(lr=np.logspace(-3, 0, 4), epochs=2, tracking__runs=False)
    assert rows["lr"].tolist() == np.logspace(-3, 0, 4).tolist()


def test_a_zip_takes_arrays_lists_and_settings_in_braces(a_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lrs = np.logspace(-2, 0, 3)
    settings = {"epochs": 2, "tracking__runs": False}
    rows = bpexp.sweep(zip={"lr": lrs, "hidden": [2, [4, 2], 3], "data__bits": range(2, 5)},
                       data="parity", seed=range(2), **settings)  # fmt: skip
    found = {(row.lr, row.hidden, row["data.bits"]) for _, row in rows.iterrows()}
    assert found == {(lrs[0], "2", 2), (lrs[1], "[4,2]", 3), (lrs[2], "3", 4)}
    assert len(rows) == 6
    searched = bpexp.sweep(zip={"lr": [0.1, 1], "hidden": [2, 3]}, seed=range(2), search="random",
                           search__trials=8, search__generation=8, **settings)  # fmt: skip
    assert {(row.lr, row.hidden) for row in searched.itertuples()} == {(0.1, "2"), (1, "3")}
    braces = bpexp.sweep(
        zip={"stop": [{"tolerance": 0.3}, {"loss": 0.1}], "lr": [1, 2]}, **settings
    )
    assert braces["stop.tolerance"].dropna().tolist() == [0.3]
    assert braces["stop.loss"].dropna().tolist() == [0.1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zip": {"lr": [0.1, 1], "hidden": [2]}}, "same number of values for each key"),
        ({"zip": [1, 2]}, r"zip must be a dictionary, such as \{'lr': \[0.1, 1\], "),
        ({"zip": {"lr": 0.1, "hidden": [2]}}, "zip must have lists, such as .*, got 0.1 of lr"),
        ({"zip": {"lr": [0.1, 1], "hidden": [2, 3]}, "lr": [1, 2]}, "lr must be set once"),
        ({"lr": []}, "lr must have at least one value"),
        ({"hidden": np.array([2.0, 4.5])}, "got 2.0; type hidden=2"),
        ({"lr": np.linspace(0, 1, 3)}, r"lr must be a finite number above 0, got 0.0\.$"),
    ],
)
def test_lists_that_cannot_be_swept_are_refused(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        bpexp.sweep(**settings)
    assert not list(tmp_path.iterdir())


def test_an_array_where_one_value_is_needed_is_refused():
    with pytest.raises(ConfigError, match=r"lr must be one value .* call bpexp.sweep\(lr=\[0.1, "):
        compose_settings({"lr": np.array([0.1, 0.2])})


@pytest.mark.parametrize("key", ["inputs", "drop", "missing_values"])
def test_a_list_of_names_is_one_value_also_where_null_is_allowed(key, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c,y\n1,5,?,0\n2,6,1,1\n3,7,0,0\n")
    settings = {
        "inputs": {"inputs": ("a", "b")},
        "drop": {"drop": ["c"]},
        "missing_values": {"missing_values": ["?", -999], "missing": "drop"},
    }[key]
    result = bpexp.train(
        data="file", data__path=tmp_path / "t.csv", data__target="y", data__standardize=False,
        epochs=1, **{f"data__{name}": value for name, value in settings.items()},
    )  # fmt: skip
    expected = [[2, 6, 1], [3, 7, 0]] if key == "missing_values" else [[1, 5], [2, 6], [3, 7]]
    assert result.dataset.X.tolist() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": {3, 2}}, "hidden must be a list, which has an order, got a set"),
        ({"lr": {0.1}}, r"one value for a single run, got a set; .* bpexp.sweep\(lr=\[...\]\)"),
        ({"lr": iter([0.1])}, "one value for a single run, got a list_iterator"),
        ({"lr": b"0.1"}, "lr must be a finite number above 0, got b'0.1'"),
        ({"optimizer": None}, "optimizer must be one of adam, .*, got None"),
        ({"model": object()}, "model must be one of classifier, .*, got <object"),
    ],
)
def test_values_of_other_types_are_refused_in_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        bpexp.train(**settings)
    assert "\n" not in str(error.value)


def test_a_rule_is_checked_after_the_conversion():
    with pytest.raises(ConfigError, match=r"seed must be a whole number .*, got 0.5"):
        parse(compose_settings({"seed": np.float64(0.5)}))


def test_a_value_that_is_listed_twice_is_refused():
    with pytest.raises(ConfigError, match=r"lr must have different values, got 0.1 twice"):
        bpexp.sweep(lr=[0.1, np.float64(0.1)])


def test_a_sweep_with_the_same_run_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"the same run from hidden=2 and hidden=\[2\]"):
        bpexp.sweep(hidden=[2, [2]])
    assert not list(tmp_path.iterdir())


def test_arrays_in_single_precision_and_of_whole_numbers_are_values_as_typed():
    axes = {"lr": np.float32([0.1, 0.3]), "hidden": np.linspace(2, 4, 2)}
    jobs = compose_jobs((), axes)
    assert [(job["lr"], job["hidden"]) for job in jobs] == [(0.1, 2), (0.1, 4), (0.3, 2), (0.3, 4)]


@pytest.mark.parametrize(
    "settings",
    [{"seed": range(10**12)}, {"seed": range(2000), "lr": [n + 1 for n in range(1000)]}],
)
def test_more_than_a_million_runs_are_refused_before_they_are_composed(settings):
    with pytest.raises(ConfigError, match="A sweep has at most 1000000 runs"):
        bpexp.sweep(**settings)
