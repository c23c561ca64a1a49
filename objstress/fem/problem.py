"""Static equilibrium of a hyperelastic body: load stepping around PETSc's SNES."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc
from tqdm import tqdm

from objstress.errors import ConvergenceError, InputError
from objstress.fem.boundary import Displacement, Traction, marker
from objstress.fem.material import Material, QuadratureMaterial
from objstress.fem.ufl_material import UflMaterial
from objstress.laws.base import MaterialLaw

# Sums over quadrature points may be reordered, which lets the C compiler use vector registers: a
# third of the assembly's time. Nothing about infinities, NaN or the processor is assumed.
_JIT = {
    "cffi_extra_compile_args": [
        "-O3",
        "-fassociative-math",
        "-fno-signed-zeros",
        "-fno-trapping-math",
    ]
}
_REASONS = {
    value: name.lower().replace("_", " ")
    for name, value in vars(PETSc.SNES.ConvergedReason).items()
    if isinstance(value, int) and value < 0
}


@dataclass
class StepRecord:
    """What happened in one accepted load step.

    Attributes:
        load: load factor, 1 is the full load.
        residuals: Euclidean norms of the residual, one for each Newton iterate, GPa length^2.
        corrections: Euclidean norms of Newton's corrections of u, which are the errors of the
            iterates to leading order; the first is the extrapolation, length.
        order: observed order of convergence of these in the last iterates before round-off, see
            `observed_order`; None with fewer than three of them.
        rejected: tries at this step that were taken back.
        reactions: {name of the displacement: force on the body (3,), GPa length^2}; internal
            minus external forces at its nodes.
        energy: stored energy, GPa length^3.
        min_J: smallest det F.
        outside: quadrature points outside the law's trained strains.
        points: quadrature points.
    """

    load: float
    residuals: list[float]
    corrections: list[float]
    order: float | None
    rejected: int
    reactions: dict[str, list[float]] = field(default_factory=dict)
    energy: float = 0.0
    min_J: float = 1.0
    outside: int = 0
    points: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def observed_order(errors: Sequence[float], floor: float = 1e-11) -> float | None:
    """log(e_k+1 / e_k) / log(e_k / e_k-1) at the last three errors above round-off.

    The errors are those of u, not residuals: which part of a residual is stiff and which is soft
    changes from iterate to iterate, and with it the factor between residual and error.

    Args:
        errors: norms of Newton's corrections.
        floor: round-off, relative to the largest of them.
    """
    e = [x for x in errors if x > floor * max(errors, default=0.0)]
    if len(e) < 3 or not e[-3] > e[-2] > e[-1]:
        return None
    return float(np.log(e[-1] / e[-2]) / np.log(e[-2] / e[-3]))


def _component(value: Callable[[np.ndarray], np.ndarray], k: int, x: np.ndarray) -> np.ndarray:
    return np.asarray(value(x))[k]


class StaticProblem:
    """div P = 0 with displacements and dead tractions, u in Lagrange elements.

    Args:
        mesh: a three-dimensional dolfinx mesh; lengths in any unit.
        law: in the crystal's frame.
        bcs: `Displacement`s (at least what takes the rigid motions) and `Traction`s.
        orientation: Q (3, 3), crystal frame to sample frame; none leaves the law as it is.
        degree: of the displacement.
        assembly: "quadrature" evaluates any law at the quadrature points, see
            `QuadratureMaterial`; "ufl" compiles a polynomial law into the form, see
            `UflMaterial`.
        quadrature_degree: 2 degree for hexahedra, 2 (degree - 1) for tetrahedra by default.
        petsc_options: added to, or replacing, {"snes_type": "newtonls", MUMPS LU, ...}.

    Attributes:
        u: the displacement.
        material: the law at the quadrature points.
        history: a `StepRecord` for each accepted step.

    Raises:
        InputError: a mesh that is not three-dimensional or has inverted cells, conditions that
            catch no point, an assembly that the law does not have.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw,
        bcs: Sequence[Displacement | Traction],
        *,
        orientation: Any = None,
        degree: int = 1,
        assembly: str = "quadrature",
        quadrature_degree: int | None = None,
        petsc_options: dict[str, Any] | None = None,
    ):
        if mesh.topology.dim != 3 or mesh.geometry.dim != 3:
            raise InputError("the mesh is not three-dimensional")
        self.mesh, self.comm = mesh, mesh.comm
        self.law = law if orientation is None else law.rotated(orientation)
        self.V = fem.functionspace(mesh, ("Lagrange", degree, (3,)))
        self.u = fem.Function(self.V, name="displacement")
        if quadrature_degree is None:
            simplex = mesh.topology.cell_type == dmesh.CellType.tetrahedron
            quadrature_degree = 2 * (degree - 1) if simplex else 2 * degree
        kinds: dict[str, type[Material]] = {"quadrature": QuadratureMaterial, "ufl": UflMaterial}
        if assembly not in kinds:
            raise InputError(f"assembly = {assembly!r}: give 'quadrature' or 'ufl'")
        self.material = kinds[assembly](self.u, self.law, quadrature_degree)
        self._check_cells()
        volume = self.comm.allreduce(float(self.material.volumes.sum()), op=MPI.SUM)
        self._edge = (volume / mesh.topology.index_map(3).size_global) ** (1 / 3)
        low = self.comm.allreduce(mesh.geometry.x.min(axis=0), op=MPI.MIN)
        high = self.comm.allreduce(mesh.geometry.x.max(axis=0), op=MPI.MAX)
        self._box = (low, high)
        self._load = fem.Constant(mesh, PETSc.ScalarType(0.0))
        v, du = ufl.TestFunction(self.V), ufl.TrialFunction(self.V)
        self._external = self._external_forces([b for b in bcs if isinstance(b, Traction)], v)
        internal = self.material.residual(v)
        residual = internal if self._external is None else internal - self._external
        self._residual_form = fem.form(residual, jit_options=_JIT)
        self._jacobian_form = fem.form(self.material.jacobian(du, v), jit_options=_JIT)
        self._set_displacements([b for b in bcs if isinstance(b, Displacement)])
        self._set_solver(petsc_options or {})
        self.history: list[StepRecord] = []
        self._trace: list[float] = []
        self._corrections: list[float] = []

    # -- set-up ------------------------------------------------------------------------------

    def _check_cells(self) -> None:
        jacobian = fem.Expression(ufl.JacobianDeterminant(self.mesh), self.material.points)
        values = jacobian.eval(self.mesh, self.material.cells)
        # Either orientation of the reference cell will do, but one sign within each cell.
        mixed = int((np.sign(values.min(axis=1)) * np.sign(values.max(axis=1)) <= 0).sum())
        mixed = self.comm.allreduce(mixed, op=MPI.SUM)
        if mixed:
            raise InputError(f"the mesh has {mixed} inverted or degenerate cells")

    def _external_forces(self, tractions: list[Traction], v: Any) -> Any:
        if not tractions:
            return None
        facets, tags = [], []
        for k, traction in enumerate(tractions):
            found = dmesh.locate_entities_boundary(self.mesh, 2, marker(traction.where, *self._box))
            if self.comm.allreduce(len(found), op=MPI.SUM) == 0:
                raise InputError(f"traction on {traction.where!r}: no boundary facet lies there")
            facets.append(found)
            tags.append(np.full(len(found), k + 1, dtype=np.int32))
        everywhere = np.concatenate(facets)
        unique, index = np.unique(everywhere, return_index=True)
        if len(unique) != len(everywhere):
            raise InputError("two tractions share boundary facets; add them up yourself")
        meshtags = dmesh.meshtags(self.mesh, 2, unique, np.concatenate(tags)[index])
        ds = ufl.Measure("ds", domain=self.mesh, subdomain_data=meshtags)
        total = 0
        for k, traction in enumerate(tractions):
            value = fem.Constant(self.mesh, np.asarray(traction.value, dtype=PETSc.ScalarType))
            total = total + self._load * ufl.inner(value, v) * ds(k + 1)
        return total

    def _set_displacements(self, displacements: list[Displacement]) -> None:
        self._bcs: list[fem.DirichletBC] = []
        self._targets: list[tuple[fem.Function, np.ndarray]] = []
        self._names: dict[str, list[np.ndarray]] = {}
        for number, given in enumerate(displacements):
            hit = marker(given.where, *self._box)
            name = given.name or (given.where if isinstance(given.where, str) else f"bc{number}")
            value = given.value
            caught = 0
            self._names.setdefault(name, [np.zeros(0, dtype=np.int32)] * 3)
            for k in range(3):
                if not callable(value) and value[k] is None:
                    continue
                sub = self.V.sub(k)
                collapsed, _ = sub.collapse()
                dofs = fem.locate_dofs_geometrical((sub, collapsed), hit)
                target = fem.Function(collapsed)
                if callable(value):
                    target.interpolate(partial(_component, value, k))
                else:
                    target.x.array[:] = value[k]
                prescribed = fem.Function(collapsed)
                self._bcs.append(fem.dirichletbc(prescribed, dofs, sub))
                self._targets.append((prescribed, target.x.array.copy()))
                caught += len(dofs[0])
                self._names[name][k] = np.union1d(self._names[name][k], dofs[0]).astype(np.int32)
            if self.comm.allreduce(caught, op=MPI.SUM) == 0:
                raise InputError(f"displacement on {given.where!r}: no node lies there")
        if not self._bcs:
            raise InputError("no displacement is prescribed: the body is free to move")

    def _set_solver(self, options: dict[str, Any]) -> None:
        self._b = fem_petsc.create_vector(self.V)
        self._A = fem_petsc.create_matrix(self._jacobian_form)
        self._x = self._b.duplicate()
        self._snes = PETSc.SNES().create(self.comm)
        prefix = f"objstress_{id(self)}_"
        self._snes.setOptionsPrefix(prefix)
        defaults = {
            "snes_type": "newtonls",
            "snes_linesearch_type": "bt",
            "snes_rtol": 1e-10,
            "snes_stol": 0.0,
            "snes_max_it": 15,
            "ksp_type": "preonly",
            "pc_type": "lu",
            "pc_factor_mat_solver_type": "mumps",
        }
        table = PETSc.Options()
        for key, value in (defaults | options).items():
            table[prefix + key] = value
        self._snes.setFunction(self._residual, self._b)
        self._snes.setJacobian(self._jacobian, self._A)
        self._snes.setMonitor(self._monitor)
        self._snes.setFromOptions()
        for key in defaults | options:
            del table[prefix + key]

    # -- callbacks ---------------------------------------------------------------------------

    def _monitor(self, snes: Any, iteration: int, norm: float) -> None:
        self._trace.append(float(norm))
        if iteration > 0:
            self._corrections.append(float(snes.getSolutionUpdate().norm()))

    def _residual(self, snes: Any, x: PETSc.Vec, b: PETSc.Vec) -> None:
        fem_petsc.assign(x, self.u)
        self.u.x.scatter_forward()
        try:
            # With the tangent: at all but the last of these points SNES asks for it next, and at
            # that one the extrapolation of the next load step does.
            self.material.update(tangent=True)
            bad = 0
        except InputError:
            bad = 1
        if self.comm.allreduce(bad, op=MPI.MAX):
            b.set(float("inf"))  # the line search shortens the step
            return
        self.assemble_residual(b)
        fem_petsc.set_bc(b, self._bcs, x, alpha=-1.0)

    def _jacobian(self, snes: Any, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        fem_petsc.assign(x, self.u)
        self.u.x.scatter_forward()
        self.material.update(tangent=True)
        self.assemble_jacobian(P)

    def assemble_residual(self, b: PETSc.Vec | None = None) -> PETSc.Vec:
        """Internal minus external forces at the present P, boundary conditions left out."""
        b = b or fem_petsc.create_vector(self.V)
        with b.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(b, self._residual_form)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        return b

    def assemble_jacobian(self, A: PETSc.Mat | None = None, bcs: bool = True) -> PETSc.Mat:
        """The derivative of the residual at the present A."""
        A = A or fem_petsc.create_matrix(self._jacobian_form)
        A.zeroEntries()
        fem_petsc.assemble_matrix(A, self._jacobian_form, bcs=self._bcs if bcs else [])
        A.assemble()
        return A

    # -- solution ----------------------------------------------------------------------------

    def solve(
        self,
        steps: int = 1,
        *,
        smallest: float = 1 / 256,
        progress: bool = True,
        after_step: Callable[[StaticProblem, StepRecord], None] | None = None,
    ) -> list[StepRecord]:
        """Raise the load factor from 0 to 1 in `steps` equal steps, from the undeformed body.

        Each step first extrapolates with the tangent of the last state, then runs Newton's
        method. A step that does not converge leaves no trace: u is restored, the step is halved
        and tried again; after two steps in a row went well it grows back.

        Args:
            smallest: part of a given step under which the run ends.
            after_step: called with the problem and the record after each accepted step.

        Returns:
            `history`.

        Raises:
            ConvergenceError: the smallest step failed; u is the last accepted state.
        """
        if steps < 1:
            raise InputError(f"steps = {steps}: give at least 1")
        self.history.clear()
        self.u.x.array[:] = 0.0
        full = 1.0 / steps
        size, load, rejected, good = full, 0.0, 0, 0
        self._update_all(0.0)
        bar = tqdm(
            total=1.0,
            desc="load",
            disable=not progress or self.comm.rank > 0,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.3f} [{elapsed}]{postfix}",
        )
        with bar:
            while load < 1 - 1e-12:
                target = min(1.0, load + size)
                saved = self.u.x.array.copy()
                if self._step(target):
                    record = self._record(target, rejected)
                    self.history.append(record)
                    bar.set_postfix_str(f", {len(record.residuals) - 1} iterations")
                    bar.update(target - load)
                    load, rejected, good = target, 0, good + 1
                    if good >= 2:
                        size = min(full, 2 * size)
                    if after_step is not None:
                        after_step(self, record)
                    continue
                self.u.x.array[:] = saved
                self._update_all(load)
                size, rejected, good = 0.5 * (target - load), rejected + 1, 0
                tqdm.write(
                    f"step to load {target:.4f} rejected ({self._why}), next {size:.4f}",
                    file=sys.stderr,
                )
                if size < smallest * full:
                    raise ConvergenceError(
                        f"no convergence beyond load factor {load:.4f} ({self._why}); "
                        "the last accepted state is kept"
                    )
        return self.history

    def _update_all(self, load: float) -> None:
        self._load.value = load
        for function, target in self._targets:
            function.x.array[:] = load * target
        self.material.update(tangent=True)

    def _step(self, target: float) -> bool:
        # Extrapolation: the linear problem at the last state with the new loads.
        self.material.update(tangent=True)
        self._load.value = target
        for function, full in self._targets:
            function.x.array[:] = target * full
        self._trace.clear()
        self._corrections.clear()
        self._why = ""
        fem_petsc.assign(self.u, self._x)
        self.assemble_jacobian(self._A)
        b = self.assemble_residual(self._b)
        fem_petsc.apply_lifting(b, [self._jacobian_form], [self._bcs], [self._x], alpha=-1.0)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        fem_petsc.set_bc(b, self._bcs, self._x, alpha=-1.0)
        b.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)
        first = float(b.norm())
        ksp = self._snes.getKSP()
        ksp.setOperators(self._A)
        change = self._x.duplicate()
        ksp.solve(b, change)
        if ksp.getConvergedReason() <= 0 or not np.isfinite(change.norm()):
            self._why = "singular tangent"
            return False
        self._corrections.append(float(change.norm()))
        self._x.axpy(-1.0, change)
        # Round-off of the assembled forces: F carries 1e-16, the stress C times that, a node the
        # stress times its area, which is its diagonal stiffness times the cell's edge.
        noise = 1e-15 * float(self._A.getDiagonal().norm()) * self._edge
        self._snes.setTolerances(atol=max(1e-13 * first, noise))
        self._snes.solve(None, self._x)
        reason = self._snes.getConvergedReason()
        self._trace.insert(0, first)
        if reason <= 0:
            name = _REASONS.get(reason, str(reason))
            self._why = f"SNES stopped with {name}"
            return False
        # The last residual was evaluated at the solution: P and F are those of u already.
        fem_petsc.assign(self._x, self.u)
        self.u.x.scatter_forward()
        return True

    def _record(self, load: float, rejected: int) -> StepRecord:
        material = self.material
        owned = self.mesh.topology.index_map(3).size_local * len(material.weights)
        f = material.F[:owned]
        forces = fem_petsc.create_vector(self.V)
        with forces.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(forces, self._residual_form)
        forces.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        values = forces.getArray()
        reactions = {}
        for name, dofs in self._names.items():
            sums = [float(values[d[d < len(values)]].sum()) for d in dofs]
            reactions[name] = self.comm.allreduce(np.array(sums), op=MPI.SUM).tolist()
        energy = float(material.energy[:owned] @ material.volumes[:owned])
        return StepRecord(
            load=load,
            residuals=list(self._trace),
            corrections=list(self._corrections),
            order=observed_order(self._corrections),
            rejected=rejected,
            reactions=reactions,
            energy=self.comm.allreduce(energy, op=MPI.SUM),
            min_J=self.comm.allreduce(float(np.linalg.det(f).min(initial=np.inf)), op=MPI.MIN),
            outside=self.comm.allreduce(int(self.law.outside(f).sum()), op=MPI.SUM),
            points=self.comm.allreduce(owned, op=MPI.SUM),
        )

    def write(self, path: str | Path) -> None:
        """Write the present state to an XDMF file for ParaView, see `ResultFile`."""
        from objstress.fem.output import ResultFile

        file = ResultFile(self, path)
        file.write(self.history[-1].load if self.history else 0.0)
        file.close()
