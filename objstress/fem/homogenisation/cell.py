"""Finite-strain homogenisation: the mean response of a periodic cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc
from scipy.linalg import polar
from scipy.sparse import csr_array

from objstress.errors import ConvergenceError, InputError
from objstress.fem.conditions.displacements import checked_mean
from objstress.fem.form_cache import clear_stale_locks
from objstress.fem.homogenisation.space import periodic_space
from objstress.fem.materials.grains import Grains
from objstress.fem.materials.quadrature import QuadratureMaterial, quadrature_degree_for
from objstress.laws.base import MaterialLaw
from objstress.laws.outside import report_outside
from objstress.parallel import on_every_rank
from objstress.symmetry.voigt import tensor_to_voigt

SMALLEST_STEP = 1 / 256
"""Of the way from the undeformed cell to the mean stretch."""

ITERATIONS = 12
"""Newton iterations of a step, after which it is halved."""

WORKSPACE_TOO_SMALL = (-8, -9, -14, -15, -17, -20)
"""MUMPS' INFOG(1) where its estimate of a workspace did not do. How much is needed depends on how
the work falls to the ranks, which differs from run to run."""


@dataclass(frozen=True)
class CellResponse:
    """Response of a cell to a mean deformation gradient: means over the whole cell, with voids.

    Attributes:
        P: mean first Piola-Kirchhoff stress dW/dF, GPa, (3, 3).
        energy: mean energy density W, GPa.
        tangent: A = dP/dF with the fluctuation condensed out, GPa, (3, 3, 3, 3), index order
            iJkL; None unless asked for.
        unstable_modes: periodic fluctuations of negative stiffness at the solution (struts that
            have buckled, or are about to leave this branch); None without the tangent.
        min_J: smallest det F at a quadrature point.
        steps: in which the mean stretch was raised; 1 unless Newton's method failed.
        residuals: Euclidean norms of the reduced residual, one for each Newton iterate of the
            last step, GPa length^2.
    """

    P: np.ndarray
    energy: float
    tangent: np.ndarray | None
    unstable_modes: int | None
    min_J: float
    steps: int
    residuals: tuple[float, ...]


@dataclass(frozen=True)
class _Linear:
    """The cell's linear response at a state: what a change of the mean F does."""

    tangent: np.ndarray  # condensed A, (3, 3, 3, 3)
    unstable_modes: int
    driven: np.ndarray  # T^T K D, (len(q), 9)
    relaxed: np.ndarray  # -dq/df, (len(q), 9)
    largest: float  # entry of the diagonal of K
    noise: float  # round-off of the norm of the reduced forces


class PeriodicCell:
    r"""Finite-strain homogenisation of a periodic cell: u = (F - I) X + w with w periodic.

    .. math::

        W(F) &= \min_w \frac1V \int W(I + \nabla u) \, dX, \qquad
        P = \frac{\partial W}{\partial F} = \frac1V \int P(x) \, dX \\
        A &= \frac1V [D^T K D - D^T K T (T^T K T)^{-1} T^T K D]

    K is the assembled tangent, D the nodal displacements of nine unit F, and u = D f + T q: T
    gives all nodes that differ by edges of the cell one value, one node is held. V is the volume
    of the whole cell. Nodes of a cell with voids have partners only where solid meets solid;
    elsewhere the surface is free. All ranks call each method, and all get the whole response.

    Miehe, Comput. Methods Appl. Mech. Engrg. 192 (2003) 559.

    Args:
        mesh: the solid part of a box-shaped cell, the same nodes on opposite faces.
        law: of the solid, in the cell's frame; or `Grains`, a law and an orientation for each.
        size: the box's three edge lengths, in the mesh's unit of length.
        degree: of the displacement. Linear hexahedra make a truss of voxels too stiff.

    Attributes:
        u: displacement of the last `solve`, before the rotation by R.
        material: P and A at the quadrature points, see `QuadratureMaterial`.

    Raises:
        InputError: a mesh of another dimension, with inverted cells, larger than `size`, with
            faces that do not match, in separate pieces, or free to move without energy.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains,
        size: Sequence[float],
        degree: int = 2,
    ):
        if mesh.topology.dim != 3 or mesh.geometry.dim != 3:
            raise InputError("the mesh is not three-dimensional")
        self.size = np.asarray(size, dtype=np.float64)
        if self.size.shape != (3,) or not (self.size > 0).all():
            raise InputError(f"size = {size}: give the cell's three edge lengths, all positive")
        self.mesh = mesh
        clear_stale_locks()  # of a compilation that was interrupted in this very process
        space = fem.functionspace(mesh, ("Lagrange", degree, (3,)))
        self.u = fem.Function(space, name="displacement")
        self.material = QuadratureMaterial(self.u, law, quadrature_degree_for(mesh, degree))
        self.material.watch = None  # the solution is reported, not Newton's iterates
        self.law = self.material.law
        self._volume = float(np.prod(self.size))
        solid = self._sum(float(self.material.volumes[: self.material.owned].sum()))
        self._edge = (solid / mesh.topology.index_map(3).size_global) ** (1 / 3)

        periodic, follows = periodic_space(space, self.size)
        self._w = la.vector(periodic.dofmap.index_map, 3)
        self._owned = 3 * periodic.dofmap.index_map.size_local
        self._reduction = _reduction(follows, len(self._w.array))
        # Row (node, i), column (k, L): displacement delta_ik X_L.
        x = space.tabulate_dof_coordinates()
        self._affine = np.einsum("ik,nl->nikl", np.eye(3), x).reshape(-1, 9)
        self._direction = fem.Function(space)
        v = ufl.TestFunction(space)
        self._residual_form = fem.form(self.material.residual(v))
        self._driving_form = fem.form(self.material.jacobian(self._direction, v))
        v, du = ufl.TestFunction(periodic), ufl.TrialFunction(periodic)
        self._jacobian_form = fem.form(self.material.jacobian(du, v))
        # What holds the first node leaves the others' periodic motions free but for rigid ones.
        first = periodic.dofmap.index_map.global_to_local(np.zeros(1, dtype=np.int64))
        self._held = fem.dirichletbc(np.zeros(3), first[first >= 0].astype(np.int32), periodic)
        self._matrix = fem_petsc.create_matrix(self._jacobian_form)
        self._spare = 100
        self._ksp = _direct_solver(self._matrix, self._spare)

        rest = self._linearise(np.zeros(9), np.zeros(self._owned))
        if rest is None or self._is_mechanism(rest):
            raise InputError(
                "the cell's solid can move without energy: it must be connected across the "
                "cell's faces, and not by single nodes or edges"
            )
        self._rest = rest

    def solve(self, F_mean: Any, tangent: bool = False) -> CellResponse:
        """The response at a mean deformation gradient, reached from the undeformed cell.

        Of F = R U the cell feels U alone; it is raised from I to U in one step, in halves of it
        where Newton's method fails, and the response is rotated by R.

        Args:
            F_mean: (3, 3), det > 0.
            tangent: whether to condense A as well (one more factorisation).

        Returns:
            P, W and A, GPa, and what else `CellResponse` has.

        Raises:
            InputError: F_mean of another shape, not finite or with det <= 0; points outside the
                strains of the fit, where the law's `outside_action` is "error".
            ConvergenceError: even a 256th of the way does not converge, the worst cells are named;
                or the tangent at F is singular.
        """
        rotation, stretch = polar(checked_mean(F_mean))
        target = (stretch - np.eye(3)).ravel()
        load, size, steps = 0.0, 1.0, 0
        q = np.zeros(self._owned)
        state: _Linear | None = self._rest
        while load < 1:
            end = min(1.0, load + size)
            reached = self._step(state, load * target, end * target, q) if state else None
            if reached is not None:
                q, residuals = reached
                load, steps = end, steps + 1
                if load < 1:
                    state = self._linearise(load * target, q)
                continue
            size = 0.5 * (end - load)
            if size < SMALLEST_STEP:
                raise ConvergenceError(
                    f"the cell does not converge beyond {load:.3f} of the mean stretch; worst "
                    f"cells: {self.material.worst_cells()}"
                )
        count, worst = self.material.outside_points()
        points = self._sum(self.material.owned)
        report_outside(self.law, count, points, worst, quiet=self.mesh.comm.rank > 0)
        mean = self._sum(self._affine.T @ self._forces()) / self._volume
        owned = slice(self.material.owned)
        energy = self._sum(float(self.material.energy[owned] @ self.material.volumes[owned]))
        least = float(np.linalg.det(self.material.F[owned]).min(initial=np.inf))
        a, unstable = None, None
        if tangent:
            state = self._linearise(target, q)
            if state is None:
                raise ConvergenceError("the cell's tangent is singular: it buckles at this F")
            a = np.einsum("im,kn,mjnl->ijkl", rotation, rotation, state.tangent)
            unstable = state.unstable_modes
        return CellResponse(
            P=rotation @ mean.reshape(3, 3),
            energy=energy / self._volume,
            tangent=a,
            unstable_modes=unstable,
            min_J=self.mesh.comm.allreduce(least, op=MPI.MIN),
            steps=steps,
            residuals=tuple(residuals),
        )

    def stiffness(self) -> np.ndarray:
        """Elastic constants C_ab of the cell at F = I, GPa, 6 x 6 Voigt (xx yy zz yz xz xy)."""
        return tensor_to_voigt(self._rest.tangent)

    # -- equilibrium -------------------------------------------------------------------------

    def _sum(self, values: Any) -> Any:
        return self.mesh.comm.allreduce(values, op=MPI.SUM)

    def _norm(self, values: np.ndarray) -> float:
        return float(np.sqrt(self._sum(float(values @ values))))

    def _move(self, f: np.ndarray, q: np.ndarray, tangent: bool) -> None:
        self._w.array[: self._owned] = q
        self._w.scatter_forward()
        self.u.x.array[:] = self._affine @ f + self._reduction @ self._w.array
        on_every_rank(self.mesh.comm, lambda: self.material.update(tangent=tangent))

    def _reduced(self, forces: np.ndarray) -> np.ndarray:
        """T^T forces."""
        self._w.array[:] = self._reduction.T @ forces
        self._w.scatter_reverse(la.InsertMode.add)
        return self._w.array[: self._owned].copy()

    def _forces(self) -> np.ndarray:
        """On the local nodes by the cells of this rank, as are all forces before they are added up
        over the ranks."""
        return fem.assemble_vector(self._residual_form).array

    def _factorise(self) -> bool:
        """Factorise T^T K T; False if it is singular."""
        self._matrix.zeroEntries()
        fem_petsc.assemble_matrix(self._matrix, self._jacobian_form, bcs=[self._held])
        self._matrix.assemble()
        while True:
            self._ksp.setOperators(self._matrix)
            self._ksp.getPC().setUp()
            info = self._ksp.getPC().getFactorMatrix().getMumpsInfog(1)
            if info not in WORKSPACE_TOO_SMALL:
                return info >= 0
            # PETSc tries no factor again that once ran out of memory.
            self._spare *= 2
            self._ksp = _direct_solver(self._matrix, self._spare)

    def _is_mechanism(self, rest: _Linear) -> bool:
        """Whether the softest fluctuation costs no energy: three inverse iterations."""
        x = np.random.default_rng(0).normal(size=self._owned)
        for _ in range(3):
            x = self._apply_inverse(x / self._norm(x))
        # A mechanism leaves round-off; thin struts of many elements are far above it.
        return not 1 / self._norm(x) > 1e-13 * rest.largest

    def _apply_inverse(self, b: np.ndarray) -> np.ndarray:
        """Of T^T K T, to forces of which the held node's are left out."""
        free = b.copy()
        self._held.set(free)
        right = self._matrix.createVecLeft()
        right.setArray(free)
        x = right.duplicate()
        self._ksp.solve(right, x)
        return x.getArray().copy()

    def _linearise(self, f: np.ndarray, q: np.ndarray) -> _Linear | None:
        """The linear response at a state; None if it is singular."""
        self._move(f, q, tangent=True)
        if not self._factorise():
            return None
        columns = []
        for column in self._affine.T:
            self._direction.x.array[:] = column
            columns.append(fem.assemble_vector(self._driving_form).array)
        driven = np.stack([self._reduced(forces) for forces in columns], axis=1)
        relaxed = np.stack([self._apply_inverse(column) for column in driven.T], axis=1)
        a = self._sum(self._affine.T @ np.stack(columns, axis=1) - driven.T @ relaxed)
        diagonal = self._matrix.getDiagonal().getArray().copy()
        self._held.set(diagonal)
        return _Linear(
            tangent=a.reshape(3, 3, 3, 3) / self._volume,
            unstable_modes=self._ksp.getPC().getFactorMatrix().getMumpsInfog(12),
            driven=driven,
            relaxed=relaxed,
            largest=self.mesh.comm.allreduce(float(diagonal.max(initial=0.0)), op=MPI.MAX),
            # F carries 1e-16, a node's force its stiffness times an element's edge.
            noise=1e-15 * self._norm(diagonal) * self._edge,
        )

    def _step(
        self, state: _Linear, start: np.ndarray, end: np.ndarray, q: np.ndarray
    ) -> tuple[np.ndarray, list[float]] | None:
        """The fluctuation at mean `end`, from that at `start`; None if Newton's method fails."""
        q = q - state.relaxed @ (end - start)
        tolerance = max(1e-12 * self._norm(state.driven @ (end - start)), state.noise)
        residuals: list[float] = []
        for _ in range(ITERATIONS):
            try:
                self._move(end, q, tangent=False)
            except InputError:  # det F <= 0 at a point
                return None
            forces = self._reduced(self._forces())
            residuals.append(self._norm(forces))
            if residuals[-1] <= tolerance:
                return q, residuals
            if not np.isfinite(residuals[-1]) or residuals[-1] > 1e3 * residuals[0]:
                return None
            # A factor that took two digits off the residual is good enough to keep.
            if len(residuals) < 2 or residuals[-1] > 1e-2 * residuals[-2]:
                self._move(end, q, tangent=True)
                if not self._factorise():
                    return None
            q = q - self._apply_inverse(forces)
        return None


def _reduction(follows: np.ndarray, columns: int) -> csr_array:
    """T of the local nodes: each moves with the independent node that it follows."""
    rows = np.arange(3 * len(follows))
    of_row = (3 * follows[:, None] + np.arange(3)).ravel()
    return csr_array((np.ones(len(rows)), (rows, of_row)), shape=(len(rows), columns))


def _direct_solver(matrix: PETSc.Mat, spare: int) -> PETSc.KSP:
    """MUMPS, L D L^T: it counts the negative pivots. Its workspace has `spare` percent more than it
    estimates."""
    ksp = PETSc.KSP().create(matrix.comm)
    ksp.setType("preonly")
    ksp.setOperators(matrix)
    pc = ksp.getPC()
    pc.setType("cholesky")
    pc.setFactorSolverType("mumps")
    pc.setFactorSetUpSolverType()
    factor = pc.getFactorMatrix()
    factor.setMumpsIcntl(7, 5)  # METIS: half the fill of its own choice on thin struts
    factor.setMumpsIcntl(14, spare)
    factor.setMumpsIcntl(13, 1)  # no ScaLAPACK at the root: its pivots would not be counted
    return ksp
