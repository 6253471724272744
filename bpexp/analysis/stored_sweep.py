"""Reads the table of the runs of a stored sweep, after checking it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Self

import pandas as pd

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.runs import file_names, run_tags
from bpexp.sweeps import integrity, metric_differences, plan_file, sweep_integrity
from bpexp.tracking import run_tables
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import Parts, Query, StoredRun

_CHECKED_TAGS = integrity.TO_CHECK.tags
_METRICS = Parts(params=(), tags=_CHECKED_TAGS, data=False)


@dataclass(frozen=True, eq=False)
class StoredSweep:
    """A sweep in a store, with the table of its runs.

    Attributes:
        parent: Its parent run.
        table: A row for each run.
        is_ordered: Whether the rows have the order of the jobs: it is the table of an ended sweep.
        left_out: Sentences on runs that have no row, because they were deleted from the store or
            not trained yet; "" if there are none.
    """

    parent: StoredRun
    table: pd.DataFrame
    is_ordered: bool
    left_out: str = ""

    @classmethod
    def read(cls, archive: Archive, parent: StoredRun) -> Self:
        """Read the table of results of a sweep, and compare it with the metrics of the runs.

        A sweep that did not end has no such table; its runs are read from the store.

        Raises:
            ConfigError: The table, or a run, is not as it was written.
        """
        query = Query(sweep=parent.run_id, are_sweeps=False)
        content = sweep_integrity.checked_file(parent, archive, file_names.RESULTS_PARQUET)
        if content is None:
            table = table_of(archive, parent.experiment_id, query)
            if table.empty:
                raise ConfigError(
                    f"No run of {parent.label} has ended yet; bpexp resume {parent.short_id} "
                    "trains them if its process has ended."
                )
            return cls(parent, table, is_ordered=False)._with_untrained(archive, len(table))
        table = run_tables.results_table(content, parent)
        compared = metric_differences.ComparedTable(table)
        stored = set()
        for run in _checked(archive, parent.experiment_id, query, _METRICS):
            # The table matches its digest, so that the run must be another one.
            problem = compared.problem_of(run)
            if problem:
                raise ConfigError(
                    f"{run.label} is altered: {problem}; bpexp reproduce {run.short_id} says more."
                )
            if parent.status != "RUNNING":
                integrity.refuse(run, integrity.status_problem(run))
            stored.add(run.run_id)
        sweep = cls(parent, table, is_ordered=True)._without_deleted(stored)
        return sweep._with_untrained(archive, len(table))

    def _with_untrained(self, archive: Archive, n_rows: int) -> Self:
        """Say how many runs of the plan were not trained yet.

        A race says itself that it has not ended.

        Args:
            archive: Where the plan is stored.
            n_rows: The number of runs that were trained.
        """
        content = None if self.is_race else archive.file_if_any(self.parent, plan_file.NAME)
        if content is None:
            return self
        planned = plan_file.planned_runs(content)
        n_left, resume = planned.so_far - n_rows, f"bpexp resume {self.parent.short_id}"
        if planned.trials is not None and self._n_trials(archive) < planned.trials:
            of_all = f"{n_rows:,} of at most {planned.at_most:,} runs of this search"
            them = "it" if planned.at_most - n_rows == 1 else "the others"
            sentence = (
                f"{of_all} are trained; {them} may change the answer, and {resume} trains {them}."
            )
        elif n_left > 0:
            are, them = ("is", "it") if n_left == 1 else ("are", "them")
            sentence = (
                f"{n_left:,} of the {planned.so_far:,} runs of this sweep {are} not trained yet, "
                f"and may change the answer; {resume} trains {them}."
            )
        else:
            return self
        return replace(self, left_out=f"{self.left_out} {sentence}".strip())

    def _n_trials(self, archive: Archive) -> int:
        """The number of trials that have ended, repeated ones included; 0 if it is not known."""
        content = sweep_integrity.checked_file(self.parent, archive, file_names.TRIALS_CSV)
        # A row for each trial below the header.
        return 0 if content is None else max(0, content.count(b"\n") - 1)

    def _without_deleted(self, stored: Collection[str]) -> Self:
        """Leave out the runs that were tracked and are not in the store any more.

        Args:
            stored: The ids of those in the store.
        """
        table, parent = self.table, self.parent
        is_deleted = (table["run_id"] != "") & ~table["run_id"].isin(stored)
        n_deleted = int(is_deleted.sum())
        if not n_deleted:
            return self
        if n_deleted == len(table):
            raise ConfigError(
                f"All runs of {parent.label} were deleted, or moved to another sweep; bpexp resume "
                f"{parent.short_id} trains them again."
            )
        rows = list(zip(table["name"], table["run_id"], strict=True))
        was, them = ("was", "it") if n_deleted == 1 else ("were", "them")
        deleted = (
            f"{sweep_integrity.missing_runs(rows, stored)} {counted(n_deleted, 'run')} of "
            f"{len(table):,} {was} left out; bpexp resume {parent.short_id} trains {them} again."
        )
        return replace(self, table=table[~is_deleted], left_out=deleted)

    @property
    def is_race(self) -> bool:
        """Whether its numbers of seeds follow from the results (``seeds=auto``)."""
        return run_tags.SEEDS in self.parent.tags

    @property
    def is_lr_range(self) -> bool:
        """Whether learning rates were searched by ``search=lr_range``."""
        return self.parent.tags.get(run_tags.SEARCH) == "lr_range"

    @property
    def has_trials(self) -> bool:
        """Whether its settings were searched, by any other method."""
        return run_tags.SEARCH in self.parent.tags and not self.is_lr_range

    def labeled(self, label: str) -> pd.DataFrame:
        """The table with a column ``sweep``, which has the same label in every row."""
        return self.table.assign(sweep=label)


def table_of(archive: Archive, experiment_id: str, query: Query) -> pd.DataFrame:
    """A row for each run that a query selects. Raises ConfigError if one is not as it was written.

    The runs are read in pages, and without most tags: all tags of all runs would need much memory.
    """
    parts = replace(run_tables.table_parts(), tags=_CHECKED_TAGS)
    return run_tables.frame(_checked(archive, experiment_id, query, parts))


def _checked(
    archive: Archive, experiment_id: str, query: Query, parts: Parts
) -> Iterator[StoredRun]:
    """The runs that a query selects, after comparing their values with their digests.

    Args:
        archive: Reads the store.
        experiment_id: Id of the experiment.
        query: Selects the runs.
        parts: What is read of each run; metrics and ``_CHECKED_TAGS`` must be among it.

    Raises:
        ConfigError: The metrics, the configuration or the parameters of a run, if they are read,
            are not those that were written.
    """
    for run in archive.reader.search(experiment_id, query, parts):
        problem = _problem_of_values(run, archive, has_params=parts.params is None)
        if problem:
            integrity.refuse(archive.get(run.run_id) or run, problem)
        yield run


def _problem_of_values(run: StoredRun, archive: Archive, *, has_params: bool) -> str:
    """Why metrics, configuration or parameters of a run are not those that were written; or ""."""
    if run_tags.DIGESTS not in run.tags:
        return ""
    if not integrity.has_recorded_values(run):
        problem = integrity.artifact_problem(archive.get(run.run_id) or run, archive)
        if problem:
            return problem
    # Without the tag, the configuration is in a file, which may be deleted.
    is_checked = has_params and run_tags.CONFIG in run.tags
    return integrity.value_problem(run, archive) if is_checked else ""
