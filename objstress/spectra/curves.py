"""Spectra as curves: broadened lines, band areas, files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from objstress.errors import InputError
from objstress.io.files import write_json, write_whole

Kind = Literal["infrared", "raman", "density"]
Shape = Literal["lorentzian", "gaussian"]


@dataclass(frozen=True)
class Curve:
    """A spectrum on a grid of wavenumbers.

    Attributes:
        kind: "infrared", "raman" or "density": the axes of a plot.
        wavenumbers: (n,) cm^-1, ascending.
        values: (n,) `quantity` in `unit`.
        quantity: what the values are.
        unit: of the values.
        label: names the curve in a plot.
        width: full width at half maximum of a sharp line, cm^-1.
        area_unit: unit of a band's strength.
        area_factor: strength of a band in `area_unit`, relative to its area.
        errors: (n,) standard error of `values` from the scatter of replicas; None for one replica.
        sticks: (m, 2) wavenumbers and strengths, in `area_unit`, of its lines.
        facts: settings that it was made with (temperature, window, ...).
    """

    kind: Kind
    wavenumbers: np.ndarray
    values: np.ndarray
    quantity: str
    unit: str
    label: str
    width: float
    area_unit: str
    area_factor: float = 1.0
    errors: np.ndarray | None = None
    sticks: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def area(self, low: float = 0.0, high: float = math.inf) -> float:
        """Strength of the band between two wavenumbers, in `area_unit`.

        Args:
            low, high: limits of the band, cm^-1.

        Raises:
            InputError: limits outside the curve.
        """
        x = self._between(low, high)
        y = np.interp(x, self.wavenumbers, self.values)
        return float(np.trapezoid(y, x) * self.area_factor)

    def peak(self, low: float = 0.0, high: float = math.inf) -> float:
        """Wavenumber of the maximum in a range, cm^-1, by a parabola through three points.

        Args:
            low, high: limits of the range, cm^-1.

        Raises:
            InputError: no point of the curve in the range.
        """
        inside = np.flatnonzero((self.wavenumbers >= low) & (self.wavenumbers <= high))
        if not len(inside):
            raise InputError(f"the curve has no point between {low:g} and {high:g} cm^-1")
        k = inside[np.argmax(self.values[inside])]
        if k in (0, len(self.values) - 1):
            return float(self.wavenumbers[k])
        before, top, after = self.values[k - 1 : k + 2]
        bend = before - 2 * top + after
        shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
        step = self.wavenumbers[k + 1] - self.wavenumbers[k]
        return float(self.wavenumbers[k] + np.clip(shift, -1, 1) * step)

    def _between(self, low: float, high: float) -> np.ndarray:
        x = self.wavenumbers
        low, high = max(low, float(x[0])), min(high, float(x[-1]))
        if not low < high:
            raise InputError(f"the curve, {x[0]:g} to {x[-1]:g} cm^-1, does not cover the band")
        return np.concatenate([[low], x[(x > low) & (x < high)], [high]])

    def to_dict(self) -> dict[str, Any]:
        """Numbers and texts for a JSON file."""
        return {
            "kind": self.kind,
            "label": self.label,
            "quantity": self.quantity,
            "unit": self.unit,
            "area_unit": self.area_unit,
            "area_factor": self.area_factor,
            "width_per_cm": self.width,
            **self.facts,
            "wavenumbers_per_cm": self.wavenumbers.tolist(),
            "values": self.values.tolist(),
            "errors": None if self.errors is None else self.errors.tolist(),
        }

    def to_json(self, path: str | Path) -> None:
        """Write all of `to_dict` to a JSON file.

        Args:
            path: of the file.
        """
        write_json(path, self.to_dict())

    def to_csv(self, path: str | Path) -> None:
        """Write columns of wavenumber, value and standard error, units in the header.

        Args:
            path: of the file.
        """
        names = ["wavenumber (cm^-1)", f"{self.quantity} ({self.unit})"]
        columns = [self.wavenumbers, self.values]
        if self.errors is not None:
            names.append(f"standard error ({self.unit})")
            columns.append(self.errors)
        rows = [",".join(f"{x:.8g}" for x in row) for row in zip(*columns, strict=True)]
        write_whole(path, "\n".join([",".join(names), *rows]) + "\n")


def broaden(
    positions: np.ndarray,
    areas: np.ndarray,
    grid: np.ndarray,
    fwhm: float,
    shape: Shape = "lorentzian",
) -> np.ndarray:
    r"""The sum of broadened lines on a grid.

    .. math::

        f(\nu) &= \sum_k A_k L(\nu - \nu_k), \\
        L_\mathrm{lorentzian}(x) &= \frac{w/2}{\pi (x^2 + w^2/4)}, \quad
        L_\mathrm{gaussian}(x) = \frac{2}{w} \sqrt{\frac{\ln 2}{\pi}}
        \exp\left(-4 \ln 2\, \frac{x^2}{w^2}\right)

    Each L has the area one.

    Args:
        positions: (m,) nu_k, cm^-1.
        areas: (m,) A_k.
        grid: (n,) cm^-1.
        fwhm: w, full width at half maximum, cm^-1.
        shape: "lorentzian" or "gaussian".

    Returns:
        (n,), unit of the areas for each cm^-1.

    Raises:
        InputError: a width that is not positive, an unknown shape.
    """
    if not (fwhm > 0 and math.isfinite(fwhm)):
        raise InputError(f"fwhm = {fwhm}: give a positive width in cm^-1")
    x = np.asarray(grid)[:, None] - np.asarray(positions)[None]
    if shape == "lorentzian":
        lines = (fwhm / 2) / (math.pi * (x**2 + fwhm**2 / 4))
    elif shape == "gaussian":
        lines = (
            2 * math.sqrt(math.log(2) / math.pi) / fwhm * np.exp(-4 * math.log(2) * x**2 / fwhm**2)
        )
    else:
        raise InputError(f"shape = {shape!r}: give lorentzian or gaussian")
    return np.asarray(lines @ np.asarray(areas))


def grid_for(positions: np.ndarray, fwhm: float, points: np.ndarray | None = None) -> np.ndarray:
    """The given grid, checked, or ten points a width from 0 to beyond the highest line, cm^-1."""
    if points is not None:
        grid = np.asarray(points, dtype=np.float64)
        if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all() or grid[0] < 0:
            raise InputError("wavenumbers of a curve: give at least two, ascending, none negative")
        return grid
    if not (fwhm > 0 and math.isfinite(fwhm)):
        raise InputError(f"fwhm = {fwhm}: give a positive width in cm^-1")
    highest = max((float(x) for x in positions), default=0.0)
    top = 100 * math.ceil((1.05 * highest + 10 * fwhm) / 100)
    return np.arange(0.0, top + fwhm / 20, fwhm / 10)
