"""Forces on a body: dead tractions, body forces, follower pressure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import History
from objstress.fem.conditions.where import Where
from objstress.fem.materials.quadrature import gradient


@dataclass(frozen=True)
class Surface:
    """What a load on facets is written with.

    Attributes:
        u, v: displacement and test function.
        load: the load's factor, a UFL variable: arc lengths need its derivative.
        ds: measure of the load's facets.
        stiffness: GPa per length in each cell, a penalty that is hard for its size and law.
        left: what is left of a contact's way before, a vector; None is 0.
    """

    u: fem.Function
    v: Any
    load: Any
    ds: Any
    stiffness: fem.Function | None
    left: Any = None


@dataclass(frozen=True)
class BodyForce:
    r"""Force per reference volume on the whole body.

    .. math:: \delta W = \lambda \int b \cdot v \, dX

    Args:
        value: b, GPa per length, in each direction, or a UFL vector on the mesh; reached at load
            factor 1. Weight is density times acceleration: 1e3 kg/m^3 x 9.81 m/s^2 = 9.81e-6 GPa/m.
        amplitude: of its factor, see `Amplitude`; the load factor itself by default.
    """

    value: Any
    amplitude: History = field(default=None, kw_only=True)

    def work(self, u: fem.Function, v: Any, load: fem.Constant, dx: Any) -> Any:
        """UFL form of the virtual work on v, with u, load (its factor) and dx of the body."""
        return load * ufl.inner(vector(u, self.value, "body force"), v) * dx


@dataclass(frozen=True)
class Traction:
    r"""Dead traction, force per reference area, on the marked boundary facets.

    .. math:: \delta W = \lambda \int t \cdot v \, dS

    Args:
        where: as in `Displacement`.
        value: a component for each direction, GPa, or a UFL vector on the mesh; reached at load
            factor 1.
        amplitude: as in `BodyForce`.
    """

    where: Where
    value: Any
    amplitude: History = field(default=None, kw_only=True)
    follows = False

    def work(self, surface: Surface) -> Any:
        """UFL form of the virtual work on a surface."""
        value = vector(surface.u, self.value, "traction")
        return surface.load * ufl.inner(value, surface.v) * surface.ds


@dataclass(frozen=True)
class Pressure:
    r"""Pressure on the deformed surface, whose normal and area it follows.

    .. math:: \delta W = -\lambda \int p\, J F^{-T} N \cdot v \, dS

    Args:
        where: as in `Displacement`.
        value: p in GPa, positive pushes inwards, reached at load factor 1.
        amplitude: as in `BodyForce`.

    Raises:
        InputError: in a problem: p is not finite.
    """

    where: Where
    value: float
    amplitude: History = field(default=None, kw_only=True)
    follows = True

    def work(self, surface: Surface) -> Any:
        """UFL form of the virtual work on a surface.

        Raises:
            InputError: p is not finite.
        """
        u, v = surface.u, surface.v
        dim = len(u)
        normal = ufl.FacetNormal(u.function_space.mesh)
        f = ufl.Identity(3) + gradient(u)
        # J F^-T N: column k of the cofactor is the cross product of the other two columns of F.
        columns = [f[:, k] for k in range(3)]
        crosses = [ufl.cross(columns[(k + 1) % 3], columns[(k + 2) % 3]) for k in range(3)]
        area = [sum(crosses[k][i] * normal[k] for k in range(dim)) for i in range(dim)]
        if not np.isfinite(self.value):
            raise InputError(f"pressure {self.value}: give a finite number of GPa")
        value = fem.Constant(u.function_space.mesh, float(self.value))
        return -surface.load * value * ufl.inner(ufl.as_vector(area), v) * surface.ds


def vector(u: fem.Function, value: Any, what: str) -> Any:
    """A constant of the form with a component for each direction of u; `what` names it."""
    if isinstance(value, ufl.core.expr.Expr):
        if value.ufl_shape != (len(u),):
            raise InputError(f"{what} of shape {value.ufl_shape}: give {len(u)} components")
        return value
    mesh = u.function_space.mesh
    components = np.asarray(value, dtype=np.float64)
    if components.shape != (len(u),) or not np.isfinite(components).all():
        raise InputError(f"{what} {value}: give {len(u)} finite components")
    return fem.Constant(mesh, components)
