"""The part of the environment on which the bits of a result depend.

>>> from bpexp.runs import fingerprint
>>> fingerprint.arithmetic("exact").split()[0]
'exact'
"""

import hashlib
from functools import cache

from bpexp.nn.arithmetic import VERSIONS
from bpexp.runs import environment, run_tags


@cache
def arithmetic(numerics: str) -> str:
    """The kind of arithmetic, its version and, for native, NumPy, BLAS and CPU features.

    Two runs with the same identity and the same fingerprint have bit-identical results.

    Args:
        numerics: ``exact`` (results are the same on every machine) or ``native``.

    Returns:
        For example ``exact 3`` or ``native 3 numpy 2.4.6 openblas 0.3.30 Haswell features 1a2b``.
    """
    if numerics == "exact":
        return f"exact {VERSIONS[numerics]}"
    features = hashlib.sha256(environment.cpu_features().encode()).hexdigest()[:8]
    numpy = environment.tags()[run_tags.VERSION + "numpy"]
    return f"native {VERSIONS[numerics]} numpy {numpy} {environment.blas()} features {features}"
