"""Newton's method by PETSc's SNES."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from objstress.fem.solve.body import Body
from objstress.fem.solve.linear import give_options, near_nullspace

REASONS = {
    value: name.lower().replace("_", " ")
    for name, value in vars(PETSc.SNES.ConvergedReason).items()
    if isinstance(value, int) and value < 0
}


def that_change_the_answer(options: dict[str, Any]) -> dict[str, str]:
    """Of PETSc's options those that are more than a limit of iterations or something printed."""
    harmless = ("max_it", "monitor", "view")
    return {k: str(v) for k, v in sorted(options.items()) if not any(h in k for h in harmless)}


class Newton:
    """Equilibrium of a body: one step of Newton's method as it is, then SNES.

    Args:
        body: its forces are brought to zero.
        options: of PETSc, added to or replacing the defaults.

    Attributes:
        residuals, corrections: norms of the last `solve`, see `StepRecord`.
        why: why the last `solve` failed.
        x, b, A: unknowns, residual and tangent as PETSc's vectors and matrix.
        snes: the solver.
    """

    def __init__(self, body: Body, options: dict[str, Any]):
        self.body, self._options = body, options
        self.residuals: list[float] = []
        self.corrections: list[float] = []
        self.why = ""
        self.b = fem_petsc.create_vector(body.W)
        self.A = body.create_matrix()
        self.A.setNearNullSpace(near_nullspace(body.W))
        self.x = self.b.duplicate()
        self.snes = PETSc.SNES().create(body.comm)
        defaults = {
            "snes_type": "newtonls",
            "snes_linesearch_type": "bt",
            "snes_rtol": 1e-10,
            "snes_stol": 0.0,
            "snes_max_it": 15,
            **body.solver_options(),
        }
        # SNES lives in this object: if it held the object, neither would ever be freed.
        self.snes.setFunction(_weakly(self._residual), self.b)
        self.snes.setJacobian(_weakly(self._jacobian), self.A)
        self.snes.setMonitor(_weakly(self._monitor))
        give_options(self, self.snes, defaults | options)
        body.prepare(self.ksp)

    @property
    def ksp(self) -> PETSc.KSP:
        """The linear solver."""
        return self.snes.getKSP()

    def _monitor(self, snes: Any, iteration: int, norm: float) -> None:
        self.residuals.append(float(norm))
        if iteration > 0:
            self.corrections.append(float(snes.getSolutionUpdate().norm()))

    def _residual(self, snes: Any, x: PETSc.Vec, b: PETSc.Vec) -> None:
        body = self.body
        body.take(x)
        # With the tangent: at all but the last of these points SNES asks for it next, and at
        # that one the extrapolation of the next load step does.
        if not body.evaluate(tangent=True):
            b.set(float("inf"))  # the line search shortens the step
            return
        body.assemble_residual(b)
        fem_petsc.set_bc(b, body.supports.bcs, x, alpha=-1.0)

    def _jacobian(self, snes: Any, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        body = self.body
        body.take(x)
        body.material.update(tangent=True)
        body.assemble_jacobian(P)

    def settings(self) -> dict[str, Any]:
        """What of the solver the answer depends on."""
        return {"PETSc options": that_change_the_answer(self._options)}

    def begin(self) -> None:
        """Forget the norms of the solution before."""
        self.residuals.clear()
        self.corrections.clear()
        self.why = ""

    def solve(self) -> bool:
        """Equilibrium under the loads that are set; False, and why in `why`, if none is found.

        From u by one step of Newton's method as it is, which brings in the prescribed
        displacements (after a load step: the extrapolation), then by SNES.
        """
        body, supports = self.body, self.body.supports
        self.begin()
        if not body.evaluate(tangent=True):
            self.why = "det F <= 0 at the start"
            return False
        body.give(self.x)
        body.assemble_jacobian(self.A)
        b = body.assemble_residual(self.b)
        body.bring_in(b, self.x, -1.0)
        first = supports.free_norm(b)
        self.ksp.setOperators(self.A)
        change = self.x.duplicate()
        if not self.solve_linear(b, change):
            return False
        self.corrections.append(float(change.norm()))
        self.x.axpy(-1.0, change)
        # Both are zero where every node is prescribed; what is left then are lengths.
        atol = max(1e-13 * first, self.noise()) or 1e-12 * body.edge
        self.snes.setTolerances(atol=atol)
        self.snes.solve(None, self.x)
        reason = self.snes.getConvergedReason()
        self.residuals.insert(0, first)
        if reason <= 0:
            self.why = f"SNES stopped with {REASONS.get(reason, str(reason))}"
            return False
        body.take(self.x)
        # As a rule the last residual was evaluated at the solution, and this costs nothing; a loose
        # tolerance may leave another point.
        if not body.evaluate(tangent=True):
            self.why = "det F <= 0 at the solution"
            return False
        return True

    def solve_linear(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """A x = b with the operators of `ksp`; False, and why in `why`, if that fails."""
        self.ksp.solve(b, x)
        if self.ksp.getConvergedReason() > 0 and np.isfinite(x.norm()):
            return True
        self.why = "singular tangent"
        return False

    def noise(self) -> float:
        """Round-off of the norm of the assembled forces, at the tangent and u of `solve`.

        F carries 1e-16 (that of u over a cell's edge, where u is the larger), the stress C times
        that, a node the stress times its area: its diagonal stiffness times the edge.
        """
        size = max(self.body.edge, float(self.x.norm(PETSc.NormType.NORM_INFINITY)))
        return 1e-15 * self.body.supports.free_norm(self.A.getDiagonal()) * size


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """The bound method without a hold on its object."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        bound = reference()
        assert bound is not None
        bound(*arguments)

    return call
