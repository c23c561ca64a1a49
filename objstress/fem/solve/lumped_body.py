"""The discretised body with lumped masses: accelerations and frequencies without factorisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc
from scipy.linalg import eigh_tridiagonal

from objstress.errors import InputError
from objstress.fem.solve.body import JIT
from objstress.fem.solve.moving_body import MovingBody

CLOSE = 0.02
"""How far the square of the highest frequency may be off, relative."""
LEAST, MOST = 20, 300
"""Iterations towards it; the fewest see a mode of a single small cell among millions."""


class LumpedBody(MovingBody):
    r"""A body whose mass is in its nodes.

    .. math:: m_a = \int \rho N_a \, dX, \qquad m_a \dot v_a = f_a

    These row sums of the mass matrix are positive in elements of degree 1 and in quadrilaterals and
    hexahedra of any degree, where they are the Gauss-Lobatto rule; in triangles and tetrahedra of
    degree 2 the corners would have none or less.

    Args:
        mesh, law, conditions, density, length_unit, options: see `MovingBody`.

    Attributes:
        masses: of the owned degrees of freedom, GPa us^2 length, (n,).

    Raises:
        InputError: see `MovingBody`; a mass that is not positive.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        rho, v = self.material.cell_function(self.densities()), self._v
        dx = ufl.dx(metadata={"quadrature_degree": 3 * self.degree})
        self.masses = self._row_sums(rho * sum(v[k] for k in range(self.dim)) * dx)
        simplex = self.mesh.topology.cell_type.name in ("triangle", "tetrahedron")
        least = self.comm.allreduce(float(self.masses.min(initial=np.inf)), op=MPI.MIN)
        if (simplex and self.degree > 1) or not least > 0:
            raise InputError(
                f"degree {self.degree} on these cells has lumped masses that are not positive: "
                "take degree 1, or hexahedra (quadrilaterals) that are not too distorted"
            )
        # What contacts add to omega^2 where they touch; that they will is not foreseen.
        self._stiffened = np.zeros(len(self.masses))
        if self.hardest:
            self._stiffened = self._row_sums(sum(self.hardest)) / self.masses
        self._stiffness_form = fem.form(self._internal[1], jit_options=JIT)
        self._stiffness = fem_petsc.create_matrix(self._stiffness_form)

    def _row_sums(self, form: Any) -> np.ndarray:
        """A form in the test function at the owned degrees of freedom."""
        vector = fem.assemble_vector(fem.form(form))
        vector.scatter_reverse(la.InsertMode.add)
        return vector.array[: self.V.dofmap.index_map.size_local * self.dim].copy()

    def highest_frequency(self) -> float:
        r"""omega of the fastest vibration about the present state, 1 / us.

        .. math:: \omega^2 = \lambda_{max}(M^{-1/2} (K + C) M^{-1/2})

        on what is free to move, K at the tangents of the last update of the material, C row sums of
        the contacts as if all of them touched. By Lanczos' iterations, up to `CLOSE`: the norm of
        the residual of the largest Ritz value is added to it.

        Parlett, The Symmetric Eigenvalue Problem (1998), chapter 13.
        """
        self._stiffness.zeroEntries()
        fem_petsc.assemble_matrix(self._stiffness, self._stiffness_form)
        self._stiffness.assemble()
        if self.material.condenses:
            self.material.condense(self._stiffness)
        scale = self.masses**-0.5
        scale[self.supports.held] = 0.0  # what is held does not vibrate
        x, y = self._stiffness.createVecs()

        def product(q: np.ndarray) -> np.ndarray:
            x.setArray(scale * q)
            self._stiffness.mult(x, y)
            return scale * y.getArray() + self._stiffened * q

        def dot(p: np.ndarray, q: np.ndarray) -> float:
            return self.comm.allreduce(float(p @ q), op=MPI.SUM)

        # A function of the place: it begins alike on any number of ranks.
        place = self.V.tabulate_dof_coordinates()[: len(scale) // self.dim] / self.edge
        phase = np.add.outer(place @ [97.0, 131.0, 173.0], np.arange(self.dim)).ravel()
        r, before = np.where(scale > 0, np.sin(phase), 0.0), np.zeros(len(scale))
        alphas: list[float] = []
        betas = [dot(r, r) ** 0.5]
        if betas[0] == 0.0:
            return 0.0  # all is held
        while True:
            q = r / betas[-1]
            r = product(q) - (betas[-1] * before if alphas else 0.0)
            alphas.append(dot(q, r))
            r, before = r - alphas[-1] * q, q
            betas.append(dot(r, r) ** 0.5)
            number = len(alphas)
            # A residual of round-off: no other direction is left.
            last = betas[-1] <= 1e-12 * max(map(abs, alphas)) or number == MOST
            if last or (number >= LEAST and number % 5 == 0):
                top = {"select": "i", "select_range": (number - 1, number - 1)}
                (value,), vector = eigh_tridiagonal(alphas, betas[1:-1], **top)
                residual = betas[-1] * abs(float(vector[-1, 0]))
                if last or residual <= CLOSE * value:
                    return float(np.sqrt(max(0.0, value + residual)))

    def kinetic_energy(self) -> float:
        """1/2 v . M v, GPa length^3."""
        return 0.5 * self.comm.allreduce(self.product(self.velocity), op=MPI.SUM)

    def product(self, w: fem.Function) -> float:
        """w . M w of the owned degrees of freedom."""
        values = w.x.array[: len(self.masses)]
        return float(values @ (self.masses * values))

    def forces_of_state(self) -> PETSc.Vec:
        return super().assemble_residual()

    def assemble_residual(self, b: PETSc.Vec | None = None) -> PETSc.Vec:
        """Inertia and internal minus external forces: what holds the prescribed displacements."""
        b = super().assemble_residual(b)
        b.getArray()[:] += self.masses * self.acceleration.x.array[: len(self.masses)]
        return b

    def accelerate(self, prescribe: Callable[[], None], b: PETSc.Vec) -> None:
        """Set the accelerations to those that balance the forces of the present state.

        Args:
            prescribe: sets the prescribed displacements to their accelerations.
            b: for what holds these, as `assemble_residual` has it.
        """
        super().assemble_residual(b)
        forces, a = b.getArray(), self.acceleration.x
        a.array[: len(self.masses)] = -forces / self.masses
        prescribe()
        for bc in self.supports.bcs:
            bc.set(a.array)
        a.scatter_forward()
        forces += self.masses * a.array[: len(self.masses)]

    def balance_accelerations(self, load: float, prescribe: Callable[[], None]) -> None:
        self.accelerate(prescribe, fem_petsc.create_vector(self.V))
        self.apply_load(load)
