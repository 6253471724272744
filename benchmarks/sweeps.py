"""Time complete tracked sweeps from the command line, of bpexp and of other tools."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.rounds import MissingError, Row, Table, alternate

ROOT = Path(__file__).resolve().parents[1]
HYDRA = ("-m", "hydra/launcher=joblib")
TOOLS = {
    "Hydra + joblib launcher + MLflow": ("hydra_joblib", "-m", "seed=range(0,{})"),
    "hydraflow + joblib launcher": ("hydraflow_app", *HYDRA, "seed=range(0,{})"),
    "Optuna + joblib + MLflow": ("optuna_joblib", "{}"),
}
"""Programs in ``benchmarks.stock`` with their arguments; {} stands for the number of runs."""

MAX_REPEATED = 10_000
"""Sweeps of more runs than this are timed once."""


class Usage(NamedTuple):
    """What a command took.

    Attributes:
        seconds: From its start to its end.
        mebibytes: Its maximum resident memory.
        processor_seconds: The time of all processors, in the program and in the system.
    """

    seconds: float
    mebibytes: int
    processor_seconds: float


def run_command(command: Sequence[str], folder: Path) -> Usage:
    """Run a Python module as a command.

    Args:
        command: Module and arguments.
        folder: Working folder, which also holds the store.

    Returns:
        What it took.

    Raises:
        MissingError: The command failed; the message is the last line of its output.
    """
    store = f"sqlite:///{folder / 'stock.db'}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)}
    if "bpexp" in command:
        del environment["MLFLOW_TRACKING_URI"]
    start = time.perf_counter()
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    if process.returncode:
        raise MissingError(_reason(lines))
    return Usage(seconds, usage.ru_maxrss // 1024, usage.ru_utime + usage.ru_stime)


def _reason(lines: Sequence[str]) -> str:
    missing = [m[0] for line in lines for m in [re.search("No module named .*", line)] if m]
    return (missing or list(lines) or ["no output"])[-1][:200]


def bpexp_command(runs: int, *overrides: str) -> list[str]:
    """The command of a bpexp sweep over seeds."""
    return ["bpexp", "-m", f"seed=range(0,{runs})", *overrides]


@dataclass(frozen=True)
class Folders:
    """Creates empty folders that are deleted only at the end.

    Deleting many small files can keep a disk busy for minutes and would slow the next timing.
    """

    parent: Path

    def new(self) -> Path:
        """An empty folder."""
        return Path(tempfile.mkdtemp(dir=self.parent))

    @staticmethod
    @contextmanager
    def temporary() -> "Iterator[Folders]":
        """Folders that are deleted at the end of the block."""
        with tempfile.TemporaryDirectory() as parent:
            yield Folders(Path(parent))


@dataclass(frozen=True)
class ToolSweep:
    """A sweep by another tool, which is timed with a small number of runs.

    Attributes:
        program: Module in ``benchmarks.stock``.
        arguments: Its arguments; {} stands for the number of runs.
        runs: Number of runs, more than 2.
        folders: Creates the folder of the store.
    """

    program: str
    arguments: Sequence[str]
    runs: int
    folders: Folders

    def cost(self) -> float:
        """Milliseconds per run without the start: time of ``runs`` runs minus time of 2 runs.

        Raises:
            MissingError: The tool is not installed, or the difference is lost in noise.
        """
        folder = self.folders.new()
        # The first sweep creates the store, because concurrent migrations of MLflow may fail.
        self._seconds(1, folder)
        start, total = self._seconds(2, folder), self._seconds(self.runs, folder)
        if total <= start:
            raise MissingError(
                f"the start varies more than the runs take ({total:.1f} s for {self.runs} runs, "
                f"{start:.1f} s for two)"
            )
        return 1000 * (total - start) / (self.runs - 2)

    def _seconds(self, runs: int, folder: Path) -> float:
        arguments = (argument.format(runs) for argument in self.arguments)
        return run_command([f"benchmarks.stock.{self.program}", *arguments], folder).seconds


def compare_tools(rounds: int, runs: int, few: int) -> Table:
    """Compare tracked sweeps of XOR runs by bpexp and by other tools.

    Args:
        rounds: Number of rounds.
        runs: Number of runs of bpexp.
        few: Number of runs of the other tools.

    Returns:
        Milliseconds per run.
    """
    with Folders.temporary() as folders:
        folder = folders.new()
        run_command(bpexp_command(1), folder)
        candidates = {
            "bpexp": partial(_milliseconds_per_run, runs, folder),
            "bpexp, new store": lambda: _milliseconds_per_run(runs, folders.new()),
        }
        for name, (program, *arguments) in TOOLS.items():
            candidates[name] = ToolSweep(program, arguments, few, folders).cost
        rows = alternate(candidates, rounds)
    return Table(
        title=f"Sweep of {runs:,} tracked XOR runs of 10,000 epochs",
        unit="ms per run",
        note="bpexp: time of the whole command, with an existing store. Other tools: time of "
        f"{few} runs minus time of 2 runs, divided by {few - 2}, so their start is not counted.",
        rows=rows,
    )


def _milliseconds_per_run(runs: int, folder: Path) -> float:
    return 1000 * run_command(bpexp_command(runs), folder).seconds / runs


def _with_memory(label: str, usages: Sequence[Usage]) -> str:
    """A label of a row, with the greatest memory of some commands."""
    return f"{label}, {max(one.mebibytes for one in usages)} MiB"


def growth(rounds: int, sizes: Sequence[int]) -> Table:
    """Time per run and memory of sweeps of several sizes, each in an empty folder.

    Args:
        rounds: Number of repetitions; large sweeps are timed once.
        sizes: Numbers of runs.

    Returns:
        Milliseconds per run.
    """
    rows = []
    with Folders.temporary() as folders:
        for runs in sizes:
            command = bpexp_command(runs, "epochs=500", "tracking.points=10")
            repetitions = rounds if runs <= MAX_REPEATED else 1
            timings = [run_command(command, folders.new()) for _ in range(repetitions)]
            processor = 1000 * statistics.median(one.processor_seconds for one in timings) / runs
            label = f"{runs:,} runs, {processor:.2f} ms of processor time per run"
            name = _with_memory(label, timings)
            costs = [1000 * one.seconds / runs for one in timings]
            rows.append(Row(name + (", timed once" if repetitions == 1 else ""), costs))
    return Table(
        title="Growth: tracked XOR runs of 500 epochs, 10 logged losses each",
        unit="ms per run",
        note="Time of the whole command in an empty folder, the processor time of all its "
        "processes per run, and the maximum resident memory.",
        rows=rows,
    )


READERS = {
    "runs -n 10": ["bpexp", "runs", "-n", "10"],
    "show": ["bpexp", "show", "latest"],
    "report": ["bpexp", "report", "latest"],
    "resume of a finished sweep": ["bpexp", "resume", "latest"],
    "verify": ["bpexp", "verify", "latest"],
    "reproduce": ["bpexp", "reproduce", "latest"],
    "MLflow, runs sorted by a metric": [
        "benchmarks.stock.sorted_runs", "sqlite:///outputs/mlflow.db",
    ],
}  # fmt: skip
"""Commands that read a sweep."""
TRAINING, REUSE = "training and storing the sweep", "a sweep with reuse=true"


def reading(rounds: int, sizes: Sequence[int]) -> list[Table]:
    """Processor time and memory of commands that read sweeps of several sizes.

    Args:
        rounds: Number of rounds.
        sizes: Numbers of runs.

    Returns:
        A table of processor seconds for each command, and one for training the sweeps.
    """
    rows: dict[str, list[Row]] = {name: [] for name in (*READERS, REUSE, TRAINING)}
    with Folders.temporary() as folders:
        for runs in sizes:
            folder, sweep = folders.new(), bpexp_command(runs, "epochs=200")
            usages = {TRAINING: [run_command(sweep, folder)]}
            for name, command in READERS.items():
                usages[name] = [run_command(command, folder) for _ in range(rounds)]
            # The last ones, because they store sweeps.
            usages[REUSE] = [run_command([*sweep, "reuse=true"], folder) for _ in range(rounds)]
            for name, used in usages.items():
                label = _with_memory(f"{runs:,} runs", used)
                rows[name].append(Row(label, [one.processor_seconds for one in used]))
    note = "Processor time of the whole command, and the maximum resident memory."
    return [Table(f"Reading: {name}", "s", note, of_name) for name, of_name in rows.items()]


def medium_runs(rounds: int, n_rows: int) -> Table:
    """Time and memory of ten tracked runs on a table of 784 columns, by one and by two workers.

    Args:
        rounds: Number of rounds.
        n_rows: Number of rows of the table.

    Returns:
        Seconds.
    """
    counts = (1, 2)
    with Folders.temporary() as folders:
        folder = folders.new()
        rng = np.random.default_rng(0)
        images = {"x": rng.random((n_rows, 784)), "y": rng.integers(0, 10, n_rows)}
        np.savez(folder / "images.npz", **images)
        sweep = bpexp_command(
            10, "data=file", "data.path=images.npz", "data.target=y", "data.task=classification",
            "model=classifier", "hidden=128", "batch_size=64", "optimizer=adam", "epochs=5",
        )  # fmt: skip
        run_command([*sweep, "epochs=1"], folder)
        used = [
            [run_command([*sweep, f"n_jobs={count}"], folder) for count in counts]
            for _ in range(rounds)
        ]
        files = list(folder.rglob("predictions.*"))
        stored = sum(file.stat().st_size for file in files) / max(1, len(files))
    rows = [
        Row(
            _with_memory(f"{count} worker{'s' * (count > 1)}", usages),
            [one.seconds for one in usages],
        )
        for count, usages in zip(counts, zip(*used, strict=True), strict=True)
    ]
    return Table(
        title=f"Ten runs of 784-128-10 on {n_rows:,} rows, 5 epochs",
        unit="s",
        note="Time of the whole command, and the maximum resident memory. The inputs take "
        f"{n_rows * 784 * 8 / 2**20:.0f} MiB, the stored predictions of a run "
        f"{stored / 2**10:.0f} KiB.",
        rows=rows,
    )


def latency(rounds: int, runs: int) -> Table:
    """Time of common commands, in a store with a sweep of XOR runs of 10,000 epochs.

    Args:
        rounds: Number of rounds.
        runs: Number of runs of the sweep.

    Returns:
        Seconds.
    """
    with Folders.temporary() as folders:
        folder = folders.new()
        sweep = "timed"
        run_command(bpexp_command(runs, f"tracking.name={sweep}"), folder)
        commands = {
            "--help": ["bpexp", "--help"],
            "the default run": ["bpexp"],
            "show, one sweep": ["bpexp", "show", sweep],
            f"reproduce, {runs:,} runs": ["bpexp", "reproduce", sweep],
            f"report, {runs:,} runs": ["bpexp", "report", sweep],
        }
        rows = alternate(
            {name: partial(_seconds, command, folder) for name, command in commands.items()},
            rounds,
        )
    return Table("Latency", "s", "Time of the whole command.", rows)


def _seconds(command: Sequence[str], folder: Path) -> float:
    return run_command(command, folder).seconds
