"""Learning-rate schedules: the factor of the learning rate in each epoch.

>>> factors(StepConfig(name="step", every=2, factor=0.5), epochs=6, start=0, stop=6).tolist()
[1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpexp.fields import REQUIRED, Registry, setting
from bpexp.fields.checks import Integer, Real, Text
from bpexp.nn.elementary import cos_of_turns
from bpexp.typing import Array


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Settings of every schedule."""

    name: str = setting(Text(), REQUIRED, "name of the schedule")
    warmup: int = setting(
        Integer(0), 0, "epochs at the start in which the learning rate grows linearly"
    )


@dataclass(frozen=True, kw_only=True)
class StepConfig(ScheduleConfig):
    """Settings of ``step``."""

    every: int = setting(Integer(1), 1000, "epochs between two changes of the learning rate")
    factor: float = setting(Real(above=0.0), 0.5, "factor of the learning rate at each change")


@dataclass(frozen=True, kw_only=True)
class CosineConfig(ScheduleConfig):
    """Settings of ``cosine``."""

    final: float = setting(Real(0.0), 0.0, "learning rate at the end, as a multiple of lr")


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule.

    Attributes:
        name: The value of ``schedule``.
        config: The dataclass of its settings.
        factors: (config, epochs, start, stop) -> the factors in epochs start, ..., stop - 1
            of ``epochs`` without warmup, (stop - start,).
    """

    name: str
    config: type[ScheduleConfig]
    factors: Callable[[Any, int, int, int], Array]


def _constant(config: ScheduleConfig, epochs: int, start: int, stop: int) -> Array:
    return np.ones(stop - start)


def _step(config: StepConfig, epochs: int, start: int, stop: int) -> Array:
    """factor^(epoch // every)."""
    # A running product: the power function of NumPy differs between processors.
    powers = np.multiply.accumulate(np.full(stop // config.every + 1, config.factor))
    n_changes = np.arange(start, stop) // config.every
    return np.where(n_changes > 0, powers[n_changes - 1], 1.0)


def _cosine(config: CosineConfig, epochs: int, start: int, stop: int) -> Array:
    """Half a cosine from 1 to ``final`` (Loshchilov and Hutter 2017, eq. 5)."""
    epoch = np.arange(start, stop, dtype=np.float64)
    half: Array = 0.5 * (1.0 + cos_of_turns(0.5 * epoch / epochs))
    return config.final + (1.0 - config.final) * half


SCHEDULES = Registry("schedule", [
    Schedule("constant", ScheduleConfig, _constant),
    Schedule("step", StepConfig, _step),
    Schedule("cosine", CosineConfig, _cosine),
])  # fmt: skip


def factors(config: ScheduleConfig, epochs: int, start: int, stop: int) -> Array:
    """The factors of the learning rate in some of the epochs of a run.

    Args:
        config: The schedule's settings.
        epochs: The maximum number of epochs of the run.
        start: The first epoch, counted from 0.
        stop: The epoch after the last.

    Returns:
        An array of (stop - start,).
    """
    out = SCHEDULES[config.name].factors(config, epochs, start, stop)
    if config.warmup:
        epoch = np.arange(start, stop, dtype=np.float64)
        out = out * np.minimum((epoch + 1.0) / config.warmup, 1.0)
    return out
