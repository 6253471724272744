"""The engines give bit-identical results, in any batch, on any number of workers and processors."""

import copy
import doctest
import hashlib
import importlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpexp.config.compose import compose_settings
from bpexp.config.schema import ModelConfig, StopConfig, TrainConfig, parse
from bpexp.data import load
from bpexp.data.dataset import Dataset
from bpexp.data.registry import DataConfig
from bpexp.data.synthetic import BitsConfig, EncoderConfig, ParityConfig
from bpexp.interrupts import in_daemon_thread
from bpexp.nn import schedules
from bpexp.nn.activations import ACTIVATIONS, elementwise_activations
from bpexp.nn.losses import ERROR_SIGNALS, LOSSES
from bpexp.nn.optimizers import OPTIMIZERS, OptimizerConfig, RpropConfig
from bpexp.nn.schedules import CosineConfig, ScheduleConfig, StepConfig
from bpexp.sweeps.executors import local, make_batches, processes
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.job import Job
from bpexp.training import run_batch
from bpexp.training.batching import group_runs
from bpexp.training.engine import Cancelled
from bpexp.training.llvm import engine as engine_module
from bpexp.training.llvm import jit, unrolled_kernel
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.llvm.kernel import TRAIN_SIGNATURE
from bpexp.training.llvm.lane_layout import LANES
from bpexp.training.loop import TrainingLoop, train_batch
from bpexp.training.numpy_engine import NumpyEngine
from bpexp.training.sample_order import SampleOrders

ROOT = Path(__file__).parents[1]
BASE = TrainConfig(
    seed=42, lr=0.1, epochs=40, hidden=(2,), data=BitsConfig(name="xor"),
    model=ModelConfig(), optimizer=OptimizerConfig(name="gradient_descent"),
    schedule=ScheduleConfig(name="constant"), stop=StopConfig(),
)  # fmt: skip
EXAMPLES = settings.default.max_examples
"""20; 100 or 2,000 with --hypothesis-profile=full or thorough."""
IS_THOROUGH = EXAMPLES > 100
GROUPED = [LlvmEngine(group_size=1), LlvmEngine(group_size=LANES)]
"""The compiled engine without the unrolled kernel: runs one by one, and side by side."""


def result_bits(result):
    """Everything in a result, as bytes."""
    arrays = [result.losses, result.predictions, *result.weights, *result.biases]
    arrays += result.validation or ()
    return [result.outcome.value, *(array.tobytes() for array in arrays)]


def train_bits(configs, engine, dataset=None):
    """The bits of the results, in the order of the configurations."""
    results = dict(train_batch(configs, engine, dataset))
    return [result_bits(results[run]) for run in range(len(configs))]


def train_alone(config, engine):
    (bits,) = train_bits([config], engine)
    return bits


def kind(activation, output, name, hidden, batch_size=None, weight_decay=0.0, by_fan_in=False,
         **model):  # fmt: skip
    """A configuration with everything that kernels are generated for."""
    optimizer = OPTIMIZERS[name].config(name=name, weight_decay=weight_decay, by_fan_in=by_fan_in)
    model = ModelConfig(activation=activation, output=output, init_low=-1.0, **model)
    return replace(BASE, model=model, optimizer=optimizer, hidden=hidden, batch_size=batch_size)


KINDS = [
    kind("sigmoid", "sigmoid", "gradient_descent", (3,)),
    kind("tanh", "softmax", "adam", (4, 3, 2), 3, weight_decay=1e-4, loss="cross_entropy"),
    kind("relu", "sigmoid", "rmsprop", (3,), by_fan_in=True, loss="cross_entropy"),
    kind("symmetric_sigmoid", "symmetric_sigmoid", "quickprop", (3,), weight_decay=1e-4,
         by_fan_in=True, error="arctanh", dead_zone=0.1, derivative_offset=0.1, bias_input=0.5),
    kind("softsign", "tanh", "nesterov", (4, 2), 1, weight_decay=1e-4, derivative_offset=0.1),
    kind("tanh", "softmax", "momentum", (2, 3), by_fan_in=True),
    kind("identity", "softsign", "rprop", (3,), 3, dead_zone=0.1),
    kind("sigmoid", "identity", "adam", (1,), bias_input=0.5),
    kind("sigmoid", "relu", "gradient_descent", ()),
]  # fmt: skip
"""Every activation, loss, error signal and optimizer, with and without what changes a kernel.

Compiling the kernels of a kind takes longer than training a hundred batches of it. Therefore the
tests draw data, weights, rates and criteria freely, but kinds only from this list, unless the
profile is ``thorough``."""


def test_the_kinds_of_the_property_tests_have_every_activation_loss_and_optimizer():
    models = [one.model for one in KINDS]
    assert {model.activation for model in models} == set(elementwise_activations())
    assert {model.output for model in models} == set(ACTIVATIONS)
    assert {model.loss for model in models} == set(LOSSES)
    assert {model.error for model in models} == set(ERROR_SIGNALS)
    assert {one.optimizer.name for one in KINDS} == set(OPTIMIZERS)


@st.composite
def kinds(draw):
    """Draw one of ``KINDS``, or any kind in the profile ``thorough``."""
    if not IS_THOROUGH:
        return draw(st.sampled_from(KINDS))
    loss = draw(st.sampled_from(["half_squared", "cross_entropy"]))
    outputs = ["sigmoid", "softmax"] if loss == "cross_entropy" else list(ACTIVATIONS)
    squared = loss == "half_squared"
    return kind(
        draw(st.sampled_from(elementwise_activations())), draw(st.sampled_from(outputs)),
        draw(st.sampled_from(list(OPTIMIZERS))),
        draw(st.sampled_from([(), (1,), (3,), (4, 2), (4, 3, 2)])),
        draw(st.sampled_from([None, None, 1])), draw(st.sampled_from([0.0, 1e-4])),
        draw(st.booleans()), loss=loss,
        error=draw(st.sampled_from(["linear", "arctanh"])) if squared else "linear",
        dead_zone=draw(st.sampled_from([0.0, 0.1])) if squared else 0.0,
        derivative_offset=draw(st.sampled_from([0.0, 0.1])),
        bias_input=draw(st.sampled_from([1.0, 0.5])),
    )  # fmt: skip


@st.composite
def batch_configs(draw):
    """Draw configurations that can be trained in one batch."""
    drawn = draw(kinds())
    output, optimizer = drawn.model.output, drawn.optimizer
    data = EncoderConfig(name="encoder", size=3) if output == "softmax" else draw(
        st.sampled_from([BitsConfig(name="xor"), ParityConfig(name="parity", bits=3),
                         EncoderConfig(name="encoder", size=4)])
    )  # fmt: skip
    validated = output != "softmax" and draw(st.booleans())
    data = replace(data, validation_fraction=0.3 * validated)
    if isinstance(optimizer, RpropConfig) and draw(st.booleans()):
        optimizer = replace(optimizer, step_init_low=0.01, step_init_high=0.2)
    shared = replace(
        drawn, data=data, optimizer=optimizer, epochs=draw(st.integers(1, 40)),
        batch_size=drawn.batch_size and draw(st.sampled_from([1, 3])),
        schedule=draw(st.sampled_from([
            ScheduleConfig(name="constant"), StepConfig(name="step", every=7),
            CosineConfig(name="cosine", warmup=5),
        ])),
    )  # fmt: skip
    stops = st.builds(
        StopConfig,
        loss=st.sampled_from([None, 0.2, 0.05]),
        tolerance=st.sampled_from([None, 0.4]),
        patience=st.sampled_from([None, 3]),
        restart=st.just(None if validated else draw(st.sampled_from([None, None, 7]))),
        validation_interval=st.just(draw(st.sampled_from([1, 3]))),
        generalization=st.sampled_from([None, 5.0]) if validated else st.none(),
        progress=st.sampled_from([None, 0.1]) if validated else st.none(),
    )
    rates = st.sampled_from([0.01, 0.5, 3.0, 1e5, 1e200])
    each = st.tuples(st.integers(0, 2**32 - 1), rates, stops)
    return [
        replace(shared, seed=seed, lr=lr, stop=stop)
        for seed, lr, stop in draw(st.lists(each, min_size=1, max_size=12))
    ]


@settings(max_examples=EXAMPLES // 4)
@given(batch_configs(), st.randoms())
def test_engine_and_batch_do_not_change_results(configs, random):
    together = train_bits(configs, LlvmEngine())
    for engine in (NumpyEngine(), *GROUPED):
        assert train_bits(configs, engine) == together
    order = list(range(len(configs)))
    random.shuffle(order)
    shuffled = train_bits([configs[i] for i in order], LlvmEngine())
    assert [shuffled[order.index(i)] for i in range(len(configs))] == together
    chosen = random.randrange(len(configs))
    assert train_alone(configs[chosen], LlvmEngine()) == together[chosen]


def train_in_parts(configs, engine, epochs, random, dataset=None):
    """The bits of the results of runs that are paused after each of the epochs, and those there.

    They go on in another order, together with other runs than before.
    """
    left, paused, found, pruned = list(range(len(configs))), {}, {}, {}
    for until in [*sorted(set(epochs)), None]:
        random.shuffle(left)
        batch = run_batch.PreparedBatch([configs[run] for run in left], dataset)
        loop = TrainingLoop(batch, engine, [paused[run] for run in left if paused])
        found |= {left[k]: result_bits(result) for k, result in loop.run(until)}
        states = {left[k]: result for k, result in loop.pause()}
        pruned |= {(run, until): result_bits(result) for run, result in states.items()}
        paused = {run: result.run for run, result in states.items()}
        left = [run for run in left if run not in found]
        if not left:
            break
    return [found[run] for run in range(len(configs))], pruned


@settings(max_examples=EXAMPLES // 8)
@given(batch_configs(), st.lists(st.integers(1, 40), min_size=1, max_size=3), st.randoms())
def test_runs_that_are_paused_go_on_with_the_bits_of_uninterrupted_ones(configs, epochs, random):
    whole = train_bits(configs, LlvmEngine())
    results, pruned = train_in_parts(configs, LlvmEngine(), epochs, random)
    assert results == whole
    assert train_in_parts(configs, NumpyEngine(), epochs, random) == (results, pruned)
    # A run that is stopped at an epoch has the same result whether it was stopped before or not.
    for (run, until), bits in pruned.items():
        assert bits[0] == "pruned"
        assert len(bits[1]) == 8 * until
        _, alone = train_in_parts([configs[run]], NumpyEngine(), [until], random)
        assert alone == {(0, until): bits}


@settings(max_examples=EXAMPLES // 8)
@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from([0.05, 0.5]), st.sampled_from([None, 5])),
        max_size=9,
    ),
    st.randoms(),
)
def test_a_validation_loss_that_is_not_a_number_is_never_the_best(drawn, random):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8, 2))
    Y = np.maximum(X @ [[0.5], [-1.0]], 0.0)
    # Overflows to infinity, or to NaN if the weights have different signs.
    data = Dataset(
        "random", X, Y, np.full((1, 2), 1e308), np.full((1, 1), 0.5), X[:0], Y[:0], (), (),
        is_classification=False, digest="",
    )  # fmt: skip
    shared = replace(
        KINDS[8], model=replace(KINDS[8].model, init_low=-3.0, init_high=3.0), epochs=12
    )
    configs = [
        replace(shared, seed=seed, lr=lr, stop=StopConfig(patience=patience))
        for seed, lr, patience in [(44, 0.05, None), (48, 0.05, None), *drawn]
    ]
    results = dict(train_batch(configs, NumpyEngine(), data))
    bits = [result_bits(results[run]) for run in range(len(configs))]
    for engine in (LlvmEngine(), *GROUPED):
        assert train_bits(configs, engine, data) == bits
    assert train_in_parts(configs, LlvmEngine(), [1, 2, 5], random, data)[0] == bits
    assert np.isnan([results[0].validation.losses[0], results[1].validation.losses[0]]).all()
    assert results[0].lowest_validation_loss == 0.25
    assert results[1].lowest_validation_loss == np.inf
    for run, config in enumerate(configs):
        losses = results[run].validation.losses.tolist()
        best = min(range(len(losses)), key=lambda k: (np.isnan(losses[k]), losses[k]))
        last = replace(config, epochs=best + 1, stop=StopConfig(validation_interval=1000))
        ((_, expected),) = train_batch([last], NumpyEngine(), data)
        np.testing.assert_array_equal(results[run].weights[0], expected.weights[0])
        np.testing.assert_array_equal(results[run].predictions, expected.predictions)


def epochs_run(configs):
    results = dict(train_batch(configs, LlvmEngine()))
    return [results[run].epochs_run for run in range(len(configs))]


@pytest.mark.parametrize("stop", [StopConfig(), StopConfig(loss=0.0)])
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("n_runs", [1, 11])
def test_predictions_are_those_of_the_epoch_in_which_a_run_diverges(n_runs, batch_size, stop):
    model = ModelConfig(activation="identity", output="identity")
    configs = [
        replace(BASE, seed=s, lr=10.0 ** (9 * s), epochs=60, model=model, stop=stop,
                batch_size=batch_size)
        for s in range(n_runs)
    ]  # fmt: skip
    expected = train_bits(configs, NumpyEngine())
    for engine in (LlvmEngine(), *GROUPED):
        assert train_bits(configs, engine) == expected


def test_runs_that_end_do_not_change_the_other_runs():
    configs = [replace(BASE, seed=s, lr=3.0, epochs=3000, stop=StopConfig(tolerance=0.4))
               for s in range(50)]  # fmt: skip
    together = epochs_run(configs)
    assert len(set(together)) > 20
    assert together == [epochs for c in configs for epochs in epochs_run([c])]


@given(st.integers(1, 40), st.integers(1, 400), st.integers(1, 8))
def test_batches_contain_every_run_once(n_lr, n_seeds, n_workers):
    configs = [
        replace(BASE, lr=0.1 + i, seed=s, hidden=(1 + i % 3,))
        for i, s in itertools.product(range(n_lr), range(n_seeds // n_lr + 1))
    ]
    batches = list(group_runs(configs, "compiled", n_workers))
    assert sorted(run for batch in batches for run in batch.runs) == list(range(len(configs)))
    for batch in batches:
        assert len({configs[run].hidden for run in batch.runs}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_number_of_workers_and_order_of_runs_do_not_change_results(engine):
    configs = [
        replace(BASE, seed=s, hidden=(width,), batch_size=size)
        for s, width, size in itertools.product(range(6), (2, 3), (None, 1))
    ]
    found = {}
    for n_jobs in (1, 2):
        rotated = configs[7 * n_jobs :] + configs[: 7 * n_jobs]
        jobs = [Job(i, "", config, load(config.data)) for i, config in enumerate(rotated)]
        batches = make_batches(jobs, engine, n_jobs)
        results = [one for batch in LocalExecutor(n_jobs).map(batches) for one in batch]
        assert len(results) == len(configs)
        found[n_jobs] = {one.job.config: result_bits(one.result) for one in results}
    expected = {config: train_alone(config, NumpyEngine()) for config in configs}
    assert found[1] == found[2] == expected


@settings(max_examples=EXAMPLES // 10)
@given(batch_configs())
def test_engines_evaluate_the_same_losses_and_outputs(configs):
    batch = run_batch.PreparedBatch(configs)
    parameters = batch.initial_state().parameters
    X, Y = batch.problem.X[1:], batch.problem.Y[1:]
    losses, outputs = NumpyEngine().evaluate(batch.problem.network, parameters, X, Y)
    for engine in (LlvmEngine(), *GROUPED):
        found = engine.evaluate(batch.problem.network, parameters, X, Y)
        np.testing.assert_array_equal(found.losses, losses)
        np.testing.assert_array_equal(found.outputs, outputs)


PROGRAM = """
import hashlib
import numpy as np
from bpexp.data.dataset import Dataset
from bpexp.config.compose import compose_settings
from bpexp.sweeps import plan
from bpexp.runs.environment import cpu_features
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.loop import train_batch
from bpexp.training.numpy_engine import NumpyEngine
tasks = [
    dict(data="spirals", hidden=3, optimizer="adam", model__loss="cross_entropy"),
    dict(data="encoder", hidden=[3, 2], optimizer="rprop", model__activation="tanh",
         model__output="softmax", model__loss="cross_entropy", batch_size=3),
    dict(data="encoder", hidden=3, optimizer="quickprop", model__error="arctanh",
         model__derivative_offset=0.1),
    dict(data="digits", hidden=[33, 7], model="classifier", lr=0.001, epochs=5),
    *(dict(optimizer=name) for name in ("gradient_descent", "momentum", "nesterov", "rmsprop")),
]
def plan_of(task):
    values = {"epochs": 300, **task}
    return plan.make_plan([compose_settings(values)]).configs
def wide_data():
    rng = np.random.RandomState(0)
    X, Y = rng.rand(150, 784), rng.rand(150, 10)
    none = X[:0], Y[:0]
    return Dataset("random", X, Y, *none, *none, (), (), is_classification=False, digest="")
work = [(plan_of(task), None) for task in tasks]
work.append((plan_of(dict(hidden=128, batch_size=64, lr=0.001, epochs=3)), wide_data()))
for engine in (NumpyEngine(), LlvmEngine(), LlvmEngine(group_size=8)):
    digest = hashlib.sha256()
    for configs, dataset in work:
        ((_, result),) = train_batch(configs, engine, dataset)
        for array in (result.losses, result.predictions, *result.weights, *result.biases):
            digest.update(array.tobytes())
    print(digest.hexdigest())
print(cpu_features())
"""
PROCESSORS = {
    "as it is": {},
    "without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4", "OPENBLAS_CORETYPE": "Haswell",
                        "BPEXP_CPU": "haswell"},
    "without AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3",
                     "OPENBLAS_CORETYPE": "Sandybridge", "BPEXP_CPU": "sandybridge"},
    "without AVX": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3", "OPENBLAS_CORETYPE": "Nehalem",
                    "BPEXP_CPU": "generic"},
}  # fmt: skip


@pytest.mark.long
def test_results_are_the_same_on_all_processors(tmp_path, record_property):
    """Run all emulated processors at the same time: compiling takes most of the time."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | features | {"BPEXP_CACHE_DIR": str(tmp_path / name)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name, features in PROCESSORS.items()
    }  # fmt: skip
    digests = {}
    for name, process in started.items():
        output, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
        *digests[name], features = output.splitlines()
        disabled = PROCESSORS[name].get("NPY_DISABLE_CPU_FEATURES", "").split()
        assert set(disabled).isdisjoint(features.split())
    assert [len(found) for found in digests.values()] == [3] * len(PROCESSORS)
    assert len({digest for found in digests.values() for digest in found}) == 1, digests
    record_property("emulated processors with the same results", len(PROCESSORS))
    print(f"the same results on {len(PROCESSORS)} emulated processors, with three engines each")


@pytest.mark.long
@pytest.mark.parametrize(("hidden", "size"), [("128", 64), ("512,256", 256)])
def test_runs_of_wide_networks_are_reproduced_on_another_processor(tmp_path, hidden, size):
    rng = np.random.RandomState(0)
    np.savez(tmp_path / "images.npz", x=rng.rand(600, 784), y=rng.randint(0, 10, 600))

    def bpexp(processor, *arguments):
        features = {**PROCESSORS[processor], "BPEXP_CACHE_DIR": str(tmp_path / processor)}
        return subprocess.run(
            [sys.executable, "-m", "bpexp", *arguments], env=os.environ | features, cwd=tmp_path,
            capture_output=True, text=True, timeout=300, check=True,
        ).stdout  # fmt: skip

    bpexp(
        "without AVX", "data=file", "data.path=images.npz", "data.target=y", "model=classifier",
        "data.task=classification", f"hidden=[{hidden}]", f"batch_size={size}", "optimizer=adam",
        "lr=0.001", "epochs=2",
    )  # fmt: skip
    found = bpexp("without AVX-512", "reproduce", "latest")
    assert found.startswith("1 of 1 runs identical to the bit")


def test_threads_can_compile_at_the_same_time(monkeypatch):
    """LLVM is not thread-safe: without a lock the process would crash."""
    monkeypatch.setattr(jit, "object_file", lambda name: None)
    monkeypatch.setattr(jit, "_functions", {})
    configs = [
        replace(BASE, hidden=(width,), epochs=3, model=ModelConfig(activation=unit))
        for width in (1, 2) for unit in ("sigmoid", "tanh")
    ]  # fmt: skip
    with ThreadPoolExecutor(len(configs)) as pool:
        found = list(pool.map(partial(train_alone, engine=LlvmEngine()), configs))
    assert found == [train_alone(config, NumpyEngine()) for config in configs]
    assert len(jit._functions) == len(configs)


@pytest.mark.parametrize(
    ("changes", "fewest", "most"),
    [
        ({}, 500, 5000),
        ({"data": "digits", "model": "classifier", "batch_size": 32}, 5, 50),
        ({"data": "digits", "model": "classifier", "hidden": [512, 256]}, 0.1, 3),
    ],
    ids=["small", "many updates", "wide"],
)
def test_calls_of_the_numpy_engine_end_soon(changes, fewest, most):
    config, _ = parse(compose_settings(changes))
    problem = run_batch.PreparedBatch([config]).problem
    assert fewest < NumpyEngine().epochs_per_second(problem, 1) < most


class RecordingEngine(NumpyEngine):
    """Tries the unrolled kernel first; records whether it succeeded, and that it failed cleanly."""

    def __init__(self):
        self.succeeded = []

    def advance(self, problem, state, lr_factors, sample_orders):
        before = copy.deepcopy(state)
        progress = unrolled_kernel.advance(problem, state, lr_factors)
        self.succeeded.append(progress is not None)
        if progress is not None:
            return progress
        for f in fields(state):
            assert getattr(state, f.name).tobytes() == getattr(before, f.name).tobytes()
        return super().advance(problem, state, lr_factors, sample_orders)


BRANCHLESS = sorted(name for name, a in ACTIVATIONS.items() if a.is_branchless)
UNROLLED = [
    kind("sigmoid", "sigmoid", "gradient_descent", (2,)),
    kind("tanh", "identity", "momentum", (3, 2), weight_decay=0.01),
    kind("symmetric_sigmoid", "tanh", "nesterov", (2,)),
    kind("softsign", "symmetric_sigmoid", "rmsprop", (2,)),
    kind("identity", "softsign", "adam", (2,), weight_decay=0.01),
]
"""Every activation and optimizer that the unrolled kernel supports."""


def test_the_unrolled_kinds_have_everything_that_the_kernel_supports():
    assert sorted(one.model.activation for one in UNROLLED) == BRANCHLESS
    assert sorted(one.model.output for one in UNROLLED) == BRANCHLESS
    assert sorted(one.optimizer.name for one in UNROLLED) == sorted(
        name for name, optimizer in OPTIMIZERS.items() if optimizer.is_branchless
    )


@st.composite
def unrolled_kinds(draw):
    """Draw one of ``UNROLLED``, or any kind that is supported in the profile ``thorough``."""
    if not IS_THOROUGH:
        return draw(st.sampled_from(UNROLLED))
    name = st.sampled_from([one.optimizer.name for one in UNROLLED])
    activation, hidden = st.sampled_from(BRANCHLESS), st.sampled_from([(2,), (3, 2)])
    return kind(draw(activation), draw(activation), draw(name), draw(hidden),
                weight_decay=draw(st.sampled_from([0.0, 0.01])))  # fmt: skip


@given(data=st.data())
@settings(max_examples=EXAMPLES // 3)
def test_the_unrolled_kernel_matches_numpy_or_leaves_the_state_unchanged(data):
    """It gives up on losses and weights that are not finite, and on extreme logits."""
    drawn = data.draw(unrolled_kinds())
    lrs = data.draw(st.lists(st.sampled_from([0.01, 0.5, 3.0, 50.0, 1e6]), min_size=1, max_size=9))
    shared = replace(drawn, epochs=data.draw(st.integers(1, 30)))
    configs = [replace(shared, lr=lr, seed=seed) for seed, lr in enumerate(lrs)]
    engine = RecordingEngine()
    assert train_bits(configs, engine) == train_bits(configs, NumpyEngine())
    is_gentle = max(lrs) <= 3.0 and drawn.optimizer.name == "gradient_descent"
    used = {drawn.model.activation, drawn.model.output}
    assert all(engine.succeeded) or not (is_gentle and used <= {"sigmoid", "tanh"})


@given(data=st.data())
@settings(max_examples=EXAMPLES // 20)
def test_wide_networks_match_numpy(data):
    """Cover layers around multiples of vectors and tiles, incomplete blocks, and many outputs."""
    drawn = data.draw(kinds())
    widths = st.sampled_from([1, 7, 8, 9, 16, 31, 32, 33, 40, 65, 130, 264])
    size = data.draw(st.sampled_from([2, 9, 35]))
    stop = StopConfig(loss=data.draw(st.sampled_from([None, 0.2])))
    shared = replace(
        drawn, hidden=tuple(data.draw(widths) for _ in drawn.hidden), stop=stop,
        model=replace(drawn.model, init="glorot"), data=EncoderConfig(name="encoder", size=size),
        epochs=data.draw(st.integers(1, 12)),
        batch_size=drawn.batch_size and data.draw(st.sampled_from([1, 3, 33])),
    )  # fmt: skip
    lrs = data.draw(st.lists(st.sampled_from([0.001, 0.1, 2.0, 1e200]), min_size=1, max_size=3))
    configs = [replace(shared, lr=lr, seed=seed) for seed, lr in enumerate(lrs)]
    expected = train_bits(configs, NumpyEngine())
    for engine in GROUPED:
        assert train_bits(configs, engine) == expected


def test_runs_may_end_at_very_different_epochs():
    configs = [
        replace(BASE, seed=s, lr=3.0, epochs=2000, stop=StopConfig(loss=0.002, patience=p))
        for s, p in ((1, None), (2, 300), (3, None), (4, 3))
    ]
    expected = train_bits(configs, NumpyEngine())
    assert len({len(losses) for _, losses, *_ in expected}) == 4
    for engine in GROUPED:
        assert train_bits(configs, engine) == expected


def kind_like(n_hidden, is_shuffled):
    """The first of ``KINDS`` with so many hidden layers, and with or without mini-batches."""
    return next(
        one for one in KINDS
        if len(one.hidden) == n_hidden and (one.batch_size is not None) == is_shuffled
    )  # fmt: skip


@pytest.mark.parametrize("batch_size", [None, 37, 16])
@pytest.mark.parametrize(
    "hidden", [pytest.param((265, 41), marks=pytest.mark.slow), (70, 9), (33,)]
)
def test_blocked_matrix_products_have_the_bits_of_the_reference(hidden, batch_size):
    # More rows, columns and terms than a block holds, and no multiples of the tile.
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((150, 270)), rng.random((150, 3))
    dataset = Dataset(
        "random", X, Y, X[:0], Y[:0], X[:0], Y[:0], (), (), is_classification=False, digest=""
    )
    config = replace(
        kind_like(len(hidden), batch_size is not None),
        hidden=hidden, batch_size=batch_size, epochs=2, lr=0.01,
    )  # fmt: skip
    bits = []
    for engine in (NumpyEngine(), *GROUPED):
        ((_, result),) = train_batch([config], engine, dataset)
        bits.append(result_bits(result))
    assert bits[0] == bits[1] == bits[2]


def random_classes(rng, n_rows, n_outputs):
    """Rows with training, validation and test rows, and one-hot classes, or one output of bits."""
    X, codes = rng.standard_normal((n_rows, 7)), rng.permutation(n_rows) % max(2, n_outputs)
    Y = np.eye(n_outputs)[codes] if n_outputs > 1 else codes[:, None].astype(float)
    parts = [part for k in (0, n_rows // 5) for part in (X[k::2], Y[k::2])]
    return Dataset(
        "random", X, Y, *parts, (), (), is_classification=True, digest="", is_one_hot=n_outputs > 1
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=EXAMPLES // 4)
@given(data=st.data())
def test_the_number_of_threads_does_not_change_results(data):
    drawn = data.draw(kinds())
    n_rows = data.draw(st.sampled_from([9, 33, 70, 300]))
    n_outputs = 3 if drawn.model.output == "softmax" else data.draw(st.sampled_from([1, 9]))
    dataset = random_classes(np.random.default_rng(n_rows), n_rows, n_outputs)
    widths = st.sampled_from([1, 8, 17, 33, 140])
    model = replace(drawn.model, init="glorot")
    if model.loss == "cross_entropy":
        model = replace(model, class_weight="balanced")
    shared = replace(
        drawn, hidden=tuple(data.draw(widths) for _ in drawn.hidden), model=model,
        epochs=data.draw(st.integers(1, 5)),
        batch_size=drawn.batch_size and data.draw(st.sampled_from([4, 17, 64])),
    )  # fmt: skip
    stops = st.builds(
        StopConfig, loss=st.sampled_from([None, 0.2]), tolerance=st.sampled_from([None, 0.6]),
        patience=st.sampled_from([None, 2]), validation_interval=st.just(2),
    )  # fmt: skip
    each = st.tuples(st.sampled_from([0.001, 0.1, 2.0, 1e200]), stops)
    configs = [
        replace(shared, lr=lr, stop=stop, seed=seed)
        for seed, (lr, stop) in enumerate(data.draw(st.lists(each, min_size=1, max_size=10)))
    ]
    group_size = data.draw(st.sampled_from([1, LANES]))
    expected = train_bits(configs, NumpyEngine(), dataset)
    for n_threads in (1, 2, 3, 5):
        assert train_bits(configs, LlvmEngine(group_size, n_threads), dataset) == expected


def large_run():
    """A configuration of one epoch, and data."""
    dataset = random_classes(np.random.default_rng(3), 300, 3)
    return replace(KINDS[1], hidden=(33, 20, 9), batch_size=64, epochs=1), dataset


def test_threads_that_share_one_processor_take_turns():
    config, dataset = large_run()
    expected = train_bits([config], LlvmEngine(n_threads=1), dataset)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        # The threads of the call inherit the affinity of this one.
        assert train_bits([config], LlvmEngine(n_threads=3), dataset) == expected
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("n_allowed", [0, 1, 2])
def test_the_threads_that_the_system_allows_share_the_work(monkeypatch, n_allowed):
    config, dataset = large_run()
    expected = train_bits([config], LlvmEngine(n_threads=1), dataset)
    left = iter(range(n_allowed))

    def limited(function):
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        return in_daemon_thread(function)

    monkeypatch.setattr(engine_module, "in_daemon_thread", limited)
    assert train_bits([config], LlvmEngine(n_threads=3), dataset) == expected


def test_threads_without_a_processor_each_are_not_used_for_a_while(monkeypatch):
    config, dataset = large_run()
    batch = run_batch.PreparedBatch([replace(config, batch_size=None)], dataset)
    problem, state = batch.problem, batch.initial_state()
    used, position = [], TRAIN_SIGNATURE.names.index("n_threads")
    load_function = jit.load_function

    def recorded(*arguments):
        function = load_function(*arguments)
        return lambda *values: (used.append(values[position]), function(*values))[1]

    monkeypatch.setattr(jit, "load_function", recorded)
    for least in ("MIN_PRODUCTS_PER_THREAD", "MIN_ROWS_PER_THREAD"):
        monkeypatch.setattr(engine_module, least, 1)
    for share, expected in ((0.0, {2}), (1e9, {1})):
        monkeypatch.setattr(engine_module, "MIN_PROCESSOR_SHARE", share)
        engine = LlvmEngine()
        engine.max_threads = 2
        for _ in range(2):
            used.clear()
            engine.advance(problem, state, LONG[:1], None)
        assert set(used) == expected


@pytest.mark.parametrize(
    ("n_jobs", "n_batches", "n_threads"), [(-1, 1, 4), (3, 1, 3), (-1, 2, 2), (9, 1, 4), (1, 1, 1)]
)
def test_idle_workers_are_threads_of_the_batches(monkeypatch, n_jobs, n_batches, n_threads):
    used = []

    class Recording(LlvmEngine):
        def advance(self, *arguments):
            used.append(self.max_threads)
            return super().advance(*arguments)

    monkeypatch.setattr(processes, "cpu_count", lambda: 4)
    monkeypatch.setattr(local, "load_engine", lambda name: Recording())
    configs = [replace(BASE, hidden=(2 + k,)) for k in range(n_batches)]
    jobs = [Job(k, "", config, load(config.data)) for k, config in enumerate(configs)]
    executor = LocalExecutor(n_jobs)
    batches = make_batches(jobs, "compiled", executor.n_workers)
    assert sum(len(some) for some in executor.map(batches)) == len(batches) == n_batches
    assert used[0] == n_threads


def test_engine_auto_is_the_compiled_engine_however_short_the_run():
    short = replace(BASE, epochs=1)
    for asked, used in (("auto", "compiled"), ("compiled", "compiled"), ("numpy", "numpy")):
        assert [batch.engine for batch in group_runs([short], asked, 1)] == [used]


LONG = np.ones(200_000)
"""Learning-rate factors of more epochs than anybody waits for."""


@pytest.fixture
def long_training():
    """A training problem of some minutes, and its initial state."""
    rng = np.random.default_rng(3)
    X, Y = rng.random((1000, 64)), rng.random((1000, 3))
    dataset = Dataset(
        "random", X, Y, X[:0], Y[:0], X[:0], Y[:0], (), (), is_classification=False, digest=""
    )
    batch = run_batch.PreparedBatch([replace(BASE, hidden=(40,), lr=1e-6)], dataset)
    return batch.problem, batch.initial_state()


def called_back(monkeypatch, before):
    """Call ``before`` at the start of each compiled function."""
    load_function = jit.load_function

    def loaded(*arguments):
        function = load_function(*arguments)
        return lambda *addresses: (before(), function(*addresses))[1]

    monkeypatch.setattr(jit, "load_function", loaded)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_ctrl_c_ends_a_call_of_the_compiled_engine(monkeypatch, long_training, n_threads):
    called = itertools.count(1)

    def interrupt_last():
        if next(called) == n_threads:
            os.kill(os.getpid(), signal.SIGINT)

    called_back(monkeypatch, interrupt_last)
    with pytest.raises(KeyboardInterrupt):
        LlvmEngine(n_threads=n_threads).advance(*long_training, LONG, None)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_calls_of_a_cancelled_engine_end_in_all_threads(monkeypatch, long_training, n_threads):
    engine, started = LlvmEngine(n_threads=n_threads), threading.Semaphore(0)
    called_back(monkeypatch, started.release)
    problem, state = long_training
    states = [state.select([0]) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(engine.advance, problem, one, LONG, None) for one in states]
        assert all(started.acquire(timeout=60) for _ in range(n_threads * len(calls)))
        engine.cancel()
        for call in calls:
            with pytest.raises(Cancelled):
                call.result(timeout=60)


@pytest.mark.parametrize("engine_type", [NumpyEngine, LlvmEngine])
def test_a_cancelled_engine_refuses_further_calls(engine_type):
    engine, batch = engine_type(), run_batch.PreparedBatch([BASE])
    problem, state = batch.problem, batch.initial_state()
    engine.cancel()
    with pytest.raises(Cancelled):
        engine.advance(problem, state, batch.lr_factors(0, 1), None)
    with pytest.raises(Cancelled):
        engine.evaluate(problem.network, state.parameters, problem.X, problem.Y)


def test_long_runs_of_narrow_networks_are_batched_by_eight():
    runs = [
        replace(BASE, data=DataConfig(name="digits"), hidden=(8,), epochs=10_000, seed=seed)
        for seed in range(24)
    ]
    assert [len(batch.runs) for batch in group_runs(runs, "compiled", 2)] == [8, 8, 8]


def test_long_runs_of_wide_networks_are_batched_alone_and_short_ones_evenly():
    runs = [
        replace(BASE, data=DataConfig(name="digits"), hidden=(32,), epochs=10_000, seed=seed)
        for seed in range(20)
    ]
    short = [replace(run, epochs=2) for run in runs]
    assert [len(batch.runs) for batch in group_runs(runs, "compiled", 2)] == [1] * 20
    assert [len(batch.runs) for batch in group_runs(short, "compiled", 2)] == [10, 10]


def test_batches_fill_the_vectors_of_the_compiled_engine():
    """20 runs take three groups of eight lanes, not two for each of two workers."""
    runs = [replace(BASE, data=DataConfig(name="digits"), seed=seed) for seed in range(20)]
    batches = [batch.runs for batch in group_runs(runs, "compiled", 2)]
    assert [len(batch) for batch in batches] == [16, 4]
    assert batches[1][0] < 5
    assert batches[1][-1] > 15
    assert [len(batch.runs) for batch in group_runs(runs[:6], "compiled", 2)] == [3, 3]
    assert [len(batch.runs) for batch in group_runs(runs, "numpy", 2)] == [10, 10]


def test_the_unrolled_kernel_supports_xor_but_no_large_network_or_stopping_criterion():
    def supports(**changes):
        batch = run_batch.PreparedBatch([replace(BASE, **changes)])
        return unrolled_kernel.supports(batch.problem, batch.initial_state())

    assert supports()
    assert not supports(batch_size=2)
    assert not supports(optimizer=RpropConfig(name="rprop"))
    assert not supports(stop=StopConfig(patience=9))
    assert not supports(data=ParityConfig(name="parity", bits=8))
    assert not supports(model=ModelConfig(loss="cross_entropy"))
    assert not supports(model=ModelConfig(dead_zone=0.1))
    assert not supports(model=ModelConfig(activation="relu"))


def test_initial_weights_do_not_depend_on_the_batch_size():
    network = run_batch.make_network(BASE, load(BASE.data))
    weights = {
        run_batch.initial_parameters(replace(BASE, batch_size=size), network).tobytes()
        for size in (None, 1, 2)
    }
    assert len(weights) == 1


def test_sample_orders_are_permutations_and_can_be_requested_in_parts():
    runs = np.arange(2)
    orders = SampleOrders([1, 2], 4).epochs(runs, 0, 20)
    assert (np.sort(orders, axis=1) == np.arange(4)[None, :, None]).all()
    in_parts = SampleOrders([1, 2], 4)
    in_parts.epochs(runs, 0, 8)
    np.testing.assert_array_equal(in_parts.epochs(runs, 3, 20), orders[3:])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ScheduleConfig(name="constant"), [1, 1, 1, 1, 1, 1, 1, 1]),
        (ScheduleConfig(name="constant", warmup=4), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        (StepConfig(name="step", every=3, factor=0.5), [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        (
            CosineConfig(name="cosine", final=0.2),
            [0.2 + 0.4 * (1 + np.cos(np.pi * e / 8)) for e in range(8)],
        ),
    ],
)
def test_schedules_follow_their_formulas(schedule, expected):
    factors = schedules.factors(schedule, 8, 0, 8)
    np.testing.assert_allclose(factors, expected, rtol=1e-14)
    np.testing.assert_array_equal(schedules.factors(schedule, 8, 3, 6), factors[3:6])


def test_the_default_run_has_the_same_digest_everywhere():
    ((_, result),) = train_batch([replace(BASE, epochs=10_000)], LlvmEngine())
    assert [f"{p:.8f}" for p in result.predictions[:, 0]] == [
        "0.06029012", "0.94447222", "0.94436700", "0.05997169",
    ]  # fmt: skip
    digest = hashlib.sha256(result.losses.tobytes()).hexdigest()
    assert digest[:16] == "fc4d55b26c618a94"


MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in sorted((ROOT / "bpexp" / "training").rglob("*.py"))
    if ">>>" in file.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert (failed, tried > 0) == (0, True)


def test_examples_in_the_compiler_documentation():
    failed, tried = doctest.testfile(str(ROOT / "docs" / "compiler.md"), module_relative=False)
    assert (failed, tried > 0) == (0, True)
