"""Adds files, tables and a note to a run that has ended."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.tracking.reading import StoredRun

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

_NOTE, _TABLES = "mlflow.note.content", "mlflow.loggedArtifacts"
_SEPARATOR = "\n\n---\n\n"


def log(
    client: "MlflowClient",
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
        client: MLflow's client on the store of the run.
        run: The run.
        files: Contents of files, by path.
        tables: Tables that MLflow's pages show, by file name.
        section: Heading of the section.
        text: Text of the section, in Markdown.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, table in tables.items():
            (Path(folder) / name).write_text(_table_json(table))
        client.log_artifacts(run.run_id, folder)
    listed = json.loads(run.tags.get(_TABLES, "[]"))
    listed += [t for name in tables if (t := {"path": name, "type": "table"}) not in listed]
    client.set_tag(run.run_id, _TABLES, json.dumps(listed))
    note, heading = run.tags.get(_NOTE, ""), f"**{section}.**"
    rest = note.partition(_SEPARATOR)[2] if note.startswith(heading) else note
    client.set_tag(run.run_id, _NOTE, f"{heading} {text}{_SEPARATOR}{rest}")


def _table_json(table: "pd.DataFrame") -> str:
    """A table in the format of ``mlflow.log_table``, with null for infinities and NaN.

    Not with pandas' ``to_json``, which rounds to ten decimal places.
    """
    text = json.dumps(table.to_dict(orient="split", index=False))
    return json.dumps(json.loads(text, parse_constant=_null))


def _null(constant: str) -> None:
    """Replaces the constants Infinity, -Infinity and NaN."""
