"""Energies that are G-invariant polynomials of the Green-Lagrange strain."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor, nn

from objstress.symmetry.point_group import PointGroup, invariant_basis
from objstress.symmetry.tensors import mandel_rotations


class _Monomials:
    """Exponents of all monomials of degree 0 to `degree` in six variables, and how they nest."""

    def __init__(self, degree: int):
        self.words = [list(combinations_with_replacement(range(6), d)) for d in range(degree + 1)]
        index = [{w: k for k, w in enumerate(words)} for words in self.words]
        # raised[d][j, k]: which monomial of degree d is x_j times monomial k of degree d - 1.
        self.raised = [np.zeros((6, 0), dtype=int)] + [
            np.array(
                [[index[d][tuple(sorted((*w, j)))] for w in self.words[d - 1]] for j in range(6)]
            )
            for d in range(1, degree + 1)
        ]
        # Each monomial as first variable times a monomial of one degree less.
        self.first = [
            np.array([w[0] for w in words]) if words[0] else np.zeros(1, int)
            for words in self.words
        ]
        self.rest = [np.zeros(1, dtype=int)] + [
            np.array([index[d - 1][w[1:]] for w in self.words[d]]) for d in range(1, degree + 1)
        ]
        self.offset = np.cumsum([0] + [len(w) for w in self.words])

    def values(self, x: Tensor, degree: int) -> Tensor:
        """All monomials up to `degree`, (n, offset[degree + 1])."""
        parts = [torch.ones_like(x[:, :1])]
        for d in range(1, degree + 1):
            parts.append(x[:, self.first[d]] * parts[-1][:, self.rest[d]])
        return torch.cat(parts, dim=1)

    def gradient(self, coefficients: np.ndarray, degree: int) -> np.ndarray:
        """(offset[degree+1], ...) coefficients to those of d/dx_j: (offset[degree], ..., 6)."""
        shape = coefficients.shape[1:]
        out = np.zeros((self.offset[degree], *shape, 6))
        for d in range(1, degree + 1):
            block = coefficients[self.offset[d] : self.offset[d + 1]]
            for j in range(6):
                raised = self.raised[d][j]
                power = np.array([self.words[d][r].count(j) for r in raised], dtype=float)
                low = slice(self.offset[d - 1], self.offset[d])
                out[low, ..., j] += power.reshape(-1, *[1] * len(shape)) * block[raised]
        return out


@cache
def _monomials(degree: int) -> _Monomials:
    return _Monomials(degree)


def invariant_polynomials(group: PointGroup, degree: int) -> np.ndarray:
    """A basis of the G-invariant homogeneous polynomials of E's six Mandel components.

    The Reynolds operator on the symmetric power of Mandel's six-space, built degree by degree
    from x_i x^b -> sum_j M_ij x_j (M x)^b; in the scaling where that representation is
    orthogonal its range is found without loss of digits.

    Returns:
        Coefficients of the monomials of that degree, shape (k, number of monomials).
    """
    return _invariants(group.operations.tobytes(), degree)


@lru_cache(maxsize=256)
def _invariants(operations: bytes, degree: int) -> np.ndarray:
    mono = _monomials(degree)
    rotations = mandel_rotations(np.frombuffer(operations).reshape(-1, 3, 3))
    power = np.ones((len(rotations), 1, 1))
    for d in range(1, degree + 1):
        last = power
        power = np.zeros((len(rotations), len(mono.words[d]), len(mono.words[d])))
        for j in range(6):
            factor = rotations[:, mono.first[d], j]
            power[:, :, mono.raised[d][j]] += factor[:, :, None] * last[:, mono.rest[d], :]
    # Substitution acts on coefficients by the transpose; the norm of x^a is sqrt(a! / d!).
    counts = np.array([[w.count(j) for j in range(6)] for w in mono.words[degree]])
    norm = np.sqrt([_multinomial(c) for c in counts])
    projector = power.mean(axis=0).T / norm[:, None] * norm[None, :]
    return invariant_basis(projector) * norm


def _multinomial(counts: np.ndarray) -> float:
    from math import factorial, prod

    return factorial(int(counts.sum())) / prod(factorial(int(c)) for c in counts)


class InvariantPolynomial(nn.Module):
    """W(E) = sum_k c_k phi_k(E), phi_k G-invariant, of degree 2 (or `lowest`) to `degree`.

    Args:
        group: the crystal's point group in the frame of E.
        degree: highest degree in E.
        lowest: 2, or 1 to admit a residual stress (used to find the stress-free reference).
        dtype: of the coefficients.
    """

    coefficients: Tensor

    def __init__(
        self,
        group: PointGroup,
        degree: int,
        lowest: int = 2,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.degree, self.lowest = degree, lowest
        self._mono = _monomials(degree)
        rows, self.degrees = [], []
        for d in range(lowest, degree + 1):
            block = invariant_polynomials(group, d)
            full = np.zeros((len(block), self._mono.offset[degree + 1]))
            full[:, self._mono.offset[d] : self._mono.offset[d + 1]] = block
            rows.append(full)
            self.degrees += [d] * len(block)
        self._basis = np.concatenate(rows).T
        self.register_buffer("coefficients", torch.zeros(len(self.degrees), dtype=dtype))
        self._tables: tuple[Tensor, Tensor, Tensor] | None = None

    def set_coefficients(self, values: np.ndarray) -> None:
        """Coefficients in GPa, one for each invariant."""
        self.coefficients.copy_(torch.as_tensor(values))
        self._tables = None

    def design(self, x: Tensor) -> np.ndarray:
        """d phi_k / d x_a at Mandel strains x (n, 6), shape (n, 6, k)."""
        values = self._mono.values(x, self.degree - 1).numpy()
        table = self._mono.gradient(self._basis, self.degree)
        return np.einsum("nm,mka->nak", values, table, optimize=True)

    def forward(self, x: Tensor, order: int = 1) -> tuple[Tensor, ...]:
        """Energy density and its derivatives with respect to Mandel strain.

        Args:
            x: (n, 6), E in Mandel form.
            order: 0, 1 or 2.

        Returns:
            W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6) up to `order`, GPa.
        """
        w, g, h = self._evaluation_tables(x)
        values = self._mono.values(x, self.degree)
        out = [values @ w]
        if order >= 1:
            out.append(values[:, : g.shape[0]] @ g)
        if order >= 2:
            out.append((values[:, : h.shape[0]] @ h).reshape(-1, 6, 6))
        return tuple(out)

    def _evaluation_tables(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._tables is None or self._tables[0].dtype != x.dtype:
            energy = self._basis @ self.coefficients.numpy()
            first = self._mono.gradient(energy, self.degree)
            second = self._mono.gradient(first, self.degree - 1)
            self._tables = (
                torch.as_tensor(energy, dtype=x.dtype),
                torch.as_tensor(first, dtype=x.dtype),
                torch.as_tensor(second.reshape(len(second), 36), dtype=x.dtype),
            )
        return self._tables
