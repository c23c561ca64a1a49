"""Plots of the workflows: E(n), stresses, Newton's residuals, deformed bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from objstress.elasticity.moduli import youngs_modulus
from objstress.labels.strain_labels import Labels
from objstress.laws.base import MaterialLaw

if TYPE_CHECKING:
    from objstress.fem.solve.record import StepRecord
    from objstress.fem.solve.static import StaticProblem


def modulus_surface(law: MaterialLaw, path: Path) -> None:
    """Plot Young's modulus E(n) of a law as a surface at the distance E from the origin.

    Args:
        law: the law.
        path: PNG to write.
    """
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
    """Plot predicted against labelled first Piola-Kirchhoff stress, all components in GPa.

    Args:
        law: the law.
        seen: labels that were fitted.
        unseen: labels that were held out.
        error: relative RMSE of the held-out labels.
        path: PNG to write.
    """
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
    """Plot the residual norms of Newton's iterations.

    Args:
        histories: {name: residual norms} in GPa length^2.
        path: PNG to write.
    """
    figure, axes = plt.subplots(figsize=(5.2, 3.8), dpi=150, layout="constrained")
    for (name, residuals), marker in zip(histories.items(), "os^", strict=False):
        axes.semilogy(residuals, marker=marker, label=name)
    axes.set(xlabel="iterate (0: new load on the old state)", ylabel="|residual|, GPa length$^2$")
    axes.set_xticks(range(max(len(r) for r in histories.values())))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, title="crystal direction along the pull")
    figure.savefig(path)
    plt.close(figure)


def forces(histories: Mapping[str, Sequence[StepRecord]], path: Path) -> None:
    """Plot the force on pulled plates against their elongation.

    Args:
        histories: {name: steps of a `pulled_plate`}, forces in GPa length^2.
        path: PNG to write.
    """
    figure, axes = plt.subplots(figsize=(5.2, 3.8), dpi=150, layout="constrained")
    for (name, history), marker in zip(histories.items(), "os^", strict=False):
        # From the undeformed plate, which has none.
        ends = [(0.0, 0.0)]
        for step in history:
            longer = step.displacements["right"][0] - step.displacements["left"][0]
            ends.append((longer, step.reactions["right"][0]))
        axes.plot(*zip(*ends, strict=True), marker=marker, ms=4, label=name)
    axes.set(xlabel="elongation, length", ylabel="force along x, GPa length$^2$")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, title="crystal direction along the pull")
    figure.savefig(path)
    plt.close(figure)


def deformed(bodies: dict[str, StaticProblem], path: Path, magnify: float = 5.0) -> None:
    """Plot deformed bodies side by side, coloured by von Mises stress on one scale.

    Args:
        bodies: {name: solved problem}.
        path: PNG to write.
        magnify: factor of the displacements.
    """
    from objstress.fem.results.plots import draw_facets
    from objstress.fem.results.surface import fields_to_draw, surface_of

    surfaces = {}
    for name, body in bodies.items():
        each = surface_of(body, {"von_mises": fields_to_draw(body)["von_mises"]})
        if each is not None:  # one rank draws
            surfaces[name] = each
    values = np.concatenate([each.fields["von_mises"] for each in surfaces.values()])
    norm = plt.Normalize(values.min(), values.max())
    figure = plt.figure(figsize=(4.6 * len(bodies), 4.2), dpi=150)
    for k, (name, each) in enumerate(surfaces.items()):
        axes = figure.add_subplot(1, len(bodies), k + 1, projection="3d", title=f"{name} along x")
        colours = plt.cm.viridis(norm(each.fields["von_mises"]))
        draw_facets(axes, each.deformed(magnify), colours, (52, -86), zoom=1.15)
    figure.subplots_adjust(left=0, right=1, top=0.92, bottom=0.17, wspace=-0.1)
    bar = figure.colorbar(
        plt.cm.ScalarMappable(norm, "viridis"),
        cax=figure.add_axes((0.33, 0.14, 0.34, 0.035)),
        orientation="horizontal",
    )
    bar.set_label(f"von Mises stress, GPa (deformation {magnify:g} x)")
    figure.savefig(path)
    plt.close(figure)
