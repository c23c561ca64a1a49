"""The energy of poses from a grid: its cost does not depend on the size of the site."""

from __future__ import annotations

import torch
from torch import Tensor

from objstress.docking.field import PoseField

SPACING = 0.4
"""Angstrom between points."""
BEYOND = 1.0
"""Angstrom by which the grid goes beyond the box; farther out the energy keeps its border value."""
BLOCK = 6
"""Points along each edge of the blocks that are computed together."""


class GridField(PoseField):
    r"""A `PoseField` whose part from the site is interpolated in a grid.

    .. math::

        \varphi_i(x) = \sum_j \Big[ h\, o_{ij}^2 + \sum_k c_{kij}\, g_k(d_{ij}) \Big]
            \approx \sum_c w_c(x)\, \varphi_i(x_c)

    for each ligand atom i, over the corners c of the grid's cell that holds x; w_c are trilinear
    weights, as in AutoDock Vina (Trott and Olson, J. Comput. Chem. 31, 455 (2010)). Energies are
    continuous and their gradients those of the interpolation. What does not come from atoms that
    stay (the ligand's strain, side chains that move) is exact.

    Args:
        field: the energy that is interpolated.
        centre: (3,) Angstrom, of the box.
        size: (3,) Angstrom, of the box.
    """

    def __init__(self, field: PoseField, centre: Tensor, size: Tensor):
        vars(self).update(vars(field))  # all but `site_energy` is that of the field
        self.low = centre - size / 2 - BEYOND
        self.points = ((size + 2 * BEYOND) / SPACING).ceil().long() + 1
        self.values = self._values()

    def _values(self) -> Tensor:
        """phi of each ligand atom at each point, (n, X * Y * Z) kcal/mol, float32."""
        c = self.complex
        n, m = len(c.ligand.pos), len(c.site.pos)
        scores = self.scores.view(n, m, -1)[:, self.fixed].float()
        stay, core = self.site - self.low, self.core.float()
        centres, widths = self.centres.float(), self.widths.float()
        values = torch.zeros(n, *self.points.tolist())
        # Atoms of the ligand that touch all of the site at the same distances share their bumps.
        contact = self.contact.view(n, m)[:, self.fixed].float()
        rows, kind = contact.unique(dim=0, return_inverse=True)
        kinds = [(row, (kind == k).nonzero()[:, 0]) for k, row in enumerate(rows)]
        ranges = [range(0, int(p), BLOCK) for p in self.points]
        for a, b, d in torch.cartesian_prod(*(torch.tensor(r) for r in ranges)).tolist():
            part = values[:, a : a + BLOCK, b : b + BLOCK, d : d + BLOCK]
            axes = [torch.arange(s, s + w) for s, w in zip((a, b, d), part.shape[1:], strict=True)]
            at = SPACING * torch.cartesian_prod(*axes).double()
            middle = (at[0] + at[-1]) / 2
            far = self.reach + (at[0] - middle).norm()
            near = ((stay - middle).norm(dim=1) < far).nonzero()[:, 0]
            if not len(near):
                continue
            apart = torch.cdist(at, stay[near]).float()
            for row, atoms in kinds:
                gap = apart - row[near]
                t = (gap[..., None] - centres) / widths
                bumps = (1 - t * t).clamp_min_(0).pow_(3).flatten(1)
                phi = scores[atoms[:, None], near].flatten(1) @ bumps.T
                phi += core * gap.clamp_max(0).square().sum(1)
                part[atoms] = phi.view(-1, *part.shape[1:])
        return values.flatten(1)

    def site_energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u = (x - self.low) / SPACING
        inside = torch.minimum(u.clamp_min(0), self.points.double() - 1 - 1e-6)
        cell = inside.floor()
        i = cell.long()
        _, p, q = self.points.tolist()
        first = (i[..., 0] * p + i[..., 1]) * q + i[..., 2]
        steps = torch.tensor([0, 1, q, q + 1, p * q, p * q + 1, p * q + q, p * q + q + 1])
        atom = torch.arange(x.shape[1])[:, None]
        v = self.values[atom, first[..., None] + steps].double().unflatten(-1, (2, 2, 2))
        w = torch.stack([1 - (inside - cell), inside - cell], dim=-1)
        wx, wy, wz = w[:, :, 0], w[:, :, 1, None], w[:, :, 2, None, None]
        # Along z, then y, then x; d is the difference of the two ends.
        z, dz = (v * wz).sum(-1), v[..., 1] - v[..., 0]
        y, dy, dzy = (z * wy).sum(-1), z[..., 1] - z[..., 0], (dz * wy).sum(-1)
        slope = torch.stack([y[..., 1] - y[..., 0], (dy * wx).sum(-1), (dzy * wx).sum(-1)], dim=-1)
        return (y * wx).sum((1, 2)), slope / SPACING * (u == inside)
