"""Ids for new rows of MLflow's tables."""

from collections.abc import Iterator
from secrets import randbelow, token_hex

_STEP = 2**17


def ascending() -> Iterator[str]:
    """Ids such as MLflow's, 32 hexadecimal digits, random but each above the one before.

    What belongs to one id after the other then lies side by side in the database's indexes, and
    a transaction changes few of their pages. Eight digits, as people type them, tell runs apart
    as well as they do with ids drawn freely. After some ten thousands the ascent begins anew.
    """
    while True:
        head = randbelow(2**31)
        while head < 2**32:
            yield f"{head:08x}{token_hex(12)}"
            head += 1 + randbelow(_STEP)
