"""What a report says about the sweep of a study: the verdicts that the study stored."""

import csv
import io

from bpexp.sweeps.sweep_integrity import checked_file
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun

TABLE = "study.csv"
"""The file of the parent run with the verdicts, see ``bpexp.studies.page``."""
PAGE = "study.html"
"""The file of the parent run with the page of the study."""
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
        f"them with each other. Verdicts of the study, explained in {PAGE} among the files of the "
        f"sweep: {'; '.join(verdicts)}."
    )


def page(archive: Archive, parent: StoredRun) -> dict[str, bytes]:
    """The page of a study as a file by its name; none if the sweep is no study or has not ended.

    Raises:
        ConfigError: The page was altered.
    """
    content = checked_file(parent, archive, PAGE)
    return {} if content is None else {PAGE: content}
