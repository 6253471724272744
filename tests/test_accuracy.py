"""Classes follow the convention of the data set's targets; scores equal those of scikit-learn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.config.schema import parse
from bpexp.data import load
from bpexp.data.dataset import Dataset
from bpexp.data.file_settings import FileConfig
from bpexp.data.proben1 import Proben1Config
from bpexp.data.registry import DataConfig
from bpexp.data.synthetic import BitsConfig, EncoderConfig
from bpexp.runs.metrics import METRICS, Split, of_outputs
from bpexp.runs.output_metrics import confusion_matrix


def dataset(Y, *, n_test=0, one_hot=False):
    """A data set whose last rows are for testing."""
    Y = np.asarray(Y, dtype=float)
    X, n = np.zeros((len(Y), 1)), len(Y) - n_test
    names = tuple(f"y{i}" for i in range(Y.shape[1]))
    return Dataset(
        "", X[:n], Y[:n], X[:0], Y[:0], X[n:], Y[n:], ("x",), names, True, "", one_hot
    )  # fmt: skip


def test_the_threshold_is_the_same_for_test_rows_of_one_class(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,fraud\n" + "-1,0\n" * 5 + "1,1\n" * 3 + "-1,0\n" * 2)
    file = {"name": "file", "path": str(path), "target": "fraud"}
    file |= {"test_fraction": 0.2, "stratify": False}
    assert load(FileConfig(**{**file, "target": ("fraud",)})).Y_test.tolist() == [[0], [0]]
    with pytest.warns(UserWarning, match="All test rows are training rows"):
        result = bpexp.train(data=file, lr=1, epochs=5000)
    assert result.metrics["accuracy"] == 1.0
    assert result.metrics["test_accuracy"] == 1.0


def accuracy(outputs, targets, *, one_hot=False):
    data = dataset([[0, 1], [1, 0], *targets], n_test=len(targets), one_hot=one_hot)
    return of_outputs(data, Split.TEST, np.asarray(outputs))["accuracy"]


def test_several_binary_targets_are_compared_label_by_label():
    assert accuracy([[0.999, 0.6]], [[1, 0]]) == 0.0
    assert accuracy([[0.999, 0.4]], [[1, 0]]) == 1.0
    assert accuracy([[0.999, 0.6]], [[1, 0]], one_hot=True) == 1.0


def test_two_target_columns_of_a_file_are_not_one_hot(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,a,b\n0,1,0\n1,0,1\n2,1,0\n")
    data = load(FileConfig(name="file", path=str(path), target=("a", "b")))
    assert data.is_classification
    outputs = np.array([[0.9, 0.6], [0.1, 0.9], [0.9, 0.1]])
    assert of_outputs(data, Split.TRAINING, outputs)["accuracy"] == 2 / 3


def test_targets_of_minus_one_and_one_have_the_threshold_zero(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n0,-1\n1,1\n2,-1\n3,1\n")
    data = load(FileConfig(name="file", path=str(path), target=("y",), test_fraction=0.25))
    assert data.is_classification
    assert data.threshold == 0.0
    assert data.class_codes(np.array([[0.1], [-0.1]])).tolist() == [1, 0]


def test_constant_targets_of_zero_or_one_have_the_threshold_one_half():
    for bit in (0.0, 1.0):
        assert dataset([[bit], [bit]]).threshold == 0.5


def test_the_settings_low_and_high_define_the_threshold():
    xor = load(BitsConfig(name="xor", low=-0.5, high=0.9, test_fraction=0.25))
    assert xor.threshold == pytest.approx(0.2)


def test_built_in_data_sets_with_a_class_per_output_are_one_hot():
    assert load(DataConfig(name="iris")).is_one_hot
    assert load(EncoderConfig(name="encoder")).is_one_hot
    assert not load(BitsConfig(name="xor")).is_one_hot


@pytest.mark.parametrize(("last", "one_hot"), [("0 1", True), ("1 1", False)])
def test_proben1_targets_are_one_hot_if_all_rows_are(tmp_path, last, one_hot):
    header = (
        "bool_in=0\nreal_in=1\nbool_out=2\nreal_out=0\n"
        "training_examples=2\nvalidation_examples=0\ntest_examples=1\n"
    )
    path = tmp_path / "t.dt"
    path.write_text(f"{header}0 1 0\n1 0 1\n2 {last}\n")
    assert load(Proben1Config(name="proben1", path=str(path))).is_one_hot is one_hot


OUTPUTS = st.floats(-2, 2, allow_nan=False)


@st.composite
def binary_tables(draw):
    """Targets of two values in one or several columns, outputs, and the number of test rows."""
    rows, columns = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    low, high = draw(st.sampled_from([(0, 1), (-1, 1), (0.1, 0.9)]))
    bits = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    bits[:2] = [False, True]
    outputs = draw(st.lists(OUTPUTS, min_size=rows * columns, max_size=rows * columns))
    shape = (rows, columns)
    Y = np.where(bits, float(high), float(low)).reshape(shape)
    return Y, np.reshape(outputs, shape), draw(st.integers(1, rows - 1)), (low + high) / 2


def of_classes(targets, predicted):
    """The scores of scikit-learn for one class per row."""
    with warnings.catch_warnings():
        # It warns of classes that are predicted but not present.
        warnings.simplefilter("ignore")
        balanced = sklearn_metrics.balanced_accuracy_score(targets, predicted)
    return {
        "accuracy": sklearn_metrics.accuracy_score(targets, predicted),
        "balanced_accuracy": balanced,
        "macro_f1": sklearn_metrics.f1_score(targets, predicted, average="macro"),
    }


@given(binary_tables())
def test_binary_targets_have_the_scores_of_scikit_learn_in_any_rows(table):
    Y, outputs, n_test, threshold = table
    data = dataset(Y, n_test=n_test)
    for split, rows in (
        (Split.TRAINING, slice(len(Y) - n_test)),
        (Split.TEST, slice(len(Y) - n_test, None)),
    ):
        # The threshold belongs to all rows.
        targets, predicted = Y[rows] > threshold, outputs[rows] > threshold
        if Y.shape[1] == 1:
            expected = of_classes(targets[:, 0], predicted[:, 0])
        else:
            expected = {
                "accuracy": sklearn_metrics.accuracy_score(targets, predicted),
                "macro_f1": sklearn_metrics.f1_score(
                    targets, predicted, average="macro", zero_division=0.0
                ),
            }
        assert of_outputs(data, split, outputs[rows]) == pytest.approx(expected, abs=1e-15)


@given(st.lists(st.tuples(st.integers(0, 3), *[OUTPUTS] * 4), min_size=1, max_size=12))
def test_one_hot_targets_have_the_scores_of_scikit_learn(rows):
    labels = np.array([row[0] for row in rows])
    outputs = np.array([row[1:] for row in rows])
    data = dataset(np.eye(4)[labels], one_hot=True)
    predicted = outputs.argmax(axis=1)
    expected = of_classes(labels, predicted)
    assert of_outputs(data, Split.TRAINING, outputs) == pytest.approx(expected, abs=1e-15)
    matrix = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(4))
    assert confusion_matrix(labels, predicted, 4).tolist() == matrix.tolist()


# With these, means are exact, so that constant columns have no rounding errors of their mean.
NUMBERS = st.integers(-4000, 4000).map(lambda number: number / 8.0)


@given(st.integers(1, 3).flatmap(lambda n: st.lists(
    st.tuples(st.lists(NUMBERS, min_size=n, max_size=n), st.lists(NUMBERS, min_size=n, max_size=n)),
    min_size=1, max_size=12,
)))  # fmt: skip
def test_regressions_have_the_scores_of_scikit_learn(rows):
    Y, outputs = (np.array([row[part] for row in rows]) for part in (0, 1))
    data = replace(dataset(Y), is_classification=False)
    expected = {
        "rmse": sklearn_metrics.root_mean_squared_error(Y, outputs),
        "mae": sklearn_metrics.mean_absolute_error(Y, outputs),
    }
    if len(Y) > 1:
        expected["r2"] = sklearn_metrics.r2_score(Y, outputs)
    assert of_outputs(data, Split.TRAINING, outputs) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_constant_target_has_r2_1_if_it_is_predicted_and_else_0():
    # scikit-learn gives -1.7e31 for the second: the mean of three times 0.1 is rounded.
    data = replace(dataset([[0.1]] * 3), is_classification=False)
    for outputs, expected in (([0.1] * 3, 1.0), ([0.1, 0.1, 0.2], 0.0)):
        assert of_outputs(data, Split.TRAINING, np.array(outputs)[:, None])["r2"] == expected


def test_runs_have_the_scores_of_training_validation_and_test_rows(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i},{i * i}\n" for i in range(20)))
    file = {
        "name": "file", "path": str(tmp_path / "t.csv"), "target": "y",
        "test_fraction": 0.2, "validation_fraction": 0.2, "task": "regression",
    }  # fmt: skip
    result = bpexp.train(data=file, model="regressor", lr=1e-6, epochs=20)
    data = load(parse(compose_settings({"data": file}))[0].data)
    scores = of_outputs(data, Split.TRAINING, result.predictions)
    assert result.metrics["rmse"] == scores["rmse"]
    assert result.metrics["test_rmse"] ** 2 == pytest.approx(result.metrics["test_loss"])
    of_classes = ("accuracy", "balanced_accuracy", "macro_f1")
    names = [name for name in METRICS if not name.endswith(of_classes)]
    assert list(result.metrics) == names
    diverged = bpexp.train(data=file, model="regressor", lr=1e300, epochs=20)
    assert set(diverged.metrics) <= {"final_loss", "epochs_run", "lowest_validation_loss"}
