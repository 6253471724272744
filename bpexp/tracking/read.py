"""Finds runs in a store and reads their metrics, settings and results, as MLflow's runs or tables.

MLflow and pandas are imported inside functions: they take longer than training a short run.
"""

import io
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from bpexp.config.schema import RUNTIME
from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.runs.metrics import METRICS
from bpexp.tracking.retry import RetryPolicy
from bpexp.tracking.store import Store
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient as MlflowClient
    from mlflow.entities import Run as Run
    from mlflow.store.entities import PagedList

REQUIRED_COLUMNS = ("run_id", "name", "outcome", "seed", "epochs_run", "final_loss")
"""Columns without which results.parquet is not the table of a sweep."""
_ID_LENGTH = 32
_THREADS = 8
"""Artifacts that are read at the same time."""


def search(
    client: "MlflowClient", experiment: str, filter_string: str = "", sweep: str | None = None
) -> list["Run"]:
    """The runs of an experiment, the newest first.

    Args:
        client: MLflow's client.
        experiment: Name of the experiment.
        filter_string: MLflow's filter; empty for all runs.
        sweep: Only runs of this sweep, including those that it reuses from other sweeps.

    Raises:
        ConfigError: The experiment or the sweep does not exist, or the filter is invalid.
    """
    found = RetryPolicy().call(client.get_experiment_by_name, experiment)
    if found is None:
        raise ConfigError(f"--experiment must be an experiment of this store, got {experiment!r}.")
    if not sweep:
        return _search_all_pages(client, found.experiment_id, filter_string)
    parent = find(client, experiment, sweep).info.run_id
    runs: list[Run] = []
    for clause in (
        f"tags.`mlflow.parentRunId` = '{parent}'",
        # A reused run belongs to the sweep that trained it.
        f"tags.`{run_tags.linked_sweep(parent)}` = 'linked'",
    ):
        both = f"{filter_string} and {clause}" if filter_string else clause
        runs += _search_all_pages(client, found.experiment_id, both)
    return runs


def _search_all_pages(
    client: "MlflowClient", experiment_id: str, filter_string: str
) -> list["Run"]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = RetryPolicy().call(_search_page, client, experiment_id, filter_string, token)
        runs += page
        token = page.token
        if not token:
            return runs


def _search_page(
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
        reason = " ".join(str(error).split())
        raise ConfigError(
            f'--filter must be an MLflow filter such as "metrics.final_loss < 0.1", '
            f"got {filter_string!r}: {reason}"
        ) from error


def find(client: "MlflowClient", experiment: str, wanted: str) -> "Run":
    """The run with an id, with an id that begins so, or with a name.

    Args:
        client: MLflow's client.
        experiment: Name of the experiment to search; a complete id is found in any experiment.
        wanted: The id, its first digits, or the name.

    Raises:
        ConfigError: Not exactly one run matches.
    """
    if len(wanted) == _ID_LENGTH:
        return RetryPolicy().call(_get_run, client, wanted)
    matches = matching(search(client, experiment), wanted)
    if not matches:
        raise ConfigError(
            f"RUN must be the id, its beginning, or the name of a run, got {wanted!r}; "
            "python -m bpexp runs lists them."
        )
    if len(matches) > 1:
        ids = ", ".join(run.info.run_id[:12] for run in matches[:5])
        raise ConfigError(
            f"{wanted!r} matches {len(matches)} runs; type the first digits of one id: {ids}."
        )
    return matches[0]


def matching(runs: Sequence["Run"], wanted: str) -> list["Run"]:
    """The runs with an id that begins with ``wanted``, or with that name."""
    if not wanted:
        return []
    return [r for r in runs if r.info.run_id.startswith(wanted) or r.info.run_name == wanted]


def _get_run(client: "MlflowClient", run_id: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(f"RUN must be a run of this store, got {run_id!r}.") from error


def is_sweep(run: "Run") -> bool:
    """Whether a run is the parent run of a sweep."""
    return bool(run.data.tags.get(run_tags.KIND) == run_tags.SWEEP_KIND)


def best_run(client: "MlflowClient", run: "Run") -> "Run":
    """The best run of a sweep; a run that is not a sweep itself.

    Raises:
        ConfigError: No run of the sweep has finished.
    """
    if not is_sweep(run):
        return run
    best = run.data.tags.get(run_tags.BEST_RUN, "none")
    if best == "none":
        raise ConfigError(
            f"RUN must be a sweep with a run that finished, got {run.info.run_name!r}."
        )
    return find(client, client.get_experiment(run.info.experiment_id).name, best)


def training_summary(run: "Run") -> tuple[str, int, str]:
    """The outcome of a run, its number of epochs, and the digest of its data set."""
    digests = [data.dataset.digest for data in run.inputs.dataset_inputs] if run.inputs else []
    outcome = run.data.tags.get(run_tags.OUTCOME, "not one of bpexp's")
    return outcome, int(metrics(run).get("epochs_run", 0)), "".join(digests[:1])


def metrics(run: "Run") -> dict[str, float]:
    """The metrics of a run; an SQLite column may contain text, which is left out."""
    values: dict[str, Any] = run.data.metrics
    return {key: value for key, value in values.items() if isinstance(value, int | float)}


def settings(run: "Run") -> dict[str, str]:
    """The parameters of a run that its result depends on."""
    params: dict[str, str] = run.data.params
    return {key: text for key, text in params.items() if key.partition(".")[0] not in RUNTIME}


def frame(runs: list["Run"]) -> "pd.DataFrame":
    """A table with one row per run: id, name, sweep, status, outcome, settings, metrics."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "run_id": run.info.run_id,
                "name": run.info.run_name,
                "sweep": run.data.tags.get("mlflow.parentRunId", ""),
                "status": run.info.status,
                "outcome": run.data.tags.get(
                    run_tags.OUTCOME, run.data.tags.get(run_tags.KIND, "")
                ),
                **{key: _number_or_text(text) for key, text in sorted(settings(run).items())},
                **{key: metrics(run).get(key, float("nan")) for key in METRICS},
            }
            for run in runs
        ]
    ).convert_dtypes()


def _number_or_text(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def sweep_table(client: "MlflowClient", parent: "Run") -> "pd.DataFrame":
    """The runs of a sweep in the columns of ``frame``, and the artifact URI of each.

    Read from the artifact results.parquet of the parent run. If there is none, the store is
    searched for the runs.

    Raises:
        ConfigError: results.parquet is malformed.
    """
    run_id, uri = parent.info.run_id, parent.info.artifact_uri
    content = artifact(client, run_id, uri, "results.parquet")
    if content is None:
        experiment = client.get_experiment(parent.info.experiment_id).name
        return runs_table(search(client, experiment, sweep=run_id))
    table = _parse_results(content, parent)
    # The artifact URIs of all runs of an experiment have the same form.
    return table.assign(artifacts=[uri.replace(run_id, child) for child in table["run_id"]])


def _parse_results(content: bytes, parent: "Run") -> "pd.DataFrame":
    import pandas as pd

    name = f"results.parquet of {parent.info.run_id[:8]}"
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:
        # Parquet readers raise errors of many types for malformed files.
        raise ConfigError(f"{name} is damaged.") from error
    missing = [key for key in REQUIRED_COLUMNS if key not in table.columns]
    if missing or not len(table):
        raise ConfigError(f"{name} must be a sweep's, got no {missing[0] if missing else 'row'}.")
    # A metric that was registered after the sweep has no column.
    table = table.assign(**{key: float("nan") for key in METRICS if key not in table.columns})
    for key in METRICS:
        try:
            table[key].astype("float64")
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} must contain numbers in the column {key}.") from error
    return table.astype(dict.fromkeys(("run_id", "name", "outcome"), "str"))


def runs_table(runs: Sequence["Run"]) -> "pd.DataFrame":
    """``frame`` of the runs that are not sweeps, and the artifact URI of each."""
    children = [run for run in runs if not is_sweep(run)]
    return frame(children).assign(artifacts=[run.info.artifact_uri for run in children])


def artifact(client: "MlflowClient", run_id: str, uri: str, name: str) -> bytes | None:
    """The content of an artifact, or None if the run does not have it.

    Args:
        client: MLflow's client.
        run_id: Id of the run.
        uri: Artifact URI of the run; a local one is read without MLflow.
        name: Name of the artifact.
    """
    from mlflow.exceptions import MlflowException

    parsed = urlparse(uri)
    try:
        if parsed.scheme in ("", "file"):
            return (Path(unquote(parsed.path)) / name).read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            return Path(client.download_artifacts(run_id, name, folder)).read_bytes()
    except (MlflowException, OSError):
        return None


def has_artifacts_inside(run: "Run", store: Store) -> bool:
    """Whether a run's artifacts are in the folder of its SQLite store; true for other stores.

    The database of a copied or foreign store may name any folder of this machine, in which
    nothing must be written.
    """
    parsed = urlparse(run.info.artifact_uri)
    if not store.uri.startswith("sqlite") or parsed.scheme not in ("", "file"):
        return True
    folder = Path(store.uri.removeprefix("sqlite:///")).resolve().parent
    return Path(unquote(parsed.path)).resolve().is_relative_to(folder)


def losses(client: "MlflowClient", rows: "pd.DataFrame", epochs: Array) -> Array:
    """The losses of runs at some epochs.

    Args:
        client: MLflow's client.
        rows: A table with ``run_id`` and ``artifacts`` (artifact URIs).
        epochs: Epochs, counted from 1, (n_epochs,).

    Returns:
        Losses, (n_runs, n_epochs); NaN after the end of a run. Those of a run without losses.npz
        are interpolated between the logged points of its loss.

    Raises:
        ConfigError: A losses.npz is malformed.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        read_run = partial(_losses_at, client, epochs)
        return np.array(list(pool.map(read_run, rows["run_id"], rows["artifacts"])))


def _losses_at(client: "MlflowClient", epochs: Array, run_id: str, uri: str) -> Array:
    content = artifact(client, run_id, uri, "losses.npz")
    if content is not None:
        values = _parse_losses(content, run_id)
        steps = np.arange(1, len(values) + 1)
    else:
        points = sorted((m.step, m.value) for m in client.get_metric_history(run_id, "loss"))
        steps, values = np.array(points or [(0, np.nan)]).T
    return np.where(epochs <= steps[-1], np.interp(epochs, steps, values), np.nan)


def _parse_losses(content: bytes, run_id: str) -> Array:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = np.asarray(arrays["loss"], np.float64)
    except Exception as error:
        # NumPy raises errors of many types for malformed files.
        raise ConfigError(f"losses.npz of run {run_id[:8]} must contain loss.") from error
    if found.ndim != 1 or not len(found):
        raise ConfigError(f"losses.npz of run {run_id[:8]} must contain one loss for each epoch.")
    return found
