"""Meshes from files, with the tags of their groups."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import basix.ufl
import numpy as np
from dolfinx import mesh as dmesh
from dolfinx.cpp.io import perm_vtk
from dolfinx.graph import adjacencylist
from dolfinx.io import XDMFFile, distribute_entity_data
from dolfinx.io.gmsh import MeshData, PhysicalGroup, model_to_mesh
from mpi4py import MPI

from objstress.errors import InputError
from objstress.parallel import on_first_rank

CELLS = {
    "triangle": ("triangle", 1),
    "triangle6": ("triangle", 2),
    "quad": ("quadrilateral", 1),
    "quad9": ("quadrilateral", 2),
    "tetra": ("tetrahedron", 1),
    "tetra10": ("tetrahedron", 2),
    "hexahedron": ("hexahedron", 1),
    "hexahedron27": ("hexahedron", 2),
}
"""Cells of meshio that laws are solved on, with the degree of their geometry."""

DIMENSIONS = {"vertex": 0, "line": 1, "triangle": 2, "quad": 2}


def read_mesh(path: str | Path, name: str | None = None, comm: Any = MPI.COMM_WORLD) -> MeshData:
    """Read a mesh and its groups: gmsh's .msh, XDMF, and what meshio knows.

    Physical groups of gmsh, mesh tags in an XDMF of dolfinx, and sets or integer data of other
    files become tags. A mesh in the plane z = 0 is one of two dimensions. Numbers are read as
    float64. Second-order geometry is kept.

    Args:
        path: of the file. gmsh's own library reads .msh, dolfinx .xdmf, meshio the rest (Abaqus
            .inp, Nastran .bdf, .vtu, Medit .mesh, ...).
        name: of the grid in an XDMF with several; the first that is no set of tags by default.
        comm: MPI communicator.

    Returns:
        dolfinx's `MeshData`: `mesh`, `cell_tags`, `facet_tags`, `ridge_tags`, `peak_tags` and
        `physical_groups`, {name: (dim, tag)}. As `where` a condition takes (data, name) or
        (data.facet_tags, number).

    Raises:
        InputError: no such file, not readable, cells of several kinds or of one that is not
            supported (prisms, pyramids, eight-node quadrilaterals), tagged facets that belong to no
            cell.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such mesh file")
    if path.suffix == ".msh":
        return _read_gmsh(path, comm)
    if path.suffix == ".xdmf" and not on_first_rank(comm, lambda: _is_compressed(path)):
        return _read_xdmf(path, name, comm)
    return _read_meshio(path, comm)


def _read_gmsh(path: Path, comm: Any) -> MeshData:
    try:
        import gmsh
    except (ImportError, OSError):  # without the system's libraries of OpenGL
        return _read_meshio(path, comm)
    with _gmsh_model(gmsh, comm):
        facts = on_first_rank(comm, lambda: _merge(gmsh, path))
        try:
            data = model_to_mesh(gmsh.model, comm, 0, gdim=facts["gdim"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(f"{path}: {error}") from None
    _check_all_found(path, data.mesh, data.facet_tags, facts["facets"])
    return data


@contextmanager
def _gmsh_model(gmsh: Any, comm: Any) -> Iterator[None]:
    """gmsh with an empty model on rank 0; one that a script has open stays as it was."""
    if comm.rank > 0:
        yield
        return
    own = not gmsh.isInitialized()
    if own:
        gmsh.initialize(interruptible=False)
    current = gmsh.model.getCurrent()
    before = gmsh.option.getNumber("General.Terminal")
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.model.add("objstress")
    try:
        yield
    finally:
        gmsh.model.remove()
        gmsh.option.setNumber("General.Terminal", before)
        if own:
            gmsh.finalize()
        else:
            gmsh.model.setCurrent(current)


def _merge(gmsh: Any, path: Path) -> dict[str, Any]:
    """Read the file into the current model; what is said of it."""
    try:
        gmsh.merge(str(path))
    except Exception as error:
        raise InputError(f"{path}: not a mesh that gmsh can read ({error})") from None
    dim = next((d for d in (3, 2, 1, 0) if len(gmsh.model.mesh.getElements(d)[0])), 0)
    if dim < 2:
        raise InputError(f"{path}: no cells, only elements of dimension {dim}")
    kinds = [
        gmsh.model.mesh.getElementProperties(k)[0] for k in gmsh.model.mesh.getElements(dim)[0]
    ]
    if len(kinds) > 1:
        raise InputError(f"{path}: cells of several kinds ({', '.join(kinds)}), give one kind")
    if kinds[0].startswith(("Prism", "Pyramid")):
        raise InputError(f"{path}: {kinds[0]}, give tetrahedra or hexahedra")
    if not gmsh.model.getPhysicalGroups(dim):
        # A file without groups of its cells: all of them.
        gmsh.model.addPhysicalGroup(dim, [tag for _, tag in gmsh.model.getEntities(dim)], 1)
    facets = sum(
        len(tags)
        for _, group in gmsh.model.getPhysicalGroups(dim - 1)
        for entity in gmsh.model.getEntitiesForPhysicalGroup(dim - 1, group)
        for tags in gmsh.model.mesh.getElements(dim - 1, entity)[1]
    )
    used = np.concatenate(gmsh.model.mesh.getElements(dim)[2])
    for d in range(dim):
        for _, group in gmsh.model.getPhysicalGroups(d):
            for entity in gmsh.model.getEntitiesForPhysicalGroup(d, group):
                for nodes in gmsh.model.mesh.getElements(d, entity)[2]:
                    _check_attached(path, nodes, used)
    z = gmsh.model.mesh.getNodes()[1].reshape(-1, 3)[:, 2]
    flat = dim == 2 and np.abs(z).max(initial=0.0) == 0
    return {"gdim": 2 if flat else 3, "facets": facets}


def _check_attached(path: Path, nodes: np.ndarray, used: np.ndarray) -> None:
    """Tagged elements have nodes of cells: for others dolfinx ends the process."""
    loose = int(np.setdiff1d(nodes, used).size)
    if loose:
        raise InputError(
            f"{path}: a tagged group has {loose} nodes that no cell has: a mesh of mixed "
            "dimensions, give the cells alone and groups of their faces, edges and corners"
        )


def _check_all_found(path: Path, mesh: dmesh.Mesh, tags: Any, wanted: int) -> None:
    """Tagged facets of the file that are faces of no cell are dropped by dolfinx in silence."""
    if tags is None:
        return
    owned = mesh.topology.index_map(tags.dim).size_local
    found = mesh.comm.allreduce(int((tags.indices < owned).sum()), op=MPI.SUM)
    if found < wanted:
        raise InputError(
            f"{path}: {wanted - found} of {wanted} tagged facets are faces of no cell: a mesh of "
            "mixed dimensions, or facets that are tagged twice"
        )


def _read_xdmf(path: Path, name: str | None, comm: Any) -> MeshData:
    grids = on_first_rank(comm, lambda: _grids(path))
    meshes = [grid for grid, (_, tagged) in grids.items() if not tagged] or list(grids)
    if name is None:
        name = meshes[0]
    if name not in grids:
        raise InputError(f"{path}: no grid {name!r}, there are {', '.join(map(repr, grids))}")
    kind = grids[name][0]
    if kind in ("wedge", "pyramid", "mixed"):
        raise InputError(f"{path}: cells of type {kind}, give tetrahedra or hexahedra")
    try:
        with XDMFFile(comm, path, "r") as file:
            shape, degree = file.read_cell_type(name=name)
            cells = file.read_topology_data(name=name)
            x = np.asarray(file.read_geometry_data(name=name), dtype=np.float64)
            mesh = _built(comm, shape.name, degree, cells, x)
            read: dict[int, dmesh.MeshTags] = {}
            for grid, (_, tagged) in grids.items():
                if not tagged:
                    continue
                dim = DIMENSIONS.get(grids[grid][0], 3)
                mesh.topology.create_connectivity(dim, mesh.topology.dim)
                tags = file.read_meshtags(mesh, name=grid)
                read.setdefault(tags.dim, tags)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a mesh that dolfinx can read ({first})") from None
    return _data(mesh, read, {})


def _root(path: Path) -> ElementTree.Element:
    """The root of an XDMF's XML."""
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not XML ({error})") from None


def _grids(path: Path) -> dict[str, tuple[str, bool]]:
    """{name: (type of its cells, whether it has whole numbers of them)} of the grids in an XDMF."""
    grids = {}
    for grid in _root(path).iter("Grid"):
        topology = grid.find("Topology")
        if topology is None:
            continue
        kind = (topology.get("TopologyType") or topology.get("Type") or "").lower()
        kind = {"polyvertex": "vertex", "polyline": "line", "quadrilateral": "quad"}.get(kind, kind)
        kind = kind.partition("_")[0]
        item = grid.find("Attribute/DataItem")
        # dolfinx leaves out the type of the tags that it writes.
        number = None if item is None else item.get("NumberType", item.get("DataType", "Int"))
        grids[grid.get("Name", "")] = (kind, number in ("Int", "UInt"))
    if not grids:
        raise InputError(f"{path}: no grid in it")
    return grids


def _is_compressed(path: Path) -> bool:
    """Whether the numbers of an XDMF are packed in a way that dolfinx cannot read."""
    for item in _root(path).iter("DataItem"):
        file, _, inside = (item.text or "").strip().partition(":")
        if item.get("Format", "XML").upper() != "HDF":
            return True  # dolfinx reads HDF5 alone
        beside = path.parent / file
        if not beside.is_file():
            raise InputError(f"{beside}: missing, {path.name} keeps its numbers there")
        import h5py

        try:
            with h5py.File(beside, "r") as numbers:
                if numbers[inside].compression is not None:
                    return True
        except (OSError, KeyError) as error:
            raise InputError(f"{beside}: not readable ({error})") from None
    return False


def _read_meshio(path: Path, comm: Any) -> MeshData:
    found = on_first_rank(comm, lambda: _with_meshio(path))
    shape, degree = CELLS[found["kind"]]
    first = comm.rank == 0
    x, cells = found.pop("x"), found.pop("cells")
    mesh = _built(comm, shape, degree, cells if first else cells[:0], x if first else x[:0])
    read = {}
    for dim, (nodes, values) in found["tags"].items():
        entities, numbers = distribute_entity_data(
            mesh, dim, nodes if first else nodes[:0], values if first else values[:0]
        )
        mesh.topology.create_connectivity(dim, mesh.topology.dim)
        read[dim] = dmesh.meshtags_from_entities(mesh, dim, adjacencylist(entities), numbers)
    fdim = mesh.topology.dim - 1
    wanted = len(found["tags"][fdim][1]) if fdim in found["tags"] else 0
    _check_all_found(path, mesh, read.get(fdim), wanted)
    return _data(mesh, read, found["groups"])


def _with_meshio(path: Path) -> dict[str, Any]:
    """Nodes, cells and tags of a file, as plain arrays."""
    try:
        import meshio
    except ImportError:
        raise InputError(f"{path}: meshio reads such files, `pip install meshio h5py`") from None
    try:
        mesh = meshio.read(path)
    except (Exception, SystemExit) as error:  # it exits where no reader fits
        raise InputError(f"{path}: not a mesh that meshio can read ({error})") from None
    dim = max((block.dim for block in mesh.cells), default=0)
    kinds = sorted({block.type for block in mesh.cells if block.dim == dim})
    if dim < 2 or len(kinds) != 1 or kinds[0] not in CELLS:
        raise InputError(
            f"{path}: cells of type {', '.join(kinds) or 'none'}, give one of {', '.join(CELLS)}"
        )
    kind = kinds[0]
    cells = np.concatenate([b.data for b in mesh.cells if b.dim == dim]).astype(np.int64)
    order = perm_vtk(dmesh.to_type(CELLS[kind][0]), cells.shape[1])
    x = np.asarray(mesh.points, dtype=np.float64)
    if x.shape[1] == 3 and dim == 2 and not x[:, 2].any():
        x = x[:, :2].copy()
    groups = {
        str(name): PhysicalGroup(int(of[1]), int(of[0])) for name, of in mesh.field_data.items()
    }
    values = [np.zeros(len(b.data), dtype=np.int32) for b in mesh.cells]
    whole = [
        name
        for name, data in mesh.cell_data.items()
        if all(np.issubdtype(np.asarray(d).dtype, np.integer) for d in data)
    ]
    chosen = next((n for n in ("gmsh:physical", "medit:ref") if n in whole), None)
    if chosen is None and len(whole) == 1:
        chosen = whole[0]
    if chosen is not None:
        values = [np.asarray(d, dtype=np.int32) for d in mesh.cell_data[chosen]]
    else:
        for number, (name, members) in enumerate(mesh.cell_sets.items(), start=1):
            for value, block, inside in zip(values, mesh.cells, members, strict=True):
                if inside is None or not len(inside):
                    continue
                if value[inside].any():
                    raise InputError(f"{path}: the set {name!r} shares elements with another one")
                value[inside] = number
                groups[name] = PhysicalGroup(block.dim, number)
    tags: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for d in range(dim + 1):
        parts = [(b, v) for b, v in zip(mesh.cells, values, strict=True) if b.dim == d]
        if len({b.type for b, _ in parts}) != 1 or not any(v.any() for _, v in parts):
            continue
        nodes = np.concatenate([b.data for b, _ in parts]).astype(np.int64)
        value = np.concatenate([v for _, v in parts])
        tags[d] = (nodes[value != 0], value[value != 0])
        _check_attached(path, tags[d][0], cells)
    return {"kind": kind, "cells": cells[:, order], "x": x, "tags": tags, "groups": groups}


def _built(comm: Any, shape: str, degree: int, cells: np.ndarray, x: np.ndarray) -> dmesh.Mesh:
    element = basix.ufl.element("Lagrange", shape, degree, shape=(x.shape[1],))
    return dmesh.create_mesh(comm, cells, element, x)


def _data(mesh: dmesh.Mesh, tags: dict[int, dmesh.MeshTags], groups: Any) -> MeshData:
    dim = mesh.topology.dim
    kinds = ("cell_tags", "facet_tags", "ridge_tags", "peak_tags")
    of_codim = {kind: tags.get(dim - codim) for codim, kind in enumerate(kinds)}
    return MeshData(mesh=mesh, physical_groups=groups, **of_codim)
