"""Time training with mini-batches by Adam: one run, and several runs on all cores.

All candidates train the same networks in float64: sigmoid hidden layers, linear outputs, half the
squared error. They draw their own sample orders, so that only times are compared.
"""

from collections.abc import Iterator

from benchmarks.problems import MINIBATCH_PROBLEMS
from benchmarks.rounds import Table, alternate
from benchmarks.training import UNIT, Size, started

PEERS = {
    "bpexp": "bpexp_local",
    "JAX, jit(vmap(scan))": "minibatch_jax",
    "PyTorch": "minibatch_torch",
    "NumPy loop": "minibatch_numpy",
    "scikit-learn MLPRegressor": "minibatch_sklearn",
}
LOOPS = ("minibatch_torch", "minibatch_numpy", "minibatch_sklearn")
"""Peers that train one run after the other on each core; their time is proportional to the runs."""
RUNS = (1, 16)
MAX_LOOP_RUNS, LOOP_EPOCHS = 2, 10
"""Loops train so many of 16 runs, and the number of epochs divided by this."""
TITLES = {
    f"{name}, {runs} run{'s' * (runs > 1)}": (name, runs)
    for name in MINIBATCH_PROBLEMS
    for runs in RUNS
}
"""The problem and the number of runs of each table, by its title."""


def compare_minibatch_peers(rounds: int, share: float) -> Iterator[Table]:
    """Compare bpexp with other implementations.

    Args:
        rounds: Number of rounds.
        share: Share of the epochs of a full timing.

    Yields:
        A table for each problem and number of runs.
    """
    for title, (name, runs) in TITLES.items():
        epochs = max(1, int(MINIBATCH_PROBLEMS[name].epochs * share))
        loop = min(runs, MAX_LOOP_RUNS), max(1, epochs // LOOP_EPOCHS)
        sizes = {
            label: Size(peer, *(loop if peer in LOOPS else (runs, epochs)))
            for label, peer in PEERS.items()
        }
        with started(name, sizes) as processes:
            yield Table(
                title=title,
                unit=UNIT,
                note="Adam in float64. Peers without batches of runs use a process per core, and "
                "train a part of the runs and epochs.",
                rows=alternate({label: p.cost for label, p in processes.items()}, rounds),
            )
