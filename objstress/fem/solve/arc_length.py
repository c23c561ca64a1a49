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
from objstress.fem.solve.record import StepRecord
from objstress.fem.solve.static import StaticProblem
from objstress.fem.solve.stepping import DESIRED, accepted, copy_of_state, reject

MOST = 15
"""Newton iterations after which a step is taken back."""


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
    r"""Follow an equilibrium path from the undeformed body; the load factor lambda is unknown.

    .. math:: R(u, \lambda) = 0, \qquad |u - u_n| = l

    with the norm the root mean square over the nodes: Crisfield's cylindrical arc length. lambda
    scales all loads, prescribed displacements and motions of contacts; it may fall: the path goes
    through snap-through (limit points of lambda) and snap-back. Each iteration solves twice with
    one factorised tangent K,

    .. math::

        K t = -\partial R / \partial\lambda, \qquad K c = -R, \qquad
        u \leftarrow u + c + \mathrm{d}\lambda\, t

    and takes of the two dlambda that keep the arc length the one that turns u - u_n least (its
    product with the u - u_n before is larger). A step begins with dlambda = +-l over the norm of
    t, in the sense of the step before: t . (u_n - u_{n-1}) dlambda > 0, which does not turn back
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
        progress: whether a progress bar is shown.
        after_step: called with the problem and the record after each accepted step.

    Returns:
        `problem.history`: a `StepRecord` for each accepted step, `load` up and down.

    Raises:
        InputError: nothing scales with lambda; a dynamic problem; charges; a solver for definite
            matrices.
        ConvergenceError: the smallest step failed; u is the last accepted state.
    """
    if not isinstance(problem, StaticProblem):
        raise InputError("an arc length follows equilibria: give a StaticProblem")
    if problem.body.carries_charge:
        raise InputError("an arc length knows no charges: give electrodes of given potential alone")
    if not (first and steps >= 1 and longest >= 1 and 0 < smallest <= 1):
        raise InputError(
            f"first = {first}, steps = {steps}, longest = {longest}, smallest = {smallest}: give "
            "first other than 0, at least 1 step, longest >= 1 and smallest in (0, 1]"
        )
    problem.reset()
    if problem.body.amplitudes() or not problem.body.supports.proportional:
        raise InputError("an arc length scales all conditions alike: give them no amplitudes")
    path = _Path(problem)
    length = unit = abs(first) * path.start(first)
    rejected = 0
    bar = tqdm(total=steps, desc="path", disable=not progress or problem.comm.rank > 0)
    with bar:
        while len(problem.history) < steps:
            saved, before = copy_of_state(problem), path.load
            iterations = path.step(length)
            ends = False
            if iterations and load is not None and before != load:
                ends = (before - load) * (path.load - load) <= 0
                if ends and not path.land(load, length):
                    iterations = 0
            if not iterations:
                length, rejected = 0.5 * length, rejected + 1
                step, shorter = f"from load factor {before:.4f}", f"of length {length:.3g}"
                reject(problem, saved, before, step, shorter, length < smallest * unit)
                continue
            record = accepted(problem, path.load, rejected, saved, before)
            problem.history.append(record)
            bar.set_postfix_str(f"load factor {record.load:.4f}, {iterations} iterations")
            bar.update()
            rejected = 0
            length *= float(np.clip((DESIRED / iterations) ** 0.5, 0.5, 2.0))
            length = min(length, longest * unit)
            if after_step is not None:
                after_step(problem, record)
            if ends or (displacement is not None and path.farthest() >= displacement):
                break
    return problem.history


class _Path:
    """Steps of an arc length from the present state of a problem."""

    def __init__(self, problem: StaticProblem):
        self.body, self.newton = problem.body, problem.newton
        if self.newton.ksp.getType() == PETSc.KSP.Type.CG:
            raise InputError(
                "beyond a limit point the tangent is indefinite: give petsc_options with another "
                "ksp_type than cg, such as gmres"
            )
        self.problem = problem
        body = self.body
        works = [ufl.diff(w, body.factor) for w in body.dead + body.following + body.touching]
        self._form = fem.form(sum(works)) if works else None
        self._nodes = body.V.dofmap.index_map.size_global
        self._rate, self._change, self._correction = (self.newton.x.duplicate() for _ in range(3))
        self._before = self.newton.x.duplicate()

    @property
    def load(self) -> float:
        return float(self.body.load.value)

    def _norm(self, vector: PETSc.Vec) -> float:
        return float(vector.norm()) / self._nodes**0.5

    def start(self, first: float) -> float:
        """|du/dlambda| at the undeformed body; the step after goes the way of `first`."""
        if not self._linearise() or not self._norm(self._rate) > 0:
            raise InputError(
                "the load factor causes no displacement: give loads or prescribed "
                "displacements that are not zero, and a body that can bear them"
            )
        self._rate.copy(self._change)
        self._change.scale(first)
        return self._norm(self._rate)

    def _linearise(self) -> bool:
        """t = du/dlambda at the present u, its tangent factorised; False if that is singular.

        Prescribed displacements change at the rate of their full values.
        """
        body, newton = self.body, self.newton
        body.assemble_jacobian(newton.A)
        newton.ksp.setOperators(newton.A)
        load, b = self.load, newton.b
        with b.localForm() as local:
            local.set(0.0)
        if self._form is not None:
            fem_petsc.assemble_vector(b, self._form)
            b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        body.supports.apply(1.0)
        body.bring_in(b, None, 1.0)
        body.apply_load(load)
        self._pull = body.supports.free_norm(b)
        return newton.solve_linear(b, self._rate)

    def step(self, length: float) -> int:
        """Iterations to the next point at this arc length, 0 if there is none (`Newton.why`)."""
        body, newton, change = self.body, self.newton, self._change
        change.copy(self._before)
        newton.begin()
        body.give(newton.x)
        start = newton.x.copy()
        if not self._linearise():
            return self._back()
        by = float(np.copysign(length / self._norm(self._rate), self._rate.dot(self._before)))
        self._rate.copy(change)
        change.scale(by)
        newton.residuals.append(abs(by) * self._pull)
        newton.corrections.append(float(change.norm()))
        load = self.load + by
        for iteration in range(1, MOST + 1):
            newton.x.waxpy(1.0, start, change)
            body.take(newton.x)
            body.apply_load(load)
            if not body.evaluate(tangent=True):
                return self._back("det F <= 0")
            b = body.assemble_residual(newton.b)
            fem_petsc.set_bc(b, body.supports.bcs, newton.x, alpha=-1.0)
            newton.residuals.append(float(b.norm()))
            if iteration == 1:
                enough = max(1e-10 * newton.residuals[1], 1e-13 * newton.residuals[0])
            if newton.residuals[-1] <= max(enough, newton.noise()):
                return iteration
            b.scale(-1.0)
            toward = self._correction
            right = b.copy()
            if not self._linearise() or not newton.solve_linear(right, toward):
                return self._back()
            further = self._crossing(length)
            if further is None:
                return self._back("no point at this arc length")
            toward.axpy(further, self._rate)
            change.axpy(1.0, toward)
            load += further
            newton.corrections.append(float(toward.norm()))
        return self._back(f"no convergence in {MOST} iterations")

    def _back(self, why: str = "") -> int:
        self.newton.why = why or self.newton.why
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
        beyond, why = self.newton.x.copy(), ""
        if self.problem.step(load):
            beyond.axpy(-1.0, self.newton.x)
            if self._norm(beyond) <= length:
                return True
            why = "load control left the path"
        self._back(why)
        return False

    def farthest(self) -> float:
        """Largest displacement of a node, over all ranks."""
        u = self.body.u.x.array.reshape(-1, self.body.dim)
        far = float(np.linalg.norm(u, axis=1).max(initial=0.0))
        return float(self.body.comm.allreduce(far, op=MPI.MAX))
