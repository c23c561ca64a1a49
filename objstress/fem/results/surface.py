"""The surface of a body with the fields of its cells: what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from objstress.errors import InputError
from objstress.fem.results.vtx import SHAPES, grain_fields
from objstress.fem.solve.protocol import Shown
from objstress.io.files import write_whole
from objstress.symmetry.voigt import VOIGT_PAIRS

LABELS = {
    "cauchy_stress": "Cauchy stress {}, GPa",
    "principal_stress": "principal stress {}, GPa",
    "green_lagrange": "Green-Lagrange strain {}",
    "principal_strain": "principal strain {}",
    "von_mises": "von Mises stress, GPa",
    "energy": "energy density, GPa",
    "outside": "fraction of points outside the fitted strains",
    "stress_error": "error bar of the stress, GPa",
    "J": "J = det F",
    "electric_field": "electric field {}, V/nm",
    "electric_displacement": "electric displacement {}, C/m$^2$",
    "amplitude": "amplitude over its largest",
}


@dataclass(frozen=True)
class Surface:
    """The outer facets of a body in one state; a plane mesh is its own surface.

    Attributes:
        corners: X around each facet, (n, 3 or 4, 3), a length.
        displacement: u there.
        fields: {name: (n,) or, of colours, (n, 3)}, see `fields_to_draw`.
    """

    corners: np.ndarray
    displacement: np.ndarray
    fields: dict[str, np.ndarray]

    def deformed(self, warp: float) -> np.ndarray:
        """x = X + warp u, (n, 3 or 4, 3)."""
        return self.corners + warp * self.displacement

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, in single precision.

        Args:
            path: of the file.

        Raises:
            InputError: it cannot be written.
        """
        arrays = {f"field {name}": values for name, values in self.fields.items()}
        arrays |= {"corners": self.corners, "displacement": self.displacement}
        write_whole(path, save({k: np.ascontiguousarray(v, "f4") for k, v in arrays.items()}))


def read_surface(folder: str | Path) -> Surface:
    """Read the surface that `simulate` kept of the last state of a run.

    Args:
        folder: with surface.safetensors.

    Raises:
        InputError: there is none, or it is not readable.
    """
    path = Path(folder) / "surface.safetensors"
    if not path.is_file():
        raise InputError(f"{folder}: no {path.name}, give a folder that `simulate` wrote")
    try:
        arrays = {name: values.astype(np.float64) for name, values in load_file(path).items()}
        corners, displacement = arrays.pop("corners"), arrays.pop("displacement")
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(f"{path}: not the surface of a run ({error})") from None
    fields = {name.removeprefix("field "): values for name, values in arrays.items()}
    return Surface(corners, displacement, fields)


def surface_of(problem: Shown, fields: Mapping[str, np.ndarray]) -> Surface | None:
    """The surface in the present state; on rank 0, all ranks call it.

    Args:
        problem: any.
        fields: of the local cells, such as `fields_to_draw`.
    """
    corners, u, cells = outer_facets(problem)
    mine = [corners, u, *(values[cells] for values in fields.values())]
    parts = problem.comm.gather(mine)
    if parts is None:
        return None
    corners, u, *values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Surface(corners, u, dict(zip(fields, values, strict=True)))


def fields_to_draw(problem: Shown, direction: Sequence[float] = (0, 0, 1)) -> dict[str, np.ndarray]:
    """Scalars of the local cells, and colours: averages, their components, grains.

    A tensor is taken apart, into `cauchy_stress_xx` and so on, a vector into `electric_field_x`
    and so on, principal values into `principal_stress_1` (the largest) to 3.

    Args:
        problem: any.
        direction: of the sample, that the field `ipf_colour` is of.
    """
    drawn = {}
    averages = problem.material.cell_averages()
    for name, values in (averages | grain_fields(problem.material.law, direction)).items():
        if name == "ipf_colour" or name not in SHAPES:
            drawn[name] = values
        elif name.startswith("electric_"):
            drawn |= {f"{name}_{axis}": values[:, k] for k, axis in enumerate("xyz")}
        elif SHAPES[name] == (3,):
            drawn |= {f"{name}_{k + 1}": values[:, k] for k in range(3)}
        else:
            drawn |= {f"{name}_{'xyz'[i]}{'xyz'[j]}": values[:, i, j] for i, j in VOIGT_PAIRS}
    return drawn


def label_of(field: str) -> str:
    """What a field is called on an axis, with its unit."""
    name, _, part = field.rpartition("_")
    return LABELS[name].format(part) if name in LABELS else LABELS.get(field, field)


def check_field(field: str, known: Mapping[str, np.ndarray]) -> None:
    """Refuse a field that is not there.

    Raises:
        InputError: all that are there are named.
    """
    if field not in known:
        raise InputError(f"field = {field!r}: give one of {', '.join(known)}")


def outer_facets(problem: Shown) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners X of the outer facets of this rank, in order around each, and their u.

    A plane mesh is its own surface.

    Returns:
        (n, 3 or 4, 3) both, and the local cell of each facet (n,).
    """
    mesh = problem.mesh
    dim = mesh.topology.dim
    mesh.topology.create_connectivity(2, dim)
    mesh.topology.create_connectivity(dim, 2)
    if dim == 3:
        facets = dmesh.exterior_facet_indices(mesh.topology)
        owner = mesh.topology.connectivity(2, 3)
        cells = np.array([owner.links(f)[0] for f in facets], dtype=np.int32)
    else:
        facets = cells = np.arange(mesh.topology.index_map(2).size_local, dtype=np.int32)
    # Displacement of the corners: they come first in every cell, of mesh and function alike.
    corners = fem.Function(fem.functionspace(mesh, ("Lagrange", 1, (dim,))))
    corners.interpolate(problem.u)
    dofs = corners.function_space.dofmap.list
    nodes = mesh.geometry.dofmap[:, : dofs.shape[1]].ravel()
    u = np.zeros_like(mesh.geometry.x)
    u[nodes, :dim] = corners.x.array.reshape(-1, dim)[dofs.ravel()]
    around = dmesh.entities_to_geometry(mesh, 2, facets)
    square = mesh.topology.cell_type in (dmesh.CellType.hexahedron, dmesh.CellType.quadrilateral)
    corners_of = around[:, [0, 1, 3, 2] if square else [0, 1, 2]]
    return mesh.geometry.x[corners_of], u[corners_of], cells
