"""The tracker for every store that MLflow supports, through its public client."""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mlflow import MlflowClient, entities
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from bpexp.tracking import artifact_uris, limits, paging
from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord
from bpexp.tracking.reading import restored
from bpexp.tracking.retry import DeletedError, RetryPolicy, TrackingError, artifact_store_errors
from bpexp.tracking.store import is_server

_MAX_METRICS, _MAX_PARAMS, _MAX_TAGS = 1000, 100, 100
"""MLflow's limits for one ``log_batch``; all together may not exceed the first."""


class ClientTracker:
    """See ``contract.Tracker``; works with every store of MLflow, HTTP included.

    Args:
        client: MLflow's client on the store.
        experiment_id: The experiment to write to.
        threads: How many runs are written at the same time. An SQLite file supports only one.
        retry: How long to wait for the store.
        notice: What is printed to stderr before the first runs are written; "" for nothing.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        threads: int = 1,
        retry: RetryPolicy | None = None,
        notice: str = "",
    ) -> None:
        self._client, self.experiment_id, self._notice = client, experiment_id, notice
        self.threads = threads
        self._retry = retry or RetryPolicy()
        self._opened: set[str] = set()
        # Runs that could not be deleted after an error; deleted when the sweep is closed.
        self._incomplete: list[str] = []

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        creation = _RunCreation(
            self._client, self.experiment_id, self._opened,
            limits.truncate_name(name), started, limits.truncate_tags(tags),
        )  # fmt: skip
        run_id = self._retry.call(creation.attempt)
        self._opened.add(run_id)
        return run_id

    def running(self) -> dict[str, dict[str, str]]:
        """See ``Tracker.running``."""
        search = partial(
            self._client.search_runs, [self.experiment_id], "attributes.status = 'RUNNING'"
        )
        return {run.info.run_id: run.data.tags for run in paging.items(search, self._retry)}

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """See ``Tracker.add_files``."""
        self._retry.call(_log_files, self._client, run_id, files)

    def add_values(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.add_values``."""
        self._active_run(run_id)
        self._log_values(run_id, run)

    def reopen_run(self, run_id: str, without: Sequence[str]) -> None:
        """See ``Tracker.reopen_run``."""
        stored = self._active_run(run_id)
        self._retry.call(self._client.update_run, run_id, status="RUNNING")
        for key in stored.data.tags.keys() & set(without):
            self._retry.call(self._client.delete_tag, run_id, key)

    def update_run(
        self, run_id: str, tags: Mapping[str, str | None], name: str | None = None
    ) -> None:
        """See ``Tracker.update_run``."""
        stored = self._active_run(run_id)
        if name is not None:
            self._retry.call(self._client.update_run, run_id, name=name)
        for key, value in tags.items():
            if value is not None:
                self._set_tag(run_id, key, value)
            elif key in stored.data.tags:
                self._retry.call(self._client.delete_tag, run_id, key)

    def claim(self, run_id: str, key: str, seen: str, value: str) -> str:
        """See ``Tracker.claim``.

        MLflow cannot compare the value of a tag before it changes it. A parameter decides, because
        its value can be set only once.
        """
        param = f"{key}.after.{hashlib.sha256(seen.encode()).hexdigest()[:12]}"
        try:
            self._retry.call(self._client.log_param, run_id, param, value)
        except TrackingError:
            params = self._retry.call(self._client.get_run, run_id).data.params
            if params.get(param, value) == value:
                raise
            return str(params[param])
        self._set_tag(run_id, key, value)
        return value

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """See ``Tracker.delete_runs``."""
        self._call_for_each(self._client.delete_run, run_ids)

    def restore_runs(self, run_ids: Sequence[str]) -> None:
        """See ``Tracker.restore_runs``."""
        self._call_for_each(self._client.restore_run, run_ids)

    def _call_for_each(self, function: Callable[[str], object], run_ids: Sequence[str]) -> None:
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(lambda run_id: self._retry.call(function, run_id), run_ids))

    def finish(self) -> None:
        """See ``Tracker.finish``."""

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> "ClientStagedRuns":
        """See ``Tracker.stage``."""
        if runs and self._notice:
            print(self._notice, file=sys.stderr)
            self._notice = ""
        return ClientStagedRuns(self, runs, parent)

    def write(self, run: RunRecord, parent: str | None) -> str:
        """Write one finished run; if that fails, delete the incomplete run.

        Returns:
            The id of the run.

        Raises:
            TrackingError: The store rejected the run, or stayed unavailable.
        """
        # With all tags from the beginning, a run that stays RUNNING shows which process wrote it.
        tags = {**run.tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run_id = self.open_run(run.name, run.started, tags)
        try:
            self._complete(run_id, replace(run, tags={}))
        except TrackingError:
            try:
                self._client.delete_run(run_id)
            except MlflowException:
                self._incomplete.append(run_id)
            raise
        return run_id

    def check_not_deleted(self, sweep: str | None) -> None:
        """See ``Tracker.check_not_deleted``."""
        experiment = self._retry.call(self._client.get_experiment, self.experiment_id)
        if experiment.lifecycle_stage != "active":
            raise DeletedError.of_experiment()
        if sweep is not None:
            run = self._retry.call(self._client.get_run, sweep)
            if run.info.lifecycle_stage != "active":
                raise DeletedError.of_sweep(sweep)

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """See ``Tracker.tag_many``."""
        self._call_for_each(partial(self._client.set_tag, key=key, value=value), run_ids)

    def _set_tag(self, run_id: str, key: str, value: str) -> None:
        self._retry.call(self._client.set_tag, run_id, key, value)

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        for incomplete in tuple(self._incomplete):
            self._retry.call(self._client.delete_run, incomplete)
            self._incomplete.remove(incomplete)
        stored = self._active_run(run_id)
        # MLflow's API cannot change a parameter, as resuming or extending a sweep may.
        params = {key: run.params[key] for key in run.params if key not in stored.data.params}
        points = self._new_points(stored, run.metrics)
        ended = max(stored.info.start_time, run.ended)
        self._complete(run_id, replace(run, params=params, metrics=points, ended=ended))

    def _active_run(self, run_id: str) -> entities.Run:
        """The run with an id. Raises DeletedError if it is deleted."""
        stored = self._retry.call(self._client.get_run, run_id)
        if stored.info.lifecycle_stage != "active":
            raise DeletedError.of_run(run_id)
        return stored

    def _new_points(self, stored: entities.Run, points: Sequence[MetricPoint]) -> list[MetricPoint]:
        """The points that a run does not have yet."""
        keys = {point.key for point in points} & stored.data.metrics.keys()
        logged = {
            (key, point.step, repr(restored(point.value)))
            for key in keys
            for point in self._retry.call(self._client.get_metric_history, stored.info.run_id, key)
        }  # Texts, because NaN is not equal to itself.
        return [
            point
            for point in points
            if (point.key, point.step, repr(restored(point.value))) not in logged
        ]

    def _complete(self, run_id: str, run: RunRecord) -> None:
        """Add the content of a record to an open run, and end the run."""
        if run.artifacts:
            self.add_files(run_id, run.artifacts)
            self._flush_to_disk(run_id)
        self._log_values(run_id, run)
        if run.dataset is not None:
            self._log_dataset(run_id, run.dataset)
        self._retry.call(self._client.set_terminated, run_id, run.status, run.ended)

    def _flush_to_disk(self, run_id: str) -> None:
        """Wait until local artifacts are on disk, before the run has an end in a local store."""
        if not is_server(self._client.tracking_uri):
            run = self._retry.call(self._client.get_run, run_id)
            artifact_uris.flush_to_disk([run.info.artifact_uri])

    def _log_values(self, run_id: str, run: RunRecord) -> None:
        """Add parameters, tags and metrics to an open run."""
        metrics = [Metric(m.key, m.value, run.ended, m.step) for m in run.metrics]
        params = [Param(key, value) for key, value in limits.truncate_params(run.params).items()]
        tags = [RunTag(key, value) for key, value in limits.truncate_tags(run.tags).items()]
        while metrics or params or tags:
            n_metrics = _MAX_METRICS - len(params[:_MAX_PARAMS]) - len(tags[:_MAX_TAGS])
            batch = metrics[:n_metrics], params[:_MAX_PARAMS], tags[:_MAX_TAGS]
            self._retry.call(self._client.log_batch, run_id, *batch)
            metrics, params, tags = metrics[n_metrics:], params[_MAX_PARAMS:], tags[_MAX_TAGS:]

    def _log_dataset(self, run_id: str, data: DatasetInput) -> None:
        dataset = entities.Dataset(
            data.name, data.digest, "local", data.source, data.schema, data.profile
        )
        tags = [entities.InputTag("mlflow.data.context", "training")]
        inputs = [entities.DatasetInput(dataset, tags)]
        try:
            self._retry.call(self._client.log_inputs, run_id, inputs)
        except TrackingError:
            # MLflow fails if another process inserts the same data set at the same time.
            self._retry.call(self._client.log_inputs, run_id, inputs)


@dataclass
class ClientStagedRuns:
    """See ``contract.StagedRuns``: nothing is written before ``commit``."""

    tracker: ClientTracker
    runs: Sequence[RunRecord]
    parent: str | None
    _errors: list[TrackingError] = field(default_factory=list)

    def commit(self) -> list[str]:
        """See ``StagedRuns.commit``."""
        if self.runs:
            # MLflow accepts runs of a deleted parent.
            self.tracker.check_not_deleted(self.parent)
        with ThreadPoolExecutor(self.tracker.threads) as pool:
            ids = list(pool.map(self._write, self.runs))
        if self._errors:
            raise TrackingError(str(self._errors[0]), ids) from self._errors[0]
        return ids

    def discard(self) -> None:
        """See ``StagedRuns.discard``."""

    def _write(self, run: RunRecord) -> str:
        """The id of the written run, or "" after an error: later runs are then not tried."""
        if self._errors:
            return ""
        try:
            return self.tracker.write(run, self.parent)
        except TrackingError as error:
            self._errors.append(error)
            return ""


@dataclass
class _RunCreation:
    """Creates one run, even if the response to an attempt is lost."""

    client: MlflowClient
    experiment_id: str
    opened: set[str]
    name: str
    started: int
    tags: Mapping[str, str]
    attempts: int = 0

    def attempt(self) -> str:
        """The id of the run; an earlier attempt may have created it without a response."""
        self.attempts += 1
        run_id = self._find() if self.attempts > 1 else None
        if run_id is None:
            run = self.client.create_run(
                self.experiment_id, start_time=self.started, tags=dict(self.tags),
                run_name=self.name,
            )  # fmt: skip
            run_id = run.info.run_id
        return str(run_id)

    def _find(self) -> str | None:
        """An equal run that is not known to the tracker."""
        running = self.client.search_runs(
            [self.experiment_id],
            f"attributes.status = 'RUNNING' AND attributes.start_time = {self.started}",
            max_results=5000,
        )
        for run in running:
            equal = run.info.run_name == self.name and run.data.tags.items() >= self.tags.items()
            if equal and run.info.run_id not in self.opened:
                return str(run.info.run_id)
        return None


def _log_files(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        artifact_uris.write_files(Path(folder), files)
        with artifact_store_errors():
            client.log_artifacts(run_id, folder)
