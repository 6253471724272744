"""Weights of classes in the loss: their values, their gradient, and where they cannot be used."""

import itertools

import numpy as np
import pytest
from finite_differences import assert_gradients
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from test_engines import GROUPED, result_bits, train_bits

import bpexp
from bpexp.config.compose import compose
from bpexp.config.schema import flatten, plain
from bpexp.fields.checks import ConfigError
from bpexp.nn import init
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward, sample_losses, sample_weights
from bpexp.nn.network import ClassWeights, Network
from bpexp.runs import comparability
from bpexp.runs.objective import objectives
from bpexp.sweeps.plan import make_plan
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.numpy_engine import NumpyEngine
from bpexp.training.run_batch import balanced_weights

RNG = np.random.RandomState(0)
KINDS = np.array(["rare", "often", "often", "odd", "often", "rare", "often"] * 3)
X = RNG.normal(size=(len(KINDS), 2)) + (KINDS == "rare")[:, None]
SMALL = {"hidden": 3, "lr": 0.05, "epochs": 20, "model__class_weight": "balanced"}


@pytest.fixture
def kinds_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{a},{b},{kind},{int(kind == 'odd')}" for (a, b), kind in zip(X, KINDS, strict=True)]
    (tmp_path / "kinds.csv").write_text("\n".join(["a,b,kind,is_odd", *lines]))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=50).filter(lambda y: len(set(y)) > 1))
def test_weights_are_those_of_scikit_learn(labels):
    y = np.unique(labels, return_inverse=True)[1]
    result = bpexp.train(
        np.arange(len(y))[:, None], [f"class {label}" for label in y], model="classifier", epochs=1
    )
    found = balanced_weights(result.dataset)
    expected = compute_class_weight("balanced", classes=np.unique(y), y=y)
    np.testing.assert_allclose(found.high, expected, rtol=1e-14)
    of_samples = sample_weights(found, result.dataset.Y, EXACT)
    np.testing.assert_allclose(of_samples, compute_sample_weight("balanced", y), rtol=1e-14)
    assert of_samples.mean() == pytest.approx(1.0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.2, 0.9)])
def test_a_single_output_has_the_weights_of_its_two_values(low, high):
    settings = ["data=symmetry", "data.bits=4", f"data.low={low}", f"data.high={high}"]
    (job,) = make_plan([compose([*settings, "model.output=identity"])]).jobs
    dataset = job.dataset
    y = dataset.Y[:, 0]
    found = sample_weights(balanced_weights(dataset), dataset.Y, EXACT)
    assert len(set(found)) == 2
    np.testing.assert_allclose(found, compute_sample_weight("balanced", (y == high).astype(int)))


def test_the_training_loss_is_the_weighted_log_loss_of_scikit_learn():
    result = bpexp.train(X, KINDS, model="classifier", **SMALL)
    weights = compute_sample_weight("balanced", KINDS)
    expected = log_loss(KINDS, result.predictions, sample_weight=weights)
    assert result.final_loss == pytest.approx(expected, rel=1e-12)
    assert result.final_loss != pytest.approx(log_loss(KINDS, result.predictions), rel=0.01)


def test_validation_and_test_losses_use_the_weights_of_the_training_rows():
    parts = {"data__validation_fraction": 0.25, "data__test_fraction": 0.25}
    result = bpexp.train(X, KINDS, model="classifier", **SMALL, **parts)
    rows = result.dataset
    high = np.array(balanced_weights(rows).high)
    for outputs, Y, name in (
        (result.validation_predictions, rows.Y_validation, "lowest_validation_loss"),
        (result.test_predictions, rows.Y_test, "test_loss"),
        (result.predictions, rows.Y, "final_loss"),
    ):
        each = -np.log((outputs * Y).sum(axis=1)) * (Y @ high)
        assert result.metrics[name] == pytest.approx(each.mean(), rel=1e-12)


def test_balanced_training_is_training_on_rows_that_are_repeated_until_classes_are_equal():
    # Six rows and two: the weights are 8 / (2 * 6) = 2/3 and 8 / (2 * 2) = 2 = 3 * 2/3.
    y = np.array(["often"] * 6 + ["rare"] * 2)
    rows = X[: len(y)]
    one = {"model": "classifier", "hidden": 3, "epochs": 50, "data__standardize": False}
    balanced = bpexp.train(rows, y, **one, lr=0.06, model__class_weight="balanced")
    repeats = np.where(y == "rare", 3, 1)
    repeated = bpexp.train(np.repeat(rows, repeats, axis=0), np.repeat(y, repeats), **one, lr=0.04)
    for ours, theirs in zip(balanced.weights, repeated.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


COMBINATIONS = [(output, name) for name, loss in LOSSES.items() for output in loss.outputs]


@pytest.mark.parametrize(("output", "loss"), COMBINATIONS)
def test_gradients_equal_central_finite_differences(output, loss):
    weights_of_classes = ClassWeights(0.5, (0.0, 0.0, 0.0), (0.5, 3.0, 1.25))
    network = Network((2, 3, 3), ("tanh", output), loss, class_weights=weights_of_classes)
    inputs, targets = RNG.randn(5, 2), np.eye(3)[[0, 1, 2, 0, 1]]
    weights, biases = init.initialize(network.sizes, "uniform", 3, -1.0, 1.0)

    def total():
        activations, Z = forward(network, inputs, weights, biases, EXACT)
        return sample_losses(network, Z, activations[-1], targets, EXACT).sum()

    activations, Z = forward(network, inputs, weights, biases, EXACT)
    plain_losses = LOSSES[loss].on(output).per_row(EXACT, Z, activations[-1], targets)
    assert total() == pytest.approx((plain_losses * [0.5, 3.0, 1.25, 0.5, 3.0]).sum(), rel=1e-14)
    by_weights, by_biases = backward(network, activations, targets, weights, EXACT)
    assert_gradients(total, [*weights, *biases], [*by_weights, *by_biases])


@pytest.mark.slow
@pytest.mark.usefixtures("kinds_file")
@pytest.mark.parametrize(
    "settings",
    [
        ("data.target=kind", "data.drop=[is_odd]", "model=classifier", "batch_size=5",
         "data.validation_fraction=0.25", "data.split_seed=1"),
        # The unrolled kernel, and the kernel for any width.
        ("data.target=is_odd", "data.inputs=[a]", "hidden=2"),
    ],
)  # fmt: skip
def test_the_engines_have_the_same_bits(settings):
    shared = ["data=file", "data.path=kinds.csv", "lr=0.3", "epochs=12", *settings]
    settings = (("none", 1), ("balanced", 1), ("balanced", 2), ("balanced", 3), ("balanced", 4))
    plain_run, *configs = [
        make_plan([compose([*shared, f"model.class_weight={name}", f"seed={seed}"])]).configs[0]
        for name, seed in settings
    ]
    expected = train_bits(configs, NumpyEngine())
    assert len({str(bits) for bits in expected}) == len(configs)
    for engine in (LlvmEngine(), *GROUPED):
        assert train_bits(configs, engine) == expected
    assert train_bits([plain_run], NumpyEngine())[0] != expected[0]


@pytest.mark.usefixtures("kinds_file")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.target=a", "data.drop=[kind]", "model=regressor"], "must go with classes, but a"),
        (["data.target=[is_odd,b]", "data.inputs=[a]", "data.task=regression", "model=regressor"],
         "is_odd and b are quantities"),
        (["data.target=kind", "data.test_fraction=0.9", "data.stratify=false", "data.split_seed=2",
          "model=classifier"], "no training row has kind="),
    ],
)  # fmt: skip
def test_weights_are_refused_where_there_are_no_classes(arguments, message):
    file = ["data=file", "data.path=kinds.csv", "model.class_weight=balanced"]
    with pytest.raises(ConfigError, match=message):
        make_plan([compose([*file, *arguments])])


def test_several_labels_have_no_class_weight():
    labels = np.array([[0, 1], [1, 1], [1, 0], [0, 0]])
    with pytest.raises(ConfigError, match="must go with one label, got 2 labels"):
        bpexp.train(X[:4], labels, model__loss="cross_entropy", **SMALL)


def test_an_unknown_weight_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="class_weight must be one of none, balanced, got 'even'"):
        bpexp.train(X, KINDS, model="classifier", model__class_weight="even")


def test_weighted_losses_are_ranked_apart_and_accuracies_together():
    values = ("none", "balanced")
    shared = ["data=iris", "model=classifier", "epochs=3"]
    jobs = make_plan([compose([*shared, f"model.class_weight={v}"]) for v in values]).jobs
    settings = [{k: str(v) for k, v in flatten(plain(job.config)).items()} for job in jobs]
    before = {key: value for key, value in settings[0].items() if key != "model.class_weight"}
    for name, n_parts in (("final_loss", 2), ("balanced_accuracy", 1)):
        decisive = [
            comparability.decisive_settings(one, objectives()[name]) for one in (*settings, before)
        ]
        assert len(comparability.parts(decisive)) == n_parts
        # A run that was stored before there was such a setting has none.
        assert decisive[2] == decisive[0]
    decisive = [
        comparability.decisive_settings(one, objectives()["final_loss"]) for one in settings
    ]
    other = comparability.alternative(decisive, objectives()["final_loss"], objectives())
    assert other == "balanced_accuracy"


def test_runs_without_weights_have_the_bits_of_weights_of_one():
    results = [
        bpexp.train(data="parity", data__bits=2, model__class_weight=value, epochs=9)
        for value in ("none", "balanced")
    ]
    assert result_bits(results[0]) == result_bits(results[1])
    assert len(set(itertools.chain(*(r.metrics for r in results)))) == len(results[0].metrics)
