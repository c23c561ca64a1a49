"""Raman activities and cross sections: their units, and the parts that polarisers select."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.spectra.units import KELVIN, SCATTERING

PARTS = {
    "total": (45.0, 7.0),
    "parallel": (45.0, 4.0),
    "perpendicular": (0.0, 3.0),
    "isotropic": (45.0, 0.0),
    "anisotropic": (0.0, 7.0),
}
"""Weights of a'^2 and g'^2: both polarisations of the scattered light, that of the laser alone,
that across it alone (the depolarised spectrum), and the two terms of the total."""


def part_weights(part: str) -> tuple[float, float]:
    """Weights of a'^2 and g'^2 for one of `PARTS`."""
    if part not in PARTS:
        raise InputError(f"part = {part!r}: give one of {', '.join(PARTS)}")
    return PARTS[part]


def cross_section(
    activities: np.ndarray, wavenumbers: np.ndarray, laser: float, temperature: float
) -> np.ndarray:
    r"""Differential Stokes cross section of Raman activities, 1e-30 cm^2/sr.

    .. math::

        \frac{d\sigma}{d\Omega} = (2 \pi)^4 (\nu_0 - \nu)^4
        \frac{h}{8 \pi^2 c \nu} \frac{1}{1 - e^{-h c \nu/kT}} \frac{S}{45}

    derived at `objstress.spectra.units.SCATTERING`. For an activity for each cm^-1 it is the cross
    section for each cm^-1.

    Args:
        activities: S, (..., n) Angstrom^4/u, of lines or on a grid.
        wavenumbers: nu, (n,) cm^-1, positive.
        laser: wavelength 1/nu_0, nm.
        temperature: T, K; 0 for molecules in their ground state.

    Returns:
        (..., n), 1e-30 cm^2/sr.

    Raises:
        InputError: a temperature below 0, or light that cannot lose nu.
    """
    if not (laser > 0 and math.isfinite(laser)):
        raise InputError(f"laser = {laser}: give a positive wavelength in nm")
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise InputError(f"temperature = {temperature}: give K, 0 or more")
    scattered = 1e7 / laser - wavenumbers
    if (scattered <= 0).any():
        raise InputError(
            f"light of {laser:g} nm ({1e7 / laser:.0f} cm^-1) cannot lose {wavenumbers.max():.0f} "
            "cm^-1: give a shorter wavelength"
        )
    cold = -np.expm1(-KELVIN * wavenumbers / temperature) if temperature > 0 else 1.0
    return np.asarray(SCATTERING * scattered**4 / (wavenumbers * cold) * activities)


def raman_units(laser: float | None) -> dict[str, Any]:
    """Quantity and units of a Raman curve, with and without a laser."""
    if laser is None:
        return {
            "quantity": "Raman activity",
            "unit": "A^4 u^-1 / cm^-1",
            "area_unit": "A^4/u",
        }
    return {
        "quantity": "differential Raman cross section",
        "unit": "10^-30 cm^2 sr^-1 / cm^-1",
        "area_unit": "10^-30 cm^2/sr",
    }


def raman_facts(part: str, laser: float | None, temperature: float) -> dict[str, Any]:
    """Settings of a Raman curve; the temperature only where it matters."""
    facts: dict[str, Any] = {"part": part, "laser_nm": laser}
    return facts if laser is None else facts | {"temperature_K": temperature}
