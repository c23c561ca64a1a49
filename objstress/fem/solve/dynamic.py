"""Motion of a hyperelastic body: implicit time steps around Newton's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dolfinx import mesh as dmesh

from objstress.errors import InputError
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.solve.body import Condition
from objstress.fem.solve.moving_body import ConsistentBody
from objstress.fem.solve.moving_problem import Field, MovingProblem
from objstress.fem.solve.newton import Newton
from objstress.fem.solve.record import DynamicRecord
from objstress.laws.base import MaterialLaw


class DynamicProblem(MovingProblem[DynamicRecord]):
    r"""Motion of a body, rho u'' = Div P + b, in time by the generalised-alpha method.

    .. math::

        M a_{n+1-m} + F_{int}(u_{n+1-f}) &= F_{ext}(u_{n+1-f}, \lambda_{n+1-f}) \\
        x_{n+1-f} &= (1 - f) x_{n+1} + f x_n \quad \text{for } x = u, \lambda;
                     \text{ likewise } a_{n+1-m} \\
        u_{n+1} &= u_n + \Delta t\, v_n
                   + \Delta t^2 ((\tfrac12 - \beta) a_n + \beta a_{n+1}) \\
        v_{n+1} &= v_n + \Delta t\, ((1 - \gamma) a_n + \gamma a_{n+1}) \\
        m = \frac{2r - 1}{r + 1}, \quad f &= \frac{r}{r + 1}, \quad
        \gamma = \tfrac12 - m + f, \quad \beta = \tfrac14 (1 - m + f)^2

    with r the spectral radius at infinite frequency. Of second order, M consistent, lambda(t) the
    load factor of all conditions. r = 1 is the midpoint rule: no numerical damping, linear and
    angular momentum of a free body kept; a_n alternates about the acceleration there and only
    (a_n + a_{n+1}) / 2 means anything.

    Chung and Hulbert, J. Appl. Mech. 60 (1993) 371, eqs. (17), (20), (25); with the forces at the
    averaged displacements, Kuhl and Crisfield, Int. J. Numer. Meth. Engng. 45 (1999) 569.

    Units: stress in GPa, lengths as in the mesh, time in microseconds. In mm a velocity is in
    mm/us = km/s, an energy in joule.

    Args:
        mesh, law, bcs: see `StaticProblem`. No rigid motion has to be held.
        density: rho in kg/m^3; with `Grains` also one for each grain.
        length_unit: metres in one unit of length of the mesh.
        spectral_radius: r from 0 (waves that a step cannot resolve vanish in it) to 1.
        amplitude: lambda(t) for t >= 0 in microseconds; 1 by default, full loads at once.
        displacement, velocity: at time 0, a function of points (3, n) that returns (dim, n), or
            one vector; zero by default. On the points of a `Displacement` lambda and its rate,
            times its value, hold instead.
        petsc_options: see `StaticProblem`.
        others: `orientation`, `degree`, `assembly`, `element`, `plane`, `quadrature_degree`, see
            `StaticProblem`.

    Attributes:
        u, velocity, acceleration: at `time`, in the mesh's length and microseconds.
        time: microseconds.
        history: a `DynamicRecord` for each accepted step.

    Raises:
        InputError: see `StaticProblem`; no density, or one that is not positive; a spectral radius
            outside [0, 1].
    """

    body: ConsistentBody
    record_type = DynamicRecord

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains | Graded,
        bcs: Sequence[Condition],
        *,
        density: float | Sequence[float] | None = None,
        length_unit: float = 1e-3,
        spectral_radius: float = 1.0,
        amplitude: Callable[[float], float] | None = None,
        displacement: Field | None = None,
        velocity: Field | None = None,
        petsc_options: dict[str, Any] | None = None,
        **others: Any,
    ):
        r = self.spectral_radius = float(spectral_radius)
        if not 0 <= r <= 1:
            raise InputError(f"spectral_radius = {spectral_radius}: give a number from 0 to 1")
        m, f = (2 * r - 1) / (r + 1), r / (r + 1)
        self._m, self._f = m, f
        self._gamma, self._beta = 0.5 - m + f, 0.25 * (1 - m + f) ** 2
        body = ConsistentBody(mesh, law, bcs, density, length_unit, **others)
        self.petsc_options = petsc_options or {}
        self.newton = Newton(body, self.petsc_options)
        amplitude = amplitude or (lambda t: 1.0)
        super().__init__(body, self.newton, amplitude, displacement, velocity)

    def solve(
        self,
        steps: int = 1,
        *,
        duration: float,
        smallest: float = 1 / 256,
        progress: bool = True,
        after_step: Callable[[DynamicProblem, DynamicRecord], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[DynamicRecord]:
        """Move the body on for `duration` in equal steps, at first from its initial state.

        A step that does not converge leaves no trace: u, v and a are restored, the step is halved
        and tried again; later ones grow back, see `march`. Choose the step by the
        shortest wave that matters, twenty to its period: any step is stable on a linear body. In a
        contact it is the swing of the nodes that touch on the penalty, and what a longer step
        makes of the blow stands in `balance`; a softer contact takes longer steps.

        Args:
            steps: number of them.
            duration: microseconds.
            smallest, progress, after_step, checkpoint: see `StaticProblem.solve`.

        Returns:
            `history`.

        Raises:
            InputError: an initial displacement with det F <= 0; the checkpoint is of another run.
            ConvergenceError: the smallest step failed, the worst cells are named; u, v and a are
                those of the last accepted state.
        """
        if steps < 1 or not duration > 0:
            raise InputError(f"{steps} steps to time {duration}: give at least 1, and a time > 0")
        return self._run(
            steps,
            duration,
            duration / steps,
            smallest=smallest,
            progress=progress,
            after_step=after_step,
            checkpoint=checkpoint,
        )

    def settings(self) -> dict[str, Any]:
        """What the answer depends on and a state does not show, see `Problem.settings`."""
        return super().settings() | {"spectral_radius": self.spectral_radius}

    def step(self, target: float) -> bool:
        """Move the body on to a time.

        Args:
            target: microseconds.

        Returns:
            Whether Newton's method converged; if not, `why` says why, and u holds anything.
        """
        m, f, beta, gamma = self._m, self._f, self._beta, self._gamma
        body, dt = self.body, target - self.time
        u, v, a = (function.x.array.copy() for function in self.state().values())
        # With u = u_{n+1-f}, a_{n+1-m} = c (u - q).
        body.c.value = (1 - m) / ((1 - f) * beta * dt**2)
        body.q.x.array[:] = u + (1 - f) * dt * (v + dt * (0.5 - beta / (1 - m)) * a)
        # Loads and prescribed displacements at n+1-f, too, lie between those of the ends.
        self.apply_load((1 - f) * self.amplitude(target) + f * self.amplitude(self.time))
        self.u.x.array[:] = body.q.x.array
        if not self.newton.solve():
            return False
        change = (self.u.x.array - u) / (1 - f)
        self._reactions = body.reactions()
        pushed = body.pushing_work(self.amplitude(self.time), self.amplitude(target))
        self._work = body.work(change, self.newton.b) + pushed
        self.u.x.array[:] = u + change
        if not body.evaluate(tangent=False):
            self.newton.why = "det F <= 0 at the end of the step"
            return False
        new = change / (beta * dt**2) - v / (beta * dt) - (0.5 / beta - 1) * a
        self.velocity.x.array[:] = v + dt * ((1 - gamma) * a + gamma * new)
        self.acceleration.x.array[:] = new
        self.time = target
        return True

    def record(self, at: float, rejected: int) -> DynamicRecord:
        """What happened in the last step.

        Args:
            at: its time, microseconds.
            rejected: tries that were taken back.
        """
        return self.motion_record(at, rejected, self._reactions, self._work)
