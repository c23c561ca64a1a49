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
    """Symmetric tensors (..., 3, 3) to Mandel vectors (..., 6): shear components times sqrt(2)."""
    return np.einsum("aij,...ij->...a", MANDEL, tensor)


def from_mandel(vector: np.ndarray) -> np.ndarray:
    """Mandel vectors (..., 6) to symmetric tensors (..., 3, 3)."""
    return np.einsum("aij,...a->...ij", MANDEL, vector)


def mandel_to_voigt(stiffness: np.ndarray) -> np.ndarray:
    """6 x 6 stiffness, Mandel to Voigt: C_44 (Voigt) = C_44 (Mandel) / 2."""
    return stiffness * SHEAR[:, None] * SHEAR


def voigt_to_mandel(stiffness: np.ndarray) -> np.ndarray:
    """6 x 6 stiffness, Voigt to Mandel."""
    return stiffness / SHEAR[:, None] / SHEAR


def voigt_to_tensor(stiffness: np.ndarray) -> np.ndarray:
    """C_ijkl, (3, 3, 3, 3), of a 6 x 6 Voigt stiffness."""
    return _fourth_order(voigt_to_mandel(np.asarray(stiffness)))


def tensor_to_voigt(tensor: np.ndarray) -> np.ndarray:
    """6 x 6 Voigt stiffness of C_ijkl (3, 3, 3, 3)."""
    return mandel_to_voigt(np.einsum("aij,ijkl,bkl->ab", MANDEL, tensor, MANDEL, optimize=True))


def compliance_tensor(stiffness: np.ndarray) -> np.ndarray:
    """S_ijkl, the inverse of C on symmetric tensors, 1/GPa; stiffness 6 x 6 Voigt, GPa."""
    return _fourth_order(np.linalg.inv(voigt_to_mandel(np.asarray(stiffness))))


def _fourth_order(mandel: np.ndarray) -> np.ndarray:
    return np.einsum("aij,ab,bkl->ijkl", MANDEL, mandel, MANDEL, optimize=True)


def rotated_tensor(tensor: np.ndarray, q: np.ndarray, batch: int = 0) -> np.ndarray:
    """T'_ij.. = q_ii' q_jj' .. T_i'j'.., any rank; the first `batch` axes are left alone."""
    result = np.asarray(tensor, dtype=np.float64)
    for axis in range(batch, result.ndim):
        result = np.moveaxis(np.tensordot(q, result, axes=(1, axis)), 0, axis)
    return result


def mandel_rotations(operations: np.ndarray) -> np.ndarray:
    """M(g) with (g E g^T) = M(g) E in Mandel's six-space, orthogonal, shape (n, 6, 6)."""
    g = np.asarray(operations)
    return np.einsum("aij,nik,njl,bkl->nab", MANDEL, g, g, MANDEL, optimize=True)
