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

from bpexp.checks import ConfigError
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient as MlflowClient
    from mlflow.entities import Run as Run

FIGURES = (
    "final_loss", "epochs_run", "accuracy", "test_loss", "test_accuracy", "lowest_validation_loss",
)  # fmt: skip


def search(
    client: "MlflowClient", experiment: str, filter_string: str = "", sweep: str | None = None
) -> list["Run"]:
    """Runs of an experiment, the newest first; ``filter_string`` is MLflow's own language.

    Raises ConfigError for an experiment that is not there or a filter MLflow refuses.
    """
    found = client.get_experiment_by_name(experiment)
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
    from mlflow.exceptions import MlflowException

    runs: list[Run] = []
    token: str | None = None
    while True:
        try:
            page = client.search_runs(
                [experiment_id], filter_string, max_results=5000, page_token=token
            )
        except MlflowException as error:
            said = " ".join(str(error).split())
            raise ConfigError(
                f'--filter must be an MLflow filter such as "metrics.final_loss < 0.1", '
                f"got {filter_string!r}: {said}"
            ) from error
        runs += page
        token = page.token
        if not token:
            return runs


def find(client: "MlflowClient", experiment: str, wanted: str) -> "Run":
    """The run whose id starts with ``wanted``, or whose name it is.

    Raises ConfigError where none or more than one run fits.
    """
    from mlflow.exceptions import MlflowException

    if len(wanted) == 32:
        try:
            return client.get_run(wanted)
        except MlflowException as error:
            raise ConfigError(f"RUN must be a run of this store, got {wanted!r}.") from error
    runs = search(client, experiment)
    fits = [r for r in runs if r.info.run_id.startswith(wanted) or r.info.run_name == wanted]
    if not wanted or not fits:
        raise ConfigError(
            f"RUN must be the id, its beginning, or the name of a run, got {wanted!r}."
        )
    if len(fits) > 1:
        ids = ", ".join(run.info.run_id[:12] for run in fits[:5])
        raise ConfigError(f"RUN must fit one run, got {wanted!r}, which fits {len(fits)}: {ids}.")
    return fits[0]


def trained(client: "MlflowClient", run: "Run") -> "Run":
    """The run itself; for a sweep, its best run. Raises ConfigError where it has none."""
    if run.data.tags.get("bpexp.kind") != "sweep":
        return run
    best = run.data.tags.get("bpexp.best_run", "none")
    if best == "none":
        raise ConfigError(
            f"RUN must be a sweep with a run that finished, got {run.info.run_name!r}."
        )
    return client.get_run(best)


def ending(run: "Run") -> tuple[str, int, str]:
    """How the run ended, its epochs, and its data set's digest, as far as they were tracked."""
    digests = [data.dataset.digest for data in run.inputs.dataset_inputs] if run.inputs else []
    outcome = run.data.tags.get("bpexp.outcome", "not one of bpexp's")
    return outcome, int(run.data.metrics.get("epochs_run", 0)), "".join(digests[:1])


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
                **{key: _value(text) for key, text in sorted(run.data.params.items())},
                **{key: run.data.metrics.get(key, float("nan")) for key in FIGURES},
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
    import pandas as pd

    run_id, uri = parent.info.run_id, parent.info.artifact_uri
    content = artifact(client, run_id, uri, "results.parquet")
    if content is None:
        experiment = client.get_experiment(parent.info.experiment_id).name
        return runs_table(search(client, experiment, sweep=run_id))
    table = pd.read_parquet(io.BytesIO(content)).assign(sweep=run_id)
    # MLflow lays out the artifacts of all runs of one experiment alike.
    return table.assign(artifacts=[uri.replace(run_id, child) for child in table["run_id"]])


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


def losses(client: "MlflowClient", rows: "pd.DataFrame", epochs: Array) -> Array:
    """Loss of each run at the given epochs, (n_runs, n_epochs); nan after its end.

    ``rows`` has ``run_id`` and ``artifacts``. A run without losses.npz is read from its loss
    metric, with straight lines between the points logged.
    """

    def read_one(run_id: str, uri: str) -> Array:
        content = artifact(client, run_id, uri, "losses.npz")
        if content is not None:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                steps, values = np.arange(1, len(arrays["loss"]) + 1), arrays["loss"]
        else:
            points = sorted((m.step, m.value) for m in client.get_metric_history(run_id, "loss"))
            steps, values = np.array(points or [(0, np.nan)]).T
        inside = epochs <= steps[-1]
        return np.where(inside, np.interp(epochs, steps, values), np.nan)

    with ThreadPoolExecutor(8) as readers:
        return np.array(list(readers.map(read_one, rows["run_id"], rows["artifacts"])))
