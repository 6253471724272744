"""Worker processes that ignore Ctrl-C, which the main process handles, and end with it.

This is the only module that uses what joblib does not document as public: loky, the process pool
inside it (``joblib.externals``), whether it can start processes, and how it ends them.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from multiprocessing import resource_tracker
from queue import Queue, SimpleQueue
from threading import Event, Thread
from typing import Any, NamedTuple, TypeVar

from joblib import Parallel, delayed
from joblib._multiprocessing_helpers import mp
from joblib.externals.loky import ProcessPoolExecutor, cpu_count
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bpexp.guards.memory_limit import memory_limit
from bpexp.interrupts import SIGNALS, call_after_parent, next_item, result_of
from bpexp.sweeps.executors.inbox import Inbox, call_with_outbox

TESTED = ("1.4", "1.6")
"""The versions of joblib whose internals this module was tested with."""

__all__ = ["Pool", "Task", "TerminatedWorkerError", "count_that_fit", "cpu_count",
           "end_with_parent", "map_in_order", "run_alone"]  # fmt: skip

A = TypeVar("A")
R = TypeVar("R")

CALLS_AHEAD = 2
"""Maximum number of calls per process whose results have not been consumed: without a limit they
would fill the memory where the caller takes longer than the processes."""
TASKS_PER_PROCESS = 2
"""How many tasks a pool takes at once for each of its processes: the next one is ready."""
BYTES_OF_A_WORKER = 100_000_000
"""About what a worker process needs beside its data, which are shared."""


def check_available() -> None:
    """Check that joblib can start processes; it would use threads of this process instead.

    Raises:
        OSError: It cannot, for instance because /dev/shm, where semaphores are, is full.
    """
    if mp is not None:
        return
    try:
        # joblib tried the same when it was imported.
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise OSError(f"{error.strerror}: /dev/shm") from error
    raise OSError("JOBLIB_MULTIPROCESSING=0, or /dev/shm could not be used at the start")


def count_that_fit() -> int:
    """How many worker processes fit into half of the memory; at least 1."""
    return max(1, memory_limit() // 2 // BYTES_OF_A_WORKER)


@cache
def end_with_parent(parent: int) -> None:
    """End this worker process soon after its parent, however that ends.

    A worker that trains would not notice that its parent was killed, and use a processor for hours.

    Args:
        parent: The process id of the parent.
    """

    if os.getpid() != parent:
        call_after_parent(parent, lambda: os._exit(1))


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block the signals of ``interrupts`` here; processes that start here inherit that.

    A closing terminal sends SIGHUP to the workers, too, whose death would be taken for a fault.
    """
    # Both trackers are started first: started with the first worker, they would unblock SIGINT and
    # SIGTERM for it. They ignore these two, but not SIGHUP.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
        loky_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Task(NamedTuple):
    """A call in a worker process, ``function(*arguments, send)``; ``send`` sends a message."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]


class _Stop:
    """Put into the queue of a pool that is to end."""


class _End(NamedTuple):
    """Put into the queue of a pool that has ended: what ended it, if that was an error."""

    error: BaseException | None


class Pool:
    """A pool of joblib's worker processes, for one call of ``run``.

    Args:
        n_processes: The number of processes, at least 2; those of an earlier pool are used again.

    Attributes:
        error: What ended ``run``, if not its end or ``stop``: a TerminatedWorkerError if a process
            died, an OSError if none can be started, or what a task raised.

    Raises:
        OSError: No process can be started.
    """

    error: BaseException | None = None

    def __init__(self, n_processes: int) -> None:
        # joblib would warn, and use threads.
        check_available()
        self._parallel = Parallel(
            n_processes, "loky", return_as="generator_unordered", batch_size=1,
            pre_dispatch=TASKS_PER_PROCESS * n_processes, max_nbytes=None,
        )  # fmt: skip
        self._messages: SimpleQueue[Any] = SimpleQueue()
        self._has_started = Event()

    def stop(self) -> None:
        """End ``run`` soon, after the messages that were sent; a signal handler may call it."""
        self._messages.put(_Stop())

    def run(self, tasks: Iterable[tuple[int, Task]]) -> Generator[tuple[int, Any], None, None]:
        """Run tasks.

        Args:
            tasks: The tasks with their numbers; taken one by one as there is room for them.

        Yields:
            The number of a task and a message that it sent.

        Closing the generator kills the processes, as ``stop`` does.
        """
        thread = Thread(target=self._run, args=(tasks,), daemon=True)
        thread.start()
        end: _End | None = None
        is_stopped = False
        try:
            while end is None:
                message = next_item(self._messages)
                if isinstance(message, _Stop):
                    is_stopped = True
                    self._kill()
                elif isinstance(message, _End):
                    end = message
                else:
                    yield message
        finally:
            if end is None:
                self._kill()
            thread.join()
        if not is_stopped:
            self.error = end.error

    def _run(self, tasks: Iterable[tuple[int, Task]]) -> None:
        """Run tasks by joblib, in a thread, because it blocks until a task has ended."""
        inboxes: dict[int, Inbox] = {}

        def calls() -> Iterator[Any]:
            for number, task in tasks:
                inboxes[number] = Inbox(number, self._messages)
                yield delayed(_run_task)(number, inboxes[number].path, task)

        error = None
        try:
            with interrupts_blocked():
                finished = self._parallel(calls())
                self._has_started.set()
                for number in finished:
                    inboxes.pop(number).close()
        except BaseException as caught:
            error = caught
        finally:
            self._has_started.set()
            for inbox in list(inboxes.values()):
                inbox.close()
            self._messages.put(_End(error))

    def _kill(self) -> None:
        """Kill the processes as joblib does on Ctrl-C."""
        self._has_started.wait()
        # joblib has none left if all tasks have ended meanwhile.
        with suppress(AttributeError):
            # loky's thread raises KeyError for a task that is queued when the pool is shut down.
            self._parallel._backend._workers._executor_manager_thread.work_ids_queue = Queue()
        with suppress(AttributeError):
            self._parallel._abort()


def _run_task(number: int, path: str, task: Task) -> int:
    """Run a task in a worker, with a pipe for its messages; returns its number."""
    call_with_outbox(path, task.function, *task.arguments)
    return number


def map_in_order(
    function: Callable[[A], R], arguments: Iterable[A], n_processes: int
) -> Generator[R, None, None]:
    """The results of calls in new worker processes, in the order of the arguments.

    Args:
        function: A module must define it, because processes import it from there.
        arguments: An argument of each call; taken one by one as there is room for them.
        n_processes: The number of processes.

    Closing the generator kills the processes.

    Raises:
        TerminatedWorkerError: A process died.
        OSError: No process can be started.
        Exception: What a call raised.
    """
    check_available()
    remaining = iter(arguments)
    waiting: deque[Future[R]] = deque()
    executor = ProcessPoolExecutor(n_processes)
    try:
        while True:
            n_free = CALLS_AHEAD * n_processes - len(waiting)
            with interrupts_blocked():
                waiting.extend(
                    executor.submit(_call, os.getpid(), function, argument)
                    for argument in islice(remaining, n_free)
                )
            if not waiting:
                return
            yield result_of(waiting.popleft())
    finally:
        executor.shutdown(kill_workers=True)


def _call(parent: int, function: Callable[[A], R], argument: A) -> R:
    """Call a function in a worker process, which ends with its parent."""
    end_with_parent(parent)
    return function(argument)


def run_alone(task: Task) -> list[Any]:
    """Run a task in a process of its own, which is killed at the end; returns its messages.

    Raises:
        TerminatedWorkerError: The process died.
        Exception: What the task raised.
    """
    messages: SimpleQueue[Any] = SimpleQueue()
    inbox = Inbox(0, messages)
    executor = ProcessPoolExecutor(max_workers=1)
    try:
        with interrupts_blocked():
            ended = executor.submit(_run_task, 0, inbox.path, task)
        result_of(ended)
    finally:
        # Without kill_workers, Ctrl-C would wait for the training to end.
        executor.shutdown(kill_workers=True)
        inbox.close()
    return [messages.get()[1] for _ in range(messages.qsize())]
