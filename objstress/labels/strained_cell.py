"""The label of one strained cell: its ions relaxed or clamped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.symmetry.crystal import SYMPREC

FORCE_TOLERANCE = 1e-4
"""eV/Angstrom: relaxed ions have no larger force component (calculators without own relaxation)."""
STRAY = 0.1
"""Ions further than this part of the nearest-neighbour distance from the homogeneous deformation
are relaxed at F = I again, to see whether the crystal is still the same."""
RETURN = 0.02
"""Angstrom: ions of the same crystal come back to their sites within this."""


class Transformed(RuntimeError):
    """The relaxed cell is another phase: unloaded, it does not return to the crystal."""


def internal_move(atoms: Atoms, f: np.ndarray, cell: Atoms) -> np.ndarray:
    """F^-1 x - X of each ion (Angstrom, reference frame), relative to their mean, (atoms, 3)."""
    move = atoms.positions @ np.linalg.inv(f).T - cell.positions
    return move - move.mean(axis=0)


class InternalDisplacement:
    """A linear estimate u = Lambda : E of the ions' internal displacements.

    Least squares over given labels; a relaxation that starts from it takes fewer steps.
    """

    def __init__(self, cell: Atoms, labels: Sequence[Atoms]):
        self.cell = cell
        f = np.array([a.info["deformation_gradient"] for a in labels])
        moves = [internal_move(a, g, cell).ravel() for a, g in zip(labels, f, strict=True)]
        self.response = None
        if len(labels) > 6:
            strains = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3)).reshape(-1, 9)
            self.response, *_ = np.linalg.lstsq(strains, np.array(moves), rcond=1e-6)

    def __call__(self, strain: np.ndarray) -> np.ndarray:
        if self.response is None:
            return np.zeros_like(self.cell.positions)
        return (strain.ravel() @ self.response).reshape(-1, 3)


def labelled_cell(
    cell: Atoms, strain: np.ndarray, calc, ions: str, fmax: float, start: np.ndarray
) -> Atoms:
    """The cell strained, its ions relaxed or clamped, with energy, stress and metadata.

    Args:
        cell: the reference.
        strain: E (3, 3).
        calc: an ASE calculator.
        ions: "relaxed" or "clamped".
        fmax: eV/Angstrom, of relaxed ions.
        start: internal displacements that relaxation starts from, (atoms, 3), Angstrom.

    Raises:
        InputError: the calculator lacks forces or stress.
        Transformed: the cell became another phase.
        RuntimeError: no relaxation, or results that are not finite.
    """
    f = right_stretch(strain)
    atoms = cell.copy()
    if ions == "relaxed":
        atoms.positions = atoms.positions + start
    # Cells are rows: a_i -> F a_i is L F^T.
    atoms.set_cell(cell.cell.array @ f.T)
    atoms.positions = atoms.positions @ f.T
    relaxed, results = _settle(atoms, calc, ions, fmax, f"|E| = {np.linalg.norm(strain):.3f}")
    if ions == "relaxed" and len(cell) > 1:
        _check_phase(relaxed, f, cell, calc, fmax)
    if ions == "relaxed":
        # Forces of almost zero for each atom would double the file; the largest is enough.
        relaxed.info["largest_force"] = float(np.abs(results.pop("forces")).max())
    relaxed.calc = SinglePointCalculator(relaxed, **results)
    relaxed.info["deformation_gradient"] = f
    return relaxed


def _settle(atoms: Atoms, calc, ions: str, fmax: float, where: str) -> tuple[Atoms, dict]:
    atoms.calc = calc
    if ions == "relaxed" and not getattr(calc, "relaxes_ions", False) and len(atoms) > 1:
        steps = BFGS(atoms, logfile=None)
        if not steps.run(fmax=fmax, steps=500):
            raise RuntimeError(f"the ions did not relax in 500 steps at {where}")
    results: dict[str, Any] = {"energy": float(atoms.get_potential_energy())}
    for key, get in (("forces", atoms.get_forces), ("stress", atoms.get_stress)):
        try:
            results[key] = np.array(get())
        except NotImplementedError:
            raise InputError(
                f"the calculator {type(calc).__name__} gives no {key}; labels need energy, forces "
                "and stress"
            ) from None
    for key, value in results.items():
        if not np.isfinite(value).all():
            raise RuntimeError(f"the calculator returned a {key} that is not finite")
    relaxed = Atoms(
        atoms.numbers,
        positions=calc.results.get("positions", atoms.positions),
        cell=atoms.cell,
        pbc=True,
    )
    return relaxed, results


def _check_phase(relaxed: Atoms, f: np.ndarray, cell: Atoms, calc, fmax: float) -> None:
    # The same phase returns to its sites when the strain is taken off. Only cells whose ions have
    # moved far are checked.
    distances = cell.get_all_distances(mic=True)
    nearest = distances[distances > 1e-3].min(initial=np.min(cell.cell.lengths()))
    if np.linalg.norm(internal_move(relaxed, f, cell), axis=1).max() < STRAY * nearest:
        return
    back = relaxed.copy()
    back.set_cell(cell.cell, scale_atoms=True)
    unloaded, _ = _settle(back, calc, "relaxed", fmax, "F = I after unloading")
    left = np.linalg.norm(internal_move(unloaded, np.eye(3), cell), axis=1).max()
    if left > RETURN:
        before, after = (
            spglib.get_spacegroup((a.cell.array, a.get_scaled_positions(), a.numbers), SYMPREC)
            for a in (cell, unloaded)
        )
        raise Transformed(
            f"the crystal transforms: unloaded, its ions stay {left:.2f} Angstrom off their sites "
            f"(space group {after}, was {before})"
        )
