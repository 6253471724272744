"""Train a single run whose configuration Hydra has composed."""

import contextlib
import sys

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bpexp import app
from bpexp.cli import exits
from bpexp.cli.terminal import TerminalReporter
from bpexp.config import options
from bpexp.sweeps.plan import single_run_plan
from bpexp.sweeps.ranking import values_of


def run(config: DictConfig) -> float | None:
    """Train a single run: called once without -m, and per job by launchers other than bpexp's.

    Returns:
        The objective, for sweepers such as Optuna's; infinite if the run diverged.
    """
    composed = OmegaConf.to_container(config, resolve=True)
    hydra = HydraConfig.get()
    options.check_one_option(hydra.overrides.task)
    # Relative paths of data and store start from where the program was started, even if Hydra
    # has changed the directory.
    with contextlib.chdir(hydra.runtime.cwd):
        plan = single_run_plan(composed, hydra.overrides.task)  # type: ignore[arg-type]
        if plan.runtime.dry_run:
            app.dry_run(plan, TerminalReporter())
            return None
        finished = app.run_single(plan, TerminalReporter())
    if finished.status == "FAILED" and hydra.mode is RunMode.MULTIRUN:
        raise ValueError(f"{finished.rows[0].job.name}: {finished.rows[0].reason}")
    status = exits.EXIT_STATUS[finished.status]
    if status:
        sys.exit(status)
    return values_of(finished.rows, finished.ranking.objective)[0]
