"""The discretised body in motion: inertia, kinetic energy, work and energy of contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import ConvergenceError, InputError
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains, GrainsLaw
from objstress.fem.materials.quadrature import Material
from objstress.fem.solve.body import Body, Condition
from objstress.laws.base import MaterialLaw

MICROSECOND = 1e-6


class MovingBody(Body):
    """What a body has besides its forces when it moves, whatever its masses.

    Args:
        mesh, law, conditions, options: see `Body`.
        density, length_unit: see `DynamicProblem`.

    Attributes:
        velocity, acceleration: at the end of the last step.

    Raises:
        InputError: see `Body` and `DynamicProblem`.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains | Graded,
        conditions: Sequence[Condition],
        density: float | Sequence[float] | None,
        length_unit: float,
        **options: Any,
    ):
        number = len(law.orientations) if isinstance(law, Grains) else 1
        self._density = scaled_density(density, number, length_unit)
        super().__init__(mesh, law, conditions, **options)
        loads = self.dead + self.following
        self._work_form = fem.form(sum(loads)) if loads else None
        energies = [energy for energy, _, _ in self.potentials]
        self._contact_form = fem.form(sum(energies)) if energies else None
        # What it takes to move each contact on, per unit of its factor.
        self._pushing = [
            (fem.form(ufl.diff(energy, variable)), factor)
            for energy, factor, variable in self.potentials
        ]

    def internal_forces(self, du: Any, v: Any) -> tuple[Any, Any]:
        """UFL forms of the forces of the body itself, and of their derivative; no inertia."""
        self.velocity = fem.Function(self.V, name="velocity")
        self.acceleration = fem.Function(self.V, name="acceleration")
        return super().internal_forces(du, v)

    def densities(self) -> np.ndarray:
        """rho of each local cell, GPa us^2 / length^2, (cells,)."""
        return of_cells(self._density, self.material)

    def check_rigid_motions(self) -> None:
        """Inertia holds what the displacements leave free."""

    def contact_energy(self) -> float:
        """Pi of all contacts, GPa length^3."""
        return self._integral(self._contact_form)

    def pushing_work(self, before: float, after: float) -> float:
        """What it takes to move the contacts from one load factor to another, GPa length^3.

        At the forces of the present state.
        """
        now, work = float(self.load.value), 0.0
        rates = [self._integral(form) for form, _ in self._pushing]
        for load, sign in ((after, 1.0), (before, -1.0)):
            self.apply_load(load)
            for rate, (_, factor) in zip(rates, self._pushing, strict=True):
                work += sign * rate * float(factor.value)
        self.apply_load(now)
        return work

    def add_loads(self, forces: PETSc.Vec) -> None:
        """Add the forces of tractions, pressures and body forces of the present state."""
        if self._work_form is not None:
            loads = fem_petsc.assemble_vector(self._work_form)
            loads.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
            forces.axpy(1.0, loads)

    def balance_accelerations(self, load: float, prescribe: Callable[[], None]) -> None:
        """The accelerations that balance the forces of a state at rest or in motion.

        Args:
            load: load factor of the state.
            prescribe: sets the prescribed displacements to their accelerations.

        Raises:
            ConvergenceError: a linear solver fails.
        """
        raise NotImplementedError

    def _integral(self, form: fem.Form | None) -> float:
        """Over all ranks; no form is 0."""
        if form is None:
            return 0.0
        return self.comm.allreduce(float(fem.assemble_scalar(form)), op=MPI.SUM)


class ConsistentBody(MovingBody):
    """Inertia with the forces: rho c (u - q) at the u of a time step, see `DynamicProblem.step`.

    Args:
        mesh, law, conditions, density, length_unit, options: see `MovingBody`.

    Attributes:
        c, q: of the time step; q is where the body would be without forces.
    """

    def internal_forces(self, du: Any, v: Any) -> tuple[Any, Any]:
        """UFL forms of inertia and of the forces of the body itself, and of their derivative."""
        forces, tangent = super().internal_forces(du, v)
        self.c = fem.Constant(self.mesh, PETSc.ScalarType(0.0))
        self.q = fem.Function(self.V)
        rho = self.material.cell_function(self.densities())
        dx = ufl.dx(metadata={"quadrature_degree": 2 * self.degree})
        self._mass_form = fem.form(rho * ufl.inner(du, v) * dx)
        self._kinetic_form = fem.form(0.5 * rho * ufl.inner(self.velocity, self.velocity) * dx)
        return (
            forces + rho * self.c * ufl.inner(self.u - self.q, v) * dx,
            tangent + rho * self.c * ufl.inner(du, v) * dx,
        )

    def kinetic_energy(self) -> float:
        """1/2 integral of rho v . v, GPa length^3."""
        return self._integral(self._kinetic_form)

    def forces_of_state(self) -> PETSc.Vec:
        """Internal minus external forces of the state at the end of a step, no inertia."""
        # The inertia in the residual is that of the step.
        self.c.value, before = 0.0, float(self.c.value)
        forces = self.assemble_residual()
        self.c.value = before
        return forces

    def work(self, change: np.ndarray, b: PETSc.Vec) -> float:
        """Of loads and prescribed motions, at the u where all forces balance, on a change of u.

        Args:
            change: of the local degrees of freedom.
            b: a vector to work in.
        """
        # What is left of the residual there is what holds the prescribed displacements.
        forces = self.assemble_residual(b)
        self.add_loads(forces)
        values = forces.getArray()
        return self.comm.allreduce(float(values @ change[: len(values)]), op=MPI.SUM)

    def balance_accelerations(self, load: float, prescribe: Callable[[], None]) -> None:
        b = self.forces_of_state()
        b.scale(-1.0)
        prescribe()
        mass = fem_petsc.assemble_matrix(self._mass_form, bcs=self.supports.bcs)
        mass.assemble()
        self.supports.bring_in(b, self._mass_form, None, 1.0)
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
        self.apply_load(load)


def scaled_density(density: Any, number: int, length_unit: float) -> np.ndarray:
    """Densities of a number of grains, GPa us^2 / length^2.

    Args:
        density: kg/m^3, one, or one for each grain.
        number: of grains.
        length_unit: metres in one unit of length.

    Raises:
        InputError: no density, another number of them, one that is not positive; a length unit
            that is not.
    """
    if density is None:
        raise InputError("no density: give it in kg/m^3")
    rho = np.atleast_1d(np.array(density, dtype=np.float64))
    if rho.shape not in ((1,), (number,)):
        raise InputError(f"densities of shape {rho.shape}: give one, or with grains one for each")
    if not (np.isfinite(rho).all() and (rho > 0).all()):
        raise InputError(f"density = {density} kg/m^3: it must be positive")
    if not length_unit > 0:
        raise InputError(f"length_unit = {length_unit}: give the metres in one unit, positive")
    # kg/m^3 length^2 / us^2 in GPa.
    return np.broadcast_to(rho, number) * ((length_unit / MICROSECOND) ** 2 * 1e-9)


def of_cells(densities: np.ndarray, material: Material) -> np.ndarray:
    """The density of each local cell, (cells,), from those of the grains, or of the one crystal."""
    law = material.law
    return densities[law.cell_grains if isinstance(law, GrainsLaw) else 0 * material.cells]
