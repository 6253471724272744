"""Identifies the process that writes a run, and finds out whether it is still alive.

A process is identified by host, boot of the machine, PID namespace, PID and start time. The PID
alone is not enough, because the operating system assigns it again.

>>> from bpexp.tracking import process
>>> process.state_of(process.current())
<ProcessState.ALIVE: 'alive'>
"""

import math
import os
import platform
from enum import StrEnum
from functools import cache
from pathlib import Path

_START_TOLERANCE = 2.0
"""Seconds by which two readings of one start time may differ: Linux rounds the boot time."""


class ProcessState(StrEnum):
    """Whether a process is alive, as far as this process can find out."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@cache
def _machine() -> tuple[str, str, str]:
    """Host name, boot id and PID namespace; "-" where the operating system has none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = "-"
    return platform.node() or "-", boot, namespace


def current() -> str:
    """This process as the value of a tag: host, boot id, PID namespace, PID, start time."""
    started = _start_time(os.getpid())
    return " ".join((*_machine(), str(os.getpid()), "-" if started is None else f"{started:.2f}"))


def state_of(tag: str) -> ProcessState:
    """Whether the process that ``tag`` describes is alive.

    Returns:
        UNKNOWN for a process on another host or in another PID namespace, and for a tag that
        ``current`` did not write.
    """
    try:
        host, boot, namespace, pid, started = tag.split(" ")
        expected_pid, expected_start = int(pid), float(started)
    except ValueError:
        return ProcessState.UNKNOWN
    if boot == "-" or host != _machine()[0]:
        return ProcessState.UNKNOWN
    if boot != _machine()[1]:
        return ProcessState.DEAD
    if namespace != _machine()[2]:
        return ProcessState.UNKNOWN
    found = _start_time(expected_pid)
    if found is None:
        return ProcessState.DEAD
    difference = abs(found - expected_start)
    if math.isnan(difference):
        return ProcessState.UNKNOWN
    return ProcessState.ALIVE if difference <= _START_TOLERANCE else ProcessState.DEAD


def _start_time(pid: int) -> float | None:
    """Seconds from boot to the start of a process.

    None if there is no such process or it is a zombie, NaN if its start may not be read.
    """
    # Imported here because it takes 25 ms, during which the first runs can be trained.
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        # The difference does not change when the system clock is set.
        return process.create_time() - psutil.boot_time()
    except psutil.AccessDenied:
        return math.nan
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
