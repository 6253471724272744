"""What is needed to repeat a sweep elsewhere, kept when it starts."""

import shlex

import yaml

from bpexp.runs import environment, run_tags
from bpexp.sweeps import plan_file
from bpexp.sweeps.plan import Plan
from bpexp.tracking import process
from bpexp.tracking.store import without_password


def tags(plan: Plan) -> dict[str, str]:
    """For a sweep's parent, and for a run that stands alone: overrides and surroundings."""
    typed = without_password(shlex.join(plan.overrides))
    return {**environment.hardware_tags(), **({run_tags.OVERRIDES: typed} if typed else {})}


def sweep_tags(plan: Plan) -> dict[str, str]:
    """For a sweep's parent, from its start."""
    about = {run_tags.KIND: run_tags.SWEEP_KIND, run_tags.PROCESS: process.current()}
    return {**environment.tags(), **tags(plan), **about}


def sweep_files(plan: Plan) -> dict[str, bytes]:
    """The plan, the first run's configuration as composed, and the surroundings."""
    composed = without_password(yaml.safe_dump(dict(plan.composed), sort_keys=False))
    return {
        plan_file.FILE: plan_file.to_bytes(plan),
        "config.yaml": composed.encode(),
        **environment.artifacts(),
    }
