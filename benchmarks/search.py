"""Compare the search of bpexp with Optuna, joblib and MLflow: time to the same best objective.

    python -m benchmarks.search [--trials 200] [--seeds 20] [--epochs 2000 150] [--rounds 3]

Both search the learning rate and the width of a hidden layer by TPE, on parity and on digits. The
value of a trial is the median final loss over its seeds, whose initial weights are the same. In
each round both run once, in an order that alternates. The target of a round is the worse of the two
best values at the end, so that both reach it; the time is that until a trial reaches it. The
sampler's share is the time that it takes alone, for as many trials, of the time of bpexp's search.

A search of 200 trials takes Optuna an hour or so. ``python -m benchmarks search`` compares the time
of a trial instead, from few trials of Optuna.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.rounds import Row, Table, alternate
from benchmarks.sweeps import run_command
from bpexp.config.compose import composer
from bpexp.config.schema import SearchConfig
from bpexp.sweeps.samplers.search import SearchSampler
from bpexp.sweeps.samplers.space import parse

ROOT = Path(__file__).resolve().parents[1]
GENERATION = 10
PROBLEMS = {
    "parity": (["data=parity", "data.bits=4"], 0.01, 10.0),
    "digits": (["data=digits"], 0.0001, 0.01),
}
"""Overrides of the default configuration, and the limits of the learning rate."""
EPOCHS = {"parity": 2000, "digits": 150}
History = list[tuple[float, float]]
"""Seconds since the start, and the best value then."""
WHY_NOT_HYDRA = "hydra-optuna-sweeper 1.3.0 needs a version of Optuna before 3"


class Search(NamedTuple):
    """A search that has ended: its duration in seconds, and its history."""

    seconds: float
    history: History

    @property
    def best(self) -> float:
        """The best value at the end."""
        return self.history[-1][1]

    def time_to(self, target: float) -> float:
        """Seconds until the best value was at most ``target``."""
        return next(seconds for seconds, value in self.history if value <= target)


def bpexp_command(problem: str, trials: int, seeds: int, epochs: int) -> list[str]:
    """The command of bpexp's search."""
    overrides, low, high = PROBLEMS[problem]
    return [
        "bpexp", "-m", *overrides, f"epochs={epochs}", f"lr=tag(log,interval({low},{high}))",
        "hidden=int(interval(2,16))", f"seed=range(0,{seeds})", "search=tpe",
        f"search.trials={trials}", f"search.generation={min(GENERATION, trials)}",
    ]  # fmt: skip


def optuna_command(problem: str, trials: int, seeds: int, epochs: int) -> list[str]:
    """The command of Optuna's search."""
    overrides, low, high = PROBLEMS[problem]
    return [
        "benchmarks.stock.optuna_search", str(trials), str(seeds), str(low), str(high),
        *overrides, f"epochs={epochs}",
    ]  # fmt: skip


def run_bpexp(problem: str, trials: int, seeds: int, epochs: int, folder: Path) -> Search:
    """Run the search of bpexp; a generation counts when its sentence is printed."""
    command = bpexp_command(problem, trials, seeds, epochs)
    history: History = []
    started = time.perf_counter()
    with _started(command, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.match(r"\d+ of \d+ trials: lowest (?:median )?final loss (\S+) with", line)
            if found:
                history.append((time.perf_counter() - started, float(found[1])))
    if process.returncode:
        raise RuntimeError(f"bpexp ended with exit status {process.returncode}")
    return Search(time.perf_counter() - started, history)


def run_optuna(problem: str, trials: int, seeds: int, epochs: int, folder: Path) -> Search:
    """Run the search of Optuna; a trial counts when it is complete."""
    command = optuna_command(problem, trials, seeds, epochs)
    started = time.perf_counter()
    with _started(command, folder) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"Optuna's search ended with exit status {process.returncode}")
    seconds = time.perf_counter() - started
    trained = json.loads(output.splitlines()[-1])["history"]
    # The program's clock starts after its imports, which count as well.
    history, best = [], float("inf")
    for since, value in trained:
        best = min(best, value)
        history.append((since + seconds - trained[-1][0], best))
    return Search(seconds, history)


def compare_trials(rounds: int, trials: int, seeds: int, few: int) -> list[Table]:
    """Compare the processor time that a trial takes, a table for each problem.

    Args:
        rounds: Number of rounds.
        trials: Number of trials of bpexp, whose whole command is measured.
        seeds: Number of seeds of a trial.
        few: Number of trials of Optuna; the first one of each of its processes does not count.
    """
    tables = []
    for problem, epochs in EPOCHS.items():
        ours = bpexp_command(problem, trials, seeds, epochs)
        theirs = optuna_command(problem, few, seeds, epochs)
        rows = alternate(
            {
                "bpexp": partial(_processor_seconds, ours, trials),
                "Optuna + joblib + MLflow": partial(_optuna_seconds, theirs),
            },
            rounds,
        )
        rows.append(Row("Hydra's Optuna sweeper", missing=WHY_NOT_HYDRA))
        tables.append(
            Table(
                f"Search: trials of {seeds} seeds on {problem}",
                "processor s per trial",
                f"TPE over learning rate and hidden units, {epochs:,} epochs. bpexp: the whole "
                f"command with {trials} trials and a new store. Optuna: {few} trials without "
                f"the first one of each process, so its start is not counted.",
                rows,
            )
        )
    return tables


def _processor_seconds(command: Sequence[str], trials: int) -> float:
    """The processor time of a command per trial, that of its worker processes included."""
    with tempfile.TemporaryDirectory() as folder:
        return run_command(command, Path(folder)).processor_seconds / trials


def _optuna_seconds(command: Sequence[str]) -> float:
    """The processor time of a trial that Optuna's search has measured itself."""
    with tempfile.TemporaryDirectory() as folder:
        run_command(command, Path(folder))
        lines = (Path(folder) / "output.txt").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"history"')]
    return float(found[-1]["processor_seconds"])


def sampler_seconds(problem: str, trials: int, seeds: int) -> float:
    """The time that the sampler of bpexp takes alone, with values that only depend on the trial."""
    _, low, high = PROBLEMS[problem]
    arguments = [
        f"lr=tag(log,interval({low},{high}))", "hidden=int(interval(2,16))",
        f"seed=range(0,{seeds})",
    ]  # fmt: skip
    generation = min(GENERATION, trials)
    started = time.perf_counter()
    sampler = SearchSampler(
        parse(arguments, composer().parse),
        SearchConfig(name="tpe", trials=trials, generation=generation),
    )
    while jobs := sampler.ask():
        sampler.tell([float(zlib.crc32(" ".join(job[:2]).encode())) for job in jobs])
    return time.perf_counter() - started


def _started(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a Python module as a command, with its store in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'store.db'}"
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    """Run the benchmark and print the table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--epochs", type=int, nargs=2, default=[*EPOCHS.values()])
    arguments.add_argument("--rounds", type=int, default=3)
    args = arguments.parse_args()
    searches = {"bpexp": run_bpexp, "optuna": run_optuna}
    print(f"{args.trials} trials of {args.seeds} seeds; medians of {args.rounds} rounds.")
    print("| problem | epochs | bpexp, s to target | Optuna, s to target | ratio | sampler |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for problem, epochs in zip(PROBLEMS, args.epochs, strict=True):
        rows = []
        for number in range(args.rounds):
            found: dict[str, Search] = {}
            for name in (*searches,) if number % 2 == 0 else (*reversed(searches),):
                with tempfile.TemporaryDirectory() as folder:
                    found[name] = searches[name](
                        problem, args.trials, args.seeds, epochs, Path(folder)
                    )
            target = max(search.best for search in found.values())
            ours, theirs = (found[name].time_to(target) for name in ("bpexp", "optuna"))
            share = sampler_seconds(problem, args.trials, args.seeds) / found["bpexp"].seconds
            rows.append((ours, theirs, theirs / ours, share))
        ours, theirs, ratio, share = map(statistics.median, zip(*rows, strict=True))
        print(
            f"| {problem} | {epochs} | {ours:.1f} | {theirs:.1f} | {ratio:.1f} | {share:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
