"""Energies that are G-invariant polynomials of the Green-Lagrange strain."""

from __future__ import annotations

from functools import cache, lru_cache, reduce
from itertools import combinations_with_replacement, product
from math import comb, factorial, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from objstress.symmetry.point_group import PointGroup, SymmetryGroup, invariant_basis
from objstress.symmetry.voigt import MANDEL, mandel_rotations

SPARSE = 7
"""Degree from which matrices of few entries are multiplied as such."""
_PAIRS = [(a, b) for a in range(6) for b in range(a, 6)]
_WHOLE = torch.tensor([_PAIRS.index((min(a, b), max(a, b))) for a in range(6) for b in range(6)])
"""The 6 x 6 entries of a symmetric matrix among its 21 independent ones."""


class _Monomials:
    """All monomials of degree 0 to `degree` in six variables, in lexicographic order by degree."""

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
        # powers[d][k, j]: how often x_j stands in monomial k of degree d.
        self.powers = [
            np.array([[w.count(j) for j in range(6)] for w in words], dtype=float)
            for words in self.words
        ]
        self.offset = np.cumsum([0] + [len(w) for w in self.words])
        # start[d][j]: the first monomial of degree d without a variable before x_j.
        self.start = [[0] * 6 + [1]] + [
            np.searchsorted(first, range(7)).tolist() for first in self.first[1:]
        ]

    def values(self, x: Tensor, degree: int) -> list[Tensor]:
        """All monomials at x (6, n): one tensor (number of that degree, n) for degree 0, 1, ..."""
        out = [torch.ones_like(x[:1])]
        for d in range(1, degree + 1):
            # Those that begin with x_j are x_j times a tail of the degree before: no gathers.
            out.append(torch.cat([x[j] * out[-1][self.start[d - 1][j] :] for j in range(6)]))
        return out

    def gradient(self, coefficients: np.ndarray, degree: int) -> np.ndarray:
        """(offset[degree+1], ...) coefficients to those of d/dx_j: (offset[degree], ..., 6)."""
        shape = coefficients.shape[1:]
        out = np.zeros((self.offset[degree], *shape, 6))
        for d in range(1, degree + 1):
            block = coefficients[self.offset[d] : self.offset[d + 1]]
            low = slice(self.offset[d - 1], self.offset[d])
            for j in range(6):
                out[low, ..., j] += self.derivative(block, d, j)
        return out

    def derivative(self, block: np.ndarray, d: int, j: int) -> np.ndarray:
        """Coefficients (number of degree d, ...) to those of d/dx_j, (number of d - 1, ...)."""
        raised = self.raised[d][j]
        return self.powers[d][raised, j].reshape(-1, *[1] * (block.ndim - 1)) * block[raised]


@cache
def monomials(degree: int) -> _Monomials:
    """The monomials of degree 0 to `degree`, made once."""
    return _Monomials(degree)


def invariant_polynomials(group: SymmetryGroup, degree: int) -> np.ndarray:
    """Basis of the G-invariant homogeneous polynomials of E's six Mandel components.

    A point group: the Reynolds operator on the symmetric power of Mandel's six-space, built
    degree by degree from x_i x^b -> sum_j M_ij x_j (M x)^b; in the scaling where that
    representation is orthogonal its range is found without loss of digits. O(3) and SO(3): the
    products of tr E, tr E^2 and tr E^3, which generate all isotropic polynomials of a symmetric
    tensor.

    Args:
        group: a point group in the frame of E, or O(3) or SO(3).
        degree: of the polynomials.

    Returns:
        Coefficients of the monomials of that degree, shape (k, number of monomials).
    """
    if isinstance(group, PointGroup):
        return _invariants(group.operations.tobytes(), degree)
    return _isotropic(degree)


@lru_cache(maxsize=256)
def _invariants(operations: bytes, degree: int) -> np.ndarray:
    mono = monomials(degree)
    rotations = mandel_rotations(np.frombuffer(operations).reshape(-1, 3, 3))
    # E is even: g and -g rotate it alike, half of the operations of a Laue class will do.
    rotations = rotations[np.unique(np.round(rotations, 8), axis=0, return_index=True)[1]]
    rotations[np.abs(rotations) < 1e-14] = 0.0
    average = np.eye(len(mono.words[degree]))
    for representatives in _cosets(rotations):
        powers: list[Any] = [
            _symmetric_power(rotations[t].tobytes(), degree) for t in representatives
        ]
        if degree >= SPARSE:
            from scipy.sparse import csr_array  # slow to import

            powers = [csr_array(p) if np.mean(p != 0) < 0.1 else p for p in powers]
        average = sum(power @ average for power in powers) / len(powers)
    projector = average.T
    # Substitution acts on coefficients by the transpose; the norm of x^a is sqrt(a! / d!).
    norm = np.sqrt([multinomial(c) for c in mono.powers[degree]])
    return invariant_basis(projector / norm[:, None] * norm[None, :]) * norm


@lru_cache(maxsize=16)
def _symmetric_power(rotation: bytes, degree: int) -> np.ndarray:
    # Rows: the monomials of R x in those of x. Few entries, unless all of R's are other than zero.
    if degree == 0:
        return np.ones((1, 1))
    mono, R = monomials(degree), np.frombuffer(rotation).reshape(6, 6)
    tails = _symmetric_power(rotation, degree - 1)
    power = np.zeros((len(mono.words[degree]),) * 2)
    for j in range(6):
        factor = R[mono.first[degree], j]
        rows = np.flatnonzero(factor)
        part = factor[rows, None] * tails[mono.rest[degree][rows]]
        power[np.ix_(rows, mono.raised[degree][j])] += part
    return power


def _cosets(rotations: np.ndarray) -> list[list[int]]:
    """Numbers t of rotations such that each rotation is once a product of one t of each list.

    The average over the group is then the product of averages over the lists: for 24 rotations
    five factors instead of 23.
    """
    n = len(rotations)
    products = np.einsum("aij,bjk->abik", rotations, rotations)
    table = [
        [int(np.abs(rotations - product).sum((1, 2)).argmin()) for product in row]
        for row in products
    ]
    identity = int(np.abs(rotations - np.eye(6)).sum((1, 2)).argmin())

    def generated(members: set[int]) -> set[int]:
        while (grown := {table[a][b] for a in members for b in members}) != members:
            members = grown
        return members

    lists, subgroup = [], {identity}
    while len(subgroup) < n:
        outside = set(range(n)) - subgroup
        grown = min((generated(subgroup | {g}) for g in sorted(outside)), key=len)
        covered, representatives = set(subgroup), [identity]
        for t in sorted(grown):
            if t not in covered:
                representatives.append(t)
                covered |= {table[t][h] for h in subgroup}
        lists.append(representatives)
        subgroup = grown
    return lists


@lru_cache(maxsize=16)
def _isotropic(degree: int) -> np.ndarray:
    rows = []
    for cubes in range(degree // 3 + 1):
        for squares in range((degree - 3 * cubes) // 2 + 1):
            powers = (degree - 3 * cubes - 2 * squares, squares, cubes)
            row = np.ones(1)
            for k, power in enumerate(powers, start=1):
                for _ in range(power):
                    row = _multiply(row, _trace(k))
            rows.append(row)
    return np.array(rows)


def _trace(power: int) -> np.ndarray:
    """tr E^power in the monomials of that degree."""
    mono = monomials(power)
    index = {w: k for k, w in enumerate(mono.words[power])}
    out = np.zeros(len(index))
    for word in product(range(6), repeat=power):
        out[index[tuple(sorted(word))]] += np.trace(reduce(np.matmul, MANDEL[list(word)]))
    return out


def _multiply(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The product of two homogeneous polynomials; their degrees are read off their lengths."""
    degree_of = {comb(d + 5, 5): d for d in range(16)}
    left, right = degree_of[len(p)], degree_of[len(q)]
    words = monomials(left + right).words
    index = {w: k for k, w in enumerate(words[left + right])}
    out = np.zeros(len(index))
    for a, u in zip(p, words[left], strict=True):
        for b, v in zip(q, words[right], strict=True):
            if a and b:
                out[index[tuple(sorted(u + v))]] += a * b
    return out


def multinomial(counts: np.ndarray) -> float:
    """d! / (a_1! ... a_6!): the squared norm of x^a where rotations are orthogonal."""
    return factorial(int(counts.sum())) / prod(factorial(int(c)) for c in counts)


class InvariantPolynomial(nn.Module):
    r"""Energy density that is a G-invariant polynomial of the strain.

    .. math:: W(E) = \sum_k c_k \phi_k(E)

    with the invariants phi_k of degree `lowest` to `degree`.

    Args:
        group: the crystal's point group in the frame of E, or O(3) or SO(3).
        degree: highest degree in E.
        lowest: 2, or 1 to admit a residual stress (used to find the stress-free reference).
        dtype: of the coefficients, which are in GPa, shape (k,).
    """

    coefficients: Tensor

    def __init__(
        self,
        group: SymmetryGroup,
        degree: int,
        lowest: int = 2,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.degree, self.lowest = degree, lowest
        self._mono = monomials(degree)
        rows, self.degrees = [], []
        for d in range(lowest, degree + 1):
            block = invariant_polynomials(group, d)
            full = np.zeros((len(block), self._mono.offset[degree + 1]))
            full[:, self._mono.offset[d] : self._mono.offset[d + 1]] = block
            rows.append(full)
            self.degrees += [d] * len(block)
        self._basis = np.concatenate(rows).T
        self.register_buffer("coefficients", torch.zeros(len(self.degrees), dtype=dtype))
        self._tables: tuple[Tensor, Tensor] | None = None

    def set_coefficients(self, values: np.ndarray) -> None:
        """Set the coefficients.

        Args:
            values: one for each invariant, GPa, shape (k,).
        """
        self.coefficients.copy_(torch.as_tensor(values))
        self._tables = None

    def design(self, x: Tensor) -> np.ndarray:
        """Derivatives d phi_k / d x_a of the invariants, the design matrix of stresses.

        Args:
            x: Mandel strains, (n, 6).

        Returns:
            Shape (n, 6, k).
        """
        mono, degrees = self._mono, np.array(self.degrees)
        out = np.empty((len(x), 6, len(degrees)))
        for d, values in enumerate(mono.values(x.T, self.degree - 1), start=1):
            # The derivatives of degree d consist of the monomials of degree d - 1 alone.
            of_degree = np.flatnonzero(degrees == d)
            block = self._basis[mono.offset[d] : mono.offset[d + 1], of_degree]
            table = np.stack([mono.derivative(block, d, j) for j in range(6)])
            out[:, :, of_degree] = np.einsum("mn,jmk->njk", values.numpy(), table, optimize=True)
        return out

    def forward(self, x: Tensor, order: int = 1) -> tuple[Tensor, ...]:
        """Energy density and its derivatives with respect to Mandel strain.

        Args:
            x: (n, 6), E in Mandel form.
            order: 0, 1 or 2.

        Returns:
            W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6) up to `order`, GPa; views of tensors whose
            last axis is the points.
        """
        table, linear = self._evaluation_tables(x)
        x = x.T.contiguous()
        values = self._mono.values(x, max(self.degree - 2, 2))
        # Rows of 21 entries for W, then S, then H; those not asked for are left out.
        rows = table[: 21 * (order + 1)] @ torch.cat(values[: self.degree - 1])
        # The products x_a x_b with a <= b are the monomials of degree 2, in the same order.
        out = [(rows[:21] * values[2]).sum(0) + linear @ x]
        if order >= 1:
            half = rows[21:42][_WHOLE].view(6, 6, -1)
            out.append(((half * x).sum(1) + linear[:, None]).T)
        if order >= 2:
            out.append(rows[42:][_WHOLE].view(6, 6, -1).permute(2, 0, 1))
        return tuple(out)

    def terms(self) -> dict[tuple[int, ...], float]:
        """W as a sum of monomials: {(a, b, ...): c} for c x_a x_b ... with a <= b <= ..., GPa.

        Terms that the symmetry forbids, zero but for round-off, are left out.
        """
        out = {}
        energy = self._basis @ self.coefficients.numpy()
        for d in range(self.lowest, self.degree + 1):
            part = energy[self._mono.offset[d] : self._mono.offset[d + 1]]
            floor = 1e-13 * np.abs(part).max()
            for word, value in zip(self._mono.words[d], part, strict=True):
                if abs(value) > floor:
                    out[word] = float(value)
        return out

    def _evaluation_tables(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Euler: the part of degree d has S_d = H_d x / (d - 1) and W_d = x . S_d / d, so that the
        # 21 entries of H_d, over d (d - 1), over d - 1 and as they are, give W, S and H from
        # monomials of two degrees less. What is linear in x has no H and stands beside.
        made = self._tables
        if made is None or (made[0].dtype, made[0].device) != (x.dtype, x.device):
            energy = self._basis @ self.coefficients.cpu().numpy()
            gradient = self._mono.gradient(energy, self.degree)
            hessian = self._mono.gradient(gradient, self.degree - 1)
            rows, columns = np.array(_PAIRS).T
            entries = hessian[:, rows, columns].T
            degree = 2 + np.repeat(np.arange(self.degree - 1), np.diff(self._mono.offset)[:-2])
            twice = np.where(rows == columns, 1, 2)[:, None]  # x_a x_b stands for x_b x_a, too
            table = [twice * entries / (degree * (degree - 1)), entries / (degree - 1), entries]
            made = self._tables = x.new_tensor(np.concatenate(table)), x.new_tensor(gradient[0])
        return made
