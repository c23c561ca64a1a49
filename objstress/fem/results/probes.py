"""Displacement, strain and stress at points of a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import geometry
from dolfinx import mesh as dmesh

from objstress.errors import InputError
from objstress.fem.conditions.where import SAME_PLANE
from objstress.fem.meshes import bounding_box, cell_numbers, from_to, shortest_edge
from objstress.fem.solve.protocol import Shown
from objstress.fem.solve.supports import over_ranks
from objstress.parallel import on_every_rank

SAME_CELL = 1e-6
"""How far outside a cell, in its own coordinates, a point belongs to it as its neighbours' do."""


@dataclass(frozen=True)
class Probe:
    """The state of a body at points of it.

    Attributes:
        points: X in the undeformed body, (n, dim), a length; dim is 2 in plane strain.
        displacement: u, (n, dim), a length.
        F: deformation gradient, (n, 3, 3), dimensionless.
        energy: W, (n,), GPa.
        cauchy_stress: sigma, (n, 3, 3), GPa.
        green_lagrange: E, (n, 3, 3), dimensionless.
    """

    points: np.ndarray
    displacement: np.ndarray
    F: np.ndarray
    energy: np.ndarray
    cauchy_stress: np.ndarray
    green_lagrange: np.ndarray


def probe(problem: Shown, points: Any) -> Probe:
    r"""Evaluate the present state at points of the undeformed body, by elements and law themselves.

    .. math::

        F = I + \nabla u(X), \qquad \sigma = P(F)\, F^T / \det F, \qquad
        E = \tfrac12 (F^T F - I)

    with the law, and in a grain the orientation, of the cell that the point lies in. Strain and
    stress jump between cells: a point where several meet has those of the cell that comes first in
    the mesh's own numbering, on any number of ranks. All ranks call it and get the same.

    Args:
        problem: static or in motion, its present state is taken.
        points: X, (n, dim), a length, such as `numpy.linspace(start, end, n)` along a line; within
            1e-3 of its cell a point may lie outside the body.

    Raises:
        InputError: points of another shape or outside the body (the first is named), det F <= 0
            there.
    """
    mesh, dim = problem.mesh, problem.mesh.topology.dim
    x = np.asarray(points, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != dim or not np.isfinite(x).all():
        raise InputError(f"points of shape {x.shape}: give finite coordinates (n, {dim})")
    cells, reference = _find(mesh, x)
    mine = np.flatnonzero(cells >= 0)

    def evaluate() -> np.ndarray:
        """u, F, W and P in a row for each point, zero for those of other ranks."""
        values = np.zeros((len(x), dim + 19))
        if len(mine):
            u, f = _displacement(problem, cells[mine], reference[mine])
            f = problem.material.deformation_at(cells[mine], reference[mine], f)
            energy, piola = problem.material.law_in(cells[mine]).response(f, 1)
            columns = (u, f.reshape(-1, 9), energy.numpy()[:, None], piola.numpy().reshape(-1, 9))
            values[mine] = np.concatenate(columns, axis=1)
        return values

    values = over_ranks(mesh.comm, on_every_rank(mesh.comm, evaluate))
    f = values[:, dim : dim + 9].reshape(-1, 3, 3)
    piola = values[:, dim + 10 :].reshape(-1, 3, 3)
    transposed = f.transpose(0, 2, 1)
    return Probe(
        points=x,
        displacement=values[:, :dim],
        F=f,
        energy=values[:, dim + 9],
        cauchy_stress=piola @ transposed / np.linalg.det(f)[:, None, None],
        green_lagrange=0.5 * (transposed @ f - np.eye(3)),
    )


def _displacement(
    problem: Shown, cells: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """u (n, dim) and F (n, 3, 3) at a point of each of these cells, by its coordinates there."""
    mesh, V = problem.mesh, problem.u.function_space
    dim = mesh.topology.dim
    shapes = V.ufl_element().sub_elements[0].tabulate(1, reference)
    corners = mesh.ufl_domain().ufl_coordinate_element().sub_elements[0].tabulate(1, reference)
    nodes = problem.u.x.array.reshape(-1, dim)[V.dofmap.list[cells]]
    places = mesh.geometry.x[mesh.geometry.dofmap[cells], :dim]
    u = np.einsum("na,nai->ni", shapes[0], nodes)
    along = np.einsum("jna,nai->nij", shapes[1:], nodes)
    jacobian = np.einsum("jna,nai->nij", corners[1:], places)
    f = np.tile(np.eye(3), (len(cells), 1, 1))
    f[:, :dim, :dim] += along @ np.linalg.inv(jacobian)
    return u, f


def _find(mesh: dmesh.Mesh, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each point where this rank owns it, else -1, and the coordinates in it."""
    comm, dim = mesh.comm, mesh.topology.dim
    cells, reference = np.full(len(x), -1, dtype=np.int32), np.zeros_like(x)
    keys = [(np.inf, 0)] * len(x)
    numbers = cell_numbers(mesh, np.arange(mesh.topology.index_map(dim).size_local))
    for k, cell, inside, out in _candidates(mesh, x):
        key = (out if out > SAME_CELL else 0.0, int(numbers[cell]))
        if out < SAME_PLANE and key < keys[k]:
            keys[k], cells[k], reference[k] = key, cell, inside
    every = comm.allgather(keys)
    for k, found in enumerate(zip(*every, strict=True)):
        best = min(found)
        if best[0] == np.inf:
            place = ", ".join(f"{v:.6g}" for v in x[k])
            raise InputError(
                f"point {k} at ({place}) is outside the body, which reaches "
                f"{from_to(bounding_box(mesh), dim)} undeformed"
            )
        if found.index(best) != comm.rank:
            cells[k] = -1
    return cells, reference


def _candidates(mesh: dmesh.Mesh, x: np.ndarray) -> Any:
    """Point, owned cell near it, coordinates in the cell, and how far outside it these are."""
    topology, dim = mesh.topology, mesh.topology.dim
    cells = np.arange(topology.index_map(dim).size_local, dtype=np.int32)
    map_ = mesh.geometry.cmaps[0]
    # The box of a cell is that of its corners, beyond which curved faces may reach.
    padding = shortest_edge(mesh) * (SAME_PLANE if map_.degree == 1 else 1.0)
    if not len(cells):
        return
    tree = geometry.bb_tree(mesh, dim, padding=padding, entities=cells)
    padded = np.zeros((len(x), 3))
    padded[:, :dim] = x
    near = geometry.compute_collisions_points(tree, padded)
    simplex = topology.cell_type in (dmesh.CellType.tetrahedron, dmesh.CellType.triangle)
    for k in range(len(x)):
        for cell in near.links(k):
            nodes = mesh.geometry.x[mesh.geometry.dofmap[cell], :dim]
            try:
                (inside,) = map_.pull_back(x[k : k + 1], nodes)
            except RuntimeError:  # no convergence: far from the cell
                continue
            beyond = inside.sum() - 1 if simplex else inside.max() - 1
            yield k, cell, inside, max(-inside.min(), beyond)
