"""The interface of a reader of stored runs, and the plain values that it returns.

``Query`` selects runs, ``Parts`` says what is read of each of them: a sweep has thousands of runs,
and most questions need a few of their values.

>>> from bpexp.tracking.reading import StoredRun
>>> run = StoredRun("70bda3e6", "seed=1", "FINISHED", tags={"mlflow.parentRunId": "5c1d"})
>>> run.parent, run.label
('5c1d', 'seed=1 (70bda3e6)')
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking.ids import short
from bpexp.tracking.rows import MAX_FLOAT

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it is in the store; parts that were not read are empty.

    Attributes:
        run_id: MLflow's id of the run.
        name: The name.
        status: MLflow's status, such as FINISHED; "" if somebody deleted it.
        experiment_id: MLflow's id of the experiment.
        started: Start in milliseconds since the Unix epoch; 0 if somebody deleted it.
        ended: End in milliseconds since the Unix epoch; None for a run that has not ended.
        artifact_uri: Where its artifacts are.
        params: Parameters by key.
        tags: Tags by key.
        metrics: The last value of each metric, by name, see ``restored``.
        data: The digest of the data set, as MLflow stores it; None if there is no data set.
    """

    run_id: str
    name: str
    status: str
    experiment_id: str = ""
    started: int = 0
    ended: int | None = None
    artifact_uri: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str | None = None

    @property
    def parent(self) -> str | None:
        """The id of the sweep that trained the run."""
        return self.tags.get("mlflow.parentRunId")

    @property
    def is_sweep(self) -> bool:
        """Whether this is the parent run of a sweep."""
        return run_tags.are_of_sweep(self.tags)

    @property
    def outcome(self) -> str:
        """The outcome; "" if the run has none, as the parent run of a sweep."""
        return self.tags.get(run_tags.OUTCOME, "")

    @property
    def label(self) -> str:
        """The name, if it has one, and the first digits of the id, for messages."""
        return f"{self.name} ({self.short_id})" if self.name else self.short_id

    @property
    def short_id(self) -> str:
        """The first digits of the id."""
        return short(self.run_id)


UNFINISHED = ("RUNNING", "SCHEDULED", "FAILED", "KILLED", "")
"""All statuses but FINISHED."""


SWEEP_SIGNS = (
    f"tags.`{run_tags.KIND}` = '{run_tags.SWEEP_KIND}'",
    f"tags.`{run_tags.OBJECTIVE}` LIKE '%'",
)
"""MLflow's filters of which each sweep fits at least one, see ``run_tags.are_of_sweep``."""


@dataclass(frozen=True)
class Query:
    """Which runs of an experiment are read.

    Attributes:
        filter_string: MLflow's filter; empty for all runs.
        statuses: Only runs with one of these statuses; empty for all.
        tags: Only runs that have all these tags with these values.
        sweep: Only runs of the sweep with this id, including those that it reuses from others.
        are_sweeps: True for parent runs of sweeps only, False for all other runs; None for both.
        are_deleted: Whether deleted runs are read, and no others; without a filter.
    """

    filter_string: str = ""
    statuses: Collection[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    sweep: str | None = None
    are_sweeps: bool | None = None
    are_deleted: bool = False


FINISHED = Query(statuses=["FINISHED"], are_sweeps=False)
"""All finished runs that are not sweeps."""


@dataclass(frozen=True)
class Parts:
    """What is read of each run, beside the values of its row.

    Attributes:
        params: Keys of the parameters that are read; None for all.
        tags: Keys of the tags that are read; None for all. Tags that the properties of
            ``StoredRun`` need are always read.
        metrics: Names of the metrics that are read; None for all.
        data: Whether the digest of the data set is read.
    """

    params: Collection[str] | None = None
    tags: Collection[str] | None = None
    metrics: Collection[str] | None = None
    data: bool = True

    def all_tags(self) -> list[str] | None:
        """The keys of all tags that are read; None for all."""
        own = ("mlflow.parentRunId", run_tags.KIND, run_tags.OBJECTIVE, run_tags.OUTCOME)
        return None if self.tags is None else sorted({*own, *self.tags})


EVERYTHING = Parts()
NO_PARTS = Parts((), (), (), data=False)
"""Only the tags that the properties of ``StoredRun`` need."""


class Point(NamedTuple):
    """One logged value of a metric, see ``restored``."""

    step: int
    value: float


def selected(values: Mapping[str, T], keys: Collection[str] | None) -> dict[str, T]:
    """The values with some keys; all values if the keys are None.

    >>> selected({"lr": "1", "seed": "0"}, ["lr"])
    {'lr': '1'}
    """
    return {key: value for key, value in values.items() if keys is None or key in keys}


def matching(reader: "RunReader", wanted: str, experiment_id: str) -> list[StoredRun]:
    """``RunReader.matching`` by a search through all runs, for a reader without an index."""
    return [
        run
        for run in reader.search(experiment_id, Query())
        if run.run_id.startswith(wanted) or run.name == wanted
    ]


def restored(value: float) -> float:
    """The value of a metric that was logged: MLflow stores infinity as the largest float.

    Text, which somebody may have written to a column of SQLite, is returned as it is.
    """
    is_infinite = isinstance(value, int | float) and abs(value) >= MAX_FLOAT
    return math.copysign(math.inf, value) if is_infinite else value


def invalid_filter(given: str, error: Exception) -> ConfigError:
    """The error for a filter that MLflow refused."""
    reason = " ".join(str(error).split())
    return ConfigError(
        f'--filter must be an MLflow filter such as "metrics.final_loss < 0.1", '
        f"got {given!r}: {reason}"
    )


class RunReader(Protocol):
    """Reads the runs of one store.

    Thread safety: all methods may be called in several threads at the same time.

    Consistency: a run is read completely or not at all, but runs that are written while an
    iterator is read may be missing. Every method waits for a store that is locked or unavailable,
    as ``RetryPolicy`` allows.

    All methods raise TrackingError if the store cannot be read.
    """

    @property
    def client(self) -> "MlflowClient | None":
        """MLflow's client on the store, if the reader uses it."""
        ...

    def experiments(self, *, are_deleted: bool = False) -> Mapping[str, str]:
        """The ids of the experiments that are deleted, or are not, by name; the newest first."""
        ...

    def get(self, run_ids: Sequence[str], parts: Parts = EVERYTHING) -> Sequence[StoredRun]:
        """The runs with some complete ids, of any experiment, also deleted ones.

        Args:
            run_ids: The ids; one that does not exist is left out.
            parts: What is read of each run.

        Returns:
            The runs in the order of ``run_ids``.
        """
        ...

    def matching(self, wanted: str, experiment_id: str) -> Sequence[StoredRun]:
        """The runs of an experiment with an id that begins with ``wanted``, or with that name.

        Args:
            wanted: The beginning of an id, or a name; not empty.
            experiment_id: Id of the experiment.

        Returns:
            The runs with all their parts, the newest first.
        """
        ...

    def search(
        self,
        experiment_id: str,
        query: Query,
        parts: Parts = EVERYTHING,
        *,
        limit: int | None = None,
    ) -> Iterator[StoredRun]:
        """The runs that a query selects, the newest first.

        Args:
            experiment_id: Id of the experiment.
            query: Selects the runs.
            parts: What is read of each run.
            limit: Maximum number of runs.

        Raises:
            ConfigError: The filter is invalid.
        """
        ...

    def count(self, experiment_id: str, query: Query) -> int:
        """The number of runs that a query selects.

        Raises:
            ConfigError: The filter is invalid.
        """
        ...

    def history(self, run_ids: Sequence[str], metric: str) -> Mapping[str, Sequence[Point]]:
        """All logged values of a metric by run, in ascending order of their steps."""
        ...
