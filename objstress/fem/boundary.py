"""Loads: prescribed displacements and dead tractions, given where and how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from objstress.errors import InputError

Marker = Callable[[np.ndarray], np.ndarray]
"""Points (3, n) to bool (n,), as dolfinx wants it."""


@dataclass(frozen=True)
class Displacement:
    """u = value on the marked points, component by component.

    Args:
        where: "x=0" (a plane, in the mesh's units; "x=min" and "x=max" too), several joined by
            "&" for an edge or a corner, or a function of points (3, n).
        value: three entries, None leaves a component free; or a function of points (3, n) that
            returns (3, n). Full value, reached at load factor 1.
        name: how reactions are listed.
    """

    where: str | Marker
    value: Sequence[float | None] | Callable[[np.ndarray], np.ndarray]
    name: str = ""


@dataclass(frozen=True)
class Traction:
    """Dead traction (force per reference area, GPa) on the marked boundary facets.

    Args:
        where: as in `Displacement`.
        value: three components, GPa, reached at load factor 1.
    """

    where: str | Marker
    value: Sequence[float]


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
            raise InputError(f"where = {where!r}: {text!r} is no number") from None
        planes.append((k, float(value)))

    def on_planes(x: np.ndarray) -> np.ndarray:
        hit = np.ones(x.shape[1], dtype=bool)
        for k, value in planes:
            hit &= np.abs(x[k] - value) < tolerance
        return hit

    return on_planes
