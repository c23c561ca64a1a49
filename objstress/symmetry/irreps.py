"""Irreps of O(3) in e3nn's real basis: representation matrices, couplings, symmetric tensors.

An irrep is a pair (l, p): angular momentum l and parity p = +1 (even) or -1 (odd). e3nn's vectors
(l = 1, p = -1) are plain (x, y, z), so D^(1,-1)(R) = R.
"""

from __future__ import annotations

from functools import cache

import numpy as np

Irrep = tuple[int, int]

LMAX = 11
"""e3nn's spherical harmonics end here."""


def spherical_harmonics(l: int, vectors: np.ndarray) -> np.ndarray:
    """Real spherical harmonics Y_l(r / |r|) in e3nn's order, |Y_l|^2 = 2 l + 1 ("component").

    Args:
        l: degree, at most 11.
        vectors: (n, 3), any length but zero.

    Returns:
        Dimensionless, shape (n, 2l+1).
    """
    import torch
    from e3nn import o3

    points = torch.as_tensor(np.asarray(vectors, dtype=np.float64))
    return o3.spherical_harmonics(l, points, normalize=True, normalization="component").numpy()


@cache
def _sphere(l: int) -> tuple[np.ndarray, np.ndarray]:
    # Well-spread directions (a Fibonacci lattice) and the pseudo-inverse of Y_l on them.
    n = 6 * (2 * l + 1)
    k = np.arange(n) + 0.5
    z, angle = 1 - 2 * k / n, np.pi * (1 + 5**0.5) * k
    s = np.sqrt(1 - z * z)
    points = np.stack([s * np.cos(angle), s * np.sin(angle), z], axis=1)
    return points, np.linalg.pinv(spherical_harmonics(l, points))


def representation(irrep: Irrep, operations: np.ndarray) -> np.ndarray:
    """Representation matrices D^(l,p)(R), with Y_l(R r) = D Y_l(r) for natural parity.

    Solved from the harmonics themselves, because the route through Euler angles loses eight
    digits near the poles. D^(l,p)(-R) = p D^(l,p)(R).

    Args:
        irrep: (l, p), l <= 11.
        operations: orthogonal matrices (n, 3, 3), proper or not.

    Returns:
        Shape (n, 2l+1, 2l+1).
    """
    l, p = irrep
    operations = np.asarray(operations, dtype=np.float64).reshape(-1, 3, 3)
    sign = np.where(np.linalg.det(operations) > 0, 1.0, -1.0)
    points, inverse = _sphere(l)
    proper = operations * sign[:, None, None]
    rotated = np.einsum("nij,kj->nki", proper, points)
    values = spherical_harmonics(l, rotated.reshape(-1, 3)).reshape(
        len(operations), len(points), -1
    )
    # values[n, k] = D Y(points[k])  =>  D^T = pinv(Y) @ values[n]
    matrices = np.einsum("mk,nkj->njm", inverse, values)
    return np.where(sign > 0, 1.0, float(p))[:, None, None] * matrices


def character(irrep: Irrep, operations: np.ndarray) -> np.ndarray:
    r"""Characters of an irrep of O(3), a the angle of the proper part of R.

    .. math:: \chi^{(l,p)}(R) = \sin((l + 1/2) a) / \sin(a / 2)

    Args:
        irrep: (l, p); improper operations change the sign where p = -1.
        operations: orthogonal matrices (n, 3, 3), proper or not.

    Returns:
        Shape (n,).
    """
    l, p = irrep
    sign = np.where(np.linalg.det(operations) > 0, 1.0, -1.0)
    trace = sign * np.trace(operations, axis1=-2, axis2=-1)
    angle = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    total = 1 + 2 * sum(np.cos(m * angle) for m in range(1, l + 1)) if l else np.ones_like(angle)
    return np.where(sign > 0, 1.0, float(p)) * total


def couples(a: Irrep, b: Irrep, o: Irrep) -> bool:
    """Whether o is contained in a (x) b."""
    return o[1] == a[1] * b[1] and abs(a[0] - b[0]) <= o[0] <= a[0] + b[0]


@cache
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Clebsch-Gordan coupling w of e3nn's real basis, sum of squares one.

    Args:
        l1, l2, l3: degrees, |l1 - l2| <= l3 <= l1 + l2.

    Returns:
        Dimensionless, shape (2l1+1, 2l2+1, 2l3+1).
    """
    import torch
    from e3nn import o3

    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()


@cache
def symmetric_basis() -> np.ndarray:
    """Orthonormal change from a symmetric tensor to 0e + 2e, shape (6, 3, 3).

    x_m = B_m : E and E = sum_m x_m B_m; row 0 is I / sqrt(3), rows 1 to 5 are e3nn's l = 2.
    """
    deviator = coupling(1, 1, 2).transpose(2, 0, 1)
    deviator = deviator / np.linalg.norm(deviator[0])
    # The sign that makes Y_2(r) a positive multiple of B : r r.
    r = np.array([0.3, -0.5, 0.8])
    if np.einsum("mij,i,j,m->", deviator, r, r, spherical_harmonics(2, r[None])[0]) < 0:
        deviator = -deviator
    return np.concatenate([np.eye(3)[None] / np.sqrt(3), deviator])
