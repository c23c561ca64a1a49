"""The edges of a batch of graphs as a table: one row for each receiver."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data


class NeighbourTable:
    """Edges in rows of their receivers, padded to the longest row.

    A sum over the neighbours of every atom is then one matrix product.

    Args:
        graph: of `atom_graph`, or a batch of them; edges sorted by receiver.

    Attributes:
        sender: (n, s) node indices; padding names node 0.
        shift: (n, s, 3) in lattice vectors.
        mask: (n, s) bool, False on padding.
    """

    def __init__(self, graph: Data):
        n = int(graph.num_nodes)
        sender, receiver = graph.edge_index
        counts = torch.bincount(receiver, minlength=n)
        longest = max(1, int(counts.max()))
        # Edges come sorted by receiver: the place in a row counts from the row's first edge.
        place = torch.arange(len(receiver), device=sender.device)
        place = place - (counts.cumsum(0) - counts)[receiver] + receiver * longest
        self.sender = sender.new_zeros(n * longest).index_copy(0, place, sender).view(n, longest)
        self.shift = (
            graph.shift.new_zeros(n * longest, 3)
            .index_copy(0, place, graph.shift)
            .view(n, longest, 3)
        )
        self.mask = torch.zeros(n * longest, dtype=torch.bool, device=sender.device)
        self.mask[place] = True
        self.mask = self.mask.view(n, longest)

    def vectors(self, pos: Tensor, cell: Tensor, batch: Tensor, padding: float) -> Tensor:
        """Edge vectors r_j + shift @ cell - r_i.

        Args:
            pos: (n, 3) Angstrom.
            cell: (structures, 3, 3) Angstrom, rows are lattice vectors.
            batch: (n,), which structure an atom belongs to.
            padding: Angstrom, the length of vectors on padding.

        Returns:
            (n, s, 3) Angstrom.
        """
        vectors = pos[self.sender] - pos[:, None]
        if cell.any():
            vectors = vectors + torch.einsum("nsi,nij->nsj", self.shift, cell[batch])
        away = vectors.new_tensor([padding, 0.0, 0.0])
        return torch.where(self.mask[..., None], vectors, away)
