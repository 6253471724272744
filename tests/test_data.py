"""Built-in data sets, splits and files of users."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

import bpexp
from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table
from bpexp.data.synthetic import (
    BitsConfig,
    EncoderConfig,
    ParityConfig,
    SpiralsConfig,
    SymmetryConfig,
)
from bpexp.fields.checks import ConfigError


def test_xor_is_the_four_patterns_in_order():
    xor = load(BitsConfig(name="xor"))
    assert xor.X.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert xor.Y.tolist() == [[0], [1], [1], [0]]


def test_parity_counts_ones():
    parity = load(ParityConfig(name="parity", bits=5))
    assert len(parity.X) == 32
    assert parity.Y[:, 0].tolist() == [bin(i).count("1") % 2 for i in range(32)]


def test_encoder_has_the_chosen_targets():
    encoder = load(EncoderConfig(name="encoder", size=3, low=0.1, high=0.9))
    assert encoder.Y.tolist() == [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]


def test_encoder_inputs_can_be_complemented_and_scaled():
    encoder = load(
        EncoderConfig(name="encoder", size=3, complement=True, input_low=-0.5, input_high=0.5)
    )
    assert encoder.X.tolist() == [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
    assert encoder.Y.tolist() == np.eye(3).tolist()


def test_eight_of_the_64_patterns_of_six_bits_are_palindromes():
    symmetry = load(SymmetryConfig(name="symmetry"))
    assert symmetry.X.shape == (64, 6)
    assert [x for x, y in zip(symmetry.X.tolist(), symmetry.Y, strict=True) if y] == [
        [float(b) for b in (*half, *half[::-1])] for half in np.ndindex(2, 2, 2)
    ]


def test_spirals_mirror_each_other():
    spirals = load(SpiralsConfig(name="spirals", points=97))
    np.testing.assert_array_equal(spirals.X[:97], -spirals.X[97:])
    radii = np.hypot(*spirals.X[:97].T)
    assert radii[0] == pytest.approx(1.0)
    assert radii[-1] == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("name", "model", "shape"),
    [("xor", "sigmoid", (4, 1)), ("parity", "sigmoid", (16, 1)), ("symmetry", "sigmoid", (64, 1)),
     ("encoder", "sigmoid", (8, 8)), ("spirals", "sigmoid", (194, 1)),
     ("iris", "classifier", (112, 3)), ("digits", "classifier", (1348, 10)),
     ("breast_cancer", "classifier", (427, 2))],
)  # fmt: skip
def test_every_data_set_trains_with_its_default_settings(name, model, shape):
    result = bpexp.train(data=name, model=model, epochs=2)
    assert result.predictions.shape == shape
    assert ("test_loss" in result.metrics) == (model == "classifier")


@pytest.mark.parametrize("name", ["iris", "digits", "breast_cancer"])
def test_bundled_data_sets_are_those_that_scikit_learn_loads(name):
    table, expected = (
        DATA_SOURCES[name].load(DataConfig(name=name)),
        getattr(datasets, f"load_{name}")(),
    )
    np.testing.assert_array_equal(table.X, expected.data)
    np.testing.assert_array_equal(table.Y, np.eye(len(expected.target_names))[expected.target])
    assert table.inputs == tuple(expected.feature_names)
    assert table.labels == tuple(expected.target_names.tolist())


@pytest.mark.parametrize(
    ("name", "rows", "features", "outputs"),
    [("iris", 150, 4, 3), ("digits", 1797, 64, 10), ("breast_cancer", 569, 30, 2)],
)
def test_bundled_data_sets_are_split_and_standardized(name, rows, features, outputs):
    data = load(DataConfig(name=name, test_fraction=0.25, standardize=True))
    assert len(data.X) + len(data.X_test) == rows
    assert len(data.X_test) == round(rows * 0.25)
    assert data.X.shape[1] == features
    assert data.Y.shape[1] == outputs
    np.testing.assert_allclose(data.X.mean(axis=0), 0.0, atol=1e-9)
    deviations = data.X.std(axis=0)
    np.testing.assert_allclose(deviations[deviations > 0], 1.0)


def test_the_split_depends_only_on_its_seed():
    one, same, other = (
        load(DataConfig(name="iris", test_fraction=0.5, split_seed=s)) for s in (1, 1, 2)
    )
    assert one.digest == same.digest != other.digest


@pytest.fixture
def frame():
    return pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.5, 2.5, 3.5], "kind": ["u", "v", "u"]})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_label_column_becomes_one_hot(tmp_path, frame, suffix):
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    data = load(FileConfig(name="file", path=str(path), target=("kind",)))
    assert data.inputs == ("a", "b")
    assert data.targets == ("kind=u", "kind=v")
    assert data.Y.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_npz_with_several_targets(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.eye(3), y=np.arange(3.0), z=np.ones(3))
    data = load(FileConfig(name="file", path=str(path), target=("y", "z"), standardize=False))
    assert data.inputs == ("x0", "x1", "x2")
    assert data.Y.tolist() == [[0, 1], [1, 1], [2, 1]]


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        ("a,y\n1,2\n", "z", r"data.target must name columns of .* \(a, y\), got 'z'"),
        ("a,y\n1,2\n,3\n", "y", r"finite numbers, got nan in column 'a', row 2"),
        ("a,y\n1,2\nfoo,3\n", "y", r"numbers in column 'a'"),
        ("a,y\n", "y", "at least one row"),
        ("", "y", "readable .csv file"),
    ],
)
def test_errors_name_what_is_wrong_with_a_file(tmp_path, content, target, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load(FileConfig(name="file", path=str(path), target=(target,)))


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.array([{}, {}], dtype=object), y=np.arange(2.0))
    with pytest.raises(ConfigError, match=r"readable \.npz file"):
        load(FileConfig(name="file", path=str(path), target=("y",)))


def test_a_file_that_has_changed_is_read_again(tmp_path):
    path = tmp_path / "t.csv"
    config = FileConfig(name="file", path=str(path), target=("y",), standardize=False)
    path.write_text("a,y\n1,0\n2,1\n")
    first = load(config)
    assert load(config) is first
    path.write_text("a,y\n1,0\n2,1\n3,1\n")
    assert load(config).X.tolist() == [[1], [2], [3]]


def test_integer_class_labels_with_softmax_get_the_setting_to_add(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,0\n2,1\n3,2\n")
    file = {"name": "file", "path": str(path), "target": "y"}
    with pytest.raises(ConfigError) as error:
        bpexp.train(data=file, model="classifier", epochs=1)
    assert str(error.value) == (
        "model.output=softmax needs an output for each class, but the integers in column 'y' are "
        "read as one number; add data.task=classification."
    )
    result = bpexp.train(data={**file, "task": "classification"}, model="classifier", epochs=1)
    assert result.predictions.shape == (3, 3)


def test_a_data_set_can_be_registered_from_outside(monkeypatch):
    monkeypatch.setattr(DATA_SOURCES, "_records", dict(DATA_SOURCES))
    X = np.linspace(0.0, 1.0, 4)[:, None]
    table = Table(X, X, ("x",), ("y",), is_classification=False)
    DATA_SOURCES.register(DataSource("identity", DataConfig, lambda config: table))
    assert bpexp.train(data={"name": "identity"}, epochs=1).predictions.shape == (4, 1)
    with pytest.raises(ValueError, match="already a data set named 'identity'"):
        DATA_SOURCES.register(DataSource("identity", DataConfig, lambda config: table))


class _NameReadingDigest:
    """A name that makes another thread read the digest while the data set is being pickled."""

    def __init__(self, read_digest):
        self.read_digest = read_digest

    def __reduce__(self):
        with ThreadPoolExecutor() as threads:
            return str, (threads.submit(self.read_digest).result(),)


def test_a_data_set_can_be_pickled_while_another_thread_reads_its_digest():
    shared = replace(load(BitsConfig(name="xor")), name=_NameReadingDigest(lambda: shared.digest))
    copy = pickle.loads(pickle.dumps(shared))
    assert copy.name == copy.digest == load(BitsConfig(name="xor")).digest
    assert (copy.X == shared.X).all()


def test_a_data_set_knows_the_rows_classes_and_scale_of_the_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,kind\n" + "".join(f"{i},{3 * (i % 2)}\n" for i in range(10)))
    config = FileConfig(
        name="file", path=str(path), target=("kind",), task="classification", test_fraction=0.2,
        validation_fraction=0.3, standardize=True,
    )  # fmt: skip
    data = load(config)
    assert (data.label_name, data.labels) == ("kind", (0, 3))
    assert sorted(np.concatenate(data.rows).tolist()) == list(range(1, 11))
    for rows, X, Y in (
        (data.rows.training, data.X, data.Y),
        (data.rows.validation, data.X_validation, data.Y_validation),
        (data.rows.test, data.X_test, data.Y_test),
    ):
        np.testing.assert_allclose(X[:, 0] * data.input_scale + data.input_mean, rows - 1)
        assert [data.labels[c] for c in Y.argmax(axis=1)] == [3 * ((r - 1) % 2) for r in rows]
