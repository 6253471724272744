"""Measures bpexp beside other ways and writes docs/benchmarks.md, .png and .json.

The peers: pip install -c constraints.txt -e '.[bench]'. One that is not installed is
reported as missing. Parts that are not asked for keep the figures of their last run.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import page, sweeps, training
from benchmarks.rounds import Table

QUICK_SHARE = 0.1
"""Of the epochs of a timing."""


def measure(part: str, rounds: int, quick: bool) -> Sequence[Table]:
    """The tables of one part."""
    share = QUICK_SHARE if quick else 1.0
    sizes = [100, 1_000] if quick else [100, 1_000, 10_000, 100_000]
    parts: dict[str, Callable[[], Sequence[Table]]] = {
        "sweep": lambda: [sweeps.against_stock(rounds, *((200, 10) if quick else (1000, 30)))],
        "training": lambda: list(training.against_peers(rounds, share)),
        "limit": lambda: list(training.against_the_limit(rounds, share)),
        "growth": lambda: [sweeps.growth(rounds, sizes)],
        "terminal": lambda: [sweeps.at_the_terminal(rounds, 100 if quick else 1000)],
    }
    return parts[part]()


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(page.PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run?")
    parser.add_argument("--rounds", type=int, help="how often each takes its turn (5)")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder (docs)")
    asked = parser.parse_args()
    unknown = [part for part in asked.parts if part not in page.PARTS]
    if unknown:
        parser.error(f"PART must be one of {', '.join(page.PARTS)}, got {unknown[0]}")
    rounds = asked.rounds or (1 if asked.quick else 5)
    if rounds < 1:
        parser.error(f"--rounds must be at least 1, got {rounds}")
    kept = asked.output / "benchmarks.json"
    measured: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    asked.output.mkdir(parents=True, exist_ok=True)
    for part in asked.parts or page.PARTS:
        start = time.perf_counter()
        tables = measure(part, rounds, asked.quick)
        told = f"{time.strftime('%Y-%m-%d')}, {rounds} rounds, {page.machine()}."
        measured[part] = {"told": told, "tables": [asdict(table) for table in tables]}
        print(f"{part}: measured in {time.perf_counter() - start:.0f} s", flush=True)
        kept.write_text(json.dumps(measured, indent=1) + "\n")
    parts = {p: [Table.of(t) for t in m["tables"]] for p, m in measured.items()}
    text = page.markdown(parts, {p: m["told"] for p, m in measured.items()})
    (asked.output / "benchmarks.md").write_text(text)
    page.plot(parts).savefig(asked.output / "benchmarks.png", dpi=110, metadata={"Software": None})
    print(text)


if __name__ == "__main__":
    main()
