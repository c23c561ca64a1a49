"""Property tensors as irreps of O(3): changes of basis between components and (l, p)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from objstress.errors import InputError
from objstress.symmetry.irreps import Irrep, couples, coupling

EXCHANGES: dict[str, tuple[tuple[int, ...], ...]] = {
    "dielectric": ((0, 1), (1, 0)),
    "piezoelectric": ((0, 1, 2), (0, 2, 1)),
    "elastic": (
        (0, 1, 2, 3), (1, 0, 2, 3), (0, 1, 3, 2), (1, 0, 3, 2),
        (2, 3, 0, 1), (3, 2, 0, 1), (2, 3, 1, 0), (3, 2, 1, 0),
    ),
    "born charges": ((0, 1),),
}  # fmt: skip
"""Kind of tensor -> the orders of its indices that leave it as it is."""


@lru_cache(maxsize=8)
def tensor_irreps(kind: str) -> tuple[tuple[Irrep, ...], np.ndarray]:
    """Irreps of the tensors of one kind, and an orthonormal basis of their components.

    All couplings of the indices, one by one, to each (l, p), made symmetric under the exchanges;
    what is left of them is orthonormalised, the same way for all 2l+1 components (Schur).

    Args:
        kind: "elastic", "dielectric", "piezoelectric" or "born charges".

    Returns:
        (l, p), one after the other, equal ones more than once; and (width, 3, ..., 3), width the
        sum of 2l + 1: T = sum_m x_m B_m and x_m = B_m . T.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in EXCHANGES:
        raise InputError(f"unknown kind of tensor {kind!r}: give one of {', '.join(EXCHANGES)}")
    orders = EXCHANGES[kind]
    rank = len(orders[0])
    paths: list[tuple[Irrep, np.ndarray]] = [((1, -1), np.eye(3))]
    for _ in range(rank - 1):
        longer = []
        for irrep, tensor in paths:
            for l in range(irrep[0] + 2):
                result = (l, -irrep[1])
                if couples(irrep, (1, -1), result):
                    w = coupling(irrep[0], 1, l) * np.sqrt(2 * l + 1)
                    longer.append((result, np.einsum("a...,aim->m...i", tensor, w)))
        paths = longer
    irreps: list[Irrep] = []
    basis: list[np.ndarray] = []
    for irrep in sorted({i for i, _ in paths}):
        tensors = np.array([t for i, t in paths if i == irrep])
        same = np.mean(
            [tensors.transpose(0, 1, *(k + 2 for k in order)) for order in orders], axis=0
        )
        size = 2 * irrep[0] + 1
        gram = tensors.reshape(len(tensors), -1) @ same.reshape(len(tensors), -1).T / size
        values, vectors = np.linalg.eigh(gram)
        for vector in vectors.T[values > 0.5]:
            irreps.append(irrep)
            block = np.tensordot(vector, same, axes=1)
            basis.append(block * np.sqrt(size) / np.linalg.norm(block))
    components = np.concatenate(basis)
    components.setflags(write=False)
    return tuple(irreps), components
