"""Scaled regression targets: training is on scaled targets, all figures are in the user's units."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.config.schema import parse
from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.data.target_scaling import fit
from bpexp.fields.checks import ConfigError
from bpexp.runs import identity

SETTINGS = {"model": "regressor", "hidden": 3, "lr": 0.02, "epochs": 60, "seed": 5}
SPLIT = {"test_fraction": 0.25, "validation_fraction": 0.25}


@pytest.fixture
def houses(tmp_path):
    """A table of 40 houses whose prices are large, and the data settings that read it."""
    rng = np.random.default_rng(0)
    size = rng.uniform(40.0, 200.0, 40)
    rooms = rng.integers(1, 7, 40).astype(float)
    price = 3000.0 * size + 20_000.0 * rooms + rng.normal(0.0, 5000.0, 40)
    pd.DataFrame({"size": size, "rooms": rooms, "price": price}).to_csv(
        tmp_path / "houses.csv", index=False
    )
    return {"name": "file", "path": str(tmp_path / "houses.csv"), "target": "price"}


def scaled_by_hand(houses, tmp_path, data):
    """The settings of the same table with prices that were scaled before training."""
    frame = pd.read_csv(houses["path"])
    rows = load(FileConfig(**{**data, "target": ("price",)})).rows.training - 1
    mean, deviation = frame["price"][rows].mean(), frame["price"][rows].std(ddof=0)
    frame["price"] = (frame["price"] - mean) / deviation
    frame.to_csv(tmp_path / "scaled.csv", index=False)
    return {**data, "path": str(tmp_path / "scaled.csv"), "scale_target": False}, mean, deviation


@pytest.mark.parametrize("split", [{}, SPLIT])
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_run_equals_one_on_targets_scaled_by_hand(houses, tmp_path, split, engine):
    data = {**houses, **split}
    by_hand, mean, deviation = scaled_by_hand(houses, tmp_path, data)
    ours = bpexp.train(data=data, engine=engine, **SETTINGS)
    theirs = bpexp.train(data=by_hand, engine=engine, **SETTINGS)
    assert ours.predictions == pytest.approx(theirs.predictions * deviation + mean, rel=1e-9)
    assert ours.losses == pytest.approx(theirs.losses * deviation**2, rel=1e-9)
    for name in {"final_loss", "test_loss", "lowest_validation_loss"} & theirs.metrics.keys():
        assert ours.metrics[name] == pytest.approx(theirs.metrics[name] * deviation**2, rel=1e-9)
    for W, V in zip(ours.weights, theirs.weights, strict=True):
        assert pytest.approx(V, rel=1e-7) == W


def test_losses_are_mean_squared_errors_in_the_units_of_the_file(houses):
    data = {**houses, "test_fraction": 0.25}
    result = bpexp.train(data=data, **SETTINGS)
    Y = load(FileConfig(**{**data, "target": ("price",)})).Y
    assert result.final_loss == pytest.approx(float(((result.predictions - Y) ** 2).mean()))


def test_prices_are_learned_with_ordinary_settings(houses):
    result = bpexp.train(data=houses, model="regressor", hidden=4, lr=0.01, epochs=300)
    prices = pd.read_csv(houses["path"])["price"]
    assert result.final_loss < 0.02 * prices.var()


def test_criteria_are_in_the_units_of_the_file(houses):
    stop = bpexp.train(data=houses, **{**SETTINGS, "epochs": 3000}, stop__loss=1e9)
    assert stop.outcome.value == "converged"
    assert stop.losses[-1] <= 1e9 * (1 + 1e-12) < stop.losses[-2]
    Y = load(FileConfig(**{**houses, "target": ("price",)})).Y
    close = bpexp.train(data=houses, **{**SETTINGS, "epochs": 3000}, stop__tolerance=60_000)
    assert close.outcome.value == "converged"
    assert 30_000 < abs(close.predictions - Y).max() < 60_000


def test_a_dead_zone_is_in_the_units_of_the_file(houses):
    still = bpexp.train(data=houses, **SETTINGS, model__dead_zone=1e7)
    assert len(set(still.losses.tolist())) == 1


def test_only_regressions_with_linear_outputs_are_scaled(houses, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,0.2\n2,0.9\n3,0.4\n")
    data = {"name": "file", "path": str(tmp_path / "t.csv"), "target": "y"}
    sigmoid = [bpexp.train(data={**data, "scale_target": s}, epochs=9) for s in (True, False)]
    assert identity.of_result(sigmoid[0]) == identity.of_result(sigmoid[1])
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,1\n3,0\n")
    config = FileConfig(name="file", path=str(tmp_path / "t.csv"), target=("y",))
    assert load(config).target_scaling is None


def test_scaling_is_a_part_of_the_identity_where_it_has_an_effect(houses):
    def of(model, scale_target):
        data = {**houses, "scale_target": scale_target}
        config, _ = parse(compose_settings({"data": data, "model": model}))
        return identity.of_run(config)

    assert of("regressor", True) != of("regressor", False)
    assert of("sigmoid", True) == of("sigmoid", False)


def test_several_targets_are_scaled_one_by_one(tmp_path):
    rng = np.random.default_rng(1)
    a = rng.normal(size=30)
    frame = pd.DataFrame({"a": a, "kg": 1e3 * a + 5e3, "m": 1e-3 * a})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = {"name": "file", "path": str(tmp_path / "t.csv"), "target": ["kg", "m"]}
    result = bpexp.train(data=data, **{**SETTINGS, "epochs": 400})
    errors = result.predictions - frame[["kg", "m"]].to_numpy()
    assert (errors.std(axis=0) < 0.2 * frame[["kg", "m"]].std(ddof=0).to_numpy()).all()
    relative = errors / frame[["kg", "m"]].std(ddof=0).to_numpy()
    assert result.final_loss == pytest.approx(float((relative**2).mean()))
    with pytest.raises(ConfigError, match=r"stop\.tolerance must go with one target"):
        bpexp.train(data=data, **SETTINGS, stop__tolerance=0.1)


def test_a_constant_target_has_the_scale_one():
    scaling = fit(np.full((5, 1), 0.7))
    assert scaling.scale.tolist() == [1.0]
    assert scaling.original(scaling.scaled(np.array([[0.7], [0.9]]))) == pytest.approx(
        np.array([[0.7], [0.9]])
    )


def test_figures_of_a_diverging_run_may_be_infinite_in_the_units_of_the_file():
    # Without a warning by NumPy, which would be an error here.
    scaling = fit(np.array([[-1000.0], [1000.0]]))
    assert scaling.original_losses(np.array([2.0, 1e303])).tolist() == [2e6, np.inf]
    assert scaling.original(np.array([[1e306]])).tolist() == [[np.inf]]


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=20))
def test_targets_are_scaled_back_to_what_they_were(values):
    Y = np.array(values)[:, None]
    try:
        scaling = fit(Y)
    except ConfigError:
        return
    back = scaling.original(scaling.scaled(Y))
    assert abs(back - Y).max() <= 1e-12 * abs(Y).max()


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # by MLflow, of its own models
@pytest.mark.usefixtures("a_store")
def test_stored_runs_are_reproduced_exported_and_explained(houses, tmp_path, inside):
    data = (
        "data=file", f"data.path={houses['path']}", "data.target=price", "model=regressor",
        "lr=0.02", "epochs=20",
    )  # fmt: skip
    assert inside(*data, "data.test_fraction=0.25").returncode == 0
    (run,) = bpexp.load_runs().run_id
    assert "1 of 1 runs identical to the bit." in inside("reproduce", run).stdout
    exported = inside("export", run, "--onnx")
    assert "bit-identical to those of the run" in exported.stdout, exported.stderr
    page = " ".join(inside("explain", *data).stdout.split())
    assert "outputs and losses are those of scaled targets" in page
