"""Measure bpexp and other tools and write docs/benchmarks.md, .png and .json.

Install the other tools with: pip install -c constraints.txt -e '.[bench]'. Tools that are not
installed are listed as missing. Parts that are not measured keep their previous results.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import loading, minibatch, page, search, sweeps, threads, training
from benchmarks.rounds import Table

QUICK_SHARE = 0.1
"""Share of the epochs that --quick trains."""


def measure(part: str, rounds: int, quick: bool) -> Iterable[Table]:
    """Measure one part.

    Args:
        part: A key of ``page.PARTS``.
        rounds: Number of repetitions.
        quick: Whether to use small sizes, to test the benchmarks themselves.

    Returns:
        The tables of the part, each as soon as it is measured.
    """
    share = QUICK_SHARE if quick else 1.0
    match part:
        case "sweep":
            return [sweeps.compare_tools(rounds, *((200, 10) if quick else (1000, 30)))]
        case "search":
            sizes = (2, 2, 3) if quick else (200, 20, 6)
            return search.compare_trials(rounds, *sizes)
        case "training":
            return training.compare_peers(rounds, share)
        case "minibatch":
            return minibatch.compare_minibatch_peers(rounds, share)
        case "c_program":
            return training.compare_c_program(rounds, share)
        case "loading":
            return loading.compare_readers(rounds, 2000 if quick else 60_000)
        case "reading":
            return sweeps.reading(rounds, [10, 100] if quick else [10, 1000, 10_000])
        case "medium":
            runs = sweeps.medium_runs(rounds, 500 if quick else 10_000)
            return chain([runs], threads.one_run(rounds, share))
        case "growth":
            return [sweeps.growth(rounds, [100, 1000] if quick else [100, 1000, 10_000, 100_000])]
        case _:
            return [sweeps.latency(rounds, 100 if quick else 1000)]


def main() -> None:
    """Run the benchmarks given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(page.PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes and one round, as a test")
    parser.add_argument("--rounds", type=int, help="number of repetitions (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in page.PARTS]
    if unknown:
        parser.error(f"PART must be one of {', '.join(page.PARTS)}, got {unknown[0]}")
    rounds = args.rounds or (1 if args.quick else 5)
    if rounds < 1:
        parser.error(f"--rounds must be at least 1, got {rounds}")
    stored = args.output / "benchmarks.json"
    results: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    args.output.mkdir(parents=True, exist_ok=True)
    for part in args.parts or page.PARTS:
        start = time.perf_counter()
        date, repeated = time.strftime("%Y-%m-%d"), f"{rounds} round{'s' * (rounds > 1)}"
        environment = f"{date}, {repeated}, {page.machine()}."
        results[part] = {"environment": environment, "tables": []}
        for table in measure(part, rounds, args.quick):
            results[part]["tables"].append(asdict(table))
            seconds = time.perf_counter() - start
            print(f"{part}: {table.title}: measured after {seconds:.0f} s", flush=True)
            stored.write_text(json.dumps(results, indent=1) + "\n")
    text = page.markdown(page.load(results))
    (args.output / "benchmarks.md").write_text(text)
    figure = page.plot(page.load(results))
    figure.savefig(args.output / "benchmarks.png", dpi=110, metadata={"Software": None})
    print(text)


if __name__ == "__main__":
    main()
