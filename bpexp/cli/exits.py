"""End the program with one sentence on standard error and an exit status.

The sentences come from ``bpexp.errors``, which is imported only when there is an error to
describe: it needs the schema, and thereby NumPy.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

FAILED = 1
"""Exit status of a run or sweep with bad settings."""
EXIT_STATUS = {"FINISHED": 0, "FAILED": 1, "KILLED": 130}
"""The exit status by MLflow's status of the run or sweep."""


def full_tracebacks() -> bool:
    """Return whether the user wants tracebacks (``HYDRA_FULL_ERROR=1``)."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def exit_on_error(
    arguments: Sequence[str], status: int, *, tracebacks: bool | None = None
) -> Iterator[None]:
    """End the program with one sentence if the block raises.

    Args:
        arguments: The settings on the command line, which the sentence may quote.
        status: The exit status.
        tracebacks: Let all errors pass; by default if ``HYDRA_FULL_ERROR=1``.

    Raises:
        BrokenPipeError: The reader of standard output has closed the pipe.
    """
    raises = full_tracebacks() if tracebacks is None else tracebacks
    try:
        yield
    except KeyboardInterrupt:
        exit_with("Interrupted.", 130)
    except BrokenPipeError:
        raise
    except Exception as error:
        if raises:
            raise
        from bpexp.errors import sentences

        exit_with(sentences.describe(error, arguments), status)


def exit_with(message: str, status: int) -> NoReturn:
    """End the program with a sentence on standard error."""
    print(f"bpexp: {message}", file=sys.stderr)
    sys.exit(status)
