"""The tracker that uses nothing but MLflow's public client."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.tracking.contract import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

_METRICS, _PARAMS, _TAGS = 1000, 100, 100
"""MLflow's limits for one batch."""


class ClientTracker:
    """See ``contract.Tracker``. Works with every store MLflow has, HTTP included."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self._client, self.experiment_id = client, experiment_id

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        run = self._client.create_run(
            self.experiment_id, start_time=started, tags=dict(tags), run_name=name
        )
        return str(run.info.run_id)

    def record(self, run: RunRecord, parent: str | None) -> str:
        """See ``Tracker.record``."""
        tags = {**run.tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run_id = self.open_run(run.name, run.started, tags)
        self.close_run(run_id, run)
        return run_id

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        from mlflow.entities import Metric as MlflowMetric
        from mlflow.entities import Param, RunTag

        if run.artifacts:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in run.artifacts.items():
                    (Path(folder) / name).write_bytes(content)
                self._client.log_artifacts(run_id, folder)
        metrics = [MlflowMetric(m.key, m.value, run.ended, m.step) for m in run.metrics]
        params = [Param(key, value) for key, value in run.params.items()]
        tags = [RunTag(key, value) for key, value in run.tags.items()]
        while metrics or params or tags:
            room = _METRICS - len(params[:_PARAMS]) - len(tags[:_TAGS])
            self._client.log_batch(run_id, metrics[:room], params[:_PARAMS], tags[:_TAGS])
            metrics, params, tags = metrics[room:], params[_PARAMS:], tags[_TAGS:]
        if run.dataset is not None:
            self._log_dataset(run_id, run)
        self._client.set_terminated(run_id, run.status, run.ended)

    def _log_dataset(self, run_id: str, run: RunRecord) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        assert run.dataset is not None
        data = run.dataset
        dataset = Dataset(data.name, data.digest, "local", data.source, data.schema, data.profile)
        tags = [InputTag("mlflow.data.context", "training")]
        self._client.log_inputs(run_id, [DatasetInput(dataset, tags)])
