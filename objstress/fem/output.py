"""Results on disk (XDMF for ParaView) and as arrays for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem
from dolfinx.io import XDMFFile

if TYPE_CHECKING:
    from objstress.fem.problem import StaticProblem

SHAPES = {"cauchy_stress": (3, 3), "von_mises": (), "J": (), "energy": (), "outside": ()}
"""Cell fields of a result: stress and energy in GPa, J and outside without unit."""


def write_xdmf(problem: StaticProblem, path: str | Path) -> None:
    """Displacement at the nodes; Cauchy stress, von Mises, J, energy, outside flag per cell.

    The `.h5` file beside it holds the numbers.
    """
    path = Path(path).with_suffix(".xdmf")
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = problem.mesh
    nodes = fem.functionspace(mesh, ("Lagrange", mesh.geometry.cmap.degree, (3,)))
    displacement = fem.Function(nodes, name="displacement")
    displacement.interpolate(problem.u)
    with XDMFFile(problem.comm, path, "w") as file:
        file.write_mesh(mesh)
        file.write_function(displacement)
        for name, values in problem.material.cell_averages().items():
            space = fem.functionspace(mesh, ("DG", 0, SHAPES[name]))
            function = fem.Function(space, name=name)
            width = int(np.prod(SHAPES[name], dtype=int))
            rows = space.dofmap.list[problem.material.cells].ravel()
            function.x.array.reshape(-1, width)[rows] = values.reshape(-1, width)
            file.write_function(function)
