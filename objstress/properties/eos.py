"""Energy against volume: the bulk modulus and its pressure derivative."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.properties.sources.base import Crystal
from objstress.properties.sources.find import find_model


@dataclass(frozen=True)
class EquationOfState:
    r"""The equation of state of Birch and Murnaghan, fitted by least squares.

    .. math::

        E(V) = E_0 + \frac{9}{16} V_0 B_0
        \left[(x - 1)^3 B_0' + (x - 1)^2 (6 - 4 x)\right], \quad
        x = \left(\frac{V_0}{V}\right)^{2/3}

    Birch, Phys. Rev. 71, 809 (1947).

    Attributes:
        volumes: (n,) Angstrom^3 of one primitive cell, at which energies were taken.
        energies: (n,) eV of one primitive cell.
        volume: V0, Angstrom^3.
        energy: E0, eV.
        bulk_modulus: B0, GPa, at constant temperature 0 K: Reuss's K of the crystal.
        derivative: B0' = dB/dp, a pure number (a ratio of pressures).
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
    structure: Crystal | None,
    model: Any = None,
    arguments: dict[str, Any] | None = None,
    strain: float = 0.06,
    points: int = 9,
) -> EquationOfState:
    """The equation of state from energies at volumes around the relaxed one.

    Ions and the shape of the cell are relaxed at each volume; a law has the ions of its labels.

    Args:
        structure: see `crystal_properties`, as are `model` and `arguments`; None takes a law's own
            crystal.
        model: one that has an energy.
        arguments: of a calculator given by name.
        strain: volumes run from 1 - strain to 1 + strain, relative to that without stress.
        points: number of volumes, at least 5.

    Returns:
        The fit, with volumes (n,) in Angstrom^3 and energies (n,) in eV.

    Raises:
        InputError: see `find_model` and `relaxed_crystal`; networks of a tensor; fewer than 5
            points, a range that is not between 0 and 0.5, a volume at which the crystal does not
            relax.
    """
    from pymatgen.analysis.eos import EOS

    if points < 5 or not 0 < strain < 0.5:
        raise InputError(f"points = {points}, strain = {strain}: give at least 5, and 0 to 0.5")
    volume, energy = find_model(model, arguments).energy_of_volume(structure)
    ratios = np.linspace(1 - strain, 1 + strain, points)
    energies = np.array([energy(r) for r in ratios])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = EOS("birch_murnaghan").fit((volume * ratios).tolist(), energies.tolist())
    return EquationOfState(
        volumes=volume * ratios,
        energies=energies,
        volume=float(fit.v0),
        energy=float(fit.e0),
        bulk_modulus=float(fit.b0_GPa),
        derivative=float(fit.b1),
        residual=float(np.sqrt(np.mean((fit.func(volume * ratios) - energies) ** 2))),
    )
