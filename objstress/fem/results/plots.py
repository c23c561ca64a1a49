"""Plots of results, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from objstress.fem.results.surface import (
    Surface,
    check_field,
    fields_to_draw,
    label_of,
    surface_of,
)
from objstress.fem.solve.protocol import Shown
from objstress.io.files import check_writable, write_figure
from objstress.symmetry.ipf import direction_colours, sector_corners
from objstress.symmetry.point_group import PointGroup

COLOURS = "viridis"


def plot_field(
    problem: Shown,
    path: str | Path,
    field: str = "von_mises",
    warp: float = 1.0,
    *,
    view: tuple[float, float] = (25.0, -60.0),
    direction: Sequence[float] = (0, 0, 1),
) -> None:
    """Plot the deformed surface x = X + warp u, each facet in the colour of its cell.

    Drawn by matplotlib, far facets first: it needs no display and no OpenGL, without which VTK
    ends the whole process. All ranks call it, one draws.

    Args:
        problem: its present state is drawn.
        path: of the image, `.png`, `.pdf` or `.svg`.
        field: a scalar of `Material.cell_averages` or a component, such as `cauchy_stress_xx`
            and `principal_stress_1` (the largest); of grains `grain` and `ipf_colour`.
        warp: factor of the displacement.
        view: elevation and azimuth of the eye, degrees; a plane mesh is seen from above.
        direction: of the sample, that `ipf_colour` is of.

    Raises:
        InputError: an unknown field (all are named), a path that cannot be written or is no
            image.
    """
    check_writable(path)
    known = fields_to_draw(problem, direction)
    check_field(field, known)
    drawn = surface_of(problem, {field: known[field]})
    if drawn is not None:
        plot_surface(drawn, path, field, warp, view=view, direction=direction)


def plot_surface(
    surface: Surface,
    path: str | Path,
    field: str = "von_mises",
    warp: float = 1.0,
    *,
    view: tuple[float, float] = (25.0, -60.0),
    direction: Sequence[float] = (0, 0, 1),
) -> None:
    """Plot a surface that `simulate` kept, as `plot_field` does.

    Args:
        surface, path, field, warp, view: see `plot_field`.
        direction: of the sample, that the field `ipf_colour` is of.

    Raises:
        InputError: an unknown field (all are named), a path that cannot be written or is no
            image.
    """
    check_writable(path)
    check_field(field, surface.fields)
    facets, values = surface.deformed(warp), surface.fields[field]
    if not np.ptp(facets[:, :, 2]):
        view = (90.0, -90.0)
    figure = Figure(figsize=(6.4, 5.0))
    axes = figure.add_subplot(projection="3d")
    note = "" if warp == 1 else f" (deformation {warp:g} x)"
    if values.ndim == 2:
        draw_facets(axes, facets, values, view)
        axes.set_title(f"orientation, colour of {_numbers(direction)}{note}")
    else:
        norm = Normalize(values.min(), values.max())
        draw_facets(axes, facets, colormaps[COLOURS](norm(values)), view)
        bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=axes, shrink=0.6, pad=0.02)
        bar.set_label(label_of(field) + note)
    _save(figure, path)


def draw_facets(
    axes: Any,
    facets: np.ndarray,
    colours: np.ndarray,
    view: tuple[float, float],
    zoom: float = 1.0,
) -> None:
    """Facets (n, k, 3) in their colours (n, 3 or 4) on three-dimensional axes of matplotlib."""
    axes.add_collection3d(
        Poly3DCollection(facets, facecolors=colours, edgecolors=(0, 0, 0, 0.25), linewidths=0.4)
    )
    low, high = facets.min(axis=(0, 1)), facets.max(axis=(0, 1))
    # A plane has no thickness, which axes cannot have.
    size = np.maximum(high - low, 1e-3 * (high - low).max())
    axes.set(**{f"{a}lim": (x, x + s) for a, x, s in zip("xyz", low, size, strict=True)})
    axes.set_box_aspect(size, zoom=zoom)
    axes.view_init(elev=view[0], azim=view[1])
    axes.set_axis_off()


def _save(figure: Figure, path: str | Path) -> None:
    write_figure(figure, path, dpi=150, bbox_inches="tight")


def _numbers(direction: Sequence[float]) -> str:
    return "[" + " ".join(f"{x:g}" for x in direction) + "]"


def colour_key(group: PointGroup, path: str | Path) -> None:
    """Plot all crystal directions in their colours, stereographic.

    The corners of a sector are in the title.

    Args:
        group: of the crystal.
        path: of the image.
    """
    check_writable(path)
    figure = Figure(figsize=(3.6, 3.2))
    axes = figure.add_subplot()
    grid = np.linspace(-1, 1, 301)
    x, y = np.meshgrid(grid, grid)
    inside = np.hypot(x, y) <= 1
    h = np.stack([2 * x, 2 * y, 1 - x**2 - y**2], axis=-1)[inside]
    standard = PointGroup(group.laue)
    colours = np.ones((*x.shape, 4))
    colours[inside, :3] = direction_colours(standard, h)
    colours[~inside, 3] = 0
    axes.imshow(colours, origin="lower", extent=(-1, 1, -1, 1), interpolation="bilinear")
    text = ", ".join(f"{corner} {name}" for name, corner in sector_corners(group).items())
    axes.set(title=f"{group.symbol}: {text}")
    axes.set_axis_off()
    _save(figure, path)
