"""Reads the pages of a search by MLflow's client one after the other."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from bpexp.tracking.retry import RetryPolicy

if TYPE_CHECKING:
    from mlflow.store.entities import PagedList

T = TypeVar("T")


def items(request: "Callable[..., PagedList[T]]", retry: RetryPolicy) -> Iterator[T]:
    """The items of all pages; each page is requested when it is needed.

    Args:
        request: Returns one page; called with ``page_token``, which is None for the first page.
        retry: How long to wait for a page.

    Raises:
        TrackingError: The store rejected a request, or stayed unavailable.
    """
    token: str | None = None
    while token != "":
        page = retry.call(request, page_token=token)
        yield from page
        token = page.token or ""
