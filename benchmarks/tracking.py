"""What it costs to track one run: MLflow's client against the bulk tracker, on SQLite.

    python benchmarks/tracking.py [--runs 200] [--rounds 5]

Runs of XOR with 10,000 losses, 100 points of them as metrics, four artifacts. The two take
turns on two fresh stores; the client writes a twentieth of the runs. Prints a Markdown table.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from omegaconf import OmegaConf

from bpexp.cli import conf_dir
from bpexp.config import TrainConfig, parse
from bpexp.data import load
from bpexp.results import Outcome, TrainResult
from bpexp.tracking import environment
from bpexp.tracking.choice import choose
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.record import run_record
from bpexp.tracking.store import connect, experiment_id, locate


def default_run() -> TrainConfig:
    """The run that ``python -m bpexp`` makes."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return parse(OmegaConf.to_container(compose("config")))[0]


def records(count: int, epochs: int = 10_000, points: int = 100) -> list[RunRecord]:
    """Records of as many XOR runs of a 2-2-1 network, their numbers drawn at random."""
    made, default = [], default_run()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        config = replace(default, seed=seed)
        result = TrainResult(
            Outcome.COMPLETED,
            rng.random(epochs),
            rng.random((4, 1)),
            (rng.random((2, 2)), rng.random((2, 1))),
            (rng.random((1, 2)), rng.random((1, 1))),
            accuracy=1.0,
        )
        now = time.time_ns() // 1_000_000
        made.append(
            run_record(
                config, result, load(config.data), f"seed={seed}", environment.tags(), points,
                now, now,
            )
        )  # fmt: skip
    return made


def by_client(folder: Path) -> Tracker:
    """MLflow's public client on a fresh store."""
    client, experiment = _fresh(folder)
    return ClientTracker(client, experiment)


def in_bulk(folder: Path) -> Tracker:
    """What bpexp chooses for a fresh store."""
    return choose(*_fresh(folder))


def _fresh(folder: Path) -> tuple[MlflowClient, str]:
    store = locate(None, folder, {})
    client = connect(store)
    return client, experiment_id(client, store, "benchmark")


def timed(tracker: Tracker, runs: list[RunRecord]) -> float:
    """Milliseconds a run."""
    parent = tracker.open_run("sweep", runs[0].started, {})
    start = time.perf_counter()
    tracker.record_many(runs, parent)
    return 1000 * (time.perf_counter() - start) / len(runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as here:
        client, bulk = by_client(Path(here, "client")), in_bulk(Path(here, "bulk"))
        figures: dict[str, list[float]] = {"record": [], "client": [], "bulk": []}
        for _ in range(chosen.rounds):
            start = time.perf_counter()
            runs = records(chosen.runs)
            figures["record"].append(1000 * (time.perf_counter() - start) / len(runs))
            figures["client"].append(timed(client, runs[: max(1, chosen.runs // 20)]))
            figures["bulk"].append(timed(bulk, runs))
    print("| part | ms a run, median | least | most |\n| --- | --- | --- | --- |")
    for part, taken in figures.items():
        print(f"| {part} | {statistics.median(taken):.2f} | {min(taken):.2f} | {max(taken):.2f} |")


if __name__ == "__main__":
    main()
