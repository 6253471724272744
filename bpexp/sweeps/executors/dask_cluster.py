"""Packs on a Dask cluster: results as they come, workers that may die, one writer here.

This is joblib's Dask backend written anew, for want of one that ends: joblib (1.6) is not told
of a task that Dask has given up, because its workers died, and waits for it without end; it
also keeps to the number of workers that there were at its start.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from math import isqrt
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from bpexp.config.schema import Backend, Dask, Data, TrainConfig, plain
from bpexp.data import load
from bpexp.fields.checks import ConfigError, brief
from bpexp.runs import fingerprint
from bpexp.runs.result import Failure
from bpexp.sweeps.executors import dask_worker
from bpexp.sweeps.executors.local import Indexed
from bpexp.training.batching import RunBatch as Pack

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

AHEAD = 2
"""Packs that are sent for each of the cluster's threads: one that is trained, one that waits."""


DIED = Failure("its worker process died, again and again")


@contextmanager
def opened(backend: Backend) -> "Iterator[Cluster | None]":
    """The cluster that is asked for, connected; None for this machine alone.

    Raises ConfigError where it cannot be reached, has no workers or workers with other bits.
    """
    if not isinstance(backend, Dask):
        yield None
        return
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ConfigError(
            "backend=dask must have Dask's distributed installed (pip install -e '.[dask]'), "
            "got none."
        ) from error
    address = backend.address or dask.config.get("scheduler-address", None)
    if not address:
        raise ConfigError(
            "backend.address must be given with backend=dask: that of a running dask scheduler, "
            "such as backend.address=tcp://127.0.0.1:8786 (or DASK_SCHEDULER_ADDRESS)."
        )
    seconds = dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    _silence()
    # A data set may be large; it is sent once and not, as that warning would have it, often.
    settings = {"distributed.admin.large-graph-warning-threshold": "1TB"}
    with dask.config.set(settings):
        _check_answers(address, seconds)
        with distributed.Client(address, timeout=seconds, set_as_default=False) as client:
            cluster = Cluster(client, address, seconds)
            cluster.check()
            yield cluster


def _silence() -> None:
    """What Dask logs of workers and connections is said here in sentences, unless logs are
    asked for.
    """
    if not logging.getLogger().isEnabledFor(logging.INFO):
        for name in list(logging.root.manager.loggerDict):
            if name.split(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)


def _check_answers(address: str, seconds: float) -> None:
    """Raises ConfigError. A Client that finds nobody leaves errors of its own behind."""
    from distributed import Security
    from distributed.comm.core import connect

    async def knock() -> None:
        comm = await connect(address, seconds, **Security().get_connection_args("client"))
        comm.abort()

    try:
        asyncio.run(knock())
    except OSError as error:
        raise ConfigError(
            f"backend.address must be a dask scheduler that answers within {seconds:g} s, "
            f"got {brief(address)}."
        ) from error
    except (ValueError, TypeError, RuntimeError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(
            "backend.address must be that of a dask scheduler, such as tcp://127.0.0.1:8786, "
            f"got {brief(address)}: {said}."
        ) from error


class Cluster:
    """A connected cluster; ``seconds`` is how long it is waited for when it has no workers."""

    def __init__(self, client: "Client", address: str, seconds: float) -> None:
        self.address = address
        self._client, self._seconds = client, seconds
        self._arrays: dict[Data, Future[Any]] = {}

    @property
    def size(self) -> int:
        """How many packs it can train at a time, at least 1: workers come and go."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def check(self) -> None:
        """Raises ConfigError where there are no workers, or ones that would give other bits.

        Native bits are looked at with each run: sweeps of exact ones may use any worker.
        """
        try:
            self._client.wait_for_workers(1, timeout=self._seconds)
        except TimeoutError as error:
            raise ConfigError(
                f"backend.address must be a dask scheduler with workers, got {self.address!r}, "
                f"which had none for {self._seconds:g} s."
            ) from error
        found = self._client.run(dask_worker.arithmetics, on_error="return")
        wanted = fingerprint.arithmetic("exact")
        for worker, said in found.items():
            if isinstance(said, Exception):
                raise ConfigError(
                    f"backend.address must be a dask scheduler whose workers have bpexp "
                    f"installed, got {worker}: {type(said).__name__}: {said}."
                )
            if said["exact"] != wanted:
                raise ConfigError(
                    "backend.address must be a dask scheduler whose workers have this version "
                    f"of bpexp, got {worker} with the arithmetic {said['exact']!r} instead of "
                    f"{wanted!r}."
                )

    def train_all(
        self, packs: Sequence[Pack], configs: Sequence[TrainConfig]
    ) -> Iterator[list[Indexed]]:
        """The results of each pack with their places in ``configs``, as packs are done.

        Dask tries a pack whose worker died again, on another; after several deaths it blames
        the pack, which may only have been beside the one that did it. What was blamed is tried
        in ever smaller pieces, one at a time, so that only runs fail that kill their workers.
        """
        from distributed import CancelledError
        from distributed.client import ClosedClientError

        left = {run for pack in packs for run in pack.runs}
        blamed: deque[Pack] = deque()
        try:
            for pack, results in self._results(iter(packs), configs, AHEAD):
                if results is None:
                    blamed.extend(_pieces(pack))
                else:
                    left.difference_update(pack.runs)
                    yield results
            for pack, results in self._results(_taken(blamed), configs, 0):
                if results is None and len(pack.runs) > 1:
                    blamed.extend(_pieces(pack))
                else:
                    left.difference_update(pack.runs)
                    yield [(pack.runs[0], DIED)] if results is None else results
        except (OSError, CancelledError, ClosedClientError):
            lost = Failure(f"the dask scheduler at {self.address} is gone, or has no workers")
            yield [(run, lost) for run in sorted(left)]

    def _results(
        self, waiting: Iterator[Pack], configs: Sequence[TrainConfig], ahead: int
    ) -> Iterator[tuple[Pack, list[Indexed] | None]]:
        """Each pack with its results, None for one whose workers died; ``ahead`` packs a thread
        are sent at a time, so that what waits for the writer here is bounded, or one in all.
        """
        from distributed.client import ClosedClientError

        done: SimpleQueue[Future[Any]] = SimpleQueue()
        sent: dict[Future[Any], Pack] = {}
        try:
            while True:
                room = max(1, ahead * self.size) - len(sent)
                for pack in islice(waiting, max(0, room)):
                    future = self._send(pack, configs)
                    sent[future] = pack
                    future.add_done_callback(done.put)
                if not sent:
                    return
                future = self._patiently(lambda seconds: done.get(timeout=seconds))
                results = self._received(future, sent[future])
                yield sent.pop(future), results
        finally:
            with suppress(OSError, ClosedClientError):
                self._client.cancel(list(sent))

    def _send(self, pack: Pack, configs: Sequence[TrainConfig]) -> "Future[Any]":
        runs = [configs[run] for run in pack.runs]
        data, key = runs[0].data, f"bpexp-pack-{uuid4().hex}"
        return self._client.submit(
            dask_worker.train, key, self._sent(data), load(data).classes,
            [plain(config) for config in runs], pack.engine,
            fingerprint.arithmetic(runs[0].numerics), key=key, pure=False,
        )  # fmt: skip

    def _sent(self, data: Data) -> "Future[Any]":
        """A data set's arrays at the workers.

        The scheduler keeps what the task is given, so they outlive every worker.
        """
        if data not in self._arrays:
            dataset = load(data)
            arrays = [getattr(dataset, part) for part in dask_worker.PARTS]
            key = f"bpexp-data-{uuid4().hex}"
            self._arrays[data] = self._client.submit(
                dask_worker.given, *arrays, key=key, pure=False
            )
        return self._arrays[data]

    def _received(self, future: "Future[Any]", pack: Pack) -> list[Indexed] | None:
        from distributed import KilledWorker

        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                # The data may have been blamed with the pack: they are sent anew.
                self._arrays.clear()
                return None
            # Of a worker without bpexp, for instance: errors in training are values.
            failed = Failure(f"{type(error).__name__}: {error}")
            return [(run, failed) for run in pack.runs]
        values: Any = self._patiently(lambda seconds: future.result(timeout=seconds))
        return [(pack.runs[place], dask_worker.read(value)) for place, value in values]

    def _patiently(self, wait: Callable[[float], T]) -> T:
        """What is waited for. Raises TimeoutError where no worker is there to give it."""
        while True:
            try:
                return wait(self._seconds)
            except (Empty, TimeoutError):
                self._client.wait_for_workers(1, timeout=self._seconds)


def _pieces(pack: Pack) -> Iterator[Pack]:
    """As many pieces as each has runs: two steps down to single runs, where one is to blame."""
    size = isqrt(len(pack.runs))
    for start in range(0, len(pack.runs), size):
        yield Pack(pack.runs[start : start + size], pack.engine)


def _taken(packs: deque[Pack]) -> Iterator[Pack]:
    while packs:
        yield packs.popleft()
