"""Adds files, tables and a note to a run that has ended."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.reading import StoredRun

if TYPE_CHECKING:
    import pandas as pd

_NOTE, _TABLES = "mlflow.note.content", "mlflow.loggedArtifacts"
_SEPARATOR = "\n\n---\n\n"


def log(
    tracker: Tracker,
    run: StoredRun,
    files: Mapping[str, bytes],
    tables: Mapping[str, "pd.DataFrame"],
    section: str,
    text: str,
) -> None:
    """Log files and tables to a run, and put a section at the beginning of its note.

    Files, tables and a first section of the same names are replaced; ``mlflow.log_table`` would
    append rows. The section comes first because MLflow folds all but the first lines of a note.

    Args:
        tracker: Writes to the experiment of the run.
        run: The run.
        files: Contents of files, by path.
        tables: Tables that MLflow's pages show, by file name.
        section: Heading of the section.
        text: Text of the section, in Markdown.
    """
    as_json = {name: _table_json(table).encode() for name, table in tables.items()}
    tracker.add_files(run.run_id, {**files, **as_json})
    listed = json.loads(run.tags.get(_TABLES, "[]"))
    listed += [t for name in tables if (t := {"path": name, "type": "table"}) not in listed]
    note, heading = run.tags.get(_NOTE, ""), f"**{section}.**"
    rest = note.partition(_SEPARATOR)[2] if note.startswith(heading) else note
    tags = {_TABLES: json.dumps(listed), _NOTE: f"{heading} {text}{_SEPARATOR}{rest}"}
    tracker.add_values(run.run_id, RunRecord(run.name, run.status, run.started, 0, tags=tags))


def _table_json(table: "pd.DataFrame") -> str:
    """A table in the format of ``mlflow.log_table``, with null for infinities and NaN.

    Not with pandas' ``to_json``, which rounds to ten decimal places.
    """
    text = json.dumps(table.to_dict(orient="split", index=False))
    return json.dumps(json.loads(text, parse_constant=_null))


def _null(constant: str) -> None:
    """Replaces the constants Infinity, -Infinity and NaN."""
