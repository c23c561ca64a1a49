"""Frictionless contact with rigid bodies, by penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import History
from objstress.fem.conditions.loads import Surface, vector
from objstress.fem.conditions.where import Where


@dataclass(frozen=True)
class Contact:
    r"""Contact with a rigid body without friction, by a penalty energy.

    .. math:: \Pi = \frac{\varepsilon}{2} \int \langle -g \rangle^2 \, dS

    with g the gap at x = X + u and < > the positive part. The pressure eps <-g> stands for the
    true one; the body sinks in by pressure / eps. Facets that never come near cost nothing but
    their assembly, so `where` may be generous.
    """

    where: Where
    motion: Sequence[float]
    stiffness: float | None = None
    name: str = ""
    amplitude: History = field(default=None, kw_only=True)

    def is_same_body(self, other: Contact) -> bool:
        """Whether the rigid body is the same one, wherever it moves and what it may touch."""
        moves = {field.name for field in fields(Contact)}
        shape = [field.name for field in fields(self) if field.name not in moves]
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in shape
        )

    def gap(self, u: fem.Function, shift: Any) -> tuple[Any, Any]:
        """Gap and its gradient (the unit normal towards the body) at x = X + u, UFL."""
        raise NotImplementedError

    def _depth(self, surface: Surface) -> tuple[Any, Any, Any]:
        """eps, <-g> and the normal towards the body."""
        mesh = surface.u.function_space.mesh
        if self.stiffness is not None and not self.stiffness > 0:
            raise InputError(
                f"penalty stiffness = {self.stiffness}: give a positive GPa per length"
            )
        shift = surface.load * vector(surface.u, self.motion, "motion")
        if surface.left is not None:
            shift = shift + surface.left
        gap, normal = self.gap(surface.u, shift)
        stiffness: Any = surface.stiffness
        if self.stiffness is not None:
            stiffness = fem.Constant(mesh, float(self.stiffness))
        return stiffness, ufl.max_value(-gap, 0.0), normal

    def energy(self, surface: Surface) -> Any:
        """UFL form of Pi."""
        stiffness, depth, _ = self._depth(surface)
        return 0.5 * stiffness * depth**2 * surface.ds

    def work(self, surface: Surface) -> Any:
        """UFL form of the virtual work on the body."""
        stiffness, depth, normal = self._depth(surface)
        return stiffness * depth * ufl.inner(normal, surface.v) * surface.ds

    def hardest(self, surface: Surface) -> Any:
        """UFL form of the row sums of eps v . v: no state of the contact is stiffer.

        Neither where it touches in part nor where the body's or the obstacle's surface is curved.
        """
        stiffness, _, _ = self._depth(surface)
        return stiffness * sum(surface.v[k] for k in range(len(surface.u))) * surface.ds

    def forces(self, surface: Surface) -> list[Any]:
        """UFL forms of the components of the force on the body."""
        stiffness, depth, normal = self._depth(surface)
        return [stiffness * depth * normal[k] * surface.ds for k in range(len(surface.u))]


@dataclass(frozen=True)
class RigidPlane(Contact):
    r"""A half-space that the body cannot enter.

    .. math:: g = (x - p - \lambda\, \mathrm{motion}) \cdot n

    Args:
        where: facets that may touch it, as in `Displacement`.
        motion: of the plane, reached at load factor 1; length.
        stiffness: eps, GPa per length; by default ten times the law's largest constant over the
            edge of each cell.
        name: how its force is listed among the reactions.
        amplitude: of its motion, see `Amplitude`; the load factor itself by default.
        point: p, on the plane, a length; the origin by default.
        normal: n, out of the half-space towards the body, any length; the last axis by default.

    Raises:
        InputError: in a problem: a normal of length zero, a stiffness that is not positive, not
            as many components as the mesh has dimensions.
    """

    point: Sequence[float] | None = None
    normal: Sequence[float] | None = None

    def gap(self, u: fem.Function, shift: Any) -> tuple[Any, Any]:
        n = np.eye(len(u))[-1] if self.normal is None else np.asarray(self.normal, dtype=float)
        length = float(np.linalg.norm(n))
        if not length > 0:
            raise InputError("a plane's normal has length zero")
        normal = vector(u, n / length, "normal")
        point = np.zeros(len(u)) if self.point is None else self.point
        x = ufl.SpatialCoordinate(u.function_space.mesh) + u
        return ufl.inner(x - vector(u, point, "point") - shift, normal), normal


@dataclass(frozen=True)
class RigidSphere(Contact):
    r"""A ball, in two dimensions a cylinder, that the body cannot enter.

    .. math:: g = |x - c - \lambda\, \mathrm{motion}| - R

    Args:
        where, motion, stiffness, name, amplitude: as in `RigidPlane`.
        centre: c at load factor 0, a length; the origin by default.
        radius: R, a length.

    Raises:
        InputError: in a problem: a radius or stiffness that is not positive, not as many
            components as the mesh has dimensions.
    """

    centre: Sequence[float] | None = None
    radius: float = 1.0

    def gap(self, u: fem.Function, shift: Any) -> tuple[Any, Any]:
        if not self.radius > 0:
            raise InputError(f"radius = {self.radius}: give a positive length")
        mesh = u.function_space.mesh
        centre = vector(u, np.zeros(len(u)) if self.centre is None else self.centre, "centre")
        away = ufl.SpatialCoordinate(mesh) + u - centre - shift
        distance = ufl.sqrt(ufl.inner(away, away))
        return distance - fem.Constant(mesh, float(self.radius)), away / distance
