"""Prescribed displacements as degrees of freedom: what they hold, and the forces there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.fem.conditions.displacements import Affine, Displacement, marker
from objstress.fem.meshes import bounding_box
from objstress.fem.solve.linear import rigid_motions


class Supports:
    """The prescribed displacements of a body.

    Args:
        V: space of the displacement.
        displacements: each with its full value.

    Attributes:
        bcs: for dolfinx; their values follow `apply`.
        names: {name: the local degrees of freedom of each component}.
        held: owned degrees of freedom that are prescribed.

    Raises:
        InputError: a displacement that catches no node, or has not as many components as the mesh
            has dimensions.
    """

    def __init__(self, V: fem.FunctionSpace, displacements: Sequence[Displacement]):
        self.V, self.comm = V, V.mesh.comm
        self.dim = V.dofmap.index_map_bs
        self._box = bounding_box(V.mesh)
        self.bcs: list[fem.DirichletBC] = []
        self._targets: list[tuple[fem.Function, np.ndarray]] = []
        self.names: dict[str, list[np.ndarray]] = {}
        for number, displacement in enumerate(displacements):
            self._add(displacement, f"bc{number}")
        held = np.unique(np.concatenate([b.dof_indices()[0] for b in self.bcs] or [[]]))
        owned = V.dofmap.index_map.size_local * self.dim
        self.held = held[held < owned].astype(int)

    def _add(self, displacement: Displacement, name: str) -> None:
        where, value, dim = displacement.where, displacement.value, self.dim
        locate = self._locator(where)
        name = displacement.name or (where if isinstance(where, str) else name)
        if isinstance(value, Affine):
            value.check(dim)
        if not callable(value) and (
            len(value) < dim or any(v not in (None, 0) for v in value[dim:])
        ):
            raise InputError(f"displacement on {where!r}: give {dim} components")
        if not callable(value) and all(v is None for v in value[:dim]):
            raise InputError(f"displacement on {where!r}: none of the {dim} components is given")
        caught = 0
        self.names.setdefault(name, [np.zeros(0, dtype=np.int32)] * dim)
        for k in range(dim):
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
            self.bcs.append(fem.dirichletbc(prescribed, dofs, sub))
            self._targets.append((prescribed, target.x.array.copy()))
            caught += len(dofs[0])
            self.names[name][k] = np.union1d(self.names[name][k], dofs[0]).astype(np.int32)
        if self.comm.allreduce(caught, op=MPI.SUM) == 0:
            raise InputError(f"displacement on {where!r}: no node found there")

    def _locator(self, where: Any) -> Callable[..., list[np.ndarray]]:
        if where == "boundary":
            mesh = self.V.mesh
            dim = mesh.topology.dim
            mesh.topology.create_connectivity(dim - 1, dim)
            facets = dmesh.exterior_facet_indices(mesh.topology)
            return lambda sub, space: fem.locate_dofs_topological((sub, space), dim - 1, facets)
        hit = marker(where, *self._box)
        return lambda sub, space: fem.locate_dofs_geometrical((sub, space), hit)

    def apply(self, load: float) -> None:
        """Prescribe `load` times the full values."""
        for function, target in self._targets:
            function.x.array[:] = load * target

    def bring_in(self, b: PETSc.Vec, form: fem.Form, x: PETSc.Vec | None, alpha: float) -> None:
        """Prescribed values g into the right-hand side of a linear problem with this matrix:
        b - alpha A (g - x) on free nodes, alpha (g - x) on the others; x = 0 by default."""
        with b.localForm() as local:
            local.getArray()[b.getLocalSize() :] = 0.0  # or they would be added to b once more
        fem_petsc.apply_lifting(b, [form], [self.bcs], None if x is None else [x], alpha=alpha)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        fem_petsc.set_bc(b, self.bcs, x, alpha=alpha)
        b.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)

    def free_norm(self, b: PETSc.Vec) -> float:
        """Norm of a vector of the linear problem over the free nodes: the others hold no forces."""
        values = b.getArray().copy()
        values[self.held] = 0.0
        return float(np.sqrt(self.comm.allreduce(float(values @ values), op=MPI.SUM)))

    def forces(self, residual: PETSc.Vec) -> dict[str, list[float]]:
        """What each displacement pushes the body with, from the residual there."""
        values = residual.getArray()
        forces = {}
        for name, dofs in self.names.items():
            sums = [float(values[d[d < len(values)]].sum()) for d in dofs]
            forces[name] = over_ranks(self.comm, np.array(sums)).tolist()
        return forces

    def free_motions(self) -> list[str]:
        """The rigid motions that they leave free, in words."""
        dim, held = self.dim, self.held
        # About the middle of what is held, where rotations and translations part, and in units of
        # the body's size: all of them are of order one then.
        x = self.V.tabulate_dof_coordinates()[held // dim]
        sums = over_ranks(self.comm, np.append(x.sum(axis=0), float(len(x))))
        motions = np.array(rigid_motions(self.V, sums[:3] / max(sums[3], 1.0)))
        motions[dim:] /= np.ptp(self._box, axis=0).max()
        gram = over_ranks(self.comm, motions[:, held] @ motions[:, held].T)
        values, vectors = np.linalg.eigh(gram)
        free = vectors[:, values < 1e-10 * max(values.max(), 1e-300)]
        if not free.shape[1]:
            return []
        names = [f"translation along {a}" for a in ("xyz" if dim == 3 else "xy")]
        names += [f"rotation about {a}" for a in ("xyz" if dim == 3 else "z")]
        largest = np.abs(free).max(axis=1)
        return [name for name, part in zip(names, largest, strict=True) if part > 1e-6]


def over_ranks(comm: MPI.Comm, values: np.ndarray) -> np.ndarray:
    """The sum over all ranks, entry by entry."""
    total = np.empty_like(values)
    comm.Allreduce(values, total, op=MPI.SUM)
    return total


def _component(value: Callable[[np.ndarray], np.ndarray], k: int, x: np.ndarray) -> np.ndarray:
    return np.asarray(value(x))[k]
