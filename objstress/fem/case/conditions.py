"""The displacements, forces and contacts of a case."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from objstress.fem.case.base import Components, Strict
from objstress.fem.conditions.contact import RigidPlane, RigidSphere
from objstress.fem.conditions.displacements import Displacement
from objstress.fem.conditions.loads import Pressure, Traction

WHERE = (
    "planes such as x=0 (length), x=min or x=max, several joined by & for an edge or a corner, "
    "or boundary for all of it"
)
FACETS = "boundary facets on planes such as z=0 (length), z=min or z=max"


class DisplacementCase(Strict):
    """u = value on the marked nodes, see `Displacement`."""

    where: str = Field(description=WHERE)
    value: Annotated[list[FiniteFloat | None], Field(min_length=2, max_length=3)] = Field(
        description="components at load factor 1, null leaves one free; length"
    )
    name: str = Field(default="", description="of its reaction; by default what where says")

    def build(self) -> Displacement:
        return Displacement(self.where, self.value, self.name)


class TractionCase(Strict):
    """Dead force per reference area, see `Traction`."""

    where: str = Field(description=FACETS)
    value: Components = Field(description="components at load factor 1; GPa")

    def build(self) -> Traction:
        return Traction(self.where, self.value)


class PressureCase(Strict):
    """Pressure on the deformed surface, see `Pressure`."""

    where: str = Field(description=FACETS)
    value: FiniteFloat = Field(description="at load factor 1, positive pushes inwards; GPa")

    def build(self) -> Pressure:
        return Pressure(self.where, self.value)


class _ContactCase(Strict):
    where: str = Field(description=f"facets that may touch: {FACETS}")
    motion: Components = Field(description="of the rigid body, reached at load factor 1; length")
    stiffness: FiniteFloat | None = Field(
        default=None,
        description="penalty, GPa per length; by default ten times the law's largest constant "
        "over the edge of each cell",
    )
    name: str = Field(default="", description="of its force among the reactions")


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

    def build(self) -> RigidPlane:
        return RigidPlane(**self.model_dump(exclude={"shape"}))


class SphereContact(_ContactCase):
    """A ball (in two dimensions a cylinder) that the body cannot enter, see `RigidSphere`."""

    shape: Literal["sphere"] = Field(description="sphere")
    centre: Components = Field(description="at load factor 0; length")
    radius: FiniteFloat = Field(description="length")

    def build(self) -> RigidSphere:
        return RigidSphere(**self.model_dump(exclude={"shape"}))


ContactCase = Annotated[PlaneContact | SphereContact, Field(discriminator="shape")]
