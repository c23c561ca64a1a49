"""Grains: the law of each cell of a mesh, and the orientation of its crystal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from dolfinx import la
from dolfinx import mesh as dmesh
from dolfinx.io.gmsh import MeshData
from scipy.spatial import cKDTree
from torch import Tensor

from objstress.elasticity.orientations import check_rotations
from objstress.errors import InputError
from objstress.laws.base import MaterialLaw, as_deformation
from objstress.laws.under_field import ELECTRIC_SHAPES, as_field
from objstress.parallel import on_every_rank
from objstress.symmetry.point_group import PointGroup

type Ids = np.ndarray | dmesh.MeshTags | Callable[[np.ndarray], np.ndarray]


class Grains:
    """A law and an orientation for each grain, a grain for each cell.

    Args:
        ids: the grain of each cell, from 0: a function of the cells' midpoints (n, 3) (right on
            any number of ranks, such as `Voronoi`), mesh tags of the cells, or integers for the
            local cells, ghosts last.
        orientations: (g, 3, 3), Q of each grain, crystal frame to sample frame.
        laws: one law for all grains, or one for each (the same object may stand for many).

    Raises:
        InputError: orientations that are no rotations (the first is named), or not as many laws
            as orientations.
    """

    def __init__(
        self, ids: Ids, orientations: Any, laws: MaterialLaw | Sequence[MaterialLaw]
    ) -> None:
        self.ids = ids
        self.orientations = check_rotations(orientations)
        n = len(self.orientations)
        self.laws = [laws] * n if isinstance(laws, MaterialLaw) else list(laws)
        if len(self.laws) != n:
            raise InputError(f"{len(self.laws)} laws for {n} orientations: give one law or {n}")

    @classmethod
    def of_groups(
        cls,
        data: MeshData,
        orientations: Mapping[int | str, Any],
        laws: MaterialLaw | Sequence[MaterialLaw],
    ) -> Grains:
        """Grains that are groups of cells in a mesh file.

        Args:
            data: what `read_mesh` returns.
            orientations: Q (3, 3) of each group, by its tag or name, crystal frame to sample frame.
            laws: one law for all groups, or one for each, in the same order.

        Raises:
            InputError: a mesh without tags of its cells, a group that it does not have, cells in
                none of these groups.
        """
        tags = data.cell_tags
        if tags is None:
            raise InputError("the mesh has no tags of its cells: name their groups in the mesher")
        comm, dim = data.mesh.comm, data.mesh.topology.dim
        known = sorted(set().union(*comm.allgather(set(tags.values.tolist()))))
        named = {name: g.tag for name, g in data.physical_groups.items() if g.dim == dim}
        numbers = [named.get(group, group) for group in orientations]
        if len(set(numbers)) < len(numbers):
            raise InputError(
                f"a group of cells is given twice: {', '.join(map(repr, orientations))}"
            )
        for group, number in zip(orientations, numbers, strict=True):
            if number not in known:
                there = [*map(repr, named), *(str(n) for n in known if n not in named.values())]
                raise InputError(f"no group {group!r} of cells, there are {', '.join(there)}")
        if left := [n for n in known if n not in numbers]:
            raise InputError(f"cells with tag {left[0]} are in none of the groups given")
        values = np.searchsorted(np.sort(numbers), tags.values)
        ids = np.argsort(numbers)[values].astype(np.int32)
        of_cells = dmesh.meshtags(data.mesh, dim, tags.indices, ids)
        return cls(of_cells, list(orientations.values()), laws)

    def of_cells(self, mesh: dmesh.Mesh) -> np.ndarray:
        """The number of the grain of each local cell, ghosts last, int (cells,).

        Args:
            mesh: whose cells they are.

        Raises:
            InputError: cells without a grain, or a grain without an orientation and a law.
        """
        return on_every_rank(mesh.comm, lambda: self._of_local_cells(mesh))

    def _of_local_cells(self, mesh: dmesh.Mesh) -> np.ndarray:
        cells = mesh.topology.index_map(mesh.topology.dim)
        number = cells.size_local + cells.num_ghosts
        if isinstance(self.ids, dmesh.MeshTags):
            if self.ids.dim != mesh.topology.dim:
                raise InputError(f"mesh tags of dimension {self.ids.dim}: give tags of the cells")
            of_all = la.vector(cells, dtype=np.int64)
            of_all.array[:] = -1
            of_all.array[self.ids.indices] = self.ids.values
            of_all.scatter_forward()
            grains = of_all.array
            if (grains < 0).any():
                raise InputError(f"{(grains < 0).sum()} of {number} cells have no grain")
        elif callable(self.ids):
            every = np.arange(number, dtype=np.int32)
            middle = dmesh.compute_midpoints(mesh, mesh.topology.dim, every)
            grains = np.asarray(self.ids(middle))
        else:
            grains = np.asarray(self.ids)
        if grains.shape != (number,) or not np.issubdtype(grains.dtype, np.integer):
            raise InputError(
                f"grain ids of shape {grains.shape} and type {grains.dtype}: give an integer for "
                f"each of the {number} cells"
            )
        unknown = np.setdiff1d(grains, np.arange(len(self.orientations)))
        if len(unknown):
            raise InputError(
                f"grain {unknown[0]} has no law: there are {len(self.orientations)} "
                "orientations, and grains count from 0"
            )
        return grains


class GrainsLaw(MaterialLaw):
    """The laws of all cells as one law of the quadrature points of a mesh, in their order.

    Points of one law are evaluated together, whatever grain they lie in: W(F Q) with each
    point's own Q. F may belong to the first cells alone.

    Args:
        grains: see `Grains`.
        mesh: whose cells they are.
        points: quadrature points of a cell.

    Attributes:
        cell_grains: the grain of each local cell.
        outside_action: the strictest of the laws'.
        knows_field, largest_field: of all of them.
    """

    point_group = PointGroup("1")

    def __init__(self, grains: Grains, mesh: dmesh.Mesh, points: int):
        self.grains, self.points = grains, points
        actions = {law.outside_action for law in grains.laws}
        self.outside_action = next(a for a in ("error", "warn", "ignore") if a in actions)
        self.knows_field = all(law.knows_field for law in grains.laws)
        limits = [law.largest_field for law in grains.laws if law.largest_field is not None]
        self.largest_field = min(limits, default=None)
        self.cell_grains = grains.of_cells(mesh)
        self.Q = torch.tensor(grains.orientations)
        self._arrange(np.repeat(self.cell_grains, points))

    def _arrange(self, of_point: np.ndarray) -> None:
        """Sort points by their laws, from the grain of each."""
        laws = self.grains.laws
        self._of_point = torch.tensor(of_point)
        distinct = {id(law): law for law in laws}
        number = np.array([list(distinct).index(id(law)) for law in laws])
        self._parts = [
            (law, torch.tensor(np.flatnonzero(number[of_point] == k)))
            for k, law in enumerate(distinct.values())
        ]

    def in_cells(self, cells: np.ndarray) -> GrainsLaw:
        """The law of one point in each of these local cells, (cells,)."""
        law = copy(self)
        law.points, law.cell_grains = 1, self.cell_grains[cells]
        law._arrange(law.cell_grains)
        return law

    @property
    def several(self) -> bool:
        """Whether the grains have several laws."""
        return len(self._parts) > 1

    def only_law(self) -> MaterialLaw:
        """The law of all grains.

        Raises:
            InputError: grains of several laws.
        """
        if self.several:
            raise InputError(
                "the grains have several laws, assembly 'ufl' takes one: leave it at 'quadrature'"
            )
        return self._parts[0][0]

    def response(self, F: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        shapes = ((), (3, 3), (3, 3, 3, 3))[: order + 1]
        response = tuple(f.new_empty(len(f), *shape) for shape in shapes)
        for law, rows in self._pieces(len(f)):
            q = self.Q[self._of_point[rows]].to(f.device)
            parts = law.response(f[rows] @ q, order)
            response[0][rows] = parts[0]
            if order >= 1:
                response[1][rows] = parts[1] @ q.transpose(1, 2)
            if order >= 2:
                # A_iJkL = A_iMkN Q_JM Q_LN, one index after the other.
                last = parts[2].reshape(-1, 27, 3) @ q.transpose(1, 2)
                first = last.view(-1, 3, 3, 9).transpose(2, 3).reshape(-1, 27, 3)
                first = first @ q.transpose(1, 2)
                response[2][rows] = first.view(-1, 3, 9, 3).transpose(2, 3).view(-1, 3, 3, 3, 3)
        return response

    def electric_response(self, F: Any, E0: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        field = as_field(E0, f)
        shapes = ELECTRIC_SHAPES[: (1, 3, 6)[order]]
        response = tuple(f.new_empty(len(f), *shape) for shape in shapes)
        for law, rows in self._pieces(len(f)):
            q = self.Q[self._of_point[rows]].to(f.device)
            back = q.transpose(1, 2)
            e = (field[rows, None] @ q)[:, 0]
            parts = law.electric_response(f[rows] @ q, e, order)
            response[0][rows] = parts[0]
            if order >= 1:
                response[1][rows] = parts[1] @ back
                response[2][rows] = (parts[2][:, None] @ back)[:, 0]
            if order >= 2:
                response[3][rows] = torch.einsum("nimkp,njm,nlp->nijkl", parts[3], q, q)
                response[4][rows] = torch.einsum("nimp,njm,nkp->nijk", parts[4], q, q)
                response[5][rows] = q @ parts[5] @ back
        return response

    def in_crystal(self, F: Any) -> Tensor:
        f = as_deformation(F)
        return f @ self.Q[self._of_point[: len(f)]].to(f.device)

    def outside(self, F: Any) -> Tensor:
        return self._gather(F, lambda law, f: law.outside(f), torch.bool)

    def stress_error(self, F: Any) -> Tensor | None:
        if any(law.stress_error(np.eye(3)[None]) is None for law, _ in self._parts):
            return None
        return self._gather(F, lambda law, f: law.stress_error(f), torch.float64)

    def _gather(self, F: Any, what: Callable[[MaterialLaw, Tensor], Any], dtype: Any) -> Tensor:
        f = as_deformation(F)
        values = f.new_empty(len(f), dtype=dtype)
        for law, rows in self._pieces(len(f)):
            values[rows] = what(law, f[rows] @ self.Q[self._of_point[rows]].to(f.device))
        return values

    def _pieces(self, n: int) -> Iterator[tuple[MaterialLaw, Tensor]]:
        """Each law with the rows of its points among the first n, a chunk at a time."""
        for law, rows in self._parts:
            inside = rows[: int(torch.searchsorted(rows, n))]
            for piece in inside.split(self.chunk):
                yield law, piece


def distinct_laws(law: MaterialLaw) -> list[MaterialLaw]:
    """The laws of a body's grains, each once; that of a body of one crystal.

    Args:
        law: of a `Material`.
    """
    laws = law.grains.laws if isinstance(law, GrainsLaw) else [law]
    return list({id(one): one for one in laws}.values())


class Voronoi:
    """Grains of a Poisson-Voronoi tessellation: a cell belongs to the seed nearest its midpoint.

    Args:
        seeds: points (g, 3), a length.
        period: edge lengths of the box from the origin that repeats in space; None for a body
            that does not.

    Raises:
        InputError: seeds of another shape, or outside the box.
    """

    def __init__(self, seeds: Any, period: Sequence[float] | None = None):
        self.seeds = np.asarray(seeds, dtype=np.float64)
        if self.seeds.ndim != 2 or self.seeds.shape[1] != 3 or not np.isfinite(self.seeds).all():
            raise InputError(f"seeds of shape {self.seeds.shape}: give finite points (g, 3)")
        self.period = None if period is None else np.asarray(period, dtype=np.float64)
        if self.period is not None and not (
            (self.seeds >= 0).all() and (self.seeds < self.period).all()
        ):
            raise InputError("seeds of a periodic tessellation must lie in its box")
        self._tree = cKDTree(self.seeds, boxsize=self.period)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The grain of each point (n, 3), int (n,)."""
        inside = points if self.period is None else points % self.period
        return self._tree.query(inside)[1]


def random_seeds(grains: int, size: Sequence[float], seed: int = 0) -> np.ndarray:
    """Draw points uniformly in the box from the origin to `size`, for `Voronoi`.

    Args:
        grains: number of points.
        size: edge lengths of the box.
        seed: of the random numbers.

    Returns:
        (grains, 3), in the unit of `size`.

    Raises:
        InputError: less than one grain.
    """
    if grains < 1:
        raise InputError(f"{grains} grains: give at least one")
    return np.random.default_rng(seed).uniform(size=(grains, 3)) * np.asarray(size, dtype=float)
