"""Names of the MLflow tags that bpexp sets on runs.

>>> from bpexp.runs import run_tags
>>> run_tags.linked_sweep("70bda3e6")
'bpexp.sweep.70bda3e6'
"""

from collections.abc import Mapping

from bpexp.runs.result import Outcome

IDENTITY = "bpexp.identity"
"""SHA-256 of the configuration and the data, see ``identity.of_run``."""
RESULT = "bpexp.result"
"""SHA-256 of the result, see ``identity.of_result``; only of a run that has one."""
DIGESTS = "bpexp.digests"
"""Digests, see ``record_digests``: those of the files and metrics of a run with a result, and those
of the files of a sweep, such as its plan and its tables."""
CONFIG = "bpexp.config"
"""The configuration as canonical JSON; absent if longer than ``MAX_LENGTH``."""
ARITHMETIC = "bpexp.arithmetic"
"""The version of the arithmetic, ``nn.arithmetic.VERSION``."""
OUTCOME = "bpexp.outcome"
"""A ``result.Outcome``, or ``failed`` or ``interrupted``."""
REASON = "bpexp.reason"
"""Why a run failed or was interrupted."""

KIND = "bpexp.kind"
"""``SWEEP_KIND`` on the parent run of a sweep; absent from other runs. See ``are_of_sweep``."""
SWEEP_KIND = "sweep"
SWEEP = "bpexp.sweep"
"""Id of the sweep that trained the run."""
TRIAL = "bpexp.trial"
"""In a search: the number of the run's trial among those that were trained, counted from 0."""
SEARCH = "bpexp.search"
"""On the sweep of a search: its method, such as ``tpe``."""
SAMPLER = "bpexp.sampler"
"""On the sweep of a search: the package that proposed the trials, with its version."""
SEEDS = "bpexp.seeds"
"""On a sweep: ``auto`` if the number of seeds of a combination depends on the results."""
VERDICT = "bpexp.verdict"
"""On a sweep with ``SEEDS``: how the race of the combinations came out, as a sentence."""
BEST_RUN = "bpexp.best_run"
"""On a sweep: the id of the best run of its best combination, ``none``, or ``SEVERAL``."""
SEVERAL = "several"
"""The value of ``BEST_RUN`` of a sweep whose runs cannot be ranked together."""
OBJECTIVE = "bpexp.objective"
"""On a sweep: the objective that combinations are compared by, see ``runs.objective``."""
CONFIRMED_BY = "bpexp.confirmed_by"
"""On a sweep: the id of the sweep that trained its best combinations again on fresh seeds."""
ALLOW_TEST = "bpexp.objective.allow_test"
"""On a sweep: ``true`` if the user allowed a metric of the test rows as objective."""
OVERRIDES = "bpexp.overrides"
"""The overrides of the command line, quoted for a shell."""
EXTENSIONS = "bpexp.extensions"
"""On a sweep: the arguments with which runs were added to it later, quoted for a shell."""
PROCESS = "bpexp.process"
"""The process that writes the run, see ``tracking.process``."""

PYTHON = "bpexp.python"
PLATFORM = "bpexp.platform"
PROCESSOR = "bpexp.processor"
CPU_FEATURES = "bpexp.cpu_features"
GIT_COMMIT = "bpexp.git.commit"
GIT_DIRTY = "bpexp.git.dirty"
VERSION = "bpexp.version."
"""Prefix; the name of a package follows."""

MAX_LENGTH = 8000
"""Characters that MLflow stores of the value of a tag."""


def are_of_sweep(tags: Mapping[str, str]) -> bool:
    """Whether tags are those of the parent run of a sweep, even if one of them was altered.

    Such a run has ``KIND`` and ``OBJECTIVE`` from its start, and never the outcome of a result.
    Two of these three signs are enough.

    Args:
        tags: The tags of a run; ``KIND``, ``OBJECTIVE`` and ``OUTCOME`` are looked at.
    """
    has_outcome = tags.get(OUTCOME) in set(Outcome)
    return (tags.get(KIND) == SWEEP_KIND) + (OBJECTIVE in tags) + (not has_outcome) > 1


def linked_sweep(sweep: str) -> str:
    """The tag, of value ``linked``, of a run that another sweep with this id reuses."""
    return f"{SWEEP}.{sweep}"
