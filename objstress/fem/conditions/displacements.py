"""Prescribed displacements, given where and how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation as Turn

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import History
from objstress.fem.conditions.where import Where

NAMED = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD, Parameter.KEYWORD_ONLY)

type Field = Callable[[np.ndarray], np.ndarray] | Callable[[np.ndarray, float], np.ndarray]
"""Of points (3, n), or of points and the load factor; returns (3, n) or (dim, n)."""


@dataclass(frozen=True)
class Displacement:
    r"""Prescribed displacement on the marked nodes, component by component.

    .. math:: u = a(\lambda)\, \mathrm{value}

    with a = lambda, the load factor, by default. Where displacements share nodes, they must agree
    there, and the force at a shared node counts to the first of them.

    Args:
        where: "x=0" (a plane, in the mesh's unit of length; "x=min" and "x=max" too), several
            joined by "&" for an edge or a corner, "boundary" for all of it; a function of points
            (3, n) that returns bool (n,); or (tags, number), (tags, [numbers]) with dolfinx
            `MeshTags` of any dimension, and (mesh data, name) with what `read_mesh` returns.
        value: an entry for each direction, None leaves a component free; a function of points
            (3, n) that returns (3, n); or a function of points and a(lambda), which it is not
            multiplied by, such as a `Rotation`. Reached at load factor 1; length.
        name: of its reaction; by default `where`, if that is a text.
        amplitude: a(lambda), see `Amplitude`.

    Raises:
        InputError: in a problem: `where` catches no node or has tags that do not exist, another
            number of components, values that are not finite or contradict those of another one.
    """

    where: Where
    value: Sequence[float | None] | Field
    name: str = ""
    amplitude: History = None


class Rotation:
    r"""Turn nodes as a rigid body.

    .. math:: u = (R(a\,\varphi) - 1)(X - c) + a\, t

    The angle grows with a, the amplitude, so that it may pass 180 degrees.

    Args:
        axis: of the rotation, any length; through `centre`.
        degrees: phi at a = 1, counterclockwise about the axis.
        centre: c, a length; the origin by default.
        translation: t at a = 1, a length; none by default.

    Raises:
        InputError: an axis of length zero, numbers that are not finite.
    """

    def __init__(
        self,
        axis: Sequence[float],
        degrees: float,
        centre: Sequence[float] = (0, 0, 0),
        translation: Sequence[float] = (0, 0, 0),
    ):
        vectors = [np.asarray(v, dtype=np.float64) for v in (axis, centre, translation)]
        if any(v.shape != (3,) or not np.isfinite(v).all() for v in vectors):
            raise InputError("rotation: give three finite numbers for axis, centre and translation")
        if not np.linalg.norm(vectors[0]) > 0 or not np.isfinite(degrees):
            raise InputError("rotation: give an axis of some length and a finite angle in degrees")
        self.axis = vectors[0] / np.linalg.norm(vectors[0])
        self.degrees, self.centre, self.translation = float(degrees), vectors[1], vectors[2]

    def __call__(self, x: np.ndarray, amount: float) -> np.ndarray:
        """u at points (3, n)."""
        turn = Turn.from_rotvec(amount * np.radians(self.degrees) * self.axis)
        away = x.T - self.centre
        return (turn.apply(away) - away + amount * self.translation).T

    def check(self, dim: int) -> None:
        """Refuse what a plane mesh cannot do.

        Args:
            dim: dimensions of the mesh.

        Raises:
            InputError: it leaves the plane.
        """
        if dim == 2 and (np.any(self.axis[:2] != 0) or self.translation[2] != 0):
            raise InputError("rotation: a plane mesh turns about z, give axis = (0, 0, 1)")


def takes_amount(value: Any) -> bool:
    """Whether a function takes points and a(lambda), not points alone."""
    try:
        parameters = list(signature(value).parameters.values())
    except (TypeError, ValueError):  # of a builtin
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind not in NAMED]
    return len(needed) == 2


def symmetry_plane(where: str) -> Displacement:
    """A plane that the body slides on: the displacement along its normal is zero.

    Args:
        where: one plane such as "x=min".

    Raises:
        InputError: not one plane.
    """
    axis = where.replace(" ", "").partition("=")[0]
    if axis not in ("x", "y", "z") or "&" in where:
        raise InputError(f"symmetry plane {where!r}: give one plane such as 'x=min'")
    value = [0.0 if name == axis else None for name in "xyz"]
    return Displacement(where, value, f"symmetry {where}")


class Affine:
    """u(X) = (F - I) X at points X (3, n), F a finite (3, 3)."""

    def __init__(self, F: np.ndarray):
        self.F = F

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (self.F - np.eye(3)) @ x

    def check(self, dim: int) -> None:
        """Refuse what a plane mesh cannot do.

        Raises:
            InputError: F moves points out of the plane, or stretches or shears along its normal.
        """
        within = np.eye(3)
        within[:2, :2] = self.F[:2, :2]
        if dim == 2 and not np.array_equal(self.F, within):
            raise InputError(
                "mean deformation: a plane mesh is in plane strain, give F33 = 1 and F13 = F23 = "
                "F31 = F32 = 0"
            )


def mean_deformation(F: Any, name: str = "boundary") -> Displacement:
    """Prescribed u = (F - I) X on the whole boundary: the mean deformation gradient is F.

    Args:
        F: (3, 3), det F > 0, reached at load factor 1; on a plane mesh F33 = 1, and 0 beside it.
        name: of its reaction.

    Raises:
        InputError: F of another shape, not finite, or det F <= 0.
    """
    return Displacement("boundary", Affine(checked_mean(F)), name)


def checked_mean(F: Any) -> np.ndarray:
    """A mean deformation gradient as float64 (3, 3).

    Raises:
        InputError: another shape, not finite, or det F <= 0.
    """
    f = np.asarray(F, dtype=np.float64)
    if f.shape != (3, 3) or not np.isfinite(f).all() or np.linalg.det(f) <= 0:
        raise InputError("the mean deformation gradient must be a finite 3 x 3, det F > 0")
    return f
