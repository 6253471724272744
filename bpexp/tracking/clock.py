"""The time as MLflow stores it: milliseconds since the Unix epoch."""

import time


def now(earliest: int = 0) -> int:
    """The present time, at least ``earliest`` in case the clock was set back."""
    return max(earliest, time.time_ns() // 1_000_000)
