"""A simulation described in YAML: law, mesh, crystal or grains, loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from objstress.errors import InputError
from objstress.fem.case.base import Components, Matrix, Strict
from objstress.fem.case.conditions import (
    ContactCase,
    DisplacementCase,
    PressureCase,
    TractionCase,
)
from objstress.fem.case.crystals import GrainsCase, Orientation
from objstress.fem.case.geometry import FileMesh, Mesh
from objstress.fem.conditions.displacements import mean_deformation, symmetry_plane
from objstress.fem.conditions.loads import BodyForce
from objstress.fem.solve.body import Condition
from objstress.fem.solve.static import StaticProblem
from objstress.io.run_folder import fingerprint
from objstress.io.yaml import explain, read_mapping
from objstress.laws.loading import load_law


class Case(Strict):
    """A static simulation; lengths in any one unit, tractions and pressures in GPa.

    Attributes:
        law, mesh, orientation, grains: the body, of one crystal or of grains.
        displacements, symmetry, mean_deformation: what is prescribed.
        tractions, pressures, body_force, contacts: what pushes on it.
        degree, assembly, petsc_options, steps: how it is solved, see `StaticProblem`.
        outside, restart: what a run does, see the description of each field.
    """

    law: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="law file, relative to the case; with grains also several, assigned cyclically"
    )
    mesh: Mesh = Field(description="the undeformed body; the shape says which kind")
    orientation: Orientation | None = Field(
        default=None, description="of a body of one crystal; by default the crystal's own frame"
    )
    grains: GrainsCase | None = Field(default=None, description="of a polycrystal")
    displacements: list[DisplacementCase] = Field(
        default=[], description="prescribed displacements"
    )
    symmetry: list[str] = Field(
        default=[], description="symmetry planes, on which the body slides, such as x=min"
    )
    mean_deformation: Matrix | None = Field(
        default=None,
        description="deformation gradient F, row by row: u = (F - I) X on the whole boundary at "
        "load factor 1",
    )
    tractions: list[TractionCase] = Field(default=[], description="dead tractions")
    pressures: list[PressureCase] = Field(default=[], description="follower pressures")
    body_force: Components | None = Field(
        default=None, description="force per reference volume at load factor 1, GPa per length"
    )
    contacts: list[ContactCase] = Field(
        default=[], description="frictionless rigid bodies; the shape says which kind"
    )
    degree: int = Field(default=1, ge=1, le=3, description="of the displacement's elements")
    assembly: Literal["quadrature", "ufl"] = Field(
        default="quadrature",
        description="quadrature for any law, or ufl for a compiled law inside the form",
    )
    petsc_options: dict[str, Any] = Field(
        default={}, description="options of PETSc's SNES and KSP, {name: value}"
    )
    steps: int = Field(default=4, ge=1, description="number of equal steps of the load factor")
    outside: Literal["warn", "error", "ignore"] = Field(
        default="warn", description="what to do at strains outside those of the fit"
    )
    restart: bool = Field(
        default=True,
        description="whether every accepted state is kept, and a run resumes from them",
    )

    @field_validator("petsc_options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if not isinstance(value, bool | int | float | str | None):
                raise ValueError(f"{key} is neither a number, nor text, true, false or null")
        return options

    def build(self, folder: Path) -> StaticProblem:
        """The problem that the case describes.

        Args:
            folder: that paths in the case are relative to.

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
        conditions: list[Condition] = [symmetry_plane(where) for where in self.symmetry]
        if self.mean_deformation is not None:
            conditions.append(mean_deformation(self.mean_deformation))
        if self.body_force is not None:
            conditions.append(BodyForce(self.body_force))
        listed = (*self.displacements, *self.tractions, *self.pressures, *self.contacts)
        return conditions + [one.build() for one in listed]

    def facts(self, folder: Path) -> dict[str, Any]:
        """What the states of a run depend on, {name: value}: runs of the same facts may be one.

        Args:
            folder: that paths in the case are relative to.
        """
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
    """Read a case from a YAML file.

    Args:
        path: of the file.

    Raises:
        InputError: unreadable, or an unknown key or a wrong value (the nearest known key is
            named).
    """
    otherwise = "a case is a mapping of keys; the documentation's page on simulate has one"
    data = read_mapping(path, "case file", otherwise)
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Case)}") from None
