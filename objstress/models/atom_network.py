"""From atoms to equivariant features: what potentials and tensors of crystals share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor, nn

from objstress.errors import InputError
from objstress.graphs.neighbours import NeighbourTable
from objstress.nn.products import (
    ChannelProduct,
    ComponentLinear,
    Message,
    SpeciesMessage,
    components,
    feature_irreps,
    places,
)
from objstress.nn.radial import BesselBasis, RadialFunctions, smooth_cutoff
from objstress.symmetry.irreps import Irrep
from objstress.symmetry.point_group import symmetry_group

EDGE_LMAX = 6
"""Of products beyond it the tables take gigabytes; e3nn's harmonics end at 11."""


@dataclass(frozen=True, kw_only=True)
class AtomNetworkSettings:
    """Size and symmetry of a network of atoms.

    Attributes:
        group: "O(3)", "SO(3)" or a point group in the frame of the atoms.
        cutoff: Angstrom.
        channels: copies of each irrep.
        layers: messages passed.
        hidden_lmax: largest l of the features that atoms send.
        edge_lmax: largest l of the harmonics and of what is multiplied in the first layer, whose
            messages cost little; at most 6.
        later_lmax: the same of the layers after it, where it is less.
        correlation: factors of the highest product of one atom's neighbourhood (body order - 1).
        bessel: radial functions of the distance.
        radial: learned mixtures of them that messages use.
        readout: width of the hidden layers of readouts.
        neighbours: mean number of neighbours; sums are divided by it.
    """

    group: str = "O(3)"
    cutoff: float = 5.0
    channels: int = 64
    layers: int = 2
    hidden_lmax: int = 1
    edge_lmax: int = 3
    later_lmax: int = 2
    correlation: int = 3
    bessel: int = 8
    radial: int = 4
    readout: int = 16
    neighbours: float = 20.0

    def check(self, lowest: int, needed_by: str) -> None:
        """Refuse numbers that make no network.

        Args:
            lowest: largest l that is read out.
            needed_by: what reads it out, for messages.

        Raises:
            InputError: a size that is not positive, or harmonics that do not reach what is read
                out.
        """
        for name in ("channels", "layers", "correlation", "bessel", "radial", "readout"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: give a positive number")
        for name in ("cutoff", "neighbours"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} = {getattr(self, name)}: give a positive, finite number")
        if self.edge_lmax > EDGE_LMAX:
            raise InputError(f"edge_lmax = {self.edge_lmax}: give at most {EDGE_LMAX}")
        lowest = max(lowest, self.hidden_lmax)
        one = self.layers == 1
        reached = self.edge_lmax if one else min(self.edge_lmax, self.later_lmax)
        if reached < lowest or self.hidden_lmax < 0:
            raise InputError(
                f"edge_lmax = {self.edge_lmax}, later_lmax = {self.later_lmax}: {needed_by} and "
                f"hidden_lmax {self.hidden_lmax} need at least {lowest}"
            )


class AtomNetwork(nn.Module):
    r"""Equivariant features of atoms: polynomials in messages of the neighbourhood, layer by layer.

    .. math::

        A_i &= \sum_j R(r_{ij}) Y(r_{ij}) \otimes x_j \\
        x_i' &= W [A_i, A_i \otimes A_i, A_i \otimes A_i \otimes A_i, \ldots] + W' x_i

    (`SpeciesMessage`, `Message`, `ChannelProduct`). Features are zero for an atom without
    neighbours. Equivariant under the group of the settings, exactly, whatever the weights.

    Batatia et al., MACE, arXiv:2206.07697, for the many-body messages; Darby et al.,
    arXiv:2210.01705, for the products within a channel.
    """

    settings: AtomNetworkSettings

    def _make_features(
        self, s: AtomNetworkSettings, kinds: int, read: list[Irrep], both: bool, dtype: torch.dtype
    ) -> None:
        """
        Args:
            kinds: of atoms.
            read: irreps of the last layer that are wanted.
            both: features of both parities of each l.
        """
        group = symmetry_group(s.group)
        self.lmax = [s.edge_lmax] + [min(s.edge_lmax, s.later_lmax)] * (s.layers - 1)
        hidden = feature_irreps(group, s.hidden_lmax, both)
        last = [o for o in feature_irreps(group, self.lmax[-1], both) if o in read]
        self.bessel = BesselBasis(s.bessel, s.cutoff, dtype)
        self.radials, self.layers = nn.ModuleList(), nn.ModuleList()
        for k, lmax in enumerate(self.lmax):
            inner = feature_irreps(group, lmax, both)
            outgoing = hidden if k < s.layers - 1 else last
            message: nn.Module
            if k == 0:
                message = SpeciesMessage(group, inner, lmax, kinds, s.radial, s.channels, dtype)
            else:
                message = Message(group, hidden, inner, lmax, s.radial, s.channels, dtype)
            self.radials.append(RadialFunctions(s.bessel, 4 * s.radial, s.radial, dtype))
            before = [] if k == 0 else hidden
            self.layers.append(Interaction(message, before, inner, outgoing, s, kinds, dtype))
        self.irreps = [hidden] * (s.layers - 1) + [last]

    def _features(
        self,
        kinds: Tensor,
        vectors: Tensor,
        table: NeighbourTable,
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Features of each layer (channels, n, width), radial functions (n, s, bessel), envelope.

        Args:
            kinds: (n, kinds), what an atom is known by: one-hot species, or mixtures of them.
        """
        s = self.settings
        # On padding and beyond the cutoff (a skin) the envelope is zero.
        envelope = smooth_cutoff(length := vectors.norm(dim=-1), s.cutoff)[..., None]
        bessel = self.bessel(length)
        harmonics = o3.spherical_harmonics(
            list(range(s.edge_lmax + 1)), vectors, normalize=True, normalization="component"
        )
        harmonics = harmonics * (envelope / s.neighbours)
        layers: list[Tensor] = []
        for radial, layer, lmax in zip(self.radials, self.layers, self.lmax, strict=True):
            some = harmonics[..., : (lmax + 1) ** 2]
            edges = (radial(bessel)[..., :, None] * some[..., None, :]).flatten(2)
            x = layers[-1] if layers else None
            layers.append(layer(x, kinds, table.sender, edges))
        return layers, bessel, envelope


class Interaction(nn.Module):
    """x' = W [A, A (x) A, A (x) A (x) A, ...] + W' x,  each times a factor of the atom's kind.

    Args:
        message: makes A of the inner irreps.
        before, inner, outgoing: irreps of x, A and x'.
    """

    of_component: Tensor
    kept: Tensor
    was: Tensor
    now: Tensor

    def __init__(
        self,
        message: nn.Module,
        before: list[Irrep],
        inner: list[Irrep],
        outgoing: list[Irrep],
        s: AtomNetworkSettings,
        kinds: int,
        dtype: torch.dtype,
    ):
        super().__init__()
        c = s.channels
        self.message = message
        self.mix = ComponentLinear(inner, c, 2 * c, dtype)
        self.species = nn.Parameter(1 + 0.3 * torch.randn(kinds, 2 * c, len(inner), dtype=dtype))
        self.register_buffer("of_component", components(inner), persistent=False)
        # Powers between the first and the last carry all inner irreps.
        self.products = nn.ModuleList(
            ChannelProduct(inner, inner, inner if k < s.correlation else outgoing, c, dtype)
            for k in range(2, s.correlation + 1)
        )
        self.gather = ComponentLinear(outgoing, s.correlation * c, c, dtype)
        of = places(inner)
        kept = [torch.arange(of[o].start, of[o].stop) for o in outgoing]
        self.register_buffer("kept", torch.cat(kept), persistent=False)
        # What the atom was before, as far as it still is wanted.
        common = [o for o in outgoing if o in before]
        was, now = places(before), places(outgoing)
        self.skip = ComponentLinear(common, c, c, dtype) if common else None
        if common:
            self.skip_species = nn.Parameter(1 + 0.3 * torch.randn(kinds, c, dtype=dtype))
            for name, place in (("was", was), ("now", now)):
                index = [torch.arange(place[o].start, place[o].stop) for o in common]
                self.register_buffer(name, torch.cat(index), persistent=False)

    def forward(self, x: Tensor | None, kinds: Tensor, sender: Tensor, edges: Tensor) -> Tensor:
        if x is None:
            a = self.message(kinds[sender], edges)
        else:
            a = self.message(x, sender, edges)
        factor = torch.einsum("nz,zcl->cnl", kinds, self.species)[..., self.of_component]
        a, b = (self.mix(a) * factor).chunk(2)
        powers = [a]
        for product in self.products:
            powers.append(product(powers[-1], b))
        # The highest power is made of the outgoing irreps alone.
        powers = [p if p.shape[2] == len(self.kept) else p[..., self.kept] for p in powers]
        out = self.gather(torch.cat(powers))
        if self.skip is not None:
            assert x is not None
            kept = self.skip(x[..., self.was]) * (kinds @ self.skip_species).T[..., None]
            out = out.index_add(2, self.now, kept)
        return out
