"""The table of the combinations that successive halving judged, an artifact of the sweep."""

import numpy as np

from bpexp.render.table_files import Columns
from bpexp.sweeps.job import by_combination
from bpexp.sweeps.ranking import is_diverged, rank_combinations
from bpexp.sweeps.runner import FinishedSweep

NAME = "rungs.csv"
COLUMNS: dict[str, type] = {
    "combination": str, "epoch": np.int64, "value": np.float64, "decision": str, "objective": str
}  # fmt: skip
GOES_ON, STOPPED, END, DIVERGED = "goes on", "stopped", "end", "diverged"
"""The decisions: ``END`` is that of a combination that was trained to its end, ``DIVERGED`` that of
one of which all runs diverged before."""


def rungs_table(finished: FinishedSweep) -> Columns:
    """The combinations that were judged, as the columns ``COLUMNS``.

    There is a row for each combination at each rung, with its value there and what was decided, and
    one for each combination that was trained to its end or diverged.
    """
    plan, objective = finished.plan, finished.plan.objective
    rows: list[tuple[str, int, float, str, str]] = []
    for rung in plan.rungs:
        for some in by_combination([plan.jobs[index] for index in sorted(rung.scores)]):
            scores = np.array([rung.scores[job.index] for job in some])
            value = objective.as_measured(objective.center(scores, rung.epoch))
            decision = GOES_ON if some[0].index in rung.kept else STOPPED
            rows.append((some[0].combination_name, rung.epoch, value, decision, objective.name))
    for found in rank_combinations(finished.rows, objective):
        if found.pruned_at is None:
            has_diverged = is_diverged(found.best)
            epochs = [
                int(row.metrics["epochs_run"]) if has_diverged else row.job.config.epochs
                for row in found.rows
            ]
            decision = DIVERGED if has_diverged else END
            name = found.job.combination_name
            rows.append((name, max(epochs), found.center, decision, objective.name))
    return dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
