"""Explicit time steps: central differences as a velocity Verlet scheme, as long as is stable."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI

from objstress.fem.solve.lumped_body import LumpedBody

CHANGED = 0.03
"""How much an entry of F may change before the stable step is found anew: third-order constants are
about ten times those of second order, and a tangent has changed by up to a third of itself."""


class CentralDifferences:
    r"""Steps of a body with lumped masses.

    .. math::

        v_{n+1/2} &= v_n + \tfrac12 \Delta t\, a_n, \qquad
        u_{n+1} = u_n + \Delta t\, v_{n+1/2} \\
        M a_{n+1} &= F_{ext}(u_{n+1}, \lambda_{n+1}) - F_{int}(u_{n+1}), \qquad
        v_{n+1} = v_{n+1/2} + \tfrac12 \Delta t\, a_{n+1}

    Prescribed displacements have the values of their time, and central differences of these as
    accelerations. With p what loads and supports push with,

    .. math::

        \tfrac12 [v \cdot M v]_n^{n+1} + \tfrac12 \Delta u \cdot (f_n + f_{n+1})
        = \tfrac12 \Delta u \cdot (p_n + p_{n+1}) + \tfrac18 \Delta t^2 [a \cdot M a]_n^{n+1}

    holds to round-off, f being the forces that an energy has: contacts' and internal ones.

    Belytschko, Liu, Moran, Elkhodary, Nonlinear Finite Elements (2014), section 6.2.

    Args:
        body: in motion.
        amplitude: lambda(t).
        safety: part of the stable step that is taken.

    Attributes:
        steps, step: number of time steps in the last `advance`, and length of its last one.
        work: of loads, prescribed motions and moving contacts in it, GPa length^3.
        swing: the sum of the last term above, GPa length^3.
        why, residuals, corrections: see `Solver`.
    """

    def __init__(self, body: LumpedBody, amplitude: Callable[[float], float], safety: float):
        self.body, self.amplitude, self.safety = body, amplitude, safety
        self.why = ""
        self.residuals: list[float] = []
        self.corrections: list[float] = []
        self._held, self._pushes = (fem_petsc.create_vector(body.V) for _ in range(2))
        self.frequency = self.step = 0.0
        self.work = self.swing = 0.0

    def settings(self) -> dict[str, Any]:
        """What of the steps the answer depends on."""
        return {"safety": self.safety}

    def stable_step(self) -> float:
        """Length of a step at the present state, microseconds: safety 2 / omega."""
        self.body.evaluate(tangent=True)
        self._seen = self.body.material.F
        self.frequency = self.body.highest_frequency()
        return self.safety * 2 / self.frequency if self.frequency else np.inf

    def _has_changed(self) -> bool:
        """Whether F is far from where the stable step was found."""
        change = float(np.abs(self.body.material.F - self._seen).max(initial=0.0))
        return self.body.comm.allreduce(change, op=MPI.MAX) > CHANGED

    def noise(self) -> float:
        """Round-off of the norm of the forces: as of `Newton`, stiffnesses m omega^2 at most."""
        body = self.body
        size = max(body.edge, float(np.abs(body.u.x.array).max(initial=0.0)))
        size = body.comm.allreduce(size, op=MPI.MAX)
        mass = body.comm.allreduce(float(body.masses @ body.masses), op=MPI.SUM) ** 0.5
        return 1e-15 * self.frequency**2 * mass * size

    def advance(self, begin: float, end: float) -> bool:
        """Move the body on from one time to another, microseconds; False, with `why`, if it fails.

        Where it fails, u holds the state in which it did.
        """
        self.steps, self.work, self.swing, self.why = 0, 0.0, 0.0, ""
        at, limit = begin, self.stable_step()
        self.body.add_loads(self.body.assemble_residual(self._pushes))
        while at < end:
            number = max(1, ceil((end - at) / limit))
            first, self.step = at, (end - at) / number
            for k in range(1, number + 1):
                to = end if k == number else first + k * self.step
                if not self._leap(at, to):
                    self.why = f"det F <= 0, or no numbers, at time {to:.6g}"
                    return False
                at = to
                if self._has_changed():
                    limit = self.stable_step()
                    break
        sums = np.array([self.work, self.swing])
        self.body.comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        self.work, self.swing = sums.tolist()
        if not np.isfinite(self.work + self.swing):
            self.why = f"no numbers at time {at:.6g}"
        return not self.why

    def _leap(self, at: float, to: float) -> bool:
        """One step; `work` and `swing` are this rank's."""
        body, dt = self.body, self.step
        u, v, a = body.u.x.array, body.velocity.x.array, body.acceleration.x.array
        before, swing = u.copy(), body.product(body.acceleration)
        loads = [self.amplitude(t) for t in (at, to, to + dt)]
        pushed = self._pushed(loads)
        v += 0.5 * dt * a
        u += dt * v
        body.apply_load(loads[1])
        for bc in body.supports.bcs:
            bc.set(u)
        if not body.evaluate(tangent=False):
            return False

        def accelerations() -> None:
            body.supports.apply_difference(loads[1], [(1, loads[0]), (1, loads[2])], dt**2)

        old, new = self._pushes, self._held
        body.accelerate(accelerations, new)
        body.add_loads(new)
        v += 0.5 * dt * a
        body.apply_load(loads[1])
        change = (u - before)[: len(body.masses)]
        self.work += 0.5 * float((old.getArray() + new.getArray()) @ change)
        self.work += 0.5 * (pushed + self._pushed(loads))
        self.swing += dt**2 / 8 * (body.product(body.acceleration) - swing)
        self._pushes, self._held, self.steps = new, old, self.steps + 1
        return True

    def _pushed(self, loads: list[float]) -> float:
        """What moving the contacts on takes at the present forces, counted on rank 0."""
        if not self.body.contacts:
            return 0.0
        work = self.body.pushing_work(loads[0], loads[1])
        return work if self.body.comm.rank == 0 else 0.0
