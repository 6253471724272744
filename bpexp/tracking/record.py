"""From a run's configuration and result to the record that is tracked."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bpexp.config.schema import RuntimeConfig, TrainConfig, flatten, plain
from bpexp.data.dataset import Dataset
from bpexp.runs.result import Failure, TrainResult
from bpexp.tracking.contract import DatasetInput, Metric, RunRecord
from bpexp.tracking.store import without_password
from bpexp.typing import Array


@lru_cache(maxsize=128)
def schedule(epochs_run: int, points: int) -> tuple[int, ...]:
    """At most ``points`` epochs, counted from 1, evenly spread, the first and last among them."""
    if points == 0:
        return ()
    steps = np.linspace(1, epochs_run, min(max(points, 2), epochs_run))
    return tuple(sorted(set(steps.round().astype(int).tolist())))


def run_record(
    config: TrainConfig,
    session: RuntimeConfig,
    result: TrainResult | Failure,
    dataset: Dataset,
    name: str,
    tags: dict[str, str],
    started: int,
    ended: int,
) -> RunRecord:
    """The record of one run; times in ms since the epoch."""
    text, document = settings(config)
    text = text | session_settings(session)
    base = {"config.yaml": document}
    if isinstance(result, Failure):
        outcome = "interrupted" if result.interrupted else "failed"
        status = "KILLED" if result.interrupted else "FAILED"
        return RunRecord(
            name, status, started, ended, text,
            {**tags, "bpexp.outcome": outcome, "bpexp.reason": result.reason[:5000]},
            artifacts=base,
        )  # fmt: skip
    return RunRecord(
        name, "FINISHED", started, ended, text,
        {**tags, "bpexp.outcome": result.outcome.value},
        metrics(result, session.tracking.points),
        base | artifacts(result, dataset),
        dataset_input(dataset),
    )  # fmt: skip


def settings(config: TrainConfig) -> tuple[dict[str, str], bytes]:
    """A configuration as MLflow's parameters, and as a YAML document."""
    parts = [
        # Equal values may be written differently (0.0 and -0.0): their text is told apart too.
        _setting(field.name, value, repr(value))
        for field in fields(config)
        for value in [getattr(config, field.name)]
    ]
    params = {key: text for flat, _ in parts for key, text in flat.items()}
    return params, b"".join(document for _, document in parts)


@lru_cache(maxsize=1024)
def _setting(name: str, value: object, spelled: str) -> tuple[dict[str, str], bytes]:
    """One top-level key; the runs of a sweep share most of theirs."""
    nested = {name: plain(value)}
    # libyaml's emitter writes the same text many times faster; not every PyYAML has it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    document = yaml.dump(nested, Dumper=dumper, sort_keys=False).encode()
    return {key: str(leaf) for key, leaf in flatten(nested).items()}, document


@lru_cache(maxsize=16)
def session_settings(session: RuntimeConfig) -> dict[str, str]:
    """How runs are carried out as MLflow's parameters; no password is among them."""
    flat = flatten(plain(session))
    return {key: without_password(str(value)) for key, value in flat.items()}


def metrics(result: TrainResult, points: int) -> list[Metric]:
    """The thinned loss curve and the final figures that apply."""
    epochs = schedule(result.epochs_run, points)
    losses = result.losses[np.array(epochs, int) - 1].tolist()
    curve = [Metric("loss", loss, epoch) for loss, epoch in zip(losses, epochs, strict=True)]
    if result.validation is not None:
        looks = np.array(schedule(len(result.validation.epochs), points), int) - 1
        curve += [
            Metric("validation_loss", float(result.validation.losses[at]), int(epoch))
            for at, epoch in zip(looks, result.validation.epochs[looks], strict=True)
        ]
    last = result.epochs_run
    final = {
        "final_loss": result.final_loss,
        "epochs_run": float(last),
        "accuracy": result.accuracy,
        "test_loss": result.test_loss,
        "test_accuracy": result.test_accuracy,
        "lowest_validation_loss": result.lowest_validation_loss,
    }
    return curve + [Metric(key, value, last) for key, value in final.items() if value is not None]


def artifacts(result: TrainResult, dataset: Dataset) -> dict[str, bytes]:
    """Every loss, the predictions and the weights as files; validation losses, if any."""
    layers: dict[str, Array] = {}
    for i, (W, b) in enumerate(zip(result.weights, result.biases, strict=True), start=1):
        layers |= {f"W{i}": W, f"b{i}": b}
    files = {
        "losses.npz": _npz({"loss": result.losses}),
        "weights.npz": _npz(layers),
        "predictions.csv": _predictions(result, dataset),
    }
    if result.validation is not None:
        epochs, losses = result.validation
        files["validation.npz"] = _npz({"epoch": epochs, "loss": losses})
    return files


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _predictions(result: TrainResult, dataset: Dataset) -> bytes:
    header, rows = _table(dataset)
    guesses = result.predictions.tolist()
    lines = [f"{row},{','.join(map(repr, g))}" for row, g in zip(rows, guesses, strict=True)]
    return "\n".join([header, *lines, ""]).encode()


@lru_cache(maxsize=16)
def _table(dataset: Dataset) -> tuple[str, list[str]]:
    """The header of a table of predictions, and of each row what the data set says."""
    buffer = io.StringIO()
    guessed = [f"predicted {name}" for name in dataset.targets]
    csv.writer(buffer, lineterminator="").writerow([*dataset.inputs, *dataset.targets, *guessed])
    rows = np.hstack([dataset.X, dataset.Y]).tolist()
    return buffer.getvalue(), [",".join(map(repr, row)) for row in rows]


@lru_cache(maxsize=16)
def dataset_input(dataset: Dataset) -> DatasetInput:
    """The data set as an MLflow input; its digest is cut to the 36 characters MLflow holds."""
    columns = [{"type": "double", "name": n, "required": True} for n in dataset.inputs]
    outputs = [{"type": "double", "name": n, "required": True} for n in dataset.targets]
    profile = {"num_rows": len(dataset.X), "num_test_rows": len(dataset.X_test)}
    if len(dataset.X_validation):
        profile["num_validation_rows"] = len(dataset.X_validation)
    return DatasetInput(
        dataset.name,
        dataset.digest[:32],
        json.dumps({"uri": dataset.name}),
        json.dumps({"mlflow_colspec": columns + outputs})[:60000],
        json.dumps(profile),
    )
