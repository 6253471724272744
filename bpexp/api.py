"""bpexp from Python."""

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpexp import app
from bpexp.config.compose import compose_settings, plain_value
from bpexp.reporter import SilentReporter
from bpexp.runs.result import TrainResult
from bpexp.sweeps import summary
from bpexp.sweeps.executors import make_batches
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.samplers.grid import check_different
from bpexp.training.batching import load_engine
from bpexp.training.loop import train_batch

if TYPE_CHECKING:
    import pandas as pd

    from bpexp.analysis.report import Report

Settings = Any


def train(**settings: Settings) -> TrainResult:
    """Train one run, without tracking it.

    Args:
        **settings: Settings as on the command line. A group is the name of an option
            (``data="parity"``), a dict (``data={"name": "parity", "bits": 3}``) or its settings
            with ``__`` for the dot (``data__bits=3``).

    Returns:
        The result.

    Raises:
        ConfigError: A setting breaks its rule.

    >>> result = train(seed=3, lr=0.5, epochs=100)
    >>> result.outcome, len(result.losses)
    (<Outcome.COMPLETED: 'completed'>, 100)
    """
    plan = make_plan([compose_settings(settings)])
    (batch,) = make_batches(plan.jobs, plan.runtime.engine, 1)
    ((_, result),) = train_batch(plan.configs, load_engine(batch.engine))
    return result


def sweep(**settings: Settings) -> "pd.DataFrame":
    """Run and track every combination of the values of settings.

    Args:
        **settings: As in ``train``; a list, range or array is a list of values. One network with
            several hidden layers is a list in the list: ``hidden=[2, [8, 4]]``.

    Returns:
        A row for each run, in order; the last setting varies fastest.

    Raises:
        ConfigError: A setting breaks its rule; nothing has been trained then.
    """
    import pandas as pd

    settings = {key: plain_value(value) for key, value in settings.items()}
    values = [list(v) if isinstance(v, list | range) else [v] for v in settings.values()]
    for key, of_key in zip(settings, values, strict=True):
        check_different(key.replace("__", "."), of_key)
    jobs = [dict(zip(settings, job, strict=True)) for job in itertools.product(*values)]
    plan = make_plan([compose_settings(job) for job in jobs])
    finished = app.run_sweep(plan, SilentReporter())
    return pd.DataFrame(summary.results_table(finished))


def load_runs(
    sweep: str | None = None,
    *,
    uri: str | None = None,
    experiment: str = "bpexp",
    filter: str = "",
) -> "pd.DataFrame":
    """Return tracked runs as a table, the newest first.

    Args:
        sweep: Only the runs of this sweep: its id, the start of its id, its name, or ``latest``.
        uri: The store; by default MLFLOW_TRACKING_URI, or ./outputs/mlflow.db.
        experiment: The MLflow experiment.
        filter: MLflow's filter, such as ``"metrics.final_loss < 0.1"``.

    Returns:
        One row for each run: id, name, sweep, status, outcome, settings and metrics.

    Raises:
        ConfigError: The experiment or the sweep does not exist, or the filter is invalid.
    """
    from bpexp.tracking import lookup, read
    from bpexp.tracking.store import connect, locate

    client = connect(locate(uri, Path.cwd(), os.environ))
    if sweep:
        experiment, parent = lookup.find(client, experiment, sweep, sweeps=True)
        sweep = parent.info.run_id
    runs = lookup.search(client, experiment, filter, sweep)
    return read.frame([run for run in runs if not lookup.is_sweep(run)])


def report(
    *sweeps: str,
    uri: str | None = None,
    experiment: str = "bpexp",
    measure: str | None = None,
    seed: int = 0,
) -> "Report":
    """Compare the settings of a sweep, over its seeds.

    Args:
        *sweeps: Ids, starts of ids, names, or ``latest``. Two sweeps: whether they agree. None: all
            runs of the experiment.
        uri: The store; by default MLFLOW_TRACKING_URI, or ./outputs/mlflow.db.
        experiment: The MLflow experiment.
        measure: The metric to rank by; by default the first that the runs have of
            epochs_to_converge, final_loss, accuracy, test_loss and test_accuracy.
        seed: Seed of the bootstrap.

    Returns:
        The report: ``answer`` as text, ``table`` with a row for each group, ``figures`` by name,
        and ``files(["html"])``.

    Raises:
        ConfigError: A sweep does not exist, or its runs cannot be compared.
    """
    from bpexp.analysis import sources
    from bpexp.tracking import lookup
    from bpexp.tracking.store import connect, locate

    client = connect(locate(uri, Path.cwd(), os.environ))
    if not sweeps:
        return sources.of_experiment(client, experiment, measure, seed)
    parents = [lookup.find(client, experiment, wanted, sweeps=True)[1] for wanted in sweeps]
    return sources.of_sweeps(client, parents, measure, seed)
