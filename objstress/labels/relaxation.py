"""The stress-free crystal of a calculator."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.linalg import block_diag

from objstress.calculators.registry import make_calculator
from objstress.errors import InputError
from objstress.labels.noise import Noise, calculator_noise
from objstress.symmetry.crystal import SYMPREC, primitive_cell, site_operations, symmetrized
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_primitive_cell, read_structure
from objstress.symmetry.voigt import from_mandel, invariant_strains

PATIENCE = 100
"""Steps after which what `NOISE` leaves is enough, whatever keeps the forces from vanishing."""
FAR = 0.05
"""Stretch beyond which a crystal that relaxes has become another."""
NOISE = Noise(1e-5, 1e-6)
"""Force (eV/Angstrom) and stress (eV/Angstrom^3, 0.16 MPa) that are then small enough."""
GUESS = 70.0
"""eV/Angstrom^2, ASE's guess of second derivatives."""
SOFTEST = 0.05
"""eV/Angstrom^2, the least that a guess may be."""
PROBE = 2e-3
"""Angstrom, step of the differences that second derivatives are guessed from."""
RENEWED = 5
"""Steps that second derivatives computed anew need to the end."""
RENEWALS = 4
"""Most times that they are."""
SCATTER = 5
"""Forces and stresses of so many times the calculator's noise are no longer told from it."""
NOTHING = 1e-12
"""eV/Angstrom^3, what is no stress at all."""
SQUEEZED = 0.99
"""Stretch under which a crystal that holds together has a stress."""
TOO_NOISY = Noise(1e-2, 1e-3)
"""Scatter above which a calculator is refused."""


def relaxed_crystal(
    structure: Structure | Atoms | str | Path,
    calculator: str | Any,
    arguments: dict[str, Any] | None = None,
    fmax: float = 1e-4,
    steps: int = 500,
    symprec: float = SYMPREC,
    noise: Noise | None = None,
) -> Structure:
    """The primitive cell relaxed to zero forces and stress, its symmetry kept.

    Where it relaxes to more symmetry, as a crystal whose positions were inexact does, a warning
    says so, and the primitive cell of that symmetry is returned.

    Args:
        structure: a crystal or its file, any cell.
        calculator: a name for `make_calculator`, or an ASE calculator.
        arguments: keyword arguments of a calculator given by name.
        fmax: eV/Angstrom, of forces and of the cell's generalised forces (volume an atom times
            stress). Where a calculator's noise allows no more, forces and stresses of five times
            that are left.
        steps: largest number of BFGS steps.
        symprec: distance in Angstrom under which sites are equivalent.
        noise: of the calculator; measured if not given.

    Raises:
        InputError: not relaxed within the steps, or to a crystal of less or other symmetry, or
            to atoms without bonds; a calculator that is too noisy.
    """
    cell = read_primitive_cell(structure, symprec)
    before = PointGroup.of_primitive_cell(cell)
    atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
    named = isinstance(calculator, str)
    atoms.calc = make_calculator(calculator, arguments) if named else calculator
    atoms.set_constraint(FixSymmetry(atoms, symprec))
    movable: Any = FrechetCellFilter(atoms)  # ASE annotates Atoms alone
    noise = noise or calculator_noise(atoms, atoms.calc)
    enough = limit(noise)
    optimizer = BFGS(movable, logfile=None)
    free = _free_coordinates(cell)
    optimizer.H0 = _hessian(free, movable)
    largest, since, renewals = np.inf, 0, 0
    for step, relaxed in enumerate(optimizer.irun(fmax=fmax, steps=steps)):
        force, stress = np.abs(atoms.get_forces()).max(), np.abs(atoms.get_stress()).max()
        if step == PATIENCE:
            enough = Noise(max(NOISE.forces, enough.forces), max(NOISE.stress, enough.stress))
        if relaxed or (force < enough.forces and stress < enough.stress):
            break
        last, largest, since = largest, np.abs(movable.get_forces()).max(), since + 1
        if since < 3 or renewals == RENEWALS:
            continue
        if _steps_left(largest, last, max(fmax, enough.forces)) > len(free) + RENEWED:
            optimizer.H0, optimizer.state = _hessian(free, movable), None
            since, renewals = 0, renewals + 1
    else:
        raise InputError(
            f"the crystal does not relax: after {steps} steps forces of {force:.2g} eV/Angstrom "
            f"and a stress of {stress:.2g} eV/Angstrom^3 are left"
        )
    atoms.set_constraint()
    if stress < NOTHING and _stress_when_squeezed(atoms) < NOTHING:
        raise InputError(
            "the crystal falls apart: no atom lies within the calculator's reach where it relaxes"
        )
    crystal = symmetrized(read_structure(atoms), symprec)
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


def _steps_left(largest: float, last: float, enough: float) -> float:
    """Steps to the end if forces go on to fall as they did in the last one."""
    return np.inf if largest >= last else np.log(enough / largest) / np.log(largest / last)


def _hessian(free: np.ndarray, movable: Any) -> np.ndarray:
    """The energy's second derivatives by the coordinates that the symmetry leaves free.

    By differences, one evaluation for each; BFGS' own guess in all other directions, which have no
    forces. Without them BFGS learns these few numbers in many steps.
    """
    start = movable.get_positions()
    rest = movable.get_forces()
    rows = []
    for direction in free:
        movable.set_positions(start + PROBE * direction.reshape(start.shape))
        rows.append((rest - movable.get_forces()).ravel() / PROBE)
    movable.set_positions(start)
    values, vectors = np.linalg.eigh(_symmetric(free @ np.array(rows).reshape(free.shape).T))
    modes = vectors.T @ free
    # A crystal far from rest may be unstable there: uphill is no direction to go.
    stiffness = np.abs(values).clip(min=SOFTEST) - GUESS
    return GUESS * np.eye(free.shape[1]) + modes.T @ (stiffness[:, None] * modes)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2


def _free_coordinates(crystal: Structure) -> np.ndarray:
    """Orthonormal coordinates of ASE's cell filter that no operation changes, (m, 3 (n + 3))."""
    rotations, permutations = site_operations(crystal)
    atoms = len(crystal)
    ions = np.zeros((atoms, 3, atoms, 3))
    for g, p in zip(rotations, permutations, strict=True):
        ions[p, :, np.arange(atoms)] += g / len(rotations)
    ions -= rotations.mean(axis=0)[None, :, None, :] / atoms  # common shifts
    values, vectors = np.linalg.eigh(_symmetric(ions.reshape(3 * atoms, -1)))
    strains = from_mandel(invariant_strains(rotations).T).reshape(-1, 9)
    return block_diag(vectors[:, values > 0.5].T, strains)


def limit(noise: Noise) -> Noise:
    """Forces (eV/Angstrom) and stresses (eV/Angstrom^3) that a relaxation can reach at best.

    Args:
        noise: of the calculator.

    Raises:
        InputError: so much noise that nothing can be differenced.
    """
    if noise.forces > TOO_NOISY.forces or noise.stress > TOO_NOISY.stress:
        raise InputError(
            f"the calculator scatters by {noise.forces:.2g} eV/Angstrom and {noise.stress:.2g} "
            "eV/Angstrom^3 from one evaluation to the next: nothing can be differenced"
        )
    return Noise(SCATTER * noise.forces, SCATTER * noise.stress)


def _stress_when_squeezed(atoms: Atoms) -> float:
    there = atoms.copy()
    there.calc = atoms.calc
    there.set_cell(SQUEEZED * atoms.cell.array, scale_atoms=True)
    return float(np.abs(there.get_stress()).max())
