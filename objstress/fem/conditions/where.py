"""Where a condition acts: one reader of `where` for displacements, loads and contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.io.gmsh import MeshData
from mpi4py import MPI

from objstress.errors import InputError
from objstress.fem.meshes import bounding_box, from_to, shortest_edge

Marker = Callable[[np.ndarray], np.ndarray]
"""Points (3, n) to bool (n,), as dolfinx expects it."""

type Tagged = tuple[dmesh.MeshTags | MeshData, int | str | Sequence[int | str]]
"""Mesh tags and one or several of their numbers; of a mesh file also names of its groups."""

type Where = str | Marker | Tagged
"""Planes such as "x=min & y=0", "boundary", a function of points, or tags with their numbers."""

SAME_PLANE = 1e-3
"""How far a node may be from a plane and still lie on it, in units of the shortest edge."""

NEAR_PLANE = 1e-2
"""How far from it a node is a near miss, likewise."""

TEXTS = "planes such as 'x=0', 'x=min & y=max', or 'boundary'"


class Places:
    """The nodes and facets of a mesh that conditions name.

    A node lies on a plane within 1e-3 of the mesh's shortest edge, which coordinates that were
    rounded to single precision keep as well.

    Args:
        mesh: a dolfinx mesh.
    """

    def __init__(self, mesh: dmesh.Mesh):
        self.mesh, self.comm, self.dim = mesh, mesh.comm, mesh.topology.dim
        self.box = bounding_box(mesh)
        size = float(np.ptp(self.box, axis=0).max())
        edge = shortest_edge(mesh)
        self._on = max(1e-8 * size, SAME_PLANE * edge)
        self._near = max(1e-8 * size, NEAR_PLANE * edge)

    def facets(self, where: Where, who: str) -> np.ndarray:
        """The local boundary facets that a load or a contact acts on.

        Args:
            where: of the condition.
            who: the condition in words.

        Raises:
            InputError: none is found, on any rank; tags of other entities or inside the body.
        """
        mesh, dim = self.mesh, self.dim
        outer = self._boundary()
        if isinstance(where, tuple):
            tagged, found = self._tagged(where, who)
            if tagged != dim - 1:
                raise InputError(f"{who}: tags of dimension {tagged}, give tags of facets")
            inside = self._sum(len(np.setdiff1d(self._owned(found), outer)))
            if inside:
                raise InputError(
                    f"{who}: {inside} of its facets lie inside the body, give some of its boundary"
                )
            found = np.intersect1d(found, outer)
        elif isinstance(where, str) and where == "boundary":
            found = outer
        else:
            found = dmesh.locate_entities_boundary(mesh, dim - 1, self._marker(where, who))
        if self._sum(len(found)) == 0:
            raise InputError(f"{who}: no boundary facet found there; {self._hint()}")
        return np.asarray(found, dtype=np.int32)

    def nodes(self, where: Where, who: str) -> Callable[[Any, Any], list[np.ndarray]]:
        """What finds the degrees of freedom of a component there: of (sub space, collapsed space).

        Args:
            where: of a displacement; tags of any dimension.
            who: the condition in words.

        Raises:
            InputError: tags of another mesh or without these numbers, a text that is no plane.
        """
        tagged = isinstance(where, tuple)
        if tagged or (isinstance(where, str) and where == "boundary"):
            dim, found = self._tagged(where, who) if tagged else (self.dim - 1, self._boundary())
            self.mesh.topology.create_connectivity(dim, self.dim)
            return lambda sub, space: fem.locate_dofs_topological((sub, space), dim, found)
        hit = self._marker(where, who)
        return lambda sub, space: fem.locate_dofs_geometrical((sub, space), hit)

    def nothing(self, where: Where, who: str) -> InputError:
        """What to raise where a displacement catches no node."""
        return InputError(f"{who}: no node found there; {self._hint()}")

    def near_misses(self, where: Where, space: fem.FunctionSpace) -> int:
        """Nodes of a space that all but lie on the planes of a text, over all ranks."""
        if not isinstance(where, str) or where == "boundary":
            return 0
        x = space.tabulate_dof_coordinates()[: space.dofmap.index_map.size_local].T
        near = self._planes(where, "", self._near)(x) & ~self._planes(where, "", self._on)(x)
        return self._sum(int(near.sum()))

    def _sum(self, number: int) -> int:
        return int(self.comm.allreduce(number, op=MPI.SUM))

    def _boundary(self) -> np.ndarray:
        self.mesh.topology.create_connectivity(self.dim - 1, self.dim)
        return dmesh.exterior_facet_indices(self.mesh.topology)

    def _owned(self, facets: np.ndarray) -> np.ndarray:
        return facets[facets < self.mesh.topology.index_map(self.dim - 1).size_local]

    def _tagged(self, where: Any, who: str) -> tuple[int, np.ndarray]:
        """Dimension and local indices of the entities with these tags."""
        if len(where) != 2:
            raise InputError(f"{who}: give (tags, number), or (tags, [numbers])")
        source, wanted = where
        several = isinstance(wanted, Sequence | np.ndarray) and not isinstance(wanted, str)
        wanted = list(wanted) if several else [wanted]
        dim = None
        groups = source.physical_groups if isinstance(source, MeshData) else {}
        numbers: list[int] = []
        for one in wanted:
            if isinstance(one, str) and isinstance(source, MeshData):
                if one not in groups:
                    raise InputError(f"{who}: no group {one!r}, there are {_listed(groups)}")
                group = groups[one]
                if dim not in (None, group.dim):
                    raise InputError(f"{who}: groups of several dimensions, {_listed(wanted)}")
                dim, one = group.dim, group.tag
            if isinstance(one, bool) or not isinstance(one, int | np.integer):
                raise InputError(f"{who}: {one!r} is not a tag, give whole numbers")
            numbers.append(int(one))
        tags = source
        if isinstance(source, MeshData):
            codim = 1 if dim is None else self.dim - dim
            tags = (source.cell_tags, source.facet_tags, source.ridge_tags, source.peak_tags)[codim]
            if tags is None:
                raise InputError(f"{who}: the mesh has no tags of facets")
        if not isinstance(tags, dmesh.MeshTags):
            raise InputError(
                f"{who}: tags of type {type(tags).__name__}, give dolfinx MeshTags and a number"
            )
        if tags.topology != self.mesh.topology._cpp_object:
            raise InputError(f"{who}: the tags belong to another mesh")
        known = sorted(set().union(*self.comm.allgather(set(tags.values.tolist()))))
        if missing := [n for n in numbers if n not in known]:
            names = {group.tag: name for name, group in groups.items() if group.dim == tags.dim}
            shown = [f"{n} ({names[n]})" if n in names else str(n) for n in known]
            raise InputError(f"{who}: no tag {missing[0]}, there are {', '.join(shown) or 'none'}")
        return tags.dim, tags.indices[np.isin(tags.values, numbers)]

    def _marker(self, where: Any, who: str) -> Marker:
        if isinstance(where, str):
            return self._planes(where, who, self._on)
        if callable(where):
            return _checked(where, who)
        kind = type(where).__name__
        more = " and a number, as in (tags, 3)" if isinstance(where, dmesh.MeshTags) else ""
        raise InputError(
            f"{who}: where is a {kind}{more}; give {TEXTS}, a function of points (3, n) that "
            "returns bool (n,), or (tags, number)"
        )

    def _planes(self, where: str, who: str, tolerance: float) -> Marker:
        low, high = self.box
        planes = []
        for part in where.split("&"):
            axis, _, text = part.replace(" ", "").partition("=")
            if axis not in ("x", "y", "z"):
                raise InputError(f"{who}: where = {where!r}, give {TEXTS}")
            k = "xyz".index(axis)
            try:
                value = {"min": low[k], "max": high[k]}.get(text)
                value = float(text) if value is None else float(value)
            except ValueError:
                raise InputError(f"{who}: where = {where!r}, {text!r} is not a number") from None
            if not np.isfinite(value):
                raise InputError(f"{who}: where = {where!r}, {text!r} is not finite")
            planes.append((k, value))

        def on_planes(x: np.ndarray) -> np.ndarray:
            hit = np.ones(x.shape[1], dtype=bool)
            for k, value in planes:
                hit &= np.abs(x[k] - value) < tolerance
            return hit

        return on_planes

    def _hint(self) -> str:
        return f"the mesh reaches {from_to(self.box, self.dim)}"


def _checked(where: Marker, who: str) -> Marker:
    """The function, with what it returns looked at: dolfinx would read past a shorter array."""

    def mark(x: np.ndarray) -> np.ndarray:
        hit = np.asarray(where(x))
        if hit.dtype != bool or hit.shape != (x.shape[1],):
            raise InputError(
                f"{who}: where returns {hit.dtype} {hit.shape} for {x.shape[1]} points, it must "
                "return bool (n,)"
            )
        return hit

    return mark


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names) or "none"
