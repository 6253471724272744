"""Identifies the process that writes a run, and finds out whether it is still alive.

A process is identified by host, machine, boot of the machine, PID namespace, PID and start time.
The PID alone is not enough, because the operating system assigns it again. The host name alone does
not identify a machine: virtual machines and containers often share one.

psutil takes 25 ms to import. It is imported when a process is looked up, while the first runs are
trained.

>>> from bpexp.tracking import process
>>> process.state_of(process.current())
<ProcessState.ALIVE: 'alive'>
"""

import hashlib
import math
import os
import platform
import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

_MACHINE_ID = Path("/etc/machine-id")
_START_TOLERANCE = 2.0
"""Seconds by which two readings of one start time may differ: Linux rounds the boot time."""


class ProcessState(StrEnum):
    """Whether a process is alive, as far as this process can find out."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class _Location(NamedTuple):
    """Where a process runs; "-" for what the operating system does not have.

    Attributes:
        host: Host name.
        machine: A digest of the machine id, which is unique and should not be published.
        boot: Id of the boot of the machine.
        namespace: PID namespace.
    """

    host: str
    machine: str
    boot: str
    namespace: str


@cache
def _location() -> _Location:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = "-"
    return _Location(platform.node() or "-", _machine_digest(), boot, namespace)


def _machine_digest() -> str:
    try:
        machine = _MACHINE_ID.read_text().strip()
    except OSError:
        return "-"
    # systemd writes "uninitialized" while a machine starts for the first time.
    if not re.fullmatch("[0-9a-f]{32}", machine):
        return "-"
    return hashlib.sha256(f"bpexp {machine}".encode()).hexdigest()[:16]


def current() -> str:
    """This process as the value of a tag: host, machine, boot, namespace, PID, start time."""
    started = _start_time(os.getpid())
    return " ".join((*_location(), str(os.getpid()), "-" if started is None else f"{started:.2f}"))


def host_of(tag: str) -> str:
    """The host of the process that ``tag`` describes; "unknown" if it names none."""
    return tag.split(" ")[0] or "unknown"


def pid_of(tag: str) -> str:
    """The PID of the process that ``tag`` describes, for a tag that ``current`` wrote."""
    return tag.split(" ")[-2]


def state_of(tag: str) -> ProcessState:
    """Whether the process that ``tag`` describes is alive.

    Returns:
        UNKNOWN for a process on another machine or in another PID namespace, for one of another
        boot of a machine without a machine id, and for a tag that ``current`` did not write.
    """
    try:
        *location, pid, started = tag.split(" ")
        there = _Location(*location)
        expected_pid, expected_start = int(pid), float(started)
    except (TypeError, ValueError):
        return ProcessState.UNKNOWN
    here = _location()
    if there.boot == "-" or (there.host, there.machine) != (here.host, here.machine):
        return ProcessState.UNKNOWN
    if there.boot != here.boot:
        return ProcessState.UNKNOWN if here.machine == "-" else ProcessState.DEAD
    if there.namespace != here.namespace:
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
