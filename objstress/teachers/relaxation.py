"""A crystal free of stress under a calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from objstress.errors import InputError
from objstress.symmetry.crystal import primitive_cell, read_structure, symmetrized
from objstress.symmetry.point_group import PointGroup
from objstress.teachers.calculators import make_calculator


def relaxed_crystal(
    structure: Structure | Atoms | str | Path,
    calculator: str | Any,
    arguments: dict[str, Any] | None = None,
    fmax: float = 1e-4,
    steps: int = 500,
) -> Structure:
    """The primitive cell with neither forces nor stress, its symmetry kept.

    Args:
        calculator: a name for `make_calculator`, with its arguments, or an ASE calculator.
        fmax: eV/Angstrom, of forces and of the cell's generalised forces.

    Raises:
        InputError: not relaxed within the steps, or to a crystal of another point group.
    """
    cell = primitive_cell(read_structure(structure))
    before = PointGroup.of_primitive_cell(cell).symbol
    atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
    named = isinstance(calculator, str)
    atoms.calc = make_calculator(calculator, arguments) if named else calculator
    movable: Any = FrechetCellFilter(atoms)  # ASE annotates Atoms alone
    if not BFGS(movable, logfile=None).run(fmax=fmax, steps=steps):
        left = float(np.abs(atoms.get_forces()).max())
        raise InputError(
            f"the crystal does not relax: after {steps} steps forces of {left:.2g} eV/Angstrom "
            "are left"
        )
    found = symmetrized(read_structure(Atoms(atoms)))
    after = PointGroup.of_primitive_cell(found).symbol
    if after != before:
        raise InputError(
            f"the crystal relaxes from point group {before} to {after}: it is not stable under "
            "this calculator"
        )
    return found
