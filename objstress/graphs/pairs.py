"""Edges gathered by (receiver, sender), to be summed before the tensor product.

In a homogeneously deformed crystal all images of an atom carry the same features. A sum over the
edges between two atoms of the cell can therefore be done before the tensor product with the
sender's features: 4 products instead of 32 for silicon.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

PRODUCT = 20
"""What a row's tensor product costs, in edges: measured, and flat around it."""


class EdgePairs(torch.nn.Module):
    """Reference edges of a graph in rows of one sender each, as many rows for every receiver.

    A row holds at most m edges; a pair of atoms with more has several. m is what makes the work,
    rows x (m + `PRODUCT`), least: all edges of a pair in a small cell, few in a large one, where
    most pairs have a single edge and longer rows would be padding.

    Args:
        graph: of `crystal_graph`.

    Attributes:
        sender: (p,) node indices; rows [i p / nodes, (i + 1) p / nodes) are those of receiver i.
        vectors: (p, m, 3) reference edge vectors, Angstrom; padding repeats an edge of the graph.
        mask: (p, m) 1 for edges, 0 for padding.
        nodes: number of nodes.
    """

    sender: Tensor
    vectors: Tensor
    mask: Tensor

    def __init__(self, graph: Data):
        super().__init__()
        self.nodes = n = int(graph.num_nodes)
        sender, receiver = graph.edge_index
        pair = receiver * n + sender
        counts = torch.bincount(pair, minlength=n * n)

        def rows(m: int) -> Tensor:
            """Rows of each pair, (receiver, sender)."""
            return torch.div(counts + m - 1, m, rounding_mode="floor").reshape(n, n)

        m = min(
            range(1, int(counts.max()) + 1),
            key=lambda m: int(rows(m).sum(1).max()) * (m + PRODUCT),
        )
        of_pair = rows(m)
        slots = int(of_pair.sum(1).max())
        # Row of an edge: the receiver's first, then the rows of senders before, then its own turn.
        first = torch.cumsum(of_pair, 1) - of_pair + slots * torch.arange(n)[:, None]
        order = torch.argsort(pair, stable=True)
        turn = torch.arange(len(pair)) - (torch.cumsum(counts, 0) - counts)[pair[order]]
        row = first.reshape(-1)[pair[order]] + torch.div(turn, m, rounding_mode="floor")
        vectors = graph.edge_vec[0].expand(n * slots, m, 3).clone()
        mask = vectors.new_zeros(n * slots, m)
        senders = torch.zeros(n * slots, dtype=torch.long)
        vectors[row, turn % m], mask[row, turn % m] = graph.edge_vec[order], 1.0
        senders[row] = sender[order]
        for name, value in {"sender": senders, "vectors": vectors, "mask": mask}.items():
            self.register_buffer(name, value, persistent=False)
