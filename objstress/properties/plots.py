"""A crystal's elasticity in one plot, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from objstress.elasticity.moduli import youngs_modulus
from objstress.elasticity.waves import sound_waves
from objstress.errors import InputError
from objstress.io.files import check_writable, write_figure
from objstress.properties.crystal import CrystalProperties

COLOURS = "viridis"
PLANES = {"xy": (0, 1), "yz": (1, 2), "zx": (2, 0)}
SHEETS = ("slow transverse", "fast transverse", "longitudinal")


def plot_properties(properties: CrystalProperties, path: str | Path) -> None:
    """Plot Young's modulus by direction, sound in a plane and the elastic constants.

    Four panels in the IEEE frame: Young's modulus (GPa) over all directions and in three planes,
    phase velocities (km/s) in the xz plane, and the matrix of constants (GPa). Sheets are named by
    their order of speed; only along directions of high symmetry are they purely transverse or
    longitudinal.

    Args:
        properties: of a stable crystal.
        path: of the image, .png, .pdf or .svg.

    Raises:
        InputError: an unstable crystal, which has no such surfaces; a path that cannot be written.
    """
    means = properties.averages
    if means is None:
        raise InputError(
            f"{properties.structure.composition.reduced_formula} is unstable under "
            f"{properties.model}: its moduli cannot be drawn as surfaces"
        )
    check_writable(path)
    c = properties.stiffness_ieee
    figure = Figure(figsize=(10.5, 9.2), dpi=160, layout="constrained")
    _surface(figure, figure.add_subplot(2, 2, 1, projection="3d"), c)
    _young_in_planes(figure.add_subplot(2, 2, 2, projection="polar"), c)
    _constants(figure.add_subplot(2, 2, 3), properties)
    _sound(figure.add_subplot(2, 2, 4, projection="polar"), c, float(properties.structure.density))
    figure.suptitle(
        f"{properties.structure.composition.reduced_formula}, {properties.space_group[0]} "
        f"({properties.point_group.symbol}), {properties.model}, {properties.ions} ions: "
        f"K = {means.hill.bulk:.1f}, G = {means.hill.shear:.1f} GPa (Hill)"
    )
    write_figure(figure, path)


def _surface(figure: Figure, axes: Any, c: np.ndarray) -> None:
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 91), np.linspace(0, 2 * np.pi, 181))
    n = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    young = youngs_modulus(c, n)
    scale = Normalize(young.min(), max(young.max(), young.min() * (1 + 1e-6)))
    mapped = ScalarMappable(scale, COLOURS)
    axes.plot_surface(
        *np.moveaxis(young[..., None] * n, -1, 0), facecolors=mapped.to_rgba(young), rstride=1,
        cstride=1, linewidth=0, antialiased=False, shade=True,
    )  # fmt: skip
    reach = young.max()
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach), aspect="equal")
    axes.set(xlabel="x", ylabel="y", zlabel="z", xticks=[], yticks=[], zticks=[])
    axes.set_title("Young's modulus by direction")
    figure.colorbar(mapped, ax=axes, shrink=0.65, pad=0.08, label="E(n), GPa")


def _young_in_planes(axes: Any, c: np.ndarray) -> None:
    angle = np.linspace(0, 2 * np.pi, 721)
    for name, (a, b) in PLANES.items():
        n = np.zeros((len(angle), 3))
        n[:, a], n[:, b] = np.cos(angle), np.sin(angle)
        axes.plot(angle, youngs_modulus(c, n), label=f"{name}, from {name[0]}")
    axes.set_ylim(bottom=0)
    axes.set_title("E in three planes, GPa")
    axes.legend(loc="lower right", bbox_to_anchor=(1.2, -0.08), frameon=False, fontsize="small")


def _sound(axes: Any, c: np.ndarray, density: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 721)
    n = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=-1)
    for speed, name in zip(sound_waves(c, density, n).speed.T, SHEETS, strict=True):
        axes.plot(angle, speed, label=name)
    axes.set_ylim(bottom=0)
    axes.set_title("phase velocity in the xz plane, from x, km/s")
    axes.legend(loc="lower right", bbox_to_anchor=(1.25, -0.08), frameon=False, fontsize="small")


def _constants(axes: Any, properties: CrystalProperties) -> None:
    c, form = properties.stiffness_ieee, properties.form()
    largest = np.abs(c).max()
    axes.imshow(c, cmap="RdBu_r", vmin=-largest, vmax=largest, alpha=0.55)
    for (a, b), value in np.ndenumerate(c):
        if form[a][b] == "0":
            axes.text(b, a, "·", ha="center", va="center", color="gray")
            continue
        axes.text(b, a - 0.13, f"{value:.1f}", ha="center", va="center", fontsize=9)
        small = form[a][b].replace(" ", "")
        axes.text(b, a + 0.24, small, ha="center", va="center", fontsize=6, color="#333333")
    axes.set_xticks(range(6), ["xx", "yy", "zz", "yz", "xz", "xy"])
    axes.set_yticks(range(6), ["xx", "yy", "zz", "yz", "xz", "xy"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_title("elastic constants, GPa")
