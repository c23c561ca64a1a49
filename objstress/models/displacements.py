"""How the ions of a strained crystal leave the homogeneous deformation."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from objstress.models.monomial_tables import monomials, multinomial
from objstress.symmetry.crystal import moved_vectors, site_operations
from objstress.symmetry.voigt import mandel_rotations

if TYPE_CHECKING:
    from pymatgen.core import Structure

RIDGE = 1e-10
"""Relative to the largest eigenvalue of the normal equations."""


class InternalDisplacements:
    r"""Displacements of the ions of a strained crystal, symmetric polynomials of E.

    .. math:: u_{g(k)}(g E g^T) = g\, u_k(E) \quad \text{for every g of the space group}

    An ion at X_k in the reference cell lies at x_k = F (X_k + u_k) in the deformed one; u sums to
    zero over the cell, since a common shift means nothing. u(0) need not vanish: it is the distance
    that the ions of the reference cell, whose edges alone were found from stresses, still move.

    Args:
        degree: of the polynomials.
        coefficients: (monomials of degree 0 and more, 3 x atoms), Angstrom.
    """

    def __init__(self, degree: int, coefficients: np.ndarray):
        self.degree, self.coefficients = degree, coefficients

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """u (n, atoms, 3) in Angstrom, reference frame, at Mandel strains x (n, 6)."""
        return (_features(x, self.degree) @ self.coefficients).reshape(len(x), -1, 3)

    @classmethod
    def fit(
        cls, structure: Structure, x: np.ndarray, moves: np.ndarray, degree: int = 3
    ) -> InternalDisplacements:
        """Fit the polynomials to labels by least squares, over all images under the space group.

        Args:
            structure: the reference cell, symmetrised.
            x: Mandel strains of the labels, (n, 6).
            moves: u of each label, (n, atoms, 3), Angstrom.
            degree: of the polynomials.
        """
        rotations, permutations = site_operations(structure)
        mandel = mandel_rotations(rotations)
        normal: np.ndarray | float = 0.0
        right: np.ndarray | float = 0.0
        for m, g, p in zip(mandel, rotations, permutations, strict=True):
            images = moved_vectors(moves, g, p)
            a = _features(x @ m.T, degree)
            normal = normal + a.T @ a
            right = right + a.T @ images.reshape(len(x), -1)
        scale = np.sqrt(np.diag(normal)).clip(min=1e-300)
        # Columns of one degree share a scale, or the ridge would prefer some directions to others.
        for block in _degrees(degree):
            scale[block] = scale[block].max()
        matrix = normal / scale[:, None] / scale[None, :]
        matrix += RIDGE * np.linalg.eigvalsh(matrix).max() * np.eye(len(matrix))
        solution = np.linalg.solve(matrix, right / scale[:, None]) / scale[:, None]
        return cls(degree, solution)


def _degrees(degree: int) -> list[slice]:
    offset = monomials(degree).offset
    return [slice(offset[d], offset[d + 1]) for d in range(degree + 1)]


def _features(x: np.ndarray, degree: int) -> np.ndarray:
    # All monomials, in the scaling in which rotating E is orthogonal.
    values = monomials(degree).values(torch.tensor(x.T), degree)
    return np.concatenate([v.numpy() for v in values]).T * _norms(degree)


@cache
def _norms(degree: int) -> np.ndarray:
    words = [w for d in range(degree + 1) for w in monomials(degree).words[d]]
    return np.sqrt([multinomial(np.array([w.count(j) for j in range(6)])) for w in words])
