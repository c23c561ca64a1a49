"""Plots of spectra on the axes of the spectrometer, drawn without a display."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.figure import Figure

from objstress.errors import InputError
from objstress.io.files import check_writable, write_figure
from objstress.spectra.curves import Curve

AXES = {
    "infrared": "wavenumber, cm$^{-1}$",
    "raman": "Raman shift, cm$^{-1}$",
    "density": "wavenumber, cm$^{-1}$",
}
# Dashes leave an equal curve below visible.
STYLES = ("-", "--", "-.")
COLOURS = ("tab:blue", "tab:red", "tab:green", "tab:purple", "tab:orange", "tab:brown")


def plot_spectra(
    curves: Curve | Sequence[Curve],
    path: str | Path,
    *,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> None:
    """Plot curves of one kind on the same axes, with their lines as sticks below.

    IR spectra are drawn as absorbance (molar absorption coefficient, upwards), with wavenumbers
    falling to the right; Raman spectra and densities of states rise to the right. A shaded band is
    the standard error of the mean over replicas.

    Args:
        curves: one or several.
        path: of the image, `.png`, `.pdf` or `.svg`.
        limits: lowest and highest wavenumber, cm^-1; by default all of the longest curve.
        title: of the plot.

    Raises:
        InputError: no curve, curves of different kinds or units, a path that cannot be written or
            is no image.
    """
    curves = [curves] if isinstance(curves, Curve) else list(curves)
    if not curves:
        raise InputError("no curve to plot")
    first = curves[0]
    for other in curves[1:]:
        if (other.kind, other.unit) != (first.kind, first.unit):
            raise InputError(
                f"curves of {first.quantity} ({first.unit}) and {other.quantity} ({other.unit}) "
                "share no axis: plot them separately"
            )
    check_writable(path)
    low = min(float(c.wavenumbers[0]) for c in curves)
    high = max(float(c.wavenumbers[-1]) for c in curves)
    low, high = limits or (low, high)
    if not low < high:
        raise InputError(f"limits {low:g} to {high:g} cm^-1: give the lowest first")
    sticks = [c for c in curves if c.sticks is not None]
    figure = Figure(figsize=(7.0, 4.6 if sticks else 3.6), layout="constrained")
    grid = figure.add_gridspec(2 if sticks else 1, 1, height_ratios=[3, 1] if sticks else [1])
    axes = lowest = figure.add_subplot(grid[0])
    top = bottom = 0.0
    for curve, colour, style in zip(curves, cycle(COLOURS), cycle(STYLES), strict=False):
        x, y = curve.wavenumbers, curve.values
        text = f"{curve.label}, width {curve.width:g} cm$^{{-1}}$"
        axes.plot(x, y, color=colour, ls=style, lw=1.2, label=text)
        if curve.errors is not None:
            axes.fill_between(x, y - curve.errors, y + curve.errors, color=colour, alpha=0.25, lw=0)
        inside = (x >= low) & (x <= high)
        upper = y if curve.errors is None else y + curve.errors
        top, bottom = max(top, *upper[inside], 0.0), min(bottom, *y[inside], 0.0)
    top = top if top > 0 else 1.0
    axes.set(
        ylabel=f"{first.quantity},\n{_typeset(first.unit)}",
        xlim=(high, low) if first.kind == "infrared" else (low, high),
        ylim=(1.06 * bottom if bottom < -0.01 * top else 0.0, 1.06 * top),
        title=title,
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    if sticks:
        axes.tick_params(labelbottom=False)
        lowest = figure.add_subplot(grid[1], sharex=axes)
        for curve, colour in zip(curves, cycle(COLOURS), strict=False):
            if curve.sticks is not None:
                x, strengths = curve.sticks.T
                lowest.vlines(x, 0, strengths, color=colour, lw=1.4)
                lowest.plot(x, strengths, "o", color=colour, ms=3)
        lowest.set_ylim(0)
        lowest.set_ylabel(_typeset(sticks[0].area_unit))
        lowest.grid(alpha=0.25)
    lowest.set_xlabel(AXES[first.kind])
    write_figure(figure, path, dpi=150)


def _typeset(unit: str) -> str:
    """A unit such as `A^4 u^-1 / cm^-1` with raised exponents and the Angstrom's own letter."""
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", re.sub(r"\bA\b", "Å", unit))
