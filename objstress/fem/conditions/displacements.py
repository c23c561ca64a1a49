"""Prescribed displacements, given where and how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from objstress.errors import InputError

Marker = Callable[[np.ndarray], np.ndarray]
"""Points (3, n) to bool (n,), as dolfinx expects it."""


@dataclass(frozen=True)
class Displacement:
    """Prescribed displacement, u = value on the marked points, component by component.

    Args:
        where: "x=0" (a plane, in the mesh's unit of length; "x=min" and "x=max" too), several
            joined by "&" for an edge or a corner, "boundary" for all of it, or a function of
            points (3, n) that returns bool (n,).
        value: an entry for each direction, None leaves a component free; or a function of points
            (3, n) that returns (3, n). Full value, reached at load factor 1; length.
        name: of its reaction; by default `where`, if that is a text.
    """

    where: str | Marker
    value: Sequence[float | None] | Callable[[np.ndarray], np.ndarray]
    name: str = ""


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


def marker(where: str | Marker, low: np.ndarray, high: np.ndarray) -> Marker:
    """The function of points that `where` means on a mesh of bounding box low, high.

    Raises:
        InputError: a text that is no plane.
    """
    if callable(where):
        return where
    planes = []
    tolerance = 1e-8 * float((high - low).max())
    for part in where.split("&"):
        axis, _, text = part.replace(" ", "").partition("=")
        if axis not in ("x", "y", "z"):
            raise InputError(f"where = {where!r}: give planes such as 'x=0' or 'x=min & y=max'")
        k = "xyz".index(axis)
        try:
            value = {"min": low[k], "max": high[k]}[text] if text in ("min", "max") else float(text)
        except ValueError:
            raise InputError(f"where = {where!r}: {text!r} is not a number") from None
        planes.append((k, float(value)))

    def on_planes(x: np.ndarray) -> np.ndarray:
        hit = np.ones(x.shape[1], dtype=bool)
        for k, value in planes:
            hit &= np.abs(x[k] - value) < tolerance
        return hit

    return on_planes
