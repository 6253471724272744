"""What it costs to compose one job of a sweep: Hydra's own way against the composer.

    python benchmarks/composition.py [--jobs 2000] [--rounds 5]

Jobs over two data sets, two learning rates and as many seeds as it takes. The two take turns, each
round with a new composer; Hydra composes a hundredth of the jobs. Prints a Markdown table, with
the whole plan (jobs expanded, composed and checked) as its last line.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from hydra.core.override_parser.overrides_parser import OverridesParser

from bpexp.config.compose import Composer, hydra_loader
from bpexp.sweeps import plan
from bpexp.sweeps.samplers.grid import expand


def milliseconds(work: Callable[[], object], count: int) -> float:
    """The clock's milliseconds for each of ``count``."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    typed = ["data=xor,parity", "lr=0.1,0.5", f"seed=range(0,{chosen.jobs // 4})"]
    loader, master = hydra_loader()
    grammar = OverridesParser.create(config_loader=loader)
    jobs = expand(grammar.parse_overrides(typed))
    few = jobs[:: max(1, len(jobs) // max(4, chosen.jobs // 100))]

    def planned() -> None:
        composer = Composer(loader, master)
        made = expand(grammar.parse_overrides(typed))
        _ = plan.make((composer.compose(job) for job in made), typed).names

    ways: dict[str, tuple[Callable[[], object], int]] = {
        "Hydra's load_sweep_config": (
            lambda: [loader.load_sweep_config(master, job) for job in few],
            len(few),
        ),
        "the composer": (
            lambda: list(map(Composer(loader, master).compose, jobs)),
            len(jobs),
        ),
        "the whole plan": (planned, len(jobs)),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(chosen.rounds):
        for way, (work, count) in ways.items():
            taken[way].append(milliseconds(work, count))
    print("| way | ms a job, median | least | most |")
    print("| --- | --- | --- | --- |")
    for way, times in taken.items():
        print(f"| {way} | {statistics.median(times):.3f} | {min(times):.3f} | {max(times):.3f} |")


if __name__ == "__main__":
    main()
