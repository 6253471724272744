"""Pinned result digests: no change of the code may change the numbers of these configurations.

They cover every optimizer, activation, loss, schedule, sample order and stopping criterion.
``python tests/test_pinned_results.py`` prints a new table, after an intended change of results.
"""

from typing import Any

import pytest

import bpexp
from bpexp.runs import identity

SHORT: dict[str, Any] = {"epochs": 40, "hidden": 3, "lr": 0.3}
MODEL = {"model__init_low": -1.0, "model__init_high": 1.0}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {"epochs": 200},
    "no hidden layer": {**SHORT, "hidden": []},
    "two hidden layers": {**SHORT, "hidden": [4, 3]},
    "wide hidden layer": {**SHORT, "hidden": 40, "epochs": 10},
    **{
        f"optimizer {name}": {**SHORT, **MODEL, "optimizer": name}
        for name in (
            "gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "rprop", "quickprop",
        )
    },
    "weight decay": {**SHORT, "optimizer": "adam", "optimizer__weight_decay": 0.01},
    "fan-in": {**SHORT, "optimizer": "quickprop", "optimizer__by_fan_in": True},
    "rprop with drawn steps": {
        **SHORT, "optimizer": "rprop", "optimizer__step_init_low": 0.05,
        "optimizer__step_init_high": 0.2,
    },
    **{
        f"activation {name}": {**SHORT, **MODEL, "model__activation": name}
        for name in ("sigmoid", "symmetric_sigmoid", "tanh", "softsign", "relu", "identity")
    },
    **{
        f"output {name}": {**SHORT, **MODEL, "model__output": name, "lr": 0.05}
        for name in ("tanh", "softsign", "relu", "identity")
    },
    "output symmetric_sigmoid": {
        **SHORT, **MODEL, "model__output": "symmetric_sigmoid", "data__low": -0.5,
        "data__high": 0.5,
    },
    "output softmax": {**SHORT, "data": "encoder", "data__size": 4, "model__output": "softmax"},
    "binary cross-entropy": {**SHORT, "model__loss": "cross_entropy"},
    "categorical cross-entropy": {**SHORT, "data": "iris", "model": "classifier", "lr": 0.01},
    "regressor": {**SHORT, "model": "regressor"},
    "arctanh error": {**SHORT, **MODEL, "model__error": "arctanh"},
    "dead zone and offset": {
        **SHORT, **MODEL, "model__dead_zone": 0.1, "model__derivative_offset": 0.1,
        "model__bias_input": 0.5,
    },
    "init he": {**SHORT, "model__init": "he", "model__activation": "relu"},
    "schedule step": {**SHORT, "schedule": "step", "schedule__every": 7, "schedule__factor": 0.7},
    "schedule cosine": {**SHORT, "schedule": "cosine", "schedule__final": 0.1},
    "warmup": {**SHORT, "schedule__warmup": 10},
    "mini-batches": {**SHORT, "data": "parity", "batch_size": 3},
    "mini-batches of iris": {
        **SHORT, "data": "iris", "model": "classifier", "batch_size": 16, "optimizer": "adam",
        "lr": 0.01,
    },
    "spirals": {**SHORT, "data": "spirals", "data__points": 20},
    "symmetry": {**SHORT, "data": "symmetry", "data__bits": 4},
    "stop at a loss": {"epochs": 9000, "lr": 1.0, "stop__loss": 0.01},
    "stop at a tolerance": {"epochs": 9000, "lr": 1.0, "stop__tolerance": 0.4},
    "stop without progress": {"epochs": 9000, "lr": 20.0, "seed": 7, "stop__patience": 20},
    "restart": {"epochs": 300, "lr": 1.0, "stop__tolerance": 0.1, "stop__restart": 100},
    "diverged": {"epochs": 2000, "lr": 1e6, "model": "regressor"},
    "validation": {
        **SHORT, "data": "iris", "model": "classifier", "lr": 0.05,
        "data__validation_fraction": 0.2, "stop__patience": 5, "stop__validation_interval": 3,
        "epochs": 300,
    },
    "validation, generalization loss": {
        **SHORT, "data": "iris", "model": "classifier", "lr": 0.1,
        "data__validation_fraction": 0.2, "stop__generalization": 5.0, "epochs": 300,
    },
    "validation, progress": {
        **SHORT, "data": "iris", "model": "classifier", "lr": 0.05, "stop__validation_interval": 5,
        "data__validation_fraction": 0.2, "stop__progress": 0.1, "epochs": 300,
    },
}  # fmt: skip

DIGESTS = {
    "default": "9589fc05b163200e",
    "no hidden layer": "2fbc3c499ea22fd9",
    "two hidden layers": "93655a13d0de6dae",
    "wide hidden layer": "e68c5f8160e4acbf",
    "optimizer gradient_descent": "0be6295aefee36f4",
    "optimizer momentum": "3a1a5aff3752ae58",
    "optimizer nesterov": "4e12c7bbe705ca37",
    "optimizer rmsprop": "a14fabc31c8ac042",
    "optimizer adam": "24736ead7357dcb5",
    "optimizer rprop": "62bd064f76b8dc20",
    "optimizer quickprop": "813030b3f6df8b7f",
    "weight decay": "c14a38e089f50319",
    "fan-in": "9ee264f6d3c25a54",
    "rprop with drawn steps": "3bc125c4704aa2c0",
    "activation sigmoid": "0be6295aefee36f4",
    "activation symmetric_sigmoid": "60905432ac23021c",
    "activation tanh": "0dec4ee84ef7ed31",
    "activation softsign": "a780bd651e022d25",
    "activation relu": "d1f56a2843e78393",
    "activation identity": "523f659da273c6f7",
    "output tanh": "683371f42d4ffd5e",
    "output softsign": "2ea5181721831b8e",
    "output relu": "bc2edd7f1d33a9d8",
    "output identity": "bc2edd7f1d33a9d8",
    "output symmetric_sigmoid": "2f3a86485c49e697",
    "output softmax": "6bb9c547c7077e12",
    "binary cross-entropy": "ad987b4912e73a2d",
    "categorical cross-entropy": "0f60e423636cc664",
    "regressor": "d6fed1c83a670d60",
    "arctanh error": "6e4e8caffc403811",
    "dead zone and offset": "83a4554b6e2f3f1e",
    "init he": "2afc6bfa0985349a",
    "schedule step": "793b2a046809cbf6",
    "schedule cosine": "38cbb0db93015a20",
    "warmup": "cfa94cd76d133d49",
    "mini-batches": "547fe85cb5ed2930",
    "mini-batches of iris": "584cf9a3438c569e",
    "spirals": "0a8a854d4e53e3b7",
    "symmetry": "44d7d7da6e92c3ef",
    "stop at a loss": "f4a18a6c541241d5",
    "stop at a tolerance": "12f638dc0a30425c",
    "stop without progress": "9e1cb9f22d310606",
    "restart": "f8c15ffcd9d09060",
    "diverged": "e7118e60e8edec72",
    "validation": "8d6c4700a3924d60",
    "validation, generalization loss": "20e7dde8d9a49717",
    "validation, progress": "ea8d9ad27f192ca7",
}

COMPILED = {
    "default", "two hidden layers", "mini-batches of iris", "validation", "fan-in",
    "rprop with drawn steps", "optimizer nesterov", "optimizer rmsprop",
}  # fmt: skip
"""Configurations that the quick tests compile, which takes some tenths of a second each."""
CASES = [
    *(pytest.param(name, "numpy", id=f"{name}-numpy") for name in CONFIGURATIONS),
    *(
        pytest.param(
            name, "compiled", id=f"{name}-compiled",
            marks=() if name in COMPILED else pytest.mark.slow,
        )
        for name in CONFIGURATIONS
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_result_has_the_pinned_digest(name: str, engine: str) -> None:
    result = bpexp.train(**CONFIGURATIONS[name], engine=engine)
    assert identity.of_result(result)[:16] == DIGESTS[name]


if __name__ == "__main__":
    for name, settings in CONFIGURATIONS.items():
        result = bpexp.train(**settings, engine="numpy")
        print(f'    "{name}": "{identity.of_result(result)[:16]}",')
