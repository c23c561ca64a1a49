"""A material law at the quadrature points of a mesh."""

from __future__ import annotations

from typing import Any

import basix
import basix.ufl
import numpy as np
import ufl
from dolfinx import fem

from objstress.laws.base import MaterialLaw


class QuadratureMaterial:
    """P and A of a law as quadrature functions, ready for UFL.

        r(u; v) = integral of P : grad v,      J(u; du, v) = integral of (A : grad du) : grad v

    Caller's duties: `update` after every change of u and before assembling; integrate with `dx`
    of this object, whose points are those of P and A.

    Args:
        u: displacement, a vector function in three dimensions.
        law: in the sample's frame (turn a crystal with `law.rotated(Q)`).
        degree: quadrature degree.

    Attributes:
        stress, tangent: dolfinx functions of value shape (3, 3) and (3, 3, 3, 3), GPa.
        dx: the measure.
        energy, F: what the last `update` found at the points of the local cells
            (n_points,), (n_points, 3, 3).
        volumes: reference volume that each of these points stands for, (n_points,).
    """

    def __init__(self, u: fem.Function, law: MaterialLaw, degree: int):
        self.u, self.law, self.degree = u, law, degree
        mesh = u.function_space.mesh
        cell = mesh.basix_cell()
        self.points, self.weights = basix.make_quadrature(cell, degree)
        self.stress = self._function(mesh, cell, (3, 3), "P")
        self.tangent = self._function(mesh, cell, (3, 3, 3, 3), "A")
        metadata = {"quadrature_degree": degree, "quadrature_scheme": "default"}
        self.dx = ufl.Measure("dx", domain=mesh, metadata=metadata)
        cells = mesh.topology.index_map(mesh.topology.dim)
        self.cells = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
        self._gradient = fem.Expression(ufl.Identity(3) + ufl.grad(u), self.points)
        # One row of the quadrature space for each point of each cell, ghosts included.
        self._rows = self.stress.function_space.dofmap.list[self.cells].ravel()
        self.F = np.tile(np.eye(3), (len(self._rows), 1, 1))
        self.energy = np.zeros(len(self._rows))
        # Physical weight of each point, for integrals over the reference body.
        volume = fem.Expression(abs(ufl.JacobianDeterminant(mesh)), self.points)
        self.volumes = (
            volume.eval(mesh, self.cells).reshape(len(self.cells), -1) * self.weights
        ).ravel()

    def _function(self, mesh: Any, cell: Any, shape: tuple[int, ...], name: str) -> fem.Function:
        element = basix.ufl.quadrature_element(
            basix.CellType(cell).name, value_shape=shape, degree=self.degree
        )
        return fem.Function(fem.functionspace(mesh, element), name=name)

    def update(self, tangent: bool) -> None:
        """Evaluate the law at the present u; the tangent only when it is asked for.

        Raises:
            InputError: det F <= 0 at a point.
        """
        mesh = self.u.function_space.mesh
        self.F = self._gradient.eval(mesh, self.cells).reshape(-1, 3, 3)
        parts = self.law.response(self.F, 2 if tangent else 1)
        self.energy = parts[0].numpy()
        self._fill(self.stress, parts[1].numpy())
        if tangent:
            self._fill(self.tangent, parts[2].numpy())

    def _fill(self, function: fem.Function, values: np.ndarray) -> None:
        width = int(np.prod(values.shape[1:]))
        function.x.array.reshape(-1, width)[self._rows] = values.reshape(-1, width)

    def residual(self, v: Any) -> Any:
        """UFL form of the internal forces."""
        return ufl.inner(self.stress, ufl.grad(v)) * self.dx

    def jacobian(self, du: Any, v: Any) -> Any:
        """UFL form of their derivative."""
        i, j, k, l = ufl.indices(4)
        change = ufl.as_tensor(self.tangent[i, j, k, l] * ufl.grad(du)[k, l], (i, j))
        return ufl.inner(change, ufl.grad(v)) * self.dx

    def cell_averages(self) -> dict[str, np.ndarray]:
        """Means over the points of each local cell: Cauchy stress, J, energy, outside fraction."""
        n = len(self.cells)
        w = self.volumes.reshape(n, -1)
        w = w / w.sum(axis=1, keepdims=True)
        j = np.linalg.det(self.F)
        rows = self.stress.x.array.reshape(-1, 9)[self._rows].reshape(-1, 3, 3)
        sigma = rows @ self.F.transpose(0, 2, 1) / j[:, None, None]

        def mean(values: np.ndarray) -> np.ndarray:
            return np.einsum("cq,cq...->c...", w, values.reshape(n, -1, *values.shape[1:]))

        sigma = mean(sigma)
        deviator = sigma - np.trace(sigma, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
        return {
            "cauchy_stress": sigma,
            "von_mises": np.sqrt(1.5 * (deviator**2).sum((1, 2))),
            "J": mean(j),
            "energy": mean(self.energy),
            "outside": mean(self.law.outside(self.F).numpy().astype(float)),
        }
