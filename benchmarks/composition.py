"""Time the composition of a job's configuration: Hydra's loader and the composer of bpexp.

    python -m benchmarks.composition [--jobs 2000] [--rounds 5]

The jobs vary the data set, the learning rate and the seed. Each round uses a new composer; Hydra
composes a hundredth of the jobs. The last line of the Markdown table is the complete plan:
jobs expanded, composed and checked.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bpexp.config.compose import Composer, hydra_loader
from bpexp.sweeps import plan
from bpexp.sweeps.grid import sub_sweeps

HYDRA_SHARE = 100
"""Hydra composes one job in this many."""


def milliseconds(function: Callable[[], object], count: int) -> float:
    """Wall time of a call, in milliseconds per ``count``."""
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start) / count


def compose_with_hydra(loader: Any, primary: Any, jobs: Sequence[list[str]]) -> None:
    """Compose each job by Hydra's loader."""
    for job in jobs:
        loader.load_sweep_config(primary, job)


def compose_with_composer(loader: Any, primary: Any, jobs: Sequence[list[str]]) -> None:
    """Compose each job by a new composer."""
    composer = Composer(loader, primary)
    for job in jobs:
        composer.compose(job)


def make_plan(loader: Any, primary: Any, overrides: list[str]) -> None:
    """Expand, compose and check all jobs."""
    composer = Composer(loader, primary)
    jobs = sub_sweeps.jobs(overrides, composer.parse)
    _ = plan.make_plan((composer.compose(job) for job in jobs), overrides).jobs


def main() -> None:
    """Run the benchmark and print the table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    arguments.add_argument("--jobs", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    args = arguments.parse_args()
    overrides = ["data=xor,parity", "lr=0.1,0.5", f"seed=range(0,{args.jobs // 4})"]
    loader, primary = hydra_loader()
    jobs = sub_sweeps.jobs(overrides, Composer(loader, primary).parse)
    few = jobs[:: max(1, len(jobs) // max(4, args.jobs // HYDRA_SHARE))]
    methods: dict[str, tuple[Callable[[], None], int]] = {
        "Hydra's load_sweep_config": (
            partial(compose_with_hydra, loader, primary, few), len(few)
        ),
        "composer of bpexp": (
            partial(compose_with_composer, loader, primary, jobs), len(jobs)
        ),
        "complete plan": (partial(make_plan, loader, primary, overrides), len(jobs)),
    }  # fmt: skip
    timings: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(args.rounds):
        for name, (function, count) in methods.items():
            timings[name].append(milliseconds(function, count))
    print("| method | ms per job (median) | min | max |")
    print("| --- | ---: | ---: | ---: |")
    for name, times in timings.items():
        print(f"| {name} | {statistics.median(times):.3f} | {min(times):.3f} | {max(times):.3f} |")


if __name__ == "__main__":
    main()
