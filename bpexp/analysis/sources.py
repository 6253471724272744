"""Read runs from an MLflow store and build a report on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpexp.analysis.report import Report, build
from bpexp.fields.checks import ConfigError
from bpexp.tracking import log_artifacts, lookup, read
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENVIRONMENT_TAGS = (
    "bpexp.python", "bpexp.platform", "bpexp.processor", "bpexp.version.", "bpexp.git.",
)  # fmt: skip
"""Prefixes of the tags that describe the environment of a run."""


@dataclass(frozen=True)
class RunFiles:
    """Reads the losses and artifacts of runs from a store."""

    client: "MlflowClient"

    def losses(self, rows: "pd.DataFrame", epochs: Array) -> Array:
        """Losses of runs at the given epochs, (n_runs, n_epochs); nan after the end of a run."""
        return read.losses(self.client, rows, epochs)

    def artifact(self, row: Any, name: str) -> bytes | None:
        """The content of an artifact of a run; None if it does not exist."""
        return read.artifact(self.client, row["run_id"], row["artifacts"], name)


def of_sweeps(
    client: "MlflowClient", parents: "Sequence[Run]", measure: str | None, seed: int
) -> Report:
    """Build the report on one or more sweeps.

    Args:
        client: Client of the store.
        parents: Parent runs of the sweeps.
        measure: Measure that ranks the groups; chosen by the runs if None.
        seed: Seed of the bootstrap.

    Returns:
        The report.

    Raises:
        ConfigError: A run is not the parent of a sweep or is given twice, no run has finished, or
            the runs do not have the measure.
    """
    import pandas as pd

    ids = [parent.info.run_id for parent in parents]
    if len(set(ids)) < len(ids):
        raise ConfigError("report compares different sweeps, but the same sweep was given twice.")
    for parent in parents:
        if not lookup.is_sweep(parent):
            raise ConfigError(
                f"{parent.info.run_name!r} is a single run; give the id of a sweep's parent run."
            )
    # The shortest prefix of at least 8 digits that tells the ids apart.
    digits = next(n for n in range(8, 33) if len({run_id[:n] for run_id in ids}) == len(ids))
    tables = [
        read.sweep_table(client, parent).assign(sweep=parent.info.run_id[:digits])
        for parent in parents
    ]
    names = [f"{parent.info.run_name} ({parent.info.run_id[:digits]})" for parent in parents]
    files, environment = RunFiles(client), _environment(parents)
    return build(
        pd.concat(tables), " and ".join(names), environment, files, measure, seed,
    )  # fmt: skip


def of_experiment(client: "MlflowClient", name: str, measure: str | None, seed: int) -> Report:
    """Build the report on all runs of an experiment, whichever sweep they belong to.

    Args:
        client: Client of the store.
        name: Name of the experiment.
        measure: Measure that ranks the groups; chosen by the runs if None.
        seed: Seed of the bootstrap.

    Returns:
        The report.

    Raises:
        ConfigError: The experiment does not exist or has no runs, no run has finished, or the
            runs do not have the measure.
    """
    runs = lookup.search(client, name)
    frame = read.runs_table(runs).assign(sweep="")
    if frame.empty:
        raise ConfigError(f"The experiment {name!r} has no runs.")
    files, environment = RunFiles(client), _environment(runs)
    return build(frame, f"experiment {name}", environment, files, measure, seed)


def _environment(runs: "Sequence[Run]") -> Mapping[str, str]:
    """The environment of the runs by tag; different values are joined by semicolons."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.data.tags.items():
            if key.startswith(ENVIRONMENT_TAGS):
                values.setdefault(key.removeprefix("bpexp."), set()).add(value)
    return {key: "; ".join(sorted(found)) for key, found in sorted(values.items())}


def keep(client: "MlflowClient", parent: "Run", report: Report) -> None:
    """Log the report to the sweep's parent run: page, plots and tables, and the answer as a note.

    Args:
        client: Client of the store.
        parent: Parent run of the sweep.
        report: The report.
    """
    files = report.files(["html"])
    tables = {"ranking.json": report.table}
    if len(report.predictions):
        tables["predictions.json"] = report.predictions
    log_artifacts.log(client, parent, files, tables, "Report", report.answer)
