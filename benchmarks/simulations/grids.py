"""Simulated means over a grid: how often the interval of the study ``initial_weights`` is right.

60 seeds are trained at each point of a coarse grid. Studies of a few of these seeds are drawn,
whose true share is that of all 60.
"""

import math
from dataclasses import replace
from functools import cache
from importlib.resources import files

import numpy as np
import yaml
from scipy.stats import norm, sem, t

from benchmarks.simulations.intervals import covered
from bpexp.config.compose import compose
from bpexp.config.schema import parse as parse_settings
from bpexp.studies.definition import Study, overrides_of_jobs, parse
from bpexp.studies.maps import picture
from bpexp.studies.measures import MEASURES, StudyRun
from bpexp.studies.verdict import judge
from bpexp.training.batching import load_engine
from bpexp.training.loop import train_batch
from bpexp.typing import Array

GRID_SEEDS, GRID_POINTS = 60, 12
"""Number of seeds that are trained, and of points along each axis of the grid."""
GRIDS = ("gradient descent", "momentum 0.9")
"""The rows of the study."""
STUDY_SEEDS, TOO_FEW_SEEDS = (10, 20), 5
"""Numbers of seeds of the studies that are drawn, and one for which no interval is printed."""


def study(trials: int) -> Study:
    """The study with this number of seeds on a coarse grid."""
    path = files("conf") / "study" / "initial_weights.yaml"
    whole = parse(yaml.safe_load(path.read_text()))
    coarse = tuple(replace(axis, count=GRID_POINTS) for axis in whole.grid)
    return replace(whole, trials=trials, grid=coarse)


def _of_row(name: str, trials: int) -> Study:
    whole = study(trials)
    return replace(whole, rows=tuple(row for row in whole.rows if row.name == name))


@cache
def measured(row: str) -> Array:
    """Which runs did not converge, (n_points, ``GRID_SEEDS``) of 0 and 1."""
    jobs = overrides_of_jobs(_of_row(row, GRID_SEEDS), [])
    configs = [parse_settings(compose(overrides))[0] for overrides in jobs]
    found = np.empty(len(configs))
    for index, result in train_batch(configs, load_engine("compiled")):
        run = StudyRun(result.outcome, result.epochs_run)
        found[index] = MEASURES["unconverged"].value(run)
    return found.reshape(-1, GRID_SEEDS)


def grid_coverage(row: str, repetitions: int, rng: np.random.Generator) -> list[float | None]:
    """The share of intervals that contain the true share of runs that do not converge.

    Returns:
        For each number of seeds of ``STUDY_SEEDS``; by Student's t for ``TOO_FEW_SEEDS``; and for
        the largest number by an interval that counts each point and seed as independent.
    """
    whole, shares = measured(row), []
    true = float(whole.mean())
    for size in STUDY_SEEDS:
        drawn_study = _of_row(row, size)
        hits, of_runs = [], []
        for _ in range(repetitions):
            drawn = whole[:, rng.integers(0, GRID_SEEDS, size)]
            (verdict,) = judge(drawn_study, [[drawn.ravel()]])
            hits.append(covered(verdict.mean, true))
            half = norm.ppf(0.975) * float(drawn.std()) / math.sqrt(drawn.size)
            of_runs.append(abs(float(drawn.mean()) - true) <= half)
        shares.append(float(np.mean(hits)))
    seeds = whole.mean(axis=0)[rng.integers(0, GRID_SEEDS, (repetitions, TOO_FEW_SEEDS))]
    half = t.ppf(0.975, TOO_FEW_SEEDS - 1) * sem(seeds, axis=1)
    few = float(np.mean(np.abs(seeds.mean(axis=1) - true) <= half))
    return [*shares, few, float(np.mean(of_runs))]


def grid_picture() -> bytes:
    """The picture of the study with all seeds on the coarse grid, as a PNG file."""
    values = np.stack([measured(row).ravel() for row in GRIDS])
    return picture(study(GRID_SEEDS), values).content
