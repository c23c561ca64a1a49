"""The meshes that a case can ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from dolfinx import mesh as dmesh
from dolfinx.io.gmsh import MeshData
from pydantic import Field, FiniteFloat

from objstress.fem import meshes
from objstress.fem.case.base import Strict, Vector
from objstress.fem.mesh_files import read_mesh


class BoxMesh(Strict):
    """A box from the origin, see `meshes.box`."""

    shape: Literal["box"] = Field(description="box")
    size: Vector = Field(description="edge lengths along x, y and z; length")
    cells: tuple[int, int, int] = Field(description="number of cells along each edge")
    kind: Literal["hexahedron", "tetrahedron"] = Field(
        default="hexahedron", description="of the cells"
    )

    def build(self, folder: Path) -> MeshData:
        return _untagged(meshes.box(self.size, self.cells, self.kind))


class RectangleMesh(Strict):
    """A rectangle from the origin, for plane strain, see `meshes.rectangle`."""

    shape: Literal["rectangle"] = Field(description="rectangle")
    size: tuple[FiniteFloat, FiniteFloat] = Field(description="edge lengths along x and y; length")
    cells: tuple[int, int] = Field(description="number of cells along each edge")
    kind: Literal["quadrilateral", "triangle"] = Field(
        default="quadrilateral", description="of the cells"
    )

    def build(self, folder: Path) -> MeshData:
        return _untagged(meshes.rectangle(self.size, self.cells, self.kind))


class PlateMesh(Strict):
    """A square plate with a round hole, see `meshes.plate_with_hole`."""

    shape: Literal["plate-with-hole"] = Field(description="plate-with-hole")
    width: float = Field(default=4.0, description="edge of the square around the origin; length")
    radius: float = Field(default=0.5, description="of the hole; length")
    thickness: float = Field(default=0.4, description="along z, from z = 0; length")
    cells: tuple[int, int, int] = Field(
        default=(8, 8, 2),
        description="number of cells per quarter of the rim, along the radius and through z",
    )

    def build(self, folder: Path) -> MeshData:
        return _untagged(
            meshes.plate_with_hole(self.width, self.radius, self.thickness, self.cells)
        )


class FileMesh(Strict):
    """A mesh from a file, see `read_mesh`."""

    shape: Literal["file"] = Field(description="file")
    file: str = Field(
        description="path of the file, relative to the case: gmsh's .msh, .xdmf, or what meshio "
        "reads; its groups are the tags"
    )
    name: str | None = Field(
        default=None, description="of the grid in an XDMF with several; by default the first"
    )

    def build(self, folder: Path) -> MeshData:
        return read_mesh(folder / self.file, self.name)


def _untagged(mesh: dmesh.Mesh) -> MeshData:
    return MeshData(mesh, None, None, None, None, {})


Mesh = Annotated[BoxMesh | RectangleMesh | PlateMesh | FileMesh, Field(discriminator="shape")]
