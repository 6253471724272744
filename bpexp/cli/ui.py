"""``bpexp ui``: open MLflow's web interface on a store, on the loopback address only."""

import os
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlencode

from bpexp.cli.commands import existing_store, store_parser
from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.runs.objective import objectives
from bpexp.tracking import lookup
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import Parts, Query, RunReader, StoredRun

ALL = "all"
"""As SWEEP: all runs of the experiment."""
OBJECTIVE = Parts((), (run_tags.OBJECTIVE,), (), data=False)

QUIET = {"MLFLOW_LOGGING_LEVEL": "WARNING", "PYTHONWARNINGS": "ignore"}
"""Environment variables of the server that hide its log messages."""
LEAN = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Environment variables that turn off telemetry, and MLflow's job runners: eight processes of
250 MB that evaluate language models."""


def main(arguments: Sequence[str]) -> int:
    """Serve until interrupted; return the exit status of the server."""
    parser = store_parser("ui", "Open MLflow's web interface on the store, on 127.0.0.1.")
    parser.add_argument(
        "sweep",
        metavar="SWEEP",
        nargs="?",
        help="show the runs of this sweep first (default: the newest one; all: all runs)",
    )
    parser.add_argument("--port", type=int, default=5000, help="the port (default: 5000)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    options = parser.parse_args(arguments)
    store = existing_store(options.uri)
    if store.uri.startswith("http"):
        raise ConfigError(f"{store.shown} is an MLflow server already; open it in a browser.")
    _check_free(options.port)
    page = _page(open_reader(store), options.experiment, options.sweep)
    address = f"http://127.0.0.1:{options.port}/#/{page}"
    command = [
        *(sys.executable, "-m", "bpexp.cli.mlflow_server", str(os.getpid()), "ui"),
        *("--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),
    ]
    if store.artifacts:
        command += ["--default-artifact-root", store.artifacts.as_uri()]
    print("Starting MLflow's web interface ...", flush=True)
    # Not on the command line, which every user of the machine can read with ps.
    secret = {"MLFLOW_BACKEND_STORE_URI": store.uri}
    return _serve(command, secret, options.port, address, in_browser=options.open)


def _page(reader: RunReader, experiment: str, wanted: str | None) -> str:
    """The page to open: the charts of the runs of a sweep, or the table of all runs.

    Args:
        reader: Reads the store.
        experiment: Name of the experiment.
        wanted: The sweep; None for the newest one, ``all`` for all runs.
    """
    # A new browser shows MLflow's pages for language models, whatever the tags of the experiment
    # say, unless the address asks for the pages for model training.
    training = {"workflowType": "machine_learning"}
    experiments = reader.experiments()
    if wanted in (None, ALL) and experiment not in experiments:
        return f"experiments?{urlencode(training)}"
    sweep: StoredRun | None = None
    if wanted is None:
        sweeps = Query(are_sweeps=True)
        newest = reader.search(experiments[experiment], sweeps, OBJECTIVE, limit=1)
        sweep = next(iter(newest), None)
    elif wanted != ALL:
        sweep = lookup.find(reader, experiment, wanted, is_sweep=True).run
        if not sweep.is_sweep:
            raise ConfigError(f"ui takes a sweep, got {sweep.label}, which is a single run.")
    if sweep is None:
        return f"experiments/{experiments[experiment]}/runs?{urlencode(training)}"
    known = objectives()
    objective = known.get(sweep.tags.get(run_tags.OBJECTIVE, ""), known["final_loss"])
    of_sweep = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{sweep.run_id}'",
        "compareRunsMode": "CHART",
        # Sorted by date, the runs would be folded below their sweep, and its charts be drawn.
        "orderByKey": f"metrics.`{objective.metric}`",
        "orderByAsc": "false" if objective.is_maximized else "true",
    }
    query = urlencode(training | of_sweep, quote_via=quote)
    return f"experiments/{sweep.experiment_id}/runs?{query}"


def _check_free(port: int) -> None:
    """Raise ConfigError for a port that is in use, or none; 0 would be a port that nobody knows."""
    refused = ConfigError(f"--port must be a free port in 1..65535, got {port}.")
    if port == 0:
        raise refused
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise refused from error


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


def _serve(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    address: str,
    *,
    in_browser: bool,
) -> int:
    """Run the server until it ends or this process is ended; then end its whole group.

    Args:
        command: Starts the server.
        environment: Variables for the server alone.
        port: The port on which it will answer.
        address: The page to print as soon as it answers.
        in_browser: Whether to open the page in a browser.
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
            print(f"Open {address} (Ctrl-C ends it)", flush=True)
            if in_browser and not webbrowser.open(address):
                print("No browser was found.", file=sys.stderr)
        return server.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
