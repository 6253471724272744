"""What it costs to track one run: MLflow's client against the bulk tracker.

    python benchmarks/tracking.py [--runs 200] [--rounds 5] [--uri postgresql://...]

Runs of XOR with 10,000 losses, 100 points of them as metrics, four artifacts. The two take
turns, on two fresh SQLite files if no store is named; the client writes a twentieth of the
runs. Prints a Markdown table.
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
from bpexp.tracking.record import run_record
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from omegaconf import OmegaConf

from bpexp.config.schema import RuntimeConfig, TrainConfig, conf_dir, parse
from bpexp.data import load
from bpexp.runs import environment
from bpexp.runs.result import Outcome, TrainResult
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.factory import tracker_for
from bpexp.tracking.store import connect, experiment_id, locate


def default_run() -> tuple[TrainConfig, RuntimeConfig]:
    """The run that ``python -m bpexp`` makes."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return parse(OmegaConf.to_container(compose("config")))


def results(count: int, epochs: int = 10_000) -> list[tuple[TrainConfig, TrainResult]]:
    """As many XOR runs of a 2-2-1 network, their numbers drawn at random."""
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
                accuracy=1.0,
            ),
        )
        for seed in range(count)
    ]


def record(session: RuntimeConfig, config: TrainConfig, result: TrainResult) -> RunRecord:
    """What is tracked of a run, with 100 points of its loss."""
    now, name = time.time_ns() // 1_000_000, f"seed={config.seed}"
    return run_record(
        config, session, result, load(config.data), name, environment.tags(), now, now
    )


def opened(uri: str | None, folder: Path, name: str) -> tuple[MlflowClient, str]:
    """MLflow's client and an experiment of a store."""
    store = locate(uri, folder, {})
    client = connect(store)
    return client, experiment_id(client, store, f"benchmark of {name}")


@contextmanager
def measured(into: list[tuple[float, float]], count: int) -> Iterator[None]:
    """Append milliseconds for each of ``count``: of the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    ends = time.perf_counter() - clock, time.process_time() - processor
    into.append((1000 * ends[0] / count, 1000 * ends[1] / count))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uri")
    chosen = parser.parse_args()
    drawn, few = results(chosen.runs), max(1, chosen.runs // 20)
    _, session = default_run()
    made, single, bulk = "making the record", "client", "bulk"
    taken: dict[str, list[tuple[float, float]]] = {made: [], single: [], bulk: []}
    with tempfile.TemporaryDirectory() as here:
        trackers: dict[str, Tracker] = {
            single: ClientTracker(*opened(chosen.uri, Path(here, single), single)),
            bulk: tracker_for(*opened(chosen.uri, Path(here, bulk), bulk)),
        }
        parents = {name: tracker.open_run("sweep", 1, {}) for name, tracker in trackers.items()}
        for _ in range(chosen.rounds):
            with measured(taken[made], len(drawn)):
                runs = [record(session, *each) for each in drawn]
            with measured(taken[single], few):
                trackers[single].stage(runs[:few], parents[single]).commit()
            with measured(taken[bulk], len(runs)):
                trackers[bulk].stage(runs, parents[bulk]).commit()
    print("| part | ms a run, median | least | most | processor ms, median |")
    print("| --- | --- | --- | --- | --- |")
    for part, pairs in taken.items():
        clock, processor = zip(*pairs, strict=True)
        middle = statistics.median(clock), statistics.median(processor)
        print(
            f"| {part} | {middle[0]:.2f} | {min(clock):.2f} | {max(clock):.2f} | {middle[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
