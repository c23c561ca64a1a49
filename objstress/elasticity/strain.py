"""Strains: directions in strain space, and the stretch of a strain."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def strain_directions(points: np.ndarray) -> np.ndarray:
    """Quasi-random points of the unit cube to directions of Mandel's six-space.

    Args:
        points: (n, 6 or more), in [0, 1].

    Returns:
        Unit vectors, (n, 6).
    """
    normal = ndtri(np.clip(points[:, :6], 1e-9, 1 - 1e-9))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def right_stretch(strain: np.ndarray) -> np.ndarray:
    """Right stretch U = sqrt(I + 2 E), the deformation gradient of a strain without rotation.

    Args:
        strain: Green-Lagrange strains E, (..., 3, 3).

    Returns:
        Shape (..., 3, 3).
    """
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * strain)
    return np.einsum("...ik,...k,...jk->...ij", vectors, np.sqrt(values), vectors)
