"""Group-restricted filters: [Y_l1(r) x t_l2]_l with the structural tensors t of the group."""

from __future__ import annotations

import numpy as np
import torch
from e3nn import o3
from torch import Tensor, nn

from objstress.symmetry.irreps import LMAX, Irrep, coupling
from objstress.symmetry.point_group import SymmetryGroup


class GroupFilter(nn.Module):
    r"""All angular functions of an edge that are equivariant under a group, irrep by irrep.

    .. math:: B^{(l,p)}_k(r) = [Y_{l_1}(r) \otimes t_{(l_2,p_2)}]_l, \qquad
        p = (-1)^{l_1} p_2, \qquad |l_1 - l| \le l_2 \le l_1 + l

    with every structural tensor t of the group. Under g in G: B(g r) = D^(l,p)(g) B(r). For
    l1 <= lmax the basis is complete: its size is the number of G-invariants in
    V_l1 (x) V_(l,p) (Schur). O(3) leaves l1 = l, l2 = 0, the ordinary filter.

    Args:
        group: O3, SO3 or a point group (its frame is the frame of the edges).
        irreps: the (l, p) wanted; those that get no function are dropped from `irreps`.
        lmax: largest l1 of the harmonics.
        dtype: of the result.
    """

    def __init__(
        self,
        group: SymmetryGroup,
        irreps: list[Irrep],
        lmax: int,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.group, self.lmax = group, lmax
        tensors = group.structural_tensors(min(LMAX, lmax + max(l for l, _ in irreps)))
        self.sizes: dict[Irrep, int] = {}
        for l, p in irreps:
            blocks = []
            for l1 in range(lmax + 1):
                for l2 in range(abs(l1 - l), min(l1 + l, LMAX) + 1):
                    for t in tensors[(l2, p * (-1) ** l1)]:
                        block = np.zeros((2 * l + 1, (lmax + 1) ** 2))
                        w = np.einsum("ijk,j->ki", coupling(l1, l2, l), t)
                        # |Y_l1|^2 = 2 l1 + 1: makes the mean square of B over the sphere one
                        # per component.
                        w = w * np.sqrt(2 * l + 1) / np.linalg.norm(w)
                        block[:, l1 * l1 : (l1 + 1) ** 2] = w
                        blocks.append(block)
            if blocks:
                self.sizes[(l, p)] = len(blocks)
                mixing = torch.tensor(np.stack(blocks), dtype=dtype)
                self.register_buffer(_name(l, p), mixing, persistent=False)

    @property
    def irreps(self) -> list[Irrep]:
        """The (l, p) that have a function."""
        return list(self.sizes)

    def mixing(self, irrep: Irrep) -> Tensor:
        """Matrix M of B = M Y, harmonics in e3nn's order, component-normalised.

        Args:
            irrep: (l, p), one of `irreps`.

        Returns:
            Shape (size, 2l+1, (lmax + 1)^2), dimensionless.
        """
        return getattr(self, _name(*irrep))

    def forward(self, vectors: Tensor) -> dict[Irrep, Tensor]:
        """Edge vectors (..., 3), none zero, to {(l, p): (..., size, 2l+1)}."""
        harmonics = o3.spherical_harmonics(
            list(range(self.lmax + 1)), vectors, normalize=True, normalization="component"
        )
        return {
            (l, p): torch.einsum("kmh,...h->...km", getattr(self, _name(l, p)), harmonics)
            for l, p in self.sizes
        }


def _name(l: int, p: int) -> str:
    return f"mixing_{l}{'e' if p == 1 else 'o'}"
