"""The energy of a ligand's pose in a protein's site: one function of all poses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from objstress.docking.complex import Complex
from objstress.docking.site import FEATURES, contact_distances
from objstress.docking.torsions import torsion_energy
from objstress.errors import InputError
from objstress.graphs.neighbours import NeighbourTable
from objstress.io.weights import read_tensors, rebuilding, write_tensors
from objstress.models.atom_network import AtomNetwork, AtomNetworkSettings
from objstress.nn.readout import ScalarReadout

CENTRES = (-0.4, 0.4, 1.5, 3.0)
WIDTHS = (0.9, 1.0, 1.4, 1.8)
"""Angstrom beyond contact: where the bumps stand, and where each ends."""
REACH = CENTRES[-1] + WIDTHS[-1]
"""Angstrom beyond contact: pairs farther apart add nothing."""
CORE = 1.0
"""kcal/mol/Angstrom^2 of overlap, less than which no learned part can make it."""
LARGEST = 0.6
"""kcal/mol, of one bump of one pair."""
BLOCK = 1_000_000
"""Pairs looked at in one go."""


@dataclass(frozen=True, kw_only=True)
class PoseEnergySettings(AtomNetworkSettings):
    """Size of the encoders of ligand and site; see `AtomNetworkSettings`.

    Attributes:
        scores: width of the vectors that pair scores are made of.
    """

    group: str = "SO(3)"
    scores: int = 16
    channels: int = 16
    hidden_lmax: int = 0
    edge_lmax: int = 2
    later_lmax: int = 2
    neighbours: float = 8.0

    def __post_init__(self):
        self.check(0, "an encoder")
        if self.group != "SO(3)" or self.hidden_lmax != 0:
            raise InputError(
                f"group = {self.group!r}, hidden_lmax = {self.hidden_lmax}: an encoder needs "
                "SO(3), which tells left from right, and 0, so that torsions do not change it"
            )


class Encoder(AtomNetwork):
    """Scalars of each atom, (n, scores), from its features and those of its surroundings."""

    def __init__(self, settings: PoseEnergySettings, dtype: torch.dtype):
        super().__init__()
        self.settings = s = settings
        self._make_features(s, len(FEATURES), [(0, 1)], both=True, dtype=dtype)
        self.read = ScalarReadout(s.channels, s.readout, s.scores, dtype)
        self.own = nn.Linear(len(FEATURES), s.scores, dtype=dtype)

    def forward(self, graph: Data) -> Tensor:
        dtype = self.own.weight.dtype
        batch = torch.zeros(int(graph.num_nodes), dtype=torch.int64, device=graph.pos.device)
        table = NeighbourTable(graph)
        vectors = table.vectors(graph.pos, graph.cell, batch, 2 * self.settings.cutoff).to(dtype)
        features = graph.features.to(dtype)
        layers, _, _ = self._features(features, vectors, table)
        return self.own(features) + self.read(layers[-1][:, :, 0].T)


class PoseEnergy(nn.Module):
    r"""E(x) = sum_ij [ h o_ij^2 + sum_k c_kij g_k(d_ij) ]  +  V_torsions + h' sum_ab o'_ab^2

        d_ij = |x_i - y_j| - R_ij,   o = max(0, -d),   h, h' = CORE + softplus(.) >= CORE
        g_k(d) = (1 - ((d - m_k) / w_k)^2)^3 where positive, else 0
        c_kij = LARGEST tanh( a_i . W_k b_j )

    over ligand atoms i and site atoms j; R_ij is where they touch, `contact_distances`, nearer for
    a hydrogen bond's two. o' is the overlap within 0.8 (R_a + R_b) of atoms a, b of the ligand (and
    of side chains that move) that torsions bring together. a_i and b_j are scalars of two encoders
    equivariant under SO(3); the ligand's sees bonded atoms and those of the same rigid piece, whose
    places about one atom no torsion changes: E depends on the pose and not on the conformer one
    starts from.
    Invariant under any common motion of ligand and site. Energies in kcal/mol on the training's
    scale, zero for a ligand far away, at its torsions' best.

    No bump reaches atoms that overlap by 1.3 Angstrom or more: whatever the weights, they repel.
    Trott and Olson,
    J. Comput. Chem. 31, 455 (2010), for distances from contact.

    Attributes:
        metadata: facts of the training.
    """

    centres: Tensor
    widths: Tensor

    def __init__(self, settings: PoseEnergySettings, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.settings = settings
        self.metadata: dict[str, Any] = {}
        self.ligand, self.site = Encoder(settings, dtype), Encoder(settings, dtype)
        n, s = len(CENTRES), settings.scores
        self.mix = nn.Parameter(0.3 * torch.randn(n, s, s, dtype=dtype) / s)
        self.stiff = nn.Parameter(torch.zeros(2, dtype=dtype))
        for name, values in (("centres", CENTRES), ("widths", WIDTHS)):
            self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        return self.mix.dtype

    def field(self, complex_: Complex) -> PoseField:
        """What all poses of a complex share; the encoders run here, once."""
        a, b = self.ligand(complex_.ligand), self.site(complex_.site)
        scores = LARGEST * torch.tanh(torch.einsum("is,kst,jt->ijk", a, self.mix, b))
        core, inner = CORE + nn.functional.softplus(self.stiff)
        return PoseField(complex_, scores, core, inner, self.centres, self.widths)

    def save(self, path: str | Path) -> None:
        """Write to one file, whole or not at all; `load_pose_energy` reads it."""
        description = {
            "kind": "pose energy",
            "dtype": str(self.dtype).removeprefix("torch."),
            "settings": asdict(self.settings),
            "metadata": self.metadata,
        }
        write_tensors(path, description, self.state_dict())


class PoseField:
    """The energy of all poses of one ligand in one site, `PoseEnergy.field`.

    Args:
        scores: (n, m, k).
        core, inner: kcal/mol/Angstrom^2, of the site and within the ligand.
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
        # Where pairs of a ligand's atom are in `scores`: with the atoms that stay, and the others.
        stays = torch.ones(m, dtype=torch.bool)
        stays[carried] = False
        self.fixed = stays.nonzero()[:, 0]
        self.site = site.pos[self.fixed]
        first = m * torch.arange(n)[:, None]
        self.fixed_pairs, self.carried_pairs = first + self.fixed, (first + carried).flatten()
        radii = torch.cat([ligand.radii, site.radii[carried]])
        # Of pairs (i, j) that must not overlap; none of the others is nearer than nothing.
        self.closest = torch.zeros(len(radii), len(radii), dtype=torch.float64)
        self.closest[tuple(complex_.inner)] = 0.8 * radii[complex_.inner].sum(0)
        j, s = complex_.walls
        self.closest_walls = 0.8 * (radii[j] + site.radii[s])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies and their gradients; both are differentiable by the weights, not by x.

        Args:
            x: (b, n + f, 3) Angstrom, in the site's frame, float64.

        Returns:
            (b,) kcal/mol and (b, n + f, 3) kcal/mol/Angstrom, float64.
        """
        n = len(self.complex.ligand.pos)
        step = max(1, BLOCK // max(1, n * len(self.site)))
        parts = [self._pairs(x[k : k + step, :n]) for k in range(0, len(x), step)]
        energy, force = self._strain(x)
        energy = energy + torch.cat([e for e, _ in parts])
        pull = torch.cat([f for _, f in parts])
        if x.shape[1] > n:
            e, on_ligand, on_carried = self._carried(x[:, :n], x[:, n:])
            energy, pull = energy + e, torch.cat([pull + on_ligand, on_carried], dim=1)
        return energy, force + pull

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b, n, _ = x.shape
        m = len(self.site)
        # Few pairs are near: the rest costs one matrix product, and no more.
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
        """Of the ligand with atoms that move: energy, and gradients on both."""
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

    def _strain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c = self.complex
        force = torch.zeros_like(x)
        energy = x.new_zeros(len(x))
        if c.inner.shape[1]:
            # Few of them overlap: the rest costs one matrix product.
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


def load_pose_energy(path: str | Path) -> PoseEnergy:
    """The model in a file.

    Raises:
        InputError: no such file, damaged, something else, or of a newer format.
    """
    description, tensors = read_tensors(path, "pose energy")
    if description.get("kind") != "pose energy":
        raise InputError(f"{path}: a {description.get('kind')}, not a pose energy")
    with rebuilding(path, "pose energy"):
        settings = PoseEnergySettings(**description["settings"])
        model = PoseEnergy(settings, getattr(torch, description["dtype"]))
        model.load_state_dict(tensors)
        model.metadata = description["metadata"]
    return model.eval()
