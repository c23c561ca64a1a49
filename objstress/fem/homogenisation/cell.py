"""Finite-strain homogenisation: the mean response of a periodic cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx import mesh as dmesh
from mpi4py import MPI
from scipy.sparse import csr_array

from objstress.errors import ConvergenceError, InputError
from objstress.fem.form_cache import clear_stale_locks
from objstress.fem.homogenisation.control import MeanControl, mean_control
from objstress.fem.homogenisation.solver import FluctuationStiffness, SingularTangent
from objstress.fem.homogenisation.space import lattice_vectors, periodic_space
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.materials.quadrature import QuadratureMaterial, quadrature_degree_for
from objstress.fem.meshes import bounding_box
from objstress.laws.base import MaterialLaw
from objstress.laws.outside import report_outside
from objstress.parallel import on_every_rank
from objstress.symmetry.voigt import tensor_to_voigt

SMALLEST_STEP = 1 / 256
"""Of the way from the undeformed cell to the mean stretch."""

ITERATIONS = 12
"""Newton iterations of a step, after which it is halved."""

ALL = np.arange(9)
"""Components of the mean F, row by row."""


@dataclass(frozen=True)
class CellResponse:
    """Response of a cell to a mean deformation gradient: means over the whole cell, with voids.

    Attributes:
        F: mean deformation gradient, (3, 3): what was given, and what was found of it.
        P: mean first Piola-Kirchhoff stress dW/dF, GPa, (3, 3).
        energy: mean energy density W, GPa.
        tangent: A = dP/dF with the fluctuation condensed out, GPa, (3, 3, 3, 3), index order
            iJkL; None unless asked for.
        unstable_modes: periodic fluctuations, and changes of the free components of F, of negative
            stiffness at the solution (struts that have buckled, or are about to leave this
            branch); None without the tangent, and of cells too large for a direct solver.
        min_J: smallest det F at a quadrature point.
        steps: in which the load was raised; 1 unless Newton's method failed.
        residuals: Euclidean norms of the reduced residual, one for each Newton iterate of the
            last step, GPa length^2; with it the excess of the mean stress where that is given,
            times volume^(2/3).
    """

    F: np.ndarray
    P: np.ndarray
    energy: float
    tangent: np.ndarray | None
    unstable_modes: int | None
    min_J: float
    steps: int
    residuals: tuple[float, ...]


@dataclass(frozen=True)
class _Linear:
    """The cell's linear response at a state: what a change of m components of the mean F does."""

    tangent: np.ndarray  # condensed A, GPa, (m, m)
    driven: np.ndarray  # T^T K D, (len(q), m)
    relaxed: np.ndarray  # -dq/df, (len(q), m)
    largest: float  # entry of the diagonal of K
    noise: float  # round-off of the norm of the reduced forces


class PeriodicCell:
    r"""Finite-strain homogenisation of a periodic cell: u = (F - I) (X - X0) + w with w periodic.

    .. math::

        W(F) &= \min_w \frac1V \int W(I + \nabla u) \, dX, \qquad
        P = \frac{\partial W}{\partial F} = \frac1V \int P(x) \, dX \\
        A &= \frac1V [D^T K D - D^T K T (T^T K T)^{-1} T^T K D]

    The cell is a parallelepiped, X0 the middle of the solid's bounding box, and w the same at X and
    X + a for its lattice vectors a. K is the assembled tangent, D the nodal displacements of nine
    unit F, and u = D f + T q: T gives all nodes that differ by lattice vectors one value, one node
    is held. V is the volume of the whole cell. Nodes of a cell with voids have partners only where
    solid meets solid; elsewhere the surface is free. The mesh need not have the cell's own faces:
    any body will do whose images fill space, or leave voids, without overlap. All ranks call each
    method, and all get the whole response.

    MUMPS solves up to 60,000 unknowns, and conjugate gradients with GAMG more: they need a positive
    stiffness, so a cell that has buckled is then a `ConvergenceError`.

    Miehe, Comput. Methods Appl. Mech. Engrg. 192 (2003) 559.

    Args:
        mesh: the solid part of a cell, nodes on opposite faces alike.
        law: of the solid, in the cell's frame; or `Grains`, a law and an orientation for each.
        size: the cell, in the mesh's unit of length: the three edge lengths of a box, or three
            right-handed lattice vectors as the rows of a (3, 3), as in ASE's `atoms.cell`.
        degree: of the displacement. Linear hexahedra make a truss of voxels too stiff.

    Attributes:
        lattice: the lattice vectors as rows, (3, 3).
        u: displacement of the last `solve`, before the rotation by R.
        material: P and A at the quadrature points, see `QuadratureMaterial`.

    Raises:
        InputError: a mesh of another dimension, with inverted cells, larger than the cell, with
            faces that do not match, in separate pieces, or free to move without energy; lattice
            vectors in one plane or left-handed.
        ConvergenceError: conjugate gradients do not converge.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains | Graded,
        size: Any,
        degree: int = 2,
    ):
        if mesh.topology.dim != 3 or mesh.geometry.dim != 3:
            raise InputError("the mesh is not three-dimensional")
        self.lattice = lattice_vectors(size)
        self.mesh = mesh
        clear_stale_locks()  # of a compilation that was interrupted in this very process
        space = fem.functionspace(mesh, ("Lagrange", degree, (3,)))
        self.u = fem.Function(space, name="displacement")
        self.material = QuadratureMaterial(self.u, law, quadrature_degree_for(mesh, degree))
        self.material.watch = None  # the solution is reported, not Newton's iterates
        self.law = self.material.law
        self._volume = float(np.linalg.det(self.lattice))
        solid = self._sum(float(self.material.volumes[: self.material.owned].sum()))
        self._edge = (solid / mesh.topology.index_map(3).size_global) ** (1 / 3)

        periodic, follows = periodic_space(space, self.lattice)
        if periodic.dofmap.index_map.size_global == 1:
            raise InputError("all nodes of the cell are images of one: take more elements")
        self._w = la.vector(periodic.dofmap.index_map, 3)
        self._owned = 3 * periodic.dofmap.index_map.size_local
        self._reduction = _reduction(follows, len(self._w.array))
        # Row (node, i), column (k, L): displacement delta_ik X_L. X is measured from the solid's
        # middle, or far from the origin round-off would be that of the distance.
        x = space.tabulate_dof_coordinates() - np.mean(bounding_box(mesh), axis=0)
        self._affine = np.einsum("ik,nl->nikl", np.eye(3), x).reshape(-1, 9)
        self._direction = fem.Function(space)
        v = ufl.TestFunction(space)
        self._residual_form = fem.form(self.material.residual(v))
        self._driving_form = fem.form(self.material.jacobian(self._direction, v))
        v, du = ufl.TestFunction(periodic), ufl.TrialFunction(periodic)
        form = fem.form(self.material.jacobian(du, v))
        self._stiffness = FluctuationStiffness(periodic, form)

        try:
            self._rest = self._linearise(np.zeros(9), np.zeros(self._owned))
            mechanism = self._is_mechanism(self._rest)
        except SingularTangent:
            mechanism = True
        if mechanism:
            raise InputError(
                "the cell's solid can move without energy: it must be connected across the "
                "cell's faces, and not by single nodes or edges"
            )

    def solve(self, F_mean: Any, tangent: bool = False, P_mean: Any = None) -> CellResponse:
        r"""The response at a mean deformation gradient, reached from the undeformed cell.

        Of F = R U the cell feels U alone; it is raised from I to U in one step, in halves of it
        where Newton's method fails, and the response is rotated by R.

        Where components of the mean stress P are given instead, those of F are unknowns beside w:

        .. math:: \frac{\partial W}{\partial F_{iJ}} = P_{iJ}, \qquad (i, J) \text{ free}

        and what is given of F and P is raised together, without a rotation. As a rotation of the
        cell costs no energy, one of each pair F_iJ and F_Ji must be given. With F12 = F13 = F23 =
        0 and P = 0 but for P11 the stress sigma is uniaxial as well, whatever the crystal.

        Args:
            F_mean: (3, 3), det > 0; None (or NaN) where P is given.
            tangent: whether to condense A as well (one more factorisation): of all of F, whatever
                was given.
            P_mean: (3, 3), GPa, None (or NaN) where F is given; None if all of F is.

        Returns:
            F, P, W and A, GPa, and what else `CellResponse` has.

        Raises:
            InputError: F_mean of another shape, not finite or with det <= 0; a component of which
                both F and P or neither is given, F_iJ and F_Ji both free; points outside the
                strains of the fit, where the law's `outside_action` is "error".
            ConvergenceError: even a 256th of the way does not converge, the worst cells are named;
                or the tangent at F is singular.
        """
        control = mean_control(F_mean, P_mean)
        load, size, steps = 0.0, 1.0, 0
        f, q = np.zeros(9), np.zeros(self._owned)
        state: _Linear | None = self._rest
        while load < 1:
            end = min(1.0, load + size)
            try:
                state = state or self._linearise(f, q)
                f, q, residuals = self._step(state, f, q, (load, end), control)
            except ConvergenceError as error:
                size = 0.5 * (end - load)
                if size < SMALLEST_STEP:
                    raise ConvergenceError(
                        f"the cell does not converge beyond {load:.3f} of the way: {error}; worst "
                        f"cells: {self.material.worst_cells()}"
                    ) from None
                continue
            load, steps, state = end, steps + 1, None
        count, worst = self.material.outside_points()
        points = self._sum(self.material.owned)
        report_outside(self.law, count, points, worst, quiet=self.mesh.comm.rank > 0)
        rotation, mean = control.rotation, self._mean(self._forces())
        owned = slice(self.material.owned)
        energy = self._sum(float(self.material.energy[owned] @ self.material.volumes[owned]))
        least = float(np.linalg.det(self.material.F[owned]).min(initial=np.inf))
        a, unstable = None, None
        if tangent:
            state = self._linearise(f, q)
            a = state.tangent.reshape(3, 3, 3, 3)
            a = np.einsum("im,kn,mjnl->ijkl", rotation, rotation, a)
            unstable = self._stiffness.negative_pivots()
            if unstable is not None:
                free = state.tangent[np.ix_(control.free, control.free)]
                unstable += int((np.linalg.eigvalsh(free) < 0).sum())
        return CellResponse(
            F=rotation @ (np.eye(3) + f.reshape(3, 3)),
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
        return tensor_to_voigt(self._rest.tangent.reshape(3, 3, 3, 3))

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

    def _mean(self, forces: np.ndarray) -> np.ndarray:
        """Mean P of nodal forces, GPa, (9,)."""
        return self._sum(self._affine.T @ forces) / self._volume

    def _is_mechanism(self, rest: _Linear) -> bool:
        """Whether the softest fluctuation costs no energy: three inverse iterations."""
        x = np.random.default_rng(0).normal(size=self._owned)
        for _ in range(3):
            x = self._stiffness.solve(x / self._norm(x))
        # A mechanism leaves round-off; thin struts of many elements are far above it.
        return not 1 / self._norm(x) > 1e-13 * rest.largest

    def _linearise(self, f: np.ndarray, q: np.ndarray, which: np.ndarray = ALL) -> _Linear:
        """The linear response at a state to some components of the mean F.

        Raises:
            ConvergenceError: there is none.
        """
        self._move(f, q, tangent=True)
        stiffness = self._stiffness
        stiffness.assemble()
        m = len(which)
        columns = np.zeros((len(self._affine), m))
        driven, relaxed, left = (np.zeros((self._owned, m)) for _ in range(3))
        for k, component in enumerate(which):
            self._direction.x.array[:] = self._affine[:, component]
            columns[:, k] = fem.assemble_vector(self._driving_form).array
            driven[:, k] = self._reduced(columns[:, k])
            relaxed[:, k] = stiffness.solve(driven[:, k])
            left[:, k] = stiffness.unsolved(driven[:, k], relaxed[:, k])
        # With what is left of the forces, errors of `relaxed` enter A by their squares.
        a = self._affine[:, which].T @ columns - driven.T @ relaxed - relaxed.T @ left
        diagonal = stiffness.diagonal()
        return _Linear(
            tangent=self._sum(a) / self._volume,
            driven=driven,
            relaxed=relaxed,
            largest=self.mesh.comm.allreduce(float(diagonal.max(initial=0.0)), op=MPI.MAX),
            # F carries 1e-16, a node's force its stiffness times an element's edge.
            noise=1e-15 * self._norm(diagonal) * self._edge,
        )

    def _step(
        self,
        state: _Linear,
        f: np.ndarray,
        q: np.ndarray,
        loads: tuple[float, float],
        control: MeanControl,
    ) -> tuple[np.ndarray, np.ndarray, list[float]]:
        """Mean F - I and fluctuation at the second load, from those at the first and their
        response.

        Raises:
            ConvergenceError: Newton's method fails.
        """
        (start, end), free = loads, control.free
        target = end * (control.F - np.eye(3).ravel())
        change = np.where(np.isin(ALL, free), 0.0, target - f)
        missing = (end - start) * control.P[free] - state.tangent[free] @ change
        change[free] = _solved(state.tangent[np.ix_(free, free)], missing)
        f = np.where(np.isin(ALL, free), f + change, target)
        q = q - state.relaxed @ change
        # An area makes forces of mean stresses.
        area = self._volume ** (2 / 3) if len(free) else 0.0
        stresses = area * float(np.linalg.norm(state.tangent @ change))
        tolerance = max(
            1e-12 * float(np.hypot(self._norm(state.driven @ change), stresses)),
            state.noise + 1e-15 * area * float(np.linalg.norm(state.tangent)),
        )
        residuals: list[float] = []
        for _ in range(ITERATIONS):
            try:
                self._move(f, q, tangent=False)
            except InputError:
                raise ConvergenceError("det F <= 0 at a point") from None
            forces = self._forces()
            reduced, excess = (
                self._reduced(forces),
                self._mean(forces)[free] - end * control.P[free],
            )
            residuals.append(float(np.hypot(self._norm(reduced), area * np.linalg.norm(excess))))
            if residuals[-1] <= tolerance:
                return f, q, residuals
            if not np.isfinite(residuals[-1]) or residuals[-1] > 1e3 * residuals[0]:
                break
            # A factor that took two digits off the residual is good enough to keep.
            if len(residuals) < 2 or residuals[-1] > 1e-2 * residuals[-2]:
                near = self._linearise(f, q, free)
            alone = self._stiffness.solve(reduced)
            excess -= self._sum(near.driven.T @ alone) / self._volume
            change = np.zeros(9)
            change[free] = -_solved(near.tangent, excess)
            f, q = f + change, q - alone - near.relaxed @ change[free]
        raise ConvergenceError("Newton's method fails")


def _solved(tangent: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """The change of free components of F under a stress on them."""
    try:
        return np.linalg.solve(tangent, stress)
    except np.linalg.LinAlgError:
        raise ConvergenceError("no stiffness against the mean stress") from None


def _reduction(follows: np.ndarray, columns: int) -> csr_array:
    """T of the local nodes: each moves with the independent node that it follows."""
    rows = np.arange(3 * len(follows))
    of_row = (3 * follows[:, None] + np.arange(3)).ravel()
    return csr_array((np.ones(len(rows)), (rows, of_row)), shape=(len(rows), columns))
