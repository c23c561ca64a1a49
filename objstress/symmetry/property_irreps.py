"""Property tensors as irreps of O(3): changes of basis between components and (l, p)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from objstress.errors import InputError
from objstress.symmetry.irreps import Irrep, couples, coupling
from objstress.symmetry.point_group import invariant_basis

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

MIXTURES: dict[tuple[str, Irrep], tuple[tuple[float, ...], ...]] = {
    ("piezoelectric", (1, -1)): (
        (-0.28042315, -0.86390755, 0.41836181),
        (0.76683083, 0.06052894, 0.63898883),
    ),
    ("piezoelectric", (2, -1)): ((-0.86602540, -0.5),),
    ("elastic", (0, 1)): ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
    ("elastic", (2, 1)): (
        (-0.24578293, 0.0, 0.0, 0.44480186, 0.85804241, 0.07419766),
        (-0.66301640, 0.0, 0.0, -0.50214670, 0.11731680, -0.54267367),
    ),
}
"""Which mixtures of the couplings of a kind the weights in files refer to, where there are several;
to eight digits, which say which, see `_orthonormal`."""


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
        for vector in _orthonormal(gram, MIXTURES.get((kind, irrep))):
            irreps.append(irrep)
            block = np.tensordot(vector, same, axes=1)
            basis.append(block * np.sqrt(size) / np.linalg.norm(block))
    components = np.concatenate(basis)
    components.setflags(write=False)
    return tuple(irreps), components


def _orthonormal(
    projector: np.ndarray, mixtures: tuple[tuple[float, ...], ...] | None
) -> np.ndarray:
    """Orthonormal rows that span a projector's range, (k, n), the same on every machine.

    Eigenvectors would not do: where they share an eigenvalue, LAPACK chooses by the processor.
    """
    if mixtures is None:
        return invariant_basis(projector)
    rows: list[np.ndarray] = []
    for mixture in np.array(mixtures) @ projector:
        for row in rows:
            mixture = mixture - (mixture @ row) * row
        rows.append(mixture / np.linalg.norm(mixture))
    return np.array(rows)
