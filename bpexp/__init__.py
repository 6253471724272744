"""bpexp: sweeps of backpropagation, configured by Hydra, run by joblib, tracked in MLflow.

``train`` returns one run's result as a value; ``sweep`` runs and tracks a product of
settings; ``load_runs`` reads a store; ``report`` says what a sweep found.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpexp.api import load_runs, report, sweep, train

__all__ = ["load_runs", "report", "sweep", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The workers and --help import this package too; the interface's imports come late.
    if name in __all__:
        from bpexp import api

        return getattr(api, name)
    raise AttributeError(f"module 'bpexp' has no attribute {name!r}")
