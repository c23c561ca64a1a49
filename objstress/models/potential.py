"""The potential: from atoms to energy, forces, stress, dipole and polarizability."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.data import Data

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
from objstress.nn.readout import ScalarReadout, TensorReadout
from objstress.symmetry.irreps import Irrep, symmetric_basis
from objstress.symmetry.point_group import symmetry_group

HEADS = ("energy", "dipole", "polarizability", "pseudoscalar")
OUTPUTS = {
    "energy": "energy",
    "energies": "energy",
    "forces": "energy",
    "stress": "energy",
    "hessian": "energy",
    "dipole": "dipole",
    "charges": "dipole",
    "born_charges": "dipole",
    "polarizability": "polarizability",
    "polarizability_gradient": "polarizability",
    "pseudoscalar": "pseudoscalar",
}
"""What `Potential` can be asked for, and the head that it needs."""
EDGE_LMAX = 6
"""Of products beyond it the tables take gigabytes; e3nn's harmonics end at 11."""


@dataclass(frozen=True)
class PotentialSettings:
    """Size and symmetry of a potential.

    Attributes:
        elements: atomic numbers.
        heads: what is read out, of "energy", "dipole", "polarizability" and "pseudoscalar" (which
            changes sign in a mirror under O(3), and tells left from right under SO(3)).
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

    elements: tuple[int, ...]
    heads: tuple[str, ...] = ("energy",)
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

    def __post_init__(self):
        # Here, not where a potential is built: neighbours are counted with the cutoff before.
        _check(self)


class Potential(nn.Module):
    r"""E = sum_i (E_ref(z_i) + s e_i),   e_i a polynomial in messages of i's neighbourhood.

        A_i = sum_j R(r_ij) Y(r_ij) (x) x_j        (`SpeciesMessage`, `Message`)
        x_i = W [A_i, A_i (x) A_i, A_i (x) A_i (x) A_i, ...] + skip of the layer before

    e_i is zero for an atom without neighbours: references are energies of isolated atoms, or what
    a fit finds. Everything is equivariant under the group of the settings, exactly, whatever the
    weights.

        forces = - dE/dr_i,   stress = 1/V dE/d(strain), positive in tension
        dipole = sum_i q_i (r_i - r_mass) + mu_i,   q_i = Q / n + sum_j (f_ij - f_ji)
        polarizability = sum_i alpha_i,   0e + 2e

    The charge f_ij that j gives to i is a function of i's features and r_ij. So what is far apart
    is neutral apart (but for the total charge Q, which no neighbourhood can know), and the dipole
    sum_ij f_ij (r_i - r_j) has a meaning in periodic cells, too.

    Batatia et al., MACE, arXiv:2206.07697, for the many-body messages; Darby et al.,
    arXiv:2210.01705, for the products within a channel.

    Attributes:
        references: (elements,) eV.
        scale: eV, what e_i is multiplied by; dipole_scale e Angstrom, polarizability_scale A^3.
        metadata: facts of the training.
    """

    references: Tensor
    mean_polarizabilities: Tensor
    scale: Tensor
    dipole_scale: Tensor
    polarizability_scale: Tensor
    symmetric: Tensor

    def __init__(self, settings: PotentialSettings, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.settings = s = settings
        self.metadata: dict[str, Any] = {}
        group = symmetry_group(s.group)
        z = len(s.elements)
        both = "pseudoscalar" in s.heads
        self.lmax = [s.edge_lmax] + [min(s.edge_lmax, s.later_lmax)] * (s.layers - 1)
        hidden = feature_irreps(group, s.hidden_lmax, both)
        # Without improper operations all irreps are called even (`feature_irreps`).
        odd = -1 if (1, -1) in feature_irreps(group, 1) else 1
        self.vector, self.deviator, self.handed = (1, odd), (2, 1), (0, odd)
        ends = {
            "dipole": self.vector,
            "polarizability": self.deviator,
            "pseudoscalar": self.handed,
        }
        read = [(0, 1), *(ends.get(head) for head in s.heads)]
        last = [o for o in feature_irreps(group, self.lmax[-1], both) if o in read]
        self.bessel = BesselBasis(s.bessel, s.cutoff, dtype)
        self.radials, self.layers = nn.ModuleList(), nn.ModuleList()
        for k, lmax in enumerate(self.lmax):
            inner = feature_irreps(group, lmax, both)
            outgoing = hidden if k < s.layers - 1 else last
            message: nn.Module
            if k == 0:
                message = SpeciesMessage(group, inner, lmax, z, s.radial, s.channels, dtype)
            else:
                message = Message(group, hidden, inner, lmax, s.radial, s.channels, dtype)
            self.radials.append(RadialFunctions(s.bessel, 4 * s.radial, s.radial, dtype))
            self.layers.append(
                Interaction(message, [] if k == 0 else hidden, inner, outgoing, s, dtype)
            )
        self.irreps = [hidden] * (s.layers - 1) + [last]
        self.energies = nn.ModuleList(
            ScalarReadout(s.channels, s.readout, 1, dtype) for _ in range(s.layers)
        )
        self.tensors = nn.ModuleDict()
        if "dipole" in s.heads:
            self.tensors["charges"] = ScalarReadout(s.channels, s.readout, s.bessel, dtype)
            self.tensors["dipole"] = TensorReadout(s.channels, dtype)
        if "polarizability" in s.heads:
            self.tensors["mean"] = ScalarReadout(s.channels, s.readout, 1, dtype)
            self.tensors["deviator"] = TensorReadout(s.channels, dtype)
        if "pseudoscalar" in s.heads:
            self.tensors["pseudoscalar"] = TensorReadout(s.channels, dtype)
        one = torch.ones((), dtype=dtype)
        self.register_buffer("references", torch.zeros(z, dtype=dtype))
        self.register_buffer("mean_polarizabilities", torch.zeros(z, dtype=dtype))
        for name in ("scale", "dipole_scale", "polarizability_scale"):
            self.register_buffer(name, one.clone())
        self.register_buffer(
            "symmetric", torch.tensor(symmetric_basis(), dtype=dtype), persistent=False
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.references.dtype

    @property
    def shared(self) -> nn.Module:
        """The last layer that all heads share."""
        return self.layers[-1].get_submodule("gather")

    def forward(self, graph: Data, outputs: Collection[str] = ("energy",)) -> dict[str, Tensor]:
        """
        Args:
            graph: `atom_graph` or a torch-geometric batch of them, in the potential's dtype.
            outputs: names of what is wanted.

        Returns:
            energy (b,) eV; energies (n,) eV; forces (n, 3) eV/Angstrom; stress (b, 3, 3)
            eV/Angstrom^3, positive in tension; hessian (3n, 3n) eV/Angstrom^2, of one graph;
            dipole (b, 3) e Angstrom, for charged systems about the centre of mass; charges (n,) e;
            born_charges (n, 3, 3) e, [k, i, j] = dmu_i / dr_kj; polarizability (b, 3, 3)
            Angstrom^3; polarizability_gradient (n, 3, 3, 3) Angstrom^2, [k, l, i, j] =
            dalpha_ij / dr_kl; pseudoscalar (b,). In training mode all of them can be
            differentiated.

        Raises:
            InputError: an output that is unknown, or whose head the potential lacks; stress of a
                structure that is not periodic along all axes.
        """
        self._check_outputs(graph, outputs)
        wanted = set(outputs)
        batch = getattr(graph, "batch", None)
        size = int(graph.num_graphs) if batch is not None else 1
        if batch is None:
            batch = torch.zeros_like(graph.species)
        create = self.training and torch.is_grad_enabled()
        first = wanted & {"forces", "stress", "hessian"}
        per_atom = wanted & {"hessian", "born_charges", "polarizability_gradient"}
        with torch.set_grad_enabled(torch.is_grad_enabled() or bool(first | per_atom)):
            pos = graph.pos.detach().requires_grad_() if per_atom else graph.pos
            table = NeighbourTable(graph)
            vectors = table.vectors(pos, graph.cell, batch, 2 * self.settings.cutoff)
            if first and not vectors.requires_grad:
                vectors.requires_grad_()
            found = self._outputs(graph, vectors, table, batch, size, pos)
            if first:
                (g,) = torch.autograd.grad(
                    found["energy"].sum(),
                    vectors,
                    retain_graph=create or bool(per_atom),
                    create_graph=create or "hessian" in wanted,
                )
                g = torch.where(table.mask[..., None], g, 0.0)
                # dE/dr: an edge ends in its sender and begins in its receiver.
                found["forces"] = g.sum(1).index_add(0, table.sender.flatten(), -g.flatten(0, 1))
                if "stress" in wanted:
                    virial = torch.einsum("nsi,nsj->nij", vectors, g)
                    total = virial.new_zeros(size, 3, 3).index_add(0, batch, virial)
                    total = 0.5 * (total + total.transpose(1, 2))
                    found["stress"] = total / graph.volume[:, None, None]
            if "hessian" in wanted:
                found["hessian"] = -_rows(found["forces"].flatten(), pos, create).flatten(1)
            if "born_charges" in wanted:
                z = _rows(found["dipole"].sum(0), pos, create)
                found["born_charges"] = z.transpose(0, 1)
            if "polarizability_gradient" in wanted:
                six = torch.einsum("bij,mij->m", found["polarizability"], self.symmetric)
                rows = _rows(six, pos, create)
                found["polarizability_gradient"] = torch.einsum(
                    "mkl,mij->klij", rows, self.symmetric
                )
        return {k: v if create else v.detach() for k, v in found.items() if k in wanted}

    def _outputs(
        self,
        graph: Data,
        vectors: Tensor,
        table: NeighbourTable,
        batch: Tensor,
        size: int,
        pos: Tensor,
    ) -> dict[str, Tensor]:
        """Everything that is read out of the features, no derivatives."""
        s = self.settings

        def total(x: Tensor) -> Tensor:
            return x.new_zeros(size, *x.shape[1:]).index_add(0, batch, x)

        # On padding and beyond the cutoff (a skin) the envelope is zero.
        envelope = smooth_cutoff(length := vectors.norm(dim=-1), s.cutoff)[..., None]
        bessel = self.bessel(length)
        layers = self._features(graph, vectors, table, envelope, bessel)
        last, of = layers[-1], places(self.irreps[-1])
        scalars = last[:, :, 0].T
        found: dict[str, Tensor] = {}
        if "energy" in s.heads:
            e = sum(
                (read(x[:, :, 0].T) for read, x in zip(self.energies, layers, strict=True)),
                torch.zeros_like(scalars[:, :1]),
            )
            found["energies"] = self.references[graph.species] + self.scale * e[:, 0]
            found["energy"] = total(found["energies"])
        if "dipole" in s.heads:
            # e3nn's l = 1 is (x, y, z).
            mu = self.tensors["dipole"](scalars, last[:, :, of[self.vector]])
            given = torch.einsum("nk,nsk->ns", self.tensors["charges"](scalars), bessel * envelope)
            given = given / s.neighbours
            mu = self.dipole_scale * total(mu - torch.einsum("ns,nsi->ni", given, vectors))
            q = given.sum(1).index_add(0, table.sender.flatten(), -given.flatten())
            share = graph.charge / torch.bincount(batch, minlength=size)
            found["charges"] = self.dipole_scale * q + share[batch]
            if graph.charge.any():
                mass = total(graph.masses)
                centre = total(graph.masses[:, None] * pos) / mass[:, None]
                mu = mu + total(share[batch][:, None] * (pos - centre[batch]))
            found["dipole"] = mu
        if "polarizability" in s.heads:
            scale = self.polarizability_scale
            mean = self.mean_polarizabilities[graph.species]
            mean = mean + scale * self.tensors["mean"](scalars)[:, 0]
            deviator = self.tensors["deviator"](scalars, last[:, :, of[self.deviator]])
            six = torch.cat([math.sqrt(3) * mean[:, None], scale * deviator], dim=1)
            found["polarizability"] = torch.einsum("bm,mij->bij", total(six), self.symmetric)
        if "pseudoscalar" in s.heads:
            hand = self.tensors["pseudoscalar"](scalars, last[:, :, of[self.handed]])
            found["pseudoscalar"] = total(hand)[:, 0]
        return found

    def _features(
        self,
        graph: Data,
        vectors: Tensor,
        table: NeighbourTable,
        envelope: Tensor,
        bessel: Tensor,
    ) -> list[Tensor]:
        """Features of each layer, (channels, n, width)."""
        s = self.settings
        harmonics = o3.spherical_harmonics(
            list(range(s.edge_lmax + 1)), vectors, normalize=True, normalization="component"
        )
        harmonics = harmonics * (envelope / s.neighbours)
        one_hot = torch.nn.functional.one_hot(graph.species, len(s.elements)).to(vectors.dtype)
        layers: list[Tensor] = []
        for radial, layer, lmax in zip(self.radials, self.layers, self.lmax, strict=True):
            some = harmonics[..., : (lmax + 1) ** 2]
            edges = (radial(bessel)[..., :, None] * some[..., None, :]).flatten(2)
            x = layers[-1] if layers else None
            layers.append(layer(x, one_hot, table.sender, edges))
        return layers

    def _check_outputs(self, graph: Data, outputs: Collection[str]) -> None:
        for name in outputs:
            if name not in OUTPUTS:
                raise InputError(f"unknown output {name!r}; there are {', '.join(OUTPUTS)}")
            if OUTPUTS[name] not in self.settings.heads:
                raise InputError(
                    f"{name} needs the head {OUTPUTS[name]!r}; this potential has "
                    f"{', '.join(self.settings.heads)}"
                )
        if "stress" in outputs and not bool((graph.volume > 0).all()):
            raise InputError("stress needs a structure that is periodic along all axes")
        if "hessian" in outputs and getattr(graph, "num_graphs", 1) > 1:
            raise InputError("a Hessian is that of one structure, not of a batch")
        if any(OUTPUTS[name] == "dipole" for name in outputs) and bool(
            ((graph.charge != 0) & graph.periodic).any()
        ):
            raise InputError("a charged periodic cell has no dipole")

    def describe(self) -> dict[str, Any]:
        """Settings that rebuild the potential."""
        return asdict(self.settings)

    def save(self, path: str | Path) -> None:
        """Write to one file, whole or not at all; `load_potential` reads it."""
        from objstress.models.potential_files import save_potential

        save_potential(self, path)


class Interaction(nn.Module):
    """x' = W [A, A (x) A, A (x) A (x) A, ...] + W' x,  each times a factor of the atom's species.

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
        s: PotentialSettings,
        dtype: torch.dtype,
    ):
        super().__init__()
        c = s.channels
        self.message = message
        self.mix = ComponentLinear(inner, c, 2 * c, dtype)
        self.species = nn.Parameter(
            1 + 0.3 * torch.randn(len(s.elements), 2 * c, len(inner), dtype=dtype)
        )
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
            self.skip_species = nn.Parameter(1 + 0.3 * torch.randn(len(s.elements), c, dtype=dtype))
            for name, place in (("was", was), ("now", now)):
                index = [torch.arange(place[o].start, place[o].stop) for o in common]
                self.register_buffer(name, torch.cat(index), persistent=False)

    def forward(self, x: Tensor | None, one_hot: Tensor, sender: Tensor, edges: Tensor) -> Tensor:
        if x is None:
            a = self.message(one_hot[sender], edges)
        else:
            a = self.message(x, sender, edges)
        factor = torch.einsum("nz,zcl->cnl", one_hot, self.species)[..., self.of_component]
        a, b = (self.mix(a) * factor).chunk(2)
        powers = [a]
        for product in self.products:
            powers.append(product(powers[-1], b))
        # The highest power is made of the outgoing irreps alone.
        powers = [p if p.shape[2] == len(self.kept) else p[..., self.kept] for p in powers]
        out = self.gather(torch.cat(powers))
        if self.skip is not None:
            assert x is not None
            kept = self.skip(x[..., self.was]) * (one_hot @ self.skip_species).T[..., None]
            out = out.index_add(2, self.now, kept)
        return out


def _rows(values: Tensor, pos: Tensor, create: bool) -> Tensor:
    """d values / d pos, (values, n, 3)."""
    rows = [
        torch.autograd.grad(
            value, pos, retain_graph=True, create_graph=create, materialize_grads=True
        )[0]
        for value in values
    ]
    return torch.stack(rows)


def _check(s: PotentialSettings) -> None:
    if not s.elements or len(set(s.elements)) != len(s.elements):
        raise InputError(f"elements = {s.elements}: give atomic numbers, each once")
    strange = [h for h in s.heads if h not in HEADS]
    if strange or not s.heads:
        raise InputError(f"heads = {s.heads}: give some of {', '.join(HEADS)}")
    for name in ("channels", "layers", "correlation", "bessel", "radial", "readout"):
        if getattr(s, name) < 1:
            raise InputError(f"{name} = {getattr(s, name)}: give a positive number")
    for name in ("cutoff", "neighbours"):
        if not 0 < getattr(s, name) < math.inf:
            raise InputError(f"{name} = {getattr(s, name)}: give a positive, finite number")
    if s.edge_lmax > EDGE_LMAX:
        raise InputError(f"edge_lmax = {s.edge_lmax}: give at most {EDGE_LMAX}")
    lowest = max({"dipole": 1, "polarizability": 2}.get(h, 0) for h in s.heads)
    lowest = max(lowest, s.hidden_lmax)
    reached = s.edge_lmax if s.layers == 1 else min(s.edge_lmax, s.later_lmax)
    if reached < lowest or s.hidden_lmax < 0:
        raise InputError(
            f"edge_lmax = {s.edge_lmax}, later_lmax = {s.later_lmax}: heads "
            f"{', '.join(s.heads)} and hidden_lmax {s.hidden_lmax} need at least {lowest}"
        )
