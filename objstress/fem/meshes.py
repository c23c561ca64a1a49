"""Meshes that need no mesher: boxes, rectangles, a plate with a hole, voxels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.cpp.mesh import cell_num_vertices
from mpi4py import MPI
from scipy import ndimage

from objstress.errors import InputError


def box(
    size: Sequence[float],
    cells: Sequence[int],
    kind: str = "hexahedron",
    jitter: float = 0.0,
    seed: int = 0,
    comm: Any = MPI.COMM_WORLD,
) -> dmesh.Mesh:
    """A box from the origin to `size`.

    Args:
        size: edge lengths along x, y and z.
        cells: number along each edge.
        kind: "hexahedron" or "tetrahedron".
        jitter: moves inner nodes at random by this fraction of a cell's edge (irregular meshes).
        seed: of the jitter.
        comm: MPI communicator.

    Raises:
        InputError: not three positive numbers each, another kind.
    """
    size_, cells_ = np.asarray(size, dtype=float), np.asarray(cells, dtype=int)
    if size_.shape != (3,) or (size_ <= 0).any() or cells_.shape != (3,) or (cells_ < 1).any():
        raise InputError(f"box of size {size} with cells {cells}: give three positive numbers each")
    if kind not in ("hexahedron", "tetrahedron"):
        raise InputError(f"kind = {kind!r}: give 'hexahedron' or 'tetrahedron'")
    result = dmesh.create_box(
        comm, [np.zeros(3), size_], cells_.tolist(), cell_type=dmesh.CellType[kind]
    )
    if jitter:
        x = result.geometry.x
        edge = size_ / cells_
        # The shift is a function of the place, so that all ranks agree on shared nodes.
        phase = np.random.default_rng(seed).uniform(1, 2, (3, 3)) * 97.0
        inside = ((x > 1e-9 * size_) & (x < size_ * (1 - 1e-9))).all(axis=1)
        shift = jitter * edge * np.sin(x / edge @ phase + phase[0])
        x[inside] += shift[inside]
    return result


def bounding_box(mesh: dmesh.Mesh, x: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (3,) over all ranks, some of which may hold no cell.

    Args:
        mesh: whose nodes are meant, if x is None.
        x: points of this rank, (n, 3).
    """
    x = mesh.geometry.x if x is None else x
    low, high = np.empty(3), np.empty(3)
    mesh.comm.Allreduce(x.min(axis=0, initial=np.inf), low, op=MPI.MIN)
    mesh.comm.Allreduce(x.max(axis=0, initial=-np.inf), high, op=MPI.MAX)
    return low, high


def from_to(box: tuple[np.ndarray, np.ndarray], dim: int) -> str:
    """A bounding box in words; round-off is zero."""
    small = 1e-9 * float(np.ptp(box, axis=0).max())
    low, high = (
        ", ".join(f"{0.0 if abs(v) < small else v:.6g}" for v in corner[:dim]) for corner in box
    )
    return f"from ({low}) to ({high})"


def cell_numbers(mesh: dmesh.Mesh, cells: np.ndarray) -> np.ndarray:
    """The numbers of local cells in the mesh's file or, of a submesh, over all ranks."""
    try:
        return mesh.topology.original_cell_index[cells]
    except RuntimeError:  # dolfinx gives a submesh none
        index_map = mesh.topology.index_map(mesh.topology.dim)
        return index_map.local_to_global(cells.astype(np.int32))


def shortest_edge(mesh: dmesh.Mesh) -> float:
    """The least distance of two corners of a cell, over all ranks, a length."""
    corners = cell_num_vertices(mesh.topology.cell_type)
    x = mesh.geometry.x[mesh.geometry.dofmap[:, :corners]]
    pairs = list(combinations(range(corners), 2))
    least = np.inf
    for i, j in pairs:
        if len(x):
            least = min(least, float(np.linalg.norm(x[:, i] - x[:, j], axis=1).min()))
    return float(mesh.comm.allreduce(least, op=MPI.MIN))


def check_cells(mesh: dmesh.Mesh, determinants: np.ndarray) -> None:
    """Refuse cells that are turned inside out, in part or as a whole.

    Args:
        determinants: of the map from the reference cell at points of this rank's own cells
            (cells, points).

    Raises:
        InputError: on all ranks.
    """
    # Either orientation of the reference cell will do, but one sign within each cell.
    least, most = determinants.min(axis=1), determinants.max(axis=1)
    mixed = mesh.comm.allreduce(int((np.sign(least) * np.sign(most) <= 0).sum()), op=MPI.SUM)
    if mixed:
        raise InputError(f"the mesh has {mixed} inverted or degenerate cells")
    # Overlapping cells measure more in all than what their surface encloses:
    # integral of 1 dX = 1/dim integral of X . N dS.
    low, high = bounding_box(mesh)
    dim = mesh.geometry.dim
    rule = {"quadrature_degree": 3 * mesh.geometry.cmap.degree}
    x = ufl.SpatialCoordinate(mesh) - fem.Constant(mesh, 0.5 * (low + high)[:dim])
    enclosed = ufl.inner(x, ufl.FacetNormal(mesh)) / dim
    one = fem.Constant(mesh, 1.0)
    parts = (one * ufl.dx(metadata=rule), enclosed * ufl.ds(metadata=rule))
    volume, inside = (
        mesh.comm.allreduce(float(fem.assemble_scalar(fem.form(part))), op=MPI.SUM)
        for part in parts
    )
    far = np.abs([low, high]).max() / np.ptp([low, high], axis=0).max()
    if abs(volume - inside) > (1e-9 + 1e-14 * far) * volume:
        raise InputError(
            "the mesh has inverted cells: they overlap others, and all cells together measure "
            "more than their surface encloses"
        )


def rectangle(
    size: Sequence[float],
    cells: Sequence[int],
    kind: str = "quadrilateral",
    comm: Any = MPI.COMM_WORLD,
) -> dmesh.Mesh:
    """A rectangle in the plane from the origin to `size`, for plane strain.

    Args:
        size: edge lengths along x and y.
        cells: number along each edge.
        kind: "quadrilateral" or "triangle".
        comm: MPI communicator.

    Raises:
        InputError: not two positive numbers each, another kind.
    """
    size_, cells_ = np.asarray(size, dtype=float), np.asarray(cells, dtype=int)
    if size_.shape != (2,) or (size_ <= 0).any() or cells_.shape != (2,) or (cells_ < 1).any():
        raise InputError(
            f"rectangle of size {size} with cells {cells}: give two positive numbers each"
        )
    if kind not in ("quadrilateral", "triangle"):
        raise InputError(f"kind = {kind!r}: give 'quadrilateral' or 'triangle'")
    return dmesh.create_rectangle(
        comm, [np.zeros(2), size_], cells_.tolist(), cell_type=dmesh.CellType[kind]
    )


def plate_with_hole(
    width: float = 4.0,
    radius: float = 0.5,
    thickness: float = 0.4,
    cells: Sequence[int] = (8, 8, 2),
    comm: Any = MPI.COMM_WORLD,
) -> dmesh.Mesh:
    """A square plate around the origin with a round hole along z, in hexahedra.

    Args:
        width: edge of the square (x and y from -width/2 to width/2), a length.
        radius: of the hole, a length.
        thickness: z from 0 to thickness, a length.
        cells: number per quarter of the hole's rim, along the radius (growing outwards), through
            z.
        comm: MPI communicator.

    Raises:
        InputError: a hole wider than the plate, numbers that are not positive.
    """
    rim, out, through = cells
    if not 0 < radius < width / 2 or thickness <= 0 or min(cells) < 1:
        raise InputError("plate with hole: 0 < radius < width / 2 and positive cells are needed")
    around = 4 * rim
    angle = 2 * np.pi * np.arange(around) / around + np.pi / 4
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # The outer nodes lie evenly on the square's edges.
    t = np.arange(around) / rim
    corner = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [1, 1]], dtype=float)
    side = np.floor(t).astype(int)
    square = corner[side] + (t - side)[:, None] * (corner[side + 1] - corner[side])
    ratio = (width / 2 / radius) ** (1 / out)
    s = (ratio ** np.arange(out + 1) - 1) / (ratio**out - 1)
    plane = (1 - s)[:, None, None] * radius * circle + s[:, None, None] * width / 2 * square
    z = np.linspace(0, thickness, through + 1)
    points = np.concatenate(
        [
            np.broadcast_to(plane[None], (through + 1, *plane.shape)),
            np.broadcast_to(z[:, None, None, None], (through + 1, out + 1, around, 1)),
        ],
        axis=-1,
    )
    index = np.arange((through + 1) * (out + 1) * around).reshape(through + 1, out + 1, around)
    beside = np.roll(index, -1, axis=2)
    corners = [
        a[k : k + through, r : r + out]
        for k in (0, 1)
        for a, r in ((index, 0), (index, 1), (beside, 0), (beside, 1))
    ]
    hexahedra = np.stack(corners, axis=-1).reshape(-1, 8)
    element = basix.ufl.element("Lagrange", "hexahedron", 1, shape=(3,))
    points, hexahedra = points.reshape(-1, 3), hexahedra.astype(np.int64)
    if comm.rank > 0:  # one rank brings the mesh, dolfinx spreads it
        points, hexahedra = points[:0], hexahedra[:0]
    return dmesh.create_mesh(comm, hexahedra, element, points)


def voxels(solid: np.ndarray, size: Sequence[float], comm: Any = MPI.COMM_WORLD) -> dmesh.Mesh:
    """The solid voxels of a box from the origin to `size`, one hexahedron each.

    Args:
        solid: bool (nx, ny, nz), True where there is material; axes x, y, z.
        size: edge lengths of the box, voids included.
        comm: MPI communicator.

    Raises:
        InputError: no three-dimensional array, no solid voxel, or a size that is not positive.
    """
    solid, size_ = np.asarray(solid, dtype=bool), np.asarray(size, dtype=float)
    if solid.ndim != 3 or not solid.any():
        raise InputError(
            f"voxels of shape {solid.shape}, {solid.sum()} of them solid: give a boolean array "
            "(nx, ny, nz) with some material"
        )
    if size_.shape != (3,) or not (size_ > 0).all():
        raise InputError(f"size = {size}: give the box's three edge lengths, all positive")
    number = np.arange(np.prod(np.add(solid.shape, 1))).reshape(np.add(solid.shape, 1))
    i, j, k = np.nonzero(solid)
    corners = [number[i + a, j + b, k + c] for c in (0, 1) for b in (0, 1) for a in (0, 1)]
    used, hexahedra = np.unique(np.stack(corners, axis=-1), return_inverse=True)
    points = np.stack(np.unravel_index(used, number.shape), axis=-1) / solid.shape * size_
    hexahedra = hexahedra.reshape(-1, 8).astype(np.int64)
    element = basix.ufl.element("Lagrange", "hexahedron", 1, shape=(3,))
    if comm.rank > 0:  # one rank brings the mesh, dolfinx spreads it
        points, hexahedra = points[:0], hexahedra[:0]
    return dmesh.create_mesh(comm, hexahedra, element, points)


def octet_truss(n: int, radius: float) -> np.ndarray:
    r"""Voxels within `radius` of the lines that join nearest neighbours of an fcc lattice.

    .. math:: \rho = 12 \sqrt2\, \pi\, \mathrm{radius}^2 \quad \text{for thin struts}

    One cubic cell of the octet truss, periodic, of cubic symmetry whatever n is; cell edge 1.
    Struts along the six <110>, joints on the corners and faces of the cell, twelve struts each.

    Deshpande, Fleck and Ashby, J. Mech. Phys. Solids 49 (2001) 1747.

    Args:
        n: number of voxels along the cell's edge.
        radius: of the struts, in cell edges; a strut is sqrt(1/2) long.

    Returns:
        bool (n, n, n).

    Raises:
        InputError: struts so thick that no void is left, or so thin that the voxels do not hang
            together by their faces.
    """
    if n < 1 or not radius > 0:
        raise InputError(f"octet truss of {n} voxels, radius {radius}: give positive numbers")
    x = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 3, indexing="ij"))
    solid = np.zeros((n, n, n), dtype=bool)
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        for sign in (1, -1):
            for plane in (0.0, 0.5):
                # The lines x_a -+ x_b = plane (mod 1) at the height x_c = plane (mod 1).
                across = (x[a] - sign * x[b] - plane + 0.5) % 1 - 0.5
                height = (x[c] - plane + 0.5) % 1 - 0.5
                solid |= 0.5 * across**2 + height**2 <= radius**2
    if solid.all():
        raise InputError(f"octet truss of radius {radius}: no void is left, take thinner struts")
    if _pieces(solid) != 1:
        raise InputError(
            f"octet truss of radius {radius}: {n} voxels do not resolve its struts, take more"
        )
    return solid


def _pieces(solid: np.ndarray) -> int:
    """How many parts of a periodic array of voxels do not hang together by faces."""
    # Three cells a side: a part that meets itself only across the cell's faces is one part.
    labels, _ = ndimage.label(np.tile(solid, (3, 3, 3)))
    n = solid.shape
    middle = labels[tuple(slice(k, 2 * k) for k in n)]
    return len(np.unique(middle[middle > 0]))
