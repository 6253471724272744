"""Compares results on an emulated aarch64 processor with those of this machine, bit by bit.

Both engines train some hundred small runs. Run by hand in a checkout, as root on Debian, with the
packages debootstrap and qemu-user-static:

    python tests/emulated_aarch64.py FOLDER

FOLDER receives Debian for arm64 and the Python packages for it, unless it has them: 1.3 GB. The
digests of the emulated processor are kept in FOLDER/digests.jsonl, and a further call continues
there: delete the file after a change of the engines.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
PYTHON = ("3.11", "bookworm")
"""The version of Python, and the release of Debian that has it."""
PACKAGES = (
    "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "llvmlite", "hydra-core", "omegaconf",
    "PyYAML", "joblib", "cloudpickle", "platformdirs", "psutil", "rich", "markdown-it-py", "mdurl",
    "pygments", "threadpoolctl", "packaging", "narwhals", "python-dateutil", "six", "pytest",
    "pluggy", "iniconfig",
)  # fmt: skip
"""What training imports; wheels for aarch64 are installed without what else they require."""
SOURCE_PACKAGES = ("antlr4-python3-runtime",)
"""What has no wheel, and no compiled code."""
SEEDS = (0, 1, 2)
ENGINES = ("numpy", "compiled")
WIDE: dict[str, dict[str, Any]] = {
    f"wide {hidden}, batches of {size}": {
        "data": "digits", "model": "classifier", "model__activation": activation, "epochs": 1,
        "hidden": hidden, "batch_size": size, "optimizer": "adam", "lr": 0.001,
    }
    for hidden, size, activation in (([130], 64, "tanh"), ([72, 33], 200, "relu"))
}  # fmt: skip
"""Large matrix products are computed in blocks."""


def digests(known: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Train all runs but those that are known; yields the name and the digest of each.

    The modules are imported here, when the emulated process knows where its packages are.
    """
    from test_pinned_results import CONFIGURATIONS

    import bpexp
    from bpexp.runs import identity

    for name, settings in {**CONFIGURATIONS, **WIDE}.items():
        for seed in SEEDS:
            for engine in ENGINES:
                run_name = f"{name}, seed {seed}, {engine}"
                if run_name not in known:
                    result = bpexp.train(**{**settings, "seed": seed, "engine": engine})
                    yield run_name, identity.of_result(result)


def install(folder: Path) -> None:
    """Install Debian and the packages for aarch64, unless they are there."""
    root, packages = folder / "root", folder / "packages"
    version, release = PYTHON
    if not (root / f"usr/bin/python{version}").exists():
        run("debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", "--include=python3",
            release, root)  # fmt: skip
        # The second stage would run programs of arm64; unpacking is enough.
        for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
            unpack = (
                f"dpkg-deb --fsys-tarfile {package} | tar -x --keep-directory-symlink -C {root}"
            )
            run("sh", "-c", unpack)
    if not packages.exists():
        pip = (sys.executable, "-m", "pip", "install", "-q", "--target", packages, "--no-deps",
               "-c", HERE.parents[1] / "constraints.txt")  # fmt: skip
        platforms = ["manylinux2014_aarch64"]
        platforms += [f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
        options = [option for name in platforms for option in ("--platform", name)]
        run(*pip, "--only-binary=:all:", "--python-version", version, *options, *PACKAGES)
        run(*pip, *SOURCE_PACKAGES)


def run(*command: object) -> None:
    """Run a command; its failure ends the program."""
    subprocess.run([str(part) for part in command], check=True)


def kept(folder: Path) -> dict[str, str]:
    """The digests of the emulated processor that earlier calls have kept."""
    file = folder / "digests.jsonl"
    if not file.exists():
        return {}
    return dict(json.loads(line) for line in file.read_text().splitlines())


def emulated(folder: Path) -> Iterator[tuple[str, str]]:
    """``digests`` on the emulated processor: those that are kept, then the others."""
    yield from kept(folder).items()
    command = ["qemu-aarch64-static", "-L", str(folder / "root"),
               str(folder / f"root/usr/bin/python{PYTHON[0]}"), "-S", str(HERE), str(folder),
               "--emulated"]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "BPEXP_CACHE_DIR": str(folder / "cache")}
    with (
        open(folder / "digests.jsonl", "a") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=file, flush=True)
            name, digest = json.loads(line)
            yield name, digest
    if process.returncode:
        sys.exit(f"the emulated process ended with status {process.returncode}")


def main(arguments: Sequence[str]) -> None:
    """Compare, and print what differs and how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--emulated", action="store_true", help="train and print digests")
    options = parser.parse_args(arguments)
    if options.emulated:
        sys.path[:0] = [str(options.folder / "packages"), str(HERE.parents[1]), str(HERE.parent)]
        assert platform.machine() == "aarch64"
        for pair in digests(kept(options.folder)):
            print(json.dumps(pair), flush=True)
        return
    folder = options.folder.absolute()
    install(folder)
    n_kept = len(kept(folder))
    started = time.monotonic()
    expected = dict(digests())
    here = time.monotonic() - started
    found: dict[str, str] = {}
    for name, digest in emulated(folder):
        found[name] = digest
        if digest != expected[name]:
            print(f"differs: {name}", flush=True)
        if len(found) % 30 == 0:
            print(f"{len(found)} of {len(expected)} runs compared", flush=True)
    n_different = sum(found.get(name) != digest for name, digest in expected.items())
    seconds = time.monotonic() - started - here
    print(
        f"{len(expected) - n_different} of {len(expected)} runs have the same bits on aarch64 "
        f"({here:.0f} s on {platform.machine()}; {len(found) - n_kept} emulated in {seconds:.0f} s)"
    )
    sys.exit(bool(n_different))


if __name__ == "__main__":
    main(sys.argv[1:])
