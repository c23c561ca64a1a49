"""The displacements, forces and contacts of a case."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from dolfinx.io.gmsh import MeshData
from pydantic import Field, FiniteFloat

from objstress.errors import InputError
from objstress.fem.case.base import Components, Matrix, Strict, Vector
from objstress.fem.conditions.amplitude import Amplitude
from objstress.fem.conditions.contact import RigidPlane, RigidSphere
from objstress.fem.conditions.displacements import (
    Displacement,
    Rotation,
    mean_deformation,
    symmetry_plane,
)
from objstress.fem.conditions.electrodes import Electrode, SurfaceCharge
from objstress.fem.conditions.loads import BodyForce, Pressure, Traction
from objstress.fem.conditions.where import Where
from objstress.fem.solve.body import Condition


class Tags(Strict):
    """Tags of a mesh file, by number or by the name of their group."""

    tag: int | str | Annotated[list[int | str], Field(min_length=1)] = Field(
        description="number or name of a group in the mesh file, or several"
    )


WHERE = (
    "planes such as x=0 (length), x=min or x=max, several joined by & for an edge or a corner; "
    "boundary for all of it; or {tag: NUMBER or NAME} of a mesh file"
)
FACETS = "boundary facets, as in displacements"
AMPLITUDE = (
    "pairs of load factor and the factor of this condition, linear between them; by default the "
    "load factor itself"
)


class _Somewhere(Strict):
    where: str | Tags = Field(description=WHERE)
    amplitude: list[tuple[FiniteFloat, FiniteFloat]] | None = Field(
        default=None, description=AMPLITUDE
    )
    cycles: int = Field(default=1, ge=1, description="how often the amplitude is run through")

    def place(self, data: MeshData) -> Where:
        return self.where if isinstance(self.where, str) else (data, self.where.tag)

    def called(self, name: str) -> str:
        """The name, by default that of the tag; a plane names itself."""
        return name or (f"tag {self.where.tag}" if isinstance(self.where, Tags) else "")

    def history(self) -> Amplitude | None:
        if self.amplitude is None:
            if self.cycles > 1:
                raise InputError("cycles without an amplitude: give the table that they repeat")
            return None
        return Amplitude(self.amplitude, self.cycles)


class Turn(Strict):
    """A rigid rotation, see `Rotation`."""

    axis: Vector = Field(description="of any length, through the centre")
    degrees: FiniteFloat = Field(description="angle at load factor 1, may be beyond 180")
    centre: Vector = Field(default=(0.0, 0.0, 0.0), description="length")
    translation: Vector = Field(
        default=(0.0, 0.0, 0.0), description="added to it, at load factor 1; length"
    )


class DisplacementCase(_Somewhere):
    """u = value on the marked nodes, see `Displacement`."""

    value: Annotated[list[FiniteFloat | None], Field(min_length=2, max_length=3)] | None = Field(
        default=None, description="components at load factor 1, null leaves one free; length"
    )
    rotation: Turn | None = Field(default=None, description="instead of value: a rigid rotation")
    name: str = Field(default="", description="of its reaction; by default what where says")

    def build(self, data: MeshData) -> Displacement:
        if (self.value is None) == (self.rotation is None):
            raise InputError("displacements: give either value or rotation")
        value: Any = self.value
        if self.rotation is not None:
            value = Rotation(**self.rotation.model_dump())
        return Displacement(self.place(data), value, self.called(self.name), self.history())


class TractionCase(_Somewhere):
    """Dead force per reference area, see `Traction`."""

    where: str | Tags = Field(description=FACETS)
    value: Components = Field(description="components at load factor 1; GPa")

    def build(self, data: MeshData) -> Traction:
        return Traction(self.place(data), self.value, amplitude=self.history())


class PressureCase(_Somewhere):
    """Pressure on the deformed surface, see `Pressure`."""

    where: str | Tags = Field(description=FACETS)
    value: FiniteFloat = Field(description="at load factor 1, positive pushes inwards; GPa")

    def build(self, data: MeshData) -> Pressure:
        return Pressure(self.place(data), self.value, amplitude=self.history())


class ElectrodeCase(_Somewhere):
    """A surface at one potential, see `Electrode`."""

    potential: FiniteFloat | None = Field(
        default=None,
        description="at load factor 1; V/nm times the length (lengths in mm: MV, in um: kV)",
    )
    charge: FiniteFloat | None = Field(
        default=None,
        description="of an electrode that floats, at load factor 1; C/m^2 times length^2",
    )
    name: str = Field(default="", description="of its charge; by default what where says")

    def build(self, data: MeshData) -> Electrode:
        return Electrode(
            self.place(data),
            self.potential,
            charge=self.charge,
            name=self.called(self.name),
            amplitude=self.history(),
        )


class SurfaceChargeCase(_Somewhere):
    """Free charge per reference area, see `SurfaceCharge`."""

    where: str | Tags = Field(description=FACETS)
    value: FiniteFloat = Field(description="at load factor 1; C/m^2")

    def build(self, data: MeshData) -> SurfaceCharge:
        return SurfaceCharge(self.place(data), self.value, amplitude=self.history())


class _ContactCase(_Somewhere):
    where: str | Tags = Field(description=f"facets that may touch: {FACETS}")
    motion: Components = Field(description="of the rigid body, reached at load factor 1; length")
    stiffness: FiniteFloat | None = Field(
        default=None,
        description="penalty, GPa per length; by default ten times the law's largest constant "
        "over the edge of each cell",
    )
    name: str = Field(default="", description="of its force among the reactions")

    def given(self, data: MeshData) -> dict[str, Any]:
        rest = self.model_dump(exclude={"shape", "where", "amplitude", "cycles"})
        return rest | {"where": self.place(data), "amplitude": self.history()}


class PlaneContact(_ContactCase):
    """A half-space that the body cannot enter, see `RigidPlane`."""

    shape: Literal["plane"] = Field(description="plane")
    point: Components | None = Field(
        default=None, description="on the plane at load factor 0, by default the origin; length"
    )
    normal: Components | None = Field(
        default=None,
        description="out of the half-space towards the body, of any length, by default the last "
        "axis",
    )

    def build(self, data: MeshData) -> RigidPlane:
        return RigidPlane(**self.given(data))


class SphereContact(_ContactCase):
    """A ball (in two dimensions a cylinder) that the body cannot enter, see `RigidSphere`."""

    shape: Literal["sphere"] = Field(description="sphere")
    centre: Components = Field(description="at load factor 0; length")
    radius: FiniteFloat = Field(description="length")

    def build(self, data: MeshData) -> RigidSphere:
        return RigidSphere(**self.given(data))


ContactCase = Annotated[PlaneContact | SphereContact, Field(discriminator="shape")]


class Conditions(Strict):
    """What is prescribed, and what pushes on the body."""

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
    electrodes: list[ElectrodeCase] = Field(
        default=[], description="of a body whose law knows an electric field"
    )
    surface_charges: list[SurfaceChargeCase] = Field(
        default=[], description="free charges on such a body"
    )

    def conditions(self, data: MeshData) -> list[Condition]:
        """Displacements, forces, contacts and electrodes on a mesh."""
        conditions: list[Condition] = [symmetry_plane(where) for where in self.symmetry]
        if self.mean_deformation is not None:
            conditions.append(mean_deformation(self.mean_deformation))
        if self.body_force is not None:
            conditions.append(BodyForce(self.body_force))
        listed: list[Any] = [*self.displacements, *self.tractions, *self.pressures, *self.contacts]
        listed += [*self.electrodes, *self.surface_charges]
        return conditions + [one.build(data) for one in listed]


class Stage(Conditions):
    """Conditions that are added to those of the case for a while, see `StaticProblem.change`."""

    steps: int = Field(default=4, ge=1, description="number of equal steps of the load factor")
    until: FiniteFloat = Field(
        default=1.0, gt=0, description="load factor at the end, counted from the stage's begin"
    )
