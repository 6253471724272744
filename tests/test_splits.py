"""Training, validation and test rows: stratified splits, folds, and a test file of one's own."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

import bpexp
from bpexp.analysis.findings import find
from bpexp.analysis.groups import FINAL_LOSS, group
from bpexp.config import folds
from bpexp.config.compose import compose_settings
from bpexp.data import load, splits
from bpexp.data.file_settings import FileConfig
from bpexp.data.registry import DataConfig
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.data_notes import notes
from bpexp.sweeps.plan import make_plan

CLASSES = st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)


@pytest.fixture
def table(tmp_path):
    """Writes a CSV file and loads it as a classification of the column y."""

    def made(content, **settings):
        (tmp_path / "t.csv").write_text(content)
        settings = {"target": ("y",), "standardize": False, "task": "classification", **settings}
        return load(FileConfig(name="file", path=str(tmp_path / "t.csv"), **settings))

    return made


def table_of(labels):
    return "a,y\n" + "".join(f"{row},{label}\n" for row, label in enumerate(labels))


# Stratified splits.


@given(CLASSES, st.floats(0.0, 0.6), st.floats(0.0, 0.39), st.integers(0, 5))
def test_a_stratified_split_has_the_sizes_of_a_random_one(classes, test, validation, seed):
    n = len(classes)
    try:
        plain = splits.random(n, test, validation, seed)
    except ConfigError:
        return
    split = splits.random(n, test, validation, seed, classes)
    assert [len(part) for part in split] == [len(part) for part in plain]
    assert sorted(np.concatenate(split).tolist()) == list(range(n))
    assert all((np.diff(part) > 0).all() for part in split)
    # The test rows do not depend on the validation rows.
    assert split[2].tolist() == splits.random(n, test, 0.0, seed, classes)[2].tolist()


@given(CLASSES, st.floats(0.0, 0.6), st.integers(0, 5))
def test_each_class_has_its_share_of_the_test_rows(classes, test, seed):
    n_test = round(len(classes) * test)
    if n_test >= len(classes):
        return
    _, _, rows = splits.random(len(classes), test, 0.0, seed, classes)
    drawn, sizes = Counter(classes[rows].tolist()), Counter(classes.tolist())
    if len(classes) - n_test >= len(sizes):
        # Every class keeps a training row where there are enough of them.
        assert all(drawn[label] < size for label, size in sizes.items())
    if min(sizes.values()) * (1 - test) >= 2:
        for label, size in sizes.items():
            assert abs(drawn[label] - size * n_test / len(classes)) < 1


def test_files_are_stratified_unless_that_is_switched_off(table):
    content = table_of("a" * 90 + "b" * 10)
    for seed in range(5):
        data = table(content, test_fraction=0.2, validation_fraction=0.2, split_seed=seed)
        assert [Y.sum(axis=0).tolist() for Y in (data.Y, data.Y_validation, data.Y_test)] == [
            [54, 6], [18, 2], [18, 2]
        ]  # fmt: skip
    off = [
        table(content, test_fraction=0.2, split_seed=seed, stratify=False).Y_test[:, 1].sum()
        for seed in range(5)
    ]
    assert len(set(off)) > 1


def test_a_target_of_two_numbers_is_stratified_and_a_regression_is_not(table):
    flags = table_of([0] * 40 + [1] * 10)
    assert table(flags, task=None, test_fraction=0.2).Y_test.sum() == 2
    numbers = table_of(np.linspace(0.0, 9.0, 50))
    plain = splits.random(50, 0.2, 0.0, 0)[2] + 1
    data = table(numbers, task="regression", test_fraction=0.2)
    assert data.rows.test.tolist() == plain.tolist()


def test_iris_keeps_its_split_and_can_be_stratified():
    data = load(DataConfig(name="iris", test_fraction=0.25))
    assert data.rows.test.tolist() == (splits.random(150, 0.25, 0.0, 0)[2] + 1).tolist()
    stratified = load(DataConfig(name="iris", test_fraction=0.2, stratify=True))
    assert stratified.Y_test.sum(axis=0).tolist() == [10, 10, 10]


# A test file.


def test_the_rows_of_a_test_file_are_the_test_rows(table, tmp_path):
    (tmp_path / "test.csv").write_text("y,other,a\nv,0,7\nu,0,8\n")
    settings = {"test_path": str(tmp_path / "test.csv"), "validation_fraction": 0.5}
    data = table("a,y\n1,u\n2,v\n3,u\n4,v\n", **settings)
    assert data.X_test.tolist() == [[7], [8]]
    assert data.Y_test.tolist() == [[0, 1], [1, 0]]
    assert data.rows.test.tolist() == [1, 2]
    assert (len(data.X), len(data.X_validation)) == (2, 2)


def test_the_test_file_does_not_take_part_in_scaling_and_encoding(table, tmp_path):
    (tmp_path / "test.csv").write_text("a,k,y\n100,blue,u\n")
    settings = {"test_path": str(tmp_path / "test.csv"), "categorical": "onehot"}
    data = table("a,k,y\n1,red,u\n3,teal,v\n", standardize=True, **settings)
    assert data.inputs == ("a", "k=red", "k=teal")
    assert data.X[:, 0].tolist() == [-1, 1]
    assert data.X_test.tolist() == [[98, 0, 0]]


def test_a_wrong_cell_of_the_test_file_is_named_with_its_row(table, tmp_path):
    (tmp_path / "test.csv").write_text("a,y\n1,u\n?,v\n")
    with pytest.raises(ConfigError, match=r"got '\?' in row 2 of .*test\.csv"):
        table("a,y\n1,u\n3,v\n", test_path=str(tmp_path / "test.csv"))


@pytest.mark.parametrize(
    ("content", "words"),
    [("a,z\n1,u\n", r"test\.csv has no 'y'"), ("a,y\n", "at least one row"), (None, "existing")],
)
def test_a_test_file_that_does_not_fit_is_refused(table, tmp_path, content, words):
    if content is not None:
        (tmp_path / "test.csv").write_text(content)
    with pytest.raises(ConfigError, match=words) as error:
        table("a,y\n1,u\n3,v\n", test_path=str(tmp_path / "test.csv"))
    assert str(error.value).startswith("data.test_path must ")


def test_a_changed_test_file_is_read_again(table, tmp_path):
    for value in (7, 88):
        (tmp_path / "test.csv").write_text(f"a,y\n{value},u\n")
        data = table("a,y\n1,u\n3,v\n", test_path=str(tmp_path / "test.csv"))
        assert data.X_test.tolist() == [[value]]


# Folds.


@given(CLASSES, st.integers(2, 6), st.integers(0, 3))
def test_folds_are_a_partition_with_shares_like_those_of_scikit_learn(classes, k, seed):
    if k > len(classes):
        return
    rows = np.arange(len(classes))
    parts = [splits.fold(rows, k, number, seed, classes) for number in range(k)]
    assert sorted(np.concatenate(parts).tolist()) == rows.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if min(Counter(classes.tolist()).values()) >= k:
        theirs = StratifiedKFold(k).split(rows, classes)
        for label in set(classes.tolist()):
            ours = sorted((classes[part] == label).sum() for part in parts)
            assert ours == sorted((classes[part] == label).sum() for _, part in theirs) or (
                max(ours) - min(ours) <= 1
            )


def test_the_fold_is_the_validation_rows_and_the_test_rows_are_the_same_in_all(table):
    content = table_of("ab" * 20)
    made = [table(content, test_fraction=0.25, folds=3, fold=number) for number in range(3)]
    assert len({tuple(data.rows.test) for data in made}) == 1
    rows = [row for data in made for row in data.rows.validation]
    assert sorted(rows) == sorted({*range(1, 41)} - {*made[0].rows.test})
    for data in made:
        assert not {*data.rows.training} & {*data.rows.validation}
        assert len(data.X) + len(data.X_validation) == 30


def test_a_sweep_has_a_run_for_each_fold_and_seed():
    composed = [
        compose_settings({"data": "iris", "data__folds": 4, "seed": seed, "model": "classifier"})
        for seed in (1, 2)
    ]
    plan = make_plan(folds.expanded(composed))
    assert plan.varying == ("data.fold", "seed")
    assert [(job.config.data.fold, job.config.seed) for job in plan.jobs] == [
        (fold, seed) for seed in (1, 2) for fold in range(4)
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"data__folds": 3}, "data.folds=3 makes a run for each fold: start a sweep"),
        ({"data__fold": 1}, "data.fold must be null without data.folds, got 1."),
        ({"data__folds": 3, "data__fold": 3}, "data.fold must be below 3, got 3."),
        ({"data__folds": 3, "data__fold": 0, "data__validation_fraction": 0.1},
         "data.validation_fraction must be 0 with data.folds"),
        ({"data__folds": 1}, "data.folds must be a whole number of at least 2, got 1."),
        ({"data__folds": 500, "data__fold": 0}, "data.folds must be at most the 112 rows, got 500"),
    ],
)  # fmt: skip
def test_wrong_folds_are_refused(data, words):
    with pytest.raises(ConfigError) as error:
        bpexp.train(data="iris", model="classifier", epochs=1, **data)
    assert words in str(error.value)


@pytest.mark.usefixtures("a_store")
def test_folds_are_expanded_on_the_command_line_and_in_python(inside):
    iris = {"data": "iris", "model": "classifier", "epochs": 3}
    table = bpexp.sweep(**iris, lr=[0.01, 0.1], data__folds=3)
    assert table["data.fold"].tolist() == [0, 1, 2, 0, 1, 2]
    assert table["lowest_validation_loss"].notna().all()
    done = inside("-m", "data=iris", "model=classifier", "epochs=3", "data.folds=3", "seed=1,2")
    assert "6 runs over data.fold (3 values), seed (2 values)" in done.stdout, done.stderr
    alone = inside("data=iris", "data.folds=3")
    assert alone.returncode != 0
    assert "start a sweep (with -m" in alone.stderr


@pytest.mark.usefixtures("a_store")
def test_folds_that_sub_sweeps_have_in_common_are_trained_once(inside):
    arguments = ["data=iris", "model=classifier", "epochs=3", "data.folds=3",
                 "lr=0.1 | lr=0.1 data.fold=1"]  # fmt: skip
    assert bpexp.sweep(*arguments)["data.fold"].tolist() == [0, 1, 2]
    done = inside("-m", *arguments)
    assert done.stdout.startswith("3 runs over data.fold (3 values)"), done.stderr


# Classes without a training row.


def test_a_class_in_no_training_row_is_said(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,u\n2,v\n3,u\n")
    (tmp_path / "test.csv").write_text("a,y\n1,w\n")
    file = {"name": "file", "path": str(tmp_path / "t.csv"), "target": ["y"]}
    settings = {"data": {**file, "test_path": str(tmp_path / "test.csv")}, "model": "classifier"}
    plan = make_plan([compose_settings(settings)])
    assert notes(plan) == ["No training row has the class y=w, so it cannot be learned."]
    assert notes(make_plan([compose_settings({**settings, "data": file})])) == []
    with pytest.warns(UserWarning, match="No training row has the class y=w") as warned:
        bpexp.train(**settings, epochs=1)
    assert warned[0].filename == __file__


def test_a_warning_of_a_sweep_is_at_the_line_that_calls_it(a_store, tmp_path):
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 1.0, 1.0]})
    for search in ({"lr": [0.1, 0.2]}, {"lr": "interval(0.1,1)", "search": "random"}):
        if "search" in search:
            search["search__trials"] = 2
        with pytest.warns(UserWarning, match="All training rows have the same target") as warned:
            bpexp.sweep(data=table, target="y", epochs=1, backend="serial", **search)
        assert {warning.filename for warning in warned} == {__file__}


def test_a_file_is_read_once_for_all_its_splits(tmp_path, monkeypatch):
    pd.DataFrame({"a": range(9), "y": range(9)}).to_csv(tmp_path / "t.csv", index=False)
    calls = []
    read = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: calls.append(1) or read(*a, **k))
    for seed in range(5):
        load(FileConfig(name="file", path=str(tmp_path / "t.csv"), target=("y",), split_seed=seed))
    assert len(calls) == 2  # the header and the table


# Folds and splits are replicates of a setting.


def runs_over_folds(seeds, folds):
    """The table of runs of two rates over seeds and folds, in random order."""
    rows = [
        {"lr": lr, "seed": seed, "data.fold": fold, "data.split_seed": 0, "data.folds": len(folds),
         "final_loss": lr + 0.01 * seed + 0.1 * fold}
        for lr in (0.1, 1.0) for seed in seeds for fold in folds
    ]  # fmt: skip
    frame = pd.DataFrame(rows).assign(
        sweep="s", outcome="completed", epochs=9, epochs_run=9, artifacts="nowhere",
        **{"data.name": "iris", "stop.loss": None, "stop.tolerance": None},
    )  # fmt: skip
    frame["run_id"] = [f"{number:032x}" for number in range(len(frame))]
    return frame.sample(frac=1.0, random_state=0)


def test_runs_on_other_folds_and_splits_are_replicates_and_pairs():
    grouped = group(runs_over_folds(range(3), range(4)))
    assert [len(one) for one in grouped.groups] == [12, 12]
    assert list(grouped.varying) == ["lr"]
    assert grouped.counted_replicates == "12 replicates (data.fold, seed)"
    comparison, *_ = find(grouped, FINAL_LOSS, 0).comparisons
    # Runs share folds and seeds, of which the comparison has as many.
    assert comparison.n_units == {"seed": 3, "fold": 4}
    assert comparison.n_pairs == 3
    assert np.subtract(*(one.scores(FINAL_LOSS) for one in grouped.groups)) == pytest.approx(-0.9)


def test_a_split_seed_is_a_replicate_and_seeds_alone_are_called_seeds():
    frame = runs_over_folds(range(5), [0])
    assert group(frame).counted_replicates == "5 seeds"
    frame["data.split_seed"], frame["seed"] = frame["seed"], 42
    grouped = group(frame)
    assert [len(one) for one in grouped.groups] == [5, 5]
    assert grouped.counted_replicates == "5 replicates (data.split_seed)"


def test_the_same_run_twice_is_one_replicate():
    frame = runs_over_folds(range(2), range(2))
    twice = pd.concat([frame, frame.assign(run_id=frame["run_id"] + "x")])
    grouped = group(twice)
    assert [len(one) for one in grouped.groups] == [4, 4]
    assert grouped.n_repeated == 8
