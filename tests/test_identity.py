"""Which changes of a run change its identity and the digest of its result."""

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpexp.config.schema import ModelConfig, StopConfig, TrainConfig, parse_train
from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.data.synthetic import BitsConfig, SpiralsConfig
from bpexp.fields.checks import ConfigError
from bpexp.nn.optimizers import OPTIMIZERS, AdamConfig, OptimizerConfig, RpropConfig
from bpexp.nn.schedules import SCHEDULES, ScheduleConfig, StepConfig
from bpexp.runs import identity
from bpexp.runs.result import Outcome, TrainResult

XOR_ROWS = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
RUN = TrainConfig(
    seed=42, lr=0.1, epochs=100, hidden=(2,), data=BitsConfig(name="xor"),
    model=ModelConfig(), optimizer=OptimizerConfig(name="gradient_descent"),
    schedule=ScheduleConfig(name="constant"), stop=StopConfig(),
)  # fmt: skip


def digest_of(X, Y):
    """The digest of a data set without test rows, computed as documented."""
    sha = hashlib.sha256()
    for values, shape in ((X, (4, 2)), (Y, (4, 1)), ([], (0, 2)), ([], (0, 1))):
        sha.update(struct.pack("<2q", *shape) + struct.pack(f"<{len(values)}d", *values))
    return sha.hexdigest()


def test_the_identity_is_the_digest_of_the_documented_text():
    text = (
        '{"arithmetic":3,"config":{"epochs":100,"hidden":[2],"lr":0.1,"model":{},'
        '"optimizer":{"name":"gradient_descent"},'
        '"schedule":{"name":"constant"},"seed":42,"stop":{}},'
        '"data":{"classes":true,"digest":"DIGEST"},"version":3}'
    ).replace("DIGEST", digest_of(XOR_ROWS, [0.0, 1.0, 1.0, 0.0]))
    assert identity.of_run(RUN) == hashlib.sha256(text.encode("ascii")).hexdigest()


# All defaults are spelled out, so that a test fails if one is changed in the schema.
KNOWN = {
    "plain": (RUN, "e343bc2db8845c50a8eba3679c5c0001163fac1c6d465edcd82047c5d0f67e1b"),
    "rprop": (
        replace(
            RUN, lr=2.0, hidden=(8, 4), batch_size=2,
            data=BitsConfig(
                name="xor", test_fraction=0.0, split_seed=0, standardize=False, low=0.0,
                high=1.0, input_low=-1.0, input_high=1.0,
            ),
            model=ModelConfig(
                activation="sigmoid", output="sigmoid", loss="half_squared", error="linear",
                dead_zone=0.0, derivative_offset=0.1, bias_input=1.0, init="uniform",
                init_low=0.0, init_high=1.0,
            ),
            optimizer=RpropConfig(
                name="rprop", weight_decay=0.0, by_fan_in=False, eta_plus=1.2, eta_minus=0.5,
                step_min=1e-6, step_max=50.0, step_init_low=None, step_init_high=None,
            ),
            schedule=StepConfig(name="step", warmup=0, every=1000, factor=0.5),
            stop=StopConfig(loss=1e-3, tolerance=None, patience=None),
        ),
        "6a890e413d728c665e3cc6426537f7e02bf468e2bae65ec8828f931468cf66f4",
    ),
    "adam on spirals": (
        replace(
            RUN,
            data=SpiralsConfig(
                name="spirals", points=97, turns=3.0, test_fraction=0.25, split_seed=7,
                standardize=True,
            ),
            optimizer=AdamConfig(
                name="adam", beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=1e-4
            ),
        ),
        "b011e8251d2542c30bf795a75661a9c3fc66ad6211d28c9baadb337e2f28bade",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_identities_do_not_change(name):
    config, known = KNOWN[name]
    assert identity.of_run(config) == known


OTHER_DEFAULTS = {
    ("optimizer", "momentum"): {"momentum": 0.9},
    ("optimizer", "nesterov"): {"momentum": 0.9},
    ("optimizer", "rmsprop"): {"decay": 0.99, "epsilon": 1e-8},
    ("optimizer", "quickprop"): {"mu": 1.75},
    ("schedule", "cosine"): {"final": 0.0},
    ("schedule", "constant"): {"warmup": 0},
}


@pytest.mark.parametrize(("group", "name"), OTHER_DEFAULTS)
def test_defaults_that_identities_leave_out_do_not_move(group, name):
    kind = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}[group][name].config
    given = getattr(typed(**{group: {"name": name, **OTHER_DEFAULTS[group, name]}}), group)
    assert given == kind(name=name)


VALUES = {
    "seed": st.integers(0, 2**32 - 1),
    "lr": st.one_of(st.floats(1e-9, 1e9), st.integers(1, 1000)),
    "epochs": st.integers(1, 10**9),
    "hidden": st.lists(st.integers(1, 9), max_size=3),
    "batch_size": st.none() | st.integers(1, 9),
    "model": st.fixed_dictionaries(
        {}, optional={"dead_zone": st.floats(0, 1), "bias_input": st.floats(-2, 2),
                      "activation": st.sampled_from(["sigmoid", "tanh"])},
    ),
    "optimizer": st.fixed_dictionaries(
        {"name": st.sampled_from(["momentum", "nesterov"])},
        optional={"momentum": st.floats(0, 0.99), "by_fan_in": st.booleans()},
    ),
    "stop": st.fixed_dictionaries({}, optional={"loss": st.none() | st.floats(0, 1)}),
    "schedule": st.fixed_dictionaries({"name": st.just("constant")},
                                      optional={"warmup": st.integers(0, 5)}),
    "data": st.fixed_dictionaries({"name": st.just("xor")}, optional={"low": st.floats(-1, 0)}),
}  # fmt: skip


def typed(**settings):
    plain = {"seed": 42, "lr": 0.1, "epochs": 100, "hidden": 2,
             "data": {"name": "xor"}, "model": {}, "optimizer": {"name": "momentum"},
             "schedule": {"name": "constant"}, "stop": {}}  # fmt: skip
    return parse_train(plain | settings)


@given(st.fixed_dictionaries({}, optional=VALUES), st.fixed_dictionaries({}, optional=VALUES))
def test_identities_are_equal_exactly_if_configurations_are(one, other):
    a, b = typed(**one), typed(**other)
    assert (identity.of_run(a) == identity.of_run(b)) == (a == b)
    assert (identity.canonical_json(a) == identity.canonical_json(b)) == (a == b)


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_canonical_json_is_parsed_to_the_same_configuration(settings):
    config = typed(**settings)
    assert parse_train(json.loads(identity.canonical_json(config))) == config


@pytest.mark.parametrize("extra", [{"n_jobs": 1}, {"engine": "auto"}, {"tracking": {}}])
def test_settings_that_change_no_result_are_refused_in_the_configuration_of_a_run(extra):
    with pytest.raises(ConfigError, match=f"^{next(iter(extra))} must be left out"):
        typed(**extra)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lr": 1}, {"lr": 1e0}),
        ({"hidden": 2}, {"hidden": [2]}),
        ({"model": {"bias_input": -0.0}}, {"model": {"bias_input": 0}}),
        ({"optimizer": {"name": "momentum", "momentum": 0.9}}, {}),
        ({"stop": {"loss": None}}, {}),
    ],
)
def test_different_spellings_of_equal_settings_have_one_identity(one, other):
    assert identity.of_run(typed(**one)) == identity.of_run(typed(**other))


def test_identity_depends_on_the_arrays_of_the_data_not_on_the_file_format(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(40), "b": rng.random(40) * 1e-7, "y": rng.random(40)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "other.npz", p=frame.a, q=frame.b, y=frame.y)
    frame.loc[3, "a"] = np.nextafter(frame.a[3], 1.0)
    frame.to_parquet(tmp_path / "changed.parquet")

    def of(file, **settings):
        settings = {"standardize": False, **settings}
        data = FileConfig(name="file", path=str(tmp_path / file), target=("y",), **settings)
        return identity.of_run(replace(RUN, data=data))

    assert of("t.csv") == of("t.parquet") == of("other.npz")
    different = [of("t.csv"), of("changed.parquet"), of("t.csv", standardize=True)]
    different += [of("t.csv", test_fraction=0.2, split_seed=seed) for seed in (0, 1)]
    assert len(set(different)) == 5


RESULT = TrainResult(
    Outcome.COMPLETED, np.array([0.5, 0.25]), np.array([[1.0], [2.0]]),
    (np.array([[3.0], [4.0]]),), (np.array([[5.0]]),),
)  # fmt: skip


def test_the_result_digest_is_that_of_the_documented_bytes():
    text = b"completed"
    for shape, values in (((2,), (0.5, 0.25)), ((2, 1), (1, 2)), ((2, 1), (3, 4)), ((1, 1), (5,))):
        text += struct.pack(f"<{1 + len(shape)}q", len(shape), *shape)
        text += struct.pack(f"<{len(values)}d", *values)
    assert identity.of_result(RESULT) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("part", ["losses", "predictions", "weights", "biases"])
def test_one_ulp_anywhere_changes_the_result_digest(part):
    values = getattr(RESULT, part)
    changed = (np.nextafter(values[0], 9.0),) if part in ("weights", "biases") else values.copy()
    if isinstance(changed, np.ndarray):
        changed.flat[-1] = np.nextafter(changed.flat[-1], 9.0)
    assert identity.of_result(replace(RESULT, **{part: changed})) != identity.of_result(RESULT)
    stalled = replace(RESULT, outcome=Outcome.STALLED)
    assert identity.of_result(stalled) != identity.of_result(RESULT)


def test_a_data_set_s_digest_is_computed_once():
    dataset = load(BitsConfig(name="xor"))
    assert dataset.digest is dataset.digest
