"""Displacements that repeat with a box: which nodes of a mesh move as one."""

from __future__ import annotations

from itertools import product

import numpy as np
from dolfinx import common, cpp, fem, geometry, la
from mpi4py import MPI
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from objstress.errors import InputError
from objstress.fem.meshes import bounding_box


def periodic_space(V: fem.FunctionSpace, box: np.ndarray) -> tuple[fem.FunctionSpace, np.ndarray]:
    r"""The functions of V that repeat with a box.

    .. math:: W = \{w \in V: w(X) = w(X + (k_1 L_1, k_2 L_2, k_3 L_3)), k \in \mathbb Z^3\}

    A space like any other of dolfinx, with one node for all the nodes of V that move as one. Only
    nodes on the mesh's bounding box can have partners; their places are known to all ranks.

    Args:
        V: of Lagrange elements, on a mesh in three dimensions.
        box: its edge lengths L, (3,).

    Returns:
        W, and for each local node of V, ghosts last, the local node of W that it moves with.

    Raises:
        InputError: on all ranks: a mesh larger than the box, a node on a face where the solid
            continues beyond the opposite one and has no node there, or a body in separate pieces.
    """
    mesh, nodes = V.mesh, V.dofmap.index_map
    comm = mesh.comm
    low, high = bounding_box(mesh)
    tolerance = 1e-8 * float(box.max())
    if (high - low > box + tolerance).any():
        raise InputError(f"the mesh measures {high - low}, more than the cell's {box}")
    x = V.tabulate_dof_coordinates()[: nodes.size_local]
    outer = np.flatnonzero((np.minimum(x - low, high - x) < 2 * tolerance).any(axis=1))
    counts = comm.allgather(len(outer))
    mine = sum(counts[: comm.rank]) + np.arange(len(outer))
    places = np.concatenate(comm.allgather(x[outer]))
    partners, alone = _partners(places, box, low - tolerance, high + tolerance, tolerance)
    _check_free(V, alone)

    # Of the nodes that move as one the first leads; its rank counts it and owns it in W.
    leader = _first_of_piece(partners, len(places))
    leads = np.ones(nodes.size_local, dtype=bool)
    leads[outer] = leader[mine] == mine
    starts = np.cumsum([0, *comm.allgather(int(leads.sum()))])
    begin, end = starts[comm.rank : comm.rank + 2]
    numbers = la.vector(nodes, dtype=np.int64)
    numbers.array[: nodes.size_local] = begin + np.cumsum(leads) - 1
    of_outer = np.concatenate(comm.allgather(numbers.array[outer]))
    numbers.array[outer] = of_outer[leader[mine]]
    numbers.scatter_forward()

    foreign = (numbers.array < begin) | (numbers.array >= end)
    ghosts = np.unique(numbers.array[foreign])
    owners = np.searchsorted(starts, ghosts, side="right") - 1
    index_map = common.IndexMap(comm, int(end - begin), ghosts, owners.astype(np.int32), 1)
    follows = (numbers.array - begin).astype(np.int32)
    follows[foreign] = end - begin + np.searchsorted(ghosts, numbers.array[foreign])
    _check_one_piece(index_map, follows[V.dofmap.list])
    dofmap = cpp.fem.DofMap(
        V.dofmap.dof_layout,
        index_map,
        V.dofmap.index_map_bs,
        cpp.graph.AdjacencyList_int32(follows[V.dofmap.list]),
        V.dofmap.bs,
    )
    space = cpp.fem.FunctionSpace_float64(mesh._cpp_object, V.element._cpp_object, dofmap)
    return fem.FunctionSpace(mesh, V.ufl_element(), space), follows


def _partners(
    places: np.ndarray, box: np.ndarray, low: np.ndarray, high: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of places that differ by edges of the box (2, n), and images within low, high that
    meet none (m, 3)."""
    tree, pairs, alone = cKDTree(places), [], []
    for offset in product((-1, 0, 1), repeat=3):
        if offset == (0, 0, 0):
            continue
        moved = places + offset * box
        inside = np.flatnonzero(((moved > low) & (moved < high)).all(axis=1))
        distance, partner = tree.query(moved[inside])
        met = distance < tolerance
        pairs.append(np.stack([inside[met], partner[met]]))
        alone.append(moved[inside[~met]])
    return np.concatenate(pairs, axis=1), np.concatenate(alone)


def _first_of_piece(pairs: np.ndarray, number: int) -> np.ndarray:
    """For each of 0 .. number - 1 the least of those that pairs (2, n) tie it to."""
    graph = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(number, number))
    _, piece = connected_components(graph, directed=False)
    _, first = np.unique(piece, return_index=True)
    return first[piece]


def _check_free(V: fem.FunctionSpace, images: np.ndarray) -> None:
    """An image of a node without a node there must lie in a void, not in an element."""
    mesh, hits = V.mesh, 0
    if len(images) and mesh.topology.index_map(3).size_local:
        candidates = geometry.compute_collisions_points(geometry.bb_tree(mesh, 3), images)
        hits = len(geometry.compute_colliding_cells(mesh, candidates, images).array)
    if mesh.comm.allreduce(hits, op=MPI.SUM):
        raise InputError(
            "nodes on the cell's faces have no partner on the opposite face: mesh opposite "
            "faces alike"
        )


def _check_one_piece(index_map: common.IndexMap, cells: np.ndarray) -> None:
    """All nodes hang together by the cells (cells, nodes of each), over all ranks."""
    comm, owned = index_map.comm, index_map.size_local
    number = owned + index_map.num_ghosts
    within = np.stack([np.repeat(cells[:, 0], cells.shape[1]), cells.ravel()])
    # Pieces of this rank, numbered over all ranks; a shared node ties its owner's to ours.
    base = sum(comm.allgather(number)[: comm.rank])
    here = base + _first_of_piece(within, number)
    piece = la.vector(index_map, dtype=np.int64)
    piece.array[:] = here
    piece.scatter_forward()
    ties = np.unique(np.stack([here, piece.array])[:, owned:], axis=1)
    pieces = np.concatenate(comm.allgather(np.unique(here)))
    ties = np.searchsorted(pieces, np.concatenate(comm.allgather(ties), axis=1))
    left = len(np.unique(_first_of_piece(ties, len(pieces))))
    if left > 1:
        raise InputError(f"the cell's solid is in {left} pieces: keep the one that bears the load")
