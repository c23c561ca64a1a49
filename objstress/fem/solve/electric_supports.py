"""Prescribed displacements and potentials as degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import as_amplitude
from objstress.fem.conditions.displacements import Displacement
from objstress.fem.conditions.electrodes import Electrode
from objstress.fem.conditions.facets import described
from objstress.fem.conditions.where import Places
from objstress.fem.meshes import bounding_box, from_to
from objstress.fem.pieces import pieces_of
from objstress.fem.solve.supports import Supports, over_ranks


class ElectricSupports(Supports):
    """The prescribed displacements of a body, and its electrodes.

    Args:
        places, displacements, start: see `Supports`.
        W: space of displacement and scaled potential, in this order at each node.
        electrodes: those of given potential hold it, those that float are only known.
        scale: potential over the unknown that stands for it.

    Attributes:
        electrodes: {name: local nodes}, in the order given.
        held_electrodes: names of those of given potential.
        floating: (name, electrode) of the others, and in `masters` of each the global degree of
            freedom that stands for all of it.

    Raises:
        InputError: see `Electrode` and `Supports`.
    """

    def __init__(
        self,
        places: Places,
        W: fem.FunctionSpace,
        displacements: Sequence[Displacement],
        electrodes: Sequence[Electrode],
        scale: float,
        start: fem.Function | None = None,
    ):
        super().__init__(places, W, displacements)
        self.proportional = self.proportional and start is None
        self.scale = scale
        self.electrodes: dict[str, np.ndarray] = {}
        self.held_electrodes: list[str] = []
        self.floating: list[tuple[str, Electrode]] = []
        self.masters: list[int] = []
        self._fixed = np.zeros(0, dtype=np.int32)
        for number, electrode in enumerate(electrodes):
            self._add_electrode(electrode, f"electrode{number}")
        self._hold(start)

    def _add_electrode(self, electrode: Electrode, name: str) -> None:
        who, where, k = described(electrode), electrode.where, self.dim
        name = electrode.name or (where if isinstance(where, str) else name)
        if name in self.electrodes:
            raise InputError(f"two electrodes are named {name!r}: give each a name of its own")
        locate = self._places.nodes(where, who)
        amplitude = as_amplitude(electrode.amplitude)
        if amplitude is not None:
            self.proportional = False
        if electrode.potential is None:
            sub = self.V.sub(k)
            dofs = locate(sub, sub.collapse()[0])[0]
        else:
            value = [None] * k + [electrode.potential / self.scale]
            dofs, _ = self._prescribe(locate, value, k, amplitude, who)
            self._fixed = np.union1d(self._fixed, dofs // self.width).astype(np.int32)
            self.held_electrodes.append(name)
        nodes = np.unique(dofs // self.width).astype(np.int32)
        if self.comm.allreduce(len(nodes), op=MPI.SUM) == 0:
            raise self._places.nothing(where, who)
        for other, known in self.electrodes.items():
            shared = len(np.intersect1d(self._own(known), nodes))
            if shared := self.comm.allreduce(shared, op=MPI.SUM):
                raise InputError(
                    f"the electrodes {other!r} and {name!r} touch at {shared} nodes: leave a gap, "
                    "or make them one"
                )
        self.electrodes[name] = nodes
        if electrode.potential is None:
            own = self._global(self._own(nodes))
            first = int(own.min()) if len(own) else np.iinfo(np.int64).max
            self.floating.append((name, electrode))
            self.masters.append(self.comm.allreduce(first, op=MPI.MIN))

    def _own(self, nodes: np.ndarray) -> np.ndarray:
        return nodes[nodes < self.V.dofmap.index_map.size_local]

    def _global(self, nodes: np.ndarray) -> np.ndarray:
        """Global degrees of freedom of the potential at local nodes."""
        numbers = self.V.dofmap.index_map.local_to_global(nodes.astype(np.int32))
        return numbers.astype(np.int64) * self.width + self.dim

    def ties(self) -> PETSc.Mat | None:
        """T with w = T w': the potential of a floating electrode is that of its master.

        Square, so that vectors keep their size; columns of the others are empty. None where no
        electrode floats.
        """
        if not self.floating:
            return None
        index_map = self.V.dofmap.index_map
        owned = index_map.size_local * self.width
        first = index_map.local_range[0] * self.width
        columns = np.arange(first, first + owned, dtype=np.int32)
        for (name, _), master in zip(self.floating, self.masters, strict=True):
            columns[self._own(self.electrodes[name]) * self.width + self.dim] = master
        sizes = (owned, index_map.size_global * self.width)
        rows = np.arange(owned + 1, dtype=np.int32)
        ties = PETSc.Mat().createAIJ(
            (sizes, sizes), comm=self.comm, csr=(rows, columns, np.ones(owned))
        )
        ties.assemble()
        return ties

    def tied_rows(self) -> np.ndarray:
        """Global numbers of the owned unknowns that have a master."""
        rows = [np.zeros(0, dtype=np.int64)]
        for (name, _), master in zip(self.floating, self.masters, strict=True):
            own = self._global(self._own(self.electrodes[name]))
            rows.append(own[own != master])
        return np.concatenate(rows).astype(np.int32)

    def even_out(self, w: fem.Function) -> None:
        """Give the potential of its master to each floating electrode."""
        index_map = self.V.dofmap.index_map
        first = index_map.local_range[0] * self.width
        owned = index_map.size_local * self.width
        for (name, _), master in zip(self.floating, self.masters, strict=True):
            here = first <= master < first + owned
            value = float(w.x.array[master - first]) if here else 0.0
            value = self.comm.allreduce(value, op=MPI.SUM)
            w.x.array[self.electrodes[name] * self.width + self.dim] = value

    def check_potential(self) -> None:
        """Something must hold the potential of each piece of the body.

        Raises:
            InputError: nothing does.
        """
        number, piece = pieces_of(self.V.dofmap.index_map, self.V.dofmap.list)
        held = np.bincount(piece[self._own(self._fixed)], minlength=number)
        for k in np.flatnonzero(over_ranks(self.comm, held.astype(float)) == 0):
            where = ""
            if number > 1:
                box = bounding_box(self.V.mesh, self.V.tabulate_dof_coordinates()[piece == k])
                where = f" of the piece {from_to(box, self.dim)}"
            raise InputError(
                f"no electrode holds the potential{where}: give an Electrode with a potential, or "
                "the law of strain alone"
            )

    def charges(self, residual: PETSc.Vec) -> dict[str, float]:
        """Free charge on each electrode, from the unbalanced charges there."""
        values = residual.getArray().reshape(-1, self.width)[:, self.dim]
        return {
            name: -float(over_ranks(self.comm, np.array([values[self._own(n)].sum()]))[0])
            / self.scale
            for name, n in self.electrodes.items()
        }

    def mean_potentials(self, phi: fem.Function) -> dict[str, float]:
        """Mean potential of the nodes of each electrode."""
        means = {}
        for name, nodes in self.electrodes.items():
            mine = phi.x.array[self._own(nodes)]
            total: Any = over_ranks(self.comm, np.array([mine.sum(), float(len(mine))]))
            means[name] = float(total[0] / total[1])
        return means
