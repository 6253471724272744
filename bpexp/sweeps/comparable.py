"""The parts of a sweep whose runs are ranked together, see ``runs.comparability``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bpexp.config.schema import RuntimeConfig, flatten, plain
from bpexp.fields.checks import ConfigError
from bpexp.runs import comparability, metrics
from bpexp.runs.objective import Objective
from bpexp.sweeps.job import Job, format_setting


def decisive_settings(jobs: Iterable[Job], objective: Objective) -> list[dict[str, str]]:
    """The ``comparability.decisive_settings`` of each job, which many jobs have in common."""
    known: dict[tuple[Any, ...], dict[str, str]] = {}
    of_jobs = []
    for job in jobs:
        config = job.config
        key = (config.data, config.model, config.stop)
        if key not in known:
            shared = {"data": config.data, "model": config.model, "stop": config.stop}
            known[key] = decisive_settings_of(
                {name: plain(part) for name, part in shared.items()}, objective
            )
        of_jobs.append(known[key])
    return of_jobs


def decisive_settings_of(values: Mapping[str, Any], objective: Objective) -> dict[str, str]:
    """The ``comparability.decisive_settings`` of a composed configuration."""
    texts = {key: format_setting(value) for key, value in flatten(values).items()}
    return comparability.decisive_settings(texts, objective)


def sentence(jobs: Sequence[Job], objective: Objective) -> str:
    """Why the runs of a sweep are not ranked together, and what ranks them; "" if they are."""
    of_jobs = decisive_settings(jobs, objective)
    if len(comparability.parts(of_jobs)) <= 1:
        return ""
    other = _alternative(jobs, of_jobs, objective)
    advice = f"objective={other} ranks all of them" if other else "each part has its own ranking"
    return f"{comparability.why(of_jobs, objective)}; {advice}."


def check(jobs: Sequence[Job], objective: Objective, runtime: RuntimeConfig) -> None:
    """Check that the runs of a sweep can be ranked together where its user wants one best run.

    Raises:
        ConfigError: They cannot.
    """
    needs = {
        "seeds=auto": runtime.seeds.name,
        "search.halving": runtime.search.halving,
        "export=best": runtime.export,
        "confirm": runtime.confirm,
    }
    wanted = next((name for name, is_set in needs.items() if is_set), "")
    if wanted and sentence(jobs, objective):
        raise not_together(jobs, decisive_settings(jobs, objective), objective, wanted)


def not_together(
    jobs: Sequence[Job], decisive: Sequence[Mapping[str, str]], objective: Objective, wanted: str
) -> ConfigError:
    """The error of runs that cannot be ranked together.

    Args:
        jobs: Some of the runs, which tell the metrics that all have.
        decisive: The decisive settings of the runs.
        objective: The objective.
        wanted: What needs a ranking of all runs.
    """
    other = _alternative(jobs, decisive, objective)
    advice = f"add objective={other}" if other else "sweep each of them on its own"
    why = comparability.why(decisive, objective)
    return ConfigError(f"{why}, but {wanted} needs one ranking; {advice}.")


def _alternative(
    jobs: Sequence[Job], decisive: Sequence[Mapping[str, str]], objective: Objective
) -> str:
    datasets = {id(job.dataset): job.dataset for job in jobs}.values()
    available = set.intersection(*(set(metrics.of_dataset(dataset)) for dataset in datasets))
    return comparability.alternative(decisive, objective, available)
