"""Bounds of the elastic constants of a polycrystal: Voigt, Reuss, Hashin and Shtrikman."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from objstress.elasticity.orientations import check_rotations
from objstress.errors import InputError
from objstress.symmetry.voigt import mandel_rotations, mandel_to_voigt, voigt_to_mandel

_HYDROSTATIC = np.zeros((6, 6))
_HYDROSTATIC[:3, :3] = 1 / 3
_DEVIATORIC = np.eye(6) - _HYDROSTATIC


def isotropic_moduli(stiffness: Any) -> tuple[float, float]:
    r"""Bulk and shear modulus of the isotropic part of a stiffness.

    .. math:: K = J : C / 3, \qquad G = (I - J) : C / 10

    Args:
        stiffness: 6 x 6 Voigt, GPa.

    Returns:
        K and G in GPa.
    """
    return _parts(voigt_to_mandel(np.asarray(stiffness, dtype=np.float64)))


def rotated_stiffness(stiffness: Any, orientations: Any) -> np.ndarray:
    """Stiffness of grains rotated by Q, crystal frame to sample frame.

    Args:
        stiffness: of the crystal, 6 x 6 Voigt, GPa.
        orientations: Q, (g, 3, 3).

    Returns:
        (g, 6, 6) Voigt, GPa, in the sample's frame.
    """
    m = mandel_rotations(check_rotations(orientations))
    c = voigt_to_mandel(np.asarray(stiffness, dtype=np.float64))
    return np.array([mandel_to_voigt(r @ c @ r.T) for r in m])


def voigt_average(stiffness: Any, orientations: Any, weights: Any = None) -> np.ndarray:
    r"""Upper bound of equal strain, the mean stiffness of grains.

    .. math:: C_V = \sum_g w_g C_g

    Args:
        stiffness: of the crystal, 6 x 6 Voigt, GPa.
        orientations: (g, 3, 3), crystal frame to sample frame.
        weights: volume fractions (g,); equal ones by default.

    Returns:
        6 x 6 Voigt, GPa.
    """
    return np.einsum("g,gab->ab", *_weighted(stiffness, orientations, weights))


def reuss_average(stiffness: Any, orientations: Any, weights: Any = None) -> np.ndarray:
    r"""Lower bound of equal stress, the inverse of the mean compliance of grains.

    .. math:: C_R = \Bigl( \sum_g w_g C_g^{-1} \Bigr)^{-1}

    Args:
        stiffness: of the crystal, 6 x 6 Voigt, GPa.
        orientations: (g, 3, 3), crystal frame to sample frame.
        weights: volume fractions (g,); equal ones by default.

    Returns:
        6 x 6 Voigt, GPa.
    """
    w, c = _weighted(stiffness, orientations, weights)
    return np.linalg.inv(np.einsum("g,gab->ab", w, np.linalg.inv(c)))


@dataclass(frozen=True)
class IsotropicBounds:
    """Bounds of the isotropic polycrystal of one crystal: (lower, upper), GPa.

    Attributes:
        bulk, shear: Hashin and Shtrikman's.
        bulk_voigt_reuss, shear_voigt_reuss: the wider ones of equal stress and equal strain.
    """

    bulk: tuple[float, float]
    shear: tuple[float, float]
    bulk_voigt_reuss: tuple[float, float]
    shear_voigt_reuss: tuple[float, float]


def isotropic_bounds(stiffness: Any) -> IsotropicBounds:
    r"""Hashin-Shtrikman bounds of K and G of a random polycrystal, any crystal symmetry.

    .. math::

        C_\mathrm{HS}(C_0) &= \langle (C + C^*)^{-1} \rangle^{-1} - C^* \\
        3 K^* &= 4 G_0, \qquad 2 G^* = G_0 (9 K_0 + 8 G_0) / (3 (K_0 + 2 G_0))

    is a lower bound for every isotropic C0 with C - C0 >= 0 and an upper one with C - C0 <= 0;
    the best C0 is searched. < > averages over all rotations. For cubic crystals these are the
    bounds of Hashin and Shtrikman (1962).

    Hashin and Shtrikman, J. Mech. Phys. Solids 10 (1962) 343; Brown, J. Appl. Phys. 120 (2016)
    125104 for the general form.

    Args:
        stiffness: of the crystal, 6 x 6 Voigt, GPa.

    Raises:
        InputError: a stiffness that is not positive definite.
    """
    c = voigt_to_mandel(np.asarray(stiffness, dtype=np.float64))
    if c.shape != (6, 6) or np.linalg.eigvalsh(c).min() <= 0:
        raise InputError("the stiffness must be a positive definite 6 x 6 Voigt matrix in GPa")
    k_voigt, g_voigt = _parts(c)
    k_reuss, g_reuss = _of_compliance(np.linalg.inv(c))
    bounds = {sign: _best_reference(c, sign) for sign in (1, -1)}
    return IsotropicBounds(
        bulk=(bounds[1][0], bounds[-1][0]),
        shear=(bounds[1][1], bounds[-1][1]),
        bulk_voigt_reuss=(k_reuss, k_voigt),
        shear_voigt_reuss=(g_reuss, g_voigt),
    )


def _parts(c: np.ndarray) -> tuple[float, float]:
    k = float(np.einsum("ab,ab", _HYDROSTATIC, c)) / 3
    g = float(np.einsum("ab,ab", _DEVIATORIC, c)) / 10
    return k, g


def _of_compliance(s: np.ndarray) -> tuple[float, float]:
    """K and G of a compliance's mean over all rotations, which is its isotropic part."""
    k, g = _parts(s)
    return 1 / (9 * k), 1 / (4 * g)


def _weighted(stiffness: Any, orientations: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    c = rotated_stiffness(stiffness, orientations)
    w = np.ones(len(c)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(c),) or (w < 0).any() or not w.sum() > 0:
        raise InputError(f"weights of shape {w.shape} for {len(c)} grains: give one each, >= 0")
    return w / w.sum(), c


def _bound(c: np.ndarray, k0: float, g0: float) -> tuple[float, float]:
    k_star, g_star = 4 / 3 * g0, g0 * (9 * k0 + 8 * g0) / (6 * (k0 + 2 * g0))
    star = 3 * k_star * _HYDROSTATIC + 2 * g_star * _DEVIATORIC
    k, g = _of_compliance(np.linalg.inv(c + star))
    return k - k_star, g - g_star


def _best_reference(c: np.ndarray, sign: int) -> tuple[float, float]:
    """Best K and G bound over the isotropic C0 with sign (C - C0) >= 0, each by its own C0.

    For each G0 the best K0 is the one at which sign (C - C0) becomes singular (Schur's
    complement), and G0 itself ends where its deviatoric block does.
    """
    from scipy.optimize import minimize_scalar

    j = np.concatenate([np.ones(3), np.zeros(3)]) / np.sqrt(3)
    basis = np.linalg.eigh(_DEVIATORIC)[1][:, 1:]
    block, coupling = basis.T @ c @ basis, basis.T @ c @ j
    values, vectors = np.linalg.eigh(block)
    coupling = vectors.T @ coupling
    edge = values[0 if sign > 0 else -1] / 2
    size = np.abs(c).max()

    def score(g0: float, which: int) -> float:
        rest = sign * (values - 2 * g0)
        open_ = rest > 1e-12 * size
        if (np.abs(coupling[~open_]) > 1e-9 * size).any():
            return np.inf
        k0 = float(j @ c @ j - sign * (coupling[open_] ** 2 / rest[open_]).sum()) / 3
        return -sign * _bound(c, k0, g0)[which] if k0 > 0 else np.inf

    ends = (1e-6 * edge, edge) if sign > 0 else (edge, 10 * edge)
    best = []
    for which in (0, 1):
        grid = np.linspace(*ends, 401)
        scores = [score(g, which) for g in grid]
        k = int(np.argmin(scores))
        span = (grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)])
        optimum = minimize_scalar(score, bounds=span, args=(which,), method="bounded")
        best.append(-sign * float(min(optimum.fun, scores[k])))
    return best[0], best[1]
