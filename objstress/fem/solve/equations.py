"""The equations of a discretised body as PETSc's vectors and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from objstress.fem.materials.quadrature import Material
from objstress.fem.solve.linear import solver_options
from objstress.fem.solve.supports import Supports


class Equations:
    """Assembly of a body's forces and of their derivative; what has the forms derives from it.

    Attributes:
        W, w: space of all unknowns, and these.
        material: the law at the quadrature points.
        load: the load factor, a constant.
        residual_form, jacobian_form: compiled.
        supports: what is prescribed.
        symmetric: whether the derivative is.
        carries_charge: whether charges are given, on surfaces or floating electrodes.
    """

    W: fem.FunctionSpace
    w: fem.Function
    material: Material
    load: fem.Constant
    residual_form: fem.Form
    jacobian_form: fem.Form
    supports: Supports
    symmetric: bool
    carries_charge = False
    _fading: PETSc.Vec | None = None
    _full: PETSc.Mat | None = None

    def take(self, x: PETSc.Vec) -> None:
        """Make the unknowns those of a vector, ghosts included."""
        fem_petsc.assign(x, self.w)
        self.w.x.scatter_forward()
        self.follow()

    def give(self, x: PETSc.Vec) -> None:
        """Write the unknowns into a vector."""
        self.lead()
        fem_petsc.assign(self.w, x)

    def follow(self) -> None:
        """Make the fields what the unknowns say; without a second field they are one."""

    def lead(self) -> None:
        """Make the unknowns what the fields say."""

    def solver_options(self) -> dict[str, Any]:
        """PETSc options of the linear solver, see `solve.linear.solver_options`."""
        unknowns = self.W.dofmap.index_map.size_global * self.W.dofmap.index_map_bs
        return solver_options(unknowns, self.symmetric)

    def create_matrix(self) -> PETSc.Mat:
        """A matrix that `assemble_jacobian` fills."""
        return fem_petsc.create_matrix(self.jacobian_form)

    def prepare(self, ksp: PETSc.KSP) -> None:
        """Tell a linear solver what it cannot know from the matrix, after its options."""

    def unbalanced(self, b: PETSc.Vec | None = None) -> PETSc.Vec:
        """Internal minus external forces at the present P, as the form has them."""
        b = b or fem_petsc.create_vector(self.W)
        with b.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(b, self.residual_form)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        return b

    def assemble_residual(self, b: PETSc.Vec | None = None) -> PETSc.Vec:
        """Internal minus external forces at the present P, boundary conditions left out."""
        b = self.unbalanced(b)
        left = 1.0 - float(self.load.value)
        if self._fading is not None and left > 0:
            b.axpy(-left, self._fading)
        return b

    def assemble_jacobian(self, A: PETSc.Mat | None = None, bcs: bool = True) -> PETSc.Mat:
        """The derivative of the residual at the present A."""
        A = A or fem_petsc.create_matrix(self.jacobian_form)
        A.zeroEntries()
        condenses = self.material.condenses
        held = self.supports.bcs if bcs and not condenses else []
        fem_petsc.assemble_matrix(A, self.jacobian_form, bcs=held)
        A.assemble()
        if condenses:
            self.material.condense(A)
            if bcs:
                self._full = A.copy() if self._full is None else A.copy(self._full)
                first = A.getOwnershipRange()[0]
                A.zeroRowsColumns((self.supports.held + first).astype(np.int32), diag=1.0)
        return A

    def bring_in(self, b: PETSc.Vec, x: PETSc.Vec | None, alpha: float) -> None:
        """Prescribed values into a linear problem with the tangent, see `Supports.bring_in`."""
        if not self.material.condenses:
            self.supports.bring_in(b, self.jacobian_form, x, alpha)
            return
        # The tangent is more than its form: what is prescribed goes through the matrix itself.
        change = b.duplicate()
        change.set(0.0)
        fem_petsc.set_bc(change, self.supports.bcs, x, alpha=1.0)
        b.axpy(-alpha, self._full * change)
        fem_petsc.set_bc(b, self.supports.bcs, x, alpha=alpha)
        b.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)
