"""Run a training implementation in its own process and time it.

``python -m benchmarks.peer_process PEER PROBLEM RUNS EPOCHS`` trains once for each line on
standard input and prints the timing as a line of JSON. Separate processes keep the threads,
settings and memory of the implementations apart.
"""

import hashlib
import importlib
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.peers import Peer
from benchmarks.rounds import MissingError


class PeerProcess:
    """A process that trains on request.

    Attributes:
        first: The first timing, after one training that includes compilation.
    """

    def __init__(self, peer: str, problem: str, runs: int, epochs: int) -> None:
        """Start the process and take the first timing.

        Args:
            peer: Module in ``benchmarks.peers``.
            problem: Key of ``PROBLEMS`` or ``MINIBATCH_PROBLEMS``.
            runs: Number of runs.
            epochs: Number of epochs.
        """
        self._peer, self._epochs_and_runs = peer, runs * epochs
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer_process", peer, problem, str(runs),
             str(epochs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.first: dict[str, Any] = self.train()

    def train(self) -> dict[str, Any]:
        """Train once.

        Returns:
            What ``time_training`` returned, or ``{"missing": reason}``.

        Raises:
            RuntimeError: The process died, which is a fault of the benchmark or of the peer. A
                table that lists the peer as missing would hide it.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print("train", file=self._process.stdin, flush=True)
            return dict(json.loads(self._process.stdout.readline()))
        except (BrokenPipeError, json.JSONDecodeError) as error:
            self.close()
            raise RuntimeError(f"The process of {self._peer} died.") from error

    def cost(self) -> float:
        """Train once and return nanoseconds per epoch and run.

        Raises:
            MissingError: The implementation cannot run on this machine.
        """
        timing = self.first if "missing" in self.first else self.train()
        if "missing" in timing:
            raise MissingError(timing["missing"])
        return float(timing["seconds"]) / self._epochs_and_runs * 1e9

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def time_training(peer: Peer) -> dict[str, Any]:
    """Time one training.

    Returns:
        ``seconds``; and unless the peer trains another model, ``loss``, the mean final loss, and
        ``sha256``, a digest of all results.
    """
    start = time.perf_counter()
    peer.train()
    seconds = time.perf_counter() - start
    results = peer.results()
    if not results:
        return {"seconds": seconds}
    sha = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in results))
    return {"seconds": seconds, "loss": float(results[0].mean()), "sha256": sha.hexdigest()}


def main(name: str, problem: str, runs: str, epochs: str) -> None:
    """Train once for each line on standard input."""
    from benchmarks.problems import configs

    # Keep the output of libraries apart from the timings.
    out, sys.stdout = sys.stdout, sys.stderr
    peer: Peer | None = None
    missing = ""
    for _ in sys.stdin:
        if peer is None and not missing:
            try:
                module = importlib.import_module(f"benchmarks.peers.{name}")
                peer = module.prepare(configs(problem, int(runs), int(epochs)))
                time_training(peer)
            except (ImportError, NotImplementedError) as error:
                missing = str(error)
        timing = time_training(peer) if peer and not missing else {"missing": missing}
        print(json.dumps(timing), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
