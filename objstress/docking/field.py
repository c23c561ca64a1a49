"""The energy of all poses of one ligand in one site, pair by pair."""

from __future__ import annotations

import torch
from torch import Tensor

from objstress.docking.complex import Complex
from objstress.docking.heavy_atoms import contact_distances
from objstress.docking.torsions import torsion_energy

CENTRES = (-0.4, 0.4, 1.5, 3.0)
WIDTHS = (0.9, 1.0, 1.4, 1.8)
"""Angstrom beyond contact: the centre and the half-width of each bump."""
REACH = CENTRES[-1] + WIDTHS[-1]
"""Angstrom beyond contact; pairs farther apart add nothing."""
BLOCK = 1_000_000
"""Pairs computed at once."""


class PoseField:
    r"""The energy of all poses of one ligand in one site, and its gradient.

    The formula is that of `PoseEnergy`, whose `field` makes it, with the scores c_kij of the pairs
    given: `physical_field` gives others.

    Args:
        complex_: ligand and site.
        scores: (n, m, k) kcal/mol, of n ligand atoms, m site atoms and k bumps.
        core: kcal/mol/Angstrom^2, stiffness of overlaps with the site.
        inner: kcal/mol/Angstrom^2, stiffness of overlaps within the ligand.
        centres: (k,) Angstrom beyond contact, of the bumps.
        widths: (k,) Angstrom, half of each bump.
    """

    def __init__(
        self,
        complex_: Complex,
        scores: Tensor,
        core: Tensor,
        inner: Tensor,
        centres: Tensor,
        widths: Tensor,
    ):
        self.complex, self.core, self.inner = complex_, core, inner
        self.scores = scores.flatten(0, 1)
        self.centres, self.widths = centres, widths
        ligand, site, carried = complex_.ligand, complex_.site, complex_.carried
        self.contact = contact_distances(ligand, site).to(core.dtype).flatten()
        self.reach = float(self.contact.max()) + REACH
        n, m = len(ligand.pos), len(site.pos)
        # Rows of `scores` of the ligand's pairs: with atoms that stay, and with the carried ones.
        stays = torch.ones(m, dtype=torch.bool)
        stays[carried] = False
        self.fixed = stays.nonzero()[:, 0]
        self.site = site.pos[self.fixed]
        first = m * torch.arange(n)[:, None]
        self.fixed_pairs, self.carried_pairs = first + self.fixed, (first + carried).flatten()
        radii = torch.cat([ligand.radii, site.radii[carried]])
        # Nearest distance of pairs (i, j) that must not overlap; zero for all others.
        self.closest = torch.zeros(len(radii), len(radii), dtype=torch.float64)
        self.closest[tuple(complex_.inner)] = 0.8 * radii[complex_.inner].sum(0)
        j, s = complex_.walls
        self.closest_walls = 0.8 * (radii[j] + site.radii[s])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies and their gradients; both are differentiable by the weights, not by x.

        Args:
            x: (b, n + f, 3) Angstrom, in the site's frame, float64.

        Returns:
            Energies (b,) in kcal/mol and gradients (b, n + f, 3) in kcal/mol/Angstrom, float64.
        """
        n = len(self.complex.ligand.pos)
        step = max(1, BLOCK // max(1, n * len(self.site)))
        parts = [self.site_energy(x[k : k + step, :n]) for k in range(0, len(x), step)]
        energy, force = self.strain(x)
        energy = energy + torch.cat([e for e, _ in parts])
        pull = torch.cat([f for _, f in parts])
        if x.shape[1] > n:
            e, on_ligand, on_carried = self._carried(x[:, :n], x[:, n:])
            energy, pull = energy + e, torch.cat([pull + on_ligand, on_carried], dim=1)
        return energy, force + pull

    def site_energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies of the ligand with the site's atoms that stay, and their gradients.

        Args:
            x: (b, n, 3) Angstrom, the ligand's atoms.

        Returns:
            Energies (b,) in kcal/mol and gradients (b, n, 3) in kcal/mol/Angstrom.
        """
        b, n, _ = x.shape
        m = len(self.site)
        # Few pairs are near; the others cost no more than one matrix product.
        flat, centre = x.reshape(-1, 3), self.site.mean(0)
        u, v = flat - centre, self.site - centre
        square = torch.addmm(v.square().sum(1), u, v.T, alpha=-2).add_(u.square().sum(1)[:, None])
        where = (square < (self.reach + 1e-3) ** 2).flatten().nonzero()[:, 0]
        atom = where.div(m, rounding_mode="floor")
        pair = self.fixed_pairs.flatten()[where.remainder(n * m)]
        energy, pull = self._pair(flat[atom] - self.site[where.remainder(m)], pair)
        return (
            x.new_zeros(b * n).index_add(0, atom, energy).view(b, n).sum(1),
            x.new_zeros(b * n, 3).index_add(0, atom, pull).view(b, n, 3),
        )

    def _carried(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy of the ligand with the carried atoms, and its gradients on both."""
        b, n, f = len(x), x.shape[1], y.shape[1]
        apart = x[:, :, None] - y[:, None]
        energy, pull = self._pair(apart.reshape(-1, 3), self.carried_pairs.repeat(b))
        pull = pull.view(b, n, f, 3)
        return energy.view(b, -1).sum(1), pull.sum(2), -pull.sum(1)

    def _pair(self, apart: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """(p,) energies of pairs and (p, 3) gradients on the ligand's atom, float64."""
        length = apart.square().sum(-1).add(1e-12).sqrt()
        d = length.to(self.core.dtype) - self.contact[pair]
        t = (d[:, None] - self.centres) / self.widths
        bump = (1 - t * t).clamp_min(0)
        score = self.scores[pair]
        overlap = (-d).clamp_min(0)
        energy = self.core * overlap.square() + (score * bump**3).sum(1)
        slope = -2 * self.core * overlap - (score * (6 / self.widths) * t * bump.square()).sum(1)
        return energy.double(), ((slope / length)[:, None] * apart).double()

    def strain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies of torsions and overlaps within the pose and of side chains with the site.

        Args:
            x: (b, n + f, 3) Angstrom.

        Returns:
            Energies (b,) in kcal/mol and gradients (b, n + f, 3) in kcal/mol/Angstrom.
        """
        c = self.complex
        force = torch.zeros_like(x)
        energy = x.new_zeros(len(x))
        if c.inner.shape[1]:
            # Few of them overlap; the others cost no more than one matrix product.
            u = x - x.mean(1, keepdim=True)
            size = u.square().sum(-1)
            square = size[:, :, None] + size[:, None] - 2 * u @ u.mT
            b, i, j = (square < self.closest.square() - 1e-9).nonzero().unbind(1)
            e, pull = self._repulsion(x[b, i] - x[b, j], self.closest[i, j])
            energy = energy.index_add(0, b, e)
            force = force.index_put((b, i), pull, accumulate=True)
            force = force.index_put((b, j), -pull, accumulate=True)
        if c.walls.shape[1]:
            j, s = c.walls
            e, pull = self._repulsion(x[:, j] - c.site.pos[s], self.closest_walls)
            energy, force = energy + e.sum(1), force.index_add(1, j, pull)
        if len(c.torsions):
            e, f = torsion_energy(x, c.torsions, c.torsion_terms)
            energy, force = energy + e, force + f
        return energy, force

    def _repulsion(self, apart: Tensor, closest: Tensor) -> tuple[Tensor, Tensor]:
        """(...) energies of pairs and (..., 3) gradients on the first of each."""
        length = apart.norm(dim=-1).clamp_min(1e-6)
        overlap = (closest - length).clamp_min(0)
        inner = self.inner.double()
        return inner * overlap.square(), (-2 * inner * overlap / length)[..., None] * apart
