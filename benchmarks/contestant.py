"""A process that trains when told to: ``python -m benchmarks.contestant PEER PROBLEM RUNS EPOCHS``.

Each has a process of its own, as their threads, settings and memory are nobody else's. A
line on standard input asks for one timing; the answer is a line of JSON on standard output.
"""

import hashlib
import importlib
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np


class Contestant:
    """The other end: the process, started and warmed up by a first call."""

    def __init__(self, peer: str, problem: str, runs: int, epochs: int) -> None:
        command = [sys.executable, "-m", "benchmarks.contestant", peer, problem, str(runs)]
        self.scale = runs * epochs
        self._process = subprocess.Popen(
            [*command, str(epochs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first: dict[str, Any] = self.ask()

    def ask(self) -> dict[str, Any]:
        """One timing: {"seconds", "loss", "sha256"}, or {"missing"}: why there is none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print("train", file=self._process.stdin, flush=True)
            return dict(json.loads(self._process.stdout.readline()))
        except (BrokenPipeError, json.JSONDecodeError):
            return {"missing": "its process died"}

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def timing(train: Any) -> dict[str, Any]:
    """Seconds of one call; the mean of the runs' final losses; and the digest of what else
    the call returned, or of the losses.
    """
    start = time.perf_counter()
    answer = train()
    seconds = time.perf_counter() - start
    if callable(answer):
        answer = answer()
    if answer is None:
        return {"seconds": seconds}
    arrays = answer if isinstance(answer, tuple) else (answer,)
    sha = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    return {"seconds": seconds, "loss": float(arrays[0].mean()), "sha256": sha.hexdigest()}


def main(peer: str, problem: str, runs: str, epochs: str) -> None:
    """Answer until the input ends."""
    from benchmarks.problems import configs

    # What libraries print is not an answer.
    out, sys.stdout = sys.stdout, sys.stderr
    train: Any = None
    missing = ""
    for _ in sys.stdin:
        if train is None and not missing:
            try:
                module = importlib.import_module(f"benchmarks.peers.{peer}")
                train = module.prepare(configs(problem, int(runs), int(epochs)))
                timing(train)
            except (ImportError, NotImplementedError) as error:
                missing = str(error)
        print(json.dumps({"missing": missing} if missing else timing(train)), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
