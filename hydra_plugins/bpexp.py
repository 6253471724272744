"""Hydra's side of bpexp: a sweeper that expands, a launcher that hands over the whole batch.

Hydra imports this file at every start, so it imports nothing heavy.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from bpexp.config.compose import Composer
    from bpexp.studies.definition import Study


@dataclass
class LauncherConf:
    """hydra/launcher=bpexp."""

    _target_: str = "hydra_plugins.bpexp.BpexpLauncher"


@dataclass
class SweeperConf:
    """hydra/sweeper=bpexp."""

    _target_: str = "hydra_plugins.bpexp.BpexpSweeper"
    max_batch_size: int | None = None
    params: dict[str, Any] | None = None


_store = ConfigStore.instance()
_store.store(group="hydra/launcher", name="bpexp", node=LauncherConf, provider="bpexp")
_store.store(group="hydra/sweeper", name="bpexp", node=SweeperConf, provider="bpexp")


class BpexpSweeper(BasicSweeper):
    """Hydra's basic sweeper without its check of each job by a full composition.

    Our launcher checks the whole batch itself; for other launchers it is checked here.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Expand the product of ``arguments`` and launch it."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from bpexp.config.compose import Composer
        from bpexp.sweeps.samplers.grid import expand

        assert self.hydra_context is not None
        assert self.launcher is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        typed = [*self._parse_config(), *arguments]
        overrides = parser.parse_overrides(typed)
        batch = expand(overrides)
        if isinstance(self.launcher, BpexpLauncher):
            self.launcher.typed = typed
        else:
            _check(Composer(self.hydra_context.config_loader, self.config), batch)
        returns = self.launcher.launch(batch, initial_job_idx=0)
        for job in returns:
            if job.status is JobStatus.FAILED:
                # Asked for, it would come with a line of Hydra's.
                raise job._return_value
        return [returns]


class BpexpLauncher(Launcher):
    """Runs a whole batch as one sweep."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what ``launch`` needs."""
        self.context, self.config = hydra_context, config
        self.typed: Sequence[str] = ()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Compose, check, train and track every job; exits where not all runs finished."""
        from pathlib import Path

        from bpexp import app
        from bpexp.config.compose import Composer
        from bpexp.sweeps import plan

        composer = Composer(self.context.config_loader, self.config)
        study, jobs = _jobs(composer.compose(job_overrides[0]), job_overrides)
        composed = _composed(composer, jobs, study)
        made, folder = plan.make(composed, self.typed, study), Path(self.config.hydra.sweep.dir)
        app.check_folder(folder)
        finished = app.run(made, is_sweep=True, folder=folder)
        status = app.EXIT[finished.status]
        if status:
            assert self.context.callbacks is not None
            # Leaving early would keep users' callbacks from seeing the end of the sweep.
            self.context.callbacks.on_multirun_end(config=self.config)
            sys.exit(status)
        return [
            JobReturn(
                overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=row.final_loss
            )
            for overrides, row in zip(jobs, finished.rows, strict=True)
        ]


def _check(composer: "Composer", batch: Sequence[Sequence[str]]) -> None:
    """Every job of a launcher that makes single runs of them. Raises ConfigError."""
    import os
    from pathlib import Path

    from bpexp.fields.checks import ConfigError
    from bpexp.sweeps import plan
    from bpexp.tracking.store import locate

    for overrides in batch:
        # Hydra writes a colon in an override with a backslash.
        if any("${hydra:" in text.replace("\\", "") for text in overrides):
            # Known in the job alone, which then checks itself.
            continue
        made = plan.single(composer.compose(overrides), overrides)
        locate(made.session.tracking.uri, Path.cwd(), os.environ)
        if made.session.export:
            raise ConfigError(
                "export=best must go with the launcher bpexp: others make single runs, got "
                f"{len(batch)} of them."
            )


def _composed(
    composer: "Composer", jobs: Sequence[Sequence[str]], study: "Study | None"
) -> Iterator[dict[str, Any]]:
    """Each run's configuration; what Hydra refuses in a study is said with the row's name."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bpexp.cli import errors
    from bpexp.fields.checks import ConfigError
    from bpexp.sweeps import plan

    for run, overrides in enumerate(jobs):
        try:
            values = composer.compose(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            with plan.in_row(study, run):
                raise ConfigError(errors.sentence(error, overrides)) from error
        yield values


def _jobs(
    first: Mapping[str, Any], job_overrides: Sequence[Sequence[str]]
) -> "tuple[Study | None, Sequence[Sequence[str]]]":
    """The study that is asked for, if one is, and each run's overrides."""
    from bpexp.fields.checks import ConfigError
    from bpexp.studies import definition

    if first.get("study") is None:
        return None, job_overrides
    if len(job_overrides) > 1:
        raise ConfigError(
            f"+study must be all that is swept, got {len(job_overrides)} combinations."
        )
    asked = definition.from_command_line(first["study"], job_overrides[0])
    return asked, definition.overrides_of_jobs(asked, job_overrides[0])
