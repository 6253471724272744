"""Writes the document that explains one training step, given a composed configuration."""

from typing import Any

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.explain.page import page
from bpexp.explain.step import compute_step
from bpexp.explain.symbols import digits
from bpexp.fields.checks import ConfigError
from bpexp.render.document import Document
from bpexp.sweeps.plan import make_plan


def explain(
    composed: dict[str, Any], epoch: int = 1, sample: int | None = None, n_digits: int = 6
) -> Document:
    """Train a network until an epoch and write out the epoch's first step.

    Args:
        composed: The configuration of one run, as composed from overrides.
        epoch: The epoch, from 1.
        sample: The training sample, from 1, whose values are shown; None for the one with the
            largest loss.
        n_digits: Significant digits of the numbers, 1 to 17.

    Returns:
        The document.

    Raises:
        ConfigError: An argument is invalid, or the run ends before the epoch.
    """
    plan = make_plan([composed])
    job = plan.jobs[0]
    return explain_run(job.config, job.dataset, epoch, sample, n_digits, plan.runtime.engine)


def explain_run(
    config: TrainConfig,
    dataset: Dataset,
    epoch: int = 1,
    sample: int | None = None,
    n_digits: int = 6,
    engine: str = "auto",
) -> Document:
    """``explain`` for a checked configuration and its data.

    Args:
        config: The configuration of the run.
        dataset: Its data.
        epoch: See ``explain``, as ``sample`` and ``n_digits``.
        sample: See ``explain``.
        n_digits: See ``explain``.
        engine: Name of the engine that trains up to the epoch.
    """
    if not 1 <= epoch <= config.epochs:
        raise ConfigError(f"--epoch must be in 1..{config.epochs} (epochs), got {epoch}.")
    if not 1 <= n_digits <= 17:
        raise ConfigError(f"--digits must be in 1..17, got {n_digits}.")
    step = compute_step(config, epoch, engine, dataset)
    return page(step, dataset, digits(n_digits), sample)
