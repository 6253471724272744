"""Validation rows: which weights are kept, when early stopping ends a run, what is tracked."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_back import client_of

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.data import load
from bpexp.data.proben1 import Proben1Config
from bpexp.data.registry import DataConfig
from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.mlp import forward
from bpexp.nn.network import Network
from bpexp.runs import metrics
from bpexp.runs.result import Outcome
from bpexp.sweeps.plan import make_plan

IRIS = {"data": {"name": "iris", "validation_fraction": 0.3, "standardize": True}, "hidden": 3}
SMALL = {**IRIS, "model": {"init_low": -1.0, "init_high": 1.0}, "epochs": 60, "lr": 0.1}


def outputs(result, X):
    network = Network((4, 3, 3), ("sigmoid", "sigmoid"))
    return forward(network, X, result.weights, result.biases, EXACT)[0][-1]


def test_validation_losses_are_computed_on_rows_that_are_not_trained_on():
    result = bpexp.train(**SMALL, stop={"validation_interval": 4})
    rows = load(DataConfig(name="iris", validation_fraction=0.3, standardize=True))
    assert (len(rows.X), len(rows.X_validation), len(rows.X_test)) == (105, 45, 0)
    assert result.validation.epochs.tolist() == list(range(4, 61, 4))
    for epochs, loss in zip(*result.validation, strict=True):
        # With an interval longer than the run, only the last weights are evaluated and kept.
        last = bpexp.train(**{**SMALL, "epochs": int(epochs)}, stop={"validation_interval": 1000})
        error = outputs(last, rows.X_validation) - rows.Y_validation
        assert loss == pytest.approx(float((error * error).mean()), rel=1e-12)
        np.testing.assert_array_equal(last.losses, result.losses[:epochs])


def test_the_result_has_the_weights_with_the_lowest_validation_loss():
    data = {**IRIS["data"], "test_fraction": 0.2}
    unstable = {**SMALL, "data": data, "lr": 2.0, "seed": 6}
    result = bpexp.train(**unstable)
    best = int(result.validation.losses.argmin())
    assert best + 1 < len(result.validation.losses)
    assert result.lowest_validation_loss == result.validation.losses[best]
    shorter = bpexp.train(**{**unstable, "epochs": best + 1}, stop={"validation_interval": 1000})
    for kept, last in zip(result.weights, shorter.weights, strict=True):
        np.testing.assert_array_equal(kept, last)
    rows = load(DataConfig(**data))
    np.testing.assert_array_equal(result.predictions, outputs(result, rows.X))
    error = outputs(result, rows.X_test) - rows.Y_test
    assert result.metrics["test_loss"] == pytest.approx(float((error * error).mean()), rel=1e-12)
    # All figures are of these weights; the loss of the last epoch has a name of its own.
    error = result.predictions - rows.Y
    assert result.metrics["final_loss"] == result.final_loss
    assert result.final_loss == pytest.approx(float((error * error).mean()), rel=1e-12)
    # The forward pass of the next epoch computed the same loss.
    assert result.final_loss == result.losses[best + 1]
    assert result.metrics["last_epoch_loss"] == result.losses[-1] != result.final_loss
    classes = rows.Y.argmax(axis=1)
    right = (result.predictions.argmax(axis=1) == classes).mean()
    assert result.metrics["accuracy"] == pytest.approx(right)
    assert "last_epoch_loss" not in bpexp.train(epochs=3).metrics


@pytest.mark.parametrize("validation_fraction", [0.0, 0.3])
@pytest.mark.parametrize("test_fraction", [0.0, 0.2])
def test_the_metrics_that_objectives_are_checked_with_are_those_of_runs(
    validation_fraction, test_fraction
):
    data = {**IRIS["data"], "validation_fraction": validation_fraction}
    data["test_fraction"] = test_fraction
    result = bpexp.train(**{**SMALL, "data": data, "epochs": 2})
    assert metrics.of_dataset(load(DataConfig(**data))) == list(result.metrics)
    if validation_fraction:
        settings = {**SMALL, "data": data, "objective": "last_epoch_loss"}
        plan = make_plan([compose_settings(settings)])
        assert plan.objective.metric == "last_epoch_loss"


def stopping_epoch(
    result, patience=math.inf, generalization=math.inf, progress=0.0, validation_interval=1
):
    """The epoch at which the formulas of Proben1 (section 3.3) stop a run, or None."""
    lowest, since = math.inf, 0
    for epoch, loss in zip(*result.validation, strict=True):
        lowest, since = (loss, epoch) if loss < lowest else (lowest, since)
        recent = result.losses[epoch - validation_interval : epoch]
        if (
            100 * (loss / lowest - 1) > generalization
            or epoch - since >= patience
            or 1000 * (recent.mean() / recent.min() - 1) < progress
        ):
            return epoch
    return None


@pytest.mark.parametrize(
    "criteria",
    [
        {"patience": 6, "validation_interval": 1},
        {"patience": 10, "validation_interval": 5},
        {"generalization": 5.0, "validation_interval": 5},
        {"progress": 20.0, "validation_interval": 5},
        {"generalization": 8.0, "progress": 20.0, "patience": 30, "validation_interval": 3},
    ],
)
def test_early_stopping_follows_the_formulas_of_proben1(criteria):
    settings = {**SMALL, "epochs": 400, "lr": 0.6, "seed": 1}
    whole = bpexp.train(**settings, stop={"validation_interval": criteria["validation_interval"]})
    expected = stopping_epoch(whole, **criteria)
    assert expected is not None
    stopped = bpexp.train(**settings, stop=criteria)
    assert (stopped.outcome, stopped.epochs_run) == (Outcome.STALLED, expected)
    np.testing.assert_array_equal(stopped.losses, whole.losses[:expected])


def test_a_run_that_converges_is_evaluated_at_its_last_epoch():
    result = bpexp.train(**SMALL, stop={"loss": 0.19, "validation_interval": 7})
    assert result.outcome is Outcome.CONVERGED
    assert result.epochs_run % 7
    assert result.validation.epochs[-1] == result.epochs_run


@given(st.integers(1, 40), st.floats(0.0, 0.5), st.integers(0, 2**32 - 1))
def test_validation_rows_are_taken_from_the_training_rows_only(seed, share, split_seed):
    split = {"name": "iris", "test_fraction": 0.2, "split_seed": split_seed}
    both, without = load(DataConfig(**split, validation_fraction=share)), load(DataConfig(**split))
    np.testing.assert_array_equal(both.X_test, without.X_test)
    parts = np.vstack([both.X, both.X_validation, both.X_test])
    everything = load(DataConfig(name="iris")).X
    assert sorted(map(tuple, parts)) == sorted(map(tuple, everything))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop__generalization": 5}, r"stop.generalization must go with validation rows"),
        ({"stop__progress": 0.1}, r"stop.progress must go with validation rows"),
        ({"stop__progress": 0.1, **IRIS}, "add stop.validation_interval=5"),
        ({"stop__restart": 9, **IRIS}, "stop.restart must go without validation rows"),
        ({"data": {"name": "xor", "validation_fraction": 0.9}}, "must leave a row to train on"),
        ({"data": {"name": "xor", "validation_fraction": 1.0}}, "data.validation_fraction must be"),
    ],
)
def test_invalid_combinations_of_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        bpexp.train(**settings)


HEADER = (
    "bool_in=1\nreal_in=1\nbool_out=2\nreal_out=0\n"
    "training_examples=3\nvalidation_examples=2\ntest_examples=1\n"
)
EXAMPLES = "0 0.1 1 0\n1 0.2 0 1\n0 0.3 1 0\n1 0.4 0 1\n0 0.5 1 0\n1 0.6 0 1\n"


def write_proben1(tmp_path, text):
    (tmp_path / "small.dt").write_text(text)
    return str(tmp_path / "small.dt")


def test_a_proben1_file_defines_training_validation_and_test_rows(tmp_path):
    data = load(Proben1Config(name="proben1", path=write_proben1(tmp_path, HEADER + EXAMPLES)))
    assert data.X.tolist() == [[0, 0.1], [1, 0.2], [0, 0.3]]
    assert data.Y_validation.tolist() == [[0, 1], [1, 0]]
    assert data.X_test.tolist() == [[1, 0.6]]
    assert data.is_classification


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, r"as many examples as its header says \(6\), got 0"),
        (HEADER + EXAMPLES.replace("0.4", "x"), "must hold 4 finite numbers in each example"),
        (HEADER + EXAMPLES.replace("0.4", "nan"), "must hold 4 finite numbers in each example"),
        (HEADER.replace("test_examples=1\n", "") + EXAMPLES, "got no test_examples"),
        (HEADER.replace("bool_in=1", "bool_in=one") + EXAMPLES, "got the line 'bool_in=one'"),
        ("a,b\n1,2\n", "got no bool_in"),
    ],
)
def test_an_invalid_proben1_file_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(Proben1Config(name="proben1", path=write_proben1(tmp_path, text)))


@pytest.mark.long
# MLflow raises a warning about its own type hints when its models are imported.
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_validation_losses_are_tracked_and_reproduced(inside, tmp_path):
    path = write_proben1(tmp_path, HEADER + EXAMPLES)
    done = inside("-m", "data=proben1", f"data.path={path}", "seed=1,2", "epochs=40",
                 "stop.validation_interval=5", "stop.generalization=5", "lr=3.0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    api = client_of(tmp_path)
    experiment = api.get_experiment_by_name("bpexp").experiment_id
    run = next(r for r in api.search_runs([experiment]) if "sweep" not in r.info.run_name)
    history = api.get_metric_history(run.info.run_id, "validation_loss")
    assert {m.step % 5 for m in history} == {0}
    assert run.data.metrics["lowest_validation_loss"] == min(m.value for m in history)
    kept = api.download_artifacts(run.info.run_id, "validation.npz", str(tmp_path))
    with np.load(kept) as arrays:
        assert arrays["epoch"].tolist() == [m.step for m in history]
        assert arrays["loss"].tolist() == [m.value for m in history]
    again = inside("reproduce", "--all")
    assert again.returncode == 0, again.stderr
    assert "2 of 2 runs identical to the bit" in again.stdout
    assert inside("export", run.info.run_id[:8]).returncode == 0
