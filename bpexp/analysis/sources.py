"""From a store to a report on what is in it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bpexp.analysis.report import Report, build
from bpexp.fields.checks import ConfigError
from bpexp.tracking import log_artifacts, read
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

    from bpexp.tracking.read import MlflowClient, Run

DESCRIBES = ("bpexp.python", "bpexp.platform", "bpexp.processor", "bpexp.version.", "bpexp.git.")


def of_sweeps(
    client: "MlflowClient", parents: "Sequence[Run]", measure: str | None, seed: int
) -> Report:
    """The report on one sweep, or on several read together."""
    import pandas as pd

    ids = [parent.info.run_id for parent in parents]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"report must be given different sweeps, got {ids[0][:8]} twice.")
    for parent in parents:
        if not read.is_sweep(parent):
            raise ConfigError(
                f"SWEEP must be a sweep's parent run, got the run {parent.info.run_name!r}."
            )
    # Ids as `runs` prints them and all verbs take them; longer where two begin alike.
    digits = next(n for n in range(8, 33) if len({one[:n] for one in ids}) == len(ids))
    tables = [
        read.sweep_table(client, parent).assign(sweep=parent.info.run_id[:digits])
        for parent in parents
    ]
    names = [f"{parent.info.run_name} ({parent.info.run_id[:digits]})" for parent in parents]
    return _report(client, pd.concat(tables), " and ".join(names), parents, measure, seed)


def of_experiment(client: "MlflowClient", name: str, measure: str | None, seed: int) -> Report:
    """The report on all runs of an experiment, whichever sweep they belong to."""
    runs = read.search(client, name)
    frame = read.runs_table(runs)
    if frame.empty:
        raise ConfigError(f"--experiment must be one with runs, got {name!r}.")
    return _report(client, frame.assign(sweep=""), f"experiment {name}", runs, measure, seed)


def _report(
    client: "MlflowClient",
    frame: "pd.DataFrame",
    title: str,
    described: "Sequence[Run]",
    measure: str | None,
    seed: int,
) -> Report:
    def losses(rows: "pd.DataFrame", epochs: Array) -> Array:
        return read.losses(client, rows, epochs)

    def artifact(row: Any, name: str) -> bytes | None:
        return read.artifact(client, row["run_id"], row["artifacts"], name)

    return build(frame, title, _environment(described), losses, artifact, measure, seed)


def _environment(runs: "Sequence[Run]") -> Mapping[str, str]:
    """What the runs were made with; where they differ, all that there was."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.data.tags.items():
            if key.startswith(DESCRIBES):
                found.setdefault(key.removeprefix("bpexp."), set()).add(value)
    return {key: "; ".join(sorted(values)) for key, values in sorted(found.items())}


def keep(client: "MlflowClient", parent: "Run", report: Report) -> None:
    """Log the page, its figures and tables to the sweep's parent run, the answer as a note."""
    files = report.files(["html"])
    tables = {"ranking.json": report.table}
    if len(report.predictions):
        tables["predictions.json"] = report.predictions
    log_artifacts.log(client, parent, files, tables, "Report", report.answer)
