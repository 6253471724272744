"""Errors of stores: whether another attempt may succeed, and what they say."""

from requests import RequestException, exceptions
from sqlalchemy.exc import DBAPIError, OperationalError

from bpexp.tracking import server_errors
from bpexp.tracking.retry import ArtifactStoreError

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_NO_ANSWER = {"ConnectionError", "TimeoutError", "HTTPClientError", "ServiceRequestError",
              "ServiceResponseError", "TransportError"}  # fmt: skip
"""Base classes, by name, of errors of Python, urllib3, boto3 (S3), Azure and Google Cloud."""


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed after an error of MLflow, SQLAlchemy or a storage.

    Transient are a locked SQLite file, a PostgreSQL server that is down or resolved a deadlock,
    and an MLflow server or a storage that is down, overloaded or answers with a server error.
    """
    origin = _root_cause(error)
    if isinstance(origin, RequestException):
        return _is_transient_request(origin)
    if isinstance(error, ArtifactStoreError | ConnectionError | TimeoutError):
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


def _is_transient_request(error: RequestException) -> bool:
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
    while not isinstance(error, RequestException | DBAPIError):
        # MLflow raises its own error for a failed request without setting __cause__.
        context = error.__context__ if isinstance(error.__context__, RequestException) else None
        cause = error.__cause__ or context
        if cause is None:
            break
        error = cause
    return error


def reason(error: BaseException) -> str:
    """The message of the root cause, on one line; or what a user of the server can do about it."""
    error = _root_cause(error)
    # The message of a failed request is long; its reason is for example "Connection refused".
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = server_errors.without_markup(str(getattr(error, "orig", None) or reason or error))
    is_of_client = type(error).__module__.startswith(("mlflow.", "requests."))
    advice = server_errors.advice(text) if is_of_client else ""
    return advice or text[:300].rstrip(".?")
