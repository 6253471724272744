"""What is stored with a sweep when it starts, so that it can be resumed and repeated elsewhere."""

import shlex

import yaml

from bpexp.runs import environment, run_tags
from bpexp.sweeps import plan_file
from bpexp.sweeps.plan import Plan
from bpexp.tracking import process
from bpexp.tracking.store import without_password


def tags(plan: Plan) -> dict[str, str]:
    """Tags of a sweep's parent or a single run: overrides as typed, processor and BLAS."""
    typed = without_password(shlex.join(plan.overrides))
    return {**environment.hardware_tags(), **({run_tags.OVERRIDES: typed} if typed else {})}


def sweep_tags(plan: Plan) -> dict[str, str]:
    """The tags of a sweep's parent at its start."""
    about = {run_tags.KIND: run_tags.SWEEP_KIND, run_tags.PROCESS: process.current()}
    return {**environment.tags(), **tags(plan), **about}


def sweep_files(plan: Plan) -> dict[str, bytes]:
    """The artifacts of a sweep's parent at its start: plan, configuration and environment."""
    composed = without_password(yaml.safe_dump(dict(plan.composed), sort_keys=False))
    return {
        plan_file.NAME: plan_file.to_bytes(plan),
        "config.yaml": composed.encode(),
        **environment.artifacts(),
    }


def sweep_name(plan: Plan) -> str:
    """The name of a sweep's parent, such as "sweep lr x seed, 30 runs"."""
    runs = f"{len(plan.jobs)} runs"
    if plan.study is not None:
        return f"study {plan.study['name']}, {runs}"
    return f"sweep {' x '.join(plan.varying) or plan.jobs[0].config.data.name}, {runs}"
