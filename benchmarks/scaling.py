"""Measure the numbers from which docs/scaling.md computes the cost of large sweeps.

    python -m benchmarks.scaling [--rounds 5] [--uri postgresql://...] [--address tcp://...]

Measures training on one core, tracking by the single writer, and sweeps without tracked runs;
with --address, the latter on a Dask cluster, too. Prints Markdown tables of medians. The database
of --uri should be empty.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.sweeps import bpexp_command, run_command
from benchmarks.tracking import default_run, open_experiment
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.runs import environment, run_tags
from bpexp.runs.result import TrainResult
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.run_record import RunRecorder
from bpexp.tracking import process
from bpexp.tracking.factory import tracker_for
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.loop import train_batch

EPOCHS = (500, 10_000)
BATCH_RUNS = 128
"""Number of runs that are trained and tracked together."""

FEW, MANY = 5_000, 50_000
"""Numbers of runs of two sweeps; the difference of their times excludes the start."""

Results = Sequence[tuple[TrainConfig, TrainResult]]


def time_training(epochs: int) -> tuple[float, Results]:
    """Train a batch of XOR runs on one core.

    Args:
        epochs: Number of epochs.

    Returns:
        Seconds, and the configurations with their results.
    """
    default = replace(default_run()[0], epochs=epochs)
    configs = [replace(default, seed=seed) for seed in range(BATCH_RUNS)]
    start = time.perf_counter()
    with threadpool_limits(1):
        results = dict(train_batch(configs, LlvmEngine()))
    return time.perf_counter() - start, [(configs[i], results[i]) for i in range(BATCH_RUNS)]


class Writer:
    """Writes the same batch of runs to a store again and again and measures the cost."""

    def __init__(self, uri: str | None, folder: Path, results: Results, points: int) -> None:
        """Open the store and write a first batch, which creates what later batches share.

        Args:
            uri: URI of the store; None for a new SQLite file.
            folder: Folder for the store and the artifacts.
            results: The runs.
            points: Number of losses that are logged per run.
        """
        self.uri, self.folder, self.results = uri, folder, results
        runtime = default_run()[1]
        self.runtime = replace(runtime, tracking=replace(runtime.tracking, points=points))
        self.seconds: list[float] = []
        self.processor_seconds: list[float] = []
        self.database_bytes: list[int] = []
        folder.mkdir()
        self.tracker = tracker_for(*open_experiment(uri, folder, str(folder)))
        self.parent = self.tracker.open_run("sweep", 1, {})
        self.write()
        self.first_artifact_bytes = _artifact_bytes(folder)

    def write(self) -> None:
        """Build the records of one batch and write them, as in a sweep."""
        tags = environment.tags()
        tags |= {run_tags.PROCESS: process.current(), run_tags.SWEEP: self.parent}
        before, now = _database_bytes(self.uri, self.folder), time.time_ns() // 1_000_000
        wall, processor = time.perf_counter(), time.process_time()
        recorder = RunRecorder(self.runtime, tags, {}, now)
        records = []
        for config, result in self.results:
            job = Job(config.seed, f"seed={config.seed}", config, load(config.data))
            records.append(recorder.record(JobResult(job, result), now))
        self.tracker.stage(records, self.parent).commit()
        self.seconds.append(time.perf_counter() - wall)
        self.processor_seconds.append(time.process_time() - processor)
        self.database_bytes.append(_database_bytes(self.uri, self.folder) - before)

    def cells(self) -> str:
        """Table cells: medians over all batches but the first one."""
        n_batches = len(self.seconds) - 1
        rate = BATCH_RUNS / statistics.median(self.seconds[1:])
        best_rate = BATCH_RUNS / min(self.seconds[1:])
        processor = 1000 * statistics.median(self.processor_seconds[1:]) / BATCH_RUNS
        database = sum(self.database_bytes[1:]) / n_batches / BATCH_RUNS / 1024
        artifact_bytes = _artifact_bytes(self.folder) - self.first_artifact_bytes
        artifacts = artifact_bytes / n_batches / BATCH_RUNS / 1024
        return (
            f"{rate:,.0f} | {best_rate:,.0f} | {processor:.2f} | {database:.1f} | {artifacts:.1f}"
        )


def _database_bytes(uri: str | None, folder: Path) -> int:
    if uri is None:
        return sum(file.stat().st_size for file in folder.rglob("mlflow.db*"))
    from sqlalchemy import create_engine, text

    engine = create_engine(uri)
    with engine.connect() as connection:
        size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar()
    engine.dispose()
    return int(size or 0)


def _artifact_bytes(folder: Path) -> int:
    """Disk space of all files except the database, in blocks of 512 bytes."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sum(512 * file.stat().st_blocks for file in files if "mlflow.db" not in file.name)


def cost_without_tracked_runs(rounds: int, *overrides: str) -> tuple[float, float, float]:
    """Cost per run of sweeps whose runs are stored only in the table of the parent run.

    Args:
        rounds: Number of rounds.
        overrides: Overrides of the sweeps, which train one epoch per run.

    Returns:
        Seconds and KiB of resident memory per run, from the difference between a sweep of
        ``MANY`` and a sweep of ``FEW`` runs; and bytes of Parquet per run.
    """
    costs, sizes = [], []
    common = ("epochs=1", "tracking.runs=false", "tracking.points=0", *overrides)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
            first = run_command(bpexp_command(FEW, *common), Path(few))
            second = run_command(bpexp_command(MANY, *common), Path(many))
            costs.append(
                [(b - a) / (MANY - FEW) for a, b in zip(first[:2], second[:2], strict=True)]
            )
            sizes.append(sum(f.stat().st_size for f in Path(many).rglob("*.parquet")) / MANY)
    seconds, mebibytes = zip(*costs, strict=True)
    return statistics.median(seconds), 1024 * statistics.median(mebibytes), sizes[0]


def measure_training(rounds: int) -> dict[int, Results]:
    """Print the training rate; returns the results of one batch by number of epochs."""
    print("| XOR, one core | runs per second |\n| --- | ---: |")
    results = {}
    time_training(1)  # compiles the kernel
    for epochs in EPOCHS:
        timings = []
        for _ in range(rounds):
            seconds, results[epochs] = time_training(epochs)
            timings.append(seconds)
        rate = BATCH_RUNS / statistics.median(timings)
        print(f"| {epochs:,} epochs | {rate:,.0f} |", flush=True)
    return results


def measure_writing(rounds: int, uri: str | None, results: dict[int, Results]) -> None:
    """Print the cost of tracking in SQLite, and in PostgreSQL if ``uri`` is given."""
    print(
        "\n| store | epochs | points | runs per second | best | processor ms per run | "
        "database, KiB per run | artifacts, KiB per run |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    kinds = [(epochs, points) for epochs in EPOCHS for points in (100, 0)]
    for name, store_uri in {"SQLite": None, "PostgreSQL": uri}.items():
        if name == "PostgreSQL" and uri is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            writers = [
                Writer(store_uri, Path(folder, f"{epochs}-{points}"), results[epochs], points)
                for epochs, points in kinds
            ]
            for _ in range(rounds):
                for writer in writers:
                    writer.write()
            for (epochs, points), writer in zip(kinds, writers, strict=True):
                print(f"| {name} | {epochs:,} | {points} | {writer.cells()} |", flush=True)


def measure_without_tracked_runs(rounds: int, address: str | None) -> None:
    """Print the cost of sweeps without tracked runs, on this machine and on a Dask cluster."""
    print("\n| without tracked runs | runs per second | KiB of memory per run | bytes per run |")
    print("| --- | ---: | ---: | ---: |")
    backends = {"this machine": ()}
    if address:
        backends["Dask"] = ("backend=dask", f"backend.address={address}")
    for name, overrides in backends.items():
        seconds, memory, size = cost_without_tracked_runs(min(3, rounds), *overrides)
        print(f"| {name} | {1 / seconds:,.0f} | {memory:.1f} | {size:.0f} |", flush=True)


def main() -> None:
    """Run the benchmarks and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uri")
    parser.add_argument("--address")
    args = parser.parse_args()
    results = measure_training(args.rounds)
    measure_writing(args.rounds, args.uri, results)
    measure_without_tracked_runs(args.rounds, args.address)


if __name__ == "__main__":
    main()
