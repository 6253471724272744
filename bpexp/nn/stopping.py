"""When training ends before its last epoch, judged at each forward pass."""

from collections.abc import Callable

import numpy as np

from bpexp.typing import Array

Criterion = Callable[[float, Array], bool]
"""(loss per sample, outputs) -> whether to stop here."""


def below_loss(limit: float) -> Criterion:
    """The loss per sample has come down to ``limit`` or under it."""
    return lambda loss, A: loss <= limit


def all_correct(Y: Array, tolerance: float) -> Criterion:
    """Every output of every sample is within ``tolerance`` of its target."""
    return lambda loss, A: bool((np.abs(A - Y) < tolerance).all())


def no_progress(epochs: int) -> Criterion:
    """The loss has not gone under its lowest so far for ``epochs`` epochs in a row."""
    best, waited = np.inf, 0

    def stop(loss: float, A: Array) -> bool:
        nonlocal best, waited
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        return waited >= epochs

    return stop
