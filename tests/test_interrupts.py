"""SIGTERM and SIGHUP keep finished runs like Ctrl-C, and no worker outlives the program."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from sweeping import (
    children,
    command_of,
    enable_interrupts,
    runs_of,
    start,
    start_in_session,
    wait_until,
)

from bpexp import interrupts
from bpexp.app import opening
from bpexp.cli.terminal import TerminalReporter
from bpexp.render.wording import counted
from bpexp.tracking.factory import open_tracker

ENDLESS = ["-m", "seed=range(0,4)", "lr=0.1,1", "epochs=100000000", "n_jobs=2"]


@pytest.fixture
def handled():
    """The handlers of the program, in this process."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    interrupts.handle_termination()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interrupt(handled, number):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_a_step(handled, number):
    reached = []

    def step():
        with interrupts.interrupts_deferred():
            signal.raise_signal(number)
            reached.append("end")
        reached.append("after")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert reached == ["end"]


def test_a_second_interrupt_does_not_wait_for_what_the_first_one_cancels(handled):
    cancelled = []

    def step():
        with interrupts.interrupts_calling(lambda: cancelled.append(1)):
            signal.raise_signal(signal.SIGINT)
            with interrupts.interrupts_deferred():
                signal.raise_signal(signal.SIGTERM)
                cancelled.append(2)
            cancelled.append(3)

    with pytest.raises(KeyboardInterrupt):
        step()
    assert cancelled == [1, 2]


def wait_until_idle(thread):
    """Wait until a thread of this process, given by its native id, waits for a while."""
    status = Path(f"/proc/self/task/{thread}/status")
    switches = [None]

    def is_idle():
        switches.append(re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
        return switches[-1] == switches[-2]

    wait_until(is_idle, seconds=60)


def wait_for_item(release):
    items = SimpleQueue()
    threading.Thread(target=lambda: items.put(release.wait(60)), daemon=True).start()
    return interrupts.next_item(items)


def wait_for_result(release):
    with ThreadPoolExecutor(1) as pool:
        return interrupts.result_of(pool.submit(release.wait, 60))


@pytest.mark.parametrize("wait", [wait_for_item, wait_for_result])
def test_a_signal_that_does_not_wake_the_main_thread_is_handled_soon(handled, wait):
    """Such as one that arrives between Python's last look for signals and the wait."""
    release = threading.Event()

    def receive():
        wait_until_idle(main_thread)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.kill(os.getpid(), signal.SIGINT)

    main_thread = threading.get_native_id()
    signal.signal(signal.SIGINT, lambda number, frame: release.set())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        # The system delivers the signal to the thread that does not block it.
        threading.Thread(target=receive).start()
        assert wait(release), "handled at the end of the wait"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("options", [["engine=compiled"], ["engine=numpy", "n_jobs=1"]])
def test_an_interrupted_sweep_keeps_each_run_that_has_ended(
    a_store, inside, tmp_path, monkeypatch, options
):
    """Also those that were not handed to the store yet, of a batch with others that go on."""
    steps = []

    def interrupt_third_step(reporter, jobs, losses):
        steps.append(jobs)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TerminalReporter, "on_epochs", interrupt_third_step)
    # The first run ends after an epoch; the restarts keep the steps short.
    arguments = ["stop.loss=1,0", "stop.restart=3", "epochs=100000000", "batch_size=2"]
    done = inside("-m", *arguments, *options)
    assert (done.returncode, done.stderr) == (130, "")
    assert "Interrupted: 1 run kept, 1 marked KILLED." in done.stdout
    runs = {run.name: run for run in runs_of(tmp_path) if not run.is_sweep}
    assert runs["stop.loss=1"].status == "FINISHED"
    assert runs["stop.loss=1"].metrics["epochs_run"] == 1
    assert runs["stop.loss=0"].status == "KILLED"


def test_an_interrupt_does_not_wait_for_a_store_that_is_being_opened(
    a_store, inside, tmp_path, monkeypatch
):
    """Creating one takes MLflow seconds. From Python, the program goes on, and the store opens."""
    release, steps = threading.Event(), []

    def open_late(*arguments):
        release.wait(60)
        return open_tracker(*arguments)

    def interrupt_first_step(reporter, jobs, losses):
        steps.append(jobs)
        if len(steps) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(opening, "open_tracker", open_late)
    monkeypatch.setattr(TerminalReporter, "on_epochs", interrupt_first_step)
    try:
        done = inside("-m", "lr=0.1,1", "epochs=100000000")
        assert (done.returncode, done.stderr) == (130, "bpexp: Interrupted.\n")
        assert "Nothing is recorded: the store was not open yet." in done.stdout
    finally:
        release.set()
    wait_until(lambda: [run.status for run in runs_of(tmp_path)] == ["KILLED"])


def test_a_signal_that_is_ignored_stays_ignored():
    program = (
        "import signal; from bpexp import interrupts\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); interrupts.handle_termination()\n"
        "signal.raise_signal(signal.SIGHUP); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("alive\n", "")


def workers_of(process):
    return [pid for pid in children(process.pid) if "popen_loky" in command_of(pid)]


def training(folder, *arguments):
    """A sweep that trains endless runs in two worker processes, and these."""
    process = start(folder, "bulk", *ENDLESS, *arguments)
    return process, wait_for_training(process)


def wait_for_training(process):
    """Wait until two worker processes train, and return them."""
    wait_until(lambda: len(workers_of(process)) == 2, process)
    workers = workers_of(process)
    # They train when they have used more time than their start takes.
    wait_until(lambda: all(processor_seconds(pid) > 4 for pid in workers), process)
    return workers


def wait_for_plan(folder, process):
    """Wait until a sweep is in the store."""
    wait_until(lambda: list(folder.glob("outputs/artifacts/*/*/plan.jsonl.gz")), process)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_signal_marks_unfinished_runs_as_killed(tmp_path, name, engine):
    if engine == "numpy":
        process, workers = training(tmp_path, "engine=numpy")
    else:
        process, workers = start(tmp_path, "bulk", *ENDLESS, "engine=compiled"), []
    wait_for_plan(tmp_path, process)
    os.killpg(process.pid, getattr(signal, name))
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, ""), out
    assert "Resume: bpexp resume " in out
    assert {run.status for run in runs_of(tmp_path)} == {"KILLED"}
    wait_until(lambda: not any(command_of(pid) for pid in workers), seconds=10)


@pytest.mark.long
def test_an_interrupt_of_wide_networks_does_not_wait_for_their_epochs(tmp_path):
    """An epoch of the runs that are trained together takes seconds, the rest of them minutes."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", X=rng.random((10_000, 784)), y=rng.integers(0, 10, 10_000))
    process = start(
        tmp_path, "bulk", "-m", "data=file", "data.path=images.npz", "data.target=y",
        "data.task=classification", "model=classifier", "hidden=128", "batch_size=64",
        "epochs=1,1000", "seed=range(0,8)",
    )  # fmt: skip

    def finished():
        return [run for run in runs_of(tmp_path) if run.status == "FINISHED"]

    wait_until(finished, process)
    os.killpg(process.pid, signal.SIGINT)
    # About a second on an idle machine.
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    kept = len(finished())
    assert 1 <= kept <= 8
    assert f"Interrupted: {counted(kept, 'run')} kept, {16 - kept} marked KILLED." in out


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGKILL", "SIGQUIT", "SIGUSR1", "SIGXCPU"])
def test_workers_end_with_a_killed_parent(tmp_path, name):
    process, workers = training(tmp_path, "engine=numpy")
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == -getattr(signal, name)
    wait_until(lambda: not any(command_of(pid) for pid in workers), seconds=10)


@pytest.mark.long
def test_a_sweep_whose_terminal_is_closed_keeps_its_runs(tmp_path):
    terminal, side = os.openpty()
    process = start_in_session(
        [sys.executable, "-m", "bpexp", *ENDLESS, "engine=numpy"], cwd=tmp_path,
        stdin=side, stdout=side, stderr=side, preexec_fn=control_terminal,
    )  # fmt: skip
    os.close(side)
    wait_for_training(process)
    wait_for_plan(tmp_path, process)
    os.close(terminal)
    assert process.wait(60) == 130
    assert {run.status for run in runs_of(tmp_path)} == {"KILLED"}


def control_terminal():
    """Make standard input the controlling terminal of this process."""
    enable_interrupts()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_an_interrupt_after_the_training_says_how_to_resume(inside, a_store, monkeypatch):
    def interrupted(finished, started):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bpexp.app.final_steps.parent_record", interrupted)
        done = inside("-m", "lr=0.1,1", "epochs=3", "backend=serial")
    assert (done.returncode, done.stderr) == (130, "bpexp: Interrupted.\n")
    (sweep,) = re.findall("^Resume: bpexp resume ([0-9a-f]+)$", done.stdout, re.MULTILINE)
    assert "RUNNING" in inside("show", sweep).stdout.splitlines()[0]
