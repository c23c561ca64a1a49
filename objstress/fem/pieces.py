"""The pieces of a body: which nodes hang together by its cells."""

from __future__ import annotations

import numpy as np
from dolfinx import common, la
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def first_of_piece(pairs: np.ndarray, number: int) -> np.ndarray:
    """For each of 0 .. number - 1 the least of those that pairs (2, n) tie it to."""
    graph = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(number, number))
    _, piece = connected_components(graph, directed=False)
    _, first = np.unique(piece, return_index=True)
    return first[piece]


def pieces_of(index_map: common.IndexMap, cells: np.ndarray) -> tuple[int, np.ndarray]:
    """The pieces that nodes hang together in, over all ranks.

    Args:
        index_map: of the nodes.
        cells: local nodes of each local cell (cells, nodes of each).

    Returns:
        How many there are, and the piece of each local node, ghosts last, from 0.
    """
    comm, owned = index_map.comm, index_map.size_local
    number = owned + index_map.num_ghosts
    within = np.stack([np.repeat(cells[:, 0], cells.shape[1]), cells.ravel()])
    # Pieces of this rank, numbered over all ranks; a shared node ties its owner's to ours.
    base = sum(comm.allgather(number)[: comm.rank])
    here = base + first_of_piece(within, number)
    piece = la.vector(index_map, dtype=np.int64)
    piece.array[:] = here
    piece.scatter_forward()
    ties = np.unique(np.stack([here, piece.array])[:, owned:], axis=1)
    known = np.unique(np.concatenate(comm.allgather(np.unique(here))))
    ties = np.searchsorted(known, np.concatenate(comm.allgather(ties), axis=1))
    first = first_of_piece(ties, len(known))
    left, of_known = np.unique(first, return_inverse=True)
    return len(left), of_known[np.searchsorted(known, here)]
