"""The tracker that uses nothing but MLflow's public client."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.tracking import limits
from bpexp.tracking.contract import Batch, RunRecord
from bpexp.tracking.retry import Patience, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_METRICS, _PARAMS, _TAGS = 1000, 100, 100
"""MLflow's limits for one batch."""


class ClientTracker:
    """See ``contract.Tracker``. Works with every store MLflow has, HTTP included.

    ``threads`` runs are written side by side: a server bears it, an SQLite file does not.
    """

    def __init__(
        self,
        client: "MlflowClient",
        experiment_id: str,
        threads: int = 1,
        patience: Patience | None = None,
    ) -> None:
        self._client, self.experiment_id = client, experiment_id
        self._threads = threads
        self._attempt = (patience or Patience()).attempt
        self._opened: set[str] = set()
        self._half: list[str] = []

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        name, given = limits.name(name), limits.tags(tags)
        attempts = 0

        def create() -> str:
            nonlocal attempts
            attempts += 1
            unheard = self._unheard(name, started, given) if attempts > 1 else None
            if unheard is not None:
                return unheard
            run = self._client.create_run(
                self.experiment_id, start_time=started, tags=given, run_name=name
            )
            return str(run.info.run_id)

        run_id = self._attempt(create)
        self._opened.add(run_id)
        return run_id

    def _unheard(self, name: str, started: int, tags: Mapping[str, str]) -> str | None:
        """The run that an earlier attempt made though its answer was lost, if there is one."""
        running = self._client.search_runs(
            [self.experiment_id],
            f"attributes.status = 'RUNNING' AND attributes.start_time = {started}",
            max_results=5000,
        )
        for run in running:
            same = run.info.run_name == name and run.data.tags.items() >= tags.items()
            if same and run.info.run_id not in self._opened:
                return str(run.info.run_id)
        return None

    def running(self) -> dict[str, dict[str, str]]:
        """See ``Tracker.running``."""
        found: dict[str, dict[str, str]] = {}
        token: str | None = None
        while token != "":
            page = self._attempt(
                lambda token=token: self._client.search_runs(  # type: ignore[misc]
                    [self.experiment_id], "attributes.status = 'RUNNING'", page_token=token
                )
            )
            found |= {run.info.run_id: run.data.tags for run in page}
            token = page.token or ""
        return found

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """See ``Tracker.add_files``."""
        self._attempt(lambda: log_files(self._client, run_id, files))

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> Batch:
        """See ``Tracker.stage``."""
        return Batch(commit=partial(self._record_many, runs, parent), discard=lambda: None)

    def _record_many(self, runs: Sequence[RunRecord], parent: str | None) -> list[str]:
        errors: list[TrackingError] = []

        def record(run: RunRecord) -> str:
            # What the store does not take of one it is not asked to take of the others.
            if errors:
                return ""
            try:
                return self._record(run, parent)
            except TrackingError as error:
                errors.append(error)
                return ""

        with ThreadPoolExecutor(self._threads) as pool:
            ids = list(pool.map(record, runs))
        if errors:
            raise TrackingError(str(errors[0]), ids) from errors[0]
        return ids

    def _record(self, run: RunRecord, parent: str | None) -> str:
        from mlflow.exceptions import MlflowException

        # All tags are there from the start: a run that is left RUNNING tells whose it was.
        tags = {**run.tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run_id = self.open_run(run.name, run.started, tags)
        try:
            self._complete(run_id, run, {})
        except TrackingError:
            try:
                self._client.delete_run(run_id)
            except MlflowException:
                self._half.append(run_id)
            raise
        return run_id

    def _hide(self) -> None:
        """Move to the trash what is half written and could not be moved before."""
        for run_id in tuple(self._half):
            self._client.delete_run(run_id)
            self._half.remove(run_id)

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """See ``Tracker.tag_many``."""

        def tag(run_id: str) -> None:
            self._attempt(lambda: self._client.set_tag(run_id, key, value))

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(tag, run_ids))

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        self._attempt(self._hide)
        self._complete(run_id, run, run.tags)

    def _complete(self, run_id: str, run: RunRecord, tags: Mapping[str, str]) -> None:
        if run.artifacts:
            self.add_files(run_id, run.artifacts)
        self._log_values(run_id, run, tags)
        if run.dataset is not None:
            self._log_dataset(run_id, run)
        self._attempt(lambda: self._client.set_terminated(run_id, run.status, run.ended))

    def _log_values(self, run_id: str, run: RunRecord, given: Mapping[str, str]) -> None:
        from mlflow.entities import Metric as MlflowMetric
        from mlflow.entities import Param, RunTag

        metrics = [MlflowMetric(m.key, m.value, run.ended, m.step) for m in run.metrics]
        params = [Param(key, value) for key, value in limits.params(run.params).items()]
        tags = [RunTag(key, value) for key, value in limits.tags(given).items()]
        while metrics or params or tags:
            room = _METRICS - len(params[:_PARAMS]) - len(tags[:_TAGS])
            batch = metrics[:room], params[:_PARAMS], tags[:_TAGS]
            self._attempt(lambda batch=batch: self._client.log_batch(run_id, *batch))  # type: ignore[misc]
            metrics, params, tags = metrics[room:], params[_PARAMS:], tags[_TAGS:]

    def _log_dataset(self, run_id: str, run: RunRecord) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        assert run.dataset is not None
        data = run.dataset
        dataset = Dataset(data.name, data.digest, "local", data.source, data.schema, data.profile)
        tags = [InputTag("mlflow.data.context", "training")]

        def log() -> None:
            self._client.log_inputs(run_id, [DatasetInput(dataset, tags)])

        try:
            self._attempt(log)
        except TrackingError:
            # Another made the data set's row in between, which MLflow does not foresee.
            self._attempt(log)


def log_files(client: "MlflowClient", run_id: str, files: Mapping[str, bytes]) -> None:
    """Artifacts of a run by their names. Raises OSError or MlflowException."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        client.log_artifacts(run_id, folder)
