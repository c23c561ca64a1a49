"""Electrodes and charges on the boundary of a body whose law knows an electric field."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import History
from objstress.fem.conditions.where import Where


@dataclass(frozen=True)
class Electrode:
    r"""An electrode: a surface at one potential, which is given or follows from its charge.

    .. math:: \phi = a(\lambda)\, \mathrm{potential} \quad \text{or} \quad
        \int \omega\, dS = a(\lambda)\, \mathrm{charge}, \quad \phi \text{ uniform}

    with a = lambda, the load factor, by default. A floating electrode (of given charge) has one
    unknown potential, also where it is of several patches. Electrodes must not touch.

    Args:
        where: as in `Displacement`.
        potential: in V/nm times the mesh's unit of length: V for nm, kV for um, MV for mm.
            Reached at load factor 1.
        charge: of a floating electrode, in C/m^2 times the mesh's unit of length squared; on a
            plane mesh per unit of depth, C/m^2 times the unit of length.
        name: of its charge and potential in the record; by default `where`, if that is a text.
        amplitude: a(lambda), see `Amplitude`.

    Raises:
        InputError: in a problem: not one of potential and charge, numbers that are not finite, a
            law that knows no field, electrodes that touch; see `Displacement` for `where`.
    """

    where: Where
    potential: float | None = None
    charge: float | None = field(default=None, kw_only=True)
    name: str = ""
    amplitude: History = None

    def check(self, who: str) -> None:
        """Refuse what is no electrode.

        Args:
            who: it in words.

        Raises:
            InputError: see the class.
        """
        if (self.potential is None) == (self.charge is None):
            raise InputError(f"{who}: give its potential or, if it floats, its charge")
        value = self.charge if self.potential is None else self.potential
        if not isinstance(value, Real) or not np.isfinite(float(value)):
            raise InputError(f"{who}: potential or charge {value!r}, give a finite number")


@dataclass(frozen=True)
class SurfaceCharge:
    r"""Free charge per reference area on the marked boundary facets.

    .. math:: \delta W = -\lambda \int \omega\, \delta\phi\, dS

    Args:
        where: as in `Displacement`.
        value: omega in C/m^2, reached at load factor 1.
        amplitude: as in `BodyForce`.

    Raises:
        InputError: in a problem: a value that is not finite.
    """

    where: Where
    value: float
    amplitude: History = field(default=None, kw_only=True)


def charging(value: float, load: Any, q: Any, ds: Any, mesh: Any) -> Any:
    """UFL form of the work of a charge per area on q, a change of the potential.

    Args:
        value: C/m^2.
        load: its factor.
        q: test function of the potential.
        ds: measure of its facets.
        mesh: of them.

    Raises:
        InputError: a value that is not finite.
    """
    if not np.isfinite(value):
        raise InputError(f"surface charge {value}: give a finite number of C/m^2")
    return -load * fem.Constant(mesh, float(value)) * q * ds
