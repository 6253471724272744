"""Runs read back from a store."""

import io
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from bpexp.config.schema import RUNTIME
from bpexp.fields.checks import ConfigError
from bpexp.tracking.retry import Patience
from bpexp.tracking.store import Store
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient as MlflowClient
    from mlflow.entities import Run as Run
    from mlflow.store.entities import PagedList

FIGURES = (
    "final_loss", "epochs_run", "accuracy", "test_loss", "test_accuracy", "lowest_validation_loss",
)  # fmt: skip


def search(
    client: "MlflowClient", experiment: str, filter_string: str = "", sweep: str | None = None
) -> list["Run"]:
    """Runs of an experiment, the newest first; ``filter_string`` is MLflow's own language.

    Raises ConfigError for an experiment that is not there or a filter MLflow refuses.
    """
    found = Patience().attempt(lambda: client.get_experiment_by_name(experiment))
    if found is None:
        raise ConfigError(f"--experiment must be an experiment of this store, got {experiment!r}.")
    if not sweep:
        return _pages(client, found.experiment_id, filter_string)
    parent = find(client, experiment, sweep).info.run_id
    runs: list[Run] = []
    # A run that another sweep reuses keeps its parent and is tagged with that sweep.
    for clause in (
        f"tags.`mlflow.parentRunId` = '{parent}'",
        f"tags.`bpexp.sweep.{parent}` = 'linked'",
    ):
        both = f"{filter_string} and {clause}" if filter_string else clause
        runs += _pages(client, found.experiment_id, both)
    return runs


def _pages(client: "MlflowClient", experiment_id: str, filter_string: str) -> list["Run"]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = Patience().attempt(
            lambda token=token: _page(client, experiment_id, filter_string, token)  # type: ignore[misc]
        )
        runs += page
        token = page.token
        if not token:
            return runs


def _page(
    client: "MlflowClient", experiment_id: str, filter_string: str, token: str | None
) -> "PagedList[Run]":
    from mlflow.exceptions import MlflowException

    try:
        return client.search_runs(
            [experiment_id], filter_string, max_results=5000, page_token=token
        )
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        said = " ".join(str(error).split())
        raise ConfigError(
            f'--filter must be an MLflow filter such as "metrics.final_loss < 0.1", '
            f"got {filter_string!r}: {said}"
        ) from error


def find(client: "MlflowClient", experiment: str, wanted: str) -> "Run":
    """The run whose id starts with ``wanted``, or whose name it is.

    Raises ConfigError where none or more than one run fits.
    """
    if len(wanted) == 32:
        return Patience().attempt(lambda: _get(client, wanted))
    runs = search(client, experiment)
    fits = [r for r in runs if r.info.run_id.startswith(wanted) or r.info.run_name == wanted]
    if not wanted or not fits:
        raise ConfigError(
            f"RUN must be the id, its beginning, or the name of a run, got {wanted!r}; "
            "python -m bpexp runs lists them."
        )
    if len(fits) > 1:
        ids = ", ".join(run.info.run_id[:12] for run in fits[:5])
        raise ConfigError(f"RUN must fit one run, got {wanted!r}, which fits {len(fits)}: {ids}.")
    return fits[0]


def _get(client: "MlflowClient", run_id: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(f"RUN must be a run of this store, got {run_id!r}.") from error


def trained(client: "MlflowClient", run: "Run") -> "Run":
    """The run itself; for a sweep, its best run. Raises ConfigError where it has none."""
    if run.data.tags.get("bpexp.kind") != "sweep":
        return run
    best = run.data.tags.get("bpexp.best_run", "none")
    if best == "none":
        raise ConfigError(
            f"RUN must be a sweep with a run that finished, got {run.info.run_name!r}."
        )
    return find(client, client.get_experiment(run.info.experiment_id).name, best)


def ending(run: "Run") -> tuple[str, int, str]:
    """How the run ended, its epochs, and its data set's digest, as far as they were tracked."""
    digests = [data.dataset.digest for data in run.inputs.dataset_inputs] if run.inputs else []
    outcome = run.data.tags.get("bpexp.outcome", "not one of bpexp's")
    return outcome, int(metrics(run).get("epochs_run", 0)), "".join(digests[:1])


def metrics(run: "Run") -> dict[str, float]:
    """A run's metrics; SQLite keeps in a column of numbers whatever it is given."""
    given: dict[str, Any] = run.data.metrics
    return {key: value for key, value in given.items() if isinstance(value, int | float)}


def settings(run: "Run") -> dict[str, str]:
    """What the run is a function of; how it was carried out is left out."""
    given: dict[str, str] = run.data.params
    return {key: text for key, text in given.items() if key.partition(".")[0] not in RUNTIME}


def frame(runs: list["Run"]) -> "pd.DataFrame":
    """One row a run: id, name, sweep, status, outcome, settings, final figures."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "run_id": run.info.run_id,
                "name": run.info.run_name,
                "sweep": run.data.tags.get("mlflow.parentRunId", ""),
                "status": run.info.status,
                "outcome": run.data.tags.get("bpexp.outcome", run.data.tags.get("bpexp.kind", "")),
                **{key: _value(text) for key, text in sorted(settings(run).items())},
                **{key: metrics(run).get(key, float("nan")) for key in FIGURES},
            }
            for run in runs
        ]
    ).convert_dtypes()


def _value(text: str) -> Any:
    """A parameter as the number it was; other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def sweep_table(client: "MlflowClient", parent: "Run") -> "pd.DataFrame":
    """One row a run of a sweep, as ``frame`` has them, and where each keeps its artifacts.

    The parent's results.parquet holds all of it; where there is none, the runs are searched.
    """

    run_id, uri = parent.info.run_id, parent.info.artifact_uri
    content = artifact(client, run_id, uri, "results.parquet")
    if content is None:
        experiment = client.get_experiment(parent.info.experiment_id).name
        return runs_table(search(client, experiment, sweep=run_id))
    table = _results(content, parent)
    # MLflow lays out the artifacts of all runs of one experiment alike.
    return table.assign(artifacts=[uri.replace(run_id, child) for child in table["run_id"]])


def _results(content: bytes, parent: "Run") -> "pd.DataFrame":
    """A sweep's results.parquet. Raises ConfigError where it is not what a sweep writes."""
    import pandas as pd

    name = f"results.parquet of {parent.info.run_id[:8]}"
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:
        # Readers raise many kinds of error on a broken file.
        raise ConfigError(f"{name} must be a readable table, got a broken one.") from error
    texts, numbers = ("run_id", "name", "outcome"), FIGURES
    missing = [key for key in (*texts, *numbers, "seed") if key not in table.columns]
    if missing or not len(table):
        raise ConfigError(f"{name} must be a sweep's, got no {missing[0] if missing else 'row'}.")
    for key in numbers:
        try:
            table[key].astype("float64")
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} must hold numbers as {key}, got others.") from error
    return table.astype(dict.fromkeys(texts, "str"))


def runs_table(runs: Sequence["Run"]) -> "pd.DataFrame":
    """``frame`` of the runs that are no sweep's parent, and where each keeps its artifacts."""
    children = [run for run in runs if run.data.tags.get("bpexp.kind") != "sweep"]
    return frame(children).assign(artifacts=[run.info.artifact_uri for run in children])


def artifact(client: "MlflowClient", run_id: str, uri: str, name: str) -> bytes | None:
    """The content of a run's artifact, or None; ``uri`` is the run's artifact folder."""
    from mlflow.exceptions import MlflowException

    parsed = urlparse(uri)
    try:
        if parsed.scheme in ("", "file"):
            return (Path(unquote(parsed.path)) / name).read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            return Path(client.download_artifacts(run_id, name, folder)).read_bytes()
    except (MlflowException, OSError):
        return None


def _loss(content: bytes, run_id: str) -> Array:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = np.asarray(arrays["loss"], np.float64)
    except Exception as error:
        # As with tables: a broken file is one thing, whatever its reader calls it.
        raise ConfigError(f"losses.npz of run {run_id[:8]} must hold loss, got none.") from error
    if found.ndim != 1 or not len(found):
        raise ConfigError(f"losses.npz of run {run_id[:8]} must hold a loss an epoch, got others.")
    return found


def keeps_inside(run: "Run", store: Store) -> bool:
    """Whether a run's artifacts are where its store may have them written.

    A SQLite store that was copied, or made by others, may name any folder of this machine.
    """
    parsed = urlparse(run.info.artifact_uri)
    if not store.uri.startswith("sqlite") or parsed.scheme not in ("", "file"):
        return True
    folder = Path(store.uri.removeprefix("sqlite:///")).resolve().parent
    return Path(unquote(parsed.path)).resolve().is_relative_to(folder)


def losses(client: "MlflowClient", rows: "pd.DataFrame", epochs: Array) -> Array:
    """Loss of each run at the given epochs, (n_runs, n_epochs); nan after its end.

    ``rows`` has ``run_id`` and ``artifacts``. A run without losses.npz is read from its loss
    metric, with straight lines between the points logged.
    """

    def read_one(run_id: str, uri: str) -> Array:
        content = artifact(client, run_id, uri, "losses.npz")
        if content is not None:
            values = _loss(content, run_id)
            steps = np.arange(1, len(values) + 1)
        else:
            points = sorted((m.step, m.value) for m in client.get_metric_history(run_id, "loss"))
            steps, values = np.array(points or [(0, np.nan)]).T
        inside = epochs <= steps[-1]
        return np.where(inside, np.interp(epochs, steps, values), np.nan)

    with ThreadPoolExecutor(8) as readers:
        return np.array(list(readers.map(read_one, rows["run_id"], rows["artifacts"])))
