"""Prescribed displacements as degrees of freedom: what they hold, and the forces there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from warnings import warn

import numpy as np
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc
from scipy.spatial import cKDTree

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import as_amplitude, corners
from objstress.fem.conditions.displacements import Displacement, takes_amount
from objstress.fem.conditions.facets import described
from objstress.fem.conditions.where import Places
from objstress.fem.meshes import bounding_box, from_to
from objstress.fem.pieces import pieces_of
from objstress.fem.solve.linear import rigid_motions
from objstress.fem.solve.prescribed import Prescribed, checked_value
from objstress.parallel import on_every_rank


class Supports:
    """The prescribed displacements of a body.

    Args:
        places: of the mesh.
        V: space of the displacement, or of it and what follows it at each node.
        displacements: each with its full value.
        start: displacement that they begin from and leave in proportion to the load factor; None
            for the undeformed body.

    Attributes:
        bcs: for dolfinx; their values follow `apply`.
        names: {name: the local degrees of freedom of each component}; a shared one belongs to the
            displacement that names it first.
        nodes: {name: the local nodes that it holds in some component}, shared ones too.
        holds: {name: the local degrees of freedom that it holds}, shared ones too.
        held: owned degrees of freedom that are prescribed.
        proportional: whether all values are proportional to the load factor.

    Raises:
        InputError: see `Displacement`.
    """

    def __init__(
        self,
        places: Places,
        V: fem.FunctionSpace,
        displacements: Sequence[Displacement],
        start: fem.Function | None = None,
    ):
        self.V, self.comm, self._places = V, V.mesh.comm, places
        self.dim, self.width = V.mesh.geometry.dim, V.dofmap.index_map_bs
        self.bcs: list[fem.DirichletBC] = []
        self._prescribed: list[Prescribed] = []
        self.names: dict[str, list[np.ndarray]] = {}
        self.nodes: dict[str, np.ndarray] = {}
        self.holds: dict[str, np.ndarray] = {}
        self.proportional = start is None
        for number, displacement in enumerate(displacements):
            self._add(displacement, f"bc{number}")
        on_every_rank(self.comm, self._check_agreement)
        self._count_once()
        self._hold(start)

    def _hold(self, start: fem.Function | None) -> None:
        """Know what is held, and begin from where it is."""
        held = np.unique(np.concatenate([np.zeros(0, int), *(p.dofs for p in self._prescribed)]))
        owned = self.V.dofmap.index_map.size_local * self.width
        self.held = held[held < owned].astype(int)
        if start is not None:
            for one in self._prescribed:
                one.begin(start)

    def _add(self, displacement: Displacement, name: str) -> None:
        who, dim = described(displacement), self.dim
        value = checked_value(displacement.value, dim, who)
        amplitude = as_amplitude(displacement.amplitude)
        if amplitude is not None or (callable(value) and takes_amount(value)):
            self.proportional = False
        where = displacement.where
        locate = self._places.nodes(where, who)
        name = displacement.name or (where if isinstance(where, str) else name)
        self.names.setdefault(name, [np.zeros(0, dtype=np.int32)] * dim)
        self.nodes.setdefault(name, np.zeros(0, dtype=np.int32))
        caught = 0
        for k in range(dim):
            if not callable(value) and value[k] is None:
                continue
            dofs, collapsed = self._prescribe(locate, value, k, amplitude, who)
            caught += len(dofs)
            self.names[name][k] = np.union1d(self.names[name][k], dofs).astype(np.int32)
            self.nodes[name] = np.union1d(self.nodes[name], dofs // self.width)
            self.holds[name] = np.union1d(self.holds.get(name, dofs), dofs)
        if self.comm.allreduce(caught, op=MPI.SUM) == 0:
            raise self._places.nothing(where, who)
        missed = self._places.near_misses(where, collapsed)  # of all components alike
        if missed and self.comm.rank == 0:
            warn(f"{who}: {missed} nodes all but lie there and are left out", stacklevel=2)

    def _prescribe(
        self, locate: Any, value: Any, k: int, amplitude: Any, who: str
    ) -> tuple[np.ndarray, fem.FunctionSpace]:
        """Prescribe component k; its degrees of freedom, and its own space."""
        sub = self.V.sub(k)
        collapsed, _ = sub.collapse()
        dofs = locate(sub, collapsed)
        function = fem.Function(collapsed)
        made = partial(Prescribed, function, dofs[0], dofs[1], value, k, amplitude, who)
        one = on_every_rank(self.comm, made)  # one rank alone may refuse
        self.bcs.append(fem.dirichletbc(function, dofs, sub))
        self._prescribed.append(one)
        return dofs[0], collapsed

    def _check_agreement(self) -> None:
        """Displacements that share nodes must agree on them, at any load factor."""
        number = (
            self.V.dofmap.index_map.size_local + self.V.dofmap.index_map.num_ghosts
        ) * self.width
        size = float(np.ptp(self._places.box, axis=0).max())
        points = np.array([0.0, *corners([p.amplitude for p in self._prescribed]), 1.0])
        middle = 0.63 * points[:-1] + 0.37 * points[1:]
        for load in (1.0, *np.unique([*points, *middle]).tolist()):
            known, by = np.full(number, np.nan), np.full(number, -1)
            for n, one in enumerate(self._prescribed):
                values, before = one.values(load), known[one.dofs]
                most = np.maximum(np.abs(values), np.abs(before))
                differs = np.abs(values - before) > 1e-12 * size + 1e-9 * most  # NaN: not yet
                if differs.any():
                    at = int(np.flatnonzero(differs)[0])
                    other = self._prescribed[by[one.dofs[at]]]
                    node = self.V.tabulate_dof_coordinates()[one.dofs[at] // self.width]
                    node = np.where(np.abs(node) < 1e-12 * size, 0.0, node)
                    place = ", ".join(f"{x:.6g}" for x in node[: self.dim])
                    raise InputError(
                        f"{other.who} and {one.who} contradict each other at {differs.sum()} "
                        f"nodes: at ({place}) u_{'xyz'[one.k]} = {before[at]:.6g} and "
                        f"{values[at]:.6g} at load factor {load:g}; leave one of them free there"
                    )
                known[one.dofs], by[one.dofs] = values, n

    def _count_once(self) -> None:
        counted = np.zeros(0, dtype=np.int32)
        for components in self.names.values():
            for k, dofs in enumerate(components):
                components[k] = np.setdiff1d(dofs, counted)
            counted = np.concatenate([counted, *components])

    def apply(self, load: float) -> None:
        """Prescribe what belongs to a load factor."""
        for one in self._prescribed:
            one.function.x.array[one.places] = one.values(load)

    def apply_difference(
        self, base: float, weights: Sequence[tuple[float, float]], over: float
    ) -> None:
        """Prescribe a difference quotient: the sum of w (value(load) - value(base)) / over.

        A value that does not change has the rate 0, not round-off.
        """
        for one in self._prescribed:
            before = one.values(base)
            change = sum(w * (one.values(load) - before) for w, load in weights)
            one.function.x.array[one.places] = change / over

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

    def mean_displacements(self, u: fem.Function) -> dict[str, list[float]]:
        """Mean of u over the nodes of each displacement, length."""
        values = u.x.array.reshape(-1, self.dim)[: self.V.dofmap.index_map.size_local]
        means = {}
        for name, nodes in self.nodes.items():
            mine = values[nodes[nodes < len(values)]]
            total = over_ranks(self.comm, np.append(mine.sum(axis=0), float(len(mine))))
            means[name] = (total[:-1] / total[-1]).tolist()
        return means

    def free_motions(self) -> list[str]:
        """The rigid motions that they leave free, of each piece of the body, in words."""
        number, piece = pieces_of(self.V.dofmap.index_map, self.V.dofmap.list)
        if number > 1:
            self._warn_of_touching(number, piece)
        found = []
        for k in range(number):
            free = self._free_motions(piece == k)
            if number > 1 and free:
                box = bounding_box(self.V.mesh, self.V.tabulate_dof_coordinates()[piece == k])
                free = [f"{motion} of the piece {from_to(box, self.dim)}" for motion in free]
            found += free
            if len(found) > 8:
                break
        return found[:8] + ["..."] * (len(found) > 8)

    def _warn_of_touching(self, number: int, piece: np.ndarray) -> None:
        """Pieces with nodes at one place are, as a rule, volumes that a mesher did not join."""
        owned = self.V.dofmap.index_map.size_local
        x = self.comm.gather(self.V.tabulate_dof_coordinates()[:owned])
        of_node = self.comm.gather(piece[:owned])
        if x is None or of_node is None:
            return
        size = float(np.ptp(self._places.box, axis=0).max())
        which = np.concatenate(of_node)
        pairs = cKDTree(np.concatenate(x)).query_pairs(1e-9 * size, output_type="ndarray")
        both = int((which[pairs[:, 0]] != which[pairs[:, 1]]).sum())
        if both:
            warn(
                f"the mesh is in {number} pieces that touch at {both} nodes and are not joined: if "
                "they are one body, join them in the mesher (gmsh: fragment)",
                stacklevel=2,
            )

    def _free_motions(self, nodes: np.ndarray) -> list[str]:
        dim = self.dim
        held = self.held[nodes[self.held // self.width] & (self.held % self.width < dim)]
        # About the middle of what is held, where rotations and translations part, and in units of
        # the body's size: all of them are of order one then.
        x = self.V.tabulate_dof_coordinates()[held // self.width]
        sums = over_ranks(self.comm, np.append(x.sum(axis=0), float(len(x))))
        motions = np.array(rigid_motions(self.V, sums[:3] / max(sums[3], 1.0)))
        motions[dim:] /= np.ptp(self._places.box, axis=0).max()
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
