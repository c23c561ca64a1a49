"""A simulation described in YAML: law, mesh, orientation, loads."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from dolfinx import mesh as dmesh
from dolfinx.io import XDMFFile
from mpi4py import MPI
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from objstress.errors import ConvergenceError, InputError
from objstress.fem import meshes
from objstress.fem.boundary import Displacement, Traction
from objstress.fem.output import ResultFile
from objstress.fem.problem import StaticProblem, StepRecord
from objstress.files import write_json
from objstress.laws.files import load_law
from objstress.laws.rotated import orientation

Vector = tuple[FiniteFloat, FiniteFloat, FiniteFloat]


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
    matrix: tuple[Vector, Vector, Vector] | None = None

    def rotation(self) -> Any:
        if (self.direction is None) == (self.matrix is None):
            raise InputError("orientation: give either direction or matrix")
        return orientation(self.direction, self.along) if self.direction else self.matrix


class DisplacementCase(_Strict):
    where: str
    value: tuple[FiniteFloat | None, FiniteFloat | None, FiniteFloat | None]
    name: str = ""


class TractionCase(_Strict):
    where: str
    value: Vector


class Case(_Strict):
    """A static simulation; lengths in any one unit, tractions in GPa.

    Attributes:
        law: law file, relative to the case.
        assembly: quadrature, or ufl for a compiled law, see `StaticProblem`.
        outside: what strains outside the trained domain mean: warn, error or ignore.
    """

    law: str
    mesh: BoxMesh | PlateMesh | FileMesh = Field(discriminator="shape")
    orientation: Orientation | None = None
    displacements: list[DisplacementCase] = Field(min_length=1)
    tractions: list[TractionCase] = []
    degree: int = Field(default=1, ge=1, le=3)
    assembly: Literal["quadrature", "ufl"] = "quadrature"
    steps: int = Field(default=4, ge=1)
    outside: Literal["warn", "error", "ignore"] = "warn"


def read_case(path: str | Path) -> Case:
    """The case in a YAML file.

    Raises:
        InputError: unreadable, or a key or value that does not belong there (the nearest known
            key is named).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such case file")
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: a case is a mapping of keys; see README.md for an example")
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    errors = error.errors()
    # A misspelt required key is also a missing one: the unknown key says more.
    unknown = [e for e in errors if e["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    path = [p for p in first["loc"] if p not in _SHAPES]
    place = ".".join(str(p) for p in path)
    if not unknown:
        return f"{place}: {first['msg'].lower()}"
    model: type[BaseModel] = Case
    for part in first["loc"][:-1]:
        model = _SHAPES.get(part, _PARTS.get(part, model))
    near = difflib.get_close_matches(str(path[-1]), list(model.model_fields), n=1, cutoff=0.0)
    return f"unknown key {place!r}; did you mean {near[0]!r}?"


_SHAPES: dict[Any, type[BaseModel]] = {
    "box": BoxMesh,
    "plate-with-hole": PlateMesh,
    "file": FileMesh,
}
_PARTS: dict[Any, type[BaseModel]] = {
    "orientation": Orientation,
    "displacements": DisplacementCase,
    "tractions": TractionCase,
}


def simulate(path: str | Path, out: str | Path, progress: bool = True) -> dict[str, Any]:
    """Solve a case and write `result.xdmf`, `history.json` into the folder `out`.

    `result.xdmf` holds every accepted step, the load factor as its time.

    Returns:
        The content of history.json: `complete`, the steps with residuals, reactions and energy,
        and `warnings` (points outside the trained strains).

    Raises:
        InputError: see `read_case`, `load_law`, `StaticProblem`; strains outside the trained
            domain where the case says `outside: error` (nothing is left in `out` then).
        ConvergenceError: the smallest step failed; the accepted steps are written.
    """
    case = read_case(path)
    folder, out = Path(path).parent, Path(out)
    law = load_law(folder / case.law, outside=case.outside)
    problem = StaticProblem(
        case.mesh.build(folder),
        law,
        [Displacement(d.where, d.value, d.name) for d in case.displacements]
        + [Traction(t.where, t.value) for t in case.tractions],
        orientation=case.orientation.rotation() if case.orientation else None,
        degree=case.degree,
        assembly=case.assembly,
    )
    files = ResultFile(problem, out / "result.xdmf")

    def accept(_: StaticProblem, record: StepRecord) -> None:
        if record.outside and case.outside == "error":
            raise InputError(
                f"{record.outside} of {record.points} points lie outside the strains the law was "
                f"trained on, at load factor {record.load:.3f}"
            )
        files.write(record.load)

    try:
        problem.solve(case.steps, progress=progress, after_step=accept)
    except ConvergenceError:
        files.close()
        _write_history(problem, out, complete=False, warn=case.outside == "warn")
        raise
    except BaseException:
        files.discard()
        raise
    files.close()
    return _write_history(problem, out, complete=True, warn=case.outside == "warn")


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
    if problem.comm.rank == 0:
        write_json(out / "history.json", result)
    return result
