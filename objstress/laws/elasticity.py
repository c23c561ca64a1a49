"""What follows from the elastic constants of a crystal."""

from __future__ import annotations

import numpy as np

from objstress.symmetry.tensors import to_mandel, voigt_to_mandel


def youngs_modulus(stiffness: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """E(n) = 1 / (n n : C^-1 : n n), the modulus of a bar along n.

    Nye, Physical Properties of Crystals, chapter VIII.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        directions: (..., 3), any length, in the crystal's frame.

    Returns:
        GPa, shape (...).
    """
    n = np.asarray(directions, dtype=float)
    n = n / np.linalg.norm(n, axis=-1, keepdims=True)
    dyad = to_mandel(n[..., :, None] * n[..., None, :])
    compliance = np.linalg.inv(voigt_to_mandel(np.asarray(stiffness)))
    return 1 / np.einsum("...a,ab,...b->...", dyad, compliance, dyad)


def cubic_stiffness(c11: float, c12: float, c44: float) -> np.ndarray:
    """6 x 6 Voigt stiffness of a cubic crystal, cube axes along x, y, z, GPa."""
    c = np.diag([c11 - c12] * 3 + [c44] * 3).astype(float)
    c[:3, :3] += c12
    return c
