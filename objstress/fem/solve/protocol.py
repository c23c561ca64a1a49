"""What load stepping, checkpoints and writers know of a problem, whatever is solved in it.

A second field, such as an electric potential beside u, enters as another function of `state`, in a
space and with a block size of its own; its prescribed values and loads follow the one load factor
of `apply_load`, and `balance` names what it adds to the energy and to the forces.

State at the quadrature points (plastic strain, hardening) enters as functions of quadrature spaces
in `state`, as velocities do today: they hold the last accepted state. `step` reads them, and
overwrites them only once it has converged, which commits the step; where it has not, the stepping
puts back what they held before, which reverts it. The material lists them in `Material.inputs`, so
that it evaluates again after either. Writers leave them to `Material.cell_averages`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI

from objstress.fem.materials.quadrature import Material
from objstress.fem.solve.record import StepRecord


class Shown(Protocol):
    """A problem as writers and plots see it.

    Attributes:
        u: displacement, a length, one of the functions of `state`.
        material: of it law and averages over cells are shown.
        history: a record for each accepted step.
    """

    comm: MPI.Comm
    mesh: dmesh.Mesh
    u: fem.Function
    material: Material
    history: Any

    def state(self) -> dict[str, fem.Function]:
        """The fields by name."""


class Solver(Protocol):
    """What a problem asks of that which solves its steps.

    Attributes:
        why: why the last step failed, in words.
        residuals, corrections: of the last step, see `StepRecord`.
    """

    why: str
    residuals: list[float]
    corrections: list[float]

    def settings(self) -> dict[str, Any]:
        """What of the solver the answer depends on."""

    def noise(self) -> float:
        """Round-off of the norm of the forces after a step, GPa length^2."""


class Steppable(Protocol):
    """A problem as load stepping, time stepping and checkpoints see it.

    Attributes:
        pace: what is stepped through, in words: "load factor", "time".
        record_type: of the records in `history`.
        history: a record for each accepted step.
    """

    comm: MPI.Comm
    pace: str
    record_type: type[Any]
    history: Any

    @property
    def why(self) -> str:
        """Why the last `step` failed, in words."""

    def state(self) -> dict[str, fem.Function]:
        """What a step changes, by name: all that has to be kept to go back to it or on from it.

        The functions may lie in several spaces, each with a block size of its own; spaces of
        quadrature points among them. No two nodes of one space are at one place.
        """

    def initial(self) -> dict[str, fem.Function]:
        """The part of `state` that a run starts from; the rest follows from it and the loads."""

    def apply_load(self, load: float) -> None:
        """Set all conditions to a load factor; nothing is evaluated."""

    def evaluate(self) -> bool:
        """Whether the material has an answer at the present state, on all ranks."""

    def settle(self, at: float) -> None:
        """Set load and material to the present state, reached at this load factor or time."""

    def step(self, target: float) -> bool:
        """Solve for the state at `target`; where this fails, `state` holds anything."""

    def record(self, at: float, rejected: int) -> StepRecord:
        """What happened in the last `step`."""

    def report(self, record: Any) -> None:
        """Say what a user should know of a step; an `InputError` refuses it."""

    def strains_outside(self) -> np.ndarray:
        """Strains of the present state outside those of the fit, Mandel's, (n, 6)."""

    def worst_cells(self) -> str:
        """Where the last `step` failed, in words."""

    def balance(self) -> dict[str, float]:
        """Numbers by which the present state is recognised: energies, forces, what is prescribed.

        They tell another law, density or load from the one that a kept state belongs to.
        """

    def noise(self) -> float:
        """Round-off of the forces after the last `step`."""

    def is_in_balance(self, kept: dict[str, float], record: Any, noise: float) -> bool:
        """Whether the present `balance` is the one kept with a record, up to round-off."""
