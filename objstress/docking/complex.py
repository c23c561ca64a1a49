"""A ligand in the site of a protein."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from objstress.docking.flexible import side_chains
from objstress.docking.ligand import Ligand
from objstress.docking.protein import Protein
from objstress.docking.site import site_graph
from objstress.docking.torsion_tree import TorsionTree


def make_complex(ligand: Ligand, site: Protein, flexible: Sequence[str] = ()) -> Complex:
    """What a `PoseEnergy` reads; the native pose is the ligand's own place.

    Args:
        flexible: residues whose side chains move, see `side_chains`. They repel each other and the
            rest of the site; what else holds them in their places is not known to the energy.
    """
    n, chains = len(ligand.positions), side_chains(site, flexible)
    carried = torch.tensor(chains.atoms)
    tree, f = ligand.tree, len(chains.atoms)
    moves = torch.zeros(len(tree) + len(chains.axes), n + f, dtype=torch.bool)
    moves[: len(tree), :n] = tree.moves
    moves[len(tree) :, n:] = torch.tensor(chains.moves)
    turning = chains.moves.any(0)
    walls = turning[:, None] & ~chains.own
    walls[:, chains.atoms] = False
    both = np.triu(turning[:, None] | turning) & ~chains.own[:, chains.atoms]
    return Complex(
        site_graph(ligand.positions, ligand.features, ligand.edges),
        site_graph(site.positions, site.features, site.edges()),
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
