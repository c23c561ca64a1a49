"""Energy against volume, and the bulk modulus and its derivative from it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa
from pymatgen.analysis.eos import EOS
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.linalg import expm
from scipy.optimize import minimize

from objstress.errors import InputError
from objstress.labels.relaxation import relaxed_crystal
from objstress.laws.base import MaterialLaw
from objstress.properties.sources import find_model
from objstress.symmetry.crystal import primitive_cell, read_structure
from objstress.symmetry.tensor_forms import TensorForm

FORCES = 1e-4
"""eV/Angstrom, left at each volume: its square is what the energy is off by."""


@dataclass(frozen=True)
class EquationOfState:
    r"""Birch and Murnaghan's equation of state, fitted by least squares.

        E(V) = E0 + 9/16 V0 B0 [(x - 1)^3 B0' + (x - 1)^2 (6 - 4 x)],   x = (V0 / V)^(2/3)

    Birch, Phys. Rev. 71, 809 (1947).

    Attributes:
        volumes, energies: what it was fitted to; Angstrom^3 and eV of one primitive cell.
        volume: V0, Angstrom^3.
        energy: E0, eV.
        bulk_modulus: B0, GPa, at constant temperature 0 K: Reuss's K of the crystal.
        derivative: B0' = dB/dp.
        residual: root mean square of what the fit leaves, eV.
    """

    volumes: np.ndarray
    energies: np.ndarray
    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    residual: float


def equation_of_state(
    structure: Structure | Atoms | str | Path | None,
    model: Any,
    arguments: dict[str, Any] | None = None,
    strain: float = 0.06,
    points: int = 9,
) -> EquationOfState:
    """Energies at volumes around the relaxed one, ions and the shape of the cell relaxed at each.

    Args:
        structure, model, arguments: see `crystal_properties`; None takes a law's own crystal. A
            law has the ions of its labels.
        strain: volumes from 1 - strain to 1 + strain of that without stress.
        points: how many, at least 5.

    Raises:
        InputError: see `find_model` and `relaxed_crystal`; networks of a tensor; fewer than 5
            points, a range that is not between 0 and 0.5, a volume at which the crystal does not
            relax.
    """
    if points < 5 or not 0 < strain < 0.5:
        raise InputError(f"points = {points}, strain = {strain}: give at least 5, and 0 to 0.5")
    asked = find_model(model, arguments)
    ratios = np.linspace(1 - strain, 1 + strain, points)
    if asked.law is not None:
        volume, energy = _of_law(asked.law)
    elif asked.calculator is None:
        raise InputError(
            f"{asked.name} gives tensors and no energy: an equation of state needs one"
        )
    else:
        if structure is None:
            raise InputError("give the structure of the crystal")
        cell = primitive_cell(read_structure(structure))
        asked.check_elements(cell)
        volume, energy = _of_calculator(cell, asked.calculator)
    energies = np.array([energy(r) for r in ratios])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = EOS("birch_murnaghan").fit((volume * ratios).tolist(), energies.tolist())
    return EquationOfState(
        volume * ratios,
        energies,
        float(fit.v0),
        float(fit.e0),
        float(fit.b0_GPa),
        float(fit.b1),
        float(np.sqrt(np.mean((fit.func(volume * ratios) - energies) ** 2))),
    )


def _of_calculator(cell: Structure, calculator: Any) -> tuple[float, Callable[[float], float]]:
    free = AseAtomsAdaptor.get_atoms(relaxed_crystal(cell, calculator), msonable=False)

    def energy(ratio: float) -> float:
        atoms = free.copy()
        atoms.set_cell(atoms.cell.array * ratio ** (1 / 3), scale_atoms=True)
        atoms.calc = calculator
        movable: Any = FrechetCellFilter(atoms, constant_volume=True)
        if not BFGS(movable, logfile=None).run(fmax=FORCES, steps=500):
            raise InputError(f"at {ratio:.3f} of its volume the crystal does not relax")
        return float(atoms.get_potential_energy())

    return float(free.get_volume()), energy


def _of_law(law: MaterialLaw) -> tuple[float, Callable[[float], float]]:
    structure, group = getattr(law, "structure", None), getattr(law, "point_group", None)
    if structure is None or group is None:
        raise InputError("this law knows no crystal, so that its cell has no volume")
    # Stretches that keep the symmetry, without change of volume.
    shapes = TensorForm(group, "[V2]").basis
    shapes = shapes - np.trace(shapes, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    shapes = shapes[np.linalg.norm(shapes, axis=(1, 2)) > 1e-9]
    volume, unit = float(structure.volume), float(np.abs(law.stiffness()).max())

    def energy(ratio: float) -> float:
        def at(x: np.ndarray) -> float:
            f = ratio ** (1 / 3) * expm(np.tensordot(x, shapes, axes=1))
            return float(law.energy(f[None])[0]) / unit

        start = np.zeros(len(shapes))
        lowest = at(start)
        if len(shapes):
            bounds = [(-0.1, 0.1)] * len(shapes)
            options = {"ftol": 1e-15, "gtol": 1e-10}
            lowest = minimize(at, start, method="L-BFGS-B", bounds=bounds, options=options).fun
        return float(lowest) * unit * volume * GPa

    return volume, energy
