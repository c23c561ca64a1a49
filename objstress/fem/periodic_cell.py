"""Finite-strain homogenisation: the mean response of a periodic cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, geometry
from dolfinx import mesh as dmesh
from petsc4py import PETSc
from scipy.linalg import polar
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from objstress.errors import ConvergenceError, InputError
from objstress.fem.boundary import checked_mean
from objstress.fem.material import QuadratureMaterial, quadrature_degree_for
from objstress.laws.base import MaterialLaw
from objstress.symmetry.tensors import MANDEL, mandel_to_voigt

_SMALLEST_STEP = 1 / 256
_ITERATIONS = 12


@dataclass(frozen=True)
class CellResponse:
    """What a cell answers to a mean deformation gradient; means over the whole cell, voids too.

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
    r"""u = (F - I) X + w, w periodic:  W(F) = min_w 1/V integral of w(I + grad u) dX.

        P = dW/dF = 1/V integral of P(x),
        A = 1/V [D^T K D - D^T K T (T^T K T)^-1 T^T K D]

    K is the assembled tangent, D the nodal displacements of nine unit F, and u = D f + T q: T
    gives all nodes that differ by edges of the cell one value, one node is held. V is the volume
    of the whole cell. Nodes of a cell with voids have partners only where solid meets solid;
    elsewhere the surface is free. Serial: the mesh lives on one rank.

    Miehe, Comput. Methods Appl. Mech. Engrg. 192 (2003) 559.

    Args:
        mesh: the solid part of a box-shaped cell, the same nodes on opposite faces.
        law: of the solid, in the cell's frame.
        size: the box's three edge lengths, in the mesh's unit.
        degree: of the displacement. Linear hexahedra make a truss of voxels a fifth too stiff.

    Attributes:
        u: displacement of the last `solve`, before the turn by R.
        material: P and A at the quadrature points, see `QuadratureMaterial`.

    Raises:
        InputError: a mesh over several ranks, of another dimension, larger than `size`, with
            faces that do not match, in separate pieces, or free to move without energy.
    """

    def __init__(self, mesh: dmesh.Mesh, law: MaterialLaw, size: Sequence[float], degree: int = 2):
        if mesh.comm.size > 1:
            raise InputError("a periodic cell is solved on one rank: mesh it with MPI.COMM_SELF")
        if mesh.topology.dim != 3 or mesh.geometry.dim != 3:
            raise InputError("the mesh is not three-dimensional")
        self.size = np.asarray(size, dtype=np.float64)
        if self.size.shape != (3,) or not (self.size > 0).all():
            raise InputError(f"size = {size}: give the cell's three edge lengths, all positive")
        self.mesh, self.law = mesh, law
        space = fem.functionspace(mesh, ("Lagrange", degree, (3,)))
        self.u = fem.Function(space, name="displacement")
        self.material = QuadratureMaterial(self.u, law, quadrature_degree_for(mesh, degree))
        self._volume = float(np.prod(self.size))
        v, du = ufl.TestFunction(space), ufl.TrialFunction(space)
        self._residual_form = fem.form(self.material.residual(v))
        self._jacobian_form = fem.form(self.material.jacobian(du, v))

        x = space.tabulate_dof_coordinates()
        owner = self._independent_nodes(x)
        self._reduction = _reduction(owner)
        # Row (node, i), column (k, L): displacement delta_ik X_L.
        self._affine = np.einsum("ik,nl->nikl", np.eye(3), x).reshape(-1, 9)
        self._edge = (float(self.material.volumes.sum()) / len(self.material.cells)) ** (1 / 3)
        self._matrix: PETSc.Mat | None = None
        self._ksp = _direct_solver()

        rest = self._linearise(np.zeros(9), np.zeros(self._reduction.shape[1]))
        if rest is None or self._is_mechanism(rest):
            raise InputError(
                "the cell's solid can move without energy: it must hang together across the "
                "cell's faces, and not by single nodes or edges"
            )
        self._rest = rest

    def solve(self, F_mean: Any, tangent: bool = False) -> CellResponse:
        """The response at a mean deformation gradient, reached from the undeformed cell.

        Of F = R U the cell feels U alone; it is raised from I to U in one step, in halves of it
        where Newton's method fails, and the answer is turned by R.

        Args:
            F_mean: (3, 3), det > 0.
            tangent: whether to condense A as well (one more factorisation).

        Raises:
            InputError: F_mean of another shape, not finite or with det <= 0.
            ConvergenceError: even a 256th of the way does not converge.
        """
        turn, stretch = polar(checked_mean(F_mean))
        target = (stretch - np.eye(3)).ravel()
        load, size, steps = 0.0, 1.0, 0
        q = np.zeros(self._reduction.shape[1])
        state: _Linear | None = self._rest
        while load < 1:
            end = min(1.0, load + size)
            found = self._step(state, load * target, end * target, q) if state else None
            if found is not None:
                q, residuals = found
                load, steps = end, steps + 1
                if load < 1:
                    state = self._linearise(load * target, q)
                continue
            size = 0.5 * (end - load)
            if size < _SMALLEST_STEP:
                raise ConvergenceError(
                    f"the cell does not converge beyond {load:.3f} of the mean stretch"
                )
        mean = self._affine.T @ self._forces() / self._volume
        energy = float(self.material.energy @ self.material.volumes) / self._volume
        smallest = float(np.linalg.det(self.material.F).min())
        a, unstable = None, None
        if tangent:
            state = self._linearise(target, q)
            if state is None:
                raise ConvergenceError("the cell's tangent is singular: it buckles at this F")
            a = np.einsum("im,kn,mjnl->ijkl", turn, turn, state.tangent)
            unstable = state.unstable_modes
        return CellResponse(
            turn @ mean.reshape(3, 3), energy, a, unstable, smallest, steps, tuple(residuals)
        )

    def stiffness(self) -> np.ndarray:
        """Elastic constants C_ab of the cell at F = I, GPa, 6 x 6 Voigt (xx yy zz yz xz xy)."""
        return mandel_to_voigt(np.einsum("aij,ijkl,bkl->ab", MANDEL, self._rest.tangent, MANDEL))

    # -- periodicity -------------------------------------------------------------------------

    def _independent_nodes(self, x: np.ndarray) -> np.ndarray:
        """For each node the number of the independent node that it follows."""
        low, high = x.min(axis=0), x.max(axis=0)
        tolerance = 1e-8 * self.size.max()
        if (high - low > self.size + tolerance).any():
            raise InputError(f"the mesh measures {high - low}, more than the cell's {self.size}")
        tree = cKDTree(x)
        pairs, alone = [], []
        for offset in product((-1, 0, 1), repeat=3):
            if offset == (0, 0, 0):
                continue
            moved = x + offset * self.size
            inside = np.flatnonzero(
                ((moved > low - tolerance) & (moved < high + tolerance)).all(axis=1)
            )
            distance, partner = tree.query(moved[inside])
            met = distance < tolerance
            pairs.append(np.stack([inside[met], partner[met]]))
            alone.append(moved[inside[~met]])
        self._check_free(np.concatenate(alone))
        i, j = np.concatenate(pairs, axis=1)
        graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(x), len(x)))
        count, owner = connected_components(graph, directed=False)
        self._check_one_piece(owner, count)
        return owner

    def _check_free(self, images: np.ndarray) -> None:
        """An image of a node without a node there must lie in a void, not in an element."""
        if not len(images):
            return
        candidates = geometry.compute_collisions_points(geometry.bb_tree(self.mesh, 3), images)
        hit = geometry.compute_colliding_cells(self.mesh, candidates, images)
        if (np.diff(hit.offsets) > 0).any():
            raise InputError(
                "nodes on the cell's faces have no partner on the opposite face: mesh opposite "
                "faces alike"
            )

    def _check_one_piece(self, owner: np.ndarray, count: int) -> None:
        nodes = owner[self.u.function_space.dofmap.list]
        first = np.repeat(nodes[:, :1], nodes.shape[1], axis=1)
        graph = coo_array((np.ones(nodes.size), (first.ravel(), nodes.ravel())), (count, count))
        pieces, _ = connected_components(graph, directed=False)
        if pieces > 1:
            raise InputError(f"the cell's solid is in {pieces} pieces: keep the one that bears")

    # -- equilibrium -------------------------------------------------------------------------

    def _move(self, f: np.ndarray, q: np.ndarray, tangent: bool) -> None:
        self.u.x.array[:] = self._affine @ f + self._reduction @ q
        self.material.update(tangent=tangent)

    def _forces(self) -> np.ndarray:
        return fem.assemble_vector(self._residual_form).array

    def _assemble(self) -> csr_array:
        matrix = fem.assemble_matrix(self._jacobian_form)
        matrix.scatter_reverse()
        return csr_array(matrix.to_scipy())

    def _factorise(self, stiffness: csr_array) -> bool:
        """Factorise T^T K T; False if it is singular."""
        data = np.bincount(self._place, stiffness.data[self._kept])
        if self._matrix is None:
            shape = 2 * [self._reduction.shape[1]]
            csr = (*self._pattern, data)
            self._matrix = PETSc.Mat().createAIJ(shape, csr=csr, comm=PETSc.COMM_SELF)
        else:  # the same pattern: MUMPS keeps its ordering
            self._matrix.setValuesCSR(*self._pattern, data)
        self._matrix.assemble()
        self._ksp.setOperators(self._matrix)
        self._ksp.getPC().setUp()
        factor = self._ksp.getPC().getFactorMatrix()
        return factor.getMumpsInfog(1) >= 0

    def _is_mechanism(self, rest: _Linear) -> bool:
        """Whether the softest fluctuation costs no energy: three inverse iterations."""
        x = np.random.default_rng(0).normal(size=self._reduction.shape[1])
        for _ in range(3):
            x = self._apply_inverse(x / np.linalg.norm(x))
        # A mechanism leaves round-off, 1e-16; thin struts of many elements still have 1e-9.
        return not 1 / np.linalg.norm(x) > 1e-13 * rest.largest

    def _set_pattern(self, stiffness: csr_array) -> None:
        """Where each entry of K goes in T^T K T (scipy's product would drop accidental zeros)."""
        n = self._reduction.shape[1]
        column_of = np.full(self._reduction.shape[0], -1, dtype=np.int64)
        rows, columns = self._reduction.nonzero()
        column_of[rows] = columns
        entries = stiffness.tocoo()
        i, j = column_of[entries.row], column_of[entries.col]
        self._kept = np.flatnonzero((i >= 0) & (j >= 0))
        keys, self._place = np.unique(i[self._kept] * n + j[self._kept], return_inverse=True)
        pointers = np.searchsorted(keys, n * np.arange(n + 1))
        self._pattern = (pointers.astype(PETSc.IntType), (keys % n).astype(PETSc.IntType))

    def _apply_inverse(self, b: np.ndarray) -> np.ndarray:
        assert self._matrix is not None
        right = self._matrix.createVecLeft()
        right.setArray(b)
        x = right.duplicate()
        self._ksp.solve(right, x)
        return x.getArray().copy()

    def _linearise(self, f: np.ndarray, q: np.ndarray) -> _Linear | None:
        """The linear response at a state; None if it is singular."""
        self._move(f, q, tangent=True)
        stiffness = self._assemble()
        if self._matrix is None:
            self._set_pattern(stiffness)
        if not self._factorise(stiffness):
            return None
        forces = stiffness @ self._affine
        driven = self._reduction.T @ forces
        relaxed = np.stack([self._apply_inverse(column) for column in driven.T], axis=1)
        a = (self._affine.T @ forces - driven.T @ relaxed) / self._volume
        diagonal = stiffness.diagonal()
        return _Linear(
            tangent=a.reshape(3, 3, 3, 3),
            unstable_modes=self._ksp.getPC().getFactorMatrix().getMumpsInfog(12),
            driven=driven,
            relaxed=relaxed,
            largest=float(diagonal.max()),
            # F carries 1e-16, a node's force its stiffness times an element's edge.
            noise=1e-15 * float(np.linalg.norm(diagonal)) * self._edge,
        )

    def _step(
        self, state: _Linear, start: np.ndarray, end: np.ndarray, q: np.ndarray
    ) -> tuple[np.ndarray, list[float]] | None:
        """The fluctuation at mean `end`, from that at `start`; None if Newton's method fails."""
        q = q - state.relaxed @ (end - start)
        tolerance = max(1e-12 * float(np.linalg.norm(state.driven @ (end - start))), state.noise)
        residuals: list[float] = []
        for _ in range(_ITERATIONS):
            try:
                self._move(end, q, tangent=False)
            except InputError:  # det F <= 0 at a point
                return None
            forces = self._reduction.T @ self._forces()
            residuals.append(float(np.linalg.norm(forces)))
            if residuals[-1] <= tolerance:
                return q, residuals
            if not np.isfinite(residuals[-1]) or residuals[-1] > 1e3 * residuals[0]:
                return None
            # A factor that took two digits off the residual is good enough to keep.
            if len(residuals) < 2 or residuals[-1] > 1e-2 * residuals[-2]:
                self._move(end, q, tangent=True)
                if not self._factorise(self._assemble()):
                    return None
            q = q - self._apply_inverse(forces)
        return None


def _reduction(owner: np.ndarray) -> csr_array:
    """T, (3 nodes) x (3 (independent nodes - 1)): independent node 0 is held."""
    free = np.flatnonzero(owner > 0)
    rows = (3 * free[:, None] + np.arange(3)).ravel()
    columns = (3 * (owner[free, None] - 1) + np.arange(3)).ravel()
    shape = (3 * len(owner), 3 * int(owner.max()))
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def _direct_solver() -> PETSc.KSP:
    """MUMPS, L D L^T: it counts the negative pivots."""
    ksp = PETSc.KSP().create(PETSc.COMM_SELF)
    prefix = f"objstress_cell_{id(ksp)}_"
    ksp.setOptionsPrefix(prefix)
    options = {
        "ksp_type": "preonly",
        "pc_type": "cholesky",
        "pc_factor_mat_solver_type": "mumps",
        "mat_mumps_icntl_7": 5,  # METIS: half the fill of its own choice on thin struts
    }
    table = PETSc.Options()
    for key, value in options.items():
        table[prefix + key] = value
    ksp.setFromOptions()
    return ksp
