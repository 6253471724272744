"""Compare the time that ``--dry-run`` expects with the time that six sweeps take.

    python -m benchmarks.forecast [--rounds 3]

In each round, the expected range of each sweep is read first, then the sweep is run with a single
epoch, and as it is. The difference of the processor time of the two, divided by the number of
workers, is the time for the training, without the start of the program and the tracking of the
runs. Before anything is measured, the sweep with a single epoch is run once: its batches may be
larger, so that it may need other code, whose compilation would count as negative training.

The ratio is that of this time and of what the epochs give that the dry run has timed, from which
the range follows.
"""

import argparse
import re
import statistics
import tempfile
from pathlib import Path

from benchmarks.sweeps import run_command
from bpexp.sweeps import forecast

SWEEPS = {
    "XOR, full batches": ["lr=0.1,1", "seed=range(0,400)", "epochs=40000"],
    "iris, mini-batches": [
        "data=iris", "model=classifier", "lr=0.01,0.1", "seed=range(0,20)", "hidden=16",
        "batch_size=16", "epochs=4000",
    ],
    "breast cancer, Adam and validation rows": [
        "data=breast_cancer", "model=classifier", "optimizer=adam", "lr=0.001,0.01", "hidden=32",
        "seed=range(0,10)", "batch_size=32", "epochs=200", "data.validation_fraction=0.2",
    ],
    "digits, two hidden layers": [
        "data=digits", "model=classifier", "lr=0.01", "seed=range(0,4)", "hidden=[64,32]",
        "epochs=300",
    ],
    "digits, search": [
        "data=digits", "lr=tag(log,interval(0.0001,0.01))", "hidden=int(interval(2,16))",
        "seed=range(0,8)", "epochs=150", "search=tpe", "search.trials=30", "search.generation=10",
    ],
    "digits, full batches": [
        "data=digits", "model=classifier", "lr=0.01,0.1", "seed=range(0,8)", "hidden=32",
        "epochs=600",
    ],
}  # fmt: skip
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def run(arguments: list[str], folder: Path) -> tuple[float, str]:
    """Run a sweep; returns the processor seconds of each worker, and what it printed."""
    usage = run_command(["bpexp", "-m", *arguments], folder)
    output = (folder / "output.txt").read_text()
    workers = re.search(r" on (\d+) worker", output)
    assert workers is not None, output
    return usage.processor_seconds / int(workers[1]), output


def expected(arguments: list[str], folder: Path) -> tuple[float, float]:
    """The range of seconds that a dry run prints."""
    _, output = run([*arguments, "--dry-run"], folder)
    found = re.search(r"about (\S+)(?: (\w+))? to (\S+) (\w+)", output)
    assert found is not None, output
    low, unit, high, last = found.groups()
    return float(low) * UNITS[unit or last], float(high) * UNITS[last]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forecast",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of those of the sweeps")
    args = parser.parse_args()
    print("| sweep | expected | training took | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name, sweep in SWEEPS.items():
        rows = []
        longer = [*sweep, f"epochs={args.epochs}"] if args.epochs else sweep
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                # Creates the store, and compiles what the sweep with a single epoch needs.
                run([*longer, "epochs=1"], Path(folder))
                low, high = expected(longer, Path(folder))
                short, _ = run([*longer, "epochs=1"], Path(folder))
                seconds = run(longer, Path(folder))[0] - short
            rows.append((low, high, seconds, seconds * forecast.FASTEST / low))
        low, high, seconds, ratio = map(statistics.median, zip(*rows, strict=True))
        print(f"| {name} | {low:.2g} to {high:.2g} s | {seconds:.2g} s | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
