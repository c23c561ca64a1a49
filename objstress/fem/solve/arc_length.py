"""Equilibrium paths past limit points: arc-length continuation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc
from tqdm import tqdm

from objstress.errors import InputError
from objstress.fem.solve.dynamic import DynamicProblem
from objstress.fem.solve.record import StepRecord
from objstress.fem.solve.static import StaticProblem

_DESIRED, _MOST = 5, 15
"""Newton iterations of a step: at which its length stays, after which it is taken back."""


def follow_path(
    problem: StaticProblem,
    *,
    first: float = 0.1,
    load: float | None = 1.0,
    displacement: float | None = None,
    steps: int = 100,
    longest: float = 10.0,
    smallest: float = 1 / 256,
    progress: bool = True,
    after_step: Callable[[StaticProblem, StepRecord], None] | None = None,
) -> list[StepRecord]:
    r"""Follow an equilibrium path from the undeformed body, the load factor lambda with u unknown:

        R(u, lambda) = 0,   |u - u_n| = l,   |d| = root mean square of d over the nodes

    Crisfield's cylindrical arc length. lambda scales all loads, prescribed displacements and
    motions of contacts; it may fall: the path goes through snap-through (limit points of lambda)
    and snap-back. Each iteration solves twice with one factorised tangent K,

        K t = -dR/dlambda,   K c = -R,   u <- u + c + dlambda t

    and takes of the two dlambda that keep the arc length the one that turns u - u_n least (its
    product with the u - u_n before is larger). A step begins with dlambda = +-l / |t| and goes
    on in the sense of the step before: t . (u_n - u_{n-1}) dlambda > 0, which does not turn back
    at limit points nor at bifurcations, where it stays on its branch. Then
    l <- l (5 / iterations)^(1/2), at most doubled or halved; where no dlambda is real or
    Newton's method fails, the step is taken back and l halved.

    Crisfield, Computers & Structures 13 (1981) 55; the sense: de Souza Neto and Feng, Comput.
    Methods Appl. Mech. Engrg. 179 (1999) 81.

    Args:
        problem: is put back to lambda = 0, u = 0. Beyond a limit point the tangent is indefinite,
            which conjugate gradients do not solve: give a large problem other `petsc_options`.
        first: load factor of the first predictor; what sets the first l. Negative to begin the
            other way.
        load: load factor at which to end, where the path first comes to it; met exactly. None: do
            not.
        displacement: length; ends with the first state in which a node has moved as far.
        steps: after which it ends in any case.
        longest, smallest: largest l, and the l under which the run gives up, both in units of the
            first.
        after_step: called with the problem and the record after each accepted step.

    Returns:
        `problem.history`: a `StepRecord` for each accepted step, `load` up and down.

    Raises:
        InputError: nothing scales with lambda; a dynamic problem; a solver for definite matrices.
        ConvergenceError: the smallest step failed; u is the last accepted state.
    """
    if isinstance(problem, DynamicProblem):
        raise InputError("an arc length follows equilibria: give a StaticProblem")
    if not (first and steps >= 1 and longest >= 1 and 0 < smallest <= 1):
        raise InputError(
            f"first = {first}, steps = {steps}, longest = {longest}, smallest = {smallest}: give "
            "first other than 0, at least 1 step, longest >= 1 and smallest in (0, 1]"
        )
    problem.history.clear()
    problem.u.x.array[:] = 0.0
    problem._update_all(0.0)
    path = _Path(problem)
    length = unit = abs(first) * path.start(first)
    rejected = 0
    bar = tqdm(total=steps, desc="path", disable=not progress or problem.comm.rank > 0)
    with bar:
        while len(problem.history) < steps:
            saved, before = problem._copy_of_state(), path.load
            iterations = path.step(length)
            ends = False
            if iterations and load is not None and before != load:
                ends = (before - load) * (path.load - load) <= 0
                if ends and not path.land(load, length):
                    iterations = 0
            if not iterations:
                length, rejected = 0.5 * length, rejected + 1
                step, shorter = f"from load factor {before:.4f}", f"of length {length:.3g}"
                problem._reject(saved, before, step, shorter, length < smallest * unit)
                continue
            record = problem._record(path.load, rejected)
            problem.history.append(record)
            bar.set_postfix_str(f"load factor {record.load:.4f}, {iterations} iterations")
            bar.update()
            rejected = 0
            length *= float(np.clip((_DESIRED / iterations) ** 0.5, 0.5, 2.0))
            length = min(length, longest * unit)
            if after_step is not None:
                after_step(problem, record)
            if ends or (displacement is not None and path.farthest() >= displacement):
                break
    return problem.history


class _Path:
    """Steps of given arc length from the present state of a problem."""

    def __init__(self, problem: StaticProblem):
        self.problem = problem
        if problem._snes.getKSP().getType() == PETSc.KSP.Type.CG:
            raise InputError(
                "beyond a limit point the tangent is indefinite: give petsc_options with another "
                "ksp_type than cg, such as gmres"
            )
        works = [ufl.diff(work, problem._factor) for work in problem._works]
        self._form = fem.form(sum(works)) if works else None
        self._nodes = problem.V.dofmap.index_map.size_global
        self._rate, self._change, self._correction = (problem._x.duplicate() for _ in range(3))
        self._before = problem._x.duplicate()

    @property
    def load(self) -> float:
        return float(self.problem._load.value)

    def _norm(self, vector: PETSc.Vec) -> float:
        return float(vector.norm()) / self._nodes**0.5

    def start(self, first: float) -> float:
        """|du/dlambda| at the undeformed body; the step after goes the way of `first`."""
        if not self._linearise() or not self._norm(self._rate) > 0:
            raise InputError(
                "no displacement follows from the load factor: give loads or prescribed "
                "displacements that are not zero, and a body that can bear them"
            )
        self._rate.copy(self._change)
        self._change.scale(first)
        return self._norm(self._rate)

    def _linearise(self) -> bool:
        """t = du/dlambda at the present u, its tangent factorised; False if that is singular.

        Prescribed displacements change at the rate of their full values.
        """
        problem = self.problem
        problem.assemble_jacobian(problem._A)
        problem._snes.getKSP().setOperators(problem._A)
        load, b = self.load, problem._b
        with b.localForm() as local:
            local.set(0.0)
        if self._form is not None:
            fem_petsc.assemble_vector(b, self._form)
            b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        for function, target in problem._targets:
            function.x.array[:] = target
        problem._bring_in(b, problem._jacobian_form, None, 1.0)
        problem._set_loads(load)
        self._pull = problem._force_norm(b)
        return self._solve(b, self._rate)

    def _solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        ksp = self.problem._snes.getKSP()
        ksp.solve(b, x)
        if ksp.getConvergedReason() > 0 and np.isfinite(x.norm()):
            return True
        self.problem._why = "singular tangent"
        return False

    def step(self, length: float) -> int:
        """Iterations to the next point at this arc length, 0 if there is none (why: `_why`)."""
        problem, change = self.problem, self._change
        change.copy(self._before)
        problem._trace.clear()
        problem._corrections.clear()
        problem._why = ""
        fem_petsc.assign(problem.u, problem._x)
        start = problem._x.copy()
        if not self._linearise():
            return self._back()
        by = float(np.copysign(length / self._norm(self._rate), self._rate.dot(self._before)))
        self._rate.copy(change)
        change.scale(by)
        problem._trace.append(abs(by) * self._pull)
        problem._corrections.append(float(change.norm()))
        load = self.load + by
        for iteration in range(1, _MOST + 1):
            problem._x.waxpy(1.0, start, change)
            fem_petsc.assign(problem._x, problem.u)
            problem.u.x.scatter_forward()
            problem._set_loads(load)
            if not problem._evaluate(tangent=True):
                problem._why = "det F <= 0"
                return self._back()
            b = problem.assemble_residual(problem._b)
            fem_petsc.set_bc(b, problem._bcs, problem._x, alpha=-1.0)
            problem._trace.append(float(b.norm()))
            if iteration == 1:
                enough = max(1e-10 * problem._trace[1], 1e-13 * problem._trace[0])
            if problem._trace[-1] <= max(enough, problem._noise()):
                return iteration
            b.scale(-1.0)
            toward = self._correction
            right = b.copy()
            if not self._linearise() or not self._solve(right, toward):
                return self._back()
            by_ = self._crossing(length)
            if by_ is None:
                problem._why = "no point at this arc length"
                return self._back()
            toward.axpy(by_, self._rate)
            change.axpy(1.0, toward)
            load += by_
            problem._corrections.append(float(toward.norm()))
        problem._why = f"no convergence in {_MOST} iterations"
        return self._back()

    def _back(self) -> int:
        self._before.copy(self._change)
        return 0

    def _crossing(self, length: float) -> float | None:
        """The dlambda of |change + c + dlambda t| = l whose increment is nearest in direction."""
        moved = self._change + self._correction
        t = self._rate
        a = t.dot(t)
        b = t.dot(moved)
        c = moved.dot(moved) - length**2 * self._nodes
        root = b * b - a * c
        if not root >= 0:
            return None
        # Both have the same length, so the nearer one has the larger product with `change`.
        both = [(-b + sign * root**0.5) / a for sign in (1.0, -1.0)]
        along = t.dot(self._change)
        return max(both, key=lambda by: by * along)

    def land(self, load: float, length: float) -> bool:
        """By load control from a point beyond this load to the one at it, if that is near."""
        problem = self.problem
        there = problem._x.copy()
        if problem._step(load):
            there.axpy(-1.0, problem._x)
            if self._norm(there) <= length:
                return True
            problem._why = "load control left the path"
        self._back()
        return False

    def farthest(self) -> float:
        """Largest displacement of a node, over all ranks."""
        u = self.problem.u.x.array.reshape(-1, self.problem.dim)
        far = float(np.linalg.norm(u, axis=1).max(initial=0.0))
        return float(self.problem.comm.allreduce(far, op=MPI.MAX))
