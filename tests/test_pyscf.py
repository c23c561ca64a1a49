"""PySCF as a calculator, and the molecules' data that it labelled."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read
from ase.optimize import BFGS
from scipy import constants

from objstress.calculators.registry import make_calculator
from objstress.errors import InputError
from tests.helpers import random_rotation

pytest.importorskip("pyscf")
from objstress.calculators.pyscf import PySCFCalculator, isolated_atom

DATA = Path(__file__).parents[1] / "data" / "molecules"
SMALL = {"basis": "def2-SVP", "grid": 1}
PEROXIDE = Atoms("HOOH", [[0.2, 0.95, 0.05], [0, 0, 0], [1.46, 0.02, 0], [1.66, -0.38, 0.83]])


def water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    atoms.positions = atoms.positions @ random_rotation(1).T
    return atoms


@pytest.mark.parametrize(("atoms", "settings"), [(water(), {}), (PEROXIDE, SMALL)])
def test_forces_are_the_energys_derivative_on_any_grid(atoms, settings):
    calculator = PySCFCalculator(**settings)
    direction = np.random.default_rng(0).normal(size=(len(atoms), 3))
    step = 3e-3

    def energy(x):
        moved = atoms.copy()
        moved.positions += x * direction
        return calculator.get_potential_energy(moved)

    slope = 8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))
    forces = calculator.get_forces(atoms)
    assert (forces * direction).sum() == pytest.approx(-slope / (12 * step), abs=1e-5)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-8)


def test_dipole_and_polarizability_are_responses_to_a_field_in_volts_per_angstrom():
    """Units by SI constants, none of which the calculator uses."""
    atoms, calculator = water(), PySCFCalculator()
    calculator.calculate(atoms, ["energy", "dipole", "polarizability"])
    state, field = calculator.ground_state(atoms), np.random.default_rng(2).normal(size=3)
    field *= 0.05 / np.linalg.norm(field)  # V/Angstrom
    state.conv_tol, state.conv_tol_grad = 1e-13, 1e-8  # what is left is a small difference
    volts = constants.physical_constants["atomic unit of electric field"][0] * 1e-10
    hartree = constants.physical_constants["Hartree energy in eV"][0]
    debye = 1e-21 / constants.c / constants.e * 1e10  # e Angstrom
    core, r = state.get_hcore(), state.mol.intor("int1e_r")
    nuclei = state.mol.atom_charges() @ state.mol.atom_coords()
    energies, dipoles = [], []
    for sign in (1, -1):
        force = sign * field / volts
        state.get_hcore = lambda *_, force=force: core + np.einsum("x,xpq->pq", force, r)
        state.kernel(state.make_rdm1())
        energies.append((state.e_tot - force @ nuclei) * hartree)
        dipoles.append(state.dip_moment(unit="Debye", verbose=0) * debye)
    slope = (energies[0] - energies[1]) / 2
    assert -slope == pytest.approx(calculator.results["dipole"] @ field, rel=1e-4)
    angstrom3 = constants.e / (4 * np.pi * constants.epsilon_0) * 1e10  # for 1 e Angstrom^2/V
    induced = (dipoles[0] - dipoles[1]) / 2 * angstrom3
    expected = calculator.results["polarizability"] @ field
    assert np.abs(induced - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(sum(dipoles) / 2, calculator.results["dipole"], atol=1e-5)


def test_a_charged_molecules_dipole_is_about_its_centre_of_mass():
    ion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])
    calculator = PySCFCalculator(charge=-1, **SMALL)
    here = calculator.get_property("dipole", ion)
    ion.positions += 7.0
    np.testing.assert_allclose(calculator.get_property("dipole", ion), here, atol=1e-7)
    state = calculator.ground_state(ion)
    own = state.dip_moment(unit="AU", verbose=0, origin=ion.get_center_of_mass() / units.Bohr)
    np.testing.assert_allclose(here, own * units.Bohr, atol=1e-7)


def test_the_charge_of_the_atoms_is_that_of_the_molecule():
    """As the potential reads it; another charge of the same atoms is another state."""
    ion = Atoms("HeH", [[0, 0, 0], [0, 0, 0.78]], info={"charge": 1})
    calculator = PySCFCalculator(**SMALL)
    energy = calculator.get_potential_energy(ion)
    assert energy == pytest.approx(
        PySCFCalculator(charge=1, **SMALL).get_potential_energy(ion), abs=1e-8
    )
    ion.info["charge"] = -1
    assert abs(calculator.get_potential_energy(ion) - energy) > 1
    ion.info["charge"] = "plus"
    with pytest.raises(InputError, match="one finite number"):
        calculator.get_potential_energy(ion)
    ion.info["charge"] = 1.0
    assert calculator.get_potential_energy(ion) == pytest.approx(energy, abs=1e-8)


def test_the_other_hand_has_the_mirrored_labels():
    calculator, mirror = PySCFCalculator(**SMALL), np.array([1, 1, -1])
    properties = calculator.implemented_properties
    left = PEROXIDE.copy()
    left.positions *= mirror
    ours, others = (
        {k: calculator.get_property(k, a) for k in properties} for a in (PEROXIDE, left)
    )
    assert others["energy"] == pytest.approx(ours["energy"], abs=1e-8)
    for key in ("forces", "dipole"):
        np.testing.assert_allclose(others[key], ours[key] * mirror, atol=1e-6)
    turned = np.diag(mirror) @ ours["polarizability"] @ np.diag(mirror)
    np.testing.assert_allclose(others["polarizability"], turned, atol=1e-6)
    assert np.abs(ours["polarizability"][2, :2]).max() > 0.01  # the mirror changes something


def test_one_ground_state_serves_all_properties(monkeypatch):
    calculator = make_calculator("pyscf", SMALL)
    solved = []
    ground_state = calculator.ground_state
    monkeypatch.setattr(calculator, "ground_state", lambda a: solved.append(a) or ground_state(a))
    atoms = water()
    atoms.calc = calculator
    assert atoms.get_potential_energy() == atoms.get_potential_energy(force_consistent=True)
    for name in ("forces", "polarizability"):
        calculator.get_property(name, atoms)
    assert len(solved) == 1
    before = atoms.get_dipole_moment()
    atoms.positions[0] += 0.05
    assert np.abs(atoms.get_dipole_moment() - before).max() > 1e-3
    assert len(solved) == 2
    assert set(calculator.results) == {"energy", "free_energy", "dipole"}


@pytest.mark.parametrize(
    ("atoms", "settings", "said"),
    [
        (Atoms("OH", [[0, 0, 0], [0, 0, 1]]), {}, "9 electrons, an odd number"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]]), SMALL, "closed shells only"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], magmoms=[1, 1]), {}, "has magnetic moments"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]), {}, "two atoms overlap"),
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), {}, "positions finite"),
        (Atoms("He", cell=[3, 3, 3], pbc=True), {}, "is periodic"),
        (Atoms("He"), {"xc": "PBEE"}, "no functional 'PBEE'"),
        (Atoms("He"), {"basis": "def2-nothing"}, "no basis def2-nothing for He"),
        (Atoms("He"), {"grid": 10}, "a level from 0 to 9"),
        (Atoms("He"), {"tolerance": 0}, "give Hartree"),
        (Atoms("He"), {"charge": 0.5}, "a whole number"),
        (Atoms("He"), {"charge": "a"}, "a whole number"),
        (Atoms("He"), {"charge": np.nan}, "a whole number"),
        (Atoms("He", info={"charge": 0.5}), {}, "a whole number"),
        (Atoms("He", info={"charge": 2}), {"charge": 0}, "but this calculator's charge is 0"),
        (Atoms("He"), {"basis": "sto-3g"}, "sto-3g has no empty orbitals"),
        (Atoms("H"), {"charge": 1}, "charge 1 has no electrons"),
        (Atoms("H"), {"charge": 3}, "charge 3 has no electrons"),
        (Atoms("I"), {"charge": 25}, "charge 25 has no electrons"),
        (Atoms("I"), {"charge": 41}, "charge 41 has no electrons"),
    ],
)
def test_what_is_no_closed_shell_molecule_is_refused(atoms, settings, said):
    with pytest.raises(InputError, match=said) as caught:
        PySCFCalculator(**settings).get_potential_energy(atoms)
    assert "\n" not in str(caught.value)


def test_heavy_elements_have_core_potentials():
    calculator = PySCFCalculator(basis="def2-SVP", grid=1)
    iodide = Atoms("IH", [[0, 0, 0], [0, 0, 1.61]])
    assert calculator.ground_state(iodide).mol.nelectron == 26
    assert 0.2 < abs(calculator.get_property("dipole", iodide)[2]) / units.Debye < 1.0  # 0.45 D


def test_harmonic_reference_of_hydrogen_fluoride_by_hand():
    """One bond: k = d2E/dr2, dmu/dr and dalpha/dr, all by differences along it."""
    from benchmarks.pyscf_harmonic import INFRARED, harmonic_reference

    settings = {"basis": "def2-SVP", "grid": 2}
    calculator = PySCFCalculator(**settings, coarse_grid=2)
    atoms = Atoms("FH", [[0, 0, 0], [0, 0, 0.93]])
    with pytest.raises(InputError, match="need a relaxed structure"):
        harmonic_reference(atoms, **settings)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=1e-4)
    found = harmonic_reference(atoms, progress=False, **settings)
    length, step, ends = atoms.get_distance(0, 1), 0.01, []
    for sign in (1, -1):
        stretched = Atoms("FH", [[0, 0, 0], [0, 0, length + sign * step]])
        calculator.calculate(stretched, calculator.implemented_properties)
        ends.append(calculator.results)
    slope = {k: (ends[0][k] - ends[1][k]) / (2 * step) for k in ends[0]}
    m, h = atoms.get_masses()
    reduced = m * h / (m + h)
    stiffness = -slope["forces"][1, 2] * constants.e * 1e20  # N/m
    rate = np.sqrt(stiffness / (reduced * constants.atomic_mass)) / (2 * np.pi)
    assert found["wavenumbers_per_cm"] == pytest.approx([rate / constants.c / 100], rel=2e-3)
    # PySCF's Hessian leaves out that the grid moves: 2 cm^-1 here, up to 3 (water) on level 4.
    assert found["wavenumbers_by_differences_per_cm"] == pytest.approx(
        found["wavenumbers_per_cm"], abs=3
    )
    assert pytest.approx(974.88, abs=0.01) == INFRARED
    infrared = INFRARED * (slope["dipole"] ** 2).sum() / reduced
    assert found["infrared_km_per_mol"] == pytest.approx([infrared], rel=5e-3)
    across, _, along = np.diag(slope["polarizability"])
    mean, anisotropy = (2 * across + along) / 3, along - across
    raman = (45 * mean**2 + 7 * anisotropy**2) / reduced
    assert found["raman_activity_angstrom4_per_u"] == pytest.approx([raman], rel=5e-3)
    np.testing.assert_allclose(np.sum(found["born_charges_e"], axis=0), 0, atol=2e-3)


def frames(part):
    return {p.name.removesuffix(f"-{part}.extxyz"): read(p, ":") for p in _files(part)}


def _files(part):
    return sorted(DATA.glob(f"*-{part}.extxyz"))


@pytest.fixture(scope="module")
def stored():
    return {part: frames(part) for part in ("train", "test")}


def test_data_are_whole(stored):
    everything = [a for part in stored.values() for found in part.values() for a in found]
    assert len(everything) >= 1500
    assert sum(p.stat().st_size for p in DATA.iterdir() if p.is_file()) < 4e6
    assert {a.info["calculator"] for a in everything} == {
        PySCFCalculator()
        .describe()
        .replace(PySCFCalculator().version, everything[0].info["calculator"].split()[1].rstrip(":"))
    }
    names = {"water", "methane", "hydrogen-peroxide", "fluorochloromethanol"}
    assert set(stored["train"]) == set(stored["test"]) == names
    for atoms in everything:
        alpha = np.asarray(atoms.info["polarizability"])
        assert alpha.size == 9
        alpha = alpha.reshape(3, 3)
        np.testing.assert_array_equal(alpha, alpha.T)
        assert np.linalg.eigvalsh(alpha).min() > 0.5
        assert np.isfinite(atoms.get_potential_energy())
        assert atoms.get_dipole_moment().shape == (3,)
        np.testing.assert_allclose(atoms.get_forces().sum(axis=0), 0, atol=1e-6)


def test_no_frame_is_trained_on_and_tested(stored):
    for name, tested in stored["test"].items():
        numbers = [a.info["frame"] for a in [*tested, *stored["train"][name]]]
        assert sorted(numbers) == list(range(len(numbers)))
        assert 0.05 < len(tested) / len(numbers) < 0.15


@pytest.mark.parametrize("name", ["hydrogen-peroxide", "fluorochloromethanol"])
def test_both_hands_are_there(stored, name):
    hands = np.array([a.info["hand"] for part in stored.values() for a in part[name]])
    assert 0.4 < (hands > 0).mean() < 0.6
    assert 0.4 < (hands < 0).mean() < 0.6


def test_hydrogen_peroxides_hand_is_the_sign_of_its_torsion(stored):
    found = [a for part in stored.values() for a in part["hydrogen-peroxide"]]
    planar = 0
    for atoms in found:
        a, b, c = np.diff(atoms.positions, axis=0)
        if abs(a @ np.cross(b, c)) < 1e-6:
            assert atoms.info["hand"] == 0
            planar += 1
        else:
            assert atoms.info["hand"] == np.sign(a @ np.cross(b, c))
    assert planar == 2
    angles = np.array([a.get_dihedral(0, 1, 2, 3) for a in found])
    assert np.histogram(angles, 12, (0, 360))[0].min() >= 10


def test_relaxed_molecules_are_at_rest_and_hands_mirror_each_other():
    found = read(DATA / "relaxed.extxyz", ":")
    assert max(np.abs(a.get_forces()).max() for a in found) < 1e-4
    minima = [a for a in found if a.info["config_type"] == "minimum"]
    for name in ("hydrogen-peroxide", "fluorochloromethanol"):
        right, left = (a for a in minima if a.info["name"] == name)
        assert (right.info["hand"], left.info["hand"]) == (1, -1)
        np.testing.assert_array_equal(left.positions, right.positions * [1, 1, -1])
        assert left.get_potential_energy() == pytest.approx(right.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(
            left.get_dipole_moment(), right.get_dipole_moment() * [1, 1, -1], atol=1e-6
        )


def test_stored_labels_come_out_again(stored):
    atoms = stored["test"]["water"][0]
    calculator = PySCFCalculator()
    assert calculator.get_potential_energy(atoms) == pytest.approx(
        atoms.get_potential_energy(), abs=1e-6
    )
    np.testing.assert_allclose(calculator.get_forces(atoms), atoms.get_forces(), atol=1e-5)
    np.testing.assert_allclose(
        calculator.get_property("polarizability", atoms).ravel(),
        np.ravel(atoms.info["polarizability"]),
        atol=1e-5,
    )


def test_water_comes_apart_into_the_isolated_atoms_by_pbes_atomisation_energy():
    """234 kcal/mol: Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), table I."""
    atoms = {str(a.symbols): a for a in read(DATA / "isolated_atoms.extxyz", ":")}
    assert set(atoms) == {"H", "C", "O", "F", "Cl"}
    alone = {symbol: a.get_potential_energy() for symbol, a in atoms.items()}
    assert isolated_atom("H").get_potential_energy() == pytest.approx(alone["H"], abs=1e-6)
    bound = next(a for a in read(DATA / "relaxed.extxyz", ":") if a.info["name"] == "water")
    atomisation = alone["O"] + 2 * alone["H"] - bound.get_potential_energy()
    assert atomisation / (units.kcal / units.mol) == pytest.approx(234, abs=3)
