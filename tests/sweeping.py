"""Helpers for tests that start a sweep, interrupt it, and check its store."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from psutil import Process

from bpexp.sweeps.executors.serial import SerialExecutor
from bpexp.tracking.archive import open_archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate
from bpexp.tracking.stored_results import result_of

TRACKERS = {
    "bulk": "",
    "client": "from bpexp.tracking import database\n"
    "database.unsupported_reason = lambda engine: 'requested by the test'",
}
HALTS = {
    # When the plan is stored, before the first run is trained.
    "planned": "from bpexp.tracking.bulk import BulkTracker; halt(BulkTracker, 'add_files')\n"
    "from bpexp.tracking.client import ClientTracker; halt(ClientTracker, 'add_files')",
    # When the first runs are in the store.
    "tracked": "from bpexp.tracking.bulk import BulkStagedRuns; halt(BulkStagedRuns, 'commit')\n"
    "from bpexp.tracking.client import ClientStagedRuns; halt(ClientStagedRuns, 'commit')",
}
HALT = """
def halt(owner, name):
    import sys
    original = getattr(owner, name)

    def halting(*arguments):
        value = original(*arguments)
        if name == "commit":
            first = arguments[0].runs[0]
            if getattr(first, "record", first).status == "RUNNING":
                return value  # the parent run was created
        print("halted", flush=True)
        sys.stdin.readline()
        return value

    setattr(owner, name, halting)

from bpexp.sweeps.executors import base
# However slow the machine is, the runs of a batch are recorded together.
base.SECONDS_BETWEEN_RESULTS = float("inf")
"""
MAIN = "from bpexp.cli.main import main; main()"
SECONDS = 170
"""How long a program may take; a test fails after it."""


def wait_until(condition, process=None, seconds=SECONDS):
    """Return when ``condition()`` is true; fail if ``process`` ends first, or after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(process.communicate())
        assert time.monotonic() < deadline, f"still waiting after {seconds} s"
        time.sleep(0.05)


def enable_interrupts():
    """Undo, in a new process, that shells and nohup let background processes ignore signals."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def clean_environment():
    """Return the environment without settings of MLflow and Hydra."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}


STARTED = []
"""The programs of ``start_in_session``."""


def start_in_session(command, **options):
    """Start a program in a session; it is killed at the end of the test, if it runs that long."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    STARTED.append(process)
    return process


def start(folder, tracker, *arguments, before="", **environment):
    """Start the program in a session; ``before`` is Python code to run first."""
    code = "\n".join([before, TRACKERS[tracker], MAIN])
    return start_in_session(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder, env=clean_environment() | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=enable_interrupts,
    )  # fmt: skip


def end_programs():
    """Kill the programs that a failed test left running, and close what it did not read."""
    while STARTED:
        with STARTED.pop() as process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def time_limit(process):
    """Kill a program that is still waited for at the end of the limit, which ends its output."""
    deadline = threading.Timer(SECONDS, process.kill)
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()


def next_line(process, stream):
    """The next line that a program writes to one of its streams; "" if it ends before."""
    with time_limit(process):
        return stream.readline()


class Halted:
    """A sweep that stops at one of the points in ``HALTS`` until it may continue."""

    def __init__(self, folder, *arguments, tracker="bulk", at="tracked", before="", **environment):
        before = "\n".join([before, HALT, HALTS[at]])
        self.process = start(folder, tracker, *arguments, before=before, **environment)
        with time_limit(self.process):
            halted = any(line == "halted\n" for line in self.process.stdout)
        if not halted:
            raise AssertionError(self.process.communicate()[1])

    def continue_in_background(self):
        """Let it continue in the background."""
        self.process.stdin.close()
        self.process.stdin = None

    def continue_to_end(self):
        """Let it continue to its end; return its exit status and standard error."""
        _, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, err

    def kill(self):
        """End it by SIGKILL."""
        self.process.kill()
        self.process.communicate()


def run_to_end(folder, *arguments, tracker="bulk", **environment):
    """Run the program to its end; return its exit status and standard error."""
    process = start(folder, tracker, *arguments, **environment)
    _, err = process.communicate(timeout=SECONDS)
    return process.returncode, err


def run_resume_command(folder, message, **environment):
    """Run the command at the end of an error message."""
    sentence, _, command = message.rstrip("\n").rpartition("to go on: bpexp ")
    assert sentence, message
    return run_to_end(folder, *shlex.split(command), **environment)


def runs_of(folder, uri=None, experiment="bpexp", filter_string=""):
    """Return all runs of an experiment; an empty list if it does not exist."""
    store = locate(uri, folder, {})
    if experiment not in open_reader(store).experiments():
        return []
    return open_archive(store, experiment).search(Query(filter_string))


def results(folder, uri=None, experiment="bpexp"):
    """Return the sorted (identity, result digest) of finished runs, after checking their files."""
    archive = open_archive(locate(uri, folder, {}), experiment)
    finished = runs_of(folder, uri, experiment, "attributes.status = 'FINISHED'")
    finished = [run for run in finished if not run.is_sweep]
    for run in finished:
        assert result_of(run, archive).digest == run.tags["bpexp.result"]
        assert "final_loss" in run.metrics
    return sorted((run.tags["bpexp.identity"], run.tags["bpexp.result"]) for run in finished)


def children(pid):
    """Return the child processes of a process, whichever of its threads started them."""
    return [child.pid for child in Process(pid).children()]


def command_of(pid):
    """Return the command line of a process; an empty string if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def interrupt_generation(monkeypatch, number):
    """Press Ctrl-C in the serial executor, after the first batch of a generation or a rung.

    Args:
        monkeypatch: Undoes the change after the test.
        number: The number of the generation, counted from 1.
    """
    original, calls = SerialExecutor.map, []

    def interrupted(executor, batches):
        calls.append(1)
        finished = original(executor, batches)
        if len(calls) == number:
            yield next(finished)
            raise KeyboardInterrupt
        yield from finished

    monkeypatch.setattr(SerialExecutor, "map", interrupted)
