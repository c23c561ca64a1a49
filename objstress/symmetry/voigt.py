"""Six-vectors of symmetric tensors: Mandel inside, Voigt at the border; order xx yy zz yz xz xy."""

from __future__ import annotations

import numpy as np

VOIGT_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""(i, j) of each component."""
VOIGT_INDEX = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""Which Voigt (or Mandel) component ij is, (3, 3)."""
SHEAR = np.sqrt([1, 1, 1, 0.5, 0.5, 0.5])
"""Tensor components over Mandel components, (6,)."""


def _mandel_basis() -> np.ndarray:
    basis = np.zeros((6, 3, 3))
    for a, (i, j) in enumerate(VOIGT_PAIRS):
        basis[a, i, j] = basis[a, j, i] = 1.0 if i == j else np.sqrt(0.5)
    return basis


MANDEL = _mandel_basis()
"""Orthonormal basis B of symmetric tensors, shape (6, 3, 3): x_a = B_a : E, E = sum_a x_a B_a."""


def to_mandel(tensor: np.ndarray) -> np.ndarray:
    """Symmetric tensors to Mandel vectors: shear components times sqrt(2).

    Args:
        tensor: (..., 3, 3), any unit.

    Returns:
        (..., 6), the same unit.
    """
    return np.einsum("aij,...ij->...a", MANDEL, tensor)


def from_mandel(vector: np.ndarray) -> np.ndarray:
    """Mandel vectors to symmetric tensors.

    Args:
        vector: (..., 6), any unit.

    Returns:
        (..., 3, 3), the same unit.
    """
    return np.einsum("aij,...a->...ij", MANDEL, vector)


def mandel_to_voigt(stiffness: np.ndarray) -> np.ndarray:
    """Stiffness from Mandel's to Voigt's form: C_44 (Voigt) = C_44 (Mandel) / 2.

    Args:
        stiffness: 6 x 6 Mandel, GPa.

    Returns:
        6 x 6 Voigt, GPa.
    """
    return stiffness * SHEAR[:, None] * SHEAR


def voigt_to_mandel(stiffness: np.ndarray) -> np.ndarray:
    """Stiffness from Voigt's to Mandel's form.

    Args:
        stiffness: 6 x 6 Voigt, GPa.

    Returns:
        6 x 6 Mandel, GPa.
    """
    return stiffness / SHEAR[:, None] / SHEAR


def voigt_to_tensor(stiffness: np.ndarray) -> np.ndarray:
    """Stiffness tensor C_ijkl of a Voigt matrix.

    Args:
        stiffness: (..., 6, 6) Voigt, GPa.

    Returns:
        (..., 3, 3, 3, 3), GPa.
    """
    return _fourth_order(voigt_to_mandel(np.asarray(stiffness)))


def tensor_to_voigt(tensor: np.ndarray) -> np.ndarray:
    """Voigt matrix of a stiffness tensor C_ijkl.

    Args:
        tensor: (..., 3, 3, 3, 3), GPa.

    Returns:
        (..., 6, 6) Voigt, GPa.
    """
    mandel = np.einsum("aij,...ijkl,bkl->...ab", MANDEL, tensor, MANDEL, optimize=True)
    return mandel_to_voigt(mandel)


def compliance_tensor(stiffness: np.ndarray) -> np.ndarray:
    """Compliance tensor S_ijkl, the inverse of C on symmetric tensors.

    Args:
        stiffness: 6 x 6 Voigt, GPa.

    Returns:
        (3, 3, 3, 3), 1/GPa.
    """
    return _fourth_order(np.linalg.inv(voigt_to_mandel(np.asarray(stiffness))))


def _fourth_order(mandel: np.ndarray) -> np.ndarray:
    return np.einsum("aij,...ab,bkl->...ijkl", MANDEL, mandel, MANDEL, optimize=True)


def rotated_tensor(tensor: np.ndarray, q: np.ndarray, batch: int = 0) -> np.ndarray:
    r"""Tensor of any rank rotated by q.

    .. math:: T'_{ij \ldots} = q_{ii'} q_{jj'} \cdots T_{i'j' \ldots}

    Args:
        tensor: (..., 3, ..., 3), any unit.
        q: rotation or reflection, (3, 3).
        batch: number of leading axes that are left alone.

    Returns:
        The same shape and unit.
    """
    result = np.asarray(tensor, dtype=np.float64)
    for axis in range(batch, result.ndim):
        result = np.moveaxis(np.tensordot(q, result, axes=(1, axis)), 0, axis)
    return result


def mandel_rotations(operations: np.ndarray) -> np.ndarray:
    """Rotations of Mandel's six-space, M(g) with (g E g^T) = M(g) E.

    Args:
        operations: g, orthogonal matrices (n, 3, 3).

    Returns:
        Orthogonal, shape (n, 6, 6).
    """
    g = np.asarray(operations)
    return np.einsum("aij,nik,njl,bkl->nab", MANDEL, g, g, MANDEL, optimize=True)


def invariant_strains(operations: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the strains that a point group leaves as they are.

    Args:
        operations: its g, orthogonal matrices (n, 3, 3).

    Returns:
        Columns of Mandel components, (6, m), m from one (cubic) to six (triclinic).
    """
    values, vectors = np.linalg.eigh(mandel_rotations(operations).mean(axis=0))
    return vectors[:, values > 0.5]
