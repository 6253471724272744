"""What a report says about the sweep of a study: the verdicts that the study stored."""

import csv
import io

from bpexp.sweeps.sweep_integrity import checked_file
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun

TABLE = "study.csv"
"""The file of the parent run with the verdicts, see ``bpexp.studies.page``."""
MAX_NAMED = 12
"""Maximum number of rows whose verdicts are listed."""


def sentence(archive: Archive, parent: StoredRun) -> str:
    """The verdicts of a study, row by row; "" if the sweep is none or has not ended.

    Raises:
        ConfigError: The table of the verdicts was altered.
    """
    content = checked_file(parent, archive, TABLE)
    if content is None:
        return ""
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    verdicts = [f"{row['row']}: {row['verdict']}" for row in rows[:MAX_NAMED]]
    if len(rows) > MAX_NAMED:
        verdicts.append(f"{len(rows) - MAX_NAMED} more")
    return (
        "This sweep is a study, which compares its rows with published numbers; a report compares "
        "them with each other. Verdicts of the study, explained in study.html among the files of "
        f"the sweep: {'; '.join(verdicts)}."
    )
