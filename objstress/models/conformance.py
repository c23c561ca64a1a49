"""Exactly the group: that a network has its symmetry, and no operation more.

Measured on a lone node of a lattice that is more symmetric than the group (cubic, hexagonal with c
along z or y, or cubic with [111] along z), where the filters alone carry the symmetry. An energy of
C is even under inversion, so it tells Laue classes apart and no more; the convolution tells all
groups apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from objstress.graphs.crystals import crystal_graph, shell_cutoff
from objstress.graphs.lone_nodes import host_lattices
from objstress.graphs.pairs import EdgePairs
from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
from objstress.nn.convolution import Features, GroupConvolution
from objstress.nn.filters import GroupFilter
from objstress.nn.radial import BesselBasis, smooth_cutoff
from objstress.symmetry.irreps import Irrep, representation
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.supergroups import contains, minimal_supergroups
from objstress.symmetry.voigt import mandel_rotations

if TYPE_CHECKING:
    from pymatgen.core import Structure

IRREPS: list[Irrep] = [(l, p) for l in range(3) for p in (1, -1)]


def supergroups(group: PointGroup) -> list[PointGroup]:
    """Minimal crystallographic supergroups of a group in standard setting."""
    return minimal_supergroups(group, [host for _, host in host_lattices().values()])


def random_convolution(group: PointGroup, structure: Structure, seed: int = 0):
    """x -> GroupConvolution with random weights, both parities in and out, l <= 2."""
    cutoff = shell_cutoff(structure)
    graph = crystal_graph(structure, cutoff)
    pairs = EdgePairs(graph)
    filters = GroupFilter(group, [(l, p) for l in range(5) for p in (1, -1)], lmax=4)
    length = pairs.vectors.norm(dim=-1)
    radial = BesselBasis(4, cutoff)(length) * smooth_cutoff(length, cutoff)[..., None]
    radial = (radial * pairs.mask[..., None])[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = GroupConvolution(IRREPS, filters.sizes, IRREPS, 3, 3, 4, graph.num_edges)
    basis = filters(pairs.vectors)

    def apply(x: Features) -> Features:
        batch = next(iter(x.values())).shape[1]
        with torch.no_grad():
            return layer(x, radial.expand(-1, batch, -1, -1), basis, pairs)

    return apply


def convolution_violation(
    group: PointGroup, structure: Structure, operations: np.ndarray
) -> np.ndarray:
    """|conv(D(g) x) - D(g) conv(x)| / |conv(x)| for each operation, random weights and x, (n,)."""
    apply = random_convolution(group, structure)
    generator = torch.Generator().manual_seed(1)
    # The operations are the batch: x rotated by each of them, and the results rotated back.
    n = len(operations)
    x = {
        o: torch.randn(1, 1, 3, 2 * o[0] + 1, dtype=torch.float64, generator=generator)
        for o in IRREPS
    }
    rotated = apply({o: _act(o, operations, v) for o, v in x.items()})
    plain = apply(x)
    gap = torch.zeros(n, dtype=torch.float64)
    for o, value in plain.items():
        gap += (rotated[o] - _act(o, operations, value)).pow(2).sum((0, 2, 3))
    total = sum(v.pow(2).sum() for v in plain.values())
    return (gap / total).sqrt().numpy()


def _act(irrep: Irrep, operations: np.ndarray, value: torch.Tensor) -> torch.Tensor:
    matrices = torch.tensor(representation(irrep, operations))
    return torch.einsum("bij,nbcj->nbci", matrices, value.expand(-1, len(operations), -1, -1))


def energy_violation(group: PointGroup, structure: Structure, operations: np.ndarray) -> np.ndarray:
    """Largest |S(M x) - M S(x)| / |S| over strains x for each operation, S = dW/dE, (n,).

    A network of random weights on the structure's graph, eight random strains of about 10 %.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConstitutiveNetwork(structure, group, NetworkSettings(channels=4))
    generator = torch.Generator().manual_seed(2)
    x = 0.1 * torch.randn(8, 6, dtype=torch.float64, generator=generator)
    m = torch.tensor(mandel_rotations(operations))
    rotated = torch.einsum("gab,nb->gna", m, x)
    rows = torch.cat([torch.zeros_like(x[:1]), x, rotated.reshape(-1, 6)]).requires_grad_()
    (s,) = torch.autograd.grad(network(rows).sum(), rows)
    s = s[1:] - s[0]
    plain, measured = s[: len(x)], s[len(x) :].reshape(rotated.shape)
    gap = (measured - torch.einsum("gab,nb->gna", m, plain)).norm(dim=2) / plain.norm(dim=1)
    return gap.max(dim=1).values.numpy()


@dataclass(frozen=True)
class Exactness:
    """How exactly a group is kept, and how clearly everything beyond it is broken.

    Relative violations, by networks of random weights.

    Attributes:
        kept: largest violation by the group's own operations, convolution and energy.
        convolution: least violation by an extra operation of a minimal supergroup.
        energy: least, over the supergroups of another Laue class, of their largest violation.
        unseen: largest violation of the energy by supergroups of the same Laue class, which add
            nothing but the inversion.
        supergroups: number of minimal supergroups tried.
    """

    kept: float
    convolution: float
    energy: float
    unseen: float
    supergroups: int


def exactness(group: PointGroup) -> Exactness:
    """Measure how exactly networks have the symmetry of a group, on all lattices above it.

    Args:
        group: in standard setting.
    """
    kept, convolution, energy, unseen, count = 0.0, np.inf, np.inf, 0.0, 0
    for structure, host in host_lattices().values():
        if not contains(host, group):
            continue
        layer = convolution_violation(group, structure, host.operations)
        network = energy_violation(group, structure, host.operations)
        members = _members(host, group)
        kept = max(kept, layer[members].max(), network[members].max())
        for larger in minimal_supergroups(group, [host]):
            extra = _members(host, larger) & ~members
            convolution = min(convolution, layer[extra].min())
            if larger.laue != group.laue:
                energy = min(energy, network[extra].max())
            else:
                unseen = max(unseen, network[extra].max())
            count += 1
    return Exactness(float(kept), float(convolution), float(energy), float(unseen), count)


def _members(host: PointGroup, group: PointGroup) -> np.ndarray:
    gap = np.abs(host.operations[:, None] - group.operations[None]).max(axis=(2, 3))
    return gap.min(axis=1) < 1e-6


def extra_operations(group: PointGroup, larger: PointGroup) -> np.ndarray:
    """Operations of `larger` that are not in `group`, (n, 3, 3)."""
    return larger.operations[~_members(larger, group)]
