"""Waiting for a store that another process keeps locked, or that is not there for a while."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bpexp.fields.checks import ConfigError

if TYPE_CHECKING:
    from requests import RequestException

T = TypeVar("T")

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6

SECONDS = "BPEXP_RETRY_SECONDS"
"""The environment's word for how many seconds a store is waited for."""


class TrackingError(ConfigError):
    """A store did not take what it was given; the message is one sentence.

    ``written``: of several runs the id of each that the store has, "" for the others.
    """

    def __init__(self, message: str, written: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.written = written


def _seconds() -> float:
    """Raises ConfigError where the environment's word is no number of seconds."""
    given = os.environ.get(SECONDS, "120")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"{SECONDS} must be a number of seconds of at least 0, got {given!r}.")
    return seconds


@dataclass(frozen=True)
class Patience:
    """How long a store is waited for.

    ``seconds`` is the limit of waiting between attempts; ``busy_ms`` how long SQLite itself
    waits within one attempt; ``pause`` sleeps for the seconds it is given.
    """

    seconds: float = field(default_factory=_seconds)
    busy_ms: int = 20_000
    pause: Callable[[float], None] = time.sleep

    def attempt(self, action: Callable[[], T]) -> T:
        """What ``action`` returns, tried again while its errors are ones that pass.

        Raises TrackingError when the patience has run out or the error is of another kind.
        """
        deadline, delay = time.monotonic() + self.seconds, 0.1
        while True:
            try:
                return action()
            except _of_stores() as error:
                if not passes(error):
                    raise refused(error) from error
                if time.monotonic() + delay > deadline:
                    waited = f" after {self.seconds:g} s" if self.seconds else ""
                    raise TrackingError(
                        f"The store could not be used{waited}: {_said(error)}."
                    ) from error
            self.pause(delay)
            delay = min(2 * delay, 5.0)


def _of_stores() -> tuple[type[Exception], ...]:
    """The errors of stores. A package that was not imported, which takes seconds, raised none."""
    kinds: list[type[Exception]] = [OSError]
    for module, name in (
        ("mlflow.exceptions", "MlflowException"),
        ("sqlalchemy.exc", "SQLAlchemyError"),
    ):
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], name))
    return tuple(kinds)


def passes(error: BaseException) -> bool:
    """Whether an error of MLflow's store or of SQLAlchemy may be gone at the next attempt:
    a locked SQLite file, a PostgreSQL server that is away or that broke a deadlock, an MLflow
    server that is away, too busy or broken.
    """
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    origin = _origin(error)
    if isinstance(origin, RequestException):
        return _request_passes(origin)
    if not isinstance(origin, OperationalError):
        return False
    code = getattr(origin.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED)
    # psycopg says sqlstate, psycopg2 pgcode. None: no answer. 08: the connection was lost.
    # 40: serialization failure or deadlock. 57P: the server is stopping or starting.
    state = getattr(origin.orig, "sqlstate", getattr(origin.orig, "pgcode", None)) or ""
    return state == "" or state[:2] in ("08", "40") or state[:3] == "57P"


def _request_passes(error: "RequestException") -> bool:
    """No answer, or one that says "not now": MLflow raises RetryError for 5xx, 408 and 429."""
    from requests import exceptions

    if isinstance(error, exceptions.SSLError):
        return False
    if error.response is not None:
        return error.response.status_code >= 500
    passing = (exceptions.ConnectionError, exceptions.Timeout, exceptions.RetryError,
               exceptions.ChunkedEncodingError)  # fmt: skip
    return isinstance(error, passing)


def _origin(error: BaseException) -> BaseException:
    """The database's or the request's error that another was made of, else the innermost."""
    from requests import RequestException
    from sqlalchemy.exc import DBAPIError

    while not isinstance(error, RequestException | DBAPIError):
        # MLflow raises its own for a failed request without naming that as the cause.
        context = error.__context__ if isinstance(error.__context__, RequestException) else None
        inner = error.__cause__ or context
        if inner is None:
            break
        error = inner
    return error


def refused(error: BaseException) -> TrackingError:
    """The error for what no waiting mends."""
    return TrackingError(f"The store refused: {_said(error)}.")


def _said(error: BaseException) -> str:
    """The original error's own words, on one line."""
    error = _origin(error)
    # A failed request wraps the reason, e.g. of a refused connection, in what was asked for.
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = " ".join(str(getattr(error, "orig", None) or reason or error).split())
    return text[:300].rstrip(".?")
