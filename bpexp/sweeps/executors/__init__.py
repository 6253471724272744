"""Executors: where the jobs of a sweep are trained.

The modules of this package are imported, so that those with an executor register it: a new one is
added in one file. Those whose names begin with ``dask_`` import Dask; ``open_executor`` imports
them if needed.
"""

import importlib
import pkgutil

from bpexp.sweeps.executors.base import Batch, Executor, make_batches, open_executor

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("dask_"):
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Batch", "Executor", "make_batches", "open_executor"]
