"""Openers, for the function ``open``, of files that end: no pipes, and no devices.

>>> open("/dev/zero", opener=regular)
Traceback (most recent call last):
    ...
OSError: [Errno 22] it is not a regular file
"""

import errno
import os
import stat

from bpexp.fields.memory_limit import content_limit


def regular(path: str, flags: int) -> int:
    """Open a regular file; a pipe would be waited for, and a device such as /dev/zero has no end.

    Raises:
        OSError: It is something else.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    raise OSError(errno.EINVAL, "it is not a regular file")


def regular_that_fits(path: str, flags: int) -> int:
    """Open a regular file whose content may be read at once.

    Raises:
        OSError: It is something else, or larger than a quarter of the memory.
    """
    descriptor = regular(path, flags)
    size = os.fstat(descriptor).st_size
    if size <= content_limit():
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EFBIG, f"it has {size / 1e9:.1f} GB, which is too much")
