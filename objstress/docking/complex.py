"""A ligand in the site of a protein."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from objstress.docking.flexible import side_chains
from objstress.docking.heavy_atoms import heavy_atom_graph
from objstress.docking.ligand import Ligand
from objstress.docking.protein import Protein
from objstress.docking.torsion_tree import TorsionTree

if TYPE_CHECKING:
    from torch_geometric.data import Data


def make_complex(ligand: Ligand, site: Protein, flexible: Sequence[str] = ()) -> Complex:
    """The complex of a ligand and a site, its native pose being the ligand's own place.

    Args:
        ligand: see `read_ligand`.
        site: the part of a protein near the ligand, see `Protein.within`.
        flexible: residues whose side chains move, such as "A:315", see `side_chains`. They repel
            each other and the rest of the site; the energy knows nothing else that holds them in
            their places.

    Raises:
        InputError: a residue that `side_chains` refuses.
    """
    n, chains = len(ligand.positions), side_chains(site, flexible)
    carried = torch.tensor(chains.atoms)
    tree, f = ligand.tree, len(chains.atoms)
    moves = torch.zeros(len(tree) + len(chains.axes), n + f, dtype=torch.bool)
    moves[: len(tree), :n] = tree.moves
    moves[len(tree) :, n:] = torch.tensor(chains.moves)
    rotating = chains.moves.any(0)
    walls = rotating[:, None] & ~chains.residue
    walls[:, chains.atoms] = False
    both = np.triu(rotating[:, None] | rotating) & ~chains.residue[:, chains.atoms]
    return Complex(
        heavy_atom_graph(ligand.positions, ligand.features, ligand.edges),
        heavy_atom_graph(site.positions, site.features, site.edges()),
        TorsionTree(torch.cat([tree.axes, torch.tensor(chains.axes) + n]), moves, n),
        torch.cat([torch.tensor(ligand.inner), n + torch.tensor(np.argwhere(both).T)], dim=1),
        torch.tensor(ligand.torsions),
        torch.tensor(ligand.torsion_terms),
        torch.tensor(np.concatenate([ligand.positions, site.positions[chains.atoms]])),
        torch.tensor(ligand.automorphisms),
        carried,
        torch.tensor(np.argwhere(walls).T) + torch.tensor([[n], [0]]),
    )


@dataclass(frozen=True)
class Complex:
    """A ligand and the site that it may bind to, heavy atoms only.

    A pose is the places of the ligand's n atoms, followed by those of the f `carried` atoms.

    Attributes:
        ligand: its graph, `heavy_atom_graph`.
        site: its graph.
        tree: the rotatable bonds of a pose.
        inner: (2, m) pairs of a pose's atoms whose distance torsions change, four bonds apart or
            more: they only repel.
        torsions: (q, 4) atoms, one angle phi of each rotatable bond.
        torsion_terms: (q, k, 2) kcal/mol, a_k and b_k of sum_k a_k cos k phi + b_k sin k phi,
            k from 0 on, see `torsion_series`.
        native: (n + f, 3) Angstrom, the known pose, else the ligand as it was given.
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
