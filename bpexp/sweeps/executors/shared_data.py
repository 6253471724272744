"""Shares data sets with worker processes: they are written to memory once, not sent with each run.

>>> from bpexp.config.compose import compose_settings
>>> from bpexp.sweeps.plan import make_plan
>>> job = make_plan([compose_settings({"data": "xor"})]).jobs[0]
>>> with SharedDatasets() as shared:
...     received = open_dataset(shared.share(job.dataset))
>>> received.name, received.X.tolist() == job.dataset.X.tolist()
('xor', True)
"""

import mmap
import os
import pickle
from contextlib import ExitStack
from functools import lru_cache
from typing import BinaryIO, NamedTuple, Self
from uuid import uuid4

from bpexp.data import Dataset

_ALIGNMENT = 64
"""Bytes to which each array is aligned, as NumPy and vector instructions prefer."""


class SharedDataset(NamedTuple):
    """What a worker needs to open a data set.

    Attributes:
        token: Different for each data set, because paths are used again.
        path: A file with the arrays, and at its end the pickled rest of the data set.
        parts: Start and end of each part in the file, in bytes; the last one is the rest.
    """

    token: str
    path: str
    parts: tuple[tuple[int, int], ...]


class SharedDatasets:
    """The data sets of one call of ``Executor.map``; a context manager that frees them.

    A data set is in an anonymous file in memory, which workers open below ``/proc``. It vanishes
    with the last process that has it open, however that process ends. Unlike POSIX shared memory
    it does not need ``/dev/shm``, which containers often limit to 64 MB.
    """

    def __init__(self) -> None:
        self._stack, self._shared = ExitStack(), dict[Dataset, SharedDataset]()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files; workers that have one open keep its content."""
        self._stack.close()

    def share(self, dataset: Dataset) -> SharedDataset:
        """Write a data set to its file, unless it has one."""
        if dataset not in self._shared:
            file = self._stack.enter_context(os.fdopen(os.memfd_create("bpexp-data"), "wb"))
            path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
            self._shared[dataset] = SharedDataset(uuid4().hex, path, _write(dataset, file))
        return self._shared[dataset]


def _write(dataset: Dataset, file: BinaryIO) -> tuple[tuple[int, int], ...]:
    """Write the parts of a data set; return the start and end of each."""
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    parts = []
    contents: list[memoryview | bytes] = [*(buffer.raw() for buffer in buffers), rest]
    for content in contents:
        file.write(bytes(-file.tell() % _ALIGNMENT))
        start = file.tell()
        file.write(content)
        parts.append((start, file.tell()))
    file.flush()
    return tuple(parts)


@lru_cache(maxsize=4)
def open_dataset(shared: SharedDataset) -> Dataset:
    """Open a data set in a worker; its arrays are read-only views of the memory of the file.

    Raises:
        OSError: The process that shares it has ended, or belongs to another user.
    """
    with open(shared.path, "rb") as file:
        memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    *arrays, rest = (memory[start:end] for start, end in shared.parts)
    dataset: Dataset = pickle.loads(rest, buffers=arrays)
    return dataset
