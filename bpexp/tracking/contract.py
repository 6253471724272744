"""The interface of a tracker, which writes runs to MLflow, and the records that it writes.

>>> from bpexp.tracking.contract import MetricPoint, RunRecord
>>> run = RunRecord("seed=1", "FINISHED", started=1000, ended=2000,
...                 metrics=[MetricPoint("loss", 0.25, 1)])
>>> run.metrics[0].value
0.25
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class MetricPoint(NamedTuple):
    """One logged value of a metric; steps are epochs."""

    key: str
    value: float
    step: int


class DatasetInput(NamedTuple):
    """A data set as MLflow stores it; ``source``, ``schema`` and ``profile`` are JSON."""

    name: str
    digest: str
    source: str
    schema: str
    profile: str


@dataclass(frozen=True)
class RunRecord:
    """Everything that is tracked of one run.

    Attributes:
        name: The run's name in MLflow.
        status: MLflow's status: FINISHED, FAILED or KILLED; RUNNING for a run without an end.
        started: Start in milliseconds since the Unix epoch.
        ended: End in milliseconds since the Unix epoch.
        params: Parameters by key.
        tags: Tags by key.
        metrics: Points of all metrics, in the order in which they were measured.
        artifacts: Contents of files, by file name without a folder.
        dataset: The training data.
    """

    name: str
    status: str
    started: int
    ended: int
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricPoint] = ()
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    dataset: DatasetInput | None = None


class StagedRuns(Protocol):
    """Finished runs that are prepared but not yet in the store.

    Ownership: the caller of ``Tracker.stage`` calls either ``commit`` or ``discard``, once.
    """

    def commit(self) -> list[str]:
        """Write the runs to the store, where they become visible.

        Thread safety: may be called in another thread than the one that uses the tracker, while
        that thread stages more runs. Commits of one tracker must not overlap.

        Returns:
            The ids of the runs, in the order in which they were staged.

        Raises:
            DeletedError: The experiment or the sweep is deleted; nothing was written.
            TrackingError: The store rejected the runs, or stayed unavailable. ``written`` has
                the ids of those that were written.
        """
        ...

    def discard(self) -> None:
        """Delete what ``stage`` prepared, for example artifacts on disk."""
        ...


class Tracker(Protocol):
    """Writes runs into one experiment of one store.

    Ownership: a tracker holds connections until it is garbage-collected. It may close any open
    run of its experiment, also one that another process opened.

    Thread safety: all methods are called in one thread; ``StagedRuns.commit`` may run in another
    at the same time. Several processes may write to one experiment with a tracker each.

    Consistency: readers see a staged run only when it is complete, with parameters, tags,
    metrics, artifacts and its final status. The bulk tracker writes all runs of a ``commit`` or
    none. The client tracker may write some of them (``TrackingError.written``), and a process
    that is killed may leave a run with the status RUNNING. Every method waits for a store that
    is locked or unavailable, as ``RetryPolicy`` allows, and writes nothing twice.

    Attributes:
        experiment_id: MLflow's id of the experiment.
    """

    experiment_id: str

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """Create a run with the status RUNNING, such as the parent run of a sweep.

        Args:
            name: The run's name.
            started: Start in milliseconds since the Unix epoch.
            tags: Tags that the run has from the beginning.

        Returns:
            The id of the new run.

        Raises:
            TrackingError: The store rejected the run, or stayed unavailable.
        """
        ...

    def running(self) -> Mapping[str, Mapping[str, str]]:
        """Find the runs of the experiment that have the status RUNNING.

        Returns:
            The tags of each, by run id; deleted runs are left out.

        Raises:
            TrackingError: The store could not be read.
        """
        ...

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Add artifacts to a run; files of the same names are replaced.

        Args:
            run_id: A run of the experiment.
            files: Contents by file name, which may have folders: ``figures/loss.png``.

        Raises:
            TrackingError: A file could not be written; existing files stay as they were.
        """
        ...

    def add_values(self, run_id: str, run: RunRecord) -> None:
        """Add parameters, tags and metrics to a run, which keeps its status.

        Args:
            run_id: A run of the experiment.
            run: What is added. Only these three parts are used, and ``ended`` as the time of the
                metrics.

        Raises:
            DeletedError: The run is deleted, or it does not exist in a database.
            TrackingError: The store rejected the values, or stayed unavailable.
        """
        ...

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> StagedRuns:
        """Prepare new runs for writing: everything that does not need the database.

        Args:
            runs: Finished runs.
            parent: Id of the sweep that they belong to.

        Returns:
            The prepared runs, which ``commit`` writes.

        Raises:
            TrackingError: An artifact could not be written, or the store cannot hold a value.
        """
        ...

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """Set one tag on runs of the experiment.

        Args:
            run_ids: Runs that do not have the tag.
            key: Name of the tag.
            value: Value of the tag.

        Raises:
            TrackingError: The store rejected the tag, or stayed unavailable.
        """
        ...

    def update_run(
        self, run_id: str, tags: Mapping[str, str | None], name: str | None = None
    ) -> None:
        """Set or remove tags of a run, and change its name.

        Args:
            run_id: A run of the experiment.
            tags: New values by key; None removes a tag, which the run need not have.
            name: The new name; None leaves it as it is.

        Raises:
            DeletedError: The run is deleted, or it does not exist in a database.
            TrackingError: The store rejected a value, or stayed unavailable.
        """
        ...

    def claim(self, run_id: str, key: str, seen: str, value: str) -> str:
        """Replace the value of a tag, unless another process did so since ``seen`` was read.

        Args:
            run_id: A run of the experiment.
            key: Name of the tag.
            seen: The value that was read.
            value: The new value; different for each process.

        Returns:
            ``value``, or the value of the process that was faster.

        Raises:
            TrackingError: The store could not be read or written.
        """
        ...

    def check_not_deleted(self, sweep: str | None) -> None:
        """Check that the experiment, and a sweep in it, can be written to.

        Args:
            sweep: The id of its parent run; None to check the experiment alone.

        Raises:
            DeletedError: One of them is deleted.
            TrackingError: The store could not be read.
        """
        ...

    def reopen_run(self, run_id: str, without: Sequence[str]) -> None:
        """Give a run the status RUNNING again, and remove some of its tags.

        Args:
            run_id: A run of the experiment.
            without: The keys of the tags; the run need not have them.

        Raises:
            DeletedError: The run is deleted, or it does not exist in a database.
            TrackingError: The store could not be read or written.
        """
        ...

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted; ``mlflow gc`` removes them, ``mlflow runs restore`` restores them.

        Args:
            run_ids: Runs of the experiment.

        Raises:
            TrackingError: The store rejected the deletion, or stayed unavailable.
        """
        ...

    def restore_runs(self, run_ids: Sequence[str]) -> None:
        """Undo ``delete_runs``.

        Args:
            run_ids: Deleted runs of the experiment.

        Raises:
            TrackingError: The store rejected it, or stayed unavailable.
        """
        ...

    def finish(self) -> None:
        """Let the store prepare for reading what was written; called at the end of a sweep.

        Nothing depends on it but speed, so that errors of the store are ignored.
        """
        ...

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """Add the content of a record to an open run, and end the run.

        A point of a metric that the run has already is not added again. A database also removes
        the points of these metrics at other steps; MLflow's API cannot.

        Args:
            run_id: The open run.
            run: Content, status and end; ``name`` and ``started`` are ignored. The run ends at
                the earliest when it started, in case the clock was set back.

        Raises:
            DeletedError: The run is deleted, or it does not exist in a database.
            TrackingError: The run does not exist, the store rejected the content, or it stayed
                unavailable.
        """
        ...
