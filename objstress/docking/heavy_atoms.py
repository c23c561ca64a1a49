"""Graphs of heavy atoms, of a ligand or of a site, and the distances at which two of them touch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

FEATURES = (
    "C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "metal",
    "aromatic", "ring", "donor", "acceptor", "positive", "negative", "hydrophobic", "planar",
)  # fmt: skip
"""The features of a heavy atom, 0 or 1 each."""

# Trott and Olson, J. Comput. Chem. 31, 455 (2010): radii of AutoDock Vina, Angstrom.
RADII = dict(C=1.9, N=1.8, O=1.7, F=1.5, P=2.1, S=2.0, Cl=1.8, Br=2.0, I=2.2, metal=1.2)
HYDROGEN = 0.4
"""Angstrom by which the hydrogen between a donor and an acceptor brings them nearer."""


def heavy_atom_graph(positions: np.ndarray, features: np.ndarray, edges: np.ndarray) -> Data:
    """The graph of a ligand or a site that the encoders and the energy read.

    Args:
        positions: (n, 3) Angstrom.
        features: (n, len(FEATURES)), 0 or 1.
        edges: (e, 2) sender and receiver, both directions.

    Returns:
        pos, features and radii (Angstrom) of the atoms, edge_index sorted by receiver; no cell.
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
    """(n, m) Angstrom: R_i + R_j, less `HYDROGEN` between a donor and an acceptor.

    Those of proteins are 2.8 to 3.0 Angstrom apart: Baker and Hubbard, Prog. Biophys. Mol. Biol.
    44, 97 (1984).
    """
    return a.radii[:, None] + b.radii - HYDROGEN * hydrogen_bonds(a, b)
