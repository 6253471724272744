"""bpexp from Python."""

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpexp.config.compose import compose_settings
from bpexp.runs.result import TrainResult

if TYPE_CHECKING:
    import pandas as pd

    from bpexp.analysis.report import Report

Settings = Any


def train(**settings: Settings) -> TrainResult:
    """Train one run, without tracking it: ``train(seed=3, lr=0.5, data="parity")``.

    Settings are those of the command line; groups of them are given as a dict
    (``data={"name": "parity", "bits": 3}``) or with ``__`` for the dot (``data__bits=3``).
    Raises ConfigError for a setting that breaks its rule.
    """
    from bpexp.sweeps import plan
    from bpexp.training.batching import load_engine, packs
    from bpexp.training.run_batch import train_pack

    made = plan.make([compose_settings(settings)])
    (pack,) = packs(made.configs, made.session.engine, 1)
    ((_, result),) = train_pack(made.configs, load_engine(pack.engine))
    return result


def sweep(**settings: Settings) -> "pd.DataFrame":
    """Run and track every combination of settings given as a list or range.

    ``sweep(lr=[0.1, 1], seed=range(10))`` returns one row a run, in order, the last
    setting varying fastest. A list of widths for one network is a list in the list:
    ``hidden=[2, [8, 4]]``. Raises ConfigError before the first run if any is wrong.
    """
    from bpexp.render import plot_process

    values = [list(v) if isinstance(v, list | tuple | range) else [v] for v in settings.values()]
    jobs = [dict(zip(settings, job, strict=True)) for job in itertools.product(*values)]
    with plot_process.beside():
        import pandas as pd

        from bpexp import app
        from bpexp.sweeps import plan, summary

        made = plan.make([compose_settings(job) for job in jobs])
        finished = app.run(made, is_sweep=True)
    return pd.DataFrame(summary.table(finished))


def load_runs(
    sweep: str | None = None,
    *,
    uri: str | None = None,
    experiment: str = "bpexp",
    filter: str = "",
) -> "pd.DataFrame":
    """Tracked runs, one row each, the newest first; of one sweep, if it is named."""
    from bpexp.tracking import read
    from bpexp.tracking.store import connect, locate

    client = connect(locate(uri, Path.cwd(), os.environ))
    runs = read.search(client, experiment, filter, sweep)
    return read.frame([r for r in runs if r.data.tags.get("bpexp.kind") != "sweep"])


def report(
    *sweeps: str,
    uri: str | None = None,
    experiment: str = "bpexp",
    measure: str | None = None,
    seed: int = 0,
) -> "Report":
    """What a sweep's runs say; of two sweeps, whether they agree; of none, the experiment.

    The report has the ``answer`` in words, a ``table`` with a row a group, ``figures`` by name
    as matplotlib objects, and ``files(["html"])``. ``sweeps`` are ids, their beginnings or
    names. Raises ConfigError for a sweep that is not there.
    """
    from bpexp.analysis import sources
    from bpexp.tracking import read
    from bpexp.tracking.store import connect, locate

    client = connect(locate(uri, Path.cwd(), os.environ))
    if not sweeps:
        return sources.of_experiment(client, experiment, measure, seed)
    parents = [read.find(client, experiment, wanted) for wanted in sweeps]
    return sources.of_sweeps(client, parents, measure, seed)
