"""Measure the compiled kernel beside the attainable rate of the processor, on one core.

The attainable rate is that of a loop which only multiplies and adds numbers in registers, without
fused multiply-add: the two operations that a matrix product consists of. The rate of the kernel
counts the multiplications and additions of the matrix products and the time of whole training
epochs, which includes activations, losses and updates. Type: python -m benchmarks.kernel
"""

import argparse
import ctypes
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from llvmlite import ir

from bpexp.config.compose import compose_settings
from bpexp.config.schema import TrainConfig, parse
from bpexp.data.dataset import Dataset
from bpexp.training.llvm import jit
from bpexp.training.llvm.codegen import INDEX, NUMBER, Matrix, Variable, for_range
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.llvm.lane_layout import LANES
from bpexp.training.run_batch import PreparedBatch

N_CHAINS = 20 if jit.has_cpu_feature("avx512f") else 6
"""Independent sums of the loop: as many as the latencies of the operations need, and no more than
the registers hold."""
ITERATIONS = 2_000_000
"""Iterations of the loop in one timing, some 20 milliseconds."""
WORK = 8e9
"""Floating-point operations of the matrix products in one timing of a network, at least."""
PROBLEMS = (
    ((784, 512, 256, 10), 256),
    ((784, 512, 256, 10), 32),
    ((784, 128, 10), 16),
    ((784, 128, 10), 64),
    ((784, 128, 10), 128),
    ((784, 128, 10), 512),
    ((64, 128, 10), 32),
    ((64, 32, 10), 32),
    ((20, 64, 64, 1), 32),
)
"""Layer widths and batch sizes."""


def attainable_module() -> str:
    """Generate a function that multiplies and adds numbers in registers."""
    module = ir.Module()
    function_type = ir.FunctionType(ir.VoidType(), [INDEX, NUMBER.as_pointer()])
    function = ir.Function(module, function_type, "multiply_and_add")
    b = ir.IRBuilder(function.append_basic_block())
    numbers = Matrix(b, function.args[1], INDEX(LANES))
    factor, term = numbers.load(0, 0), numbers.load(1, 0)
    sums = [Variable(b, numbers.load(2 + chain, 0)) for chain in range(N_CHAINS)]
    with for_range(b, 0, function.args[0]):
        for total in sums:
            total.set(total.get() * factor + term)
    for chain, total in enumerate(sums):
        numbers.store(total.get(), 2 + chain, 0)
    b.ret_void()
    return str(module)


def attainable_timing() -> Callable[[], float]:
    """Return a function that measures the attainable rate once, in operations per second."""
    function_type = jit.FunctionType("multiply_and_add", None, [ctypes.c_int64, ctypes.c_void_p])
    function = jit.load_function("attainable rate", function_type, attainable_module)
    numbers = np.full((2 + N_CHAINS, LANES), 0.5)

    def measure() -> float:
        start = time.thread_time()
        function(ITERATIONS, numbers.ctypes.data)
        seconds = time.thread_time() - start
        return 2 * N_CHAINS * LANES * ITERATIONS / seconds

    return measure


def n_operations(sizes: tuple[int, ...]) -> int:
    """Multiplications and additions of the matrix products per sample and epoch."""
    weights = [n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    # Each weight is used in the forward pass, in the gradient and, above layer 1, for the deltas.
    return 2 * (3 * sum(weights) - weights[0])


def make_config(sizes: tuple[int, ...], batch_size: int) -> TrainConfig:
    """Configuration of a network that is trained with gradient descent."""
    settings = {"seed": 1, "lr": 1e-6, "batch_size": batch_size}
    config, _ = parse(compose_settings(settings))
    return replace(config, hidden=sizes[1:-1])


def make_dataset(sizes: tuple[int, ...], n_samples: int) -> Dataset:
    """Random data with the numbers of inputs and outputs of a network."""
    rng = np.random.default_rng(0)
    X, Y = rng.random((n_samples, sizes[0])), rng.random((n_samples, sizes[-1]))
    return Dataset(
        "random", X, Y, X[:0], Y[:0], X[:0], Y[:0], (), (), is_classification=False, digest=""
    )


def kernel_timing(sizes: tuple[int, ...], batch_size: int) -> Callable[[], float]:
    """Return a function that measures the rate of the kernel once, in operations per second."""
    n_samples = max(2048, 2 * batch_size)
    n_epochs = max(1, round(WORK / (n_samples * n_operations(sizes))))
    batch = PreparedBatch([make_config(sizes, batch_size)], make_dataset(sizes, n_samples))
    state, engine = batch.initial_state(), LlvmEngine()
    lr_factors = np.ones(n_epochs)
    orders = batch.sample_orders(np.array([0]), 0, n_epochs)
    engine.advance(batch.problem, state, lr_factors[:1], None if orders is None else orders[:1])

    def measure() -> float:
        # Of the process, because long calls use another thread.
        start = time.process_time()
        engine.advance(batch.problem, state, lr_factors, orders)
        seconds = time.process_time() - start
        return n_epochs * n_samples * n_operations(sizes) / seconds

    return measure


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of repetitions (default: 5)")
    rounds = parser.parse_args().rounds
    attainable = attainable_timing()
    print("network             batch  GFLOP/s  attainable  share")
    for sizes, batch_size in PROBLEMS:
        kernel = kernel_timing(sizes, batch_size)
        # The two are measured in turn, because the clock rate of a processor changes.
        pairs = [(kernel(), attainable()) for _ in range(rounds)]
        rate, limit = (median(values) / 1e9 for values in zip(*pairs, strict=True))
        share = median(rate / limit for rate, limit in pairs)
        name = "-".join(map(str, sizes))
        print(f"{name:18} {batch_size:6} {rate:8.1f} {limit:11.1f} {share:6.0%}")


if __name__ == "__main__":
    main()
