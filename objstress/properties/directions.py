"""Elastic moduli by direction, and their extremes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from objstress.laws.elasticity import youngs_modulus
from objstress.symmetry.tensors import MANDEL, voigt_to_mandel

GRID = 2000
"""Directions of a half sphere that a search starts from."""


def compliance_tensor(stiffness: np.ndarray) -> np.ndarray:
    """S_ijkl, the inverse of C on symmetric tensors, 1/GPa; stiffness 6 x 6 Voigt, GPa."""
    inverse = np.linalg.inv(voigt_to_mandel(np.asarray(stiffness)))
    return np.einsum("aij,ab,bkl->ijkl", MANDEL, inverse, MANDEL, optimize=True)


def linear_compressibility(stiffness: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """beta(n) = n n : S : I, relative shortening along n by unit pressure, 1/GPa.

    Nye, Physical Properties of Crystals, chapter VIII.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        directions: (..., 3), any length.
    """
    n = _unit(directions)
    return np.einsum("...i,...j,ijkk->...", n, n, compliance_tensor(stiffness))


def shear_modulus(stiffness: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """G(n, m) = 1 / (4 n m : S : n m): shear of planes of normal n along m, GPa.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        n, m: (..., 3), any length, orthogonal (m is made so).
    """
    n, m = _pair(n, m)
    s = compliance_tensor(stiffness)
    return 1 / (4 * np.einsum("...i,...j,...k,...l,ijkl->...", n, m, n, m, s))


def poissons_ratio(stiffness: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """nu(n, m) = -(n n : S : m m) / (n n : S : n n): narrowing along m of a bar pulled along n."""
    n, m = _pair(n, m)
    s = compliance_tensor(stiffness)
    across = np.einsum("...i,...j,...k,...l,ijkl->...", n, n, m, m, s)
    return -across / np.einsum("...i,...j,...k,...l,ijkl->...", n, n, n, n, s)


@dataclass(frozen=True)
class Extremes:
    """The least and the largest value of a modulus, and where: n, for G and nu also m."""

    least: float
    least_n: np.ndarray
    least_m: np.ndarray | None
    largest: float
    largest_n: np.ndarray
    largest_m: np.ndarray | None


def extremes(stiffness: np.ndarray) -> dict[str, Extremes]:
    r"""Extremes of E(n), beta(n), G(n, m) and nu(n, m) over all directions.

    The best m of each n are eigenvectors of 2 x 2 matrices,

        1 / G = 4 m . A . m, A_ij = S_kilj n_k n_l;    nu = -m . B . m E, B_ij = S_ijkl n_k n_l,

    so that the search is over n alone: a grid of directions, refined from the best of them.

    Args:
        stiffness: of a stable crystal, 6 x 6 Voigt, GPa.
    """
    s = compliance_tensor(stiffness)

    def young(n: np.ndarray, sign: int) -> np.ndarray:
        return youngs_modulus(stiffness, n)

    def compressibility(n: np.ndarray, sign: int) -> np.ndarray:
        return np.einsum("...i,...j,ijkk->...", n, n, s)

    def shear(n: np.ndarray, sign: int) -> np.ndarray:
        values, _ = _across(n, np.einsum("kilj,...k,...l->...ij", s, n, n))
        return 1 / (4 * values[..., 1 if sign > 0 else 0])

    def poisson(n: np.ndarray, sign: int) -> np.ndarray:
        values, _ = _across(n, np.einsum("ijkl,...k,...l->...ij", s, n, n))
        least = values[..., 1 if sign > 0 else 0]
        return -least / np.einsum("ijkl,...i,...j,...k,...l->...", s, n, n, n, n)

    def partner(name: str, n: np.ndarray, sign: int) -> np.ndarray | None:
        indices = {"shear": "kilj,k,l->ij", "poisson": "ijkl,k,l->ij"}.get(name)
        if indices is None:
            return None
        return _across(n, np.einsum(indices, s, n, n))[1][:, 1 if sign > 0 else 0]

    result = {}
    functions: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "young": young,
        "compressibility": compressibility,
        "shear": shear,
        "poisson": poisson,
    }
    for name, function in functions.items():
        found = {}
        for sign in (1, -1):  # least, then largest

            def value(n: np.ndarray, function=function, sign=sign) -> np.ndarray:
                return sign * function(n, sign)

            n = _least(value)
            found[sign] = (float(sign * value(n)), n, partner(name, n, sign))
        result[name] = Extremes(*found[1], *found[-1])
    return result


def half_sphere(count: int) -> np.ndarray:
    """Well-spread unit vectors with z >= 0 (a Fibonacci lattice), (count, 3)."""
    k = np.arange(count) + 0.5
    z, angle = 1 - k / count, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


def _least(value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Where a function on the sphere is least."""
    # The axes are where symmetry puts most extremes: exactly.
    grid = np.concatenate([np.eye(3), half_sphere(GRID)])
    order = np.argsort(value(grid))[:3]
    best = grid[order[0]]
    for start in grid[order]:
        a = np.linalg.svd(start[None])[2][1:]  # two directions across

        def near(x: np.ndarray, start=start, a=a) -> float:
            return float(value(_unit(start + x @ a)))

        found = minimize(near, np.zeros(2), method="Nelder-Mead",
                         options={"xatol": 1e-7, "fatol": 1e-13, "initial_simplex":
                                  np.array([[0, 0], [0.03, 0], [0, 0.03]])})  # fmt: skip
        n = _unit(start + found.x @ a)
        if value(n) < value(best) - 1e-12 * abs(value(best)):
            best = n
    return best


def _across(n: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (..., 2) of a matrix in the plane across n, rising, and vectors (..., 3, 2)."""
    helper = np.where(np.abs(n[..., :1]) < 0.7, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    a = _unit(np.cross(n, helper))
    plane = np.stack([a, np.cross(n, a)], axis=-1)
    values, vectors = np.linalg.eigh(np.einsum("...ia,...ij,...jb->...ab", plane, matrix, plane))
    return values, plane @ vectors


def _unit(n: np.ndarray) -> np.ndarray:
    n = np.asarray(n, dtype=np.float64)
    return n / np.linalg.norm(n, axis=-1, keepdims=True)


def _pair(n: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, m = np.broadcast_arrays(_unit(n), np.asarray(m, dtype=np.float64))
    return n, _unit(m - (m * n).sum(axis=-1, keepdims=True) * n)
