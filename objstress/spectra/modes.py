"""Normal modes of molecules, and of crystals at Gamma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objstress.errors import InputError
from objstress.spectra.units import WAVENUMBER

LINEAR = 1e-3
"""A molecule is linear where its smallest radius of gyration is below this part of the largest."""


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
    def reduced_masses(self) -> np.ndarray:
        """Reduced masses (m,) u: 1 / sum of |dR/dQ|^2, for Cartesian displacements of length one.

        Gaussian's definition (J. W. Ochterski, Vibrational Analysis in Gaussian, 1999); for a
        diatomic molecule it is not m1 m2/(m1 + m2), which counts the bond's length instead.
        """
        return np.asarray(1 / (self.vectors**2).sum(axis=(1, 2)))


def rigid_displacements(
    positions: np.ndarray, masses: np.ndarray, rotations: bool = True
) -> np.ndarray:
    r"""Mass-weighted translations and rotations of a rigid body.

    .. math:: \sqrt{m_i}\, e_a, \quad \sqrt{m_i}\, e_a \times (r_i - r_0)

    with the centre of mass r_0.

    Args:
        positions: (n, 3) Angstrom.
        masses: (n,) u.
        rotations: False for crystals, which only translate.

    Returns:
        (k, 3 n) with orthonormal rows: k = 6, 5 for a linear molecule, 3 for an atom or a crystal.
    """
    root = np.sqrt(masses)
    motions = root[None, :, None] * np.eye(3)[:, None, :] / np.sqrt(masses.sum())
    motions = motions.reshape(3, -1)
    if not rotations:
        return motions
    arms = root[:, None] * (positions - masses @ positions / masses.sum())
    turns = np.cross(np.eye(3)[:, None, :], arms[None]).reshape(3, -1)
    # Squares of the singular values are the principal moments of inertia.
    _, sizes, axes = np.linalg.svd(turns, full_matrices=False)
    kept = sizes > max(LINEAR * sizes[0], 1e-8)
    return np.concatenate([motions, axes[kept]])


def normal_modes(
    hessian: np.ndarray, masses: np.ndarray, positions: np.ndarray, rotations: bool = True
) -> NormalModes:
    r"""Normal modes from second derivatives, orthogonal to all rigid motions.

    .. math:: M^{-1/2} H M^{-1/2} e = \omega^2 e

    Rigid motions are removed exactly, by solving in the space orthogonal to them (Wilson, Decius
    and Cross, Molecular Vibrations, 1955, chapter 2; Ochterski, 1999).

    Args:
        hessian: (3 n, 3 n) eV/Angstrom^2, at a stationary point.
        masses: (n,) u.
        positions: (n, 3) Angstrom.
        rotations: whether rotations leave the energy unchanged: True for a molecule, False for a
            crystal at Gamma or a molecule in a field.

    Returns:
        The modes, with wavenumbers (m,) in cm^-1.

    Raises:
        InputError: shapes that do not fit, NaN, masses that are not positive, a matrix that is not
            symmetric to a thousandth.
    """
    masses, positions = np.asarray(masses, dtype=float), np.asarray(positions, dtype=float)
    hessian, n = np.asarray(hessian, dtype=float), len(masses)
    if hessian.shape != (3 * n, 3 * n) or positions.shape != (n, 3):
        raise InputError(
            f"hessian {hessian.shape}, positions {positions.shape}: {n} masses need "
            f"({3 * n}, {3 * n}) and ({n}, 3)"
        )
    if not (np.isfinite(hessian).all() and np.isfinite(positions).all()):
        raise InputError("hessian or positions are not finite (NaN or infinity)")
    if not (masses > 0).all():
        raise InputError("masses must be positive, in u")
    if np.abs(hessian - hessian.T).max() > 1e-3 * max(np.abs(hessian).max(), 1e-12):
        raise InputError("the hessian is not symmetric, as second derivatives of an energy are")
    root = np.sqrt(np.repeat(masses, 3))
    dynamical = 0.5 * (hessian + hessian.T) / np.outer(root, root)
    rigid = rigid_displacements(positions, masses, rotations)
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
