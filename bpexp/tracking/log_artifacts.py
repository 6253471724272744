"""Files, tables and a note added to a run that has ended."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

NOTE, TABLES = "mlflow.note.content", "mlflow.loggedArtifacts"
RULE = "\n\n---\n\n"


def attach(
    client: "MlflowClient",
    run: "Run",
    files: Mapping[str, bytes],
    tables: Mapping[str, "pd.DataFrame"],
    section: str,
    text: str,
) -> None:
    """Log files by their paths and tables as MLflow shows them; put ``text`` in the note.

    What was attached before under the same names is replaced: ``mlflow.log_table`` would
    append the rows. The text stands first in the note, headed ``section``: MLflow's page of a
    run shows the first lines and folds the rest away.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, table in tables.items():
            (Path(folder) / name).write_text(_json(table))
        client.log_artifacts(run.info.run_id, folder)
    listed = json.loads(run.data.tags.get(TABLES, "[]"))
    listed += [t for name in tables if (t := {"path": name, "type": "table"}) not in listed]
    client.set_tag(run.info.run_id, TABLES, json.dumps(listed))
    note, heading = run.data.tags.get(NOTE, ""), f"**{section}.**"
    rest = note.partition(RULE)[2] if note.startswith(heading) else note
    client.set_tag(run.info.run_id, NOTE, f"{heading} {text}{RULE}{rest}")


def _json(table: "pd.DataFrame") -> str:
    """Columns and rows as ``mlflow.log_table`` lays them out; null for what is not finite.

    Not by pandas, which keeps ten decimal places: a prediction of 3e-13 would be 0.
    """
    text = json.dumps(table.to_dict(orient="split", index=False))
    return json.dumps(json.loads(text, parse_constant=lambda _: None))
