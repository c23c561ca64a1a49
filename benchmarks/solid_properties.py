"""What a calculator says of labelled solids: predictions, elastic constants, a vacancy.

`PYTHON benchmarks/solid_properties.py MODEL TEST SYMBOL OUT` does so for a model of mace-torch, in
its environment; for objstress `properties` is called. ASE and numpy are all that it needs.
"""

import json
import sys

import numpy as np
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS
from ase.units import GPa

STEP = 2e-3
CELLS = {"Si": 2, "Mo": 3}
"""Of the supercell, along each axis: the size of those in the data."""


def properties(calculator, test, symbol):
    """Predictions for the frames of the file `test`, and properties of the element's crystal.

    Returns:
        energy (eV), forces (eV/Angstrom) and stress (eV/Angstrom^3, Voigt) of each frame; of the
        relaxed crystal its lattice constant (Angstrom), C11, C12, C44 with relaxed ions (GPa) and
        the energy to form a vacancy in a supercell of N atoms, ions and cell relaxed (eV):

            E_v = E(N - 1) - (N - 1) / N E(N)
    """
    frames = []
    for atoms in read(test, ":"):
        atoms.calc = calculator
        frames.append(
            {
                "energy": float(atoms.get_potential_energy()),
                "forces": atoms.get_forces().tolist(),
                "stress": atoms.get_stress().tolist(),
            }
        )
    crystal = bulk(symbol, cubic=True)
    crystal.calc = calculator
    relax(FrechetCellFilter(crystal))
    hole = crystal * (3 * [CELLS[symbol]])
    number = len(hole)
    energy = number / len(crystal) * crystal.get_potential_energy()
    del hole[0]
    # Off the symmetric site, which may be a saddle.
    hole.rattle(0.02, seed=0)
    hole.calc = calculator
    relax(FrechetCellFilter(hole))
    return {
        "frames": frames,
        "lattice_constant_A": float(crystal.cell.lengths()[0]),
        **elastic_constants(crystal, calculator),
        "vacancy_eV": float(hole.get_potential_energy() - (number - 1) / number * energy),
    }


def elastic_constants(crystal, calculator):
    """C11, C12 and C44 in GPa by central differences of the stress, ions relaxed."""

    def stress(strain):
        atoms = crystal.copy()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = calculator
        relax(atoms)
        return atoms.get_stress() / GPa

    stretch, shear = np.zeros((3, 3)), np.zeros((3, 3))
    stretch[0, 0] = STEP
    shear[1, 2] = shear[2, 1] = STEP / 2
    first = (stress(stretch) - stress(-stretch)) / (2 * STEP)
    second = (stress(shear) - stress(-shear)) / (2 * STEP)
    names = ("C11_GPa", "C12_GPa", "C44_GPa")
    return dict(zip(names, (float(first[0]), float(first[1]), float(second[3])), strict=True))


def relax(what):
    if not BFGS(what, logfile=None).run(fmax=1e-3, steps=300):
        print("not relaxed to 1e-3 eV/Angstrom", file=sys.stderr)


if __name__ == "__main__":
    from mace.calculators import MACECalculator

    model, test, symbol, out = sys.argv[1:]
    calculator = MACECalculator(model_paths=model, device="cpu", default_dtype="float64")
    with open(out, "w") as file:
        json.dump(properties(calculator, test, symbol), file)
