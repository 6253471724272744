"""bpexp from Python."""

import copy
import itertools
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpexp.config.schema import conf_dir
from bpexp.runs.result import TrainResult

if TYPE_CHECKING:
    import pandas as pd

    from bpexp.analysis.report import Report

Settings = Any
GROUPS = ("data", "model", "optimizer", "schedule", "backend")


def train(**settings: Settings) -> TrainResult:
    """Train one run, without tracking it: ``train(seed=3, lr=0.5, data="parity")``.

    Settings are those of the command line; groups of them are given as a dict
    (``data={"name": "parity", "bits": 3}``) or with ``__`` for the dot (``data__bits=3``).
    Raises ConfigError for a setting that breaks its rule.
    """
    from bpexp.sweeps import plan
    from bpexp.training.batching import load_engine, make_batches
    from bpexp.training.loop import train_batch

    made = plan.make([_compose(settings)])
    (batch,) = make_batches(made.configs, made.session.engine, 1)
    ((_, result),) = train_batch(made.configs, load_engine(batch.engine))
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

        made = plan.make([_compose(job) for job in jobs])
        finished = app.run(made, is_sweep=True, quiet=True)
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


def _compose(settings: dict[str, Settings]) -> dict[str, Any]:
    chosen = {k: v for k, v in settings.items() if k in GROUPS and isinstance(v, str)}
    composed: Any = copy.deepcopy(_chosen(tuple(chosen.items())))
    for key, value in settings.items():
        if key in GROUPS and isinstance(value, str):
            continue
        *path, last = key.split("__")
        node = composed
        for part in path:
            node = node.setdefault(part, {})
        node[last] = _listed(value)
    return dict(composed)


@lru_cache(maxsize=64)
def _chosen(groups: tuple[tuple[str, str], ...]) -> Any:
    """The configuration with these groups chosen; Hydra takes tens of milliseconds for it."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", [f"{group}={name}" for group, name in groups])
    return OmegaConf.to_container(config, resolve=False)


def _listed(value: Any) -> Any:
    return (
        list(value) if isinstance(value, Iterable) and not isinstance(value, str | dict) else value
    )
