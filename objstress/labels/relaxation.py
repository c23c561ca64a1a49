"""The stress-free crystal of a calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from objstress.calculators.registry import make_calculator
from objstress.errors import InputError
from objstress.symmetry.crystal import primitive_cell, read_structure, symmetrized
from objstress.symmetry.point_group import PointGroup

PATIENCE = 100
"""Steps after which a calculator's noise is assumed to be the limit, and `NOISE` is enough."""
NOISE = (1e-5, 1e-6)
"""Largest force (eV/Angstrom) and stress (eV/Angstrom^3, 0.16 MPa)."""


def relaxed_crystal(
    structure: Structure | Atoms | str | Path,
    calculator: str | Any,
    arguments: dict[str, Any] | None = None,
    fmax: float = 1e-4,
    steps: int = 500,
) -> Structure:
    """The primitive cell relaxed to zero forces and stress, its symmetry kept.

    Args:
        structure: a crystal or its file, any cell.
        calculator: a name for `make_calculator`, or an ASE calculator.
        arguments: keyword arguments of a calculator given by name.
        fmax: eV/Angstrom, of forces and of the cell's generalised forces (volume an atom times
            stress). Where a calculator's noise allows no more, `NOISE` is enough in the end.
        steps: largest number of BFGS steps.

    Raises:
        InputError: not relaxed within the steps, or to a crystal of another point group.
    """
    cell = primitive_cell(read_structure(structure))
    before = PointGroup.of_primitive_cell(cell).symbol
    atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
    named = isinstance(calculator, str)
    atoms.calc = make_calculator(calculator, arguments) if named else calculator
    movable: Any = FrechetCellFilter(atoms)  # ASE annotates Atoms alone
    for step, relaxed in enumerate(BFGS(movable, logfile=None).irun(fmax=fmax, steps=steps)):
        force, stress = np.abs(atoms.get_forces()).max(), np.abs(atoms.get_stress()).max()
        if relaxed or (step >= PATIENCE and force < NOISE[0] and stress < NOISE[1]):
            break
    else:
        raise InputError(
            f"the crystal does not relax: after {steps} steps forces of {force:.2g} eV/Angstrom "
            f"and a stress of {stress:.2g} eV/Angstrom^3 are left"
        )
    crystal = symmetrized(read_structure(Atoms(atoms)))
    after = PointGroup.of_primitive_cell(crystal).symbol
    if after != before:
        raise InputError(
            f"the crystal relaxes from point group {before} to {after}: it is not stable under "
            "this calculator"
        )
    return crystal
