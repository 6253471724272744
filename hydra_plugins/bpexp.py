"""Hydra's launcher and sweeper of bpexp.

Hydra imports this module at every start, so it imports nothing heavy; the work is done by
``bpexp.cli.hydra_sweep``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


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


class BpexpSweeper(Sweeper):
    """Expands a grid and checks every job before the first one starts.

    With the launcher bpexp the grid is one sweep. With another launcher each job is a single run,
    launched in groups of ``hydra.sweeper.max_batch_size``.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        """Store the settings ``hydra.sweeper.*``; ``params`` are overrides by key."""
        self.max_batch_size, self.params = max_batch_size, params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store the arguments and create the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep of the command line.

        Args:
            arguments: The overrides on the command line.

        Returns:
            Hydra's return values of the jobs, in a list for each group of jobs.
        """
        from bpexp.cli import typed
        from bpexp.cli.hydra_sweep import SweepCommand

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        current = typed.CURRENT.get(None)
        if current is not None and current.sweep_arguments is not None:
            arguments = list(current.sweep_arguments)
        overrides = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        command = SweepCommand(self.hydra_context, self.config, overrides)
        if isinstance(self.launcher, BpexpLauncher):
            return [command.run_as_one_sweep(self.max_batch_size)]
        return command.launch_single_runs(self.launcher, self.max_batch_size)


class BpexpLauncher(Launcher):
    """Runs a group of jobs as one sweep."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store the arguments."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        """Run the jobs that another sweeper proposes as one sweep."""
        from bpexp.cli.hydra_sweep import SweepCommand

        command = SweepCommand(self.context, self.config, ())
        return command.run_jobs([list(overrides) for overrides in job_overrides], initial_job_idx)
