"""The contract of a tracker, and the record it is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Metric(NamedTuple):
    """One point of a metric."""

    key: str
    value: float
    step: int


class DatasetInput(NamedTuple):
    """A data set as MLflow names it; ``schema`` and ``profile`` are JSON."""

    name: str
    digest: str
    source: str
    schema: str
    profile: str


@dataclass(frozen=True)
class RunRecord:
    """All that is tracked of one finished run. Times are in ms since the epoch.

    ``status`` is MLflow's: FINISHED, FAILED or KILLED. ``artifacts`` maps a file name to
    its content.
    """

    name: str
    status: str
    started: int
    ended: int
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    dataset: DatasetInput | None = None


@dataclass(frozen=True)
class Batch:
    """Finished runs made ready to be written: one of the two is called, once.

    ``commit()`` makes them visible and returns their ids in order; it may be called by another
    thread than the one that goes on staging. ``discard()`` takes back what was made ready.
    """

    commit: Callable[[], list[str]]
    discard: Callable[[], None]


class Tracker(Protocol):
    """Writes runs into one experiment of one store; used by one thread of one process but for
    the batches' ``commit``.

    ``open_run`` makes a run that is RUNNING, the parent of a sweep. ``stage`` begins to write
    finished runs whole: each becomes visible as FINISHED only after all its parts are
    there. ``close_run`` adds a parent's parts and ends it. ``tag_many`` puts one tag, which
    none of them has yet, on many runs. ``running`` finds what is open. A store that is locked or
    away is waited for. All, and ``commit``, raise TrackingError where the store does not take what
    it is given; where it took some of many runs, the error's ``written`` says which.
    """

    experiment_id: str

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """Returns the new run's id."""
        ...

    def running(self) -> Mapping[str, Mapping[str, str]]:
        """Returns the tags of the experiment's open runs, by their ids."""
        ...

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Adds artifacts to an open run."""
        ...

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> Batch:
        """Makes new runs ready to be written: all that need not wait for the database."""
        ...

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """Tags runs of any sweep of the experiment."""
        ...

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """Adds what ``run`` holds to the open run and ends it with its status."""
        ...
