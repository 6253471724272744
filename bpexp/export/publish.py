"""Logs the network of a run as an MLflow model of that run.

``tracking.model`` is imported once the store is open, because MLflow reads its settings from the
environment when it is imported; ``onnx_file`` only if it is needed, because ONNX is optional.
"""

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bpexp.export import files, trained
from bpexp.export.trained import TrainedNetwork
from bpexp.fields.checks import ConfigError
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.registration import Registration
from bpexp.tracking.retry import RetryPolicy

if TYPE_CHECKING:
    from bpexp.tracking.model import LoggedModel

SERVED = "http://127.0.0.1:5000"
"""Where ``mlflow models serve`` answers."""
MAX_CALL = 1000
"""Longest command that is printed: rows of many columns are read from a file better."""
N_EXAMPLES = 5
"""Number of training rows that the model has as its input example."""


def publish(
    archive: Archive,
    run: StoredRun,
    *,
    onnx: bool = False,
    registration: Registration | None = None,
) -> list[str]:
    """Log the network of a run as an MLflow model.

    Args:
        archive: Where the run is stored.
        run: A finished run.
        onnx: Whether to log model.onnx, too.
        registration: Where to register the model; None for nowhere.

    Returns:
        Messages for the user: the model's URI, how it was checked, and how to serve and call it.

    Raises:
        ConfigError: The run has no network that gives its logged predictions, its artifacts are
            outside the store, or the name or alias of the registration is not allowed.
        TrackingError: The store rejected the model, or stayed unavailable.
    """
    if registration is not None:
        registration.check()
    not_written = archive.why_not_written(run)
    if not_written:
        raise ConfigError(not_written)
    network = trained.read(run, archive)
    inputs = pd.DataFrame(network.table(N_EXAMPLES))
    logged = _log(archive, run, network, inputs, onnx=onnx)
    sentences = [f"{run.name or run.short_id}: {logged.uri}; {_verification(network)}."]
    if onnx:
        sentences.append("model.onnx: verified with onnxruntime.")
    served = logged.uri
    if registration is not None:
        from bpexp.tracking import model

        number = model.register(archive.store.uri, logged, registration)
        served = registration.uri
        sentences.append(f"Registered as version {number} of {registration.name}: {served}")
    sentences.append(
        f"Serve it with: MLFLOW_TRACKING_URI={archive.store.quoted} mlflow models serve "
        f"-m {shlex.quote(served)} --env-manager local"
    )
    call = _call(inputs[:1])
    return [*sentences, f"Then call it with: {call}"] if len(call) <= MAX_CALL else sentences


def _log(
    archive: Archive, run: StoredRun, network: TrainedNetwork, inputs: pd.DataFrame, *, onnx: bool
) -> "LoggedModel":
    """Write the files of a network, and log them as a model of its run.

    Args:
        archive: Where the run is stored.
        run: The run.
        network: Its network.
        inputs: The input example: the first training rows.
        onnx: Whether to log model.onnx, too.
    """
    # Before the import, see above.
    client = archive.client
    from bpexp.tracking import model

    predicted = network.predict(network.X[: len(inputs)])
    outputs = pd.DataFrame(predicted, columns=list(network.targets))
    # Once: what MLflow logged before an error would be logged again.
    once = RetryPolicy(seconds=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if onnx:
            (folder / "model.onnx").write_bytes(_onnx_model(network))
        code = files.write(network, folder)
        logged = once.call(model.log, archive.store.uri, run, folder, code, inputs, outputs)
        if onnx:
            once.call(client.log_artifact, run.run_id, str(folder / "model.onnx"))
    return logged


def _call(inputs: pd.DataFrame) -> str:
    """The command that sends rows to the served model."""
    rows = json.dumps({"dataframe_split": inputs.to_dict(orient="split", index=False)})
    header = "-H 'Content-Type: application/json'"
    return f"curl {SERVED}/invocations {header} -d {shlex.quote(rows)}"


def _onnx_model(network: TrainedNetwork) -> bytes:
    """See ``onnx_file.model``. Raises ConfigError if ONNX is not installed, too."""
    try:
        from bpexp.export import onnx_file
    except ImportError as error:
        raise ConfigError(
            "--onnx needs the packages onnx and onnxruntime; install them with: "
            "pip install -e '.[onnx]'"
        ) from error
    return onnx_file.model(network)


def _verification(network: TrainedNetwork) -> str:
    """How the predictions of the network were compared with those of the run, in words."""
    if network.tracked is None:
        return "it has the weights after the last mini-batch"
    return f"its {len(network.tracked)} predictions are bit-identical to those of the run"
