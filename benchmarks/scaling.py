"""The figures that docs/scaling.md counts with.

    python -m benchmarks.scaling [--rounds 5] [--uri postgresql://...] [--address tcp://...]

Training on one core, writing by the one writer and what that takes on disk, and sweeps that
are kept as their parent alone; on a Dask cluster too, if its scheduler's address is given.
Prints Markdown tables of medians. The database of --uri should be empty.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bpexp.tracking.record import run_record
from threadpoolctl import threadpool_limits

from benchmarks.sweeps import ours, started
from benchmarks.tracking import default_run, opened
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.runs import environment, identity, run_tags
from bpexp.runs.result import TrainResult
from bpexp.tracking import process
from bpexp.tracking.factory import tracker_for
from bpexp.tracking.store import connect, locate
from bpexp.training.llvm import compiled
from bpexp.training.run_batch import train_pack

EPOCHS = (500, 10_000)
PACK = 128
FEW, MANY = 5_000, 50_000


Drawn = Sequence[tuple[TrainConfig, TrainResult]]


def trained(epochs: int) -> tuple[float, Drawn]:
    """Seconds for a pack of XOR runs on one core, and its runs."""
    default = replace(default_run()[0], epochs=epochs, numerics="exact")
    configs = [replace(default, seed=seed) for seed in range(PACK)]
    start = time.perf_counter()
    with threadpool_limits(1):
        results = dict(train_pack(configs, compiled.advance))
    return time.perf_counter() - start, [(configs[k], results[k]) for k in range(PACK)]


class Writer:
    """Writes packs of one kind to a store, and counts what that takes."""

    def __init__(self, uri: str | None, folder: Path, drawn: Drawn, points: int) -> None:
        self.uri, self.folder, self.drawn = uri, folder, drawn
        session = default_run()[1]
        self.session = replace(session, tracking=replace(session.tracking, points=points))
        self.seconds: list[float] = []
        self.processor: list[float] = []
        self.database: list[int] = []
        folder.mkdir()
        self.tracker = tracker_for(*opened(uri, folder, str(folder)))
        self.parent = self.tracker.open_run("sweep", 1, {})
        self.write()
        self.files = _files(folder)

    def write(self) -> None:
        """One pack, from results to the store, as a sweep does it."""
        tags = environment.tags()
        tags |= {run_tags.PROCESS: process.current(), run_tags.SWEEP: self.parent}
        before, now = _database(self.uri, self.folder), time.time_ns() // 1_000_000
        start, used = time.perf_counter(), time.process_time()
        records = [
            run_record(config, self.session, result, load(config.data), f"seed={config.seed}",
                       tags | identity.tags(config, result), now, now)
            for config, result in self.drawn
        ]  # fmt: skip
        self.tracker.stage(records, self.parent).commit()
        self.seconds.append(time.perf_counter() - start)
        self.processor.append(time.process_time() - used)
        self.database.append(_database(self.uri, self.folder) - before)

    def row(self) -> str:
        """Medians, without the first pack, which makes what the others share."""
        rate, best = PACK / statistics.median(self.seconds[1:]), PACK / min(self.seconds[1:])
        used = 1000 * statistics.median(self.processor[1:]) / PACK
        packs = len(self.seconds) - 1
        base = sum(self.database[1:]) / packs / PACK / 1024
        files = (_files(self.folder) - self.files) / packs / PACK / 1024
        return f"{rate:,.0f} | {best:,.0f} | {used:.2f} | {base:.1f} | {files:.1f}"


def _database(uri: str | None, folder: Path) -> int:
    if uri is None:
        return sum(file.stat().st_size for file in folder.rglob("mlflow.db*"))
    from sqlalchemy import create_engine, text

    connect(locate(uri, folder, {}))
    engine = create_engine(uri.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar()
    engine.dispose()
    return int(size or 0)


def _files(folder: Path) -> int:
    """Bytes on disk, by whole blocks, beside the database."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sum(512 * file.stat().st_blocks for file in files if "mlflow.db" not in file.name)


def alone(rounds: int, *overrides: str) -> tuple[float, float, float]:
    """Of one run of a sweep kept as its parent alone, its epochs too few to count: seconds and
    KiB resident by ``MANY`` less ``FEW``; and bytes of the table.
    """
    costs, sizes = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
            common = ("epochs=1", "tracking.runs=false", "tracking.points=0", *overrides)
            first = started(ours(FEW, *common), Path(few))
            second = started(ours(MANY, *common), Path(many))
            costs.append([(b - a) / (MANY - FEW) for a, b in zip(first, second, strict=True)])
            sizes.append(sum(f.stat().st_size for f in Path(many).rglob("*.parquet")) / MANY)
    seconds, mebibytes = zip(*costs, strict=True)
    return statistics.median(seconds), 1024 * statistics.median(mebibytes), sizes[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uri")
    parser.add_argument("--address")
    chosen = parser.parse_args()
    trained(1)  # Compiles, or loads what was compiled.
    print("| XOR, one core | runs a second |\n| --- | ---: |")
    drawn = {}
    for epochs in EPOCHS:
        seconds = []
        for _ in range(chosen.rounds):
            taken, drawn[epochs] = trained(epochs)
            seconds.append(taken)
        print(f"| {epochs:,} epochs | {PACK / statistics.median(seconds):,.0f} |", flush=True)
    print(
        "\n| the writer | epochs | points | runs a second | at best | processor ms a run | "
        "database, KiB | files, KiB |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    kinds = [(epochs, points) for epochs in EPOCHS for points in (100, 0)]
    for name, uri in {"SQLite": None, "PostgreSQL": chosen.uri}.items():
        if name == "SQLite" or uri:
            with tempfile.TemporaryDirectory() as folder:
                writers = [Writer(uri, Path(folder, f"{epochs}-{points}"), drawn[epochs], points)
                           for epochs, points in kinds]  # fmt: skip
                for _ in range(chosen.rounds):
                    for writer in writers:
                        writer.write()
                for (epochs, points), writer in zip(kinds, writers, strict=True):
                    print(f"| {name} | {epochs:,} | {points} | {writer.row()} |", flush=True)
    print("\n| the parent alone | runs a second | KiB resident a run | bytes of Parquet a run |")
    print("| --- | ---: | ---: | ---: |")
    for name, settings in {
        "this machine": (),
        "Dask": ("backend=dask", f"backend.address={chosen.address}"),
    }.items():
        if name != "Dask" or chosen.address:
            cost, resident, size = alone(min(3, chosen.rounds), *settings)
            print(f"| {name} | {1 / cost:,.0f} | {resident:.1f} | {size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
