"""Retries operations on a store that is locked or temporarily unavailable.

``store_errors`` is imported after an error: it needs Requests and SQLAlchemy.

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
from typing import ParamSpec, TypeVar

from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.tracking.ids import short

P = ParamSpec("P")
T = TypeVar("T")

SECONDS_VARIABLE = "BPEXP_RETRY_SECONDS"
"""Environment variable: how many seconds to wait for a store."""
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

    def with_advice(self, advice: "ResumeAdvice") -> "TrackingError":
        """The error with the command that resumes the sweep."""
        reason = str(self).rstrip(".")
        command = f"to go on: {advice.command}{self.resume_option}"
        return TrackingError("; ".join([reason, *advice.facts, command]))


class DeletedError(TrackingError):
    """Somebody deleted the sweep, or its experiment, while runs were written to it."""

    resume_option = " --restore"

    @classmethod
    def of_experiment(cls) -> "DeletedError":
        """The error for a deleted experiment."""
        return cls("The experiment was deleted meanwhile.")

    @classmethod
    def of_sweep(cls, sweep: str) -> "DeletedError":
        """The error for a sweep with a deleted parent run, of which ``sweep`` is the id."""
        return cls(f"The sweep {short(sweep)} was deleted meanwhile.")

    @classmethod
    def of_run(cls, run_id: str) -> "DeletedError":
        """The error for a run that cannot be written to."""
        return cls(f"The store refused: run {run_id} is deleted or does not exist.")


@dataclass(frozen=True)
class ResumeAdvice:
    """What a user needs to know after an error that ended a sweep.

    Attributes:
        command: The command that resumes the sweep.
        facts: What else is known, for the sentence before the command.
    """

    command: str
    facts: Sequence[str] = ()


@contextmanager
def resume_command_in_errors(advice: Callable[[], ResumeAdvice | None]) -> Iterator[None]:
    """Add to a TrackingError how the sweep is resumed.

    Args:
        advice: Called after an error; if it returns None, the error stays as it is.
    """
    try:
        yield
    except TrackingError as error:
        found = advice()
        if found is None:
            raise
        raise error.with_advice(found) from error


class ArtifactStoreError(OSError):
    """An error that the library of an artifact store, such as boto3, raised; it is the cause."""


@contextmanager
def artifact_store_errors() -> Iterator[None]:
    """Turn errors of the libraries of artifact stores, of any type, into ArtifactStoreError."""
    try:
        yield
    except _error_types():
        raise
    except Exception as error:
        raise ArtifactStoreError(f"{type(error).__name__}: {error}") from error


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
            except _error_types() as error:
                from bpexp.tracking import store_errors

                reason = store_errors.reason(error)
                if not store_errors.is_transient(error):
                    raise TrackingError(f"The store refused: {reason}.") from error
                if time.monotonic() + delay > deadline:
                    waited = f" after {self.seconds:g} s" if self.seconds else ""
                    raise TrackingError(
                        f"The store could not be used{waited}: {reason}."
                    ) from error
            self.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)


def _error_types() -> tuple[type[Exception], ...]:
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
