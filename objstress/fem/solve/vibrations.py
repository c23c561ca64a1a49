"""Natural vibrations about a state of a body, and the admittance of its electrodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import ConvergenceError, InputError
from objstress.fem.materials.grains import GrainsLaw
from objstress.fem.solve.electric_body import ElectricBody
from objstress.fem.solve.moving_body import MICROSECOND, of_cells, scaled_density
from objstress.fem.solve.static import StaticProblem

TOLERANCE = 1e-10
"""Of eigenvalues, relative."""
RIGID = 1e-4
"""Frequencies below this part of the highest are those of rigid motions."""


@dataclass
class Vibrations:
    r"""Natural vibrations: frequencies, modes, and the charges that the modes bring.

    .. math:: K w_n = \omega_n^2 M w_n, \qquad w_n \cdot M w_m = \delta_{nm}, \qquad f_n =
        \omega_n / 2 \pi

    Attributes:
        frequencies: f_n, MHz, ascending, (n,).
        modes: of each its fields by name (`displacement`, `potential`), of modal mass 1 GPa
            length^3 us^2.
        charges: {short-circuited electrode: charge on it of each mode, C/m^2 length^2, (n,)}.
        capacitances: {short-circuited electrode: static charge over its potential, the others'
            potentials or charges at rest, nF/m length}. On a plane mesh charges and capacitances
            are per unit of depth.
        length_unit: metres in one unit of length.
    """

    frequencies: np.ndarray
    modes: list[dict[str, fem.Function]]
    charges: dict[str, np.ndarray]
    capacitances: dict[str, float]
    length_unit: float

    @property
    def elastic(self) -> np.ndarray:
        """Which modes are more than rigid motions, bool (n,)."""
        return self.frequencies > RIGID * self.frequencies.max(initial=0.0)

    def coupling(self, electrode: str) -> np.ndarray:
        r"""Effective electromechanical coupling factor of each mode.

        .. math:: k_n^2 = q_n^2 / (\omega_n^2 C_T)

        the part of the static capacitance that the mode brings. Where modes lie apart it is
        (f_a^2 - f_r^2) / f_a^2, with resonance f_r and antiresonance f_a.

        Args:
            electrode: that is driven.

        Returns:
            k, dimensionless, (n,).

        Raises:
            InputError: no short electrode of that name.
        """
        charge, capacitance = self._of(electrode)
        elastic = self.elastic
        factors = np.zeros(len(elastic))
        omega = 2 * np.pi * self.frequencies[elastic]
        factors[elastic] = np.abs(charge[elastic]) / (omega * np.sqrt(capacitance))
        return factors

    def admittance(self, electrode: str, frequencies: Any, loss: float = 0.0) -> np.ndarray:
        r"""Admittance of an electrode, all others at rest.

        .. math:: Y(\omega) = i \omega \left[ C_T + \sum_n q_n^2 \left(
            \frac{1}{\omega_n^2 (1 + i \eta) - \omega^2} - \frac{1}{\omega_n^2} \right) \right]

        The static capacitance C_T makes up for the modes that were not computed.

        Args:
            electrode: that is driven.
            frequencies: MHz, (m,).
            loss: eta, the loss factor of the material, one over its quality factor.

        Returns:
            Y in siemens, complex, (m,).

        Raises:
            InputError: no short electrode of that name.
        """
        charge, capacitance = self._of(electrode)
        omega = 2 * np.pi * np.asarray(frequencies, dtype=np.float64)[:, None]
        charge = charge[self.elastic]
        own = (2 * np.pi * self.frequencies[self.elastic]) ** 2
        terms = charge**2 * (1 / (own * (1 + 1j * loss) - omega**2) - 1 / own)
        farad = 1e-9 * self.length_unit
        return 1j * omega[:, 0] / MICROSECOND * farad * (capacitance + terms.sum(axis=1))

    def _of(self, electrode: str) -> tuple[np.ndarray, float]:
        if electrode not in self.charges:
            known = ", ".join(map(repr, self.charges)) or "none"
            raise InputError(f"no electrode {electrode!r} that is held; there are {known}")
        return self.charges[electrode], self.capacitances[electrode]


def natural_vibrations(
    problem: StaticProblem,
    density: float | Sequence[float],
    number: int = 6,
    *,
    length_unit: float = 1e-3,
    near: float = 0.0,
    open_electrodes: Sequence[str] = (),
    released: Sequence[str] = (),
) -> Vibrations:
    r"""Small vibrations about the present state of a body, whatever load it is under.

    .. math:: K w = \omega^2 M w, \qquad K = \partial R / \partial w

    K is the tangent of that state, with contacts and stresses as they are; what is prescribed
    stays. Electrodes of given potential are short-circuited: they stay at it. Those named in
    `open_electrodes` keep their charge instead and are at one potential, as at antiresonance.
    SLEPc's Krylov-Schur method, shift and invert with MUMPS.

    Args:
        problem: in the state that the body vibrates about.
        density: kg/m^3, one, or with grains one for each.
        number: of modes.
        length_unit: metres in one unit of the mesh's length.
        near: the modes nearest this frequency, MHz; the lowest by default.
        open_electrodes: names of electrodes of given potential.
        released: names of displacements that do not take part, such as those that hold a free
            body's rigid motions; these are then among the modes, at zero frequency.

    Raises:
        InputError: a problem that is not static, unknown names, no short-circuited electrode left,
            a follower pressure, less than one mode, more of them than there are.
        ConvergenceError: the modes do not converge; the state is unstable.
    """
    if not isinstance(problem, StaticProblem):
        raise InputError(
            f"a {type(problem).__name__} is in motion: give a StaticProblem in the state that is "
            "vibrated about"
        )
    body = problem.body
    if not body.symmetric:
        raise InputError("a follower pressure has no natural vibrations: its work depends on path")
    if number < 1 or not near >= 0:
        raise InputError(
            f"number = {number}, near = {near}: give a mode or more, and a frequency of no less "
            "than zero"
        )
    law = body.material.law
    grains = len(law.grains.orientations) if isinstance(law, GrainsLaw) else 1
    rho = of_cells(scaled_density(density, grains, length_unit), body.material)
    body.material.update(tangent=True)
    tangent = body.assemble_jacobian(bcs=False)
    mass = fem_petsc.assemble_matrix(_mass_form(body, body.material.cell_function(rho)))
    mass.assemble()
    reduction = _reduction(body, list(open_electrodes), list(released))
    if number > (massive := _count(body, reduction)):
        raise InputError(f"{number} modes of {massive} unknown displacements: ask for fewer")
    stiff, heavy = (float(a.getDiagonal().max()[1]) for a in (tangent, mass))
    size = float(np.ptp(body.places.box, axis=0).max())
    small = 1e-4 * stiff / heavy * (body.edge / size) ** 2
    # Below all modes, so that nothing is singular where the body is free.
    shift = (2 * np.pi * near) ** 2 if near else -small
    reduced = tangent.PtAP(reduction), mass.PtAP(reduction)
    values, vectors = _eigenpairs(*reduced, shift, number, body.comm)
    if unstable := int((values < -1e-3 * small).sum()):
        raise ConvergenceError(
            f"the state is unstable: {unstable} of {number} modes grow; it has no vibrations"
        )
    full = fem_petsc.create_vector(body.W)
    modes, charges = [], []
    state = {name: f.x.array.copy() for name, f in body.fields().items()}
    try:
        for vector in vectors:
            reduction.mult(vector, full)
            body.take(full)
            kept = {}
            for name, function in body.fields().items():
                kept[name] = fem.Function(function.function_space, name=name)
                kept[name].x.array[:] = function.x.array
            modes.append(kept)
            if isinstance(body, ElectricBody):
                charges.append(body.supports.charges(tangent * full))
    finally:
        for name, function in body.fields().items():
            function.x.array[:] = state[name]
        body.lead()
    capacitances = {}
    if isinstance(body, ElectricBody):
        # Rigid motions bring no charge: a little mass keeps them from being singular.
        softened = reduced[0].copy()
        if released:
            softened.axpy(1e-4 * small, reduced[1])
        ksp = PETSc.KSP().create(body.comm)
        ksp.setOperators(softened)
        _by_mumps(ksp)
        for name in body.supports.held_electrodes:
            if name not in open_electrodes:
                capacitances[name] = _capacitance(body, tangent, reduction, ksp, name)
    return Vibrations(
        np.sqrt(np.clip(values, 0.0, None)) / (2 * np.pi),
        modes,
        {name: np.array([c[name] for c in charges]) for name in capacitances},
        capacitances,
        length_unit,
    )


def _count(body: Any, reduction: PETSc.Mat) -> int:
    """Free displacements; potentials have no mass."""
    width, first = body.supports.width, reduction.getOwnershipRange()[0]
    starts = reduction.getValuesCSR()[0]
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    mine = int(((rows + first) % width < body.dim).sum())
    return body.comm.allreduce(mine, op=MPI.SUM)


def _mass_form(body: Any, rho: fem.Function) -> fem.Form:
    v, du = ufl.TestFunction(body.W), ufl.TrialFunction(body.W)
    product = sum(du[k] * v[k] for k in range(body.dim))
    dx = ufl.dx(domain=body.mesh, metadata={"quadrature_degree": 2 * body.degree})
    return fem.form(rho * product * dx)


def _reduction(body: Any, opened: list[str], released: list[str]) -> PETSc.Mat:
    """T (unknowns, free ones): what is held has no column, an open electrode one for all of it."""
    supports, comm = body.supports, body.comm
    owned = body.W.dofmap.index_map.size_local * supports.width
    if unknown := [name for name in released if name not in supports.names]:
        raise InputError(
            f"no displacement is named {unknown[0]!r}; there are {', '.join(supports.names)}"
        )
    known = supports.held_electrodes if isinstance(body, ElectricBody) else []
    if unknown := [name for name in opened if name not in known]:
        raise InputError(
            f"no electrode of given potential is named {unknown[0]!r}; there are "
            f"{', '.join(known) or 'none'}"
        )
    if opened and len(opened) == len(known):
        raise InputError("all electrodes are open: leave one at its potential, to count from")
    free = np.ones(owned, dtype=bool)
    for name, dofs in supports.holds.items():
        if name not in released:
            free[dofs[dofs < owned]] = False
    for name in known:
        dofs = supports.electrodes[name] * supports.width + body.dim
        free[dofs[dofs < owned]] = False
    groups = []
    for name in opened:
        nodes = supports.electrodes[name]
        dofs = nodes * supports.width + body.dim
        groups.append(dofs[dofs < owned])
    mine = int(free.sum()) + (len(opened) if comm.rank == 0 else 0)
    begins = np.concatenate([[0], np.cumsum(comm.allgather(mine))])
    first = int(begins[comm.rank])
    columns = np.full(owned, -1, dtype=np.int32)
    columns[free] = first + np.arange(free.sum())
    shared = int(begins[1]) - len(opened)  # the last of rank 0's
    for k, dofs in enumerate(groups):
        columns[dofs] = shared + k
    reduction = PETSc.Mat().createAIJ(((owned, None), (mine, None)), nnz=1, comm=comm)
    row = reduction.getOwnershipRange()[0]
    for k in np.flatnonzero(columns >= 0).tolist():
        reduction.setValue(row + k, int(columns[k]), 1.0)
    reduction.assemble()
    return reduction


def _eigenpairs(
    k: PETSc.Mat, m: PETSc.Mat, shift: float, number: int, comm: Any
) -> tuple[np.ndarray, list[PETSc.Vec]]:
    from slepc4py import SLEPc

    solver = SLEPc.EPS().create(comm)
    solver.setOperators(k, m)
    # The potential has no mass: M is only positive semidefinite.
    solver.setProblemType(SLEPc.EPS.ProblemType.GHEP)
    solver.setDimensions(number)
    solver.setTolerances(TOLERANCE, 500)
    solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
    solver.setTarget(shift)
    transform = solver.getST()
    transform.setType(SLEPc.ST.Type.SINVERT)
    _by_mumps(transform.getKSP())
    solver.solve()
    found = solver.getConverged()
    if found < number:
        raise ConvergenceError(
            f"{found} of {number} modes converged: ask for fewer, or near others"
        )
    values = np.array([solver.getEigenvalue(i).real for i in range(number)])
    order = np.argsort(values)
    vectors = []
    for i in order:
        vector = k.createVecRight()
        solver.getEigenvector(int(i), vector)
        vector.scale(1 / np.sqrt(vector.dot(m * vector)))
        vectors.append(vector)
    return values[order], vectors


def _by_mumps(ksp: PETSc.KSP) -> None:
    ksp.setType("preonly")
    ksp.getPC().setType("lu")
    ksp.getPC().setFactorSolverType("mumps")


def _capacitance(
    body: ElectricBody, tangent: PETSc.Mat, reduction: PETSc.Mat, ksp: PETSc.KSP, name: str
) -> float:
    """Charge on an electrode over its potential, in equilibrium, all others at rest."""
    supports = body.supports
    owned = body.W.dofmap.index_map.size_local * supports.width
    dofs = supports.electrodes[name] * supports.width + body.dim
    driven = tangent.createVecRight()
    driven.set(0.0)
    driven.getArray()[dofs[dofs < owned]] = 1 / body.scale
    pull = reduction.createVecRight()
    reduction.multTranspose(tangent * driven, pull)
    pull.scale(-1.0)
    answer = pull.duplicate()
    ksp.solve(pull, answer)
    if ksp.getConvergedReason() <= 0:
        raise ConvergenceError(f"the capacitance of {name!r} was not found: a singular tangent")
    whole = tangent.createVecRight()
    reduction.mult(answer, whole)
    whole.axpy(1.0, driven)
    return supports.charges(tangent * whole)[name]
