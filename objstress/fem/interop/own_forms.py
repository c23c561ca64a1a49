"""Laws in one's own forms: a callback for dolfinx' `NonlinearProblem`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.parallel import on_every_rank


def before_residual(problem: fem_petsc.NonlinearProblem, update: Callable[[], object]) -> None:
    """Call `update` whenever a problem of dolfinx assembles its residual, with u set before.

    SNES asks for its Jacobian only where it asked for the residual before, so P and A are right in
    both. An iterate at which `update` refuses F (det F <= 0 on any rank) gets the residual inf,
    and the line search shortens the step; `problem.solver.getConvergedReason()` tells whether it
    converged. For several updates call this once for each.

    Args:
        problem: of dolfinx, its residual and Jacobian written with functions that `update` fills.
        update: such as `lambda: material.update(tangent=True)`; see `QuadratureMaterial`.
    """
    assemble, arguments, keywords = problem.solver.getFunction()[1]

    def residual(snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec, *args: Any, **kargs: Any) -> None:
        x.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)
        fem_petsc.assign(x, problem.u)
        try:
            on_every_rank(snes.comm.tompi4py(), update)
        except InputError:
            b.set(float("inf"))
            return
        assemble(snes, x, b, *args, **kargs)

    problem.solver.setFunction(residual, problem.b, arguments, keywords)
