"""Well-spread directions, of space and of strain space."""

from __future__ import annotations

import numpy as np


def half_sphere(count: int) -> np.ndarray:
    """Well-spread unit vectors with z >= 0 (Fibonacci's spiral).

    Args:
        count: number of vectors.

    Returns:
        Shape (count, 3).
    """
    k = np.arange(count) + 0.5
    z = 1 - k / count
    phi = np.pi * (1 + np.sqrt(5)) * k
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def strain_directions(points: np.ndarray) -> np.ndarray:
    """Quasi-random points of the unit cube to directions of Mandel's six-space.

    Args:
        points: (n, 6 or more), in [0, 1].

    Returns:
        Unit vectors, (n, 6).
    """
    from scipy.special import ndtri

    normal = ndtri(np.clip(points[:, :6], 1e-9, 1 - 1e-9))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)
