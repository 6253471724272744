"""Time the logging of runs: MLflow's client and the bulk tracker of bpexp.

    python -m benchmarks.tracking [--runs 200] [--rounds 5] [--uri postgresql://...]

Each run has 10,000 losses, of which 100 are logged as metrics, and four artifacts. The trackers
write in turn, by default to a new SQLite file each; the client writes a twentieth of the runs.
Prints a Markdown table.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from bpexp.config.compose import compose_settings
from bpexp.config.schema import RuntimeConfig, TrainConfig, parse
from bpexp.data import load
from bpexp.runs import environment
from bpexp.runs.result import Outcome, TrainResult
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.run_record import RunRecorder
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.factory import tracker_for
from bpexp.tracking.store import connect, get_or_create_experiment, locate

CLIENT_SHARE = 20
"""MLflow's client writes one run in this many."""


def default_run() -> tuple[TrainConfig, RuntimeConfig]:
    """The configuration of ``python -m bpexp``."""
    return parse(compose_settings({}))


def random_results(count: int, epochs: int = 10_000) -> list[tuple[TrainConfig, TrainResult]]:
    """Results of XOR runs of a 2-2-1 network, with random numbers.

    Args:
        count: Number of runs.
        epochs: Number of epochs.

    Returns:
        Configurations and results.
    """
    (default, _), rng = default_run(), np.random.default_rng(0)
    return [
        (
            replace(default, seed=seed, epochs=epochs),
            TrainResult(
                Outcome.COMPLETED,
                rng.random(epochs),
                rng.random((4, 1)),
                (rng.random((2, 2)), rng.random((2, 1))),
                (rng.random((1, 2)), rng.random((1, 1))),
                metrics={"final_loss": 0.5, "epochs_run": epochs, "accuracy": 1.0},
            ),
        )
        for seed in range(count)
    ]


def record(runtime: RuntimeConfig, config: TrainConfig, result: TrainResult) -> RunRecord:
    """The record of a run, with 100 of its losses."""
    now = time.time_ns() // 1_000_000
    job = Job(config.seed, f"seed={config.seed}", config, load(config.data))
    recorder = RunRecorder(runtime, environment.tags(), {}, now)
    return recorder.record(JobResult(job, result), now)


def open_experiment(uri: str | None, folder: Path, name: str) -> tuple[MlflowClient, str]:
    """MLflow's client of a store, and the id of a new experiment in it."""
    store = locate(uri, folder, {})
    client = connect(store)
    return client, get_or_create_experiment(client, store, f"benchmark of {name}")


@contextmanager
def timed(timings: list[tuple[float, float]], count: int) -> Iterator[None]:
    """Append the wall time and the processor time of the block, in milliseconds per ``count``."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    elapsed = time.perf_counter() - wall, time.process_time() - processor
    timings.append((1000 * elapsed[0] / count, 1000 * elapsed[1] / count))


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uri")
    args = parser.parse_args()
    results, few = random_results(args.runs), max(1, args.runs // CLIENT_SHARE)
    _, runtime = default_run()
    build, client, bulk = "building the record", "MLflow's client", "bulk tracker"
    timings: dict[str, list[tuple[float, float]]] = {build: [], client: [], bulk: []}
    with tempfile.TemporaryDirectory() as folder:
        trackers: dict[str, Tracker] = {
            client: ClientTracker(*open_experiment(args.uri, Path(folder, "client"), client)),
            bulk: tracker_for(*open_experiment(args.uri, Path(folder, "bulk"), bulk)),
        }
        parents = {name: tracker.open_run("sweep", 1, {}) for name, tracker in trackers.items()}
        for _ in range(args.rounds):
            with timed(timings[build], len(results)):
                runs = [record(runtime, *result) for result in results]
            with timed(timings[client], few):
                trackers[client].stage(runs[:few], parents[client]).commit()
            with timed(timings[bulk], len(runs)):
                trackers[bulk].stage(runs, parents[bulk]).commit()
    print("| part | ms per run (median) | min | max | processor ms (median) |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for part, pairs in timings.items():
        wall, processor = zip(*pairs, strict=True)
        print(
            f"| {part} | {statistics.median(wall):.2f} | {min(wall):.2f} | {max(wall):.2f} | "
            f"{statistics.median(processor):.2f} |"
        )


if __name__ == "__main__":
    main()
