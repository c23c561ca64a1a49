"""The stiffness of a cell's fluctuations, factorised or iterated with."""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from objstress.errors import ConvergenceError
from objstress.fem.solve import linear

WORKSPACE_TOO_SMALL = (-8, -9, -14, -15, -17, -20)
"""MUMPS' INFOG(1) where its estimate of a workspace did not do. How much is needed depends on how
the work falls to the ranks, which differs from run to run."""

NEGATIVE = (
    PETSc.KSP.ConvergedReason.DIVERGED_INDEFINITE_MAT,
    PETSc.KSP.ConvergedReason.DIVERGED_INDEFINITE_PC,
)


class SingularTangent(ConvergenceError):
    """A fluctuation of no stiffness, or of negative stiffness where only positive will do."""


class FluctuationStiffness:
    """T^T K T with one node held, and its inverse.

    By MUMPS up to `solve.linear.DIRECT_UP_TO` unknowns, then by conjugate gradients with GAMG.

    Args:
        space: of the fluctuations.
        form: of their tangent.
    """

    def __init__(self, space: fem.FunctionSpace, form: Any):
        self._form = form
        # What holds the first node leaves the others' periodic motions free but for rigid ones.
        nodes = space.dofmap.index_map
        first = nodes.global_to_local(np.zeros(1, dtype=np.int64))
        self._held = fem.dirichletbc(np.zeros(3), first[first >= 0].astype(np.int32), space)
        self._matrix = fem_petsc.create_matrix(form)
        self.direct = 3 * nodes.size_global <= linear.DIRECT_UP_TO
        self._spare = 100
        if self.direct:
            self._ksp = _direct_solver(self._matrix, self._spare)
        else:
            # Rigid motions of all nodes: where a rotation meets its image it differs by a
            # translation, which is one of them.
            self._matrix.setNearNullSpace(linear.near_nullspace(space))
            self._ksp = PETSc.KSP().create(self._matrix.comm)
            self._ksp.setOperators(self._matrix)
            options = linear.solver_options(3 * nodes.size_global, symmetric=True)
            linear.give_options(self, self._ksp, options)

    def assemble(self) -> None:
        """Assemble at the present state, and factorise where that is how it is solved.

        Raises:
            SingularTangent: it has no factor.
        """
        self._matrix.zeroEntries()
        fem_petsc.assemble_matrix(self._matrix, self._form, bcs=[self._held])
        self._matrix.assemble()
        self._ksp.setOperators(self._matrix)
        while self.direct:
            self._ksp.getPC().setUp()
            info = self._factor_info(1)
            if info >= 0:
                return
            if info not in WORKSPACE_TOO_SMALL:
                raise SingularTangent("singular tangent, the cell buckles")
            # PETSc tries no factor again that once ran out of memory.
            self._spare *= 2
            self._ksp = _direct_solver(self._matrix, self._spare)

    def solve(self, forces: np.ndarray) -> np.ndarray:
        """Fluctuations under forces, of which the held node's are left out.

        Raises:
            SingularTangent: a fluctuation has no stiffness, or conjugate gradients have met one of
                negative stiffness.
            ConvergenceError: conjugate gradients do not converge.
        """
        right = self._free(forces)
        x = right.duplicate()
        self._ksp.solve(right, x)
        reason = self._ksp.getConvergedReason()
        if reason == PETSc.KSP.ConvergedReason.DIVERGED_MAX_IT:
            its = self._ksp.getIterationNumber()
            raise ConvergenceError(f"conjugate gradients do not converge in {its} iterations")
        if reason <= 0 or not np.isfinite(x.norm()):
            kind = "negative stiffness" if reason in NEGATIVE else "singular tangent"
            raise SingularTangent(f"{kind}, the cell buckles")
        return x.getArray().copy()

    def unsolved(self, forces: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The part of forces that fluctuations x leave, 0 at the held node."""
        left, moved = self._free(forces), self._free(x)
        left.axpy(-1.0, self._matrix * moved)
        return left.getArray().copy()

    def diagonal(self) -> np.ndarray:
        """Of the matrix, 0 at the held node."""
        diagonal = self._matrix.getDiagonal().getArray().copy()
        self._held.set(diagonal)
        return diagonal

    def negative_pivots(self) -> int | None:
        """Fluctuations of negative stiffness; None where no factor tells."""
        return self._factor_info(12) if self.direct else None

    def _factor_info(self, number: int) -> int:
        return self._ksp.getPC().getFactorMatrix().getMumpsInfog(number)

    def _free(self, values: np.ndarray) -> PETSc.Vec:
        free = values.copy()
        self._held.set(free)
        vector = self._matrix.createVecLeft()
        vector.setArray(free)
        return vector


def _direct_solver(matrix: PETSc.Mat, spare: int) -> PETSc.KSP:
    """MUMPS, L D L^T: it counts the negative pivots. Its workspace has `spare` percent more than it
    estimates."""
    ksp = PETSc.KSP().create(matrix.comm)
    ksp.setType("preonly")
    ksp.setOperators(matrix)
    pc = ksp.getPC()
    pc.setType("cholesky")
    pc.setFactorSolverType("mumps")
    pc.setFactorSetUpSolverType()
    factor = pc.getFactorMatrix()
    factor.setMumpsIcntl(7, 5)  # METIS: half the fill of its own choice on thin struts
    factor.setMumpsIcntl(14, spare)
    factor.setMumpsIcntl(13, 1)  # no ScaLAPACK at the root: its pivots would not be counted
    return ksp
