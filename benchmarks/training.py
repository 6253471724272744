"""Training alone: against other ways on both cores, and against the limit on one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from benchmarks.contestant import Contestant
from benchmarks.problems import PROBLEMS
from benchmarks.rounds import MissingError, Table, alternate

PEERS = {
    "bpexp": "ours",
    "JAX, jit(vmap(scan))": "jax_scan",
    "JAX, runs last, by hand": "jax_by_hand",
    "PyTorch, batched products": "torch_bmm",
    "NumPy loop": "numpy_loop",
    "scikit-learn MLPRegressor": "sklearn_mlp",
}
LOOPS = {"numpy_loop", "sklearn_mlp"}
"""Their cost is linear in the runs: of small networks they train a sixty-fourth part."""
LANES = 128
"""Runs side by side on one core, as in a pack."""
SAME_MODEL = 1e-6
"""How far final losses may lie apart, relatively."""


def against_peers(rounds: int, share: float) -> Iterator[Table]:
    """One table a problem; ``share`` of the epochs of a full timing."""
    for name, problem in PROBLEMS.items():
        epochs = max(2, int(problem.epochs * share))
        sizes = {}
        for shown, peer in PEERS.items():
            part = problem.runs // 64 if peer in LOOPS and problem.runs > 64 else problem.runs
            sizes[shown] = (peer, part, _fewer(peer, epochs))
        with _started(
            name, sizes, {"bpexp", *(n for n, p in PEERS.items() if "jax" in p)}
        ) as ready:
            yield Table(
                f"{name} {problem.layers}, {problem.runs:,} runs",
                "ns an epoch and run",
                "Training alone, both cores; loops on a part of the runs.",
                alternate(ready, rounds),
            )


def against_the_limit(rounds: int, share: float) -> Iterator[Table]:
    """The C program with the same arithmetic in the same order; its bits must be ours."""
    for name, problem in PROBLEMS.items():
        if problem.runs < LANES:
            continue
        epochs = max(2, int(problem.epochs * share))
        sizes = {"bpexp": ("one_core", LANES, epochs), "C, gcc -O3": ("limit", LANES, epochs)}
        with _started(name, sizes, set(sizes), exactly=True) as ready:
            yield Table(
                f"{name} {problem.layers}, {LANES} runs on one core",
                "ns an epoch and run",
                "Every loss and final weight has the same bits in both.",
                alternate(ready, rounds),
            )


def _fewer(peer: str, epochs: int) -> int:
    """Epochs enough for a timing of a slower peer."""
    return max(2, epochs // {"torch_bmm": 15, "numpy_loop": 3, "sklearn_mlp": 10}.get(peer, 1))


@contextmanager
def _started(
    problem: str,
    sizes: Mapping[str, tuple[str, int, int]],
    comparable: set[str],
    exactly: bool = False,
) -> Iterator[dict[str, Callable[[], float]]]:
    """The contestants' processes, warmed up; ``comparable`` ones must end with the same answer."""
    with ExitStack() as stack:
        started = {}
        for shown, (peer, runs, epochs) in sizes.items():
            started[shown] = Contestant(peer, problem, runs, epochs)
            stack.callback(started[shown].close)
        answers = {n: c.first for n, c in started.items() if n in comparable}
        _check(problem, {n: a for n, a in answers.items() if "missing" not in a}, exactly)
        yield {shown: _cost(contestant) for shown, contestant in started.items()}


def _check(problem: str, answers: Mapping[str, Mapping[str, object]], exactly: bool) -> None:
    """Raises AssertionError where contestants did not compute the same."""
    (first, expected), *others = answers.items()
    for name, answer in others:
        if exactly:
            same = answer["sha256"] == expected["sha256"]
        else:
            mine, its = float(str(answer["loss"])), float(str(expected["loss"]))
            same = abs(mine - its) <= SAME_MODEL * abs(its)
        if not same:
            raise AssertionError(f"{problem}: {name} has {answer}, {first} has {expected}")


def _cost(contestant: Contestant) -> Callable[[], float]:
    def cost() -> float:
        answer = contestant.first if "missing" in contestant.first else contestant.ask()
        if "missing" in answer:
            raise MissingError(answer["missing"])
        return float(answer["seconds"]) / contestant.scale * 1e9

    return cost
