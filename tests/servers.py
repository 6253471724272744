"""Real servers for tests: MLflow's own over HTTP, and PostgreSQL on a socket."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

DEBIAN = "/usr/lib/postgresql/*/bin"


@contextlib.contextmanager
def mlflow_server(folder):
    """The address of a real MLflow server on a free loopback port; ended with its workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/m.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


class Postgresql:
    """A PostgreSQL server on a socket in ``folder``; never run as root."""

    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder
        self.uri = f"postgresql://bpexp@/postgres?host={folder}"
        self._as_user = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._run("initdb", "--auth=trust", "--username=bpexp", "--no-sync", "--encoding=UTF8")

    def _run(self, binary, *arguments):
        command = [*self._as_user, self.binaries / binary, "-D", self.folder / "data", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=90
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self):
        """Start it, and return when it takes connections."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-w", "-s", "-l", self.folder / "log", "-o", options, "start")

    def stop(self):
        """Break all connections and end it."""
        self._run("pg_ctl", "-w", "-s", "-m", "fast", "stop")


@contextlib.contextmanager
def postgresql():
    """A running ``Postgresql``; skips, and says so, where it is not installed."""
    found = sorted(glob.glob(f"{DEBIAN}/initdb"))
    if not found:
        pytest.skip(f"did NOT run on PostgreSQL: no {DEBIAN}/initdb (apt-get install postgresql)")
    # Not in pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="bpexp-") as folder:
        server = Postgresql(Path(found[-1]).parent, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
