"""Strains: directions in strain space, and the stretch of a strain."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def strain_directions(points: np.ndarray) -> np.ndarray:
    """Quasi-random points of the unit cube (n, >= 6) to directions of Mandel's six-space (n, 6)."""
    normal = ndtri(np.clip(points[:, :6], 1e-9, 1 - 1e-9))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def right_stretch(strain: np.ndarray) -> np.ndarray:
    """U = sqrt(I + 2 E), the deformation gradient without rotation, shape (..., 3, 3)."""
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * strain)
    return np.einsum("...ik,...k,...jk->...ij", vectors, np.sqrt(values), vectors)
