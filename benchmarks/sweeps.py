"""Whole tracked sweeps as users start them, and how they grow."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rounds import MissingError, Row, Table, alternate

ROOT = Path(__file__).resolve().parents[1]
HYDRA = ("-m", "hydra/launcher=joblib")
STOCK = {
    "Hydra + joblib launcher + MLflow": ("hydra_joblib", "-m", "seed=range(0,{})"),
    "hydraflow + joblib launcher": ("hydraflow_app", *HYDRA, "seed=range(0,{})"),
    "Optuna + joblib + MLflow": ("optuna_joblib", "{}"),
}
ONCE = 10_000
"""Sweeps of more runs than this are timed once."""


def started(command: Sequence[str], folder: Path) -> tuple[float, int]:
    """Seconds from start to end, and the most MiB resident at once.

    Raises MissingError with the last line of what it said if it fails.
    """
    store = f"sqlite:///{folder / 'stock.db'}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)}
    if "bpexp" in command:
        del environment["MLFLOW_TRACKING_URI"]
    start = time.perf_counter()
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        said.seek(0)
        lines = [line.strip() for line in said if line.strip()]
    if process.returncode:
        raise MissingError(_reason(lines))
    return seconds, usage.ru_maxrss // 1024


def _reason(lines: Sequence[str]) -> str:
    missing = [m[0] for line in lines for m in [re.search("No module named .*", line)] if m]
    return (missing or list(lines) or ["no word said"])[-1][:200]


def ours(runs: int, *overrides: str) -> list[str]:
    """The command of a sweep over seeds."""
    return ["bpexp", "-m", f"seed=range(0,{runs})", *overrides]


def against_stock(rounds: int, runs: int, few: int) -> Table:
    """A sweep of XOR runs of 10,000 epochs, per run."""
    with _folders() as folder:
        used = folder()
        started(ours(1), used)
        contestants: dict[str, Callable[[], float]] = {
            "bpexp": lambda: 1000 * started(ours(runs), used)[0] / runs,
            "bpexp, store not prepared": lambda: 1000 * started(ours(runs), folder())[0] / runs,
        }
        for shown, (program, *arguments) in STOCK.items():
            contestants[shown] = _cost(program, arguments, few, folder)
        rows = alternate(contestants, rounds)
    return Table(
        f"The whole sweep: {runs:,} tracked XOR runs of 10,000 epochs",
        "ms a run",
        "From the command to its end, in a store that was there before. The others' time for "
        f"{few} runs less that for 2, by {few - 2}: without their start, and linear in the runs.",
        rows,
    )


@contextmanager
def _folders() -> Iterator[Callable[[], Path]]:
    """Makes empty folders, which are there until the end: on some disks the removal of many
    small files goes on for minutes, and would be felt by what is timed next.
    """
    with tempfile.TemporaryDirectory() as parent:
        yield lambda: Path(tempfile.mkdtemp(dir=parent))


def _cost(
    program: str, arguments: Sequence[str], few: int, folder: Callable[[], Path]
) -> Callable[[], float]:
    def cost() -> float:
        used = folder()

        def seconds(runs: int) -> float:
            filled = (argument.format(runs) for argument in arguments)
            return started([f"benchmarks.stock.{program}", *filled], used)[0]

        # The first run prepares the store; two at once may fail each other's migration.
        seconds(1)
        return 1000 * _beyond(seconds(2), seconds(few)) / (few - 2)

    return cost


def _beyond(start: float, whole: float) -> float:
    """What the runs beyond the first two took; raises MissingError where noise hides it."""
    if whole <= start:
        raise MissingError(
            f"its runs are lost in the noise of its start ({whole:.1f} s, of which {start:.1f} s "
            "for two runs)"
        )
    return whole - start


def growth(rounds: int, sizes: Sequence[int]) -> Table:
    """Time a run and memory by the number of runs, in an empty folder each."""
    rows = []
    with _folders() as folder:
        for runs in sizes:
            command = ours(runs, "epochs=500", "tracking.points=10")
            times = rounds if runs <= ONCE else 1
            ended = [started(command, folder()) for _ in range(times)]
            name = f"{runs:,} runs, {max(peak for _, peak in ended)} MiB"
            costs = [1000 * seconds / runs for seconds, _ in ended]
            rows.append(Row(name + (", timed once" if times == 1 else ""), costs))
    return Table(
        "Growth: tracked XOR runs of 500 epochs, 10 loss points",
        "ms a run",
        "From the command to its end in an empty folder, and the most memory resident at once.",
        rows,
    )


def at_the_terminal(rounds: int, runs: int) -> Table:
    """What a person waits for, in a store with a sweep of XOR runs of 10,000 epochs."""
    with _folders() as folder:
        used = folder()
        started(ours(runs), used)
        sweep = f"sweep seed, {runs} runs"
        commands = {
            "--help": ["bpexp", "--help"],
            "a default run, tracked": ["bpexp"],
            "show, of the sweep": ["bpexp", "show", sweep],
            f"reproduce, {runs:,} runs": ["bpexp", "reproduce", sweep],
            f"report, {runs:,} runs": ["bpexp", "report", sweep],
        }
        rows = alternate(
            {name: lambda c=command: started(c, used)[0] for name, command in commands.items()},  # type: ignore[misc]
            rounds,
        )
    return Table("At the terminal", "s", "From the command to its end.", rows)
