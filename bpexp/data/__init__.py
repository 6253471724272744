"""Data sets: from a ``config.Data`` to arrays."""

from bpexp.data.dataset import Dataset
from bpexp.data.source import load

__all__ = ["Dataset", "load"]
