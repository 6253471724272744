"""Checks stored runs without training them: artifacts against digests, metrics against artifacts.

The result digest of a run (the tag ``bpexp.result``) covers its losses, predictions and weights,
the digests of its record (``bpexp.digests``) the bytes of its files and its metrics.
``is_as_recorded`` finds out by the latter whether anything has changed, which takes no parsing.
``artifact_problem`` and ``problems_by_digests`` ask it first, and call ``problems_by_recomputing``
where something has: it compares all numbers, and says which one was altered.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import listed
from bpexp.runs import confusion_files, identity, predictions_file, record_digests, run_tags
from bpexp.runs.result import Outcome, TrainResult, Validation
from bpexp.runs.run_tags import IDENTITY, RESULT
from bpexp.sweeps import artifact_differences, metric_differences
from bpexp.sweeps.job import Job
from bpexp.sweeps.run_record import config_document, config_params
from bpexp.tracking.archive import Archive
from bpexp.tracking.ids import short
from bpexp.tracking.logged_curves import Curves
from bpexp.tracking.reading import NO_PARTS, Parts, Query, StoredRun
from bpexp.tracking.stored_results import (
    StoredResult,
    config_in,
    config_of,
    layers_of,
    losses_in,
    result_of,
    stored_config,
    validation_in,
    validation_of,
)
from bpexp.tracking.unreadable import UnreadableRunError
from bpexp.training.batching import load_engine
from bpexp.training.loop import with_metrics
from bpexp.training.run_batch import make_network

TO_CHECK = Parts(
    params=(),
    tags=(IDENTITY, RESULT, run_tags.DIGESTS, run_tags.CONFIG, run_tags.ARITHMETIC),
)
"""What the checks of this module need of each run, but for that of its parameters."""
_ALWAYS_RECORDED = {"config.yaml", "losses.npz", "weights.npz"}
"""Files of which every finished run has a digest."""
_LAST_TIME = 253_402_300_799_999
"""The end of the year 9999 in milliseconds, the last time that Python and MLflow can show."""


def artifact_problem(run: StoredRun, archive: Archive, job: Job | None = None) -> str:
    """Why the stored artifacts and metrics are not those of a run; "" if they are.

    Args:
        run: The run, with its digests and metrics.
        archive: Where it is stored.
        job: The job that the run should be a result of; its configuration is then compared, too.
    """
    if is_as_recorded(run, archive):
        return ""
    problem = _numbers_problem(run, archive, job)
    if problem:
        return problem
    try:
        return " ".join(problems_by_recomputing(run, archive, {}))
    except UnreadableRunError as error:
        return str(error)


def is_as_recorded(run: StoredRun, archive: Archive) -> bool:
    """Whether the files and metrics of a run are those that it was recorded with.

    If not, its numbers may still be the same, see ``artifact_problem``.
    """
    return _files_as_recorded(run, archive) is not None


def check_intact(run: StoredRun, archive: Archive) -> None:
    """Check that the artifacts and metrics of a run are those that were written.

    A run without a result has nothing to compare: it failed, or its training has not ended.

    Raises:
        ConfigError: They are not; the message says which one was altered.
    """
    is_finished = run.status == "FINISHED" and not run.tags.keys().isdisjoint((IDENTITY, RESULT))
    has_result = is_finished or run.outcome in set(Outcome)
    if not has_result:
        return
    problem = status_problem(run) or artifact_problem(run, archive) or value_problem(run, archive)
    if not problem:
        return
    try:
        if run.status == "FINISHED":
            # Says whose artifacts they are, too, for which the whole store is searched.
            problem = next(iter(problems_by_recomputing(run, archive, {})), problem)
    except UnreadableRunError as error:
        problem = str(error)
    refuse(run, problem)


def refuse(run: StoredRun, problem: str) -> None:
    """Do not use a run that has a problem.

    Args:
        run: The run; with its overrides, if it is a single run.
        problem: A sentence; "" for a run without a problem.

    Raises:
        ConfigError: It has one; the message says what to type.
    """
    if problem:
        raise ConfigError(
            f"{run.label} is altered: {problem.rstrip('.')}; bpexp verify {run.short_id} says "
            f"more, {_advice(run)}."
        )


def _advice(run: StoredRun) -> str:
    """How to get an intact run with the same settings."""
    if run.parent:
        return f"and bpexp resume {short(run.parent)} trains it again"
    return f"and bpexp {run.tags.get(run_tags.OVERRIDES, '')}".rstrip() + " trains it again"


def _files_as_recorded(run: StoredRun, archive: Archive) -> dict[str, bytes] | None:
    """The files of a run, if all of them and its metrics have the digests of its record; else None.

    The configuration is then that of the run's identity. Other files may have the same numbers, as
    one that was compressed.
    """
    recorded = record_digests.parse(run.tags.get(run_tags.DIGESTS, ""))
    try:
        files = {name: archive.file(run, name) for name in record_digests.file_names(recorded)}
    except UnreadableRunError:
        return None
    return files if has_recorded_files(run, files) else None


def has_recorded_files(run: StoredRun, files: Mapping[str, bytes]) -> bool:
    """Whether files, metrics and tags of a run have the digests that they were recorded with.

    Args:
        run: The run, with its digests, metrics and the tags of ``TO_CHECK``.
        files: The content of its files by name; files without a digest are not looked at.
    """
    recorded = record_digests.parse(run.tags.get(run_tags.DIGESTS, ""))
    names = record_digests.file_names(recorded)
    is_validated = "lowest_validation_loss" in run.metrics
    required = _ALWAYS_RECORDED | ({"validation.npz"} if is_validated else set())
    if not required.issubset(names) or set(names).isdisjoint(predictions_file.NAMES):
        return False
    return has_recorded_values(run) and record_digests.match_files(run.tags, files)


def has_recorded_values(run: StoredRun) -> bool:
    """Whether metrics, configuration and arithmetic of a run are those that it was recorded with.

    Args:
        run: The run, with its digests, metrics and the tags of ``TO_CHECK``.
    """
    return record_digests.match_values(run.tags, run.metrics)


def status_problem(run: StoredRun) -> str:
    """A sentence if a run has a result, but not the status of a finished run; "" otherwise."""
    if run.status == "FINISHED" or run.outcome not in set(Outcome):
        return ""
    status = run.status or "empty"
    return f"The status was altered: it is {status}, but the run is {run.outcome}."


def _numbers_problem(run: StoredRun, archive: Archive, job: Job | None) -> str:
    """How losses, predictions and weights contradict the result digest; "" if they do not.

    The other files must exist.
    """
    try:
        stored = result_of(run, archive)
        config = archive.file(run, "config.yaml")
        if not config:
            return f"config.yaml of run {run.short_id} is empty."
        if job is not None and not _is_of_job(config, job):
            return f"config.yaml of run {run.short_id} is not the configuration of the run."
        if "lowest_validation_loss" in run.metrics:
            validation_of(run, archive)
    except UnreadableRunError as error:
        return str(error)
    return "" if stored.digest == run.tags.get(RESULT) else _mismatch(run, archive)


def _is_of_job(document: bytes, job: Job) -> bool:
    """Whether a stored config.yaml has the configuration of a job, but for the place of its data.

    Raises:
        UnreadableRunError: It is not a valid configuration.
    """
    if document == config_document(job.config):
        return True
    stored = config_in(document)
    return identity.of_run(stored, job.dataset) == identity.of_run(job.config, job.dataset)


def artifact_problems(runs: Sequence[StoredRun], archive: Archive) -> dict[str, str]:
    """``artifact_problem`` of some runs: those with a problem, by id."""
    problems = archive.for_each(runs, partial(artifact_problem, archive=archive))
    return {run.run_id: problem for run, problem in zip(runs, problems, strict=True) if problem}


def problems_by_digests(run: StoredRun, archive: Archive, curves: Curves) -> list[str]:
    """In what a stored run contradicts its digests, a sentence each; empty if it is intact.

    Most numbers are parsed and computed only if a digest differs. Files and metrics that have the
    digests of the record are those that the run was recorded with, unless somebody made new
    digests: metrics that are losses are compared with the losses, too, and the configuration among
    the tags with the identity. The digests of the record do not cover the times, the parameters,
    which are compared with the configuration, and the logged curves, which are compared with the
    losses.

    Raises:
        UnreadableRunError: The stored configuration is invalid, or its data are missing or have
            changed.
    """
    files = _files_as_recorded(run, archive)
    if files is None:
        problems = problems_by_recomputing(run, archive, curves)
        with suppress(UnreadableRunError):
            problems += value_problems(run, config_of(run, archive)[0])
        return problems
    config, _ = config_of(run, archive)
    validation = None
    try:
        losses = losses_in(files["losses.npz"], run)
        if "validation.npz" in files:
            validation = validation_in(files["validation.npz"], run)
    except UnreadableRunError as error:
        return [str(error)]
    # With validation rows, the weights of another epoch may have been kept.
    last = "last_epoch_loss" if "last_epoch_loss" in run.metrics else "final_loss"
    expected = {"epochs_run": len(losses), last: float(losses[-1])}
    if validation is not None:
        expected["lowest_validation_loss"] = float(np.fmin.reduce(validation.losses))
    return [
        *value_problems(run, config),
        *metric_differences.altered_metrics(run, expected),
        *metric_differences.curve_problems(run, losses, validation, curves),
    ]


def problems_by_recomputing(run: StoredRun, archive: Archive, curves: Curves) -> list[str]:
    """In what a stored run contradicts its digests; empty if it is intact.

    Args:
        run: A finished run.
        archive: Where it is stored.
        curves: Its logged curves.

    Returns:
        A sentence for each contradiction. Only one if the result cannot be read, or has another
        digest than the run: the metrics are not compared with the result of another run.

    Raises:
        UnreadableRunError: The stored configuration is invalid, or its data are missing or have
            changed.
    """
    try:
        stored = result_of(run, archive)
    except UnreadableRunError as error:
        return [str(error)]
    if stored.digest != run.tags.get(RESULT):
        return [swapped(run, stored.digest, archive) or _mismatch(run, archive)]
    config, dataset = config_of(run, archive)
    found = [_digests_problem(run), config_problem(run, config, archive)]
    problems = [problem for problem in found if problem]
    try:
        result = _train_result(run, config, dataset, stored, archive)
    except UnreadableRunError as error:
        return [*problems, str(error)]
    problems += _file_problems(run, archive, stored, result, dataset)
    return [*problems, *metric_differences.problems(run, result, curves)]


def _digests_problem(run: StoredRun) -> str:
    """A sentence if the digests of the record of a run cannot be read; "" if it has none."""
    value = run.tags.get(run_tags.DIGESTS)
    if value is None or record_digests.parse(value):
        return ""
    return f"{record_digests.DAMAGED}."


def _file_problems(
    run: StoredRun, archive: Archive, stored: StoredResult, result: TrainResult, dataset: Dataset
) -> list[str]:
    """How the stored predictions and confusion matrices differ from those of the result."""
    name, predictions = predictions_file.of_result(result, dataset)
    expected = {name: predictions, **confusion_files.of_result(result, dataset)}
    read = dict([stored.predictions_file])
    sentences = []
    for name, original in expected.items():
        try:
            content = read[name] if name in read else archive.file(run, name)
            sentences.append(
                artifact_differences.first(name, content, original, run, "the run has")
            )
        except UnreadableRunError as error:
            sentences.append(str(error))
    return [sentence for sentence in sentences if sentence]


def swapped(run: StoredRun, digest: str, archive: Archive) -> str:
    """A sentence that names the run whose artifacts have a digest; "" if there is none."""
    for other in archive.search(Query(tags={RESULT: digest}), NO_PARTS):
        if other.run_id != run.run_id:
            return f"The losses, predictions and weights are those of {other.label}."
    return ""


def config_problem(run: StoredRun, config: TrainConfig, archive: Archive) -> str:
    """How config.yaml contradicts the configuration of a run; "" if it agrees."""
    try:
        content = archive.file(run, "config.yaml")
        if content == config_document(config):
            return ""
        stored = config_in(content)
    except UnreadableRunError as error:
        return str(error)
    names = [f.name for f in fields(config) if getattr(stored, f.name) != getattr(config, f.name)]
    different = f"config.yaml was altered: it has another value of {', '.join(names)}."
    return different if names else ""


def value_problem(run: StoredRun, archive: Archive) -> str:
    """The first of the ``value_problems`` of a run; "" if it has none.

    Args:
        run: The run, with all its parameters.
        archive: Where it is stored.

    Raises:
        UnreadableRunError: The stored configuration is invalid.
    """
    return next(iter(value_problems(run, stored_config(run, archive))), "")


def value_problems(run: StoredRun, config: TrainConfig) -> list[str]:
    """What was altered of the values of a finished run that no digest covers.

    These are its start, its end, and its parameters, all of which must have been read.
    """
    times = {"start": run.started, "end": run.ended}
    found = [
        f"The {name} time was altered: it is {time or 'empty or no number'}."
        for name, time in times.items()
        if not time or not 0 < time <= _LAST_TIME
    ]
    expected = config_params(config)
    if expected.items() <= run.params.items():
        return found
    if not run.params:
        return [*found, "The parameters were deleted."]
    return found + [
        f"The parameter {key} was altered: it is {run.params.get(key)!r}, but the configuration "
        f"has {value!r}."
        for key, value in expected.items()
        if run.params.get(key) != value
    ]


def _mismatch(run: StoredRun, archive: Archive) -> str:
    """The sentence for a run whose files can be read, but do not match its result digest."""
    if RESULT not in run.tags:
        return f"The run has no result digest (tag {RESULT})."
    recorded = record_digests.parse(run.tags.get(run_tags.DIGESTS, ""))
    covered = [name for name in ("losses.npz", "weights.npz", *predictions_file.NAMES)
               if name in recorded]  # fmt: skip
    altered = [
        name
        for name in covered
        if record_digests.of_file(run.tags, name, archive.file(run, name)) != recorded[name]
    ]
    # If the tag was altered, no file matches its digest.
    which = f" ({listed(altered)})" if altered and len(altered) < len(covered) else ""
    return (
        "The losses, predictions or weights were altered: they do not match the result digest"
        f"{which}."
    )


def _train_result(
    run: StoredRun, config: TrainConfig, dataset: Dataset, stored: StoredResult, archive: Archive
) -> TrainResult:
    """The stored result with its metrics.

    Raises:
        UnreadableRunError: It does not fit the network.
    """
    network = make_network(config, dataset)
    weights, biases = layers_of(network, stored.layers)
    if stored.predictions.shape != dataset.Y.shape:
        raise UnreadableRunError("The file of predictions does not have one row for each sample.")
    if stored.outcome not in set(Outcome):
        raise UnreadableRunError(f"The outcome must be one of {', '.join(Outcome)}.")
    outcome = Outcome(stored.outcome)
    validation: Validation | None = None
    if len(dataset.X_validation) and outcome is not Outcome.DIVERGED:
        validation = validation_of(run, archive)
    result = TrainResult(outcome, stored.losses, stored.predictions, weights, biases, validation)
    return with_metrics(result, dataset, network, load_engine("compiled"))
