"""Distances between float64 in units in the last place (ulp).

>>> import numpy as np
>>> max_ulp_distance([np.array([1.0])], [np.array([np.nextafter(1.0, 2.0)])])
1
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bpexp.typing import Array


def max_ulp_distance(a: Sequence[Array], b: Sequence[Array]) -> int | None:
    """The largest distance in ulp between corresponding numbers; 0 for bit-identical arrays.

    Args:
        a: Arrays of float64.
        b: Arrays of the same shapes. The lengths of the first axes may differ: the additional
            rows are ignored.

    Returns:
        The distance, or None if the shapes differ.
    """
    if [array.shape[1:] for array in a] != [array.shape[1:] for array in b]:
        return None
    distances = [0]
    for left, right in zip(a, b, strict=True):
        common = min(len(left), len(right))
        p, q = ordinals(left[:common]), ordinals(right[:common])
        distances.append(int((np.maximum(p, q) - np.minimum(p, q)).max(initial=0)))
    return max(distances)


def ordinals(values: Array) -> NDArray[np.uint64]:
    """The rank of each float64 among all float64 in ascending order.

    The bits of a float, read as an integer, ascend with the float if it is positive, and descend
    if it is negative.
    """
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    sign = np.uint64(2**63)
    return np.where(bits & sign, ~bits, bits | sign)
