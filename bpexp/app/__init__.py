"""Executes plans: opens the store, trains, tracks and summarizes.

The functions report progress and results to a ``Reporter``, so that they work from the command line
and from Python. Each is imported when it is used: a single run needs nothing that resumes sweeps.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpexp.app.preview import dry_run
    from bpexp.app.resuming import Continuation, ResumeRequest, extended, resumed
    from bpexp.app.single import run_single, store_spooled_run
    from bpexp.app.sweep import run_sweep

__all__ = [
    "Continuation",
    "ResumeRequest",
    "dry_run",
    "extended",
    "resumed",
    "run_single",
    "run_sweep",
    "store_spooled_run",
]

_MODULES = {
    "Continuation": "resuming",
    "ResumeRequest": "resuming",
    "dry_run": "preview",
    "extended": "resuming",
    "resumed": "resuming",
    "run_single": "single",
    "run_sweep": "sweep",
    "store_spooled_run": "single",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
