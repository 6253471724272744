"""Messages from a task in a worker process to the process that waits for it.

joblib hands over what a task returns, but some runs of a batch end long before the others.

>>> messages: SimpleQueue[object] = SimpleQueue()
>>> inbox = Inbox("a task", messages)
>>> call_with_outbox(inbox.path, lambda number, send: send(number + 1), 41)
>>> inbox.close()
>>> messages.get()
('a task', 42)
"""

import os
import pickle
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any


class Inbox:
    """Puts the messages of one task into a queue, each as a pair with the name of the task.

    It is a pipe, which the worker opens below ``/proc``. The messages of a task that is killed
    arrive, too, except for the one that it was sending.

    Attributes:
        path: What the worker opens.
    """

    def __init__(self, name: object, messages: SimpleQueue[Any]) -> None:
        """Create the pipe, and receive messages in a thread of this process."""
        read_end, self._write_end = os.pipe()
        self.path = f"/proc/{os.getpid()}/fd/{self._write_end}"
        self._thread = Thread(target=_receive, args=(read_end, name, messages), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Receive what is left of the messages; the task must have ended."""
        os.close(self._write_end)
        self._thread.join()


def _receive(read_end: int, name: object, messages: SimpleQueue[Any]) -> None:
    with open(read_end, "rb") as pipe:
        while True:
            try:
                message = pickle.load(pipe)
            except (EOFError, pickle.UnpicklingError):
                # The end, perhaps within a message.
                return
            messages.put((name, message))


def call_with_outbox(path: str, function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a worker, with a function that sends messages as its last argument."""
    with open(path, "wb") as pipe:

        def send(message: object) -> None:
            pickle.dump(message, pipe, protocol=5)
            pipe.flush()

        function(*arguments, send)
