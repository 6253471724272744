"""Train many small neural networks by backpropagation, track every run, and compare settings.

>>> import bpexp
>>> result = bpexp.train(lr=0.5, hidden=4, epochs=100)
>>> result.epochs_run
100

``train`` trains one run without tracking it, ``sweep`` trains and tracks all combinations of
settings, ``extend`` adds runs to a sweep, ``load_runs`` reads tracked runs, and ``report`` compares
the combinations of a sweep. The settings are those of the command line; ``bpexp --help`` lists
them. A wrong one raises a ``ConfigError``, a ValueError, that says what to change. The functions
are imported when they are used, which keeps ``--help`` fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpexp.api import extend, load_runs, report, sweep, train
    from bpexp.fields.checks import ConfigError

__all__ = ["ConfigError", "extend", "load_runs", "report", "sweep", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "ConfigError":
        from bpexp.fields.checks import ConfigError

        return ConfigError
    if name in __all__:
        from bpexp import api

        return getattr(api, name)
    raise AttributeError(f"module 'bpexp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__file__", "__path__", "__version__"])
