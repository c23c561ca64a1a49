"""Motion of a hyperelastic body: explicit time steps, short and cheap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dolfinx import mesh as dmesh

from objstress.errors import ConvergenceError, InputError
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.solve.body import Condition
from objstress.fem.solve.central_differences import CentralDifferences
from objstress.fem.solve.lumped_body import LumpedBody
from objstress.fem.solve.moving_problem import Field, MovingProblem
from objstress.fem.solve.record import ExplicitRecord
from objstress.fem.solve.stepping import copy_of_state, take_back
from objstress.laws.base import MaterialLaw


class ExplicitProblem(MovingProblem[ExplicitRecord]):
    r"""Motion of a body, rho u'' = Div P + b, in time by central differences: waves and blows.

    .. math::

        M a_n = F_{ext}(u_n, \lambda_n) - F_{int}(u_n), \qquad
        a_n = \frac{u_{n+1} - 2 u_n + u_{n-1}}{\Delta t^2}, \qquad
        \Delta t = \frac{2 s}{\omega}

    with M lumped (row sums) and omega the highest frequency of the body: 2 / omega is where steps
    become unstable, and no system of equations is solved. omega is found by Lanczos' iterations,
    up to 1 %, at first and, at the tangents of the present state, at each record and whenever a
    strain has changed by 3 %. The limit is about the time that the fastest wave, of speed
    sqrt(max eig Q(n) / rho) with Q the law's acoustic tensor, takes through the thinnest cell:
    where only slow motion matters, `DynamicProblem` is faster. A pressure's own stiffness is left
    out, as pressures are small beside a law's constants.

    Contacts count as if they touched. Stable steps of a blow on the default stiffness, ten
    constants of the law over a cell's edge, are too long for its energy, which `balance` shows:
    10 % of a bar's that bounces off a plane are made up, 0.5 % at a safety of 0.2, and 0.4 % where
    `stiffness` is a fifth of the default.

    Waves of n cells of linear hexahedra to a length run too slowly by about
    (pi / n)^2 / 6 (1 - s^2) along an edge, at s of the stable step: 0.2 % for n = 13 and s = 0.9,
    0.4 % for n = 20 where thinner cells or faster waves set the step.

    Belytschko, Liu, Moran, Elkhodary, Nonlinear Finite Elements (2014), section 6.2.

    Units: stress in GPa, lengths as in the mesh, time in microseconds. In mm a velocity is in
    mm/us = km/s, an energy in joule.

    Args:
        mesh, law, bcs, density, length_unit, displacement, velocity: see `DynamicProblem`.
        safety: s, the part of the stable step that is taken, from 0 to 1.
        amplitude: lambda(t) for t >= 0 in microseconds, asked for one step ahead; 1 by default,
            full loads at once.
        others: `orientation`, `degree` (of more than 1 on hexahedra and quadrilaterals only),
            `assembly`, `element`, `plane`, `quadrature_degree`, see `StaticProblem`.

    Attributes:
        u, velocity, acceleration: at `time`, in the mesh's length and microseconds.
        time: microseconds.
        stable_step: of the undeformed body, s included, microseconds.
        history: an `ExplicitRecord` for each record.

    Raises:
        InputError: see `DynamicProblem`; a degree without positive lumped masses; a safety that
            is not from 0 to 1.
    """

    body: LumpedBody
    solver: CentralDifferences
    record_type = ExplicitRecord

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains | Graded,
        bcs: Sequence[Condition],
        *,
        density: float | Sequence[float] | None = None,
        length_unit: float = 1e-3,
        safety: float = 0.9,
        amplitude: Callable[[float], float] | None = None,
        displacement: Field | None = None,
        velocity: Field | None = None,
        **others: Any,
    ):
        if not 0 < safety <= 1:
            raise InputError(
                f"safety = {safety}: give a part of the stable step, more than 0 and at most 1; "
                "longer steps are unstable"
            )
        body = LumpedBody(mesh, law, bcs, density, length_unit, **others)
        amplitude = amplitude or (lambda t: 1.0)
        solver = CentralDifferences(body, amplitude, float(safety))
        super().__init__(body, solver, amplitude, displacement, velocity)
        self.stable_step = solver.stable_step()

    def solve(
        self,
        records: int = 1,
        *,
        duration: float,
        progress: bool = True,
        after_step: Callable[[ExplicitProblem, ExplicitRecord], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[ExplicitRecord]:
        """Move the body on for `duration`, at first from its initial state.

        From record to record in equal steps, as many as are stable.

        Args:
            records: number of records in equal distances of time.
            duration: microseconds.
            progress: whether a progress bar is shown.
            after_step: called with the problem and the record at each record.
            checkpoint: a folder that keeps the states of all records; an interrupted run resumes
                from the last one in it, see `StaticProblem.solve`.

        Returns:
            `history`.

        Raises:
            InputError: an initial displacement with det F <= 0; the checkpoint is of another run.
            ConvergenceError: det F <= 0, or numbers that are none, at a time that is named with
                the worst cells; u, v and a are those of the last record.
        """
        if records < 1 or not duration > 0:
            raise InputError(f"{records} records to time {duration}: give at least 1, a time > 0")
        return self._run(
            records,
            duration,
            min(self.stable_step, duration / records),
            smallest=1.0,
            progress=progress,
            after_step=after_step,
            checkpoint=checkpoint,
        )

    def step(self, target: float) -> bool:
        """Move the body on to the time of the next record, in as many steps as are stable.

        Args:
            target: microseconds.

        Raises:
            ConvergenceError: see `solve`. Shorter distances of records would not help.
        """
        saved, last = copy_of_state(self), self.time
        if not self.solver.advance(last, target):
            worst = self.worst_cells()
            take_back(self, saved, last)
            raise ConvergenceError(
                f"the motion ends: {self.why} (steps of {self.solver.step:.3g}); the state at time "
                f"{last:.6g} is kept; worst cells: {worst}"
            )
        self.time = target
        return True

    def record(self, at: float, rejected: int) -> ExplicitRecord:
        """What happened since the last record.

        Args:
            at: its time, microseconds.
            rejected: 0.
        """
        solver = self.solver
        record = self.motion_record(at, rejected, self.body.reactions(), solver.work)
        record.steps, record.step = solver.steps, solver.step
        swing = solver.swing
        if self.history:
            # Of all steps before, also where the run resumed: what that balance lacks.
            last = self.history[-1]
            swing += last.kinetic + last.energy + last.contact - last.work
            swing -= self._first_energy + last.balance
        record.balance -= swing
        return record
