"""Registers in worker processes what other packages have registered in this process.

A worker process imports bpexp, but not the module that registered an optimizer from outside.

>>> added()
((), (), (), ())
"""

from collections.abc import Callable
from typing import Any, TypeVar

from bpexp.fields import Registry
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.nn.schedules import SCHEDULES
from bpexp.runs.metrics import METRICS

T = TypeVar("T")

REGISTRIES: tuple[Registry[Any], ...] = (ACTIVATIONS, OPTIMIZERS, SCHEDULES, METRICS)
"""What training looks up by name. Data sets are sent to the workers as arrays."""

Records = tuple[tuple[Any, ...], ...]


def added() -> Records:
    """The records that were added to each of ``REGISTRIES`` by other packages."""
    return tuple(registry.added for registry in REGISTRIES)


def call(records: Records, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a worker process, after the registration of records.

    Args:
        records: What ``added`` returned in the process that sent the call.
        function: The function.
        *arguments: Its arguments.
    """
    for registry, of_registry in zip(REGISTRIES, records, strict=True):
        # Workers are used again: what was registered for an earlier sweep is removed.
        registry.replace_added(of_registry)
    return function(*arguments)
