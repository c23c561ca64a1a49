"""The demo's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from objstress.laws.base import MaterialLaw
from objstress.laws.elasticity import youngs_modulus
from objstress.teachers.labels import Labels

if TYPE_CHECKING:
    from objstress.fem.problem import StaticProblem


def modulus_surface(law: MaterialLaw, path: Path) -> None:
    """Young's modulus E(n) of the law as a surface: its distance from the origin is E."""
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 121), np.linspace(0, 2 * np.pi, 241))
    n = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1
    )
    modulus = youngs_modulus(law.stiffness(), n)
    norm = plt.Normalize(modulus.min(), modulus.max())
    figure = plt.figure(figsize=(6.4, 5.4), dpi=150)
    axes = figure.add_subplot(projection="3d", computed_zorder=False)
    x, y, z = np.moveaxis(modulus[..., None] * n, -1, 0)
    axes.plot_surface(
        x, y, z, facecolors=plt.cm.viridis(norm(modulus)), rcount=121, ccount=241, shade=False
    )
    limit = modulus.max()
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), zlim=(-limit, limit))
    axes.set_box_aspect((1, 1, 1), zoom=0.9)
    axes.set_xlabel("[100], GPa", labelpad=8)
    axes.set_ylabel("[010], GPa", labelpad=8)
    axes.set_zlabel("[001], GPa", labelpad=8)
    axes.locator_params(nbins=5)
    bar = figure.colorbar(plt.cm.ScalarMappable(norm, "viridis"), ax=axes, shrink=0.65, pad=0.12)
    bar.set_label("Young's modulus E(n), GPa")
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def parity(law: MaterialLaw, seen: Labels, unseen: Labels, error: float, path: Path) -> None:
    """Predicted against labelled first Piola-Kirchhoff stress, all components."""
    figure, axes = plt.subplots(figsize=(5.2, 4.8), dpi=150, layout="constrained")
    for labels, style, text in (
        (seen, dict(s=6, color="0.7"), f"{len(seen)} fitted"),
        (unseen, dict(s=9, color="tab:red"), f"{len(unseen)} held out"),
    ):
        predicted = law.response(labels.F, 1)[1].numpy()
        axes.scatter(labels.piola.ravel(), predicted.ravel(), label=text, linewidths=0, **style)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="k", lw=0.6, zorder=0)
    axes.set(
        xlabel="P from DFT, GPa",
        ylabel="P from the law, GPa",
        title=f"silicon, held-out relative RMSE {100 * error:.2f} %",
    )
    axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def newton(histories: dict[str, list[float]], path: Path) -> None:
    """Residual norms of Newton's iterations."""
    figure, axes = plt.subplots(figsize=(5.2, 3.8), dpi=150, layout="constrained")
    for (name, residuals), marker in zip(histories.items(), "os^", strict=False):
        axes.semilogy(residuals, marker=marker, label=name)
    axes.set(xlabel="iterate (0: new load on the old state)", ylabel="|residual|, GPa length$^2$")
    axes.set_xticks(range(max(len(r) for r in histories.values())))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, title="crystal direction along the pull")
    figure.savefig(path)
    plt.close(figure)


def deformed(bodies: dict[str, StaticProblem], path: Path, magnify: float = 5.0) -> None:
    """Deformed bodies side by side, coloured by von Mises stress on one scale."""
    import pyvista
    from dolfinx import plot

    stresses = {k: b.material.cell_averages()["von_mises"] for k, b in bodies.items()}
    low = min(s.min() for s in stresses.values())
    high = max(s.max() for s in stresses.values())
    scene = pyvista.Plotter(
        off_screen=True, shape=(1, len(bodies)), window_size=(700 * len(bodies), 720), border=False
    )
    for k, (name, body) in enumerate(bodies.items()):
        scene.subplot(0, k)
        cells, types, points = plot.vtk_mesh(body.V)
        grid = pyvista.UnstructuredGrid(cells, types, points)
        grid["u"] = body.u.x.array.reshape(-1, 3)
        grid.cell_data["von Mises stress, GPa"] = stresses[name]
        scene.add_mesh(
            grid.warp_by_vector("u", factor=magnify),
            scalars="von Mises stress, GPa",
            clim=(low, high),
            cmap="viridis",
            ambient=0.35,
            show_edges=True,
            edge_opacity=0.25,
            show_scalar_bar=k == len(bodies) // 2,
            scalar_bar_args=dict(
                vertical=False,
                color="black",
                position_x=0.1,
                position_y=0.02,
                width=0.8,
                fmt="%.1f",
                title_font_size=24,
                label_font_size=20,
            ),
        )
        scene.add_text(
            f"{name} along x", position="upper_edge", font_size=14, color="black", font="courier"
        )
        scene.view_xy()
        scene.camera.elevation = -25
        scene.camera.zoom(1.2)
        scene.reset_camera_clipping_range()
    scene.set_background("white")
    scene.screenshot(path)
    scene.close()
