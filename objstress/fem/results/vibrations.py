"""Pictures of natural vibrations: modes and admittance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mpi4py import MPI

from objstress.fem.results.plots import plot_surface
from objstress.fem.results.surface import surface_of
from objstress.fem.solve.static import StaticProblem
from objstress.fem.solve.vibrations import Vibrations
from objstress.io.files import check_writable, write_figure

SWING = 0.08
"""Largest displacement in a picture of a mode, over the size of the body."""


def plot_mode(
    problem: StaticProblem, vibrations: Vibrations, number: int, path: str | Path
) -> None:
    """Plot a mode about the undeformed body at its largest swing, in the colour of the amplitude.

    All ranks call it, one draws.

    Args:
        problem: whose vibrations they are.
        vibrations: see `natural_vibrations`.
        number: of the mode, from 0.
        path: of the image, `.png`, `.pdf` or `.svg`.

    Raises:
        InputError: a path that cannot be written or is no image.
    """
    check_writable(path)
    mode, dim = vibrations.modes[number]["displacement"], problem.dim
    u = mode.x.array.reshape(-1, dim)
    size = np.linalg.norm(u, axis=1)
    largest = problem.comm.allreduce(float(size.max(initial=0.0)), op=MPI.MAX) or 1.0
    cells = mode.function_space.dofmap.list[problem.material.cells]
    swing = SWING * float(np.ptp(problem.body.places.box, axis=0).max()) / largest
    before = problem.u.x.array.copy()
    try:
        problem.u.x.array[:] = swing * mode.x.array
        drawn = surface_of(problem, {"amplitude": size[cells].mean(axis=1) / largest})
    finally:
        problem.u.x.array[:] = before
    if drawn is not None:
        plot_surface(drawn, path, "amplitude")


def plot_admittance(
    vibrations: Vibrations, electrode: str, frequencies: np.ndarray, loss: float, path: str | Path
) -> None:
    """Plot size and phase of an electrode's admittance against the frequency.

    Args:
        vibrations: see `natural_vibrations`.
        electrode: that is driven.
        frequencies: MHz, (m,).
        loss: see `Vibrations.admittance`.
        path: of the image.

    Raises:
        InputError: see `Vibrations.admittance`; a path that cannot be written or is no image.
    """
    check_writable(path)
    y = vibrations.admittance(electrode, frequencies, loss)
    figure = Figure(figsize=(6.0, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    upper.semilogy(frequencies, np.abs(y), lw=1.0)
    upper.set(ylabel="|Y|, S", title=f"admittance of {electrode}, loss factor {loss:g}")
    lower.plot(frequencies, np.degrees(np.angle(y)), lw=1.0)
    lower.set(xlabel="frequency, MHz", ylabel="phase, degrees", yticks=(-90, 0, 90))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    write_figure(figure, path, dpi=150)
