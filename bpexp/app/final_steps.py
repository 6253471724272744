"""The steps at the end of a run or sweep: study, summary with plots, sentences, export.

What a step needs is imported when it is taken: SciPy, matplotlib and pandas take longer to import
than many sweeps to train.
"""

from collections.abc import Sequence
from dataclasses import replace

from bpexp.reporter import Reporter
from bpexp.runs.objective import Objective
from bpexp.sweeps.job import by_combination
from bpexp.sweeps.ranking import RankedCombination, are_independent, scores_of, why_best
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking.clock import now
from bpexp.tracking.contract import RunRecord
from bpexp.tracking.factory import open_reader
from bpexp.tracking.store import Store


def with_study(finished: FinishedSweep) -> FinishedSweep:
    """Add the results of a study to a sweep that is one."""
    if finished.plan.study is None:
        return finished
    from bpexp.studies.sweep_results import study_results

    return replace(finished, study=study_results(finished.plan.study, finished))


def parent_record(finished: FinishedSweep, started: int) -> RunRecord:
    """Return the final record of the parent run of a sweep.

    There is no plot of an interrupted sweep: the user waits for the program to end.

    Args:
        finished: The sweep.
        started: When it was started, in milliseconds since the Unix epoch.
    """
    from bpexp.sweeps import summary

    record = summary.sweep_record(finished, started, now(not_before=started))
    files = record.artifacts
    if not finished.interrupted:
        from bpexp.sweeps import summary_plot

        files = {**files, **summary_plot.pictures(finished)}
    return replace(record, artifacts=files)


def report_lr_range(finished: FinishedSweep, store: Store, reporter: Reporter) -> None:
    """Report where training diverges, and the best learning rate, after ``search=lr_range``.

    The sentence is that of a report on the sweep. It needs losses of the first epoch, which are in
    the store only.
    """
    if finished.plan.runtime.search.name != "lr_range" or not finished.is_complete:
        return
    assert finished.parent is not None
    from bpexp.analysis.stored_report import lr_range_of
    from bpexp.tracking import archive, lookup

    reader = open_reader(store)
    parent = lookup.with_id(reader, finished.parent)
    opened = archive.Archive(reader, store, parent.experiment_id)
    lr_range = lr_range_of(opened, parent, finished.ranking.objective)
    if lr_range is not None:
        reporter.say(lr_range.sentence)


def export_best(finished: FinishedSweep, store: Store, reporter: Reporter) -> None:
    """Log the network of the best run as a model, if ``export=best``. Raises ConfigError."""
    if not finished.plan.runtime.export or not finished.is_complete:
        return
    best = finished.ranking.best
    if finished.why_several:
        reporter.say(f"Nothing is exported. {finished.why_several}")
        return
    if best is None:
        reporter.say("No run has a network to export.")
        return
    if not finished.is_single_run:
        reporter.say(f"Exporting {best.job.name}: {why_best(finished.ranking)}.")
    from bpexp.export.publish import publish
    from bpexp.tracking import archive, lookup

    reader = open_reader(store)
    run = lookup.with_id(reader, best.run_id)
    # By its id: somebody may have renamed the experiment meanwhile.
    for sentence in publish(archive.Archive(reader, store, run.experiment_id), run):
        reporter.say(sentence)


def report_confirmation(
    chosen: Sequence[RankedCombination],
    objective: Objective,
    fresh: FinishedSweep,
    reporter: Reporter,
) -> None:
    """Report what fresh seeds show of the best combinations of a sweep.

    Args:
        chosen: The combinations, with their results in the sweep that chose them.
        objective: What they are compared by.
        fresh: The complete sweep that trained them again, in the same order.
        reporter: Receives the sentence.
    """
    from bpexp.analysis import confirmation

    confirmed = []
    for combination, jobs in zip(chosen, by_combination(fresh.plan.jobs), strict=True):
        # One that had more splits than another in its sweep has more jobs here, too.
        rows = [row for row in (fresh.rows[job.index] for job in jobs) if row.metrics]
        confirmed.append(
            confirmation.Confirmed(
                name=combination.job.combination_name,
                before=combination.scores,
                after=scores_of(rows, objective),
                max_epochs=max(job.config.epochs for job in jobs),
                is_independent=are_independent(rows),
            )
        )
    reporter.say(confirmation.summary(objective, confirmed))
