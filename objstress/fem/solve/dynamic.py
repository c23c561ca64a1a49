"""Motion of a hyperelastic body: implicit time steps on top of the static problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import ConvergenceError, InputError
from objstress.fem.materials.grains import Grains, GrainsLaw
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.record import StepRecord
from objstress.fem.solve.static import Condition, StaticProblem
from objstress.laws.base import MaterialLaw

Field = Callable[[np.ndarray], np.ndarray] | Sequence[float]
"""A vector for each point: a function of points (3, n) that returns (dim, n), or one vector."""

MICROSECOND = 1e-6


@dataclass
class DynamicRecord(StepRecord):
    """What happened in one accepted time step: a `StepRecord` and the energies at its end.

    `load` is amplitude(time), `energy` the stored energy; `reactions` are those of the balance of
    forces that the step solved, at u_{n+1-alpha_f}, inertia included.

    Attributes:
        time: microseconds.
        kinetic: 1/2 integral of rho v . v, GPa length^3 (in mm: joule).
        contact: Pi of the contacts, GPa length^3: what a blow stores in them and gives back.
        work: of loads, prescribed motions and moving contacts since time 0, GPa length^3.
        balance: kinetic + stored + contact - work - what there was of them at time 0, GPa
            length^3: energy that the scheme made (> 0) or dissipated.
    """

    time: float = 0.0
    kinetic: float = 0.0
    contact: float = 0.0
    work: float = 0.0
    balance: float = 0.0

    @property
    def at(self) -> float:
        return self.time


class DynamicProblem(StaticProblem):
    r"""rho u'' = div P + b in time, by the generalised-alpha method:

        M a_{n+1-m} + F_int(u_{n+1-f}) = F_ext(u_{n+1-f}, lambda_{n+1-f})
        x_{n+1-f} = (1 - f) x_{n+1} + f x_n   for x = u, lambda; likewise a_{n+1-m}
        u_{n+1} = u_n + dt v_n + dt^2 ((1/2 - beta) a_n + beta a_{n+1})
        v_{n+1} = v_n + dt ((1 - gamma) a_n + gamma a_{n+1})
        m = (2 r - 1)/(r + 1),   f = r/(r + 1),   gamma = 1/2 - m + f,   beta = (1 - m + f)^2 / 4

    with r the spectral radius at infinite frequency. Of second order, M consistent, lambda(t) the
    load factor of all conditions. r = 1 is the midpoint rule: no numerical damping, linear and
    angular momentum of a free body kept; a_n alternates about the acceleration there and only
    (a_n + a_{n+1}) / 2 means anything.

    Chung and Hulbert, J. Appl. Mech. 60 (1993) 371, eqs. (17), (20), (25); with the forces at the
    averaged displacements, Kuhl and Crisfield, Int. J. Numer. Meth. Engng. 45 (1999) 569.

    Units: stress in GPa, lengths as in the mesh, time in microseconds. In mm a velocity is in
    mm/us = km/s, an energy in joule.

    Args:
        mesh, law, bcs, and what else is not named here: see `StaticProblem`. No rigid motion has
            to be held.
        density: rho in kg/m^3; with `Grains` also one for each grain.
        length_unit: metres in one unit of length of the mesh.
        spectral_radius: r from 0 (waves that a step cannot resolve vanish in it) to 1.
        amplitude: lambda(t) for t >= 0 in microseconds; 1 by default, full loads at once.
        displacement, velocity: at time 0, `Field`s; zero by default. On marked points those of
            the `Displacement`s hold: lambda and its rate times their value.

    Attributes:
        u, velocity, acceleration: at `time`, in the mesh's length and microseconds.
        time: microseconds.
        history: a `DynamicRecord` for each accepted step.

    Raises:
        InputError: see `StaticProblem`; no density, or one that is not positive; a spectral radius
            outside [0, 1].
    """

    history: list[DynamicRecord]  # type: ignore[assignment]
    _pace = "time"
    _record_type = DynamicRecord

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains,
        bcs: Sequence[Condition],
        *,
        density: float | Sequence[float] | None = None,
        length_unit: float = 1e-3,
        spectral_radius: float = 1.0,
        amplitude: Callable[[float], float] | None = None,
        displacement: Field | None = None,
        velocity: Field | None = None,
        **others: Any,
    ):
        self._density = _checked_density(density, law)
        if not length_unit > 0:
            raise InputError(f"length_unit = {length_unit}: give the metres in one unit, positive")
        # kg/m^3 length^2 / us^2 in GPa.
        self._density *= (length_unit / MICROSECOND) ** 2 * 1e-9
        r = self.spectral_radius = float(spectral_radius)
        if not 0 <= r <= 1:
            raise InputError(f"spectral_radius = {spectral_radius}: give a number from 0 to 1")
        m, f = (2 * r - 1) / (r + 1), r / (r + 1)
        self._m, self._f = m, f
        self._gamma, self._beta = 0.5 - m + f, 0.25 * (1 - m + f) ** 2
        self.amplitude = amplitude or (lambda t: 1.0)
        self._start = (displacement, velocity)
        self.time = 0.0
        super().__init__(mesh, law, bcs, **others)
        self._work_form = fem.form(sum(self._loads)) if self._loads else None
        potential = sum(self._potentials)
        self._contact_form = fem.form(potential) if self._potentials else None
        # What it takes to move the contacts on, per load factor.
        self._moving_form = (
            fem.form(ufl.diff(potential, self._factor)) if self._potentials else None
        )

    def _body(self, du: Any, v: Any) -> tuple[Any, Any]:
        r"""Inertia with the forces: with u = u_{n+1-f}, a_{n+1-m} = c (u - q), c as in `_step` and
        q where the body would be without forces."""
        self.velocity = fem.Function(self.V, name="velocity")
        self.acceleration = fem.Function(self.V, name="acceleration")
        self._c = fem.Constant(self.mesh, PETSc.ScalarType(0.0))
        self._q = fem.Function(self.V)
        cells = self.material.cells
        grains = self.law.cell_grains if isinstance(self.law, GrainsLaw) else 0 * cells
        rho = self.material.cell_function(self._density[grains])
        dx = ufl.dx(metadata={"quadrature_degree": 2 * self._degree})
        self._mass_form = fem.form(rho * ufl.inner(du, v) * dx)
        self._kinetic_form = fem.form(0.5 * rho * ufl.inner(self.velocity, self.velocity) * dx)
        forces, tangent = super()._body(du, v)
        return (
            forces + rho * self._c * ufl.inner(self.u - self._q, v) * dx,
            tangent + rho * self._c * ufl.inner(du, v) * dx,
        )

    def _check_rigid_motions(self) -> None:
        """Inertia holds what the displacements leave free."""

    def state(self) -> dict[str, fem.Function]:
        return super().state() | {"velocity": self.velocity, "acceleration": self.acceleration}

    # -- solution ----------------------------------------------------------------------------

    def solve(  # type: ignore[override]
        self,
        steps: int = 1,
        *,
        duration: float,
        smallest: float = 1 / 256,
        progress: bool = True,
        after_step: Callable[[Any, Any], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[DynamicRecord]:
        """Move the body from time 0 to `duration` in equal steps, from its initial state.

        A step that does not converge leaves no trace: u, v and a are restored, the step is halved
        and tried again; after two steps in a row went well it grows back. Choose the step by the
        shortest wave that matters, twenty to its period: any step is stable on a linear body. In a
        contact it is the swing of the nodes that touch on the penalty, and what a longer step
        makes of the blow stands in `balance`; a softer contact takes longer steps.

        Args:
            duration: microseconds.
            smallest, after_step, checkpoint: see `StaticProblem.solve`.

        Returns:
            `history`.

        Raises:
            InputError: an initial displacement with det F <= 0; the checkpoint is of another run.
            ConvergenceError: the smallest step failed, the worst cells are named; u, v and a are
                those of the last accepted state.
        """
        if steps < 1 or not duration > 0:
            raise InputError(f"{steps} steps to time {duration}: give at least 1, and a time > 0")
        self.history.clear()
        self._begin(duration / steps)
        run = {"duration": duration, "spectral_radius": self.spectral_radius}
        states = None if checkpoint is None else Checkpoint(self, checkpoint, steps, **run)
        self._march(duration, steps, smallest, progress, after_step, states)
        return self.history

    def _begin(self, step: float) -> None:
        """u, v and a at time 0; a balances the forces there."""
        h = 1e-3 * step
        now, soon, later = (self.amplitude(k * h) for k in range(3))
        rates = now, (4 * soon - 3 * now - later) / (2 * h), (now - 2 * soon + later) / h**2
        for function, field, rate in zip((self.u, self.velocity), self._start, rates, strict=False):
            function.x.array[:] = 0.0
            if field is not None:
                function.interpolate(field if callable(field) else _constant(field, self.dim))
            self._set_loads(rate)
            for bc in self._bcs:
                bc.set(function.x.array)
            function.x.scatter_forward()
        self._c.value, self.time = 0.0, 0.0
        self._set_loads(now)
        if not self._evaluate(tangent=True):
            raise InputError("the initial displacement leaves det F <= 0 at some points")
        b = self.assemble_residual()
        b.scale(-1.0)
        self._set_loads(rates[2])
        mass = fem_petsc.assemble_matrix(self._mass_form, bcs=self._bcs)
        mass.assemble()
        self._bring_in(b, self._mass_form, None, 1.0)
        ksp = PETSc.KSP().create(self.comm)
        ksp.setType("cg")
        ksp.getPC().setType("jacobi")
        ksp.setTolerances(rtol=1e-12)
        ksp.setOperators(mass)
        x = b.duplicate()
        ksp.solve(b, x)
        if ksp.getConvergedReason() <= 0:
            raise ConvergenceError("the accelerations at time 0 do not converge")
        fem_petsc.assign(x, self.acceleration)
        self.acceleration.x.scatter_forward()
        self._set_loads(now)
        self._first_energy = self._kinetic() + self._stored() + self._integral(self._contact_form)

    def _update_all(self, time: float) -> None:
        self.time = time
        super()._update_all(self.amplitude(time))

    def _step(self, target: float) -> bool:
        m, f, beta, gamma = self._m, self._f, self._beta, self._gamma
        dt = target - self.time
        u, v, a = (function.x.array.copy() for function in self.state().values())
        self._c.value = (1 - m) / ((1 - f) * beta * dt**2)
        self._q.x.array[:] = u + (1 - f) * dt * (v + dt * (0.5 - beta / (1 - m)) * a)
        # Loads and prescribed displacements at n+1-f, too, lie between those of the ends.
        self._set_loads((1 - f) * self.amplitude(target) + f * self.amplitude(self.time))
        self.u.x.array[:] = self._q.x.array
        if not self._newton():
            return False
        change = (self.u.x.array - u) / (1 - f)
        self._step_reactions = super()._reactions()
        moved = self.amplitude(target) - self.amplitude(self.time)
        self._step_work = self._work(change) + moved * self._integral(self._moving_form)
        self.u.x.array[:] = u + change
        if not self._evaluate(tangent=False):
            self._why = "det F <= 0 at the end of the step"
            return False
        new = change / (beta * dt**2) - v / (beta * dt) - (0.5 / beta - 1) * a
        self.velocity.x.array[:] = v + dt * ((1 - gamma) * a + gamma * new)
        self.acceleration.x.array[:] = new
        self.time = target
        return True

    def _work(self, change: np.ndarray) -> float:
        """Of loads and prescribed motions, at the u where all forces balance, on this change of u.

        What is left of the residual there is what holds the prescribed displacements.
        """
        forces = self.assemble_residual(self._b)
        if self._work_form is not None:
            loads = fem_petsc.assemble_vector(self._work_form)
            loads.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
            forces.axpy(1.0, loads)
        values = forces.getArray()
        return self.comm.allreduce(float(values @ change[: len(values)]), op=MPI.SUM)

    def _integral(self, form: fem.Form | None) -> float:
        """Over all ranks; no form is 0."""
        if form is None:
            return 0.0
        return self.comm.allreduce(float(fem.assemble_scalar(form)), op=MPI.SUM)

    def _kinetic(self) -> float:
        return self._integral(self._kinetic_form)

    def _forces_of_state(self) -> PETSc.Vec:
        # The inertia in the residual is that of the step, not of the state at its end.
        self._c.value, before = 0.0, float(self._c.value)
        forces = self.assemble_residual()
        self._c.value = before
        return forces

    def _reactions(self) -> dict[str, list[float]]:
        return self._step_reactions

    def _record(self, at: float, rejected: int) -> DynamicRecord:
        static = super()._record(self.amplitude(at), rejected)
        self._set_loads(static.load)
        kinetic, contact = self._kinetic(), self._integral(self._contact_form)
        work = self._step_work + (self.history[-1].work if self.history else 0.0)
        return DynamicRecord(
            **vars(static),
            time=at,
            kinetic=kinetic,
            contact=contact,
            work=work,
            balance=kinetic + static.energy + contact - work - self._first_energy,
        )


def _checked_density(density: Any, law: MaterialLaw | Grains) -> np.ndarray:
    """One for each grain, or one."""
    if density is None:
        raise InputError("no density: give it in kg/m^3")
    rho = np.atleast_1d(np.array(density, dtype=np.float64))
    number = len(law.orientations) if isinstance(law, Grains) else 1
    if rho.shape not in ((1,), (number,)):
        raise InputError(f"densities of shape {rho.shape}: give one, or with grains one for each")
    if not (np.isfinite(rho).all() and (rho > 0).all()):
        raise InputError(f"density = {density} kg/m^3: it must be positive")
    return np.broadcast_to(rho, number).copy()


def _constant(value: Sequence[float], dim: int) -> Callable[[np.ndarray], np.ndarray]:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (dim,):
        raise InputError(f"initial value {value}: give {dim} components")
    return lambda x: np.repeat(vector[:, None], x.shape[1], axis=1)
