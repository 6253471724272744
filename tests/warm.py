"""Starts the program in a fork of a process that has imported everything already.

A new Python process takes a second to import what a command needs, and two more for MLflow. A
``WarmServer`` imports this once. For each program it forks, and the child runs ``bpexp.cli.main``
with descriptors, arguments, environment, working directory, session and exit of its own. Tests of
imports, and of what Python does at its start, need a new process.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading

from unsynced import leave_writes_to_the_system

SKIPPED = ("__main__", "_cluster", "_worker", "onnx_file", "optuna_study")
"""Ends of names of modules that are not imported: they import large packages that few programs
need, and onnxruntime starts threads, for which the forks would wait at their end."""
SECONDS = 170
"""How long a program may take; a test fails after it."""


class WarmProgram:
    """A running program, with the attributes and methods of ``subprocess.Popen`` that tests use.

    Args:
        connection: Receives the process id, and at the end the exit status.
        stdout: Read end of its standard output; None if the caller gave it a descriptor.
        stderr: Read end of its standard error; None likewise.
    """

    def __init__(self, connection, stdout, stderr):
        self._connection, self.returncode = connection, None
        self.stdout, self.stderr = (
            end and os.fdopen(end, encoding="utf-8") for end in (stdout, stderr)
        )
        try:
            self.pid = int(self._receive(SECONDS))
        except BaseException:
            self._close()
            raise

    def _close(self):
        """Close the connection and the pipes: an open one would be reported in another test."""
        for end in (self._connection, self.stdout, self.stderr):
            if end is not None:
                end.close()

    def _receive(self, seconds):
        """The next number that the server sends; TimeoutExpired if there is none in time."""
        if not select.select([self._connection], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired("bpexp", seconds)
        return self._connection.recv(64)

    def poll(self):
        """The exit status; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout=SECONDS):
        """Wait for its end; return its exit status, negative for a signal."""
        if self.returncode is None:
            self.returncode = int(self._receive(timeout))
            self._connection.close()
        return self.returncode

    def kill(self):
        """End it and the processes of its session by SIGKILL, unless it has ended."""
        try:
            if self.poll() is None:
                self._kill()
        finally:
            self._close()

    def _kill(self):
        # At its very beginning it has no process group of its own yet.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        self.wait()

    def communicate(self, timeout=SECONDS):
        """Read everything it writes and wait for its end; return standard output and error.

        It is killed if it does not end in time.
        """
        found, ends = {}, [end for end in (self.stdout, self.stderr) if end is not None]
        readers = [
            threading.Thread(target=lambda end=end: found.update({end: end.read()}), daemon=True)
            for end in ends
        ]
        for reader in readers:
            reader.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            # Ends the readers, too: a pipe that a thread reads cannot be closed.
            self._kill()
            raise
        finally:
            for reader in readers:
                reader.join(SECONDS)
            self._close()
        return found.get(self.stdout), found.get(self.stderr)


class WarmServer:
    """A process that forks programs until it is closed."""

    def __init__(self):
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def start(self, folder, *arguments, environment, stdout=None, stderr=None):
        """Start the program in a session of its own; return a ``WarmProgram``.

        ``stdout`` and ``stderr`` are descriptors to write to; without them, there are pipes.
        """
        request = {"folder": str(folder), "arguments": [*map(str, arguments)],
                   "environment": environment}  # fmt: skip
        content = json.dumps(request).encode()
        out, err = (os.pipe() if given is None else (None, given) for given in (stdout, stderr))
        # Keeps the process id and the exit status apart.
        connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptors = [theirs.fileno(), out[1], err[1]]
            socket.send_fds(self._control, [len(content).to_bytes(8)], descriptors)
            self._control.sendall(content)
        for read_end, write_end in (out, err):
            if read_end is not None:
                os.close(write_end)
        return WarmProgram(connection, out[0], err[0])

    def close(self):
        """End the server."""
        self._control.close()
        self._process.wait(30)


def receive(control):
    """The next request and its descriptors; None if the tests have ended."""
    size, descriptors, _, _ = socket.recv_fds(control, 8, 3)
    if not size:
        return None
    left, content = int.from_bytes(size), b""
    while len(content) < left:
        content += control.recv(left - len(content))
    return json.loads(content), descriptors


def serve(control):
    """Fork for each request. Returns the request in each program, and exits in the server."""
    while (received := receive(control)) is not None:
        request, (connection, stdout, stderr) = received
        if os.fork() == 0:
            # This process waits for the program, its child.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            pid = os.fork()
            if pid == 0:
                os.setsid()
                os.close(connection)
                for target, source in ((1, stdout), (2, stderr)):
                    os.dup2(source, target)
                    os.close(source)
                return request
            for descriptor in (1, 2, stdout, stderr):
                os.close(descriptor)
            os.write(connection, str(pid).encode())
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(OSError):
                os.write(connection, str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        for descriptor in (connection, stdout, stderr):
            os.close(descriptor)
    os._exit(0)


def import_everything():
    """Import the package, and what its functions import when they are called."""
    from bpexp.tracking.store import configure_mlflow

    configure_mlflow()
    package = importlib.import_module("bpexp")
    for module in pkgutil.walk_packages(package.__path__, "bpexp."):
        if not module.name.endswith(SKIPPED):
            importlib.import_module(module.name)
    for name in ("matplotlib.backends.backend_agg", "mlflow.store.tracking.sqlalchemy_store",
                 "alembic.script", "hydra_plugins.bpexp"):  # fmt: skip
        importlib.import_module(name)


def run(request):
    """Run the program as ``python -m bpexp`` does."""
    from bpexp.cli.main import main

    # Shells let background processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["bpexp", *request["arguments"]]
    # Those of the server are for its own descriptors, which may be files or terminals.
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    main()


if __name__ == "__main__":
    import_everything()
    leave_writes_to_the_system()
    # Children would copy all memory if they collected it.
    gc.freeze()
    # Children that end are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as socket_of_tests:
        asked = serve(socket_of_tests)
    run(asked)
