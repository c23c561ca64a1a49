"""The stress-free crystal of a calculator."""

from __future__ import annotations

import warnings
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
from objstress.labels.noise import Noise, calculator_noise
from objstress.symmetry.crystal import SYMPREC, primitive_cell, symmetrized
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_primitive_cell, read_structure

PATIENCE = 100
"""Steps after which a calculator's noise is assumed to be the limit."""
FAR = 0.05
"""Stretch beyond which a crystal that relaxes has become another."""
NOISE = Noise(1e-5, 1e-6)
"""Force (eV/Angstrom) and stress (eV/Angstrom^3, 0.16 MPa) that are then small enough, or five
times what the calculator scatters by."""
TOO_NOISY = Noise(1e-2, 1e-3)
"""Scatter above which a calculator is refused."""


def relaxed_crystal(
    structure: Structure | Atoms | str | Path,
    calculator: str | Any,
    arguments: dict[str, Any] | None = None,
    fmax: float = 1e-4,
    steps: int = 500,
    symprec: float = SYMPREC,
) -> Structure:
    """The primitive cell relaxed to zero forces and stress, its symmetry kept.

    Where it relaxes to more symmetry, as a crystal whose positions were inexact does, a warning
    says so, and the primitive cell of that symmetry is returned.

    Args:
        structure: a crystal or its file, any cell.
        calculator: a name for `make_calculator`, or an ASE calculator.
        arguments: keyword arguments of a calculator given by name.
        fmax: eV/Angstrom, of forces and of the cell's generalised forces (volume an atom times
            stress). Where a calculator's noise allows no more, forces and stresses as large as
            that are left.
        steps: largest number of BFGS steps.
        symprec: distance in Angstrom under which sites are equivalent.

    Raises:
        InputError: not relaxed within the steps, or to a crystal of less or other symmetry; a
            calculator that is too noisy.
    """
    cell = read_primitive_cell(structure, symprec)
    before = PointGroup.of_primitive_cell(cell)
    atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
    named = isinstance(calculator, str)
    atoms.calc = make_calculator(calculator, arguments) if named else calculator
    movable: Any = FrechetCellFilter(atoms)  # ASE annotates Atoms alone
    enough = NOISE
    for step, relaxed in enumerate(BFGS(movable, logfile=None).irun(fmax=fmax, steps=steps)):
        force, stress = np.abs(atoms.get_forces()).max(), np.abs(atoms.get_stress()).max()
        if step == PATIENCE:
            enough = _enough(calculator_noise(Atoms(atoms), atoms.calc))
        if relaxed or (step >= PATIENCE and force < enough.forces and stress < enough.stress):
            break
    else:
        raise InputError(
            f"the crystal does not relax: after {steps} steps forces of {force:.2g} eV/Angstrom "
            f"and a stress of {stress:.2g} eV/Angstrom^3 are left"
        )
    crystal = symmetrized(read_structure(Atoms(atoms)), symprec)
    after = PointGroup.of_primitive_cell(crystal)
    if after.symbol == before.symbol:
        return crystal
    change = f"the crystal relaxes from point group {before.symbol} to {after.symbol}"
    # Positions that were merely inexact have the symmetry already, within a wider tolerance, and
    # the cell changes little.
    try:
        meant = PointGroup.of_primitive_cell(primitive_cell(cell, 10 * symprec)).symbol
    except InputError:
        meant = ""
    stretch = np.linalg.svd(np.linalg.solve(cell.lattice.matrix, crystal.lattice.matrix))[1]
    if meant != after.symbol or np.abs(stretch - 1).max() > FAR:
        raise InputError(f"{change}: it is not stable under this calculator")
    warnings.warn(f"{change}, which it had within {10 * symprec:g} Angstrom", stacklevel=2)
    return primitive_cell(crystal, symprec)


def _enough(noise: Noise) -> Noise:
    if noise.forces > TOO_NOISY.forces or noise.stress > TOO_NOISY.stress:
        raise InputError(
            f"the calculator scatters by {noise.forces:.2g} eV/Angstrom and {noise.stress:.2g} "
            "eV/Angstrom^3 from one evaluation to the next: nothing can be differenced"
        )
    return Noise(max(NOISE.forces, 5 * noise.forces), max(NOISE.stress, 5 * noise.stress))
