"""Static equilibrium of a hyperelastic body: load stepping around Newton's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import mesh as dmesh

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import corners
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.solve.body import Body, Condition
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.electric_body import ElectricBody, knows_field
from objstress.fem.solve.newton import Newton
from objstress.fem.solve.problem import Problem
from objstress.fem.solve.record import StepRecord
from objstress.fem.solve.stepping import march
from objstress.laws.base import MaterialLaw


class StaticProblem(Problem[StepRecord]):
    r"""Static equilibrium, with displacements, forces and contacts; u in Lagrange elements.

    .. math:: \mathrm{Div}\, P(I + \nabla u) + \lambda b = 0

    Of a law that knows an electric field also the potential: Div D0(F, -grad phi) = 0, with
    electrodes and surface charges among the conditions.

    Right on any number of ranks: each evaluates the law in its own cells and their ghosts.

    Args:
        mesh: a dolfinx mesh; lengths in any unit. One of two dimensions is in plane strain or
            stress, the law stays three-dimensional.
        law: in the crystal's frame; or `Grains`, a law and an orientation for each.
        bcs: displacements (`Displacement`, at least what takes the rigid motions), forces
            (`Traction`, `Pressure`, `BodyForce`) and contacts (`RigidPlane`, `RigidSphere`); with a
            law that knows a field electrodes (`Electrode`, at least one of given potential) and
            charges (`SurfaceCharge`).
        orientation: Q (3, 3), crystal frame to sample frame; none leaves the law as it is.
        degree: of the displacement.
        assembly: "quadrature" evaluates any law at the quadrature points, see
            `QuadratureMaterial`; "ufl" compiles a polynomial law into the form, see
            `UflMaterial`.
        element: "mixed" for laws that hardly change their volume, see `MixedMaterial`.
        plane: of a mesh of two dimensions, "strain" or "stress", see `PlaneStressMaterial`.
        quadrature_degree: 2 degree for hexahedra, 2 (degree - 1) for tetrahedra by default.
        petsc_options: added to, or replacing, {"snes_type": "newtonls", ...} and what
            `solve.linear.solver_options` chooses from the size.

    Attributes:
        u: the displacement.
        material: the law at the quadrature points.
        body: the forces and their derivative, assembled.
        newton: the solver.
        history: a `StepRecord` for each accepted step.

    Raises:
        InputError: a mesh of curves or shells or with inverted cells, conditions that catch no
            point or leave a rigid motion free (it is named), an assembly that the law does not
            have.
    """

    pace = "load factor"
    record_type = StepRecord

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains | Graded,
        bcs: Sequence[Condition],
        *,
        orientation: Any = None,
        degree: int = 1,
        assembly: str = "quadrature",
        element: str = "displacement",
        plane: str = "strain",
        quadrature_degree: int | None = None,
        petsc_options: dict[str, Any] | None = None,
    ):
        body = (ElectricBody if knows_field(law) else Body)(
            mesh,
            law,
            bcs,
            orientation=orientation,
            degree=degree,
            assembly=assembly,
            element=element,
            plane=plane,
            quadrature_degree=quadrature_degree,
        )
        self.petsc_options = petsc_options or {}
        self.newton = Newton(body, self.petsc_options)
        super().__init__(body, self.newton)

    def solve(
        self,
        steps: int = 1,
        *,
        until: float | None = None,
        largest: float = 1.0,
        smallest: float = 1 / 256,
        progress: bool = True,
        after_step: Callable[[StaticProblem, StepRecord], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[StepRecord]:
        """Go on from the present state, at first the undeformed body, to a load factor.

        Each step first extrapolates with the tangent of the last state, then runs Newton's
        method. A step that does not converge leaves no trace: u is restored, the step is halved
        and tried again. The next one is longer or shorter by how many iterations this one took,
        see `march`. Steps end at the corners of amplitudes.

        Args:
            steps: number of equal steps, unless they are halved or may be longer.
            until: load factor at the end; by default the next whole number, so 1 at first, counted
                from the last `change`.
            largest: how long a step may get where Newton's method is at ease, in equal steps.
            smallest: the fraction of an equal step under which the run ends.
            progress: whether a progress bar is shown.
            after_step: called with the problem and the record after each accepted step.
            checkpoint: a folder that keeps every accepted state; an interrupted run resumes from
                the last one in it (`after_step` is called for those before, too). One for each
                call.

        Returns:
            `history`, with the steps of the calls before.

        Raises:
            InputError: `until` is not ahead; the checkpoint is of another body or other settings.
            ConvergenceError: the smallest step failed, the worst cells are named; u is the last
                accepted state.
        """
        begin, stage = self.at, self.body.begin
        whole = stage + float(np.floor(begin - stage + 1e-9)) + 1
        end = whole if until is None else float(until)
        if steps < 1 or not largest >= 1:
            raise InputError(f"steps = {steps}, largest = {largest}: give at least 1")
        if not begin < end < np.inf:
            raise InputError(
                f"until = {end}: the load factor is {begin:g} already, give a larger one (`reset` "
                "goes back to the undeformed body)"
            )
        run = {"begin": begin, "end": end, "largest": largest} | self.settings()
        states = None if checkpoint is None else Checkpoint(self, checkpoint, steps, **run)
        march(
            self,
            (begin, end),
            steps,
            corners=[self.body.begin + c for c in corners(self.body.amplitudes())],
            largest=largest,
            smallest=smallest,
            progress=progress,
            after_step=after_step,
            states=states,
        )
        return self.history

    @property
    def at(self) -> float:
        """The load factor of the last accepted state."""
        return self.history[-1].load if self.history else self.body.begin

    def change(self, bcs: Sequence[Condition]) -> None:
        r"""Go on from the present state under other conditions.

        In what follows s = lambda - lambda_0 takes the place of the load factor in all conditions,
        lambda_0 being the present one: they are reached at s = 1, where `solve` ends by default.
        Displacements begin from where the nodes are, contacts of the same name from where these
        are. What is not there any more fades as s goes from 0 to 1, a support by its force.

        Args:
            bcs: all conditions from now on.

        Raises:
            InputError: see `StaticProblem`; the conditions stay as they were.
        """
        load = self.at
        self.body.change(bcs, load)
        self.newton = self.solver = Newton(self.body, self.petsc_options)
        self.settle(load)

    def reset(self) -> None:
        """Back to the undeformed body under the present conditions: no load, no steps."""
        self.history.clear()
        for function in self.state().values():
            function.x.array[:] = 0.0
        self.body.start_over()
        self.settle(0.0)

    def step(self, target: float) -> bool:
        """Solve for equilibrium at a load factor, from the present u.

        Args:
            target: the load factor.

        Returns:
            Whether Newton's method converged; if not, `why` says why, and u holds anything.
        """
        self.apply_load(target)
        return self.newton.solve()

    def record(self, at: float, rejected: int) -> StepRecord:
        """What happened in the last step.

        Args:
            at: its load factor.
            rejected: tries that were taken back.
        """
        return self.step_record(at, rejected, self.body.reactions())
