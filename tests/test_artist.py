"""The process that draws a sweep's figures: what becomes of it, whatever becomes of the sweep."""

import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sweeping import children, command_of, enable_interrupts

from bpexp.render import plot_process, plots

CURVES = [(f"seed={seed}", ((1, 2), np.array([0.5, 0.1 + seed]))) for seed in range(500)]


def drawer(pid):
    """The process that draws for a process; its command is known a moment after its start."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := [child for child in children(pid) if "plot_process.serve" in command_of(child)]:
            (process,) = found
            return process
    raise AssertionError("nobody draws")


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As in the program itself, where it is not imported."""
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)


@pytest.mark.usefixtures("without_matplotlib")
def test_figures_are_what_would_be_drawn_here_and_come_in_any_order():
    with plot_process.beside() as draw:
        few, many = (draw(plots.summary, curves, None) for curves in (CURVES[:2], CURVES))
        drawn = [many(), few()]
    here = [plot_process.here(plots.summary, curves, None)() for curves in (CURVES, CURVES[:2])]
    assert drawn == here
    assert len(set(drawn)) == 2


@pytest.mark.usefixtures("without_matplotlib")
def test_one_process_draws_for_blocks_within_and_is_gone_after_the_last():
    with plot_process.beside() as draw:
        process = drawer(os.getpid())
        with plot_process.beside() as within:
            assert within is draw
            assert drawer(os.getpid()) == process
        assert drawer(os.getpid()) == process
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.usefixtures("without_matplotlib")
@pytest.mark.parametrize("moment", ["before", "while"])
def test_what_a_killed_process_does_not_draw_is_drawn_here(moment):
    with plot_process.beside() as draw:
        process = drawer(os.getpid())
        if moment == "before":
            os.kill(process, signal.SIGKILL)
        drawn = [draw(plots.summary, CURVES[:n], None) for n in (1, 2)]
        if moment == "while":
            os.kill(process, signal.SIGKILL)
        here = [plot_process.here(plots.summary, CURVES[:n], None)() for n in (1, 2)]
        assert [wait() for wait in drawn] == here


@pytest.mark.usefixtures("without_matplotlib")
def test_where_no_process_can_be_started_figures_are_drawn_here(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing")
    with plot_process.beside() as draw:
        assert draw is plot_process.here


PROGRAM = """
import os, signal, sys
from bpexp.render import plot_process, figures
signal.signal(signal.SIGINT, lambda number, frame: None)
with artist.beside() as draw:
    print("ready", flush=True)
    sys.stdin.readline()
    assert draw(figures.summary, [], None)().startswith(b"\\x89PNG")
assert "matplotlib" not in sys.modules
"""


@pytest.fixture
def program():
    """A program that draws in a process when it is told to, in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=enable_interrupts,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_is_not_for_the_process_that_draws(program):
    os.killpg(program.pid, signal.SIGINT)
    assert program.communicate("\n", timeout=120) == ("", "")
    assert program.returncode == 0


def test_it_ends_with_the_program_even_where_that_is_killed(program):
    process = drawer(program.pid)
    watched = os.pidfd_open(process)
    program.kill()
    assert select.select([watched], [], [], 120)[0] == [watched]
    os.close(watched)


def test_a_program_that_is_killed_leaves_nobody_who_holds_its_output(program):
    program.kill()
    assert program.communicate(timeout=120) == ("", "")


def test_a_sweep_that_is_refused_says_so_alone(bpexp):
    done = bpexp("-m", "lr=abc")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bpexp: lr must be")
    assert done.stderr.count("\n") == 1
