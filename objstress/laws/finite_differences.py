"""Derivatives of what a law answers by differences, which its own are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def differences(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, h: float
) -> np.ndarray:
    """Five-point central differences in each entry of a point's x, stacked in the last axes.

    Args:
        function: of all points (n, ...).
        x: of the points, (n, 3, 3) or (n, 3).
        h: step, in the unit of x.

    Returns:
        The shape of the function's values, then that of one point's x.
    """
    columns = []
    for index in np.ndindex(x.shape[1:]):
        step = np.zeros(x.shape[1:])
        step[index] = h
        near = function(x + step) - function(x - step)
        far = function(x + 2 * step) - function(x - 2 * step)
        columns.append((8 * near - far) / (12 * h))
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape[1:])
