"""The record of a run that is tracked: parameters, tags, metrics and artifacts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import yaml

from bpexp.config.schema import RuntimeConfig, TrainConfig, flatten, plain
from bpexp.data.dataset import Dataset
from bpexp.guards import passwords
from bpexp.runs import confusion_files, identity, predictions_file, record_digests, run_tags
from bpexp.runs.result import Failure, TrainResult
from bpexp.sweeps.job import Job, JobResult, Span
from bpexp.tracking import artifact_files
from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord
from bpexp.typing import Array

MAX_REASON = 5000
"""Maximum length of the tag with the reason of a failure; MLflow accepts 8,000 characters."""

MAX_SCHEMA = 60_000
"""Maximum length of the schema of a data set; MLflow accepts 65,535 characters."""


@lru_cache(maxsize=128)
def logged_epochs(epochs_run: int, points: int) -> tuple[int, ...]:
    """Choose the epochs whose losses are logged.

    Returns:
        At most ``points`` epochs, counted from 1, evenly spaced, the first and last included; none
        if ``points`` is 0, and both if it is 1.

    >>> logged_epochs(1000, 5)
    (1, 251, 500, 750, 1000)
    """
    if points == 0:
        return ()
    steps = np.linspace(1, epochs_run, min(max(points, 2), epochs_run))
    return tuple(sorted(set(steps.round().astype(int).tolist())))


@dataclass(frozen=True)
class RunRecorder:
    """Makes the records of the runs of one sweep, or of one single run.

    Attributes:
        runtime: How the runs are executed.
        tags: Tags that all of them share.
        artifacts: Artifacts that all of them share.
        started: When the sweep started, in milliseconds since the Unix epoch.
        name: The name of a single run, if the user gave one.
        n_replicates: In a search, the number of jobs of a trial.
    """

    runtime: RuntimeConfig
    tags: Mapping[str, str]
    artifacts: Mapping[str, bytes]
    started: int
    name: str | None = None
    n_replicates: int | None = None

    def record(self, trained: JobResult, now: int) -> RunRecord:
        """The record of one run.

        Args:
            trained: The job and its result.
            now: The present time in milliseconds since the Unix epoch. The record has the times
                of the training, if they are known; the clock of another machine may differ.
        """
        job, result = trained.job, trained.result
        started, ended = self._times(trained.span, now)
        params, document = config_documents(job.config)
        params = params | runtime_params(self.runtime)
        tags = {**self.tags, **identity.tags(job.config, job.dataset, result)}
        if self.n_replicates is not None:
            tags[run_tags.TRIAL] = str(job.index // self.n_replicates)
        files = {"config.yaml": document, **self.artifacts}
        if isinstance(result, Failure):
            outcome, reason = result.outcome.value, result.reason[:MAX_REASON]
            return RunRecord(
                name=self.name or job.name,
                status="KILLED" if result.interrupted else "FAILED",
                started=started,
                ended=ended,
                params=params,
                tags=tags | {run_tags.OUTCOME: outcome, run_tags.REASON: reason},
                artifacts=files,
            )
        own = {"config.yaml": document, **result_artifacts(result, job.dataset)}
        tags[run_tags.OUTCOME] = result.outcome.value
        digests = record_digests.of_run(tags, own, result.metrics, job.dataset)
        tags[run_tags.DIGESTS] = record_digests.as_tag(digests)
        return RunRecord(
            name=self.name or job.name,
            status="FINISHED",
            started=started,
            ended=ended,
            params=params,
            tags=tags,
            metrics=metric_points(result, self.runtime.tracking.points),
            artifacts=files | own,
            dataset=dataset_input(job.dataset),
        )

    def opening(self, job: Job, points: Sequence[MetricPoint], now: int) -> RunRecord:
        """The record of a run that is being trained: what is known of it before its end.

        Args:
            job: The job.
            points: Points of its loss so far.
            now: The present time in milliseconds since the Unix epoch.
        """
        params = config_params(job.config) | runtime_params(self.runtime)
        tags = {**self.tags, **identity.of_config(job.config, job.dataset)}
        return RunRecord(self.name or job.name, "RUNNING", self.started, now, params, tags, points)

    def _times(self, span: Span | None, now: int) -> tuple[int, int]:
        """When a run started and ended: while the sweep ran, and not before it started."""
        if span is None:
            return self.started, now
        started = min(max(self.started, span.started), now)
        return started, min(max(started, span.ended), now)


def digests_of(job: Job, result: TrainResult, tags: Mapping[str, str]) -> Mapping[str, str]:
    """The digests that a run of a job with this result is recorded with, by name.

    Args:
        job: The job.
        result: Its result.
        tags: The tags of the run.
    """
    files = {"config.yaml": config_document(job.config)}
    files |= result_artifacts(result, job.dataset)
    return record_digests.of_run(tags, files, result.metrics, job.dataset)


def config_documents(config: TrainConfig) -> tuple[dict[str, str], bytes]:
    """A configuration as MLflow parameters, and as a YAML document."""
    settings = _settings(config)
    return _params(settings), _document(settings)


def config_params(config: TrainConfig) -> dict[str, str]:
    """A configuration as MLflow parameters."""
    return _params(_settings(config))


def config_document(config: TrainConfig) -> bytes:
    """A configuration as a YAML document, the content of config.yaml."""
    return _document(_settings(config))


_Setting = tuple[str, Any, str]


def _params(settings: Sequence[_Setting]) -> dict[str, str]:
    parts = [_setting_params(*setting) for setting in settings]
    return {key: text for part in parts for key, text in part.items()}


def _document(settings: Sequence[_Setting]) -> bytes:
    return b"".join(_setting_document(*setting) for setting in settings)


def _settings(config: TrainConfig) -> list[_Setting]:
    """The name, the value and the text of each top-level key."""
    values = [(field.name, getattr(config, field.name)) for field in fields(config)]
    # Equal values may have different text (0.0 and -0.0), so the text is part of the cache key.
    return [(name, value, repr(value)) for name, value in values]


@lru_cache(maxsize=1024)
def _setting_params(name: str, value: object, text: str) -> dict[str, str]:
    """The parameters of a top-level key; cached, since the runs of a sweep share most of them."""
    return {key: str(leaf) for key, leaf in flatten({name: plain(value)}).items()}


@lru_cache(maxsize=1024)
def _setting_document(name: str, value: object, text: str) -> bytes:
    """The document of a top-level key; cached, since the runs of a sweep share most of them."""
    if type(value) is int:
        # Such as the seed, another one in each run, for which PyYAML takes long.
        return f"{name}: {text}\n".encode()
    # The C emitter writes the same text many times faster; not every build of PyYAML has it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump({name: plain(value)}, Dumper=dumper, sort_keys=False).encode()


@lru_cache(maxsize=16)
def runtime_params(runtime: RuntimeConfig) -> dict[str, str]:
    """The runtime settings as MLflow parameters, with passwords masked."""
    flat = flatten(plain(runtime))
    # They are the name and the tags of the run.
    own = [key for key in flat if key == "tracking.name" or key.startswith("tracking.tags")]
    # They belong to a command, not to its runs.
    own += [key for key in flat if key == "dry_run" or key.startswith("budget.")]
    own += [key for key in flat if key.startswith("search.")] if runtime.search.name is None else []
    own += [key for key in flat if key.startswith("seeds.")] if runtime.seeds.name is None else []
    for key in own:
        del flat[key]
    return {key: passwords.mask_value(key, str(value)) for key, value in flat.items()}


def metric_points(result: TrainResult, points: int) -> list[MetricPoint]:
    """Choose the metric values to log.

    Args:
        result: The result of the run.
        points: Maximum number of points of each loss curve.

    Returns:
        Points of the training and validation loss, and the final metrics at step 0.
    """
    epochs = logged_epochs(result.epochs_run, points)
    losses = result.losses[np.array(epochs, int) - 1].tolist()
    logged = [MetricPoint("loss", loss, epoch) for loss, epoch in zip(losses, epochs, strict=True)]
    if result.validation is not None:
        chosen = np.array(logged_epochs(len(result.validation.epochs), points), int) - 1
        logged += [
            MetricPoint("validation_loss", float(result.validation.losses[index]), int(epoch))
            for index, epoch in zip(chosen, result.validation.epochs[chosen], strict=True)
        ]
    # MLflow draws a metric with a single value at step 0 as a bar, at another step as a dot.
    return logged + [MetricPoint(name, float(value), 0) for name, value in result.metrics.items()]


def result_artifacts(result: TrainResult, dataset: Dataset) -> dict[str, bytes]:
    """The loss of every epoch, the weights, the predictions and any validation losses, as files."""
    layers: dict[str, Array] = {}
    for i, (W, b) in enumerate(zip(result.weights, result.biases, strict=True), start=1):
        layers |= {f"W{i}": W, f"b{i}": b}
    files = {
        "losses.npz": artifact_files.npz({"loss": result.losses}),
        "weights.npz": artifact_files.npz(layers),
    }
    name, content = predictions_file.of_result(result, dataset)
    files |= {name: content, **confusion_files.of_result(result, dataset)}
    if result.validation is not None:
        epochs, losses = result.validation
        files["validation.npz"] = artifact_files.npz({"epoch": epochs, "loss": losses})
    return files


@lru_cache(maxsize=16)
def dataset_input(dataset: Dataset) -> DatasetInput:
    """The data set as an MLflow input; MLflow stores 36 characters of a digest."""
    names = [*dataset.inputs, *dataset.targets]
    columns = [{"type": "double", "name": name, "required": True} for name in names]
    profile = {"num_rows": len(dataset.X), "num_test_rows": len(dataset.X_test)}
    if len(dataset.X_validation):
        profile["num_validation_rows"] = len(dataset.X_validation)
    schema, n_columns = _schema(columns)
    if n_columns < len(columns):
        profile |= {"num_columns": len(columns), "num_columns_in_schema": n_columns}
    return DatasetInput(
        dataset.name,
        dataset.digest[:32],
        json.dumps({"uri": dataset.name}),
        schema,
        json.dumps(profile),
    )


def _schema(columns: Sequence[Mapping[str, object]]) -> tuple[str, int]:
    """MLflow's schema of the columns as JSON, and how many columns it holds.

    Columns that would make it too long for MLflow are left out.
    """
    lengths = np.cumsum([len(json.dumps(column)) + len(", ") for column in columns])
    n_columns = int(np.searchsorted(lengths, MAX_SCHEMA - len('{"mlflow_colspec": []}')))
    return json.dumps({"mlflow_colspec": columns[:n_columns]}), n_columns
