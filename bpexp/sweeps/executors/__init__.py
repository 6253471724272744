"""Executors: where the jobs of a sweep are trained. Each module of this package registers one."""

import importlib
import pkgutil

from bpexp.sweeps.executors.base import Batch, Executor, make_batches, open_executor

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Batch", "Executor", "make_batches", "open_executor"]
