"""The potential: from atoms to energy, forces, stress, dipole and polarizability."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from objstress.errors import InputError
from objstress.graphs.neighbours import NeighbourTable
from objstress.io.weights import read_tensors, rebuilding, write_tensors
from objstress.models.atom_network import AtomNetwork, AtomNetworkSettings
from objstress.nn.products import feature_irreps, places
from objstress.nn.readout import ScalarReadout, TensorReadout
from objstress.symmetry.irreps import symmetric_basis
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


@dataclass(frozen=True)
class PotentialSettings(AtomNetworkSettings):
    """Size and symmetry of a potential.

    Attributes:
        elements: atomic numbers.
        heads: what is read out, of "energy", "dipole", "polarizability" and "pseudoscalar" (which
            changes sign in a mirror under O(3), and tells left from right under SO(3)).
        group, cutoff, channels, layers, hidden_lmax, edge_lmax, later_lmax: as in
            `AtomNetworkSettings`; the cutoff in Angstrom.
        correlation, bessel, radial, readout, neighbours: as in `AtomNetworkSettings`.

    Raises:
        InputError: elements, heads or numbers that make no potential.
    """

    elements: tuple[int, ...]
    heads: tuple[str, ...] = ("energy",)

    def __post_init__(self):
        # Here, not where a potential is built: neighbours are counted with the cutoff before.
        _check(self)


class Potential(AtomNetwork):
    r"""From atoms to energy, forces, stress, dipole and polarizability.

    .. math::

        E &= \sum_i (E_\mathrm{ref}(z_i) + s\, e_i), \qquad
        f_i = -\partial E / \partial r_i, \qquad
        \sigma = V^{-1} \partial E / \partial \epsilon \\
        \mu &= \sum_i q_i (r_i - r_\mathrm{mass}) + \mu_i, \qquad
        q_i = Q / n + \sum_j (f_{ij} - f_{ji}) \\
        \alpha &= \sum_i \alpha_i, \quad \text{0e + 2e}

    e_i is read out of the features of i (`AtomNetwork`) and is zero for an atom without neighbours:
    references are energies of isolated atoms, or what a fit finds. Everything is equivariant under
    the group of the settings, exactly, whatever the weights.

    The charge f_ij that j gives to i is a function of i's features and r_ij. So what is far apart
    is neutral apart (but for the total charge Q, which no neighbourhood can know), and the dipole
    sum_ij f_ij (r_i - r_j) has a meaning in periodic cells, too.

    Args:
        settings: size, symmetry, elements and heads.
        dtype: of the weights.

    Attributes:
        references: (elements,) eV.
        scale: eV, what e_i is multiplied by; dipole_scale e Angstrom, polarizability_scale A^3.
        metadata: facts of the fit.
    """

    settings: PotentialSettings
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
        z = len(s.elements)
        # Without improper operations all irreps are called even (`feature_irreps`).
        odd = -1 if (1, -1) in feature_irreps(symmetry_group(s.group), 1) else 1
        self.vector, self.deviator, self.handed = (1, odd), (2, 1), (0, odd)
        ends = {
            "dipole": self.vector,
            "polarizability": self.deviator,
            "pseudoscalar": self.handed,
        }
        read = [(0, 1), *(ends[head] for head in s.heads if head in ends)]
        self._make_features(s, z, read, "pseudoscalar" in s.heads, dtype)
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
        """Floating-point type of the weights."""
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
            results = self._outputs(graph, vectors, table, batch, size, pos)
            if first:
                (g,) = torch.autograd.grad(
                    results["energy"].sum(),
                    vectors,
                    retain_graph=create or bool(per_atom),
                    create_graph=create or "hessian" in wanted,
                )
                g = torch.where(table.mask[..., None], g, 0.0)
                # dE/dr: an edge ends in its sender and begins in its receiver.
                results["forces"] = g.sum(1).index_add(0, table.sender.flatten(), -g.flatten(0, 1))
                if "stress" in wanted:
                    virial = torch.einsum("nsi,nsj->nij", vectors, g)
                    total = virial.new_zeros(size, 3, 3).index_add(0, batch, virial)
                    total = 0.5 * (total + total.transpose(1, 2))
                    results["stress"] = total / graph.volume[:, None, None]
            if "hessian" in wanted:
                results["hessian"] = -_rows(results["forces"].flatten(), pos, create).flatten(1)
            if "born_charges" in wanted:
                z = _rows(results["dipole"].sum(0), pos, create)
                results["born_charges"] = z.transpose(0, 1)
            if "polarizability_gradient" in wanted:
                six = torch.einsum("bij,mij->m", results["polarizability"], self.symmetric)
                rows = _rows(six, pos, create)
                results["polarizability_gradient"] = torch.einsum(
                    "mkl,mij->klij", rows, self.symmetric
                )
        return {k: v if create else v.detach() for k, v in results.items() if k in wanted}

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

        one_hot = torch.nn.functional.one_hot(graph.species, len(s.elements)).to(vectors.dtype)
        layers, bessel, envelope = self._features(one_hot, vectors, table)
        last, of = layers[-1], places(self.irreps[-1])
        scalars = last[:, :, 0].T
        results: dict[str, Tensor] = {}
        if "energy" in s.heads:
            e = sum(
                (read(x[:, :, 0].T) for read, x in zip(self.energies, layers, strict=True)),
                torch.zeros_like(scalars[:, :1]),
            )
            results["energies"] = self.references[graph.species] + self.scale * e[:, 0]
            results["energy"] = total(results["energies"])
        if "dipole" in s.heads:
            # e3nn's l = 1 is (x, y, z).
            mu = self.tensors["dipole"](scalars, last[:, :, of[self.vector]])
            transfer = torch.einsum(
                "nk,nsk->ns", self.tensors["charges"](scalars), bessel * envelope
            )
            transfer = transfer / s.neighbours
            mu = self.dipole_scale * total(mu - torch.einsum("ns,nsi->ni", transfer, vectors))
            q = transfer.sum(1).index_add(0, table.sender.flatten(), -transfer.flatten())
            share = graph.charge / torch.bincount(batch, minlength=size)
            results["charges"] = self.dipole_scale * q + share[batch]
            if graph.charge.any():
                mass = total(graph.masses)
                centre = total(graph.masses[:, None] * pos) / mass[:, None]
                mu = mu + total(share[batch][:, None] * (pos - centre[batch]))
            results["dipole"] = mu
        if "polarizability" in s.heads:
            scale = self.polarizability_scale
            mean = self.mean_polarizabilities[graph.species]
            mean = mean + scale * self.tensors["mean"](scalars)[:, 0]
            deviator = self.tensors["deviator"](scalars, last[:, :, of[self.deviator]])
            six = torch.cat([math.sqrt(3) * mean[:, None], scale * deviator], dim=1)
            results["polarizability"] = torch.einsum("bm,mij->bij", total(six), self.symmetric)
        if "pseudoscalar" in s.heads:
            hand = self.tensors["pseudoscalar"](scalars, last[:, :, of[self.handed]])
            results["pseudoscalar"] = total(hand)[:, 0]
        return results

    def _check_outputs(self, graph: Data, outputs: Collection[str]) -> None:
        for name in outputs:
            if name not in OUTPUTS:
                raise InputError(f"unknown output {name!r}; known are {', '.join(OUTPUTS)}")
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
        """Write to one file, whole or not at all; `load_potential` reads it.

        Args:
            path: of the file.

        Raises:
            InputError: the file cannot be written.
        """
        description = {
            "kind": "potential",
            "dtype": str(self.dtype).removeprefix("torch."),
            "settings": self.describe(),
            "metadata": self.metadata,
        }
        write_tensors(path, description, self.state_dict())


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
    lowest = max({"dipole": 1, "polarizability": 2}.get(h, 0) for h in s.heads)
    s.check(lowest, f"heads {', '.join(s.heads)}")


def load_potential(path: str | Path, dtype: torch.dtype | None = None) -> Potential:
    """Load the potential in a file, ready to be evaluated.

    Args:
        path: a file that `Potential.save` wrote.
        dtype: of the weights; None keeps the one they were written in.

    Raises:
        InputError: the file is missing, damaged, not a potential, or of a newer format.
    """
    description, tensors = read_tensors(path, "potential")
    if description.get("kind") != "potential":
        raise InputError(f"{path}: a law, not a potential; load it with load_law")
    with rebuilding(path, "potential"):
        stored = description["settings"]
        settings = PotentialSettings(
            **stored | {k: tuple(stored[k]) for k in ("elements", "heads")}
        )
        potential = Potential(settings, getattr(torch, description["dtype"]))
        potential.load_state_dict(tensors)
        potential.metadata = description["metadata"]
    return potential.to(dtype or potential.dtype).eval()
