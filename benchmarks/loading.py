"""Time loading large tables, by bpexp and by the library that only reads the file.

``python -m benchmarks.loading READER FILE`` loads a table in a new process. bpexp also checks every
cell, standardizes the inputs, and computes the digest of the data set.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.rounds import Table, alternate
from bpexp.typing import Array

COLUMNS = 784
TARGET = "y"


def compare_readers(rounds: int, n_rows: int) -> Iterator[Table]:
    """Compare bpexp with other readers.

    Args:
        rounds: Number of rounds.
        n_rows: Number of rows of the files.

    Yields:
        A table for each kind of file.
    """
    with tempfile.TemporaryDirectory() as folder:
        for title, (name, write, peer) in FILES.items():
            file = Path(folder, name)
            write(file, n_rows)
            used: dict[str, list[float]] = {"bpexp": [], peer: []}
            candidates = {
                reader: partial(_seconds_to_load, reader, file, memory)
                for reader, memory in used.items()
            }
            rows = alternate(candidates, rounds)
            size = n_rows * COLUMNS * 8
            yield Table(
                title=f"{title}, {n_rows:,} rows and {COLUMNS} columns",
                unit="s",
                note="Time without imports. Greatest memory in use: "
                + ", ".join(f"{max(memory) / size:.2f} ({name})" for name, memory in used.items())
                + " times that of the table as float64.",
                rows=rows,
            )
            file.unlink()


def _seconds_to_load(reader: str, file: Path, memory: list[float]) -> float:
    """Load a file in a new process; adds the bytes of memory to a list."""
    command = [sys.executable, "-m", "benchmarks.loading", reader, str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    seconds, n_bytes = json.loads(done.stdout)
    memory.append(n_bytes)
    return float(seconds)


def _write_csv(decimals: int, file: Path, n_rows: int) -> None:
    import pyarrow as pa
    import pyarrow.csv

    X = _uniform(n_rows)
    values = X.round(decimals) if decimals else (256 * X).astype(np.int64)
    columns = {f"x{place}": values[:, place] for place in range(COLUMNS)}
    pyarrow.csv.write_csv(pa.table({**columns, TARGET: np.arange(n_rows) % 10}), file)


def _write_npz(file: Path, n_rows: int) -> None:
    np.savez(file, x=_uniform(n_rows), **{TARGET: np.arange(n_rows) % 10})


def _write_parquet(file: Path, n_rows: int) -> None:
    import pandas as pd

    frame = pd.DataFrame(_uniform(n_rows)).add_prefix("x")
    frame[TARGET] = np.arange(n_rows) % 10
    frame.to_parquet(file)


def _uniform(n_rows: int) -> Array:
    return np.random.default_rng(0).random((n_rows, COLUMNS))


FILES: dict[str, tuple[str, Callable[[Path, int], None], str]] = {
    "CSV of integers": ("integers.csv", partial(_write_csv, 0), "pyarrow.csv.read_csv"),
    "CSV of decimals": ("decimals.csv", partial(_write_csv, 4), "pyarrow.csv.read_csv"),
    "NPZ": ("table.npz", _write_npz, "numpy.load"),
    "Parquet": ("table.parquet", _write_parquet, "pandas.read_parquet"),
}
"""Name, writer and other reader of the files, by title."""


def loader(reader: str, file: str) -> Callable[[], object]:
    """A function that loads a file, after the imports that it needs."""
    match reader:
        case "bpexp":
            from bpexp.data import load, tabular
            from bpexp.data.file_settings import FileConfig

            assert tabular
            return partial(load, FileConfig(name="file", path=file, target=(TARGET,)))
        case "pyarrow.csv.read_csv":
            import pyarrow.csv

            return partial(pyarrow.csv.read_csv, file)
        case "numpy.load":

            def load_arrays() -> list[Array]:
                with np.load(file) as arrays:
                    return [arrays[name] for name in arrays.files]

            return load_arrays
        case _:
            import pandas as pd

            return partial(pd.read_parquet, file)


def _resident_bytes() -> int:
    """The greatest memory so far. ``getrusage`` would count that of the parent before ``exec``."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def main(reader: str, file: str) -> None:
    """Load a file; print the seconds, and the bytes of memory that it took."""
    load_file = loader(reader, file)
    before, start = _resident_bytes(), time.perf_counter()
    table = load_file()
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, _resident_bytes() - before]))
    del table


if __name__ == "__main__":
    main(*sys.argv[1:])
