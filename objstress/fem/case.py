"""A simulation described in YAML: law, mesh, crystal or grains, loads."""

from __future__ import annotations

import hashlib
import json
import shutil
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

from objstress.errors import ConvergenceError, InputError
from objstress.fem import meshes
from objstress.fem.boundary import Displacement, mean_deformation, symmetry_plane
from objstress.fem.contact import RigidPlane, RigidSphere
from objstress.fem.grains import Grains, Voronoi, random_seeds
from objstress.fem.loads import BodyForce, Pressure, Traction
from objstress.fem.output import ResultFile
from objstress.fem.problem import Condition, StaticProblem, StepRecord
from objstress.files import all_arrive, on_first_rank, write_json
from objstress.laws.base import MaterialLaw
from objstress.laws.files import load_law
from objstress.laws.rotated import orientation
from objstress.laws.texture import (
    from_bunge,
    random_orientations,
    read_orientations,
    textured_orientations,
)
from objstress.yaml_files import explain, read_mapping

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
                facts[f"content of {name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
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


def simulate(
    path: str | Path, out: str | Path, progress: bool = True, fresh: bool = False
) -> dict[str, Any]:
    """Solve a case and write `result.bp` and `history.json` into the folder `out`.

    `result.bp` holds every accepted step, the load factor as its time, see `ResultFile`. Unless
    the case says `restart: false`, the states of the steps lie in `out/states`, and a run that was
    interrupted goes on from them. All ranks call this; one writes the reports.

    Args:
        fresh: begin anew whatever is in `out/states`.

    Returns:
        The content of history.json: `complete`, the steps with residuals, reactions and energy,
        and `warnings` (points outside the trained strains).

    Raises:
        InputError: see `read_case`, `load_law`, `StaticProblem`; states of another case in `out`
            (what differs is named); strains outside the trained domain where the case says
            `outside: error` (nothing is left in `out` then).
        ConvergenceError: the smallest step failed; the accepted steps are written.
    """
    case = read_case(path)
    folder, out = Path(path).parent, Path(out)
    problem = case.build(folder)
    comm, states = problem.comm, out / "states"
    files = ResultFile(problem, out / "result.bp")

    def accept(_: StaticProblem, record: StepRecord) -> None:
        if record.outside and case.outside == "error":
            _remove(states, comm)
            raise InputError(
                f"{record.outside} of {record.points} points lie outside the strains the law was "
                f"trained on, at load factor {record.load:.3f}"
            )
        files.write(record.load)

    try:
        if fresh:
            _remove(states, comm)
        if case.restart:
            _check_states(states, case.facts(folder), comm)
        problem.solve(
            case.steps,
            progress=progress,
            after_step=accept,
            checkpoint=states if case.restart else None,
        )
    except ConvergenceError:
        files.close()
        _write_history(problem, out, complete=False, warn=case.outside == "warn")
        raise
    except BaseException:
        # Closing takes all ranks. The mesh's own communicator may have messages under way.
        if all_arrive(MPI.COMM_WORLD):
            files.discard()
        else:
            files.abandon()
        raise
    files.close()
    return _write_history(problem, out, complete=True, warn=case.outside == "warn")


def _remove(states: Path, comm: MPI.Comm) -> None:
    comm.barrier()
    on_first_rank(comm, lambda: shutil.rmtree(states) if states.is_dir() else None)


def _check_states(states: Path, facts: dict[str, Any], comm: MPI.Comm) -> None:
    """Refuse to go on from states of another case; remember whose states they will be."""
    differing = on_first_rank(comm, lambda: _differing(states, facts))
    if differing:
        raise InputError(
            f"{states}: the states there are of another case ({', '.join(differing)}); give "
            "another folder, or --fresh to begin anew"
        )


def _differing(states: Path, facts: dict[str, Any]) -> list[str]:
    path = states / "case.json"
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            return [f"{path.name} is spoilt"]
        now = json.loads(json.dumps(facts))
        return [k for k in before | now if before.get(k) != now.get(k)]
    if any(states.glob("*.safetensors")):
        return [path.name]
    write_json(path, facts)
    return []


def _write_history(problem: StaticProblem, out: Path, complete: bool, warn: bool) -> dict[str, Any]:
    worst = max(problem.history, key=lambda r: r.outside, default=None)
    result = {
        "complete": complete,
        "steps": [record.to_dict() for record in problem.history],
        "warnings": [
            f"{worst.outside} of {worst.points} points lie outside the strains the law was "
            f"trained on, at load factor {worst.load:.3f}"
        ]
        if worst is not None and worst.outside and warn
        else [],
    }
    on_first_rank(problem.comm, lambda: write_json(out / "history.json", result))
    return result
