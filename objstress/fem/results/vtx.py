"""Results on disk, for ParaView."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from dolfinx import fem
from dolfinx.io import VTXWriter

from objstress.errors import InputError
from objstress.fem.materials.grains import GrainsLaw
from objstress.fem.solve.protocol import Shown
from objstress.io.files import check_writable
from objstress.laws.base import MaterialLaw
from objstress.parallel import on_first_rank
from objstress.symmetry.ipf import ipf_colours

SHAPES: dict[str, tuple[int, ...]] = {
    "cauchy_stress": (3, 3),
    "principal_stress": (3,),
    "green_lagrange": (3, 3),
    "principal_strain": (3,),
    "ipf_colour": (3,),
    "electric_field": (3,),
    "electric_displacement": (3,),
}
"""Cell fields other than scalars: see `Material.cell_averages` and `grain_fields`."""

# What may be removed where a new result is to lie.
_PARTS = re.compile(r"data\.\d+|md\.\d+|md\.idx|profiling\.json")

# ADIOS2 ends the process if the folder of a file is removed while it is open, as where a notebook's
# cell was interrupted and is run again.
_OPEN: WeakValueDictionary[Path, ResultFile] = WeakValueDictionary()


def grain_fields(law: MaterialLaw, direction: Sequence[float] = (0, 0, 1)) -> dict[str, np.ndarray]:
    """`grain`, its number, and `ipf_colour` (red, green, blue) of the local cells, ghosts last.

    Empty for a body of one crystal. Grains of an isotropic law are white.

    Args:
        law: of a `Material`.
        direction: of the sample, see `symmetry.ipf.ipf_colours`.
    """
    if not isinstance(law, GrainsLaw):
        return {}
    grains = law.grains
    colours = np.empty((len(grains.laws), 3))
    # A tessellation has many grains of few laws.
    for one in {id(each): each for each in grains.laws}.values():
        same = [k for k, each in enumerate(grains.laws) if each is one]
        colours[same] = ipf_colours(one.point_group, grains.orientations[same], direction)
    return {"grain": law.cell_grains.astype(float), "ipf_colour": colours[law.cell_grains]}


class ResultFile:
    """VTX (ADIOS2) for ParaView 5.12 or newer, one time for each `write`.

    The fields of the problem's state (displacement; velocity and acceleration of a motion) at
    their own nodes, whatever their degree, which is the same for all; per cell what
    `Material.cell_averages` gives (stresses, strains, energy, points outside the strains that the
    law was fitted to), and number and orientation colour of the grains where there are some. State
    at quadrature points is not written.

    Until `close` it is `NAME.partial.bp`, which can be looked at; then it replaces what was at
    `path`. A run that resumes from its checkpoint writes it from the start, with all states that
    were kept. All ranks call each method; dolfinx writes the cells where two ranks meet for both.

    Args:
        problem: whose states are written.
        path: a folder, `NAME.bp`; folders above it are made.
        direction: of the sample, that the grains' colours are of.

    Raises:
        InputError: it cannot be written there, or the folder holds other files.
    """

    def __init__(
        self,
        problem: Shown,
        path: str | Path,
        direction: Sequence[float] = (0, 0, 1),
    ):
        self.problem, self.path = problem, Path(path)
        self.partial = self.path.with_suffix(".partial.bp")
        self.times = 0
        if self.path.suffix != ".bp":
            raise InputError(f"{path}: results are written as VTX, give a name that ends in .bp")
        for folder in (self.path, self.partial):
            check_writable(folder, folder=True)
            foreign = [p.name for p in folder.glob("*") if not _PARTS.fullmatch(p.name)]
            if foreign:
                raise InputError(f"{folder}: {foreign[0]} is not part of a result, move it away")
        mesh = problem.mesh
        fixed = grain_fields(problem.material.law, direction)
        self.fields = {
            name: fem.Function(fem.functionspace(mesh, ("DG", 0, SHAPES.get(name, ()))), name=name)
            for name in (*problem.material.cell_averages(), *fixed)
        }
        self._fill(fixed)
        if (other := _OPEN.get(self.partial.resolve())) is not None:
            # What is there from now on is this one's.
            other._close()
        # A run on more ranks leaves more files.
        self._on_first_rank(lambda: _remove(self.partial))
        # BP4: more readers know it than the newer BP5.
        nodal = [f for f in problem.state().values() if not is_quadrature(f)]
        written = [*nodal, *self.fields.values()]
        self.file: VTXWriter = VTXWriter(problem.comm, self.partial, written, engine="BP4")
        self.closed = False
        _OPEN[self.partial.resolve()] = self

    def write(self, time: float) -> None:
        """Append the problem's present state.

        Args:
            time: load factor or time of the state, as ParaView shows it; any unit.
        """
        self._fill(self.problem.material.cell_averages())
        self.file.write(time)
        self.times += 1

    def close(self) -> None:
        """Put the file in its place; a file without a single time is removed.

        Closing or discarding it again changes nothing.

        Raises:
            InputError: what was written is gone; what was at `path` is left there.
        """
        if self._close():
            self._on_first_rank(self._put_in_place)

    def discard(self) -> None:
        """Close and remove it: a refused run leaves nothing behind."""
        if self._close():
            self._on_first_rank(lambda: _remove(self.partial))

    def abandon(self) -> None:
        """Remove it where this rank fails alone: the others will not close it with this one.

        All ranks must end after it: ADIOS2 has the file open still.
        """
        if not self.closed:
            self.closed = True
            shutil.rmtree(self.partial, ignore_errors=True)

    def _close(self) -> bool:
        """False if it was closed before."""
        before, self.closed = self.closed, True
        if not before:
            self.file.close()
        return not before

    def _put_in_place(self) -> None:
        if not self.partial.is_dir():
            raise InputError(f"{self.partial}: removed while it was being written")
        _remove(self.path)
        if self.times:
            os.replace(self.partial, self.path)
        else:
            _remove(self.partial)

    def _fill(self, fields: dict[str, np.ndarray]) -> None:
        for name, values in fields.items():
            function = self.fields[name]
            rows = function.function_space.dofmap.list[self.problem.material.cells].ravel()
            width = int(np.prod(SHAPES.get(name, ()), dtype=int))
            function.x.array.reshape(-1, width)[rows] = values.reshape(-1, width)

    def _on_first_rank(self, do: Callable[[], None]) -> None:
        self.problem.comm.barrier()  # no rank reads or writes there any more
        on_first_rank(self.problem.comm, do)


def is_quadrature(function: fem.Function) -> bool:
    """Whether it lives at quadrature points, and so at no nodes."""
    return function.function_space.ufl_element().family_name == "quadrature"


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
