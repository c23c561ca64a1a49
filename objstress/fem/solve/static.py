"""Static equilibrium of a hyperelastic body: load stepping around PETSc's SNES."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
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
from objstress.fem.conditions.contact import Contact
from objstress.fem.conditions.displacements import Affine, Displacement, marker
from objstress.fem.conditions.loads import BodyForce, Pressure, Surface, Traction
from objstress.fem.materials.grains import Grains, GrainsLaw
from objstress.fem.materials.quadrature import Material, QuadratureMaterial, quadrature_degree_for
from objstress.fem.materials.ufl import UflMaterial
from objstress.fem.meshes import bounding_box
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.linear import near_nullspace, rigid_motions, solver_options
from objstress.fem.solve.newton import _JIT, _NUMBER, _REASONS, _forget, _weakly
from objstress.fem.solve.record import StepRecord, observed_order
from objstress.laws.base import MaterialLaw
from objstress.laws.rotated import RotatedLaw
from objstress.parallel import on_every_rank

Condition = Displacement | Traction | Pressure | BodyForce | Contact


def _component(value: Callable[[np.ndarray], np.ndarray], k: int, x: np.ndarray) -> np.ndarray:
    return np.asarray(value(x))[k]


class StaticProblem:
    """div P + b = 0 with displacements, forces and contacts, u in Lagrange elements.

    Right on any number of ranks: each evaluates the law in its own cells and their ghosts.

    Args:
        mesh: a dolfinx mesh; lengths in any unit. One of two dimensions is in plane strain, the
            law stays three-dimensional.
        law: in the crystal's frame; or `Grains`, a law and an orientation for each.
        bcs: `Displacement`s (at least what takes the rigid motions), forces (`Traction`,
            `Pressure`, `BodyForce`) and contacts (`RigidPlane`, `RigidSphere`).
        orientation: Q (3, 3), crystal frame to sample frame; none leaves the law as it is.
        degree: of the displacement.
        assembly: "quadrature" evaluates any law at the quadrature points, see
            `QuadratureMaterial`; "ufl" compiles a polynomial law into the form, see
            `UflMaterial`.
        quadrature_degree: 2 degree for hexahedra, 2 (degree - 1) for tetrahedra by default.
        petsc_options: added to, or replacing, {"snes_type": "newtonls", ...} and what
            `linear_solver.solver_options` chooses from the size.

    Attributes:
        u: the displacement.
        material: the law at the quadrature points.
        history: a `StepRecord` for each accepted step.

    Raises:
        InputError: a mesh of curves or shells or with inverted cells, conditions that catch no
            point or leave a rigid motion free (it is named), an assembly that the law does not
            have.
    """

    _pace = "load factor"
    _record_type = StepRecord

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains,
        bcs: Sequence[Condition],
        *,
        orientation: Any = None,
        degree: int = 1,
        assembly: str = "quadrature",
        quadrature_degree: int | None = None,
        petsc_options: dict[str, Any] | None = None,
    ):
        self.dim = dim = mesh.topology.dim
        if dim not in (2, 3) or mesh.geometry.dim != dim:
            raise InputError(
                f"a mesh of {dim}-dimensional cells in {mesh.geometry.dim} dimensions: give solid "
                "cells in three, or a plane mesh in two for plane strain"
            )
        self.mesh, self.comm = mesh, mesh.comm
        if orientation is not None:
            if isinstance(law, Grains):
                raise InputError("grains bring their own orientations: leave `orientation` out")
            law = RotatedLaw(law, orientation)
        self.V = fem.functionspace(mesh, ("Lagrange", degree, (dim,)))
        self.u = fem.Function(self.V, name="displacement")
        self._degree = degree
        if quadrature_degree is None:
            quadrature_degree = quadrature_degree_for(mesh, degree)
        kinds: dict[str, type[Material]] = {"quadrature": QuadratureMaterial, "ufl": UflMaterial}
        if assembly not in kinds:
            raise InputError(f"assembly = {assembly!r}: give 'quadrature' or 'ufl'")
        self.material = kinds[assembly](self.u, law, quadrature_degree)
        self.law = self.material.law
        volumes = self.material.volumes[: self.material.owned]
        volume = self.comm.allreduce(float(volumes.sum()), op=MPI.SUM)
        self._edge = (volume / mesh.topology.index_map(dim).size_global) ** (1 / dim)
        self._box = bounding_box(mesh)
        self._load = fem.Constant(mesh, PETSc.ScalarType(0.0))
        self._factor = ufl.variable(self._load)
        v, du = ufl.TestFunction(self.V), ufl.TrialFunction(self.V)
        self._contacts: dict[str, list[fem.Form]] = {}
        dead, following, contacts = self._external_work(bcs, v)
        self._loads, self._works = dead + following, dead + following + contacts
        residual, jacobian = self._body(du, v)
        for work in self._works:
            residual = residual - work
        for work in following + contacts:
            jacobian = jacobian - ufl.derivative(work, self.u, du)
        self._residual_form = fem.form(residual, jit_options=_JIT)
        self._jacobian_form = fem.form(jacobian, jit_options=_JIT)
        self._set_displacements([b for b in bcs if isinstance(b, Displacement)])
        symmetric = not any(isinstance(b, Pressure) for b in bcs)
        self._set_solver(petsc_options or {}, symmetric)
        self.history: list[StepRecord] = []
        self._trace: list[float] = []
        self._corrections: list[float] = []

    # -- set-up ------------------------------------------------------------------------------

    def _body(self, du: Any, v: Any) -> tuple[Any, Any]:
        """Forms of the forces of the body itself, and of their derivative."""
        return self.material.residual(v), self.material.jacobian(du, v)

    def _over_ranks(self, values: np.ndarray, op: MPI.Op) -> np.ndarray:
        total = np.empty_like(values)
        self.comm.Allreduce(values, total, op=op)
        return total

    def _external_work(
        self, bcs: Sequence[Condition], v: Any
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Virtual work of forces that u does not change, of those that it does, of contacts."""
        dead = [b.work(self.u, v, self._factor, ufl.dx) for b in bcs if isinstance(b, BodyForce)]
        following: list[Any] = []
        contacts: list[Any] = []
        self._potentials: list[Any] = []
        surfaces = [b for b in bcs if not isinstance(b, Displacement | BodyForce)]
        soft = [b for b in surfaces if isinstance(b, Contact) and b.stiffness is None]
        penalty = self._penalty() if soft else None
        for given, ds in zip(surfaces, self._facets(surfaces), strict=True):
            surface = Surface(self.u, v, self._factor, ds, penalty)
            work = given.work(surface)
            if not isinstance(given, Contact):
                (following if given.follows else dead).append(work)
            else:
                contacts.append(work)
                self._potentials.append(given.energy(surface))
                name = given.name or f"contact {len(self._contacts)}"
                if name in self._contacts:
                    raise InputError(f"two contacts are named {name!r}: name them apart")
                self._contacts[name] = [fem.form(f) for f in given.forces(surface)]
        return dead, following, contacts

    def _facets(self, surfaces: list[Any]) -> list[Any]:
        """A measure for each load; facets may belong to several."""
        if not surfaces:
            return []
        hits = []
        for given in surfaces:
            where = marker(given.where, *self._box)
            found = dmesh.locate_entities_boundary(self.mesh, self.dim - 1, where)
            if self.comm.allreduce(len(found), op=MPI.SUM) == 0:
                kind = type(given).__name__.lower()
                raise InputError(f"{kind} on {given.where!r}: no boundary facet lies there")
            hits.append(found)
        # One tag for each combination of loads that share facets, numbered alike on every rank,
        # also on those without a facet of it.
        facets = np.unique(np.concatenate(hits))
        loads = np.stack([np.isin(facets, hit) for hit in hits], axis=1)
        own = {tuple(np.flatnonzero(row).tolist()) for row in np.unique(loads, axis=0)}
        combinations = sorted(set().union(*self.comm.allgather(own)))
        found = [combinations.index(tuple(np.flatnonzero(row).tolist())) for row in loads]
        tags = np.array(found, dtype=np.int32)
        meshtags = dmesh.meshtags(self.mesh, self.dim - 1, facets, tags)
        # One rule for a force and its sum; a contact's edge lies within facets.
        rule = {"quadrature_degree": 3 * self._degree}
        ds = ufl.Measure("ds", domain=self.mesh, subdomain_data=meshtags, metadata=rule)
        return [
            ds(tuple(tag for tag, which in enumerate(combinations) if k in which))
            for k in range(len(surfaces))
        ]

    def _penalty(self) -> fem.Function:
        """Ten times the law's largest constant over the edge of each cell."""
        law, material = self.law, self.material
        laws = law.grains.laws if isinstance(law, GrainsLaw) else [law]
        distinct = {id(one): one for one in laws}.values()
        largest = max(float(np.abs(one.stiffness()).max()) for one in distinct)
        volumes = material.volumes.reshape(-1, len(material.weights)).sum(axis=1)
        return material.cell_function(10 * largest / volumes ** (1 / self.dim))

    def _set_displacements(self, displacements: list[Displacement]) -> None:
        self._bcs: list[fem.DirichletBC] = []
        self._targets: list[tuple[fem.Function, np.ndarray]] = []
        self._names: dict[str, list[np.ndarray]] = {}
        for number, given in enumerate(displacements):
            locate = self._locator(given.where)
            name = given.name or (given.where if isinstance(given.where, str) else f"bc{number}")
            value = given.value
            if isinstance(value, Affine):
                value.check(self.dim)
            if not callable(value) and (
                len(value) < self.dim or any(v not in (None, 0) for v in value[self.dim :])
            ):
                raise InputError(f"displacement on {given.where!r}: give {self.dim} components")
            if not callable(value) and all(v is None for v in value[: self.dim]):
                raise InputError(
                    f"displacement on {given.where!r}: none of the {self.dim} components is given"
                )
            if name in self._contacts:
                raise InputError(f"a contact and a displacement are named {name!r}")
            caught = 0
            self._names.setdefault(name, [np.zeros(0, dtype=np.int32)] * self.dim)
            for k in range(self.dim):
                if not callable(value) and value[k] is None:
                    continue
                sub = self.V.sub(k)
                collapsed, _ = sub.collapse()
                dofs = locate(sub, collapsed)
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
        held = np.unique(np.concatenate([b.dof_indices()[0] for b in self._bcs] or [[]]))
        owned = self.V.dofmap.index_map.size_local * self.dim
        self._held = held[held < owned].astype(int)
        self._check_rigid_motions()

    def _locator(self, where: Any) -> Callable[..., list[np.ndarray]]:
        if where == "boundary":
            self.mesh.topology.create_connectivity(self.dim - 1, self.dim)
            facets = dmesh.exterior_facet_indices(self.mesh.topology)
            return lambda sub, space: fem.locate_dofs_topological(
                (sub, space), self.dim - 1, facets
            )
        hit = marker(where, *self._box)
        return lambda sub, space: fem.locate_dofs_geometrical((sub, space), hit)

    def _check_rigid_motions(self) -> None:
        """Contacts may hold what the displacements leave free; nothing else may."""
        held = self._held
        # About the middle of what is held, where rotations and translations part, and in units of
        # the body's size: all of them are of order one then.
        x = self.V.tabulate_dof_coordinates()[held // self.dim]
        sums = self._over_ranks(np.append(x.sum(axis=0), float(len(x))), MPI.SUM)
        motions = np.array(rigid_motions(self.V, sums[:3] / max(sums[3], 1.0)))
        motions[self.dim :] /= np.ptp(self._box, axis=0).max()
        gram = self._over_ranks(motions[:, held] @ motions[:, held].T, MPI.SUM)
        values, vectors = np.linalg.eigh(gram)
        free = vectors[:, values < 1e-10 * max(values.max(), 1e-300)]
        if free.shape[1] and not self._contacts:
            axes = "xyz" if self.dim == 3 else "xy"
            names = [f"translation along {a}" for a in axes]
            names += [f"rotation about {a}" for a in ("xyz" if self.dim == 3 else "z")]
            open_ = [
                n for n, part in zip(names, np.abs(free).max(axis=1), strict=True) if part > 1e-6
            ]
            raise InputError(f"the displacements leave the body free to move: {', '.join(open_)}")

    def _set_solver(self, options: dict[str, Any], symmetric: bool) -> None:
        self._b = fem_petsc.create_vector(self.V)
        self._A = fem_petsc.create_matrix(self._jacobian_form)
        self._A.setNearNullSpace(near_nullspace(self.V))
        self._x = self._b.duplicate()
        self._snes = PETSc.SNES().create(self.comm)
        prefix = f"objstress_{next(_NUMBER)}_"
        self._snes.setOptionsPrefix(prefix)
        defaults = {
            "snes_type": "newtonls",
            "snes_linesearch_type": "bt",
            "snes_rtol": 1e-10,
            "snes_stol": 0.0,
            "snes_max_it": 15,
            **solver_options(self.V.dofmap.index_map.size_global * self.dim, symmetric),
        }
        table = PETSc.Options()
        for key, value in (defaults | options).items():
            table[prefix + key] = value
        # The solver lives in the problem: if it held the problem, neither would ever be freed.
        self._snes.setFunction(_weakly(self._residual), self._b)
        self._snes.setJacobian(_weakly(self._jacobian), self._A)
        self._snes.setMonitor(_weakly(self._monitor))
        self._snes.setFromOptions()
        # MUMPS and multigrid read theirs when they are set up, at the first solution.
        weakref.finalize(self, _forget, [prefix + key for key in defaults | options])

    # -- callbacks ---------------------------------------------------------------------------

    def _monitor(self, snes: Any, iteration: int, norm: float) -> None:
        self._trace.append(float(norm))
        if iteration > 0:
            self._corrections.append(float(snes.getSolutionUpdate().norm()))

    def _residual(self, snes: Any, x: PETSc.Vec, b: PETSc.Vec) -> None:
        fem_petsc.assign(x, self.u)
        self.u.x.scatter_forward()
        # With the tangent: at all but the last of these points SNES asks for it next, and at
        # that one the extrapolation of the next load step does.
        if not self._evaluate(tangent=True):
            b.set(float("inf"))  # the line search shortens the step
            return
        self.assemble_residual(b)
        fem_petsc.set_bc(b, self._bcs, x, alpha=-1.0)

    def _jacobian(self, snes: Any, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        fem_petsc.assign(x, self.u)
        self.u.x.scatter_forward()
        self.material.update(tangent=True)
        self.assemble_jacobian(P)

    def _evaluate(self, tangent: bool) -> bool:
        """Whether the law has an answer at u, on all ranks: `Material.update`."""
        try:
            on_every_rank(self.comm, lambda: self.material.update(tangent=tangent))
        except InputError:
            return False
        return True

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

    def _bring_in(self, b: PETSc.Vec, form: fem.Form, x: PETSc.Vec | None, alpha: float) -> None:
        """Prescribed values g into the right-hand side of a linear problem with this matrix:
        b - alpha A (g - x) on free nodes, alpha (g - x) on the others; x = 0 by default."""
        with b.localForm() as local:
            local.getArray()[b.getLocalSize() :] = 0.0  # or they would be added to b once more
        fem_petsc.apply_lifting(b, [form], [self._bcs], None if x is None else [x], alpha=alpha)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        fem_petsc.set_bc(b, self._bcs, x, alpha=alpha)
        b.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)

    def state(self) -> dict[str, fem.Function]:
        """What a step changes: all that has to be kept to go back to a step or to go on from it."""
        return {"displacement": self.u}

    # -- solution ----------------------------------------------------------------------------

    def solve(
        self,
        steps: int = 1,
        *,
        smallest: float = 1 / 256,
        progress: bool = True,
        after_step: Callable[[StaticProblem, StepRecord], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[StepRecord]:
        """Raise the load factor from 0 to 1 in `steps` equal steps, from the undeformed body.

        Each step first extrapolates with the tangent of the last state, then runs Newton's
        method. A step that does not converge leaves no trace: u is restored, the step is halved
        and tried again; after two steps in a row went well it grows back.

        Args:
            smallest: part of a given step under which the run ends.
            after_step: called with the problem and the record after each accepted step.
            checkpoint: a folder that keeps every accepted state; a run that was interrupted goes
                on from the last one there (`after_step` is called for those before, too).

        Returns:
            `history`.

        Raises:
            InputError: the checkpoint is of another body or another number of steps.
            ConvergenceError: the smallest step failed, the worst cells are named; u is the last
                accepted state.
        """
        if steps < 1:
            raise InputError(f"steps = {steps}: give at least 1")
        self.history.clear()
        self.u.x.array[:] = 0.0
        self._update_all(0.0)
        states = None if checkpoint is None else Checkpoint(self, checkpoint, steps)
        self._march(1.0, steps, smallest, progress, after_step, states)
        return self.history

    def _march(
        self,
        end: float,
        steps: int,
        smallest: float,
        progress: bool,
        after_step: Callable[[Any, Any], None] | None,
        states: Checkpoint | None,
    ) -> None:
        """From 0 to `end` in steps of end / steps, of the load factor or of time; see `solve`."""
        full = end / steps
        size, at, rejected, good = full, 0.0, 0, 0
        for kept in states.restore() if states else ():
            at, size, good = kept["load"], kept["size"], kept["good"]
            self._update_all(at)
            self.history.append(self._record_type(**kept["record"]))
            if after_step is not None:
                after_step(self, self.history[-1])
        bar = tqdm(
            total=end,
            desc=self._pace,
            disable=not progress or self.comm.rank > 0,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.3f} [{elapsed}]{postfix}",
            initial=at,
        )
        with bar:
            while at < end:
                # No sliver is left at the end by the round-off of many sums.
                target = at + size if at + size < end - 1e-9 * full else end
                saved = self._copy_of_state()
                if self._step(target):
                    record = self._record(target, rejected)
                    self.history.append(record)
                    bar.set_postfix_str(f", {len(record.residuals) - 1} iterations")
                    bar.update(target - at)
                    at, rejected, good = target, 0, good + 1
                    if good >= 2:
                        size = min(full, 2 * size)
                    if states is not None:
                        states.write(record, load=at, size=size, good=good)
                    if after_step is not None:
                        after_step(self, record)
                    continue
                size, rejected, good = 0.5 * (target - at), rejected + 1, 0
                self._reject(
                    saved,
                    at,
                    f"to {self._pace} {target:.4f}",
                    f"{size:.4f}",
                    size < smallest * full,
                )

    def _copy_of_state(self) -> dict[str, np.ndarray]:
        return {name: f.x.array.copy() for name, f in self.state().items()}

    def _take_back(self, saved: dict[str, np.ndarray], at: float) -> None:
        """As if the step since `_copy_of_state` had not been tried."""
        for name, function in self.state().items():
            function.x.array[:] = saved[name]
        self._update_all(at)

    def _reject(
        self, saved: dict[str, np.ndarray], at: float, step: str, shorter: str, last: bool
    ) -> None:
        """Take a step back and say so: which it was, and what is tried next.

        Raises:
            ConvergenceError: it was the last one to try.
        """
        worst = self.material.worst_cells()
        self._take_back(saved, at)
        if self.comm.rank == 0:
            tqdm.write(f"step {step} rejected ({self._why}), next {shorter}", file=sys.stderr)
        if last:
            raise ConvergenceError(
                f"no convergence beyond {self._pace} {at:.4f} ({self._why}); the last accepted "
                f"state is kept; worst cells: {worst}"
            )

    def _update_all(self, load: float) -> None:
        self._set_loads(load)
        self.material.update(tangent=True)

    def _set_loads(self, load: float) -> None:
        self._load.value = load
        for function, target in self._targets:
            function.x.array[:] = load * target

    def _step(self, target: float) -> bool:
        self._set_loads(target)
        return self._newton()

    def _newton(self) -> bool:
        """Equilibrium under the loads that are set; False, and why in `_why`, if none is found.

        From u by one step of Newton's method as it is, which brings in the prescribed
        displacements (after a load step: the extrapolation), then by SNES.
        """
        self._trace.clear()
        self._corrections.clear()
        self._why = ""
        if not self._evaluate(tangent=True):
            self._why = "det F <= 0 at the start"
            return False
        fem_petsc.assign(self.u, self._x)
        self.assemble_jacobian(self._A)
        b = self.assemble_residual(self._b)
        self._bring_in(b, self._jacobian_form, self._x, -1.0)
        first = self._force_norm(b)
        ksp = self._snes.getKSP()
        ksp.setOperators(self._A)
        change = self._x.duplicate()
        ksp.solve(b, change)
        if ksp.getConvergedReason() <= 0 or not np.isfinite(change.norm()):
            self._why = "singular tangent"
            return False
        self._corrections.append(float(change.norm()))
        self._x.axpy(-1.0, change)
        # Both are zero where every node is prescribed; what is left then are lengths.
        atol = max(1e-13 * first, self._noise()) or 1e-12 * self._edge
        self._snes.setTolerances(atol=atol)
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

    def _force_norm(self, b: PETSc.Vec) -> float:
        """Norm of a vector of the linear problem over the free nodes: the others hold no forces."""
        values = b.getArray().copy()
        values[self._held] = 0.0
        return float(np.sqrt(self.comm.allreduce(float(values @ values), op=MPI.SUM)))

    def _noise(self) -> float:
        """Round-off of the norm of the assembled forces, at the tangent and u of `_newton`.

        F carries 1e-16 (that of u over a cell's edge, where u is the larger), the stress C times
        that, a node the stress times its area: its diagonal stiffness times the edge.
        """
        size = max(self._edge, float(self._x.norm(PETSc.NormType.NORM_INFINITY)))
        return 1e-15 * self._force_norm(self._A.getDiagonal()) * size

    def _reactions(self) -> dict[str, list[float]]:
        values = self.assemble_residual().getArray()
        reactions = {}
        for name, dofs in self._names.items():
            sums = [float(values[d[d < len(values)]].sum()) for d in dofs]
            reactions[name] = self._over_ranks(np.array(sums), MPI.SUM).tolist()
        for name, forms in self._contacts.items():
            sums = [float(fem.assemble_scalar(form)) for form in forms]
            reactions[name] = self._over_ranks(np.array(sums), MPI.SUM).tolist()
        return reactions

    def _stored(self) -> float:
        """Energy of the whole body as of the last update of the material, GPa length^3."""
        material = self.material
        energy = float(material.energy[: material.owned] @ material.volumes[: material.owned])
        return self.comm.allreduce(energy, op=MPI.SUM)

    def _kinetic(self) -> float:
        """GPa length^3; what moves overrides it."""
        return 0.0

    def _forces_of_state(self) -> PETSc.Vec:
        """Internal minus external forces of the state itself, no inertia."""
        return self.assemble_residual()

    def _record(self, load: float, rejected: int) -> StepRecord:
        material = self.material
        f = material.F[: material.owned]
        return StepRecord(
            load=load,
            residuals=list(self._trace),
            corrections=list(self._corrections),
            order=observed_order(self._corrections),
            rejected=rejected,
            reactions=self._reactions(),
            energy=self._stored(),
            min_J=self.comm.allreduce(float(np.linalg.det(f).min(initial=np.inf)), op=MPI.MIN),
            outside=self.comm.allreduce(int(self.law.outside(f).sum()), op=MPI.SUM),
            points=self.comm.allreduce(material.owned, op=MPI.SUM),
        )

    def write(self, path: str | Path) -> None:
        """Write the present state as VTX (`.bp`) for ParaView, see `ResultFile`."""
        from objstress.fem.results.vtx import ResultFile

        file = ResultFile(self, path)
        file.write(self.history[-1].at if self.history else 0.0)
        file.close()
