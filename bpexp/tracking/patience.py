"""Waiting for a store that another process keeps locked, or that is not there for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bpexp.checks import ConfigError

T = TypeVar("T")

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6


class TrackingError(ConfigError):
    """A store did not take what it was given; the message is one sentence."""


@dataclass(frozen=True)
class Patience:
    """How long a store is waited for.

    ``seconds`` is the limit of waiting between attempts; ``busy_ms`` how long SQLite itself
    waits within one attempt; ``pause`` sleeps for the seconds it is given.
    """

    seconds: float = 120.0
    busy_ms: int = 20_000
    pause: Callable[[float], None] = time.sleep

    def attempt(self, action: Callable[[], T]) -> T:
        """What ``action`` returns, tried again while its errors are ones that pass.

        Raises TrackingError when the patience has run out or the error is of another kind.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        deadline, delay = time.monotonic() + self.seconds, 0.1
        while True:
            try:
                return action()
            except (MlflowException, SQLAlchemyError, OSError) as error:
                if not passes(error):
                    raise refused(error) from error
                if time.monotonic() + delay > deadline:
                    waited = f" after {self.seconds:g} s" if self.seconds else ""
                    raise TrackingError(
                        f"The store could not be used{waited}: {_said(error)}."
                    ) from error
            self.pause(delay)
            delay = min(2 * delay, 5.0)


def passes(error: BaseException) -> bool:
    """Whether an error of MLflow's store or of SQLAlchemy may be gone at the next attempt:
    a locked SQLite file, a PostgreSQL server that is away or that broke a deadlock.
    """
    from sqlalchemy.exc import OperationalError

    if not isinstance(error, OperationalError):
        return error.__cause__ is not None and passes(error.__cause__)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED)
    # psycopg says sqlstate, psycopg2 pgcode. None: no answer. 08: the connection was lost.
    # 40: serialization failure or deadlock. 57P: the server is stopping or starting.
    state = getattr(error.orig, "sqlstate", getattr(error.orig, "pgcode", None)) or ""
    return state == "" or state[:2] in ("08", "40") or state[:3] == "57P"


def refused(error: BaseException) -> TrackingError:
    """The error for what no waiting mends."""
    return TrackingError(f"The store refused: {_said(error)}.")


def _said(error: BaseException) -> str:
    """The innermost error's own words, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    return text[:300].rstrip(".?")
