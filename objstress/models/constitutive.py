"""The constitutive network: from the reference crystal graph and C = F^T F to an energy density."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from objstress.graphs.crystals import crystal_graph, shell_cutoff
from objstress.graphs.pairs import EdgePairs
from objstress.models.energy_network import EnergyNetwork
from objstress.nn.convolution import ChannelLinear, Features, Gate, GroupConvolution
from objstress.nn.filters import GroupFilter
from objstress.nn.radial import BesselBasis, smooth_cutoff
from objstress.nn.readout import EnergyReadout
from objstress.symmetry.irreps import Irrep, couples, symmetric_basis
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.voigt import MANDEL

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class NetworkSettings:
    """Size of a constitutive network.

    Attributes:
        channels: copies of each irrep.
        layers: convolutions.
        hidden_lmax: features are (l, (-1)^l), l <= hidden_lmax.
        edge_lmax: largest l1 of the filters' harmonics; filters of l <= 2 hidden_lmax are used,
            which is complete for these features.
        radial: Bessel functions.
        readout: width of the readout's hidden layer.
        strain_scale: strain that the inputs are divided by.
        energy_scale: GPa; a factor on the output.
        cutoff: Angstrom; None takes `shell_cutoff`, between two neighbour shells.
    """

    channels: int = 8
    layers: int = 2
    hidden_lmax: int = 2
    edge_lmax: int = 4
    radial: int = 6
    readout: int = 16
    strain_scale: float = 0.05
    energy_scale: float = 1.0
    cutoff: float | None = None


class ConstitutiveNetwork(EnergyNetwork):
    """Energy density W(C) of a crystal, objective and G-invariant whatever the weights.

    The graph is the *reference* crystal: edge vectors R are constants and so are their filters.
    The state enters by the deformed lengths sqrt(R . C R) in the radial functions (the envelope
    stays on |R|, so no edge ever comes or goes) and by E = (C - I) / 2 as 0e + 2e on every node.
    An energy of C cannot tell G from its Laue class: C is even under inversion.

    Args:
        structure: the symmetrised reference cell (its primitive cell is the cheapest).
        group: what the filters are restricted to, in the structure's frame; O3 leaves the
            crystal's own symmetry, which the edges carry.
        settings: its size; the default size if None.
        dtype: of weights and strains; W is in GPa.
    """

    envelope: Tensor
    bessel_reference: Tensor
    length2: Tensor
    stretch: Tensor
    strain_irreps: Tensor
    species: Tensor

    def __init__(
        self,
        structure: Structure,
        group: SymmetryGroup,
        settings: NetworkSettings | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.settings = s = settings or NetworkSettings()
        cutoff = s.cutoff or shell_cutoff(structure)
        graph = crystal_graph(structure, cutoff)
        graph.edge_vec = graph.edge_vec.to(dtype)
        self.pairs = EdgePairs(graph)
        self.group, self.cutoff, self.dtype = group, cutoff, dtype
        # The tangent takes memory for each point and row of edges.
        self.chunk = max(32, 2048 // len(self.pairs.sender))
        irreps: list[Irrep] = [(l, (-1) ** l) for l in range(s.hidden_lmax + 1)]
        wanted = [(l, p) for l in range(2 * s.hidden_lmax + 1) for p in (1, -1)]
        filters = GroupFilter(group, wanted, s.edge_lmax, dtype)
        reference = self.pairs.vectors.norm(dim=-1)
        self.bessel = BesselBasis(s.radial, cutoff, dtype)
        envelope = smooth_cutoff(reference, cutoff) * self.pairs.mask
        constants = {
            "envelope": envelope[:, None, :, None],
            "bessel_reference": self.bessel(reference)[:, None],
            # |R|^2 + 2 R . E R, the second term as a product with Mandel's E.
            "length2": reference[:, None] ** 2,
            "stretch": 2 * _mandel_squares(self.pairs.vectors),
            "strain_irreps": torch.tensor(
                np.einsum("mij,aij->am", symmetric_basis(), MANDEL), dtype=dtype
            ),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        for irrep, value in filters(self.pairs.vectors).items():
            self.register_buffer(f"filter_{irrep[0]}_{irrep[1]}", value, persistent=False)
        self.filter_sizes = filters.sizes

        species = sorted(set(graph.z.tolist()))
        self.register_buffer(
            "species", torch.tensor([species.index(z) for z in graph.z.tolist()]), persistent=False
        )
        self.embedding = nn.Parameter(torch.randn(3, len(species), s.channels, dtype=dtype))
        neighbours = graph.num_edges / graph.num_nodes
        incoming: list[Irrep] = [(0, 1), (2, 1)]
        self.convolutions, self.skips, self.gates = (
            nn.ModuleList(),
            nn.ModuleList(),
            nn.ModuleList(),
        )
        for k in range(s.layers):
            outgoing = irreps if k < s.layers - 1 else [(0, 1)]
            # Without filters for an irrep (a lone node under O(3) has none of odd parity)
            # the convolution drops it; the gate must know.
            reachable = [
                o
                for o in outgoing
                if any(couples(a, f, o) for a in incoming for f in filters.sizes)
            ]
            gate = Gate(reachable, s.channels)
            widths = {o: s.channels for o in reachable} | {(0, 1): gate.scalar_channels}
            self.convolutions.append(
                GroupConvolution(
                    incoming,
                    filters.sizes,
                    reachable,
                    s.channels,
                    s.channels,
                    2 * s.radial,
                    neighbours,
                    extra_out=widths,
                    dtype=dtype,
                )
            )
            self.skips.append(ChannelLinear(incoming, s.channels, widths, dtype))
            self.gates.append(gate)
            incoming = reachable
        self.readout = EnergyReadout(s.channels, s.readout, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """W (n,) in GPa at Mandel strains x (n, 6); not yet zero, nor stress-free, at x = 0."""
        s = self.settings
        squared = self.length2 + (self.stretch @ x.T).transpose(1, 2)
        change = (self.bessel(squared.sqrt()) - self.bessel_reference) / s.strain_scale
        radial, fixed = change * self.envelope, self.bessel_reference * self.envelope
        basis: Features = {(l, p): getattr(self, f"filter_{l}_{p}") for l, p in self.filter_sizes}
        e = (x @ self.strain_irreps) / s.strain_scale
        constant, volume, shape = self.embedding[:, self.species].unbind(0)
        features: Features = {
            (0, 1): (constant[:, None] + volume[:, None] * e[None, :, :1])[..., None],
            (2, 1): shape[:, None, :, None] * e[None, :, None, 1:],
        }
        for convolution, skip, gate in zip(self.convolutions, self.skips, self.gates, strict=True):
            message = convolution(features, radial, basis, self.pairs, fixed)
            kept = skip(features)
            features = gate({o: m + kept[o] if o in kept else m for o, m in message.items()})
        return s.energy_scale * self.readout(features) / self.pairs.nodes

    def shrink(self, factor: float) -> None:
        """Multiply the energy by a factor."""
        with torch.no_grad():
            self.readout.outer.mul_(factor)

    def describe(self) -> dict:
        """Settings that rebuild the network (with the structure and the group)."""
        return asdict(self.settings) | {"cutoff": self.cutoff}


def _mandel_squares(vectors: Tensor) -> Tensor:
    basis = torch.tensor(MANDEL, dtype=vectors.dtype)
    return torch.einsum("aij,pmi,pmj->pma", basis, vectors, vectors)
