"""``bpexp ui``: open MLflow's web interface on a store, on the loopback address only."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from bpexp.cli.commands import existing_store, store_parser
from bpexp.fields.checks import ConfigError
from bpexp.tracking.store import connect

QUIET = {"MLFLOW_LOGGING_LEVEL": "WARNING", "PYTHONWARNINGS": "ignore"}
"""Environment variables of the server that hide its log messages."""
LEAN = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Environment variables that turn off telemetry, and MLflow's job runners: eight processes of
250 MB that evaluate language models."""


def main(arguments: Sequence[str]) -> int:
    """Serve until interrupted; return the exit status of the server."""
    parser = store_parser("ui", "Open MLflow's web interface on the store, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=5000, help="the port (default: 5000)")
    options = parser.parse_args(arguments)
    store = existing_store(options.uri)
    if store.uri.startswith("http"):
        raise ConfigError(f"{store.shown} is an MLflow server already; open it in a browser.")
    _check_free(options.port)
    experiment = connect(store).get_experiment_by_name(options.experiment)
    # A new browser shows MLflow's pages for language models, whatever the tags of the experiment
    # say, unless the address asks for the pages for model training.
    page = f"experiments/{experiment.experiment_id}/runs" if experiment else "experiments"
    address = f"http://127.0.0.1:{options.port}/#/{page}?workflowType=machine_learning"
    command = [
        *(sys.executable, "-m", "mlflow", "ui"),
        *("--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),
    ]
    if store.artifacts:
        command += ["--default-artifact-root", store.artifacts.as_uri()]
    print("Starting MLflow's web interface ...", flush=True)
    # Not on the command line, which every user of the machine can read with ps.
    secret = {"MLFLOW_BACKEND_STORE_URI": store.uri}
    return _serve(command, secret, options.port, f"Open {address} (Ctrl-C ends it)")


def _check_free(port: int) -> None:
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port must be a free port in 0..65535, got {port}.") from error


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until the server answers; False if it ends before."""
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", "/health")
            connection.getresponse()
            return True
        # Not more often: each request slows the start of the server.
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.2)
            return False


def _serve(command: Sequence[str], environment: Mapping[str, str], port: int, ready: str) -> int:
    """Run the server until it ends or this process is ended; then end its whole group.

    Args:
        command: Starts the server.
        environment: Variables for the server alone.
        port: The port on which it will answer.
        ready: The line to print as soon as it answers.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    server = subprocess.Popen(
        command,
        env={**QUIET, **LEAN, **os.environ, **environment},
        stdout=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        if _answers(server, port):
            print(ready, flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
