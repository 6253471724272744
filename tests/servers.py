"""Servers for tests: MLflow over HTTP, PostgreSQL on a Unix socket, a Dask cluster."""

import contextlib
import glob
import http.client
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import distributed
import pytest
from sweeping import next_line

DEBIAN = "/usr/lib/postgresql/*/bin"


def free_port():
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class MlflowServer:
    """An MLflow server on a free port of 127.0.0.1, with its store in ``folder``.

    It answers below ``path``. ``options`` are added to its command line, ``settings`` to its
    environment.
    """

    def __init__(self, folder, *options, path="", **settings):
        self.port = free_port()
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}{path}"
        self.options, self.settings = options, settings
        if path:
            self.options += ("--static-prefix", path)

    def start(self):
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/m.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), *self.options]
        log_file = self.folder / "log"
        # MLflow's eight job runners are only for language models and slow to start.
        settings = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **self.settings,
        }
        with open(log_file, "a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=os.environ | settings
            )
        await_answer(f"{self.url}/health", self.process, log_file.read_text)

    def stop(self):
        """Stop the server and its workers."""
        self.process.terminate()
        self.process.wait(30)


@contextlib.contextmanager
def mlflow_server(folder):
    """The URL of a running ``MlflowServer``."""
    with running(MlflowServer(folder)) as server:
        yield server.url


@contextlib.contextmanager
def running(server):
    """An ``MlflowServer`` while it runs."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Proxy:
    """An HTTP proxy that can fail; with ``tls``, a context of a server, it is one for HTTPS.

    The next ``failing`` requests are answered with ``status``. Of the next ``losing`` requests,
    the response of the server is replaced by an error. ``failed`` counts both.
    """

    def __init__(self, port, tls=None):
        self.failing, self.losing, self.status, self.failed = 0, 0, 500, 0
        proxy, counting = self, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with counting:
                    fails, loses = proxy.failing > 0, proxy.losing > 0
                    proxy.failing -= fails
                    proxy.losing -= loses
                    proxy.failed += fails or loses
                if fails:
                    return self.respond(proxy.status, "text/plain", b"injected failure")
                to_server = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
                with contextlib.closing(to_server):
                    to_server.request(self.command, self.path, body, dict(self.headers))
                    response = to_server.getresponse()
                    kind = response.headers.get("Content-Type", "text/plain")
                    if loses:
                        return self.respond(502, "text/plain", response.read())
                    return self.respond(response.status, kind, response.read())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def respond(self, status, kind, content):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                """Log nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if tls is not None:
            self.url = self.url.replace("http:", "https:")
            # The thread of a request shakes hands, and clients that refuse are no errors.
            self.server.socket = tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Stop the proxy."""
        self.server.shutdown()
        self.server.server_close()


class Postgresql:
    """A PostgreSQL server on a Unix socket in ``folder``, run by another user than root."""

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
        """Start the server and wait until it accepts connections."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-w", "-s", "-l", self.folder / "log", "-o", options, "start")

    def stop(self):
        """Stop the server and break all connections."""
        self._run("pg_ctl", "-w", "-s", "-m", "fast", "stop")


@contextlib.contextmanager
def postgresql():
    """A running ``Postgresql``; skips the test if PostgreSQL is not installed."""
    found = sorted(glob.glob(f"{DEBIAN}/initdb"))
    if not found:
        pytest.skip(f"did NOT run on PostgreSQL: no {DEBIAN}/initdb (apt-get install postgresql)")
    # Not in pytest's temporary folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="bpexp-", dir="/tmp") as folder:
        server = Postgresql(Path(found[-1]).parent, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class DaskCluster:
    """A Dask scheduler and two workers with one thread each, on 127.0.0.1.

    Nannies restart the workers. All processes run in ``folder``; workers first run the Python
    file ``preload``, if given.
    """

    def __init__(self, folder, preload=None):
        self.folder, self.processes = folder, []
        scheduler_file = folder / "scheduler.json"
        common = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        common += ["--scheduler-file", scheduler_file]
        self._start("scheduler", *common, "--port", "0")
        one = ["--nthreads", "1", "--local-directory", folder]
        for _ in range(2):
            self._start("worker", *common, *one, *(["--preload", preload] if preload else []))
        # The client waits for the scheduler file.
        self.client = distributed.Client(
            scheduler_file=str(scheduler_file), timeout=90, set_as_default=False
        )
        self.client.wait_for_workers(2, timeout=90)
        self.address = self.client.scheduler_info()["address"]

    def _start(self, role, *arguments):
        with open(self.folder / "log", "a") as log:
            command = [sys.executable, "-m", "dask", role, *map(str, arguments)]
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)

    def executing(self):
        """How many tasks each worker executes, those that were cancelled included."""
        return list(self.client.run(lambda dask_worker: dask_worker.state.executing_count).values())

    def kill_scheduler(self):
        """Kill the scheduler without a chance to notify workers and clients."""
        self.client.close()
        self.processes[0].kill()
        self.processes[0].wait(30)

    def stop(self):
        """End all processes, including nannies and workers.

        Killed nannies would leave their semaphores in /dev/shm.
        """
        self.client.close()
        for process in reversed(self.processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@contextlib.contextmanager
def dask_cluster(folder, preload=None):
    """A running ``DaskCluster``."""
    cluster = DaskCluster(folder, preload)
    try:
        yield cluster
    finally:
        cluster.stop()


@contextlib.contextmanager
def served(folder):
    """The URL that ``bpexp ui`` prints, once the server answers; it is stopped afterwards."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "bpexp", "ui", "--port", str(port)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert next_line(process, process.stdout) == "Starting MLflow's web interface ...\n"
            opened = next_line(process, process.stdout)
            ready = re.fullmatch(r"Open (\S+) \(Ctrl-C ends it\)\n", opened)
            assert ready, process.stderr.read()
            address = ready[1]
            assert address.partition("/#/")[0] == f"http://127.0.0.1:{port}"
            # The line is printed when the server answers.
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            # Returns when all processes closed the pipes; a remaining server causes a timeout.
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, errors


def await_answer(url, process, log):
    """Wait until the server answers; ``log`` returns its output for the error message."""
    deadline = time.monotonic() + 300
    while True:
        # With a pause after each request: polling slows the start of the server.
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(url, timeout=5).close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            raise AssertionError(log())
        assert time.monotonic() < deadline, "the server does not answer"
