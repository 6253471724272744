"""Ids of new rows in MLflow's tables.

>>> from bpexp.tracking.ids import ascending
>>> ids = ascending()
>>> next(ids) < next(ids)
True
"""

from collections.abc import Iterator
from secrets import randbelow, token_hex

_MAX_STEP = 2**17


def ascending() -> Iterator[str]:
    """Random ids of 32 hexadecimal digits, as MLflow's, each larger than the one before.

    Rows of consecutive ids are then adjacent in the database's indexes, so that a transaction
    changes few pages. The first eight digits, which users type, collide no more often than those
    of independent random ids. The sequence restarts after some ten thousand ids.
    """
    while True:
        head = randbelow(2**31)
        while head < 2**32:
            yield f"{head:08x}{token_hex(12)}"
            head += 1 + randbelow(_MAX_STEP)
