"""Elastic constants by differences of an ASE calculator's stress and forces."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Element, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from objstress.calculators.named import NamedCalculator
from objstress.calculators.registry import CALCULATORS, make_calculator
from objstress.calculators.universal import UNIVERSAL
from objstress.elasticity.frames import ieee_rotation, rotated_structure
from objstress.errors import InputError
from objstress.labels.noise import calculator_noise
from objstress.labels.relaxation import relaxed_crystal
from objstress.labels.response import HarmonicResponse, harmonic_response
from objstress.properties.sources.base import CellStiffness, Crystal, Ions, Source
from objstress.symmetry.irreducible import IrreducibleSteps, signs
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import rotated_tensor, tensor_to_voigt, voigt_to_tensor

FORCES = 1e-8
"""eV/Angstrom, left in the relaxed crystal whose stress is differenced."""
VOLUME_FORCES = 1e-4
"""eV/Angstrom, left at each volume: its square is what the energy is off by."""
QUIET = 1e-4
"""Deviation of the constants, relative to the largest, below which nothing is said of noise."""
SAMPLES = 200
BEFORE = 11
"""Evaluations that the noise and a relaxation take, without those that begin it; 8 to 18 are
common."""
EDGE = 2.6
"""Angstrom, of a simple cubic cell with 17.6 Angstrom^3 an atom, about what solids have."""


@dataclass(frozen=True)
class CalculatorSource(Source):
    """An ASE calculator, or a trained potential as one.

    Attributes:
        name, what, elements, symprec: see `Source` (symprec in Angstrom).
        calculator: with forces and stress.
    """

    calculator: Any
    suffix: ClassVar[str] = ".potential"

    @classmethod
    def from_object(cls, model: Any) -> CalculatorSource:
        return cls(type(model).__name__, "an ASE calculator", None, model)

    @classmethod
    def from_file(cls, path: Path) -> CalculatorSource:
        from objstress.models.potential import load_potential

        potential = load_potential(path)
        elements = tuple(Element.from_Z(z).symbol for z in potential.settings.elements)
        calculator = make_calculator("potential", {"potential": potential})
        return cls(path.name, "a trained potential", elements, calculator)

    @classmethod
    def named(cls, name: str, arguments: dict[str, Any] | None = None) -> CalculatorSource:
        """A calculator by its name.

        Args:
            name, arguments: see `make_calculator`.

        Raises:
            InputError: see `make_calculator`.
        """
        known = CALCULATORS.get(name, NamedCalculator(cls, "an ASE calculator"))
        return cls(name, known.what, known.elements, make_calculator(name, arguments))

    def stiffness(self, structure: Crystal | None, ions: Ions) -> CellStiffness:
        """C of the relaxed cell, see `harmonic_response`, differenced in the IEEE frame."""
        cell = self.read(structure)
        q, group = ieee_rotation(cell), PointGroup.of_primitive_cell(cell)
        turned = rotated_structure(cell, q)
        atoms = AseAtomsAdaptor.get_atoms(turned, msonable=False)
        noise = calculator_noise(atoms, self.calculator)
        cell = relaxed_crystal(
            turned, self.calculator, fmax=FORCES, symprec=self.symprec, noise=noise
        )
        if PointGroup.of_primitive_cell(cell).symbol != group.symbol:
            # It has relaxed to more symmetry, whose standard frame is another.
            more = ieee_rotation(cell)
            cell, q = rotated_structure(cell, more), more @ q
        group = PointGroup.of_primitive_cell(cell)
        response = harmonic_response(cell, self.calculator, noise)
        relaxed = ions == "relaxed"
        return CellStiffness(
            structure=rotated_structure(cell, q.T),
            point_group=group,
            to_ieee=q,
            stiffness=response.relaxed if relaxed else response.clamped,
            least_ion_stiffness=float(response.stiffness_of_ions[0]) if len(cell) > 1 else None,
            softest_mode=response.softest_mode @ q if len(cell) > 1 else None,
            driven=relaxed and len(cell) > 1 and response.driven,
            deviation=_deviation(response, relaxed, group, q),
        )

    def evaluation_seconds(self) -> tuple[float, float] | None:
        """Time that one evaluation takes here, measured on 2 and 16 atoms.

        Returns:
            Seconds of any cell and seconds of each atom; None of a calculator that does not say
            which elements it knows.
        """
        if self.elements is None and self.name not in UNIVERSAL:
            return None
        element = (self.elements or ("Si",))[0]

        def seconds(*repeats: int) -> float:
            atoms = Atoms(element, cell=[EDGE] * 3, pbc=True).repeat(repeats)
            atoms.calc = self.calculator
            begun = time.perf_counter()
            atoms.get_forces()
            atoms.get_stress()
            return time.perf_counter() - begun

        seconds(2, 1, 1)  # the first of all is slow
        few, many = seconds(1, 1, 2), seconds(2, 2, 4)
        atom = max(0.0, (many - few) / 14)
        return max(0.0, few - 2 * atom), atom

    def energy_of_volume(self, structure: Crystal | None) -> tuple[float, Callable[[float], float]]:
        """Energy of the primitive cell, ions and the cell's shape relaxed at each volume."""
        cell = relaxed_crystal(self.read(structure), self.calculator, symprec=self.symprec)
        relaxed = AseAtomsAdaptor.get_atoms(cell, msonable=False)

        def energy(ratio: float) -> float:
            atoms = relaxed.copy()
            atoms.set_cell(atoms.cell.array * ratio ** (1 / 3), scale_atoms=True)
            atoms.calc = self.calculator
            movable: Any = FrechetCellFilter(atoms, constant_volume=True)
            if not BFGS(movable, logfile=None).run(fmax=VOLUME_FORCES, steps=500):
                raise InputError(f"at {ratio:.3f} of its volume the crystal does not relax")
            return float(atoms.get_potential_energy())

        return float(relaxed.get_volume()), energy


def stiffness_evaluations(cell: Structure) -> int:
    """The number of evaluations, about, that the elastic constants of a crystal take.

    Args:
        cell: primitive and exactly symmetric, see `read_primitive_cell`.
    """
    steps = IrreducibleSteps.of(cell)
    strains, moves = (
        sum(len(signs(opposite)) for *_, opposite in kind)
        for kind in (steps.strains, steps.displacements)
    )
    # A relaxation begins with second derivatives by about half as many coordinates.
    return BEFORE + strains + moves + moves // 2


def _deviation(
    response: HarmonicResponse, relaxed: bool, group: PointGroup, to_ieee: np.ndarray
) -> np.ndarray | None:
    """Standard deviation of C by the calculator's noise, GPa, in the structure's frame.

    Of C as `crystal_properties` gives it, of exactly the form of its point group.
    """
    samples = [r.relaxed if relaxed else r.clamped for r in response.scattered(SAMPLES)]
    exact = TensorForm(group, "elastic").project(voigt_to_tensor(np.array(samples)))
    deviation = tensor_to_voigt(rotated_tensor(exact, to_ieee.T, batch=1)).std(axis=0)
    return deviation if deviation.max() > QUIET * np.abs(response.clamped).max() else None
