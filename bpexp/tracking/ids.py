"""Ids of runs: as they are shown, and new ones for rows of MLflow's tables.

>>> from bpexp.tracking.ids import ascending, short
>>> short("248e5d285ad24a3f9d7c1b6a0e3f4c21")
'248e5d28'
>>> ids = ascending()
>>> next(ids) < next(ids)
True
"""

from collections.abc import Iterator
from secrets import randbelow, token_hex

_SHORT_LENGTH = 8
_MAX_STEP = 2**17


def short(run_id: str) -> str:
    """The first digits of an id, which messages and tables show, and which users type."""
    return run_id[:_SHORT_LENGTH]


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
