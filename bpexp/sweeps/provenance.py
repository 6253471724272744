"""Tags and artifacts that are stored when a sweep starts, to resume and reproduce it."""

import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from bpexp.config.replicates import is_replicate_key
from bpexp.guards import passwords
from bpexp.render.wording import counted
from bpexp.runs import environment, run_tags
from bpexp.sweeps import plan_file
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.samplers.packages import version
from bpexp.tracking import process


def tags(plan: Plan) -> dict[str, str]:
    """Tags of the parent run of a sweep, or of a single run: overrides and CPU features."""
    overrides = shlex.join(map(passwords.mask, plan.overrides))
    tagged = {run_tags.OVERRIDES: overrides} if overrides else {}
    return {**environment.hardware_tags(), **tagged}


def own_tags(plan: Plan) -> dict[str, str]:
    """The tags that the user names, with passwords masked."""
    tags = plan.runtime.tracking.tags
    return {name: passwords.mask_value(name, value) for name, value in tags.items()}


def sweep_tags(plan: Plan) -> dict[str, str]:
    """The tags of the parent run of a sweep at its start, the user's own included."""
    own = {
        **own_tags(plan),
        run_tags.KIND: run_tags.SWEEP_KIND,
        run_tags.PROCESS: process.current(),
        run_tags.OBJECTIVE: plan.objective.name,
    }
    if plan.runtime.objective.allow_test:
        own[run_tags.ALLOW_TEST] = "true"
    if plan.is_race:
        own[run_tags.SEEDS] = "auto"
    if plan.runtime.search.name is not None:
        own[run_tags.SEARCH] = plan.runtime.search.name
        own[run_tags.SAMPLER] = version(plan.runtime.search.name)
    return {**environment.tags(), **tags(plan), **own}


def sweep_files(plan: Plan) -> dict[str, bytes]:
    """The artifacts of the parent run at the start of a sweep: plan, configuration, environment."""
    composed = yaml.safe_dump(_without_passwords(plan.composed), sort_keys=False)
    return {
        plan_file.NAME: plan_file.to_bytes(plan),
        "config.yaml": composed.encode(),
        **environment.artifacts(),
    }


def _without_passwords(value: Any, name: str = "") -> Any:
    """Nested values with passwords masked: those in texts, and those that their name shows."""
    if isinstance(value, Mapping):
        return {key: _without_passwords(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_passwords(item, name) for item in value]
    if value is None or isinstance(value, bool):
        return value
    masked = passwords.mask_value(name, str(value))
    return value if masked == str(value) else masked


def sweep_name(plan: Plan) -> str:
    """The name of the parent run: the user's own, or "sweep lr x seed, xor, momentum, 30 runs"."""
    if plan.runtime.tracking.name is not None:
        return plan.runtime.tracking.name
    runs = counted(len(plan.jobs), "run")
    if plan.study is not None:
        return f"study {plan.study['name']}, {runs}"
    kind = f"sweep {' x '.join(plan.varying)}".strip()
    if plan.search is not None:
        # The first generation may not vary all of the searched settings.
        kind = f"{plan.runtime.search.name} {' x '.join(plan.search.searched)}"
        runs = counted(plan.runtime.search.trials, "trial")
    if plan.is_race:
        keys = [key for key in plan.varying if not is_replicate_key(key)]
        kind = f"race {' x '.join(keys)}".strip()
        runs = f"up to {counted(plan.runtime.seeds.max, 'seed')}"
    # What all runs share and what tells the sweep from others.
    names = (
        {config.data.name for config in plan.configs},
        {config.optimizer.name for config in plan.configs},
    )
    shared = [name for one in names if len(one) == 1 for name in one]
    return ", ".join([kind, *shared, runs])
