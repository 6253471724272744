"""The tags by which a run can be found, checked and made again."""

from bpexp.config.schema import TrainConfig
from bpexp.runs import fingerprint, identity
from bpexp.runs.result import Failure, TrainResult

IDENTITY, RESULT, CONFIG = "bpexp.identity", "bpexp.result", "bpexp.config"
LONGEST = 8000
"""Characters of a tag; a longer configuration is only in the run's ``config.yaml``."""


def marks(config: TrainConfig, result: TrainResult | Failure) -> dict[str, str]:
    """Identity, configuration and arithmetic of a run; of a finished one its result's digest."""
    found = {
        IDENTITY: identity.of_run(config),
        fingerprint.TAG: fingerprint.arithmetic(config.numerics),
    }
    text = identity.written(config)
    if len(text) <= LONGEST:
        found[CONFIG] = text
    if isinstance(result, TrainResult):
        found[RESULT] = identity.of_result(result)
    return found
