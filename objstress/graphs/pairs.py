"""Edges gathered by (receiver, sender), to be summed before the tensor product.

In a homogeneously deformed crystal all images of an atom carry the same features. A sum over the
edges between two atoms of the cell can therefore be done before the tensor product with the
sender's features: 4 products instead of 32 for silicon.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data


class EdgePairs(torch.nn.Module):
    """The reference edges of a graph, padded to one row for each (receiver, sender) pair.

    Attributes:
        receiver, sender: (p,) node indices.
        vectors: (p, m, 3) reference edge vectors; padding repeats an edge of the row.
        mask: (p, m) 1 for edges, 0 for padding.
        nodes: number of nodes.
    """

    receiver: Tensor
    sender: Tensor
    vectors: Tensor
    mask: Tensor

    def __init__(self, graph: Data):
        super().__init__()
        self.nodes = int(graph.num_nodes)
        sender, receiver = graph.edge_index
        pair, inverse = torch.unique(receiver * self.nodes + sender, return_inverse=True)
        counts = torch.bincount(inverse)
        order = torch.argsort(inverse, stable=True)
        start = torch.cumsum(counts, 0) - counts
        slot = torch.arange(int(counts.max()))
        valid = slot[None] < counts[:, None]
        index = order[start[:, None] + torch.where(valid, slot[None], 0)]
        vectors = graph.edge_vec[index]
        for name, value in {
            "receiver": pair // self.nodes,
            "sender": pair % self.nodes,
            "vectors": vectors,
            "mask": valid.to(vectors.dtype),
        }.items():
            self.register_buffer(name, value, persistent=False)
