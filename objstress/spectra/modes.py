"""Normal modes of molecules, and of crystals at Gamma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objstress.errors import InputError
from objstress.spectra.units import WAVENUMBER

SMALL, TINY = 1e-6, 1.0
"""Part of the largest wavenumber, and cm^-1 up to which the rigid motions' own wavenumbers count:
below the larger of both a wavenumber is round-off."""


@dataclass(frozen=True)
class NormalModes:
    """Normal modes by ascending wavenumber, without rigid motions.

    Attributes:
        wavenumbers: (m,) cm^-1, imaginary ones as negative numbers.
        vectors: (m, n, 3) dR/dQ, u^-1/2: M^1/2 dR/dQ has length one. Signs are chosen such that
            the largest component is positive; in a degenerate set any rotated set does as well.
        rigid: (k,) cm^-1 of the rigid motions before their removal: 0 at a minimum of an energy
            that they leave unchanged.
    """

    wavenumbers: np.ndarray
    vectors: np.ndarray
    rigid: np.ndarray

    @property
    def roundoff(self) -> float:
        """Wavenumber, cm^-1, below which none means anything."""
        largest = np.abs(self.wavenumbers).max(initial=0.0)
        return float(max(min(np.abs(self.rigid).max(initial=0.0), TINY), SMALL * largest))

    @property
    def reduced_masses(self) -> np.ndarray:
        """Reduced masses (m,) u: 1 / sum of |dR/dQ|^2, for Cartesian displacements of length one.

        Gaussian's definition (J. W. Ochterski, Vibrational Analysis in Gaussian, 1999); for a
        diatomic molecule it is not m1 m2/(m1 + m2), which counts the bond's length instead.
        """
        return np.asarray(1 / (self.vectors**2).sum(axis=(1, 2)))


def normal_modes(hessian: np.ndarray, masses: np.ndarray, rigid: np.ndarray) -> NormalModes:
    r"""Normal modes from second derivatives, orthogonal to all rigid motions.

    .. math:: M^{-1/2} H M^{-1/2} e = \omega^2 e

    Rigid motions are removed exactly, by solving in the space orthogonal to them (Wilson, Decius
    and Cross, Molecular Vibrations, 1955, chapter 2; Ochterski, 1999).

    Args:
        hessian: (3 n, 3 n) eV/Angstrom^2, at a stationary point.
        masses: (n,) u.
        rigid: the motions that leave the energy as it is, mass-weighted, (k, 3 n) with orthonormal
            rows: `rigid_displacements` of a molecule, or of a crystal at Gamma.

    Returns:
        The modes, with wavenumbers (m,) in cm^-1.

    Raises:
        InputError: shapes that do not fit, NaN, masses that are not positive, a matrix that is not
            symmetric to a thousandth.
    """
    masses, hessian = np.asarray(masses, dtype=float), np.asarray(hessian, dtype=float)
    n = len(masses)
    if hessian.shape != (3 * n, 3 * n) or rigid.ndim != 2 or rigid.shape[1] != 3 * n:
        raise InputError(
            f"hessian {hessian.shape}, rigid motions {rigid.shape}: {n} masses need "
            f"({3 * n}, {3 * n}) and (k, {3 * n})"
        )
    if not (np.isfinite(hessian).all() and np.isfinite(rigid).all()):
        raise InputError("hessian or rigid motions are not finite (NaN or infinity)")
    if not (masses > 0).all():
        raise InputError("masses must be positive, in u")
    if np.abs(hessian - hessian.T).max() > 1e-3 * max(np.abs(hessian).max(), 1e-12):
        raise InputError("the hessian is not symmetric, as second derivatives of an energy are")
    root = np.sqrt(np.repeat(masses, 3))
    dynamical = 0.5 * (hessian + hessian.T) / np.outer(root, root)
    space = np.linalg.svd(rigid)[2][len(rigid) :]
    squares, shapes = np.linalg.eigh(space @ dynamical @ space.T)
    vectors = shapes.T @ space / root
    largest = np.abs(vectors).argmax(axis=1)
    vectors = vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]
    return NormalModes(
        wavenumbers=_wavenumbers(squares),
        vectors=vectors.reshape(-1, n, 3),
        rigid=_wavenumbers(np.linalg.eigvalsh(rigid @ dynamical @ rigid.T)),
    )


def _wavenumbers(squares: np.ndarray) -> np.ndarray:
    """omega^2, eV/(Angstrom^2 u), as wavenumbers; negative where omega is imaginary."""
    return np.sign(squares) * np.sqrt(np.abs(squares)) * WAVENUMBER
