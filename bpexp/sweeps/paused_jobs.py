"""Jobs of a sweep that are paused at an epoch, from where they can go on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bpexp.runs.result import Failure
from bpexp.sweeps.job import Job, JobResult, Span
from bpexp.sweeps.row import Row, row_of
from bpexp.training.paused import PausedResult, PausedRun

MAX_BYTES = 2**30
"""States of jobs that are kept in memory; the others are trained from the start when they go on."""


class PausedJobs:
    """The results so far of jobs that have not ended, by index. Used by one thread."""

    def __init__(self) -> None:
        """Start with none."""
        self._results: dict[int, JobResult] = {}

    def __contains__(self, job: Job) -> bool:
        """Whether a job is paused."""
        return job.index in self._results

    def __getitem__(self, job: Job) -> JobResult:
        """The result so far of a paused job."""
        return self._results[job.index]

    def keep(self, trained: Sequence[JobResult]) -> list[JobResult]:
        """Keep the results of jobs that are paused; returns those of jobs that have ended."""
        ended = []
        for result in trained:
            one = _since_first_start(result, self._results.pop(result.job.index, None))
            if isinstance(one.result, PausedResult):
                self._results[one.job.index] = one
            else:
                ended.append(one)
        self._limit()
        return ended

    def remove(self, jobs: Sequence[Job]) -> None:
        """Forget jobs."""
        for job in jobs:
            self._results.pop(job.index, None)

    def states(self) -> dict[int, PausedRun]:
        """From where jobs go on, by index, without those that are trained from the start again."""
        found = {}
        for index, one in self._results.items():
            if isinstance(one.result, PausedResult) and one.result.run is not None:
                found[index] = one.result.run
        return found

    def rows(self, jobs: Sequence[Job], ended: Mapping[int, Row]) -> dict[int, Row]:
        """The row of each job by index: of a paused one so far, else its row in ``ended``."""
        return {job.index: row_of(self[job]) if job in self else ended[job.index] for job in jobs}

    def is_at(self, job: Job, epoch: int) -> bool:
        """Whether a paused job has been trained for so many epochs."""
        result = self._results[job.index].result
        return not isinstance(result, Failure) and result.epochs_run == epoch

    def _limit(self) -> None:
        """Drop the states beyond ``MAX_BYTES``."""
        n_bytes = 0
        for index, run in self.states().items():
            n_bytes += run.nbytes
            if n_bytes > MAX_BYTES:
                one = self._results[index]
                assert isinstance(one.result, PausedResult)
                self._results[index] = one._replace(result=replace(one.result, run=None))


def _since_first_start(trained: JobResult, paused: JobResult | None) -> JobResult:
    """A result with the start that the job had before it was paused, if it was."""
    if paused is None or paused.span is None or trained.span is None:
        return trained
    return trained._replace(span=Span(paused.span.started, trained.span.ended))
