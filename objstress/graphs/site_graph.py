"""Molecules of a complex as graphs of their heavy atoms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from objstress.graphs.torsion_tree import TorsionTree

FEATURES = (
    "C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "metal",
    "aromatic", "ring", "donor", "acceptor", "positive", "negative", "hydrophobic", "planar",
)  # fmt: skip
"""What a heavy atom is known by, 0 or 1 each."""

# Trott and Olson, J. Comput. Chem. 31, 455 (2010): radii of AutoDock Vina, Angstrom.
RADII = dict(C=1.9, N=1.8, O=1.7, F=1.5, P=2.1, S=2.0, Cl=1.8, Br=2.0, I=2.2, metal=1.2)
HYDROGEN = 0.4
"""Angstrom, by which the hydrogen between a donor and an acceptor brings them nearer."""


@dataclass(frozen=True)
class Complex:
    """A ligand and the site that it may bind to, heavy atoms only.

    A pose is places of the ligand's atoms, and then of the site's atoms that are `carried`.

    Attributes:
        ligand, site: `site_graph` of each.
        tree: the rotatable bonds of a pose.
        inner: (2, m) pairs of a pose's atoms whose distance torsions change, four bonds apart or
            more: they only repel.
        torsions: (q, 4) atoms, one angle phi of each rotatable bond, and
        torsion_terms: (q, k, 2) kcal/mol, a_k and b_k of sum_k a_k cos k phi + b_k sin k phi,
            k from 0 on: `torsion_series`.
        native: (n + f, 3) the known pose, else the ligand as it came.
        automorphisms: (s, n), orders of the ligand's atoms that make the same molecule.
        carried: (f,) atoms of the site that move, those of flexible side chains.
        walls: (2, w) carried atoms, as counted in a pose, and atoms of the site that they must
            not overlap.
    """

    ligand: Data
    site: Data
    tree: TorsionTree
    inner: Tensor
    torsions: Tensor
    torsion_terms: Tensor
    native: Tensor
    automorphisms: Tensor
    carried: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    walls: Tensor = field(default_factory=lambda: torch.zeros(2, 0, dtype=torch.int64))


def site_graph(positions: np.ndarray, features: np.ndarray, edges: np.ndarray) -> Data:
    """
    Args:
        positions: (n, 3) Angstrom.
        features: (n, len(FEATURES)), 0 or 1.
        edges: (e, 2) sender and receiver, both directions.
    """
    order = np.lexsort((edges[:, 0], edges[:, 1]))
    table = np.array(list(RADII.values()))
    return Data(
        pos=torch.tensor(positions, dtype=torch.float64),
        features=torch.tensor(features, dtype=torch.float64),
        radii=torch.tensor(features[:, : len(table)] @ table, dtype=torch.float64),
        edge_index=torch.tensor(edges[order].T.copy(), dtype=torch.int64).reshape(2, -1),
        shift=torch.zeros(len(edges), 3, dtype=torch.float64),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
    )


def hydrogen_bonds(a: Data, b: Data) -> Tensor:
    """(n, m), 1 where one atom is a donor and the other an acceptor."""
    donor, acceptor = FEATURES.index("donor"), FEATURES.index("acceptor")
    gives = a.features[:, donor, None] * b.features[:, acceptor]
    takes = a.features[:, acceptor, None] * b.features[:, donor]
    return torch.maximum(gives, takes)


def contact_distances(a: Data, b: Data) -> Tensor:
    """(n, m) Angstrom: R_i + R_j, less `HYDROGEN` of a donor and an acceptor.

    Those of proteins are 2.8 to 3.0 Angstrom apart: Baker and Hubbard, Prog. Biophys. Mol. Biol.
    44, 97 (1984).
    """
    return a.radii[:, None] + b.radii - HYDROGEN * hydrogen_bonds(a, b)
