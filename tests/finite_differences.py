"""Compares gradients with central finite differences."""

import numpy as np
import pytest

STEP = 1e-6


def assert_gradients(total, parameters, gradients):
    """Check the gradient of a function of arrays, which are changed in place meanwhile.

    Args:
        total: The function, without arguments.
        parameters: The arrays that it depends on.
        gradients: Its gradient with respect to each of them.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for at in np.ndindex(*parameter.shape):
            kept = parameter[at]
            parameter[at] = kept + STEP
            above = total()
            parameter[at] = kept - STEP
            below = total()
            parameter[at] = kept
            assert gradient[at] == pytest.approx((above - below) / (2 * STEP), rel=1e-6, abs=1e-8)
