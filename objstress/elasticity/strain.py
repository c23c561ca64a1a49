"""The stretch of a strain, and the size of a deformation's strain."""

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


def strain_size(F: np.ndarray) -> np.ndarray:
    """|E|, the Frobenius norm of the Green-Lagrange strain E = (F^T F - I) / 2.

    Args:
        F: deformation gradients, (..., 3, 3).

    Returns:
        Shape (...).
    """
    return np.linalg.norm(0.5 * (np.swapaxes(F, -1, -2) @ F - np.eye(3)), axis=(-2, -1))
