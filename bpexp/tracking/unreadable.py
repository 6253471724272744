"""The error about a stored run that cannot be read, apart from errors of the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from bpexp.fields.checks import ConfigError
from bpexp.tracking.retry import TrackingError


class UnreadableRunError(ConfigError):
    """A run's artifact is missing, malformed or not its own, or its data are missing or changed.

    Checks of stored runs report it, and go on. They do not go on after a TrackingError.
    """


class HiddenFileError(TrackingError):
    """A file of this machine must not be read, which says nothing about its content.

    Checks of many runs name it, and go on; nothing else does.
    """


@contextmanager
def unreadable_run_errors() -> Iterator[None]:
    """Raise errors about what is stored of a run as UnreadableRunError; also a decorator."""
    try:
        yield
    except (TrackingError, UnreadableRunError):
        raise
    except ConfigError as error:
        raise UnreadableRunError(str(error)) from error
