"""Time training without tracking: other implementations on all cores, a C program on one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.peer_process import PeerProcess
from benchmarks.problems import PROBLEMS
from benchmarks.rounds import Table, alternate

PEERS = {
    "bpexp": "bpexp_local",
    "JAX, jit(vmap(scan))": "jax_scan",
    "JAX, runs on the last axis": "jax_last_axis",
    "PyTorch, batched matmul": "torch_bmm",
    "NumPy loop": "numpy_loop",
    "scikit-learn MLPRegressor": "sklearn_mlp",
}
LOOPS = ("numpy_loop", "sklearn_mlp")
"""Peers that train one run after the other; their time is proportional to the number of runs."""

LOOP_SHARE = 64
"""Loops train this fraction (1/64) of the runs of small networks."""

FEWER_EPOCHS = {"torch_bmm": 15, "numpy_loop": 3, "sklearn_mlp": 10}
"""Divisors of the number of epochs for slower peers."""

BATCH_RUNS = 128
"""Number of runs that one core trains at once."""

TOLERANCE = 1e-6
"""Maximum relative difference between the final losses of two peers."""

UNIT = "ns per epoch and run"


class Size(NamedTuple):
    """What a peer trains."""

    peer: str
    runs: int
    epochs: int


def compare_peers(rounds: int, share: float) -> Iterator[Table]:
    """Compare bpexp with other implementations on all cores.

    Args:
        rounds: Number of rounds.
        share: Share of the epochs of a full timing.

    Yields:
        One table per problem.
    """
    for name, problem in PROBLEMS.items():
        epochs = max(2, int(problem.epochs * share))
        sizes = {}
        for label, peer in PEERS.items():
            is_partial = peer in LOOPS and problem.runs > LOOP_SHARE
            runs = problem.runs // LOOP_SHARE if is_partial else problem.runs
            sizes[label] = Size(peer, runs, max(2, epochs // FEWER_EPOCHS.get(peer, 1)))
        with started(name, sizes) as processes:
            comparable = {"bpexp", *(label for label, peer in PEERS.items() if "jax" in peer)}
            _check_losses(name, {k: p for k, p in processes.items() if k in comparable})
            yield Table(
                title=f"{name} {problem.layers}, {problem.runs:,} runs",
                unit=UNIT,
                note="Training on both cores; loops train a part of the runs.",
                rows=alternate({label: p.cost for label, p in processes.items()}, rounds),
            )


def compare_c_program(rounds: int, share: float) -> Iterator[Table]:
    """Compare bpexp on one core with a C program that computes bit-identical results.

    Args:
        rounds: Number of rounds.
        share: Share of the epochs of a full timing.

    Yields:
        One table per problem with enough runs.
    """
    for name, problem in PROBLEMS.items():
        if problem.runs < BATCH_RUNS:
            continue
        epochs = max(2, int(problem.epochs * share))
        sizes = {
            "bpexp": Size("bpexp_one_core", BATCH_RUNS, epochs),
            "C, gcc -O3": Size("c_program", BATCH_RUNS, epochs),
        }
        with started(name, sizes) as processes:
            _check_digests(name, processes)
            yield Table(
                title=f"{name} {problem.layers}, {BATCH_RUNS} runs on one core",
                unit=UNIT,
                note="All losses and final weights of the two are bit-identical.",
                rows=alternate({label: p.cost for label, p in processes.items()}, rounds),
            )


@contextmanager
def started(problem: str, sizes: Mapping[str, Size]) -> Iterator[dict[str, PeerProcess]]:
    """Processes that have trained once."""
    with ExitStack() as stack:
        processes = {}
        for label, size in sizes.items():
            processes[label] = PeerProcess(size.peer, problem, size.runs, size.epochs)
            stack.callback(processes[label].close)
        yield processes


def _check_losses(problem: str, processes: Mapping[str, PeerProcess]) -> None:
    """Raise AssertionError if the mean final losses differ by more than ``TOLERANCE``."""
    losses = {k: float(p.first["loss"]) for k, p in processes.items() if "loss" in p.first}
    expected = next(iter(losses.values()), 0.0)
    for loss in losses.values():
        if abs(loss - expected) > TOLERANCE * abs(expected):
            raise AssertionError(f"{problem}: the final losses differ: {losses}")


def _check_digests(problem: str, processes: Mapping[str, PeerProcess]) -> None:
    """Raise AssertionError if the results are not bit-identical."""
    digests = {k: p.first["sha256"] for k, p in processes.items() if "sha256" in p.first}
    if len(set(digests.values())) > 1:
        raise AssertionError(f"{problem}: the results differ: {digests}")
