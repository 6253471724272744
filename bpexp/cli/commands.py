"""The verbs that read a store: ui, runs, show, compare, report, export, reproduce, resume."""

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from bpexp.config.schema import Backend, Dask
from bpexp.fields.checks import ConfigError
from bpexp.tracking import output_directory, read
from bpexp.tracking.store import Store, connect, locate

LINES = 100
"""Of a diff, at most so many of which are shown."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{message[:1].lower()}{message[1:]} ({self.prog} --help).")


def main(arguments: Sequence[str]) -> None:
    """Carry out one verb; ends with exit status 2 and one sentence on bad input.

    A pipe whose reader has left is the caller's to end with.
    """
    from bpexp.cli import errors

    with errors.told(arguments, 2, errors.traceback_asked()):
        chosen = _parser().parse_args(arguments)
        store = _existing(locate(chosen.uri, Path.cwd(), os.environ))
        chosen.verb(store, chosen)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="bpexp", description="Review tracked runs.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, verb: Callable[..., None], about: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.add_argument("--uri", help="the store (MLFLOW_TRACKING_URI, or ./outputs/mlflow.db)")
        sub.add_argument("--experiment", default="bpexp", help="MLflow experiment (bpexp)")
        sub.set_defaults(verb=verb)
        return sub

    ui = add("ui", _ui, "Open MLflow's pages on this store, on loopback.")
    ui.add_argument("--port", type=int, default=5000, help="port (5000)")
    runs = add("runs", _runs, "A table of the runs, the newest first.")
    runs.add_argument("--sweep", help="only this sweep's runs (id, its beginning, or name)")
    runs.add_argument("--filter", default="", help='MLflow\'s filter: "metrics.final_loss < 0.1"')
    runs.add_argument("--format", choices=["table", "csv", "json"], default="table")
    runs.add_argument("-n", type=_count, help="at most so many (table: 50)")
    show = add("show", _show, "One run in full.")
    show.add_argument("run", metavar="RUN", help="id, its beginning, or name")
    compare = add("compare", _compare, "What differs between runs.")
    compare.add_argument("run", metavar="RUN", nargs="+", help="ids, their beginnings, or names")
    export = add("export", _export, "Log the model of a run, or of a sweep's best run.")
    export.add_argument("run", metavar="RUN", help="id, its beginning, or name of a run or sweep")
    export.add_argument("--onnx", action="store_true", help="log model.onnx, too")
    resume = add("resume", _resume, "Train what a sweep lacks that was cut short or failed.")
    resume.add_argument("sweep", metavar="SWEEP", help="id, its beginning, or name")
    resume.add_argument("--ended", action="store_true",
                        help="its process on another machine is known to have ended")  # fmt: skip
    resume.add_argument("--backend", metavar="WHERE", help="local, or the address of a dask "
                        "scheduler (where the sweep was trained)")  # fmt: skip
    reproduce = add("reproduce", _reproduce, "Train stored runs again and compare every bit.")
    reproduce.add_argument(
        "run", metavar="RUN", nargs="*", help="runs or sweeps: id, beginning, name"
    )
    reproduce.add_argument("--all", action="store_true", help="all finished runs")
    reproduce.add_argument("--engine", choices=["auto", "numpy", "compiled"], default="auto",
                           help="how to train (auto)")  # fmt: skip
    reproduce.add_argument("--n-jobs", type=int, default=-1, help="workers (-1: all processors)")
    report = add("report", _report, "What a sweep's runs say, with intervals and figures.")
    report.add_argument("sweep", metavar="SWEEP", nargs="*",
                        help="ids, their beginnings, or names; none: the whole experiment; "
                        "two: do they agree?")  # fmt: skip
    report.add_argument("--measure", help="rank by epochs_to_converge, final_loss, accuracy, "
                        "test_loss or test_accuracy (the first there is)")  # fmt: skip
    report.add_argument("--format", default="html", help="of html, md, csv, json (html)")
    report.add_argument("-o", metavar="FOLDER", help="where to (outputs/reports/<sweep id>)")
    report.add_argument("--seed", type=int, default=0, help="of the bootstrap's draws (0)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _existing(store: Store) -> Store:
    database = store.uri.removeprefix("sqlite:///")
    if database != store.uri and not Path(database).is_file():
        raise ConfigError(
            f"--uri must be a store that exists, got {store.uri!r}; run a sweep first."
        )
    return store


def _ui(store: Store, chosen: argparse.Namespace) -> None:
    if store.uri.startswith("http"):
        raise ConfigError(
            f"--uri must be a database for ui, got the server {store.uri!r}: open that."
        )
    _check_free(chosen.port)
    experiment = connect(store).get_experiment_by_name(chosen.experiment)
    # MLflow shows its pages for language models to a new browser, whatever the experiment's
    # tags say, unless the address asks for these.
    page = f"experiments/{experiment.experiment_id}/runs" if experiment else "experiments"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store.uri,
               "--host", "127.0.0.1", "--port", str(chosen.port), "--workers", "1",
               "--uvicorn-opts", "--log-level warning"]  # fmt: skip
    if store.artifacts:
        command += ["--default-artifact-root", store.artifacts.as_uri()]
    print(
        f"http://127.0.0.1:{chosen.port}/#/{page}?workflowType=machine_learning (Ctrl-C ends it)",
        flush=True,
    )
    sys.exit(_serve(command))


def _check_free(port: int) -> None:
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port must be a free port in 0..65535, got {port}.") from error


def _serve(command: Sequence[str]) -> int:
    """Run the server until it ends or this process is told to; none of it is left behind."""
    quiet = {"MLFLOW_LOGGING_LEVEL": "WARNING", "PYTHONWARNINGS": "ignore"}
    # Its job runners are for judging language models: eight processes of 250 MB.
    lean = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    server = subprocess.Popen(
        command, env={**quiet, **lean, **os.environ}, stdout=subprocess.DEVNULL, process_group=0
    )
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _runs(store: Store, chosen: argparse.Namespace) -> None:
    found = read.search(connect(store), chosen.experiment, chosen.filter, chosen.sweep)
    total, limit = len(found), chosen.n or (50 if chosen.format == "table" else None)
    frame = read.frame(found[:limit])
    if chosen.format == "csv":
        frame.to_csv(sys.stdout, index=False)
    elif chosen.format == "json":
        print(frame.to_json(orient="records", indent=2))
    else:
        from bpexp.cli.terminal import console, frame_table

        out = console()
        out.print(frame_table(out, frame))
        out.print(f"{len(frame)} of {total} runs" + ("; -n for more" if total > len(frame) else ""))


def _show(store: Store, chosen: argparse.Namespace) -> None:
    from bpexp.analysis import run_details
    from bpexp.cli.terminal import console
    from bpexp.tracking.archive import open_archive

    archive = open_archive(store, chosen.experiment)
    client = archive.client
    run = read.find(client, chosen.experiment, chosen.run)
    around = run_details.surroundings(archive, run)
    out = console()
    out.print(f"{run.info.run_name}  {run.info.run_id}  {run.info.status}")
    tags = {k: v for k, v in run.data.tags.items() if k.startswith("bpexp.")}
    first = "configuration of the first run" if around.composed else "configuration"
    parts: dict[str, Mapping[str, Any]] = {
        first: {**around.composed, **run.data.params}, "metrics": read.metrics(run),
        "environment": {**tags, **around.libraries},
    }  # fmt: skip
    for title, values in parts.items():
        out.print(f"\n{title}", style="bold")
        width = max(map(len, values), default=0)
        for key, value in sorted(values.items()):
            out.print(f"  {key:<{width}}  {value}", soft_wrap=True)
    if around.packages:
        out.print("\npackages", style="bold")
        out.print(", ".join(f"{name} {number}" for name, number in around.packages.items()))
    out.print("\nartifacts", style="bold")
    for artifact in client.list_artifacts(run.info.run_id):
        out.print(f"  {artifact.path}  {artifact.file_size} bytes")
    if around.diff:
        lines = around.diff.splitlines()
        part = f", {LINES} of {len(lines)} lines" if len(lines) > LINES else ""
        out.print(f"\nchanges that no commit held (git.diff{part})", style="bold")
        out.print("\n".join(lines[:LINES]), soft_wrap=True)
    note = run.data.tags.get("mlflow.note.content")
    if note:
        out.print(f"\n{note}")


def _compare(store: Store, chosen: argparse.Namespace) -> None:
    if len(chosen.run) < 2:
        raise ConfigError(f"compare must be given at least two runs, got {len(chosen.run)}.")
    from rich.table import Table

    from bpexp.analysis import run_details
    from bpexp.cli.terminal import console
    from bpexp.tracking.archive import open_archive

    archive = open_archive(store, chosen.experiment)
    runs = [read.find(archive.client, chosen.experiment, wanted) for wanted in chosen.run]
    known = [run_details.facts(run, run_details.surroundings(archive, run)) for run in runs]
    table = Table(box=None, pad_edge=False)
    for column in ("", *(run.info.run_id[:8] for run in runs)):
        table.add_column(column)
    for key, values in run_details.differences(known).items():
        table.add_row(key, *values)
    out = console()
    if table.row_count:
        out.print(table)
    else:
        out.print("No difference in configuration, metrics or environment.")


def _export(store: Store, chosen: argparse.Namespace) -> None:
    from bpexp.export.publish import publish

    client = connect(store)
    run = read.trained(client, read.find(client, chosen.experiment, chosen.run))
    print("\n".join(publish(store, client, run, onnx=chosen.onnx)))


def _reproduce(store: Store, chosen: argparse.Namespace) -> None:
    from bpexp.reproduce import report
    from bpexp.tracking.archive import open_archive

    if bool(chosen.run) == chosen.all:
        raise ConfigError("reproduce must be given runs, sweeps or --all.")
    if chosen.n_jobs == 0:
        raise ConfigError("--n-jobs must be a number of workers, or -1 for all, got 0.")
    archive = open_archive(store, chosen.experiment)
    runs = report.wanted(archive, chosen.run)
    sys.exit(report.reproduce(archive, runs, chosen.engine, chosen.n_jobs))


def _resume(store: Store, chosen: argparse.Namespace) -> None:
    from bpexp.render import plot_process

    backend = _backend(chosen.backend)
    with plot_process.beside():
        from bpexp import app

        finished = app.resume(
            store, chosen.experiment, chosen.sweep, ended=chosen.ended, backend=backend
        )
    sys.exit(app.EXIT[finished.status])


def _backend(where: str | None) -> Backend | None:
    if where is None:
        return None
    return Backend(name="local") if where == "local" else Dask(name="dask", address=where)


def _report(store: Store, chosen: argparse.Namespace) -> None:
    from bpexp.analysis import tables
    from bpexp.analysis.page import MAX_ROWS
    from bpexp.analysis.report import FORMATS
    from bpexp.analysis.sources import keep, of_experiment, of_sweeps

    formats = chosen.format.split(",")
    if not set(formats) <= set(FORMATS):
        raise ConfigError(f"--format must be of {', '.join(FORMATS)}, got {chosen.format!r}.")
    if chosen.seed < 0:
        raise ConfigError(f"--seed must be a whole number of at least 0, got {chosen.seed}.")
    client = connect(store)
    parents = [read.find(client, chosen.experiment, wanted) for wanted in chosen.sweep]
    if parents:
        report = of_sweeps(client, parents, chosen.measure, chosen.seed)
    else:
        report = of_experiment(client, chosen.experiment, chosen.measure, chosen.seed)
    named = "-".join(p.info.run_id[:8] for p in parents) or _file_name(chosen.experiment)
    folder = Path(chosen.o or Path("outputs") / "reports" / named)
    for name, content in report.files(formats).items():
        try:
            output_directory.make((folder / name).parent)
            (folder / name).write_bytes(content)
        except OSError as error:
            raise ConfigError(
                f"-o must be a folder that can be written, got {str(folder)!r}: {error.strerror}."
            ) from error
    logged = len(parents) == 1 and read.keeps_inside(parents[0], store)
    if logged:
        keep(client, parents[0], report)

    from bpexp.cli.terminal import console
    from bpexp.render import text

    out = console()
    out.print(report.question, soft_wrap=True)
    out.print(report.answer, style="bold", soft_wrap=True)
    out.print(text.table(tables.short_ranking(report.findings, 10)))
    if len(report.findings.summaries) > 10:
        out.print(f"10 of {len(report.findings.summaries)} groups; {MAX_ROWS} are in the report")
    written = ", ".join(str(folder / f"report.{name}") for name in formats)
    out.print(f"Written: {written}", soft_wrap=True)
    if len(parents) == 1 and not logged:
        out.print(
            f"Not logged to the sweep, which keeps its files in {parents[0].info.artifact_uri}."
        )


def _file_name(experiment: str) -> str:
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in experiment)[:100]
    # A name of dots alone is another folder's.
    return name if name.strip(".") else "experiment"
