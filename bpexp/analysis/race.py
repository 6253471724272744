"""What a report says about a race (``seeds=auto``): its verdict and its results."""

from typing import NamedTuple

import pandas as pd

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.runs.objective import Objective, objectives
from bpexp.sweeps import resume
from bpexp.sweeps.race import replayed
from bpexp.sweeps.race_result import RaceResult
from bpexp.sweeps.sweep_integrity import AlteredFileError
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun


class RaceFinding(NamedTuple):
    """What a race says about an objective: in sentences, and its result if it was about it."""

    verdict: str
    result: RaceResult | None = None


def find(
    parent: StoredRun,
    table: pd.DataFrame | None,
    archive: Archive,
    objective: Objective,
    *,
    is_part: bool,
) -> RaceFinding:
    """What the race of a sweep says about an objective.

    Args:
        parent: Parent run of the sweep.
        table: Its runs in the order of the jobs; None if it has not ended.
        archive: Reads the store.
        objective: The objective.
        is_part: Whether the report is on a part of the combinations.
    """
    raced = objectives().get(parent.tags.get(run_tags.OBJECTIVE, ""))
    if objective != raced or is_part:
        by = "their results" if raced is None else f"the {raced.label} of all combinations"
        return RaceFinding(
            f"The numbers of seeds follow from {by} (seeds=auto), so this difference is not tested."
        )
    try:
        plan = resume.plan_of(parent, archive)
    except AlteredFileError:
        raise
    except ConfigError:
        # Without its data, the plan cannot be read.
        return RaceFinding(
            parent.tags.get(run_tags.VERDICT, "The race cannot be repeated without its data.")
        )
    if table is None or len(table) < len(plan.jobs):
        return RaceFinding(f"The race has not ended; bpexp resume {parent.short_id} goes on.")
    measured, outcomes = table[objective.metric].to_numpy(float), table["outcome"].to_numpy(object)
    scores = objective.scores_to_tell(measured, outcomes)
    result = replayed(plan, lambda jobs: [scores[job.index] for job in jobs])
    return RaceFinding(result.verdict, result)
