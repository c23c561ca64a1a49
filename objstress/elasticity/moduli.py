"""Elastic moduli by direction, and their extremes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from objstress.elasticity.directions import half_sphere
from objstress.symmetry.voigt import compliance_tensor, to_mandel, voigt_to_mandel

GRID = 2000
"""Directions of a half sphere that a search starts from."""
_Values = tuple[np.ndarray, np.ndarray | None]


def linear_compressibility(stiffness: np.ndarray, directions: np.ndarray) -> np.ndarray:
    r"""Linear compressibility: relative shortening along n by unit pressure.

    .. math:: \beta(n) = n n : S : I

    Nye, Physical Properties of Crystals, chapter VIII.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        directions: n, (..., 3), any length.

    Returns:
        1/GPa, shape (...,).
    """
    n = _unit(directions)
    return np.einsum("...i,...j,ijkk->...", n, n, compliance_tensor(stiffness))


def shear_modulus(stiffness: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    r"""Shear modulus of planes of normal n along m.

    .. math:: G(n, m) = 1 / (4\, n m : S : n m)

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        n, m: (..., 3), any length, orthogonal (m is made so).

    Returns:
        GPa, shape (...,).
    """
    n, m = _pair(n, m)
    s = compliance_tensor(stiffness)
    return 1 / (4 * np.einsum("...i,...j,...k,...l,ijkl->...", n, m, n, m, s))


def poissons_ratio(stiffness: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    r"""Poisson's ratio: narrowing along m of a bar pulled along n.

    .. math:: \nu(n, m) = -(n n : S : m m) / (n n : S : n n)

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        n, m: (..., 3), any length, orthogonal (m is made so).

    Returns:
        Dimensionless, shape (...,).
    """
    n, m = _pair(n, m)
    s = compliance_tensor(stiffness)
    across = np.einsum("...i,...j,...k,...l,ijkl->...", n, n, m, m, s)
    return -across / np.einsum("...i,...j,...k,...l,ijkl->...", n, n, n, n, s)


@dataclass(frozen=True)
class ModulusExtremes:
    """The least and the largest value of a modulus over all directions, and where.

    Attributes:
        least, largest: in the unit of the modulus: GPa, 1/GPa, or a pure number for nu.
        least_n, largest_n: unit vectors n, (3,).
        least_m, largest_m: unit vectors m, (3,), for G and nu; None otherwise.
    """

    least: float
    least_n: np.ndarray
    least_m: np.ndarray | None
    largest: float
    largest_n: np.ndarray
    largest_m: np.ndarray | None


def modulus_extremes(stiffness: np.ndarray) -> dict[str, ModulusExtremes]:
    r"""Extremes of E(n), beta(n), G(n, m) and nu(n, m) over all directions.

    The best m of each n are eigenvectors of 2 x 2 matrices,

    .. math::

        1 / G &= 4\, m \cdot A \cdot m, \qquad A_{ij} = S_{kilj} n_k n_l \\
        \nu &= -m \cdot B \cdot m \, E, \qquad B_{ij} = S_{ijkl} n_k n_l

    so that the search is over n alone: a grid of directions, refined from the best of them.

    Args:
        stiffness: of a stable crystal, 6 x 6 Voigt, GPa.

    Returns:
        {"young": ..., "compressibility": ..., "shear": ..., "poisson": ...}.
    """
    s = compliance_tensor(stiffness)

    # Each gives its values and, where there is one, the m of the least (sign 1) or largest (-1).
    def young(n: np.ndarray, sign: int) -> _Values:
        return youngs_modulus(stiffness, n), None

    def compressibility(n: np.ndarray, sign: int) -> _Values:
        return linear_compressibility(stiffness, n), None

    def shear(n: np.ndarray, sign: int) -> _Values:
        value, m = _across(n, np.einsum("kilj,...k,...l->...ij", s, n, n), sign)
        return 1 / (4 * value), m

    def poisson(n: np.ndarray, sign: int) -> _Values:
        value, m = _across(n, np.einsum("ijkl,...k,...l->...ij", s, n, n), sign)
        return -value * youngs_modulus(stiffness, n), m

    result = {}
    functions: dict[str, Callable[[np.ndarray, int], _Values]] = {
        "young": young,
        "compressibility": compressibility,
        "shear": shear,
        "poisson": poisson,
    }
    for name, function in functions.items():
        ends: list[Any] = []
        for sign in (1, -1):  # least, then largest

            def value(n: np.ndarray, function=function, sign=sign) -> np.ndarray:
                return sign * function(n, sign)[0]

            n = _least(value)
            best, m = function(n, sign)
            ends += [float(best), n, m]
        result[name] = ModulusExtremes(*ends)
    return result


def _least(value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Where a function on the sphere is least."""
    from scipy.optimize import minimize

    # The axes are where symmetry puts most extremes: exactly.
    grid = np.concatenate([np.eye(3), half_sphere(GRID)])
    order = np.argsort(value(grid))[:3]
    best = grid[order[0]]
    for start in grid[order]:
        a = np.linalg.svd(start[None])[2][1:]  # two directions across

        def near(x: np.ndarray, start=start, a=a) -> float:
            return float(value(_unit(start + x @ a)))

        optimum = minimize(near, np.zeros(2), method="Nelder-Mead",
                         options={"xatol": 1e-7, "fatol": 1e-13, "initial_simplex":
                                  np.array([[0, 0], [0.03, 0], [0, 0.03]])})  # fmt: skip
        n = _unit(start + optimum.x @ a)
        if value(n) < value(best) - 1e-12 * abs(value(best)):
            best = n
    return best


def _across(n: np.ndarray, matrix: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest (sign 1) or least (-1) eigenvalue of a matrix in the plane across n, (...), and
    its vector (..., 3)."""
    helper = np.where(np.abs(n[..., :1]) < 0.7, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    a = _unit(np.cross(n, helper))
    plane = np.stack([a, np.cross(n, a)], axis=-1)
    values, vectors = np.linalg.eigh(np.einsum("...ia,...ij,...jb->...ab", plane, matrix, plane))
    which = 1 if sign > 0 else 0
    return values[..., which], (plane @ vectors)[..., which]


def _unit(n: np.ndarray) -> np.ndarray:
    n = np.asarray(n, dtype=np.float64)
    return n / np.linalg.norm(n, axis=-1, keepdims=True)


def _pair(n: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, m = np.broadcast_arrays(_unit(n), np.asarray(m, dtype=np.float64))
    return n, _unit(m - (m * n).sum(axis=-1, keepdims=True) * n)


def youngs_modulus(stiffness: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Young's modulus of a bar along n.

    .. math:: E(n) = 1 / (n n : C^{-1} : n n)

    Nye, Physical Properties of Crystals, chapter VIII.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        directions: n, (..., 3), any length, in the crystal's frame.

    Returns:
        GPa, shape (...,).
    """
    n = np.asarray(directions, dtype=float)
    n = n / np.linalg.norm(n, axis=-1, keepdims=True)
    dyad = to_mandel(n[..., :, None] * n[..., None, :])
    compliance = np.linalg.inv(voigt_to_mandel(np.asarray(stiffness)))
    return 1 / np.einsum("...a,ab,...b->...", dyad, compliance, dyad)


def cubic_stiffness(c11: float, c12: float, c44: float) -> np.ndarray:
    """Stiffness of a cubic crystal, cube axes along x, y, z.

    Args:
        c11, c12, c44: elastic constants, GPa.

    Returns:
        6 x 6 Voigt, GPa.
    """
    c = np.diag([c11 - c12] * 3 + [c44] * 3).astype(float)
    c[:3, :3] += c12
    return c
