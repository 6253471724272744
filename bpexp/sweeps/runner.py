"""Trains the jobs of a plan and tracks the results as they finish.

``SweepRunner.train`` is the main loop of every run and sweep.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from bpexp.interrupts import interrupts_calling, interrupts_deferred
from bpexp.render.document import Table
from bpexp.runs import environment, run_tags
from bpexp.runs.result import Failure, NoResult
from bpexp.sweeps import comparable, plan_file, provenance
from bpexp.sweeps.budget import Budget
from bpexp.sweeps.executors import Executor, make_batches
from bpexp.sweeps.executors.base import Batch, longest_first
from bpexp.sweeps.halving import HalvedGeneration, scores_told
from bpexp.sweeps.job import Job, JobResult, Span
from bpexp.sweeps.live_run import LiveRun
from bpexp.sweeps.paused_jobs import PausedJobs
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.ranking import Ranking, final_objective, planned_runs, rank_parts
from bpexp.sweeps.results import SweepResults
from bpexp.sweeps.row import Row
from bpexp.sweeps.run_record import RunRecorder
from bpexp.sweeps.run_writer import JobRecord, RunWriter
from bpexp.sweeps.rungs import sentence as rung_sentence
from bpexp.sweeps.samplers.trials import Trial
from bpexp.tracking import process, spool
from bpexp.tracking.clock import now
from bpexp.tracking.contract import MetricPoint
from bpexp.tracking.retry import ResumeAdvice, TrackingError
from bpexp.typing import Array

if TYPE_CHECKING:
    from bpexp.sweeps.race_result import RaceResult

INTERRUPTED = Failure("interrupted before it was finished", interrupted=True)


@dataclass(frozen=True)
class StudyResults:
    """The comparison of the runs of a study with what was published.

    Attributes:
        note: The comparison in Markdown, for the parent run.
        files: The artifacts of the parent run, by name.
        table: The comparison.
        sentences: What the table does not show.
    """

    note: str
    files: Mapping[str, bytes]
    table: Table
    sentences: Sequence[str]


@dataclass(frozen=True)
class FinishedSweep:
    """A plan that has been executed, or interrupted.

    Attributes:
        plan: The plan.
        rows: The results in the order of the jobs.
        rankings: The results, ranked by the objective of the plan: one ranking, or one for each
            part of the runs that cannot be ranked together.
        interrupted: Whether the user interrupted it.
        parent: The id of the sweep's parent run; None for a single run.
        predictions: Of the best run, (n_samples, n_outputs); None if its data set is not small.
        files: The artifacts of the parent run, by name.
        trials: The trials of a search, in order.
        race: How the combinations of a race came out.
        study: The results of a study.
        replaced: The ids of stored runs of the sweep in whose place others were trained.
    """

    plan: Plan
    rows: Sequence[Row]
    rankings: Sequence[Ranking]
    interrupted: bool
    parent: str | None
    predictions: Array | None
    files: Mapping[str, bytes] = field(default_factory=dict)
    trials: Sequence[Trial] = ()
    race: "RaceResult | None" = None
    study: StudyResults | None = None
    replaced: Sequence[str] = ()

    @property
    def is_single_run(self) -> bool:
        """Whether it is a single run and not a sweep."""
        return self.parent is None

    @property
    def n_left_out(self) -> int:
        """The number of jobs of the plan that the budget left out."""
        return len(self.plan.jobs) - len(self.rows)

    @property
    def is_complete(self) -> bool:
        """Whether every job of the plan has a row that no interrupt made."""
        return not self.interrupted and not self.n_left_out

    @property
    def ranking(self) -> Ranking:
        """The ranking; one that has no combinations, and no best run, if there are several."""
        if len(self.rankings) == 1:
            return self.rankings[0]
        runs = [row for ranking in self.rankings for row in ranking.runs]
        return Ranking(self.rankings[0].objective, (), runs)

    @property
    def why_several(self) -> str:
        """Why there are several rankings, as a sentence; "" if there is one."""
        if len(self.rankings) == 1:
            return ""
        return comparable.sentence(self.plan.jobs, self.rankings[0].objective)

    @property
    def status(self) -> str:
        """MLflow's status: KILLED if interrupted, FAILED if a run failed, else FINISHED."""
        if self.interrupted:
            return "KILLED"
        return "FAILED" if any(row.outcome == NoResult.FAILED for row in self.rows) else "FINISHED"


class Listener(Protocol):
    """Hears of the training of jobs while it goes on; a ``bpexp.reporter.Reporter`` is one."""

    def on_epochs(self, jobs: Sequence[Job], losses: Array) -> None:
        """Hear of further epochs of jobs, with their losses, (n_epochs, L); from any thread."""

    def say(self, sentence: str) -> None:
        """Hear of any other event, as one sentence."""


class SweepRunner:
    """Trains the jobs of a plan with an executor and hands the results to a writer.

    Attributes:
        plan: The plan; ``add_generation`` adds generations to it.
        results: The results so far.
        started: When the runner was created, in milliseconds since the Unix epoch.
        interrupted: Whether the user interrupted the training.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        writer: RunWriter,
        listener: Listener,
        on_result: Callable[[Row], None],
    ) -> None:
        """Prepare to train.

        Args:
            plan: The first generation of jobs.
            executor: Trains them.
            writer: Writes their results.
            listener: Hears of the training.
            on_result: Called with the row of every finished job.
        """
        self.plan, self.results, self.interrupted = plan, SweepResults(plan.objective), False
        self.started = now()
        self._executor, self._writer = executor, writer
        self._listener, self._on_result = listener, on_result
        self._budget = Budget(plan.runtime.budget)
        self._paused = PausedJobs()
        self._plan_encoder = plan_file.PlanEncoder()
        self._live: LiveRun | None = None
        if len(plan.jobs) == 1:
            points = plan.runtime.tracking.points
            self._live = LiveRun(plan.jobs[0].config, points, self._show)

        executor.on_epochs = self._on_epochs

    def _on_epochs(self, jobs: Sequence[Job], losses: Array) -> None:
        """Report epochs, and show a single run in the store; see ``Executor.on_epochs``.

        Ends the training if the store cannot be opened: the first results may be hours away.
        """
        if self._writer.cannot_open:
            self._executor.cancel()
        self._listener.on_epochs(jobs, losses)
        if self._live is not None:
            self._live.add(losses[:, 0])

    def _show(self, points: Sequence[MetricPoint]) -> bool:
        """Show further points of the loss of a single run; returns whether they were taken."""
        if not self._writer.is_open or not self._writer.sweep.is_single_run:
            return False
        record = self._recorder.opening(self.plan.jobs[0], points, now(not_before=self.started))
        return self._writer.show(record)

    def use_stored_results(self) -> None:
        """Use the results that are stored already; blocks until the store is open."""
        sweep = self._writer.sweep
        if sweep.stored is not None:
            self._add_stored(sweep.stored, sweep.notes)
            n_jobs, n_stored = len(self.plan.jobs), len(self.results.rows)
            if 0 < n_stored < n_jobs:
                self._listener.say(f"In the store already: {n_stored} of {n_jobs} runs.")

    def add_generation(self, plan: Plan) -> None:
        """Replace the plan by one with another generation of jobs, see ``Plan.with_generation``.

        With ``reuse=true``, jobs of which the store has a run get its result.
        """
        self._replace_plan(plan)
        reusable = self._writer.sweep.reusable
        if reusable is not None:
            self._add_stored(*reusable.link(plan, plan.last_generation))

    def _add_stored(self, stored: SweepResults, notes: Sequence[str]) -> None:
        """Use results that are stored already, and report them; ``notes`` are on damaged runs."""
        self.results.add_stored(stored)
        for row in stored.in_order(self.plan.jobs):
            self._on_result(row)
        for note in notes:
            self._listener.say(note)

    def _replace_plan(self, plan: Plan) -> None:
        """Use another plan, and store it."""
        self.plan, files = plan, self._writer.sweep.files
        if files is not None:
            files.write({plan_file.NAME: self._plan_encoder.to_bytes(plan)})

    def scores(self, jobs: Sequence[Job]) -> list[float | None]:
        """The score of each of some trained jobs, see ``Sampler.tell``."""
        return scores_told(jobs, self.results.rows, self.plan)

    def missing(self) -> list[Job]:
        """The jobs that have no result yet, in order."""
        return [job for job in self.plan.jobs if job.index not in self.results.rows]

    @property
    def is_complete(self) -> bool:
        """Whether every job of the plan has a result."""
        return not self.interrupted and not self.missing()

    def train(self) -> None:
        """Train and track the jobs that have no result yet, until the budget is spent.

        On Ctrl-C, finished runs stay and the others are tracked as KILLED.

        Raises:
            KeyboardInterrupt: On Ctrl-C before the store is open, if no run has ended.
            TrackingError: The runs could be written neither to the store nor to the spool.
        """
        try:
            if self.plan.runtime.search.halving is None:
                self._train_jobs(self.plan.jobs)
            else:
                for jobs in self.plan.jobs_by_generation:
                    self._train_by_rungs(jobs)
        except KeyboardInterrupt:
            if not self.results.rows and not self._writer.wait_briefly():
                self._listener.say("Nothing is recorded: the store was not open yet.")
                raise
            self.interrupted = True
            self._record_interrupted()

    def _train_by_rungs(self, jobs: Sequence[Job]) -> None:
        """Train a generation; the jobs of combinations that are judged to be worse are stopped."""
        settings, objective, known = self.plan.runtime.search, self.plan.objective, self.plan.rungs
        generation = HalvedGeneration(jobs, settings, objective, known)
        for epoch in generation.epochs:
            due = generation.jobs_to_judge(epoch)
            self._train_jobs(due, epoch)
            rungs = generation.judge(epoch, self._paused.rows(due, self.results.rows))
            new = tuple(rung for rung in rungs if rung not in known)
            if new:
                self._replace_plan(replace(self.plan, rungs=(*self.plan.rungs, *new)))
            for rung in new:
                self._listener.say(rung_sentence(rung, self.plan.jobs))
            for rung in rungs:
                self._prune([self.plan.jobs[index] for index in sorted(rung.pruned)], epoch)
        self._train_jobs(jobs)
        self._paused.remove(jobs)

    def _prune(self, jobs: Sequence[Job], epoch: int) -> None:
        """Stop jobs after an epoch, and track them; unless they are trained to their ends later."""
        if self.plan.trains_pruned:
            return
        untracked = [job for job in jobs if job.index not in self.results.rows]
        # Those of a sweep that is resumed have to be trained again.
        self._train_jobs(untracked, epoch)
        with interrupts_deferred():
            self._record([self._paused[job] for job in untracked if job in self._paused])
        self._paused.remove(jobs)

    def _train_jobs(self, jobs: Sequence[Job], until: int | None = None) -> None:
        """Train jobs that have no result yet; those that have not ended are paused at an epoch."""
        n_workers = self._executor.n_workers
        while chosen := self._budget.next_round(self._untrained(jobs, until), n_workers):
            engine, paused = self.plan.runtime.engine, self._paused.states()
            batches = make_batches(chosen, engine, n_workers, until, paused)
            if until is not None or self.plan.search is not None or self.plan.is_race:
                # What is trained next waits for all of them. A grid shows its first results sooner.
                batches = longest_first(batches)
            self._train_round(batches)
            self._budget.end_round()

    def _untrained(self, jobs: Sequence[Job], until: int | None) -> list[Job]:
        """The jobs of which it is not known how they end, or what they are after an epoch."""
        rows = self.results.rows
        if until is None:
            return [job for job in jobs if job.index not in rows]
        return [job for job in jobs if not self._is_known(job, until)]

    def _is_known(self, job: Job, epoch: int) -> bool:
        if job in self._paused:
            return self._paused.is_at(job, epoch)
        row = self.results.rows.get(job.index)
        # A run of another sweep may be linked that was trained to its end.
        return row is not None and row.metrics.get("epochs_run", 0) <= epoch

    def _train_round(self, batches: Sequence[Batch]) -> None:
        """Train batches; Ctrl-C cancels what has not ended, and then raises KeyboardInterrupt."""
        executor = self._executor
        with interrupts_calling(executor.cancel), closing(executor.map(batches)) as finished:
            for trained in finished:
                # The store opens while the first batch is trained. Wait for it outside the
                # next context, so that a second Ctrl-C can end the wait.
                self._writer.wait_for_store()
                with interrupts_deferred():
                    self._keep(trained)
                    self._budget.spend(trained)
        # Raises the error of a store that cannot be opened.
        self._writer.wait_for_store()

    def _keep(self, trained: Sequence[JobResult]) -> None:
        """Track the jobs that have ended, and remember those that are paused."""
        ended = self._paused.keep(trained)
        self._record([one for one in ended if one.job.index not in self.results.rows])

    def finish(self) -> FinishedSweep:
        """Wait until every run is written.

        Raises:
            TrackingError: Some runs could not be written to the store.
        """
        self.results.set_run_ids(self._writer.close())
        rows = self.results.in_order(self.plan.jobs)
        objective = final_objective(self.plan, rows)
        rankings = rank_parts(rows, objective, planned_runs(self.plan))
        best = rankings[0].best if len(rankings) == 1 else None
        return FinishedSweep(
            plan=self.plan,
            rows=rows,
            rankings=rankings,
            interrupted=self.interrupted,
            parent=self._writer.sweep.parent,
            predictions=None if best is None else self.results.predictions(best),
            replaced=self._writer.sweep.replaced,
        )

    def resume_advice(self) -> ResumeAdvice | None:
        """The command that resumes the sweep after an error, and how many runs are tracked.

        None where the store could not be opened, and for a single run that is not in the spool.
        """
        writer = self._writer
        if not writer.is_open:
            return None
        command = writer.sweep.resume_command(writer.spool_key)
        folder = spool.folder(writer.spool_key)
        if writer.sweep.is_single_run:
            waits = f"the run waits in {folder}"
            return ResumeAdvice(command, [waits]) if writer.n_spooled else None
        facts = []
        if self.plan.runtime.tracking.runs:
            stored = {index for index, row in self.results.rows.items() if row.run_id}
            tracked = len(stored | writer.run_ids.keys())
            facts.append(f"{tracked} of {len(self.plan.jobs)} runs are tracked")
        if writer.n_spooled:
            facts.append(f"{writer.n_spooled} wait in {folder}")
        return ResumeAdvice(command, facts)

    def _record(self, trained: Sequence[JobResult]) -> None:
        """Add results to the table and submit them to the writer."""
        if not trained:
            return
        sweep = self._writer.sweep
        if sweep.is_single_run or self.plan.runtime.tracking.runs:
            recorded = now(not_before=self.started)
            self._writer.submit(
                [JobRecord(one.job.index, self._recorder.record(one, recorded)) for one in trained]
            )
        for row in self.results.add(trained):
            self._on_result(row)

    def _record_interrupted(self) -> None:
        """Track the jobs without a result as KILLED, unless runs had to be spooled."""
        self._writer.flush()
        if self._writer.n_spooled:
            raise TrackingError("Interrupted.") from None
        unfinished = self.missing()
        if unfinished:
            # Most runs of a sweep have not started.
            span = None if self._writer.sweep.is_single_run else Span(now(), now())
            self._record([JobResult(job, INTERRUPTED, span) for job in unfinished])

    @cached_property
    def _recorder(self) -> RunRecorder:
        """The recorder of the runs of a sweep, or of a single run without a parent."""
        parent = self._writer.sweep.parent
        process_tag = {run_tags.PROCESS: process.current()}
        tags = {**environment.tags(), **provenance.own_tags(self.plan), **process_tag}
        if parent is not None:
            own = tags | {run_tags.SWEEP: parent}
            search = self.plan.search
            n_replicates = None if search is None else search.n_replicates
            return RunRecorder(self.plan.runtime, own, {}, self.started, n_replicates=n_replicates)
        tags |= provenance.tags(self.plan)
        name = self.plan.runtime.tracking.name
        return RunRecorder(self.plan.runtime, tags, environment.artifacts(), self.started, name)
