"""Which strains to label: quasi-random directions in the six-dimensional ball of E."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from objstress.errors import InputError, check_seed
from objstress.symmetry.tensors import from_mandel

SMALL_STRAIN = 0.01
"""A fifth of the labels lie below this |E|: they pin the elastic constants."""


def sample_strains(samples: int, max_strain: float = 0.08, seed: int = 0) -> np.ndarray:
    r"""Green-Lagrange strains E with |E| = sqrt(E:E) <= max_strain, shape (samples, 3, 3).

    All six components at once. Directions come from a scrambled Sobol sequence mapped through the
    normal distribution to the sphere in Mandel's six-space; radii are uniform, every fifth one
    in (0.1, 1) x min(1 %, max_strain), the others between that and max_strain.

    Raises:
        InputError: no samples, or a max_strain outside (0, 0.4] (J must stay positive).
    """
    if samples < 1:
        raise InputError(f"samples = {samples}: give at least 1")
    if not 0 < max_strain <= 0.4:
        raise InputError(f"max_strain = {max_strain}: give a number in (0, 0.4]")
    check_seed(seed)
    points = qmc.Sobol(7, scramble=True, rng=seed).random_base2(int(np.ceil(np.log2(samples + 1))))
    points = np.clip(points[:samples], 1e-9, 1 - 1e-9)
    normal = ndtri(points[:, :6])
    direction = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    small = min(SMALL_STRAIN, max_strain)
    u = points[:, 6]
    low, high = np.full(samples, small), np.full(samples, max_strain)
    low[::5], high[::5] = 0.1 * small, small
    mandel = direction * (low + (high - low) * u)[:, None]
    return from_mandel(mandel)


def right_stretch(strain: np.ndarray) -> np.ndarray:
    """U = sqrt(I + 2 E), the deformation gradient without rotation, shape (..., 3, 3)."""
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * strain)
    return np.einsum("...ik,...k,...jk->...ij", vectors, np.sqrt(values), vectors)
