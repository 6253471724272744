"""How much memory this process may use, and how much of it the content of a file may take."""

import os
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def memory_limit() -> int:
    """The memory of this machine, in bytes, or less if this process is limited to less.

    Containers and batch schedulers limit the memory of a control group, whose processes the
    kernel kills when they exceed it; ``ulimit -v`` limits the addresses of a process.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_group_limits()]
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        limits.append(addresses)
    return min(limits)


def content_limit() -> int:
    """The bytes that the content of a file may take: a quarter of ``memory_limit``."""
    return memory_limit() // 4


def _group_limits(
    groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """The limits of the control groups of this process and of those that contain them.

    The path of a group is that of the host if the process has no cgroup namespace. It does not
    exist in a container then, whose own group is at the root.

    Args:
        groups: Lists the groups of the process: ``id:controllers:path`` in each line.
        mounted: Where the file systems of the groups are mounted.
    """
    for line in _text(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = mounted, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = mounted / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            # A group without a limit has no number there.
            if folder.is_relative_to(root) and (text := _text(folder / name)).isdecimal():
                yield int(text)


def _text(file: Path) -> str:
    """The content of a file without white space at its ends; empty if it cannot be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
