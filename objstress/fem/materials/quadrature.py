"""A material law at the quadrature points of a mesh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import basix
import basix.ufl
import numpy as np
import torch
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc
from ufl.algorithms.analysis import extract_coefficients, extract_constants

from objstress.fem.materials.graded import Graded, GradedLaw
from objstress.fem.materials.grains import Grains, GrainsLaw
from objstress.fem.meshes import cell_numbers, check_cells
from objstress.laws.base import MaterialLaw
from objstress.laws.outside import OutsideWatch, find_outside
from objstress.laws.strain_energy import mandel_strain

KEPT = 1000
"""Strains outside those of the fit that are kept of a rank and step."""


def gradient(w: Any) -> Any:
    """grad w, 3 x 3 also on a mesh of two dimensions, where nothing moves or changes along z."""
    g = ufl.grad(w)
    if g.ufl_shape == (3, 3):
        return g
    return ufl.as_matrix([[g[0, 0], g[0, 1], 0.0], [g[1, 0], g[1, 1], 0.0], [0.0, 0.0, 0.0]])


def quadrature_degree_for(mesh: dmesh.Mesh, degree: int) -> int:
    """The rule for Lagrange elements: 2 degree; 2 (degree - 1) on simplices, where F is of less."""
    simplex = mesh.topology.cell_type in (dmesh.CellType.tetrahedron, dmesh.CellType.triangle)
    return 2 * (degree - 1) if simplex else 2 * degree


def torch_threads(comm: MPI.Comm) -> int:
    """Threads that torch may use on this rank: the cores open to it, shared by the ranks beside it.

    Never more than torch would use alone.
    """
    beside = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = max(1, (cores or 1) // beside.size)
    beside.Free()
    return min(torch.get_num_threads(), share)


@contextmanager
def limited_threads(number: int) -> Iterator[None]:
    """Torch uses this many threads within, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Material:
    """The quadrature points of the local cells, F there, and what is reported of them.

    Args:
        u: displacement, a vector function in three dimensions, or in two for plane strain; a
            length.
        law: in the sample's frame (rotate a crystal with `RotatedLaw(law, Q)`), or `Grains`,
            or `Graded`.
        degree: quadrature degree.

    Attributes:
        dx: the measure.
        energy, F: of the last `update` at the points of the local cells, W in GPa (n_points,) and
            (n_points, 3, 3).
        inputs: functions and constants that F and the answer of the law depend on: u and all else
            in the gradient. A material that depends on more (a temperature, an electric
            potential, its own state) appends it.
        volumes: reference volume that each of these points stands for, (n_points,).
        owned: how many of the points are this rank's own; they come first, ghosts' last.
        threads: that torch uses for the law on this rank, see `torch_threads`.
        condenses: whether the tangent is more than its form, see `condense`.
        watch: reports points outside the strains of the fit at an `update`, and again when they
            are more; None where the caller reports them after each step (`outside_points`).

    Raises:
        InputError: a mesh with inverted cells.
    """

    energy: np.ndarray
    condenses = False

    def __init__(self, u: fem.Function, law: MaterialLaw | Grains | Graded, degree: int):
        self.u, self.degree = u, degree
        mesh = u.function_space.mesh
        self.threads = torch_threads(mesh.comm)
        self.points, self.weights = basix.make_quadrature(mesh.basix_cell(), degree)
        metadata = {"quadrature_degree": degree, "quadrature_scheme": "default"}
        self.dx = ufl.Measure("dx", domain=mesh, metadata=metadata)
        cells = mesh.topology.index_map(mesh.topology.dim)
        self.cells = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
        self.owned = cells.size_local * len(self.weights)
        deformation = self.deformation()
        self.inputs: list[Any] = [
            *extract_coefficients(deformation),
            *extract_constants(deformation),
        ]
        self.law: MaterialLaw
        if isinstance(law, Grains):
            self.law = GrainsLaw(law, mesh, len(self.weights))
        elif isinstance(law, Graded):
            self.law = GradedLaw(law, mesh, self.points)
            field = law.parameters
            self.inputs += [*extract_coefficients(field), *extract_constants(field)]
        else:
            self.law = law
        self._gradient = fem.Expression(deformation, self.points)
        self.F = np.tile(np.eye(3), (len(self.cells) * len(self.weights), 1, 1))
        self._evaluated: tuple[MaterialLaw, list[np.ndarray], bool] | None = None
        self.watch: OutsideWatch | None = OutsideWatch(self.law)
        jacobian = fem.Expression(ufl.JacobianDeterminant(mesh), self.points)
        determinants = jacobian.eval(mesh, self.cells).reshape(-1, len(self.weights))
        check_cells(mesh, determinants[: cells.size_local])
        # Physical weight of each point, for integrals over the reference body.
        self.volumes = (np.abs(determinants) * self.weights).ravel()

    def update(self, tangent: bool) -> None:
        """Evaluate the law at the present `inputs`, unless nothing changed since the last time.

        Args:
            tangent: whether A is needed, too.

        Raises:
            InputError: det F <= 0 at a point; points outside the strains of the fit, where the
                law's `outside_action` is "error".
        """
        now = [f.x.array if isinstance(f, fem.Function) else f.value for f in self.inputs]
        if self._evaluated is not None:
            law, before, known = self._evaluated
            same = law is self.law and len(before) == len(now)
            if same and (known or not tangent) and all(map(np.array_equal, before, now)):
                return
        self._evaluated = None
        self._before()
        if isinstance(self.law, GradedLaw):
            self.law.update()
        self.F = self._gradient.eval(self.u.function_space.mesh, self.cells).reshape(-1, 3, 3)
        with limited_threads(self.threads):
            self._evaluate(tangent)
        if self.watch is not None:
            self.watch(self.F[: self.owned])
        self._evaluated = (self.law, [values.copy() for values in now], tangent)

    def deformation(self) -> Any:
        """The UFL tensor (3, 3) that the law is evaluated at."""
        return ufl.Identity(3) + gradient(self.u)

    def deformation_at(self, cells: np.ndarray, reference: np.ndarray, F: np.ndarray) -> np.ndarray:
        """What the law is evaluated at, at any points, in the present state.

        Args:
            cells: the local cell of each point.
            reference: its coordinates in the reference cell, (n, dim).
            F: I + grad u there, (n, 3, 3).
        """
        return F

    def _before(self) -> None:
        """Bring what F depends on beside u up to date."""

    def condense(self, A: PETSc.Mat) -> None:
        """Add to the assembled tangent what eliminated fields make of it; none here."""

    def invalidate(self) -> None:
        """Make the next `update` evaluate: for what `inputs` do not show.

        Such as parameters of a law that were changed in place.
        """
        self._evaluated = None

    def _evaluate(self, tangent: bool) -> None:
        raise NotImplementedError

    def residual(self, v: Any) -> Any:
        """UFL form of the internal forces."""
        raise NotImplementedError

    def jacobian(self, du: Any, v: Any) -> Any:
        """UFL form of their derivative."""
        raise NotImplementedError

    def piola(self) -> np.ndarray:
        """P at the points as of the last `update`, GPa, (n_points, 3, 3)."""
        raise NotImplementedError

    def law_in(self, cells: np.ndarray) -> MaterialLaw:
        """The law of one point in each of these local cells, (cells,)."""
        if isinstance(self.law, GrainsLaw | GradedLaw):
            return self.law.in_cells(cells)
        return self.law

    def cell_function(self, values: np.ndarray) -> fem.Function:
        """A function that is constant in each cell: `values` of the local cells (cells, ...)."""
        space = fem.functionspace(self.u.function_space.mesh, ("DG", 0, values.shape[1:]))
        function = fem.Function(space)
        rows = space.dofmap.list[self.cells].ravel()
        width = int(np.prod(values.shape[1:]))  # named: a rank may hold no cell
        function.x.array.reshape(-1, width)[rows] = values.reshape(-1, width)
        return function

    def outside_points(self) -> tuple[int, str]:
        """Points outside the strains of the fit at the last `update`, over all ranks.

        Returns:
            Their number, and the cell of the one with the largest |E|, in words.
        """
        comm = self.u.function_space.mesh.comm
        mine, point, size = find_outside(self.law, self.F[: self.owned])
        count = comm.allreduce(mine, op=MPI.SUM)
        cells = np.array([point // len(self.weights)] if mine else [], dtype=np.int32)
        worst = self._places(cells, np.full(len(cells), -size))
        return count, "; ".join(f"cell {place}, |E| = {-less:.3g}" for less, place in worst[:1])

    def fields_outside(self) -> tuple[int, float]:
        """Points with a larger electric field than the fit had, and the largest |E0|, V/nm."""
        return 0, 0.0

    def strains_outside(self) -> np.ndarray:
        """Strains outside those of the fit at the last `update`, in the frame of the crystal.

        Returns:
            Mandel's E of all ranks, (n, 6), no more than `KEPT` a rank, at random; none of a body
            of several laws, as they do not tell whose they are.
        """
        if isinstance(self.law, GrainsLaw) and self.law.several:
            return np.zeros((0, 6))
        f = self.F[: self.owned]
        outside = self.law.outside(f).numpy()
        x = mandel_strain(self.law.in_crystal(f)[outside]).numpy()
        if len(x) > KEPT:
            x = x[np.random.default_rng(0).choice(len(x), KEPT, replace=False)]
        return np.concatenate(self.u.function_space.mesh.comm.allgather(x))

    def worst_cells(self, number: int = 3) -> str:
        """The cells whose det F was least at the last `update`, over all ranks, in words."""
        j = np.linalg.det(self.F[: self.owned]).reshape(-1, len(self.weights)).min(axis=1)
        j[np.isnan(j)] = -np.inf  # worse than any number
        worst = np.argsort(j)[:number].astype(np.int32)
        places = self._places(worst, j[worst])
        return "; ".join(f"{place}, det F = {least:.2g}" for least, place in places[:number])

    def _places(self, cells: np.ndarray, values: np.ndarray) -> list[tuple[float, str]]:
        """Values of local cells, and where these are in words, over all ranks, least first."""
        mesh = self.u.function_space.mesh
        dim = mesh.topology.dim
        middle = dmesh.compute_midpoints(mesh, dim, cells)
        numbers = cell_numbers(mesh, cells)
        local = list(zip(values.tolist(), numbers.tolist(), middle.tolist(), strict=True))
        ranked = sorted(each for rank in mesh.comm.allgather(local) for each in rank)
        return [
            (value, f"{number} at ({', '.join(f'{x:.3g}' for x in at[:dim])})")
            for value, number, at in ranked
        ]

    def cell_means(self, values: np.ndarray) -> np.ndarray:
        """Means over the points of each local cell, (cells, ...), of values (n_points, ...)."""
        points = len(self.weights)
        w = self.volumes.reshape(-1, points)
        w = w / w.sum(axis=1, keepdims=True)
        return np.einsum("cq,cq...->c...", w, values.reshape(-1, points, *values.shape[1:]))

    def cell_averages(self) -> dict[str, np.ndarray]:
        """Means over the points of each local cell, {name: (cells, ...)}.

        `cauchy_stress` (3, 3) in GPa and of it `von_mises` and `principal_stress` (3,), largest
        first; `green_lagrange` (3, 3), the strain E, and of it `principal_strain` (3,); `J`,
        `energy` (GPa), `outside`, the fraction of points outside the strains that the law was
        fitted to, and `stress_error` (GPa) of a law with error bars.
        """
        mean = self.cell_means
        j = np.linalg.det(self.F)
        sigma = mean(self.piola() @ self.F.transpose(0, 2, 1) / j[:, None, None])
        strain = mean(0.5 * (self.F.transpose(0, 2, 1) @ self.F - np.eye(3)))
        deviator = sigma - np.trace(sigma, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
        error = self.law.stress_error(self.F)
        bars = {} if error is None else {"stress_error": mean(error.numpy())}
        return {
            "cauchy_stress": sigma,
            "von_mises": np.sqrt(1.5 * (deviator**2).sum((1, 2))),
            "principal_stress": np.linalg.eigvalsh(sigma)[:, ::-1],
            "green_lagrange": strain,
            "principal_strain": np.linalg.eigvalsh(strain)[:, ::-1],
            "J": mean(j),
            "energy": mean(self.energy),
            "outside": mean(self.law.outside(self.F).numpy().astype(float)),
            **bars,
        }


class QuadratureMaterial(Material):
    r"""P and A of any law as quadrature functions, ready for UFL.

    .. math::

        r(u; v) = \int P : \nabla v \, dX, \qquad
        J(u; \delta u, v) = \int (A : \nabla \delta u) : \nabla v \, dX

    The caller's duties: `update` after every change of u and before assembling, and to integrate
    with `dx` of this object, whose points are those of P and A.

    Args:
        u: displacement, a vector function in three dimensions, or in two for plane strain; a
            length.
        law: in the sample's frame (rotate a crystal with `RotatedLaw(law, Q)`), or `Grains`,
            or `Graded`.
        degree: quadrature degree.

    Attributes:
        stress, tangent: dolfinx functions of value shape (3, 3) and (3, 3, 3, 3), GPa.
        dx, energy, F, inputs, volumes, owned, threads: see `Material`.

    Raises:
        InputError: a mesh with inverted cells.
    """

    def __init__(self, u: fem.Function, law: MaterialLaw | Grains | Graded, degree: int):
        super().__init__(u, law, degree)
        self.stress = self._function((3, 3), "P")
        self.tangent = self._function((3, 3, 3, 3), "A")
        # One row of the quadrature space for each point of each cell, ghosts included; as a rule
        # they are numbered cell by cell, and a slice is faster than a gather.
        rows = self.stress.function_space.dofmap.list[self.cells].ravel()
        in_order = np.array_equal(rows, np.arange(len(rows)))
        self._rows = slice(len(rows)) if in_order else rows
        self.energy = np.zeros(len(rows))

    def _function(self, shape: tuple[int, ...], name: str) -> fem.Function:
        mesh = self.u.function_space.mesh
        element = basix.ufl.quadrature_element(
            mesh.basix_cell().name, value_shape=shape, degree=self.degree
        )
        return fem.Function(fem.functionspace(mesh, element), name=name)

    def _evaluate(self, tangent: bool) -> None:
        parts = self.law.response(self.F, 2 if tangent else 1)
        self.energy = parts[0].numpy()
        self._fill(self.stress, parts[1].numpy())
        if tangent:
            self._fill(self.tangent, parts[2].numpy())

    def _fill(self, function: fem.Function, values: np.ndarray) -> None:
        width = int(np.prod(values.shape[1:]))
        function.x.array.reshape(-1, width)[self._rows] = values.reshape(-1, width)

    def residual(self, v: Any) -> Any:
        return ufl.inner(self.stress, gradient(v)) * self.dx

    def jacobian(self, du: Any, v: Any) -> Any:
        i, j, k, l = ufl.indices(4)
        change = ufl.as_tensor(self.tangent[i, j, k, l] * gradient(du)[k, l], (i, j))
        return ufl.inner(change, gradient(v)) * self.dx

    def piola(self) -> np.ndarray:
        return self.stress.x.array.reshape(-1, 9)[self._rows].reshape(-1, 3, 3)
