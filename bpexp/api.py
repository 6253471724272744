"""The functions of the package ``bpexp``: train, sweep, extend, load runs, and report.

What ``sweep`` and ``report`` need of SciPy and matplotlib is imported when they are called, what
describes errors when there is one.

>>> train(lr=0.5, epochs=10).epochs_run
10
"""

import inspect
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from bpexp import app
from bpexp.config.compose import Composer, compose_settings, composer, plain_value
from bpexp.config.schema import SearchConfig, flatten
from bpexp.data import python_tables
from bpexp.fields.checks import ConfigError
from bpexp.reporter import SilentReporter
from bpexp.sweeps import budget, plan_generations, python_data, race, search
from bpexp.sweeps.data_notes import notes
from bpexp.sweeps.executors import make_batches
from bpexp.sweeps.grid import sweep_files
from bpexp.sweeps.grid.python_jobs import (
    as_arguments,
    compose_jobs,
    has_search,
    typed_arguments,
    zip_argument,
)
from bpexp.sweeps.grid_plan import plan_grid
from bpexp.sweeps.job import format_setting
from bpexp.sweeps.plan import Plan, single_run_plan
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking import lookup, run_tables
from bpexp.tracking.archive import Archive, open_archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate_existing
from bpexp.training.batching import load_engine
from bpexp.training.loop import train_batch
from bpexp.training.predictor import FittedResult, fitted

if TYPE_CHECKING:
    from bpexp.analysis.report import Report

Settings = Any
"""Values of settings, or lists of values in ``sweep``."""
OF_STORED_RUNS = ("tracking", "reuse", "export", "dry_run")
"""Settings and groups that ``train`` refuses, because it stores nothing."""


def train(
    X: Any = None, y: Any = None, *, target: Any = None, **settings: Settings
) -> FittedResult:
    """Train one run, without tracking it.

    Args:
        X: Inputs of your own data: an array (n_rows, n_columns), or a table of pandas. Together
            with ``target``, a table that has the targets, too. ``data=(X, y)`` means the same.
        y: Targets, (n_rows,) or (n_rows, n_targets). Texts and booleans are classes; numbers are
            classes with ``model="classifier"`` or ``data__task="classification"``.
        target: Name of the target column of X, or a list of names.
        **settings: Settings as on the command line. A group is the name of an option
            (``data="parity"``), a dict (``data={"name": "parity", "bits": 3}``) or its settings
            with ``__`` for the dot (``data__bits=3``). X and y take the settings of ``data=file``.

    Returns:
        Losses, predictions, weights and metrics; see ``bpexp.runs.result.TrainResult``. Its
        methods ``predict(X)``, ``predict_proba(X)`` and ``score(X, y)`` take new rows.

    Raises:
        ConfigError: A setting breaks its rule, or the data cannot be used.

    >>> result = train(seed=3, lr=0.5, epochs=100)
    >>> result.outcome, len(result.losses)
    (<Outcome.COMPLETED: 'completed'>, 100)
    """
    with _described_errors((), settings):
        given = python_data.take(X, y, target, settings)
        if given is None:
            return _train(settings)
        with python_tables.in_use(given.frame) as path:
            return _train(given.settings(path))


@contextmanager
def _described_errors(arguments: Sequence[str], settings: Mapping[str, Any]) -> Iterator[None]:
    """Raise errors in settings with the sentences that the command line prints."""
    try:
        yield
    except (ConfigError, HydraException, OmegaConfBaseException, YAMLError) as error:
        from bpexp.errors import sentences

        described = sentences.describe(error, typed_arguments(arguments, settings))
        if isinstance(error, ConfigError) and described == str(error):
            raise
        raise ConfigError(described) from error


def _train(settings: Mapping[str, Any]) -> FittedResult:
    for key, value in settings.items():
        if key.replace("__", ".").partition(".")[0] in OF_STORED_RUNS and value:
            raise ConfigError(
                f"{key} is for runs that are stored, which those of bpexp.train are not: leave it "
                "out, or call bpexp.sweep."
            )
    plan = single_run_plan(compose_settings(settings))
    _warn(plan)
    (batch,) = make_batches(plan.jobs, plan.runtime.engine, 1)
    ((_, result),) = train_batch(plan.configs, load_engine(batch.engine), plan.jobs[0].dataset)
    return fitted(result, plan.configs[0], plan.jobs[0].dataset)


def _warn(plan: Plan) -> None:
    """Warn of what the terminal says about the data, such as classes without a training row."""
    # The warning is at the user's line, which called a function of this module.
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals is globals():
        level, frame = level + 1, frame.f_back
    for sentence in notes(plan):
        warnings.warn(sentence, stacklevel=level)


def sweep(*arguments: str, target: Any = None, **settings: Settings) -> pd.DataFrame:
    """Run and track every combination of the values of settings.

    Args:
        *arguments: Settings in the syntax of the command line: ``"lr=logspace(-3,0,7)"``,
            ``"zip(lr=[0.1,0.01],hidden=[2,8])"``, ``"optimizer=adam lr=0.01 | lr=0.1,1"``.
        **settings: As in ``train``; a list, range or array is a list of values. One network with
            several hidden layers is a list in the list: ``hidden=[2, [8, 4]]``. A text may be a
            sweep of the command line: ``lr="logspace(-3,0,7)"``. The lists of a dictionary
            ``zip={"lr": [0.1, 0.01], "hidden": [2, 8]}`` change together. With ``search="tpe"`` the
            values are searched: ``lr="tag(log,interval(1e-3,1))"``; only seeds are not.
            ``data=(X, y)`` and ``data=table`` are written to outputs/data/, so that the runs can be
            reproduced.
        target: Name of the target column of ``data=table``, or a list of names.

    Returns:
        A row for each run with its settings, outcome and metrics; the last setting varies fastest.
        ``attrs["sweep"]`` is the id of the sweep, for ``report`` and ``extend``.

    Raises:
        ConfigError: A setting breaks its rule; nothing has been trained then.
    """
    with _described_errors(arguments, settings):
        return _sweep(arguments, target, settings)


def _sweep(arguments: Sequence[str], target: Any, settings: dict[str, Settings]) -> pd.DataFrame:
    """Train a search, a race or a grid; see ``sweep``."""
    if "sweep" in settings:
        arguments = (*arguments, f"sweep={settings.pop('sweep')}")
    if "zip" in settings:
        arguments = (*arguments, zip_argument(settings.pop("zip")))
    given = python_data.take(None, None, target, settings)
    if given is not None:
        settings = given.settings(python_data.save(given.frame))
        # A list in a list is one value.
        settings["data__target"] = [settings["data__target"]]
    job_composer = composer()
    if has_search(arguments, settings):
        typed = as_arguments(arguments, settings)
        search_config = search.settings_of(typed, job_composer)
        if search_config is not None:
            return _searched(typed, search_config, job_composer)
    composed = compose_jobs(arguments, settings)
    plan, _ = plan_grid(composed, arguments, lambda index: flatten(composed[index]))
    if settings:
        # The arguments alone are another sweep.
        plan = replace(plan, overrides=())
    if plan.is_race:
        race.check_no_seed([*sweep_files.jobs(arguments, job_composer), list(settings)])
    return _run(plan, job_composer)


def _run(plan: Plan, job_composer: Composer) -> pd.DataFrame:
    """Train the plan of a new sweep, and what follows it."""
    if plan.runtime.dry_run:
        raise ConfigError("dry_run is for the command line: bpexp -m ... --dry-run.")
    _warn(plan)
    generations = plan_generations.of_plan(plan, job_composer)
    return _table(app.run_sweep(plan, SilentReporter(), generations=generations))


def extend(
    sweep: str,
    *arguments: str,
    uri: str | None = None,
    experiment: str = "bpexp",
    **settings: Settings,
) -> pd.DataFrame:
    """Add runs to a stored sweep, and train those that it has no finished run of.

    Args:
        sweep: Its id, the start of its id, its name, or ``latest``.
        *arguments: Settings in the syntax of the command line, as in ``sweep``.
        uri: The store; by default MLFLOW_TRACKING_URI, or ./outputs/mlflow.db.
        experiment: The MLflow experiment.
        **settings: What is added: every combination of the sweep with these values in place of its
            own, such as ``seed=range(10, 50)``; of a search, ``search__trials=100``.
            ``budget__runs``, ``budget__epochs`` and ``budget__seconds`` limit this call.

    Returns:
        A row for each run of the extended sweep, as ``sweep``.

    Raises:
        ConfigError: The sweep does not exist or cannot be extended, nothing is new, or a setting
            breaks its rule; nothing has been trained then.
    """
    with _described_errors(arguments, settings):
        return _extend(sweep, uri, experiment, as_arguments(arguments, settings))


def _extend(sweep: str, uri: str | None, experiment: str, arguments: Sequence[str]) -> pd.DataFrame:
    limits, added = budget.split(arguments)
    store = locate_existing(uri, Path.cwd(), os.environ)
    reader = open_reader(store)
    name, parent = lookup.find(reader, experiment, sweep, is_sweep=True)
    request = app.ResumeRequest(
        Archive(reader, store, parent.experiment_id),
        name,
        parent,
        budget=budget.of_arguments(limits),
    )
    reporter = SilentReporter()
    return _table(app.extended(request, added, reporter).train(reporter))


def _searched(
    arguments: Sequence[str], settings: SearchConfig, job_composer: Composer
) -> pd.DataFrame:
    plan = search.first_plan(
        arguments, settings, job_composer, lambda jobs: map(job_composer.compose, jobs)
    )
    return _run(plan, job_composer)


def _table(finished: FinishedSweep) -> pd.DataFrame:
    from bpexp.sweeps import summary

    table = pd.DataFrame(summary.results_table(finished))
    table.attrs["sweep"] = finished.parent
    return table


def load_runs(
    sweep: str | None = None,
    *,
    uri: str | None = None,
    experiment: str = "bpexp",
    filter: str = "",
) -> pd.DataFrame:
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
    reader = open_reader(locate_existing(uri, Path.cwd(), os.environ))
    if sweep:
        parent = lookup.find(reader, experiment, sweep, is_sweep=True).run
        experiment_id, sweep = parent.experiment_id, parent.run_id
    else:
        experiment_id = lookup.experiment_id(reader, experiment)
    query = Query(filter, sweep=sweep, are_sweeps=False)
    return run_tables.frame(reader.search(experiment_id, query, run_tables.table_parts()))


def report(
    *sweeps: str,
    uri: str | None = None,
    experiment: str = "bpexp",
    measure: str | None = None,
    allow_test: bool = False,
    seed: int = 0,
    per: str | None = None,
    only: Mapping[str, Any] | None = None,
    detect: str | float | None = None,
) -> "Report":
    """Compare the combinations of a sweep, over its seeds.

    Args:
        *sweeps: Ids, starts of ids, names, or ``latest``; several are compared. None: all runs of
            the experiment.
        uri: The store; by default MLFLOW_TRACKING_URI, or ./outputs/mlflow.db.
        experiment: The MLflow experiment.
        measure: The objective to rank by; by default that of the sweeps.
        allow_test: Whether it may be a metric of the test rows, which makes figures optimistic.
        seed: Seed for the choice of runs that are drawn in plots.
        per: A setting such as ``optimizer.name``: the best combination within each of its values is
            chosen by the measure, and these are compared on test rows if there are any.
        only: Only the runs with these settings, such as ``{"data.name": "xor"}``.
        detect: Say in the answer how many seeds detect a difference, such as ``"10%"`` or 0.02.

    Returns:
        The report: ``answer`` as text, ``table`` with a row for each group, ``figures`` by name,
        and ``files(["html"])``.

    Raises:
        ConfigError: A sweep does not exist, or its runs cannot be compared.
    """
    from bpexp.analysis import stored_report
    from bpexp.analysis.objective_choice import ObjectiveChoice
    from bpexp.analysis.options import ReportOptions
    from bpexp.analysis.planning import NamedDifference

    options = ReportOptions(
        choice=ObjectiveChoice(measure, allow_test),
        seed=seed,
        per=per,
        only={key: format_setting(plain_value(value)) for key, value in (only or {}).items()},
        detect=None if detect is None else NamedDifference.parse(str(detect)),
    )
    store = locate_existing(uri, Path.cwd(), os.environ)
    if not sweeps:
        return stored_report.of_experiment(open_archive(store, experiment), experiment, options)
    reader = open_reader(store)
    parents = [lookup.find(reader, experiment, sweep, is_sweep=True).run for sweep in sweeps]
    archive = Archive(reader, store, parents[0].experiment_id)
    return stored_report.of_sweeps(archive, parents, options)
