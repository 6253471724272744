"""Compares what ``data=file`` reads with two versions of pandas; run by hand, not by pytest.

    python tests/pandas_digests.py "pandas<3" "pandas>=3"

For each argument bpexp is installed with that requirement into a virtual environment in a temporary
folder, which takes minutes. In each, it reads a CSV file of 100,000 random decimals, and the
digests of the bits are compared with those that Python's own ``float`` gives.
"""

import hashlib
import random
import struct
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
READ = """
import hashlib, pandas
from bpexp.data import load
from bpexp.data.tabular import FileConfig
config = FileConfig(name="file", path="values.csv", target="y", standardize=False)
print(pandas.__version__, hashlib.sha256(load(config).X.tobytes()).hexdigest())
"""
N_ROWS, N_COLUMNS = 20_000, 5


def decimals(seed: int) -> list[list[str]]:
    """Decimals of 1 to 20 digits and of all magnitudes, where readers go wrong most."""
    rng = random.Random(seed)

    def one() -> str:
        digits = "".join(rng.choices("0123456789", k=rng.randint(1, 20)))
        sign = rng.choice(["", "-"])
        exponent = rng.choice(["", f"e{rng.randint(-280, 280)}"])
        return f"{sign}{rng.randint(1, 9)}.{digits}{exponent}"

    return [[one() for _ in range(N_COLUMNS)] for _ in range(N_ROWS)]


def main(requirements: list[str]) -> int:
    """Print the version and the digest of each environment; return 1 if they differ."""
    rows = decimals(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = ",".join([*(f"x{column}" for column in range(N_COLUMNS)), "y"])
        lines = [",".join([*row, str(number % 2)]) for number, row in enumerate(rows)]
        (folder / "values.csv").write_text("\n".join([header, *lines]) + "\n")
        nearest = expected(rows)
        print(f"nearest doubles: {nearest}")
        found = {digest_in(folder, number, text) for number, text in enumerate(requirements)}
    return 0 if found == {nearest} else 1


def expected(rows: list[list[str]]) -> str:
    """The digest of the doubles that are nearest to the decimals, which Python's float gives."""
    values = [float(text) for row in rows for text in row]
    return hashlib.sha256(struct.pack(f"<{len(values)}d", *values)).hexdigest()


def digest_in(folder: Path, number: int, requirement: str) -> str:
    """The digest in a new environment with a requirement."""
    venv.create(folder / str(number), with_pip=True)
    python = folder / str(number) / "bin/python"
    install = [python, "-m", "pip", "install", "-q", requirement, "--editable", REPOSITORY]
    subprocess.run(install, check=True)
    return read_by(python, folder)


def read_by(python: Path, folder: Path) -> str:
    """The digest of what an environment reads."""
    done = subprocess.run(
        [python, "-c", READ], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    version, digest = done.stdout.split()
    print(f"pandas {version}: {digest}")
    return digest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["pandas<3", "pandas>=3"]))
