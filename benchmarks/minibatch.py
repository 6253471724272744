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
RUNS = (1, 16)


def compare_minibatch_peers(rounds: int, share: float) -> Iterator[Table]:
    """Compare bpexp with other implementations.

    Args:
        rounds: Number of rounds.
        share: Share of the epochs of a full timing.

    Yields:
        A table for each problem and number of runs.
    """
    for name, problem in MINIBATCH_PROBLEMS.items():
        epochs = max(1, int(problem.epochs * share))
        for runs in RUNS:
            sizes = {label: Size(peer, runs, epochs) for label, peer in PEERS.items()}
            with started(name, sizes) as processes:
                yield Table(
                    title=f"{name}, {runs} run{'s' * (runs > 1)}",
                    unit=UNIT,
                    note="Adam in float64. Peers without batches of runs use a process per core.",
                    rows=alternate({label: p.cost for label, p in processes.items()}, rounds),
                )
