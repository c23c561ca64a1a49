"""Displacements that repeat with a lattice: which nodes of a mesh move as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from dolfinx import common, cpp, fem, geometry, la
from dolfinx import mesh as dmesh
from mpi4py import MPI
from scipy.spatial import cKDTree

from objstress.errors import InputError
from objstress.fem.pieces import first_of_piece, pieces_of

INWARD = 0.1
"""Of the way from a cell's node to its midpoint: inside the solid, wherever the node is."""


def lattice_vectors(size: Any) -> np.ndarray:
    """The lattice vectors of a cell as rows (3, 3), float64.

    Args:
        size: these rows, or the three edge lengths of a box along x, y and z.

    Raises:
        InputError: another shape, not finite, edge lengths that are not positive, vectors in one
            plane or left-handed.
    """
    vectors = np.asarray(size, dtype=np.float64)
    if vectors.shape == (3,) and (vectors > 0).all():
        vectors = np.diag(vectors)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise InputError(
            f"size = {size}: give the cell's three edge lengths, all positive, or its three "
            "lattice vectors as rows"
        )
    volume = np.linalg.det(vectors)
    if abs(volume) <= 1e-9 * np.linalg.norm(vectors, axis=1).prod():
        raise InputError(f"size = {size}: the three lattice vectors lie in one plane")
    if volume < 0:
        raise InputError(
            f"size = {size}: the lattice vectors are left-handed, exchange two of them"
        )
    return vectors


@dataclass(frozen=True)
class _Span:
    """How far a mesh reaches, in reduced coordinates s with X = s_1 a_1 + s_2 a_2 + s_3 a_3."""

    lattice: np.ndarray
    reduce: np.ndarray  # s = X @ reduce
    low: np.ndarray
    high: np.ndarray
    length: float  # below which two places are one
    margin: np.ndarray  # the same in reduced coordinates

    @classmethod
    def of(cls, mesh: dmesh.Mesh, lattice: np.ndarray) -> _Span:
        reduce = np.linalg.inv(lattice)
        s = mesh.geometry.x @ reduce
        low, high = np.empty(3), np.empty(3)
        mesh.comm.Allreduce(s.min(axis=0, initial=np.inf), low, op=MPI.MIN)
        mesh.comm.Allreduce(s.max(axis=0, initial=-np.inf), high, op=MPI.MAX)
        length = 1e-8 * float(np.linalg.norm(lattice, axis=1).max())
        return cls(lattice, reduce, low, high, length, length * np.linalg.norm(reduce, axis=0))

    def within(self, s: np.ndarray) -> np.ndarray:
        return ((s > self.low - self.margin) & (s < self.high + self.margin)).all(axis=-1)

    def can_repeat(self, x: np.ndarray) -> np.ndarray:
        """Whether places (n, 3) have an image where the mesh reaches."""
        s = x @ self.reduce
        ahead, behind = s + 1 < self.high + self.margin, s - 1 > self.low - self.margin
        return (ahead | behind).any(axis=1)

    def images(self, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Translation by translation the places that have an image where the mesh reaches, and
        these images."""
        s = x @ self.reduce
        reach = np.floor(self.high - self.low + 2 * self.margin).astype(int)
        for step in product(*(range(-n, n + 1) for n in reach)):
            if any(step):
                inside = np.flatnonzero(self.within(s + step))
                yield inside, x[inside] + step @ self.lattice


def periodic_space(
    V: fem.FunctionSpace, lattice: np.ndarray
) -> tuple[fem.FunctionSpace, np.ndarray]:
    r"""The functions of V that repeat with a lattice.

    .. math:: W = \{w \in V: w(X) = w(X + k_1 a_1 + k_2 a_2 + k_3 a_3), k \in \mathbb Z^3\}

    A space like any other of dolfinx, with one node for all the nodes of V that move as one. The
    mesh may have any shape whose images by the lattice do not overlap. Only nodes with an image
    where the mesh reaches can have partners; their places are known to all ranks.

    Args:
        V: of Lagrange elements, on a mesh in three dimensions.
        lattice: its vectors a as rows, (3, 3).

    Returns:
        W, and for each local node of V, ghosts last, the local node of W that it moves with.

    Raises:
        InputError: on all ranks: a mesh larger than the lattice's cell (it overlaps its images), a
            node on a face where the solid continues beyond the opposite one and has no node there,
            or a body in separate pieces.
    """
    mesh, nodes = V.mesh, V.dofmap.index_map
    comm = mesh.comm
    span = _Span.of(mesh, lattice)
    x = V.tabulate_dof_coordinates()
    _check_no_overlap(V, x, span)
    x = x[: nodes.size_local]
    outer = np.flatnonzero(span.can_repeat(x))
    counts = comm.allgather(len(outer))
    mine = sum(counts[: comm.rank]) + np.arange(len(outer))
    places = np.concatenate(comm.allgather(x[outer]))
    partners, alone = _partners(places, span)
    if _inside(mesh, alone):
        # An image of a node without a node there must lie in a void, not in an element.
        raise InputError(
            "nodes on the cell's faces have no partner on the opposite face: mesh opposite "
            "faces alike"
        )

    # Of the nodes that move as one the first leads; its rank counts it and owns it in W.
    leader = first_of_piece(partners, len(places))
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
    left, _ = pieces_of(index_map, follows[V.dofmap.list])
    if left > 1:
        raise InputError(f"the cell's solid is in {left} pieces: keep the one that bears the load")
    dofmap = cpp.fem.DofMap(
        V.dofmap.dof_layout,
        index_map,
        V.dofmap.index_map_bs,
        cpp.graph.AdjacencyList_int32(follows[V.dofmap.list]),
        V.dofmap.bs,
    )
    space = cpp.fem.FunctionSpace_float64(mesh._cpp_object, V.element._cpp_object, dofmap)
    return fem.FunctionSpace(mesh, V.ufl_element(), space), follows


def _partners(places: np.ndarray, span: _Span) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of places that differ by a translation (2, n), and images that meet none (m, 3)."""
    tree = cKDTree(places)
    pairs, alone = [np.zeros((2, 0), dtype=int)], [np.zeros((0, 3))]
    for which, moved in span.images(places):
        distance, partner = tree.query(moved)
        met = distance < span.length
        pairs.append(np.stack([which[met], partner[met]]))
        alone.append(moved[~met])
    return np.concatenate(pairs, axis=1), np.concatenate(alone)


def _inside(mesh: dmesh.Mesh, places: np.ndarray) -> bool:
    """Whether one of the places (n, 3), the same on all ranks, lies in an element."""
    hits = 0
    if len(places) and mesh.topology.index_map(3).size_local:
        candidates = geometry.compute_collisions_points(geometry.bb_tree(mesh, 3), places)
        hits = len(geometry.compute_colliding_cells(mesh, candidates, places).array)
    return bool(mesh.comm.allreduce(hits, op=MPI.SUM))


def _check_no_overlap(V: fem.FunctionSpace, x: np.ndarray, span: _Span) -> None:
    """No image of the mesh reaches into it: neither do points just inside the elements at nodes
    (n, 3) that can have partners."""
    mesh = V.mesh
    cells = V.dofmap.list[: mesh.topology.index_map(3).size_local]
    cell, corner = np.nonzero(span.can_repeat(x)[cells])
    middle = dmesh.compute_midpoints(mesh, 3, cell.astype(np.int32))
    nodes = x[cells[cell, corner]]
    points = nodes + INWARD * (middle - nodes)
    moved = [np.zeros((0, 3)), *(images for _, images in span.images(points))]
    if _inside(mesh, np.concatenate(mesh.comm.allgather(np.concatenate(moved)))):
        raise InputError(
            f"the mesh measures {span.high - span.low} lattice vectors and overlaps its images: "
            "more than the cell's part of space"
        )
