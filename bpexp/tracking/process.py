"""Which process a run belongs to, and whether that process lives.

A process id alone is given again to others; with the machine's boot and the time the process
started it is not.
"""

import os
import platform
from enum import StrEnum
from functools import cache
from pathlib import Path

TAG = "bpexp.process"


class Life(StrEnum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@cache
def _here() -> tuple[str, str, str]:
    """Host, boot and the space that process ids are counted in."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = space = "-"
    return platform.node() or "-", boot, space


def own() -> str:
    """This process as a tag: host, boot, space of process ids, process id, start time."""
    return " ".join((*_here(), str(os.getpid()), _started(os.getpid()) or "-"))


def life(tag: str) -> Life:
    """Whether the process of ``tag`` lives; UNKNOWN where that cannot be seen from here."""
    parts = tag.split(" ")
    if len(parts) != 5 or not parts[3].isdigit() or "-" in (parts[1], parts[4]):
        return Life.UNKNOWN
    host, boot, space, pid, started = parts
    if host != _here()[0]:
        return Life.UNKNOWN
    if boot != _here()[1]:
        return Life.DEAD
    if space != _here()[2]:
        return Life.UNKNOWN
    return Life.ALIVE if _started(int(pid)) == started else Life.DEAD


def _started(pid: int) -> str | None:
    """Clock ticks from boot to the process's start; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may hold spaces; fields 3 (state) and 22 (start) come after.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
