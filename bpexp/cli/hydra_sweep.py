"""Sweeps that Hydra starts with ``-m``: from overrides to jobs, and from results to Hydra."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bpexp import app
from bpexp.cli import exits, typed
from bpexp.cli.terminal import TerminalReporter
from bpexp.config import folds, hydra_internals
from bpexp.config.compose import Composer
from bpexp.config.schema import SearchConfig, plain
from bpexp.errors import sentences
from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.studies import definition
from bpexp.sweeps import plan_generations, race, search
from bpexp.sweeps.grid import sub_sweeps, sweep_files
from bpexp.sweeps.grid_plan import plan_grid
from bpexp.sweeps.plan import (
    Plan,
    StudyRows,
    make_plan,
    single_run_plan,
    study_row_in_errors,
)
from bpexp.sweeps.ranking import values_of
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking.store import locate

Overrides = Sequence[str]


class SweepCommand:
    """A sweep that is started with ``-m``.

    Args:
        context: Hydra's context.
        config: Hydra's configuration of the sweep.
        overrides: The overrides on the command line.
    """

    def __init__(self, context: HydraContext, config: DictConfig, overrides: Overrides) -> None:
        self._context, self._config, self._overrides = context, config, overrides
        self._composer = Composer(context.config_loader, config)

    def run_as_one_sweep(self, max_batch_size: int | None) -> list[JobReturn]:
        """Run all jobs of the grid as one sweep; exits where a run failed."""
        if max_batch_size is not None:
            raise ConfigError(
                "hydra.sweeper.max_batch_size has no use with the launcher bpexp, which runs all "
                f"jobs as one sweep, got {max_batch_size}; leave it out, or use another launcher."
            )
        settings = search.settings_of(self._overrides, self._composer)
        if settings is not None:
            return self._run_search(settings)
        jobs = sweep_files.jobs(self._overrides, self._composer)
        return self.run_jobs(jobs, allow_equal_runs=False)

    def _run_search(self, settings: SearchConfig) -> list[JobReturn]:
        """Run the trials of a search as one sweep; exits where a run failed."""
        plan = search.first_plan(self._overrides, settings, self._composer, self._composed_jobs)
        return [] if self._is_shown(plan) else _named_jobs(self._run(plan))

    def _composed_jobs(self, jobs: Iterable[Overrides]) -> Iterator[dict[str, Any]]:
        return self._composed(list(jobs))

    def run_jobs(
        self, jobs: Sequence[Overrides], first_number: int = 0, *, allow_equal_runs: bool = True
    ) -> list[JobReturn]:
        """Run jobs as one sweep; exits where a run failed.

        Args:
            jobs: The overrides of each job.
            first_number: Hydra's number of the first job.
            allow_equal_runs: Whether two jobs may be the same run, as a sampler may propose.
        """
        study = self._study(jobs)
        if study is not None:
            plan, overrides = self._plan_study(study, jobs[0])
        else:
            plan, overrides = self._plan_grid(jobs, first_number, allow_equal_runs=allow_equal_runs)
        if self._is_shown(plan):
            return []
        finished = self._run(plan)
        if plan.is_race:
            return _named_jobs(finished)
        return _completed(finished, [overrides[row.job.index] for row in finished.rows])

    def _plan_study(
        self, study: definition.Study, overrides: Overrides
    ) -> tuple[Plan, Sequence[Overrides]]:
        """The plan of a study, and the overrides of each of its jobs."""
        jobs = definition.overrides_of_jobs(study, overrides)
        names = [study.row_of_job(index).name for index in range(len(jobs))]
        rows = StudyRows(definition.to_plain(study), names)
        return make_plan(self._composed(jobs, names), self._overrides, rows), jobs

    def _plan_grid(
        self, jobs: Sequence[Overrides], first_number: int, *, allow_equal_runs: bool
    ) -> tuple[Plan, Sequence[Overrides]]:
        """The plan of a grid, of a race that of its first seeds, and the overrides of each run."""
        composed = self._composed(jobs, (), first_number)
        typed = None if allow_equal_runs else (lambda index: _settings(jobs[index]))
        plan, origins = plan_grid(composed, self._overrides, typed)
        overrides = [jobs[index] for index in origins]
        if plan.runtime.search.name is not None:
            raise ConfigError("search=NAME must be typed on the command line with -m.")
        if plan.is_race:
            race.check_no_seed(overrides)
        return plan, overrides

    def _is_shown(self, plan: Plan) -> bool:
        """Show the configurations of the jobs, or what they would take, if that was asked for."""
        current = typed.CURRENT.get(None)
        if current is not None and current.shows_jobs:
            for job in plan.jobs:
                values = {**plain(job.config), **plain(plan.runtime)}
                text = yaml.safe_dump(values, sort_keys=False)
                sys.stdout.write(f"---\n# {job.name}\n{text}")
            if len(plan.jobs) < plan.max_jobs:
                sys.stdout.write(
                    f"# These are the first {len(plan.jobs)} of at most {plan.max_jobs} runs; the "
                    "others follow from their results.\n"
                )
            return True
        if plan.runtime.dry_run:
            self._say_replacements()
            app.dry_run(plan, TerminalReporter())
        return plan.runtime.dry_run

    def _run(self, plan: Plan) -> FinishedSweep:
        """Run a sweep; exits where a run failed."""
        self._say_replacements()
        generations = plan_generations.of_plan(plan, self._composer)
        folder = Path(os.path.expanduser(self._config.hydra.sweep.dir))
        finished = app.run_sweep(plan, TerminalReporter(), generations=generations, folder=folder)
        self._exit_if_not_finished(finished)
        return finished

    def _say_replacements(self) -> None:
        """Say which arguments have no effect, because a later one sets the same key."""
        for earlier, later in sub_sweeps.replacements(self._overrides):
            TerminalReporter().say(f"{passwords.mask(later)} replaces {passwords.mask(earlier)}.")

    def launch_single_runs(
        self, launcher: Launcher, max_batch_size: int | None
    ) -> list[Sequence[JobReturn]]:
        """Check all jobs and run each as a single run by another launcher, group by group."""
        grid = sweep_files.jobs(self._overrides, self._composer)
        jobs = [fold for job in grid for fold in self._folds(job)]
        for overrides in jobs:
            self._check_single_run(overrides, len(jobs))
        size = max_batch_size or len(jobs)
        returns: list[Sequence[JobReturn]] = []
        for start in range(0, len(jobs), size):
            group = [list(overrides) for overrides in jobs[start : start + size]]
            returns.append(launcher.launch(group, initial_job_idx=start))
            for job in returns[-1]:
                if job.status is JobStatus.FAILED:
                    raise hydra_internals.error_of(job)
        return returns

    def _folds(self, job: list[str]) -> list[list[str]]:
        """A job for each fold where ``data.folds`` is set without ``data.fold``."""
        try:
            found = folds.fold_numbers(self._composer.compose(job, 0))
        except (HydraException, OmegaConfBaseException, ConfigError):
            # Reported later, when all jobs are checked.
            found = None
        return [job] if found is None else [[*job, f"data.fold={number}"] for number in found]

    def _study(self, jobs: Sequence[Overrides]) -> definition.Study | None:
        """Return the study of ``+study=NAME``, if there is one. Raises ConfigError with a grid."""
        first = self._composer.compose(jobs[0], 0)
        if first.get("study") is None:
            return None
        if len(jobs) > 1:
            raise ConfigError(
                f"+study cannot be combined with a grid, got {len(jobs)} combinations."
            )
        return definition.from_command_line(first["study"], jobs[0])

    def _composed(
        self, jobs: Sequence[Overrides], rows: Sequence[str] = (), first_number: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Compose the configuration of each job; in a study, errors name the row."""
        for index, overrides in enumerate(jobs):
            try:
                values = self._composer.compose(overrides, first_number + index)
            except (HydraException, OmegaConfBaseException) as error:
                with study_row_in_errors(rows[index] if rows else ""):
                    raise ConfigError(sentences.describe(error, overrides)) from error
            yield values

    def _check_single_run(self, overrides: Overrides, n_jobs: int) -> None:
        """Check a job that another launcher runs. Raises ConfigError."""
        # Hydra writes a colon in an override with a backslash.
        if any("${hydra:" in text.replace("\\", "") for text in overrides):
            # The value is known only when the job runs, which checks it then.
            return
        plan = single_run_plan(self._composer.compose(overrides), overrides)
        locate(plan.runtime.tracking.uri, Path.cwd(), os.environ)
        if plan.runtime.export:
            raise ConfigError(
                "export=best needs the launcher bpexp: other launchers make single runs, got "
                f"{n_jobs} of them."
            )

    def _exit_if_not_finished(self, finished: FinishedSweep) -> None:
        """Exit where a run failed, after the user's callbacks have seen the end of the sweep."""
        status = exits.EXIT_STATUS[finished.status]
        if status:
            assert self._context.callbacks is not None
            self._context.callbacks.on_multirun_end(config=self._config)
            sys.exit(status)


def _named_jobs(finished: FinishedSweep) -> list[JobReturn]:
    """What Hydra is told of runs that a sampler proposed: their names and values."""
    return _completed(finished, [[row.job.name] for row in finished.rows])


def _completed(finished: FinishedSweep, overrides: Sequence[Overrides]) -> list[JobReturn]:
    """What Hydra is told of runs, with the overrides of each."""
    values = values_of(finished.rows, finished.ranking.objective)
    return list(map(hydra_internals.completed, overrides, values))


def _settings(overrides: Overrides) -> dict[str, str]:
    """The values that overrides set, by key."""
    pairs = (text.partition("=") for text in overrides)
    return {key: value for key, _, value in pairs}
