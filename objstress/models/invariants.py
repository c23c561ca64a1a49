"""Invariants of a group: polynomials of strain, and of strain and electric field."""

from __future__ import annotations

from functools import lru_cache, reduce
from itertools import product
from math import comb, isqrt
from typing import Any

import numpy as np

from objstress.models.monomial_tables import monomials, multinomial
from objstress.symmetry.point_group import O3, PointGroup, SymmetryGroup, invariant_basis
from objstress.symmetry.voigt import MANDEL, mandel_rotations

SPARSE = 7
"""Degree from which matrices of few entries are multiplied as such."""


def invariant_polynomials(group: SymmetryGroup, degree: int, field: int = 0) -> np.ndarray:
    r"""Basis of the polynomials of E and an electric field E0 that a group leaves unchanged.

    .. math:: \phi(g^T E g, g^T E_0) = \phi(E, E_0) \quad \text{for all } g \in G

    Homogeneous in the six Mandel components of E, and in the three of E0. A point group: the
    Reynolds operator on products of symmetric powers of both spaces, built degree by degree from
    x_i x^b -> sum_j M_ij x_j (M x)^b; in the scaling where that representation is orthogonal its
    range is found without loss of digits. A field tells improper operations from proper ones, a
    strain does not. O(3) and SO(3) without a field: the products of tr E, tr E^2 and tr E^3,
    which generate all isotropic polynomials of a symmetric tensor; with one, what two turns leave
    that generate them.

    Args:
        group: a point group in the frame of E, or O(3) or SO(3).
        degree: in E.
        field: degree in E0.

    Returns:
        Coefficients, shape (k, number of products): of the monomials of E, each times all of E0.
    """
    if isinstance(group, PointGroup):
        return _invariants(group.operations.tobytes(), degree, field)
    if field:
        return _of_turns(degree, field, group == O3)
    return _isotropic(degree)


@lru_cache(maxsize=256)
def _invariants(operations: bytes, degree: int, field: int) -> np.ndarray:
    turns = np.frombuffer(operations).reshape(-1, 3, 3)
    rotations = np.zeros((len(turns), 9, 9))
    rotations[:, :6, :6] = mandel_rotations(turns)
    if field:
        rotations[:, 6:, 6:] = turns
    else:
        rotations = rotations[:, :6, :6]
    # E is even: g and -g rotate it alike, half of the operations of a Laue class will do.
    rotations = rotations[np.unique(np.round(rotations, 8), axis=0, return_index=True)[1]]
    rotations[np.abs(rotations) < 1e-14] = 0.0
    average: Any = np.eye(len(_norms(degree, field)))
    for representatives in _cosets(rotations):
        powers: list[Any] = [_power(rotations[t], degree, field) for t in representatives]
        if degree >= SPARSE:
            from scipy.sparse import csr_array  # slow to import

            powers = [csr_array(p) if np.mean(p != 0) < 0.1 else p for p in powers]
        average = sum(power @ average for power in powers) / len(representatives)
    return _range(average.T, degree, field)


def _range(projector: np.ndarray, degree: int, field: int) -> np.ndarray:
    # Substitution acts on coefficients by the transpose; the norm of x^a is sqrt(a! / d!).
    norm = _norms(degree, field)
    return invariant_basis(projector / norm[:, None] * norm[None, :]) * norm


def _norms(degree: int, field: int) -> np.ndarray:
    parts = (monomials(degree).powers[degree], monomials(field, 3).powers[field])
    return np.kron(*(np.sqrt([multinomial(c) for c in part]) for part in parts))


def _power(rotation: np.ndarray, degree: int, field: int) -> np.ndarray:
    """The products of monomials of (M x, g e) in those of (x, e); M and g are diagonal blocks."""
    power = _symmetric_power(np.ascontiguousarray(rotation[:6, :6]).tobytes(), degree)
    if not field:
        return power
    return np.kron(power, _symmetric_power(np.ascontiguousarray(rotation[6:, 6:]).tobytes(), field))


@lru_cache(maxsize=16)
def _symmetric_power(rotation: bytes, degree: int) -> np.ndarray:
    # Rows: the monomials of R x in those of x. Few entries, unless all of R's are other than zero.
    if degree == 0:
        return np.ones((1, 1))
    flat = np.frombuffer(rotation)
    variables = isqrt(len(flat))
    mono, R = monomials(degree, variables), flat.reshape(variables, variables)
    tails = _symmetric_power(rotation, degree - 1)
    power = np.zeros((len(mono.words[degree]),) * 2)
    for j in range(variables):
        factor = R[mono.first[degree], j]
        rows = np.flatnonzero(factor)
        part = factor[rows, None] * tails[mono.rest[degree][rows]]
        power[np.ix_(rows, mono.raised[degree][j])] += part
    return power


@lru_cache(maxsize=64)
def _of_turns(degree: int, field: int, inversion: bool) -> np.ndarray:
    """Invariants of all rotations: eigenvectors of the mean of two that generate them."""
    norm = _norms(degree, field)
    if inversion and field % 2:
        return np.zeros((0, len(norm)))
    c, s = np.cos(1.0), np.sin(1.0)  # by a radian about x and z
    turns = np.array([[[1, 0, 0], [0, c, -s], [0, s, c]], [[c, -s, 0], [s, c, 0], [0, 0, 1]]])
    mean = np.zeros((len(norm), len(norm)))
    for turn, m in zip(turns, mandel_rotations(turns), strict=True):
        power = np.kron(
            _symmetric_power(m.tobytes(), degree), _symmetric_power(turn.tobytes(), field)
        )
        mean += power * norm[:, None] / norm[None, :] / 2
    values, vectors = np.linalg.eigh((mean + mean.T) / 2)
    kept = vectors[:, values > 1 - 1e-9]
    return invariant_basis(kept @ kept.T) * norm


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
    identity = int(np.abs(rotations - np.eye(rotations.shape[-1])).sum((1, 2)).argmin())

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
