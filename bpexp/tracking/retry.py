"""Retries operations on a store that is locked or temporarily unavailable.

>>> from bpexp.tracking.retry import RetryPolicy
>>> RetryPolicy(seconds=10).call(max, 1, 2)
2
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from bpexp.fields import passwords
from bpexp.fields.checks import ConfigError

if TYPE_CHECKING:
    from requests import RequestException

P = ParamSpec("P")
T = TypeVar("T")

SECONDS_VARIABLE = "BPEXP_RETRY_SECONDS"
"""Environment variable: how many seconds to wait for a store."""
_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_NO_ANSWER = {"ConnectionError", "TimeoutError", "HTTPClientError", "ServiceRequestError",
              "ServiceResponseError", "TransportError"}  # fmt: skip
"""Base classes, by name, of errors of Python, urllib3, boto3 (S3), Azure and Google Cloud."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0
"""Seconds between two attempts; the delay doubles each time."""


class TrackingError(ConfigError):
    """A store rejected a request or stayed unavailable; the message is one sentence.

    Attributes:
        written: After a request with several runs, the id of each that the store has, "" for
            the others; empty if it has none.
        resume_option: What the command that resumes the sweep needs after this error.
    """

    resume_option = ""

    def __init__(self, message: str, written: Sequence[str] = ()) -> None:
        super().__init__(passwords.mask_text(message))
        self.written = written


class DeletedError(TrackingError):
    """Somebody deleted the sweep, or its experiment, while runs were written to it."""

    resume_option = " --restore"


class StorageError(OSError):
    """An error that the library of an artifact store, such as boto3, raised; it is the cause."""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn errors of the libraries of artifact stores, of whatever type, into StorageError."""
    try:
        yield
    except _store_errors():
        raise
    except Exception as error:
        raise StorageError(f"{type(error).__name__}: {error}") from error


def _seconds_from_environment() -> float:
    text = os.environ.get(SECONDS_VARIABLE, "120")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(
            f"{SECONDS_VARIABLE} must be a number of seconds of at least 0, got {text!r}."
        )
    return seconds


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a store.

    Attributes:
        seconds: Limit of the time between the first and the last attempt.
        busy_timeout_ms: How long SQLite itself waits for a lock within one attempt.
        sleep: Called with the seconds to wait before the next attempt.
    """

    seconds: float = field(default_factory=_seconds_from_environment)
    busy_timeout_ms: int = 20_000
    sleep: Callable[[float], None] = time.sleep

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function until it succeeds, with an exponentially growing delay.

        Returns:
            What ``function`` returns.

        Raises:
            TrackingError: The error is not transient, or the time is up.
        """
        deadline, delay = time.monotonic() + self.seconds, _FIRST_DELAY
        while True:
            try:
                return function(*args, **kwargs)
            except _store_errors() as error:
                if not is_transient(error):
                    raise rejection(error) from error
                if time.monotonic() + delay > deadline:
                    waited = f" after {self.seconds:g} s" if self.seconds else ""
                    raise TrackingError(
                        f"The store could not be used{waited}: {_reason(error)}."
                    ) from error
            self.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)


def _store_errors() -> tuple[type[Exception], ...]:
    """Exception types of stores.

    MLflow and SQLAlchemy take seconds to import; if they were not imported, they raised nothing.
    """
    kinds: list[type[Exception]] = [OSError]
    for module, name in (
        ("mlflow.exceptions", "MlflowException"),
        ("sqlalchemy.exc", "SQLAlchemyError"),
    ):
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], name))
    return tuple(kinds)


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed after an error of MLflow, SQLAlchemy or a storage.

    Transient are a locked SQLite file, a PostgreSQL server that is down or resolved a deadlock,
    and an MLflow server or a storage that is down, overloaded or answers with a server error.
    """
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    origin = _root_cause(error)
    if isinstance(origin, RequestException):
        return _is_transient_request(origin)
    if isinstance(error, StorageError | ConnectionError | TimeoutError):
        return _is_transient_storage(origin)
    if not isinstance(origin, OperationalError):
        return False
    code = getattr(origin.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED)
    # psycopg has sqlstate, psycopg2 pgcode. No state: no answer. 08: the connection was lost.
    # 40: serialization failure or deadlock. 57P: the server is stopping or starting.
    state = getattr(origin.orig, "sqlstate", getattr(origin.orig, "pgcode", None)) or ""
    return state == "" or state[:2] in ("08", "40") or state[:3] == "57P"


def _is_transient_request(error: "RequestException") -> bool:
    from requests import exceptions

    if isinstance(error, exceptions.SSLError):
        return False
    if error.response is not None:
        return error.response.status_code >= 500
    # MLflow raises RetryError for 5xx, 408 and 429.
    transient = (exceptions.ConnectionError, exceptions.Timeout, exceptions.RetryError,
                 exceptions.ChunkedEncodingError)  # fmt: skip
    return isinstance(error, transient)


def _is_transient_storage(error: BaseException) -> bool:
    """Whether a storage did not answer, or answered with a server error.

    Without importing the libraries: their errors are recognized by name and by status.
    """
    chain: BaseException | None = error
    while chain is not None:
        names = {kind.__name__ for kind in type(chain).__mro__}
        if names & _NO_ANSWER or _status(chain) >= 500:
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _status(error: BaseException) -> int:
    """The HTTP status of an answer of a storage; 0 if there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = getattr(error, "status_code", None) or getattr(error, "code", None)
    return found if isinstance(found, int) else 0


def _root_cause(error: BaseException) -> BaseException:
    """The first database or request error in the chain of causes, else the last cause."""
    from requests import RequestException
    from sqlalchemy.exc import DBAPIError

    while not isinstance(error, RequestException | DBAPIError):
        # MLflow raises its own error for a failed request without setting __cause__.
        context = error.__context__ if isinstance(error.__context__, RequestException) else None
        cause = error.__cause__ or context
        if cause is None:
            break
        error = cause
    return error


def rejection(error: BaseException) -> TrackingError:
    """The TrackingError for an error that is not transient."""
    return TrackingError(f"The store refused: {_reason(error)}.")


def _reason(error: BaseException) -> str:
    """The message of the root cause, on one line."""
    error = _root_cause(error)
    # The message of a failed request is long; its reason is for example "Connection refused".
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = " ".join(str(getattr(error, "orig", None) or reason or error).split())
    return text[:300].rstrip(".?")
