"""A simulation described in YAML: law, mesh, crystal or grains, loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from dolfinx import mesh as dmesh
from dolfinx.io import XDMFFile
from mpi4py import MPI
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
)

from objstress.elasticity.orientations import (
    from_bunge,
    orientation,
    random_orientations,
    read_orientations,
    textured_orientations,
)
from objstress.errors import InputError
from objstress.fem import meshes
from objstress.fem.conditions.contact import RigidPlane, RigidSphere
from objstress.fem.conditions.displacements import Displacement, mean_deformation, symmetry_plane
from objstress.fem.conditions.loads import BodyForce, Pressure, Traction
from objstress.fem.materials.grains import Grains, Voronoi, random_seeds
from objstress.fem.solve.static import Condition, StaticProblem
from objstress.io.run_folder import fingerprint
from objstress.io.yaml import explain, read_mapping
from objstress.laws.base import MaterialLaw
from objstress.laws.loading import load_law

Vector = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Matrix = tuple[Vector, Vector, Vector]
Components = Annotated[list[FiniteFloat], Field(min_length=2, max_length=3)]
"""A vector of the mesh's dimension."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BoxMesh(_Strict):
    """`shape: box`, see `meshes.box`."""

    shape: Literal["box"]
    size: Vector
    cells: tuple[int, int, int]
    kind: Literal["hexahedron", "tetrahedron"] = "hexahedron"

    def build(self, folder: Path) -> dmesh.Mesh:
        return meshes.box(self.size, self.cells, self.kind)


class RectangleMesh(_Strict):
    """`shape: rectangle` for plane strain, see `meshes.rectangle`."""

    shape: Literal["rectangle"]
    size: tuple[FiniteFloat, FiniteFloat]
    cells: tuple[int, int]
    kind: Literal["quadrilateral", "triangle"] = "quadrilateral"

    def build(self, folder: Path) -> dmesh.Mesh:
        return meshes.rectangle(self.size, self.cells, self.kind)


class PlateMesh(_Strict):
    """`shape: plate-with-hole`, see `meshes.plate_with_hole`."""

    shape: Literal["plate-with-hole"]
    width: float = 4.0
    radius: float = 0.5
    thickness: float = 0.4
    cells: tuple[int, int, int] = (8, 8, 2)

    def build(self, folder: Path) -> dmesh.Mesh:
        return meshes.plate_with_hole(self.width, self.radius, self.thickness, self.cells)


class FileMesh(_Strict):
    """`shape: file`: a mesh in XDMF, its path relative to the case."""

    shape: Literal["file"]
    file: str
    name: str = "mesh"

    def build(self, folder: Path) -> dmesh.Mesh:
        path = folder / self.file
        if not path.is_file():
            raise InputError(f"{path}: no such mesh file")
        try:
            with XDMFFile(MPI.COMM_WORLD, path, "r") as file:
                return file.read_mesh(name=self.name)
        except RuntimeError as error:
            raise InputError(f"{path}: not a readable XDMF mesh ({error})") from None


class Orientation(_Strict):
    """The crystal direction that is laid along a sample axis, or the whole rotation matrix."""

    direction: Vector | None = None
    along: Vector = (1.0, 0.0, 0.0)
    matrix: Matrix | None = None

    def rotation(self) -> Any:
        if (self.direction is None) == (self.matrix is None):
            raise InputError("orientation: give either direction or matrix")
        return orientation(self.direction, self.along) if self.direction else self.matrix


class Tessellation(_Strict):
    """Grains around seeds drawn at random in the mesh's bounding box, see `Voronoi`.

    Attributes:
        number: of grains.
        periodic: whether the bounding box repeats in space.
    """

    number: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)
    periodic: bool = False

    def ids(self, mesh: dmesh.Mesh) -> Any:
        """The grain of points (n, 3), the same function on every rank."""
        low, high = meshes.bounding_box(mesh)
        size = high - low
        seeds = random_seeds(self.number, size.tolist(), self.seed)
        # Across a plane mesh, where nothing lies, any period will do.
        period = np.where(size > 0, size, 1.0).tolist() if self.periodic else None
        cells = Voronoi(seeds, period)
        return lambda points: cells(points - low)


class Texture(_Strict):
    """Uniformly random orientations, or scattered around a component, or those in a file.

    Attributes:
        component: Bunge's angles of the ideal orientation, degrees, see `textured_orientations`.
        spread: around it along each axis, degrees.
        file: Bunge's angles, one line for each grain, see `read_orientations`.
    """

    seed: int = Field(default=0, ge=0)
    component: Vector | None = None
    spread: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    file: str | None = None

    def rotations(self, number: int, folder: Path) -> np.ndarray:
        if self.file is not None and self.model_fields_set != {"file"}:
            raise InputError("grains.orientations: give either file or component, spread, seed")
        if self.component is None and self.spread:
            raise InputError("grains.orientations: a spread needs the component it is around")
        if self.file is not None:
            read = read_orientations(folder / self.file)
            if len(read) != number:
                raise InputError(
                    f"{folder / self.file}: {len(read)} orientations for {number} grains"
                )
            return read
        if self.component is None:
            return random_orientations(number, self.seed)
        return textured_orientations(
            number, from_bunge([self.component])[0], self.spread, self.seed
        )


class GrainsCase(_Strict):
    """Which grains there are and how their crystals are turned."""

    voronoi: Tessellation
    orientations: Texture = Texture()

    def build(self, mesh: dmesh.Mesh, laws: list[MaterialLaw], folder: Path) -> Grains:
        number = self.voronoi.number
        if len(laws) > number:
            raise InputError(f"law: {len(laws)} laws for {number} grains")
        return Grains(
            self.voronoi.ids(mesh),
            self.orientations.rotations(number, folder),
            [laws[k % len(laws)] for k in range(number)],
        )


class DisplacementCase(_Strict):
    where: str
    value: Annotated[list[FiniteFloat | None], Field(min_length=2, max_length=3)]
    name: str = ""

    def build(self) -> Displacement:
        return Displacement(self.where, self.value, self.name)


class TractionCase(_Strict):
    where: str
    value: Components

    def build(self) -> Traction:
        return Traction(self.where, self.value)


class PressureCase(_Strict):
    where: str
    value: FiniteFloat

    def build(self) -> Pressure:
        return Pressure(self.where, self.value)


class _ContactCase(_Strict):
    where: str
    motion: Components
    stiffness: FiniteFloat | None = None
    name: str = ""


class PlaneContact(_ContactCase):
    """`shape: plane`, see `RigidPlane`."""

    shape: Literal["plane"]
    point: Components | None = None
    normal: Components | None = None

    def build(self) -> RigidPlane:
        return RigidPlane(**self.model_dump(exclude={"shape"}))


class SphereContact(_ContactCase):
    """`shape: sphere`, see `RigidSphere`."""

    shape: Literal["sphere"]
    centre: Components
    radius: FiniteFloat

    def build(self) -> RigidSphere:
        return RigidSphere(**self.model_dump(exclude={"shape"}))


Mesh = Annotated[BoxMesh | RectangleMesh | PlateMesh | FileMesh, Field(discriminator="shape")]
Contact = Annotated[PlaneContact | SphereContact, Field(discriminator="shape")]


class Case(_Strict):
    """A static simulation; lengths in any one unit, tractions and pressures in GPa.

    Attributes:
        law: law file, relative to the case; of grains also several, taken in turn.
        orientation: of one crystal; or
        grains: of a polycrystal.
        symmetry: planes that the body slides on, such as x=min.
        mean_deformation: F of the whole boundary, see `boundary.mean_deformation`.
        body_force: GPa per length.
        assembly: quadrature, or ufl for a compiled law, see `StaticProblem`.
        petsc_options: of SNES and KSP, see `StaticProblem`.
        outside: what strains outside the trained domain mean: warn, error or ignore.
        restart: keep every accepted state, and go on from those that are kept.
    """

    law: str | Annotated[list[str], Field(min_length=1)]
    mesh: Mesh
    orientation: Orientation | None = None
    grains: GrainsCase | None = None
    displacements: list[DisplacementCase] = []
    symmetry: list[str] = []
    mean_deformation: Matrix | None = None
    tractions: list[TractionCase] = []
    pressures: list[PressureCase] = []
    body_force: Components | None = None
    contacts: list[Contact] = []
    degree: int = Field(default=1, ge=1, le=3)
    assembly: Literal["quadrature", "ufl"] = "quadrature"
    petsc_options: dict[str, Any] = {}
    steps: int = Field(default=4, ge=1)
    outside: Literal["warn", "error", "ignore"] = "warn"
    restart: bool = True

    @field_validator("petsc_options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if not isinstance(value, bool | int | float | str | None):
                raise ValueError(f"{key} is neither a number, nor text, true, false or null")
        return options

    def build(self, folder: Path) -> StaticProblem:
        """The problem; files are looked for from `folder`.

        Raises:
            InputError: see `load_law`, `StaticProblem`; keys that do not go together.
        """
        if self.grains and self.orientation:
            raise InputError("grains bring their own orientations: leave orientation out")
        paths = [self.law] if isinstance(self.law, str) else self.law
        if len(paths) > 1 and not self.grains:
            raise InputError(f"law: {len(paths)} laws and no grains, give one")
        # One object for each file: points of one law are evaluated together.
        known = {path: load_law(folder / path, outside=self.outside) for path in paths}
        laws = [known[path] for path in paths]
        mesh = self.mesh.build(folder)
        return StaticProblem(
            mesh,
            self.grains.build(mesh, laws, folder) if self.grains else laws[0],
            self.conditions(),
            orientation=self.orientation.rotation() if self.orientation else None,
            degree=self.degree,
            assembly=self.assembly,
            petsc_options=self.petsc_options,
        )

    def conditions(self) -> list[Condition]:
        """Displacements, forces and contacts."""
        found: list[Condition] = [symmetry_plane(where) for where in self.symmetry]
        if self.mean_deformation is not None:
            found.append(mean_deformation(self.mean_deformation))
        if self.body_force is not None:
            found.append(BodyForce(self.body_force))
        given = (*self.displacements, *self.tractions, *self.pressures, *self.contacts)
        return found + [one.build() for one in given]

    def facts(self, folder: Path) -> dict[str, Any]:
        """What the states of a run depend on: two runs of the same facts may be one."""
        facts = self.model_dump(mode="json", exclude={"petsc_options", "outside", "restart"})
        names = [self.law] if isinstance(self.law, str) else list(self.law)
        if isinstance(self.mesh, FileMesh):
            # Its numbers lie beside the XDMF.
            names += [self.mesh.file, str(Path(self.mesh.file).with_suffix(".h5"))]
        if self.grains and self.grains.orientations.file:
            names.append(self.grains.orientations.file)
        for name in names:
            path = folder / name
            if path.is_file():
                facts[f"content of {name}"] = fingerprint([path])
        return facts


def read_case(path: str | Path) -> Case:
    """The case in a YAML file.

    Raises:
        InputError: unreadable, or a key or value that does not belong there (the nearest known
            key is named).
    """
    otherwise = "a case is a mapping of keys; see README.md for an example"
    data = read_mapping(path, "case file", otherwise)
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Case)}") from None
