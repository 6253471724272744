"""The same bits from either engine, in any pack, on any processor."""

import copy
import hashlib
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bpexp
from bpexp.config.schema import ModelConfig, StopConfig, TrainConfig
from bpexp.data import load
from bpexp.data.registry import DataConfig
from bpexp.data.synthetic import BitsConfig, EncoderConfig, ParityConfig
from bpexp.nn import schedules
from bpexp.nn.activations import ACTIVATIONS, elementwise_activations
from bpexp.nn.optimizers import OPTIMIZERS, OptimizerConfig, RpropConfig
from bpexp.nn.schedules import CosineConfig, ScheduleConfig, StepConfig
from bpexp.sweeps.executors.local import train_all
from bpexp.training import numpy_engine, sample_order
from bpexp.training import run_batch as pack
from bpexp.training.batching import packs
from bpexp.training.llvm import compiled, jit, unrolled_kernel
from bpexp.training.llvm import engine as grouped
from bpexp.training.llvm.vector_ir import LANES

BASE = TrainConfig(
    seed=42, lr=0.1, epochs=40, hidden=(2,), numerics="exact", data=BitsConfig(name="xor"),
    model=ModelConfig(), optimizer=OptimizerConfig(name="gradient_descent"),
    schedule=ScheduleConfig(name="constant"), stop=StopConfig(),
)  # fmt: skip


GROUPED = [partial(grouped.advance_by, together) for together in (1, LANES)]
"""Runs one by one, and side by side."""


def bits(result):
    """All that a run leaves, as bytes."""
    arrays = [result.losses, result.predictions, *result.weights, *result.biases]
    arrays += result.validation or ()
    return [result.outcome.value, *(array.tobytes() for array in arrays)]


def trained(configs, engine):
    return [bits(r) for _, r in sorted(pack.train_pack(configs, engine), key=lambda p: p[0])]


def alone(config, engine):
    (found,) = trained([config], engine)
    return found


@st.composite
def lanes(draw):
    """Configurations of one pack: what they share is drawn once, the rest for each."""
    loss = draw(st.sampled_from(["half_squared", "cross_entropy"]))
    outputs = ["sigmoid", "softmax"] if loss == "cross_entropy" else list(ACTIVATIONS)
    output = draw(st.sampled_from(outputs))
    squared = loss == "half_squared"
    model = ModelConfig(
        activation=draw(st.sampled_from(elementwise_activations())), output=output, loss=loss,
        error=draw(st.sampled_from(["linear", "arctanh"])) if squared else "linear",
        dead_zone=draw(st.sampled_from([0.0, 0.1])) if squared else 0.0,
        derivative_offset=draw(st.sampled_from([0.0, 0.1])),
        bias_input=draw(st.sampled_from([1.0, 0.5])),
        init_low=-1.0,
    )  # fmt: skip
    data = EncoderConfig(name="encoder", size=3) if output == "softmax" else draw(
        st.sampled_from([BitsConfig(name="xor"), ParityConfig(name="parity", bits=3),
                         EncoderConfig(name="encoder", size=4)])
    )  # fmt: skip
    validated = output != "softmax" and draw(st.booleans())
    data = replace(data, validation_fraction=0.3 * validated)
    name = draw(st.sampled_from(list(OPTIMIZERS)))
    rule = OPTIMIZERS[name].config(
        name=name, weight_decay=draw(st.sampled_from([0.0, 1e-4])), by_fan_in=draw(st.booleans())
    )
    if isinstance(rule, RpropConfig) and draw(st.booleans()):
        rule = replace(rule, step_init_low=0.01, step_init_high=0.2)
    shared = replace(
        BASE, model=model, data=data, optimizer=rule, epochs=draw(st.integers(1, 40)),
        hidden=draw(st.sampled_from([(), (1,), (3,), (4, 2)])),
        batch_size=draw(st.sampled_from([None, None, 1, 3])),
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


@settings(max_examples=100)
@given(lanes(), st.randoms())
def test_engines_and_packs_do_not_change_a_bit(configs, random):
    together = trained(configs, compiled.advance)
    for engine in (numpy_engine.advance, *GROUPED):
        assert trained(configs, engine) == together
    order = list(range(len(configs)))
    random.shuffle(order)
    shuffled = trained([configs[i] for i in order], compiled.advance)
    assert [shuffled[order.index(i)] for i in range(len(configs))] == together
    chosen = random.randrange(len(configs))
    assert alone(configs[chosen], compiled.advance) == together[chosen]


def test_lanes_that_end_leave_the_others_alone():
    configs = [replace(BASE, seed=s, lr=3.0, epochs=3000, stop=StopConfig(tolerance=0.4))
               for s in range(50)]  # fmt: skip
    ends = [r.epochs_run for _, r in sorted(pack.train_pack(configs, compiled.advance),
                                            key=lambda p: p[0])]  # fmt: skip
    assert len(set(ends)) > 20
    assert ends == [
        next(r for _, r in pack.train_pack([c], compiled.advance)).epochs_run for c in configs
    ]


@given(st.integers(1, 40), st.integers(1, 400), st.integers(1, 8))
def test_packs_hold_every_run_once(n_lr, n_seeds, n_workers):
    configs = [
        replace(BASE, lr=0.1 + i, seed=s, hidden=(1 + i % 3,))
        for i, s in itertools.product(range(n_lr), range(n_seeds // n_lr + 1))
    ]
    made = list(packs(configs, "compiled", n_workers))
    assert sorted(run for p in made for run in p.runs) == list(range(len(configs)))
    for p in made:
        assert len({configs[run].hidden for run in p.runs}) == 1


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_workers_do_not_change_a_bit(engine):
    """Nor does the order of the runs, which is turned with each number of workers."""
    configs = [
        replace(BASE, seed=s, hidden=(width,), batch_size=size)
        for s, width, size in itertools.product(range(6), (2, 3), (None, 1))
    ]
    found = {}
    for n_jobs in (1, 2, 3):
        turned = configs[7 * n_jobs :] + configs[: 7 * n_jobs]
        made = list(packs(turned, engine, n_jobs))
        results = [pair for pack in train_all(made, turned, n_jobs) for pair in pack]
        assert len(results) == len(configs)
        found[n_jobs] = {turned[run]: bits(result) for run, result in results}
    assert found[1] == found[2] == found[3] == {c: alone(c, numpy_engine.advance) for c in configs}


PROGRAM = """
import hashlib
from bpexp.config.compose import compose_settings
from functools import partial
from bpexp.engines import compiled, grouped, pack, reference
from bpexp.sweeps import plan
from bpexp.runs.environment import cpu_features
tasks = [
    dict(data="spirals", hidden=3, optimizer="adam", model__loss="cross_entropy"),
    dict(data="encoder", hidden=[3, 2], optimizer="rprop", model__activation="tanh",
         model__output="softmax", model__loss="cross_entropy", batch_size=3),
    dict(data="encoder", hidden=3, optimizer="quickprop", model__error="arctanh",
         model__derivative_offset=0.1),
    dict(data="digits", hidden=[33, 7], model="classifier", lr=0.001, epochs=5),
    *(dict(optimizer=rule) for rule in ("gradient_descent", "momentum", "nesterov", "rmsprop")),
]
def plan_of(task):
    values = {"epochs": 300, "numerics": "exact", **task}
    return plan.make([compose_settings(values)]).configs
for engine in (reference.advance, compiled.advance, partial(grouped.advance_by, 8)):
    digest = hashlib.sha256()
    for task in tasks:
        ((_, result),) = pack.train_pack(plan_of(task), engine)
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
def test_processors_do_not_change_a_bit(tmp_path, record_property):
    """Each compiles for itself, which is what takes the time; all at once."""
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
        said, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
        *digests[name], features = said.splitlines()
        without = PROCESSORS[name].get("NPY_DISABLE_CPU_FEATURES", "").split()
        assert set(without).isdisjoint(features.split())
    assert [len(found) for found in digests.values()] == [3] * len(PROCESSORS)
    assert len({digest for found in digests.values() for digest in found}) == 1, digests
    record_property("processors on which the bits were checked", len(PROCESSORS))
    print(f"the same bits on {len(PROCESSORS)} emulated processors, three ways each")


def test_threads_may_need_new_code_at_once():
    """LLVM, which takes one at a time, would end the process."""
    configs = [
        replace(BASE, hidden=(width,), epochs=3, model=ModelConfig(activation=unit, bias_input=0.7))
        for width in (1, 2) for unit in ("sigmoid", "tanh", "relu", "softsign", "symmetric_sigmoid")
    ]  # fmt: skip
    with ThreadPoolExecutor(len(configs)) as pool:
        found = list(pool.map(partial(alone, engine=compiled.advance), configs))
    assert found == [alone(config, numpy_engine.advance) for config in configs]


def test_code_that_was_cut_is_compiled_anew(tmp_path):
    """LLVM would end the process on some such files."""
    kept = tmp_path / jit.folder().relative_to(jit.folder().parents[1])
    kept.mkdir(parents=True)
    before = set(jit._functions)
    bpexp.train(engine="compiled", epochs=9, model__bias_input=3.0)
    (name,) = set(jit._functions) - before
    whole = jit.file_of(name).read_bytes()
    file = kept / jit.file_of(name).name
    file.write_bytes(whole[: len(whole) // 2])
    program = (
        "import bpexp\n"
        "result = bpexp.train(engine='compiled', epochs=9, model__bias_input=3.0)\n"
        "print(result.losses.tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"BPEXP_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = (
        bpexp.train(engine="numpy", epochs=9, numerics="exact", model__bias_input=3.0)
        .losses.tobytes()
        .hex()
    )
    assert done.stdout.strip() == ours
    code = file.read_bytes()
    assert hashlib.sha256(code[jit.DIGEST :]).digest() == code[: jit.DIGEST]
    assert [f.name for f in kept.iterdir()] == [file.name]


@given(data=st.data())
@settings(max_examples=30)
def test_small_networks_are_traced_with_the_bits_of_the_reference(data):
    """Every activation and rule that can be, any number of lanes; and none is changed where the
    code gives up: for a loss or weight not finite, or logits beyond what it is made for.
    """
    names = sorted(unrolled_kernel.ACTIVATIONS)
    chosen = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    rule = data.draw(st.sampled_from(sorted(unrolled_kernel.SMOOTH_RULES)))
    decay = data.draw(st.sampled_from([0.0, 0.01]))
    optimizer = OPTIMIZERS[rule].config(name=rule, weight_decay=decay)
    model = ModelConfig(activation=chosen[0], output=chosen[1])
    lrs = data.draw(st.lists(st.sampled_from([0.01, 0.5, 3.0, 50.0, 1e6]), min_size=1, max_size=9))
    epochs, hidden = data.draw(st.integers(1, 30)), data.draw(st.sampled_from([(2,), (3, 2)]))
    shared = replace(BASE, model=model, optimizer=optimizer, hidden=hidden, epochs=epochs)
    configs = [replace(shared, lr=lr, seed=at) for at, lr in enumerate(lrs)]
    tried = []

    def watched(problem, lanes, factors, orders):
        before = copy.deepcopy(lanes)
        progress = unrolled_kernel.advance(problem, lanes, factors)
        tried.append(progress is not None)
        if progress is not None:
            return progress
        for f in fields(lanes):
            assert getattr(lanes, f.name).tobytes() == getattr(before, f.name).tobytes()
        return numpy_engine.advance(problem, lanes, factors, orders)

    assert trained(configs, watched) == trained(configs, numpy_engine.advance)
    gentle = max(lrs) <= 3.0 and rule == "gradient_descent"
    assert all(tried) or not (gentle and set(chosen) <= {"sigmoid", "tanh"})


@given(data=st.data())
@settings(max_examples=25)
def test_wide_networks_have_the_bits_of_the_reference(data):
    """Layers on both sides of whole vectors and tiles, blocks that are not full, more outputs than
    a vector has; every update rule, loss and output.
    """
    widths = st.sampled_from([1, 7, 8, 9, 16, 31, 32, 33, 40, 65])
    hidden = tuple(data.draw(st.lists(widths, min_size=0, max_size=3)))
    loss = data.draw(st.sampled_from(["half_squared", "cross_entropy"]))
    units = ["sigmoid", "softmax"] if loss == "cross_entropy" else list(ACTIVATIONS)
    model = ModelConfig(
        activation=data.draw(st.sampled_from(elementwise_activations())),
        output=data.draw(st.sampled_from(units)), loss=loss, init="glorot",
    )  # fmt: skip
    rule = data.draw(st.sampled_from(list(OPTIMIZERS)))
    size = data.draw(st.sampled_from([2, 9, 35]))
    stop = StopConfig(loss=data.draw(st.sampled_from([None, 0.2])))
    shared = replace(
        BASE, hidden=hidden, model=model, optimizer=OPTIMIZERS[rule].config(name=rule), stop=stop,
        data=EncoderConfig(name="encoder", size=size), epochs=data.draw(st.integers(1, 12)),
        batch_size=data.draw(st.sampled_from([None, 1, 3, 33])),
    )  # fmt: skip
    lrs = data.draw(st.lists(st.sampled_from([0.001, 0.1, 2.0, 1e200]), min_size=1, max_size=3))
    configs = [replace(shared, lr=lr, seed=at) for at, lr in enumerate(lrs)]
    expected = trained(configs, numpy_engine.advance)
    for engine in GROUPED:
        assert trained(configs, engine) == expected


def test_runs_that_end_at_epochs_far_apart_leave_the_others_alone():
    configs = [
        replace(BASE, seed=s, lr=3.0, epochs=2000, stop=StopConfig(loss=0.002, patience=p))
        for s, p in ((1, None), (2, 300), (3, None), (4, 3))
    ]
    expected = trained(configs, numpy_engine.advance)
    assert len({len(losses) for _, losses, *_ in expected}) == 4
    for engine in GROUPED:
        assert trained(configs, engine) == expected


def test_digits_are_exact_and_larger_networks_native():
    digits = replace(BASE, data=DataConfig(name="digits"), hidden=(32,), numerics="auto")
    dataset = load(digits.data)
    assert pack.numerics(digits, dataset) == "exact"
    assert pack.numerics(replace(digits, hidden=(200,)), dataset) == "native"
    assert pack.numerics(replace(digits, numerics="native"), dataset) == "native"


def test_packs_of_wide_networks_are_small_enough_to_be_shared_out():
    """Long runs go alone; short ones share a transaction, as even as can be."""
    runs = [
        replace(BASE, data=DataConfig(name="digits"), hidden=(32,), epochs=10_000, seed=seed)
        for seed in range(20)
    ]
    assert [len(p.runs) for p in packs(runs, "compiled", 2)] == [1] * 20
    assert [len(p.runs) for p in packs([replace(r, epochs=2) for r in runs], "compiled", 2)] == [
        10,
        10,
    ]


def test_xor_is_traced_and_what_is_large_or_has_a_choice_is_not():
    xor = pack.network(BASE, data())
    assert unrolled_kernel.suits(xor, 4, 4, "gradient_descent")
    assert not unrolled_kernel.suits(xor, 4, 2, "gradient_descent")
    assert not unrolled_kernel.suits(xor, 4, 4, "rprop")
    assert not unrolled_kernel.suits(xor, 400, 400, "gradient_descent")
    for other in (
        {"loss": "cross_entropy"},
        {"dead_zone": 0.1},
        {"functions": ("relu", "sigmoid")},
    ):
        assert not unrolled_kernel.suits(replace(xor, **other), 4, 4, "gradient_descent")


def test_a_seeds_initial_weights_do_not_change_with_the_batch_size():
    first = {
        size: pack.initial(replace(BASE, batch_size=size), pack.network(BASE, data())).tobytes()
        for size in (None, 1, 2)
    }
    assert len(set(first.values())) == 1


def data():
    return load(BASE.data)


def test_the_order_of_samples_is_a_permutation_and_goes_on_where_it_broke_off():
    configs = [replace(BASE, seed=s, batch_size=1) for s in (1, 2)]
    problem = pack._problem(configs[0], data())
    runs = np.arange(2)
    whole = sample_order.make(configs, problem, pack._lanes).orders(runs, 0, 20)
    assert (np.sort(whole, axis=1) == np.arange(4)[None, :, None]).all()
    broken = sample_order.make(configs, problem, pack._lanes)
    broken.orders(runs, 0, 8)
    np.testing.assert_array_equal(broken.orders(runs, 3, 20), whole[3:])


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
    np.testing.assert_allclose(schedules.factors(schedule, 8, 0, 8), expected, rtol=1e-14)
    np.testing.assert_array_equal(
        schedules.factors(schedule, 8, 3, 6), schedules.factors(schedule, 8, 0, 8)[3:6]
    )


def test_digest_of_the_default_run_is_the_same_everywhere():
    (_, result), = pack.train_pack([replace(BASE, epochs=10_000)], compiled.advance)  # fmt: skip
    assert [f"{p:.8f}" for p in result.predictions[:, 0]] == [
        "0.06029012", "0.94447222", "0.94436700", "0.05997169",
    ]  # fmt: skip
    digest = hashlib.sha256(result.losses.tobytes()).hexdigest()
    assert digest[:16] == "fc4d55b26c618a94"
