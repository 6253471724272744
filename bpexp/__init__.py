"""Train many small neural networks by backpropagation, track every run, and compare settings.

>>> import bpexp
>>> result = bpexp.train(lr=0.5, hidden=4, epochs=100)
>>> result.epochs_run
100

``train`` trains one run without tracking it, ``sweep`` trains and tracks all combinations of
settings, ``extend`` adds runs to a sweep, ``load_runs`` reads tracked runs, and ``report`` compares
the settings of a sweep. The settings are those of the command line; ``bpexp --help`` lists them.
What is wrong with one is raised as a ``ConfigError``, a ValueError. All of them are imported when
they are used: workers and ``--help`` import this package, but need none of them.
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
