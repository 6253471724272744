"""The time as MLflow stores it: milliseconds since the Unix epoch."""

import time


def now(*, not_before: int = 0) -> int:
    """The present time, or ``not_before`` if that is later, because the clock was set back."""
    return max(not_before, time.time_ns() // 1_000_000)
