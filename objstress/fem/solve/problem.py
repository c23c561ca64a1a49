"""What static and dynamic problems share: a body, what solves a step, and the accepted steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from objstress.fem.results.vtx import ResultFile
from objstress.fem.solve.body import Body
from objstress.fem.solve.checkpoint import SAME
from objstress.fem.solve.protocol import Solver
from objstress.fem.solve.record import StepRecord, observed_order
from objstress.laws.outside import report_outside


class Problem[R: StepRecord]:
    """A body that is brought on step by step: `Steppable` and `Shown`.

    Args:
        body: discretised.
        solver: of a step.
    """

    pace: str
    record_type: type[Any]

    def __init__(self, body: Body, solver: Solver):
        self.body, self.solver = body, solver
        self.mesh, self.comm, self.dim = body.mesh, body.comm, body.dim
        self.V, self.u = body.V, body.u
        self.material, self.law = body.material, body.material.law
        self.history: list[R] = []

    @property
    def why(self) -> str:
        """Why the last step failed, in words."""
        return self.solver.why

    def settings(self) -> dict[str, Any]:
        """What the answer depends on and a state does not show: a kept run must have the same."""
        return {
            "assembly": type(self.material).__name__,
            "quadrature degree": self.material.degree,
            **self.solver.settings(),
        }

    def state(self) -> dict[str, fem.Function]:
        """What a step changes, {name: function}: all that is kept to go back or on from a step."""
        return self.body.fields()

    def initial(self) -> dict[str, fem.Function]:
        """The part of the state that a run starts from."""
        return self.body.fields()

    def apply_load(self, load: float) -> None:
        """Set forces, contacts and prescribed displacements to a load factor."""
        self.body.apply_load(load)

    def evaluate(self) -> bool:
        """Whether the law has an answer at the present u, on all ranks."""
        return self.body.evaluate(tangent=True)

    def settle(self, at: float) -> None:
        """Set loads and material to the present state, reached at this load factor."""
        self.apply_load(at)
        self.material.update(tangent=True)

    def worst_cells(self) -> str:
        """The cells that are compressed most, in words."""
        return self.material.worst_cells()

    def balance(self) -> dict[str, float]:
        """What law, loads, density and prescribed displacements make of the present state."""
        body, supports = self.body, self.body.supports
        forces = body.forces_of_state()
        body.lead()
        u = body.w.x.array
        prescribed = u.copy()
        for bc in supports.bcs:
            bc.set(prescribed)
        off, size = (float(np.abs(a).max(initial=0.0)) for a in (prescribed - u, u))
        return {
            "energy": body.stored_energy(),
            "kinetic": body.kinetic_energy(),
            "forces": float(forces.norm()),
            "free forces": supports.free_norm(forces),
            "off": self.comm.allreduce(off, op=MPI.MAX),
            "size": self.comm.allreduce(size, op=MPI.MAX),
        }

    def noise(self) -> float:
        """Round-off of the norm of the forces after a step, GPa length^2."""
        return self.solver.noise()

    def is_in_balance(self, kept: dict[str, float], record: Any, noise: float) -> bool:
        """Whether `balance` is now what was kept with a record.

        Args:
            kept: `balance` of then.
            record: of that step.
            noise: of then. Without strains nothing else is left of forces and energy.
        """
        now = self.balance()
        energy = max(abs(record.energy), kept["kinetic"])
        force = max([kept["forces"], *record.residuals])
        edge = self.body.edge * self.V.dofmap.index_map.size_global**0.5
        allowed = {
            "energy": SAME * energy + 100 * noise * edge,
            "kinetic": SAME * energy,
            "forces": SAME * force + 100 * noise,
            "free forces": SAME * force + 100 * noise,
            "off": SAME * kept["size"],
        }
        # NaN is never in balance.
        return all(abs(now[name] - kept[name]) <= most for name, most in allowed.items())

    def step_record(self, load: float, rejected: int, reactions: Any) -> StepRecord:
        """What happened in the last step, and the present state in numbers."""
        material, solver = self.material, self.solver
        f = material.F[: material.owned]
        outside, worst = material.outside_points()
        fields_outside, largest_field = material.fields_outside()
        return StepRecord(
            load=load,
            residuals=list(solver.residuals),
            corrections=list(solver.corrections),
            order=observed_order(solver.corrections),
            rejected=rejected,
            reactions=reactions,
            energy=self.body.stored_energy(),
            min_J=self.comm.allreduce(float(np.linalg.det(f).min(initial=np.inf)), op=MPI.MIN),
            outside=outside,
            points=self.comm.allreduce(material.owned, op=MPI.SUM),
            worst_outside=worst,
            displacements=self.body.displacements(),
            charges=self.body.electrode_charges(),
            potentials=self.body.electrode_potentials(),
            fields_outside=fields_outside,
            largest_field=largest_field,
        )

    def strains_outside(self) -> np.ndarray:
        """See `objstress.fem.materials.quadrature.Material.strains_outside`."""
        return self.material.strains_outside()

    def report(self, record: StepRecord) -> None:
        """Warn of points outside the strains of the fit after a step, or refuse it.

        Args:
            record: of the step.

        Raises:
            InputError: there are such points, and the law's `outside_action` is "error".
        """
        worst = f"{record.worst_outside}, at {self.pace} {record.at:.4g}"
        quiet = self.comm.rank > 0
        report_outside(self.law, record.outside, record.points, worst, quiet, stacklevel=4)
        worst = f"|E0| = {record.largest_field:.3g} V/nm, at {self.pace} {record.at:.4g}"
        count = record.fields_outside
        report_outside(self.law, count, record.points, worst, quiet, stacklevel=4, what="fields")

    def write(self, path: str | Path) -> None:
        """Write the present state as VTX for ParaView, see `ResultFile`.

        Args:
            path: a folder, `NAME.bp`.
        """
        file = ResultFile(self, path)
        file.write(self.history[-1].at if self.history else 0.0)
        file.close()
