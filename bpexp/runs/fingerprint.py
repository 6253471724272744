"""What a run's bits hang on beside its identity."""

import hashlib
from functools import cache

from bpexp.nn.arithmetic import VERSIONS
from bpexp.runs import environment

TAG = "bpexp.arithmetic"


@cache
def arithmetic(numerics: str) -> str:
    """``exact 1``: the same bits everywhere. ``native 1 ...``: the same where this is equal."""
    if numerics == "exact":
        return f"exact {VERSIONS[numerics]}"
    features = hashlib.sha256(environment.cpu_features().encode()).hexdigest()[:8]
    numpy = environment.tags()["bpexp.version.numpy"]
    return f"native {VERSIONS[numerics]} numpy {numpy} {environment.blas()} features {features}"
