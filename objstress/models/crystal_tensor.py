"""From a crystal straight to one of its property tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from objstress.errors import InputError
from objstress.graphs.elements import element_descriptors
from objstress.graphs.neighbours import NeighbourTable
from objstress.models.atom_network import AtomNetwork, AtomNetworkSettings
from objstress.nn.products import places
from objstress.nn.readout import ScalarReadout, TensorReadout
from objstress.symmetry.property_irreps import tensor_irreps
from objstress.symmetry.voigt import MANDEL

UNITS = {"elastic": "GPa", "dielectric": "-", "piezoelectric": "C/m^2", "born charges": "e"}
POSITIVE = ("elastic", "dielectric")
"""Kinds whose tensors are positive definite, and given as an exponential."""


@dataclass(frozen=True, kw_only=True)
class CrystalTensorSettings(AtomNetworkSettings):
    """Size of a network of one property tensor.

    Attributes:
        kind: "elastic", "dielectric", "piezoelectric" or "born charges".
        kinds: learned kinds of atoms, of which every element is a mixture; see `AtomNetwork`.
        group, cutoff, channels, layers, hidden_lmax, edge_lmax, later_lmax: as in
            `AtomNetworkSettings`; the cutoff in Angstrom.
        correlation, bessel, radial, readout, neighbours: as in `AtomNetworkSettings`.

    Raises:
        InputError: a number that makes no network, an unknown kind, or a group other than O(3).
    """

    kind: str = "elastic"
    kinds: int = 16
    channels: int = 16
    edge_lmax: int = 4
    later_lmax: int = 4
    correlation: int = 2

    def __post_init__(self):
        irreps, _ = tensor_irreps(self.kind)
        self.check(max(l for l, _ in irreps), f"a tensor of kind {self.kind!r}")
        if self.group != "O(3)":
            raise InputError(
                f"group = {self.group!r}: property tensors need O(3), under which what a crystal's "
                "symmetry forbids vanishes"
            )


class CrystalTensorNetwork(AtomNetwork):
    r"""From a crystal straight to one of its property tensors.

    .. math:: T = \sum_m B_m x_m \qquad \text{or} \qquad T = \exp \Bigl( \sum_m B_m x_m \Bigr)

    x is the mean over the atoms of what is read out of their features. Elastic and dielectric
    tensors take the exponential (of the 6 x 6 Mandel or 3 x 3 matrix): it makes T positive definite
    and lets the network learn ratios, and it keeps the symmetry, since B_m x_m rotates with the
    crystal (Arsigny et al., Magn. Reson. Med. 56, 411 (2006), for the log-Euclidean metric). Born
    charges are given atom by atom, less their mean: a common shift of all atoms makes no dipole.

    Equivariant under O(3), and a mean over the whole cell: T has at least the symmetry of the
    crystal whatever the weights; a centrosymmetric crystal's piezoelectric tensor is zero.
    An element is known by a mixture of learned kinds, softmax(MLP(`element_descriptors`)), so that
    elements without data borrow from those that are like them.

    Args:
        settings: kind of tensor and size of the network.
        dtype: of the weights.

    Attributes:
        shift: (width,) of x, set by the fit: the mean of its scalars.
        scale: of x about the shift.
        metadata: facts of the fit.
    """

    settings: CrystalTensorSettings
    basis: Tensor
    descriptors: Tensor
    mandel: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, settings: CrystalTensorSettings, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.settings = s = settings
        self.metadata: dict[str, Any] = {}
        self.tensor_irreps, basis = tensor_irreps(s.kind)
        known = element_descriptors()
        self.embedding = nn.Sequential(
            nn.Linear(known.shape[1], 2 * s.kinds, dtype=dtype),
            nn.SiLU(),
            nn.Linear(2 * s.kinds, s.kinds, dtype=dtype),
        )
        natural = all(p == (-1) ** l for l, p in self.tensor_irreps)
        self._make_features(
            s, s.kinds, [(0, 1), *self.tensor_irreps], both=not natural, dtype=dtype
        )
        self.readouts = nn.ModuleList(
            ScalarReadout(s.channels, s.readout, 1, dtype)
            if irrep == (0, 1)
            else TensorReadout(s.channels, dtype)
            for irrep in self.tensor_irreps
        )
        width = len(basis)
        self.register_buffer("shift", torch.zeros(width, dtype=dtype))
        self.register_buffer("scale", torch.ones((), dtype=dtype))
        for name, table in (("basis", basis), ("descriptors", known), ("mandel", MANDEL)):
            self.register_buffer(name, torch.tensor(table, dtype=dtype), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return self.shift.dtype

    def forward(self, graph: Data) -> tuple[Tensor, Tensor]:
        """
        Args:
            graph: `atom_graph` of crystals with `elements` = 1 ... 94, or a batch of them.

        Returns:
            x (b, width), or (n, width) for Born charges: components in the basis of
            `tensor_irreps`, of the logarithm where there is one; and the mean scalar features
            (b, channels), by which crystals are compared.
        """
        batch = getattr(graph, "batch", None)
        size = int(graph.num_graphs) if batch is not None else 1
        if batch is None:
            batch = torch.zeros_like(graph.species)
        count = torch.bincount(batch, minlength=size).to(self.dtype)[:, None]

        def mean(values: Tensor) -> Tensor:
            return values.new_zeros(size, values.shape[1]).index_add(0, batch, values) / count

        table = NeighbourTable(graph)
        vectors = table.vectors(graph.pos, graph.cell, batch, 2 * self.settings.cutoff)
        kinds = torch.softmax(self.embedding(self.descriptors[graph.species]), dim=-1)
        layers, _, _ = self._features(kinds, vectors, table)
        last, of = layers[-1], places(self.irreps[-1])
        scalars = last[:, :, of[(0, 1)].start].T
        parts = [
            read(scalars) if irrep == (0, 1) else read(scalars, last[:, :, of[irrep]])
            for irrep, read in zip(self.tensor_irreps, self.readouts, strict=True)
        ]
        x = self.scale * torch.cat(parts, dim=1)
        if self.settings.kind == "born charges":
            return x - mean(x)[batch], mean(scalars)
        return mean(x) + self.shift, mean(scalars)

    def tensors(self, x: Tensor) -> Tensor:
        """Tensors of components, the inverse of `components`.

        Args:
            x: (n, width), in the basis of `tensor_irreps`.

        Returns:
            (n, 3, ..., 3) in the unit of their kind: GPa, C/m^2, e, or dimensionless (dielectric).
        """
        tensors = torch.einsum("nm,m...->n...", x, self.basis)
        if self.settings.kind in POSITIVE:
            tensors = self._from_matrix(torch.linalg.matrix_exp(self._matrix(tensors)))
        return tensors

    def components(self, tensors: Tensor) -> Tensor:
        """Components x of tensors, the inverse of `tensors`.

        Args:
            tensors: (n, 3, ..., 3) in the unit of their kind: GPa, C/m^2, e, or dimensionless.

        Returns:
            (n, width), in the basis of `tensor_irreps`.

        Raises:
            InputError: a tensor that should be positive definite and is not.
        """
        if self.settings.kind in POSITIVE:
            matrix = self._matrix(tensors)
            values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
            if (values <= 0).any():
                bad = int((values <= 0).any(dim=1).nonzero()[0, 0])
                raise InputError(
                    f"tensor {bad} is not positive definite: an {self.settings.kind} tensor of an "
                    "unstable crystal; leave it out"
                )
            tensors = self._from_matrix((vectors * values.log()[:, None]) @ vectors.mT)
        return torch.einsum("n...,m...->nm", tensors, self.basis)

    def _matrix(self, tensors: Tensor) -> Tensor:
        """Tensors of rank 4 as 6 x 6 Mandel matrices; those of rank 2 are matrices."""
        if self.settings.kind != "elastic":
            return tensors
        return torch.einsum("aij,nijkl,bkl->nab", self.mandel, tensors, self.mandel)

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        if self.settings.kind != "elastic":
            return matrix
        return torch.einsum("aij,nab,bkl->nijkl", self.mandel, matrix, self.mandel)

    def describe(self) -> dict[str, Any]:
        """Settings that rebuild the network."""
        return asdict(self.settings)
