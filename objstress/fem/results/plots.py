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
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from mpl_toolkits.mplot3d.proj3d import proj_transform

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

MARGIN = 0.1
"""Inches about the pictures of bodies."""


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
    axes = figure.add_axes((0, 0, 1, 1), projection="3d")
    norm = Normalize(values.min(), values.max())
    scalar = values.ndim == 1
    draw_facets(axes, facets, colormaps[COLOURS](norm(values)) if scalar else values, view)
    shown = _fitted(axes, facets)
    inches, (width, height) = figure.dpi_scale_trans.inverted(), figure.get_size_inches()
    if scalar:
        long = max(shown.height, 1.0)
        place = np.array([shown.x1 + 0.2, shown.y1 - long, 0.12, long])
        beside = figure.add_axes(place / [width, height, width, height])
        figure.colorbar(ScalarMappable(norm, COLOURS), cax=beside)
        shown = Bbox.union([shown, beside.get_tightbbox().transformed(inches)])
    name = label_of(field) if scalar else f"orientation, colour of {_numbers(direction)}"
    note = "" if warp == 1 else f" (deformation {warp:g} x)"
    middle, top = 0.5 * (shown.x0 + shown.x1) / width, (shown.y1 + MARGIN) / height
    title = figure.text(middle, top, name + note, ha="center", va="bottom")
    whole = Bbox.union([shown, title.get_window_extent().transformed(inches)])
    _save(figure, path, whole.padded(MARGIN))


def _fitted(axes: Any, facets: np.ndarray) -> Bbox:
    """Zoom, so that the facets fill the figure's width or height; where they are, in inches."""
    figure, box = axes.figure, _extent(axes, facets)
    zoom = min(figure.get_figwidth() / box.width, figure.get_figheight() / box.height)
    axes.set_box_aspect(_sides(facets), zoom=zoom)
    return _extent(axes, facets)


def _extent(axes: Any, facets: np.ndarray) -> Bbox:
    axes.apply_aspect()
    x, y, _ = proj_transform(*facets.reshape(-1, 3).T, axes.get_proj())
    box = Bbox.null()
    box.update_from_data_xy(axes.transData.transform(np.stack([x, y], axis=1)))
    return box.transformed(axes.figure.dpi_scale_trans.inverted())


def _sides(facets: np.ndarray) -> np.ndarray:
    """Of the box about the facets; a plane has no thickness, which axes cannot have."""
    sides = np.ptp(facets.reshape(-1, 3), axis=0)
    return np.maximum(sides, 1e-3 * sides.max())


def draw_facets(
    axes: Any,
    facets: np.ndarray,
    colours: np.ndarray,
    view: tuple[float, float],
    zoom: float = 1.0,
) -> None:
    """Facets (n, k, 3) in their colours (n, 3 or 4) on three-dimensional axes of matplotlib."""
    bodies = Poly3DCollection(
        facets, facecolors=colours, edgecolors=(0, 0, 0, 0.25), linewidths=0.4, clip_on=False
    )
    axes.add_collection3d(bodies)
    low, size = facets.min(axis=(0, 1)), _sides(facets)
    axes.set(**{f"{a}lim": (x, x + s) for a, x, s in zip("xyz", low, size, strict=True)})
    axes.set_box_aspect(size, zoom=zoom)
    axes.view_init(elev=view[0], azim=view[1])
    axes.set_axis_off()


def _save(figure: Figure, path: str | Path, part: Bbox | str = "tight") -> None:
    write_figure(figure, path, dpi=150, bbox_inches=part)


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
