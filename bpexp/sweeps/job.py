"""A job is one configuration of a sweep, with its position and name.

The same ``Job`` object is planned, batched, trained, recorded and ranked.

>>> from bpexp.config.compose import compose_settings
>>> from bpexp.sweeps.plan import make_plan
>>> plan = make_plan([compose_settings({"lr": lr}) for lr in (0.1, 1.0)])
>>> [(job.index, job.name) for job in plan.jobs]
[(0, 'lr=0.1'), (1, 'lr=1')]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.runs.result import Failure, TrainResult

Combination = tuple[tuple[str, str], ...]
"""A combination of settings as keys and values, which can be the key of a dictionary."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep before it is trained.

    Attributes:
        index: Its position in the sweep, counted from 0.
        name: A readable name, made of the settings that vary in the sweep.
        config: Everything that the result of the run depends on.
        dataset: The data of ``config.data``, which are loaded once for all jobs of a plan. A file
            that changes while a sweep runs must not change its runs, or their identities.
        varying: Values of the settings that vary in the sweep and that the job has, by dotted key.
        study_row: In a study, the name of the row that the run belongs to.
    """

    index: int
    name: str
    config: TrainConfig
    dataset: Dataset
    varying: Mapping[str, Any] = field(default_factory=dict)
    study_row: str = ""

    def shown(self, key: str) -> str:
        """The value of a setting that varies, as text; "" if the job does not have the setting."""
        return format_setting(self.varying[key]) if key in self.varying else ""

    @property
    def combination(self) -> dict[str, str]:
        """The combination of settings that is compared with those of other jobs.

        These are the values, as text, of the settings that vary, without those that number
        replicates: jobs that differ only in their seed have the same combination.
        """
        return {
            key: format_setting(value)
            for key, value in self.varying.items()
            if not is_replicate_key(key)
        }

    @property
    def combination_key(self) -> Combination:
        """The combination as the key of a dictionary."""
        return tuple(self.combination.items())

    @property
    def combination_name(self) -> str:
        """The combination as a user would type it: ``lr=0.1 hidden=4``; "" if none varies."""
        return " ".join(f"{key}={value}" for key, value in self.combination.items())


class Span(NamedTuple):
    """When a job was trained, in milliseconds since the Unix epoch, by the worker's clock."""

    started: int
    ended: int


class JobResult(NamedTuple):
    """A job that has been trained, or that failed.

    Attributes:
        job: The job.
        result: Its result, or why it has none.
        span: When it was trained; None if that is not known, as of a job whose worker died.
    """

    job: Job
    result: TrainResult | Failure
    span: Span | None = None


def by_combination(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs of each combination, in the order of their first jobs."""
    found: dict[Combination, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.combination_key, []).append(job)
    return list(found.values())


def format_setting(value: object) -> str:
    """Write a setting as a user would type it on the command line.

    >>> format_setting([8, 4]), format_setting(True), format_setting(None), format_setting(0.1)
    ('[8,4]', 'true', 'null', '0.1')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        items = [format_setting(item) for item in value]
        return items[0] if len(items) == 1 else f"[{','.join(items)}]"
    return str(value)
