"""Results on disk, for ParaView."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem
from dolfinx.io import XDMFFile

from objstress.files import check_writable

if TYPE_CHECKING:
    from objstress.fem.problem import StaticProblem

SHAPES: dict[str, tuple[int, ...]] = {"cauchy_stress": (3, 3)}
"""Cell fields that are no scalars: see `Material.cell_averages` for all of them."""


class ResultFile:
    """XDMF with displacement at the nodes and, per cell, Cauchy stress, von Mises, J, energy and
    the fraction of points outside the trained strains, and the error bar of the stress where the
    law has one; one time for each `write`.

    The numbers lie in an `.h5` file beside it. `close` it at the end; `discard` removes both.

    Args:
        problem: whose states are written.
        path: `.xdmf`; its folder is made.

    Raises:
        InputError: the file cannot be written there.
    """

    def __init__(self, problem: StaticProblem, path: str | Path):
        self.problem, self.path = problem, Path(path).with_suffix(".xdmf")
        check_writable(self.path)
        mesh = problem.mesh
        nodes = fem.functionspace(mesh, ("Lagrange", mesh.geometry.cmap.degree, (3,)))
        self.displacement = fem.Function(nodes, name="displacement")
        self.fields = {
            name: fem.Function(fem.functionspace(mesh, ("DG", 0, SHAPES.get(name, ()))), name=name)
            for name in problem.material.cell_averages()
        }
        self.file = XDMFFile(problem.comm, self.path, "w")
        self.file.write_mesh(mesh)

    def write(self, time: float) -> None:
        """Append the problem's present state."""
        self.displacement.interpolate(self.problem.u)
        self.file.write_function(self.displacement, time)
        for name, values in self.problem.material.cell_averages().items():
            function = self.fields[name]
            rows = function.function_space.dofmap.list[self.problem.material.cells].ravel()
            width = int(np.prod(SHAPES.get(name, ()), dtype=int))
            function.x.array.reshape(-1, width)[rows] = values.reshape(-1, width)
            self.file.write_function(function, time)

    def close(self) -> None:
        self.file.close()

    def discard(self) -> None:
        """Close and remove the files: a refused run leaves none behind."""
        self.file.close()
        if self.problem.comm.rank == 0:
            for path in (self.path, self.path.with_suffix(".h5")):
                path.unlink(missing_ok=True)
