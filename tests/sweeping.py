"""Shared: a sweep in a process of its own, what is done to it, and what it must leave."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate
from bpexp.tracking.stored_results import result_of

TRACKERS = {
    "bulk": "",
    "client": "from bpexp.tracking import bulk\n"
    "bulk.unsupported_reason = lambda engine: 'requested by the test'",
}
HALTS = {
    # After its plan is stored, before anything is trained.
    "planned": "from bpexp.tracking.bulk import BulkTracker; halt(BulkTracker, 'add_files')\n"
    "from bpexp.tracking.client import ClientTracker; halt(ClientTracker, 'add_files')",
    # After the first pack of runs is in the store.
    "tracked": "from bpexp.sweeps.run_writer import Keeper; halt(Keeper, '_commit')",
}
HALT = """
def halt(owner, name):
    import sys
    original = getattr(owner, name)

    def halting(*arguments):
        value = original(*arguments)
        print("halted", flush=True)
        sys.stdin.readline()
        return value

    setattr(owner, name, halting)
"""
MAIN = "from bpexp.cli.main import main; main()"


def hear_interrupts():
    """In a new process: Ctrl-C is ignored by all that is started in a shell's background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(folder, tracker, *arguments, before="", **environment):
    """The program in a session of its own; ``before`` is Python that runs first."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}
    code = "\n".join([before, TRACKERS[tracker], MAIN])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=folder, env=clean | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=hear_interrupts,
    )  # fmt: skip


class Halted:
    """A sweep that has stopped at a point of ``HALTS``, and goes on when it is told to."""

    def __init__(self, folder, *arguments, tracker="bulk", at="tracked", before="", **environment):
        before = "\n".join([before, HALT, HALTS[at]])
        self.process = start(folder, tracker, *arguments, before=before, **environment)
        for line in self.process.stdout:
            if line == "halted\n":
                return
        raise AssertionError(self.process.communicate()[1])

    def let_go(self):
        """It goes on while something else is done."""
        self.process.stdin.close()
        self.process.stdin = None

    def go_on(self):
        """Its exit status and what it says on standard error."""
        _, said = self.process.communicate(timeout=170)
        return self.process.returncode, said

    def kill(self):
        """Without a chance to do anything."""
        self.process.kill()
        self.process.communicate()


def carry_out(folder, *arguments, tracker="bulk", **environment):
    """Run the program to its end; its exit status and what it says on standard error."""
    process = start(folder, tracker, *arguments, **environment)
    _, said = process.communicate(timeout=170)
    return process.returncode, said


def resume_as_told(folder, said, **environment):
    """Run the command that ends the sentence."""
    sentence, _, command = said.rstrip("\n").rpartition("to go on: python -m bpexp ")
    assert sentence, said
    return carry_out(folder, *shlex.split(command), **environment)


def runs_of(folder, uri=None, experiment="bpexp", filter_string=""):
    """All runs of an experiment; none where it is not there."""
    archive = open_archive(locate(uri, folder, {}), experiment)
    if archive.client.get_experiment_by_name(experiment) is None:
        return []
    return archive.search(filter_string)


def results(folder, uri=None, experiment="bpexp"):
    """(identity, result digest) of every run that is shown as FINISHED, sorted; each is whole."""
    archive = open_archive(locate(uri, folder, {}), experiment)
    finished = runs_of(folder, uri, experiment, "attributes.status = 'FINISHED'")
    finished = [run for run in finished if not run.is_sweep]
    for run in finished:
        assert result_of(run, archive).digest == run.tags["bpexp.result"]
        assert "final_loss" in run.metrics
    return sorted((run.tags["bpexp.identity"], run.tags["bpexp.result"]) for run in finished)


def children(pid):
    """The processes that a process has started and that have not ended."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid):
    """How a process was started; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
