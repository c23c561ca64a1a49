"""One component of a prescribed displacement: its values at a load factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.conditions.displacements import Affine, Rotation, takes_amount


class Prescribed:
    """One component of a displacement at its nodes.

    Args:
        function: of the component's own space, that dolfinx reads the values from.
        dofs: degrees of freedom of the whole displacement.
        places: the same, in the component's own space.
        value, k, amplitude: what is prescribed, which component, and its factor.
        who: the displacement in words.
    """

    def __init__(
        self,
        function: fem.Function,
        dofs: np.ndarray,
        places: np.ndarray,
        value: Any,
        k: int,
        amplitude: Callable[[float], float] | None,
        who: str,
    ):
        self.function, self.dofs, self.places, self.k = function, dofs, places, k
        self.who, self.amplitude = who, amplitude
        self._x = function.function_space.tabulate_dof_coordinates()[places].T
        self._value = value
        self._full: Any = None
        self._offset: np.ndarray | float = 0.0
        if not callable(value):
            self._full = np.full(len(places), float(value[k]))
        elif not takes_amount(value):
            self._full = self._at(value(self._x))
        self.values(1.0)

    def values(self, load: float) -> np.ndarray:
        """At the nodes, at a load factor."""
        amount = load if self.amplitude is None else float(self.amplitude(load))
        if self.amplitude is not None and not np.isfinite(amount):
            raise InputError(f"{self.who}: the amplitude is {amount} at load factor {load:g}")
        if self._full is not None:
            value = amount * self._full
        else:
            value = self._at(self._value(self._x, amount))
        return value + max(0.0, 1.0 - load) * self._offset

    def begin(self, u: fem.Function) -> None:
        """Leave the displacement u in proportion to the load factor, up to 1."""
        self._offset = 0.0
        self._offset = u.x.array[self.dofs] - self.values(0.0)

    def _at(self, u: Any) -> np.ndarray:
        u = np.asarray(u)
        n = self._x.shape[1]
        if u.ndim != 2 or u.shape[1] != n or len(u) <= self.k or not np.isreal(u).all():
            raise InputError(
                f"{self.who}: value returns {u.dtype} {u.shape} for {n} points, it must return "
                "numbers (3, n)"
            )
        if not np.isfinite(u[self.k]).all():
            raise InputError(f"{self.who}: value is not finite at some nodes")
        return u[self.k].astype(np.float64)


def checked_value(value: Any, dim: int, who: str) -> Any:
    """A displacement's value: a function, or as many components as the mesh has dimensions."""
    if callable(value):
        if hasattr(value, "ufl_shape"):
            raise InputError(f"{who}: value is a UFL expression, give numbers or a function")
        if isinstance(value, Affine | Rotation):
            value.check(dim)
        return value
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise InputError(
            f"{who}: value is a {type(value).__name__}, give {dim} components or a function of "
            "points (3, n)"
        )
    value = list(value)
    for v in value:
        if v is not None and not isinstance(v, Real):
            raise InputError(f"{who}: component {v!r}, give numbers or None")
        if v is not None and not np.isfinite(float(v)):
            raise InputError(f"{who}: component {v}, give finite numbers or None")
    if len(value) < dim or any(v not in (None, 0) for v in value[dim:]):
        raise InputError(f"{who}: give {dim} components")
    if all(v is None for v in value[:dim]):
        raise InputError(f"{who}: none of the {dim} components is given")
    return value
