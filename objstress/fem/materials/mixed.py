"""Elements that do not lock: volume change and pressure as fields of their own."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.materials.quadrature import QuadratureMaterial, gradient
from objstress.laws.base import MaterialLaw


class MixedMaterial(QuadratureMaterial):
    r"""The three-field element of Simo, Taylor and Pister, in the displacement alone.

    .. math::

        \Pi(u) = \int W(\bar F) \, dX, \qquad \bar F = (\theta / J)^{1/d} F, \qquad
        \int q\, (\theta - J) \, dX = 0 \;\; \forall q

    d is the dimension of the mesh (a plane mesh stays in plane strain). The volume change theta and
    its multiplier, the pressure p, are polynomials in each cell that meet no condition at its
    faces: of degree k - 1 on quadrilaterals and hexahedra of degree k, on triangles and tetrahedra
    of degree k - 2. They are eliminated cell by cell,

    .. math::

        r(u; v) &= \int \bar P : D_u \bar F[v] + p\, D_u J[v] \, dX, \qquad
        p = M^{-1} \int q\, \bar P : \partial_\theta \bar F \, dX \\
        K &= K_{uu} + C^T K_{\theta u} + K_{\theta u}^T C + C^T K_{\theta\theta} C, \qquad
        C = M^{-1} \int q\, D_u J \, dX

    so that the tangent is symmetric and of the size of the displacement's. With k = 1 it is the
    mean dilatation element Q1/P0.

    Simo, Taylor and Pister, Comput. Methods Appl. Mech. Engrg. 51 (1985) 177.

    Args:
        u, law, degree: see `QuadratureMaterial`; u of degree 2 or more on simplices.

    Attributes:
        F: F-bar at the points, which the law is evaluated at.
        theta, pressure: the two fields; p in GPa, positive in tension.

    Raises:
        InputError: linear triangles or tetrahedra, which lock with it, too.
    """

    condenses = True

    def __init__(self, u: fem.Function, law: MaterialLaw | Grains | Graded, degree: int):
        mesh = u.function_space.mesh
        k = u.function_space.element.basix_element.degree
        simplex = mesh.topology.cell_type in (dmesh.CellType.triangle, dmesh.CellType.tetrahedron)
        if simplex and k < 2:
            raise InputError(
                "element = 'mixed': linear triangles and tetrahedra lock with it, too; give "
                "degree = 2, or quadrilaterals or hexahedra"
            )
        family, order = ("DG", k - 2) if simplex else ("DPC" if k > 1 else "DG", k - 1)
        space = fem.functionspace(mesh, (family, order))
        self.theta = fem.Function(space, name="theta")
        self.theta.x.array[:] = 1.0
        self.pressure = fem.Function(space, name="pressure")
        self.dim = mesh.topology.dim
        self._J = ufl.det(ufl.Identity(3) + gradient(u))
        super().__init__(u, law, degree)
        self.inputs = [u]
        self._volume_ratio = fem.Expression(self._J, self.points)
        self._basis = space.element.basix_element.tabulate(0, self.points)[0][:, :, 0]
        self._dofs = space.dofmap.list[self.cells]
        volumes = self.volumes.reshape(-1, len(self.weights))
        if len(self.weights) < self._basis.shape[1]:
            raise InputError(
                f"quadrature_degree = {degree}: too few points for the pressure of a mixed element"
            )
        self._mass = np.einsum("cq,qi,qj->cij", volumes, self._basis, self._basis)
        self._blocks = self._condensation()

    def deformation(self) -> Any:
        scale = (self.theta / self._J) ** (1.0 / self.dim)
        f = ufl.Identity(3) + gradient(self.u)
        if self.dim == 3:
            return scale * f
        return ufl.as_matrix(
            [
                [scale * f[0, 0], scale * f[0, 1], 0],
                [scale * f[1, 0], scale * f[1, 1], 0],
                [0, 0, 1],
            ]
        )

    def deformation_at(self, cells: np.ndarray, reference: np.ndarray, F: np.ndarray) -> np.ndarray:
        space, d = self.theta.function_space, self.dim
        basis = space.element.basix_element.tabulate(0, reference)[0][:, :, 0]
        theta = (basis * self.theta.x.array[space.dofmap.list[cells]]).sum(axis=1)
        f = F.copy()
        f[:, :d, :d] *= ((theta / np.linalg.det(F)) ** (1 / d))[:, None, None]
        return f

    def _before(self) -> None:
        mesh = self.u.function_space.mesh
        j = self._volume_ratio.eval(mesh, self.cells).reshape(len(self.cells), -1)
        if (bad := int((j <= 0).sum())) > 0:
            raise InputError(
                f"det F <= 0 at {bad} of {j.size} points: the material would be inverted"
            )
        self.theta.x.array[self._dofs.ravel()] = self._projected(j).ravel()

    def _evaluate(self, tangent: bool) -> None:
        super()._evaluate(tangent)
        d = self.dim
        inside = np.einsum("nij,nij->n", self.piola()[:, :d, :d], self.F[:, :d, :d])
        theta = self.theta.x.array[self._dofs] @ self._basis.T
        push = inside.reshape(len(self.cells), -1) / (d * theta)
        self.pressure.x.array[self._dofs.ravel()] = self._projected(push).ravel()

    def _projected(self, values: np.ndarray) -> np.ndarray:
        """The field of theta's kind that is nearest to values at the points, (cells, dofs)."""
        volumes = self.volumes.reshape(-1, len(self.weights))
        right = np.einsum("cq,qi,cq->ci", volumes, self._basis, values)
        return np.linalg.solve(self._mass, right[:, :, None])[:, :, 0]

    # -- forms ---------------------------------------------------------------------------------

    def residual(self, v: Any) -> Any:
        moved = ufl.derivative(self.deformation(), self.u, v)
        swollen = ufl.derivative(self._J, self.u, v)
        return (ufl.inner(self.stress, moved) + self.pressure * swollen) * self.dx

    def jacobian(self, du: Any, v: Any) -> Any:
        f, u = self.deformation(), self.u
        by_law = self._stiff(ufl.derivative(f, u, du), ufl.derivative(f, u, v))
        return by_law * self.dx + ufl.derivative(self.residual(v), u, du)

    def _stiff(self, right: Any, left: Any) -> Any:
        i, j, k, l = ufl.indices(4)
        change = ufl.as_tensor(self.tangent[i, j, k, l] * right[k, l], (i, j))
        return ufl.inner(change, left)

    def _condensation(self) -> dict[str, Any]:
        """Forms and matrices of what theta adds to the tangent."""
        u, theta, f = self.u, self.theta, self.deformation()
        space = theta.function_space
        du = ufl.TrialFunction(u.function_space)
        q, dtheta = ufl.TestFunction(space), ufl.TrialFunction(space)
        grown = ufl.derivative(f, theta, q)
        pull = ufl.inner(self.stress, grown)
        theta_u = self._stiff(ufl.derivative(f, u, du), grown) + ufl.derivative(pull, u, du)
        theta_theta = self._stiff(ufl.derivative(f, theta, dtheta), grown)
        theta_theta = theta_theta + ufl.derivative(pull, theta, dtheta)
        forms = {
            "swelling": fem.form(q * ufl.derivative(self._J, u, du) * self.dx),
            "theta u": fem.form(theta_u * self.dx),
            "theta theta": fem.form(theta_theta * self.dx),
        }
        return {name: (form, fem_petsc.create_matrix(form)) for name, form in forms.items()}

    def condense(self, A: PETSc.Mat) -> None:
        """Add what theta makes of the tangent to the assembled K_uu, without conditions."""
        for form, matrix in self._blocks.values():
            matrix.zeroEntries()
            fem_petsc.assemble_matrix(matrix, form)
            matrix.assemble()
        b, ku, kk = (matrix for _, matrix in self._blocks.values())
        c = self._inverse_mass.matMult(b)
        inner = kk.matMult(c)
        parts = (ku.transposeMatMult(c), c.transposeMatMult(ku), c.transposeMatMult(inner))
        for part in parts:
            A.axpy(1.0, part, structure=PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
        # Those of several ranks are not freed by Python.
        for part in (*parts, c, inner):
            part.destroy()

    @cached_property
    def _inverse_mass(self) -> PETSc.Mat:
        _, like = self._blocks["theta theta"]
        inverse = like.duplicate()
        owned = self.owned // len(self.weights)
        index_map = self.theta.function_space.dofmap.index_map
        for dofs, block in zip(self._dofs[:owned], np.linalg.inv(self._mass), strict=False):
            rows = index_map.local_to_global(dofs).astype(np.int32)
            inverse.setValues(rows, rows, block)
        inverse.assemble()
        return inverse
