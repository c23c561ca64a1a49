"""The stretch of a strain."""

from __future__ import annotations

import numpy as np


def right_stretch(strain: np.ndarray) -> np.ndarray:
    """Right stretch U = sqrt(I + 2 E), the deformation gradient of a strain without rotation.

    Args:
        strain: Green-Lagrange strains E, (..., 3, 3).

    Returns:
        Shape (..., 3, 3).
    """
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * strain)
    return np.einsum("...ik,...k,...jk->...ij", vectors, np.sqrt(values), vectors)
