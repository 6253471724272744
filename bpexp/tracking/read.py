"""Reads what runs contain: metrics, settings, tables of runs, and artifacts.

pandas is imported inside functions: that takes longer than training a short run.
"""

import io
import json
import math
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
from bpexp.runs.metrics import METRICS, listed
from bpexp.tracking import artifact_files, lookup
from bpexp.tracking.rows import MAX_FLOAT
from bpexp.tracking.store import Store
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

_THREADS = 8
"""Artifacts that are read at the same time."""


def training_summary(run: "Run") -> tuple[str, int, str]:
    """Summarize a finished run.

    Returns:
        The outcome, the number of epochs, and the digest of the data set as MLflow stores it ("" if
        the run has no data set).
    """
    digests = [data.dataset.digest for data in run.inputs.dataset_inputs] if run.inputs else []
    outcome = run.data.tags.get(run_tags.OUTCOME, "not a run of bpexp")
    return outcome, int(metrics(run).get("epochs_run", 0)), "".join(digests[:1])


def metrics(run: "Run") -> dict[str, float]:
    """The metrics of a run; an SQLite column may contain text, which is left out."""
    values: dict[str, Any] = run.data.metrics
    return {key: restored(value) for key, value in values.items() if isinstance(value, int | float)}


def restored(value: float) -> float:
    """The value of a metric that was logged: MLflow stores infinity as the largest float."""
    return math.copysign(math.inf, value) if abs(value) >= MAX_FLOAT else value


def settings(run: "Run") -> dict[str, str]:
    """The parameters of a run that its result depends on."""
    params: dict[str, str] = run.data.params
    return {key: text for key, text in params.items() if key.partition(".")[0] not in RUNTIME}


def frame(runs: list["Run"]) -> "pd.DataFrame":
    """A table with one row per run: id, name, sweep, status, outcome, settings, metrics."""
    import pandas as pd

    logged_metrics = [metrics(run) for run in runs]
    names = listed(logged_metrics)
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
                **{key: logged.get(key, float("nan")) for key in names},
            }
            for run, logged in zip(runs, logged_metrics, strict=True)
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
        return runs_table(lookup.search(client, experiment, sweep=run_id))
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
    text_columns = ("run_id", "name", "outcome")
    required = (*text_columns, "seed", "final_loss", "epochs_run")
    missing = [key for key in required if key not in table.columns]
    if missing:
        raise ConfigError(f"{name} does not have the column {missing[0]}.")
    if not len(table):
        raise ConfigError(f"{name} does not have a row.")
    for key in METRICS:
        if key not in table.columns:
            # The metric was added to bpexp after the sweep.
            table[key] = np.nan
        try:
            table[key].astype("float64")
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} must contain numbers in the column {key}.") from error
    return table.astype(dict.fromkeys(text_columns, "str"))


def runs_table(runs: Sequence["Run"]) -> "pd.DataFrame":
    """``frame`` of the runs that are not sweeps, and the artifact URI of each."""
    children = [run for run in runs if not lookup.is_sweep(run)]
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
        points = sorted(
            (m.step, restored(m.value)) for m in client.get_metric_history(run_id, "loss")
        )
        steps, values = np.array(points or [(0, np.nan)]).T
    return np.where(epochs <= steps[-1], np.interp(epochs, steps, values), np.nan)


def _parse_losses(content: bytes, run_id: str) -> Array:
    name = f"losses.npz of run {run_id[:8]}"
    found = artifact_files.arrays(content, name).get("loss")
    if found is None or found.ndim != 1 or not len(found):
        raise ConfigError(f"{name} must contain one loss for each epoch.")
    return found
