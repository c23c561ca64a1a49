"""Labelled structures: keys, shapes, units, references, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import Bohr, GPa, Hartree, kcal, mol

from objstress import InputError
from objstress.training.potential.frames import (
    Frame,
    elements_of,
    labelled_graphs,
    read_frames,
    root_mean_square,
)
from objstress.training.potential.plausibility import free_atom_energy, unit_warnings, work_slope
from objstress.training.potential.references import (
    fitted_references,
    given_references,
    without_isolated_atoms,
)
from objstress.training.shear_order import contradictions, order_in_file
from tests.conftest import SHARED

RNG = np.random.default_rng


def water(k=0, **info):
    atoms = molecule("H2O")
    atoms.positions += 0.05 * RNG(k).normal(size=(3, 3))
    atoms.info |= info
    return atoms


def stored(atoms, **results):
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def file_of(tmp_path, frames, name="data.extxyz"):
    write(tmp_path / name, frames)
    return tmp_path / name


@pytest.fixture(scope="module")
def copper():
    """Rattled and strained cells of copper by effective-medium theory."""
    rng, frames = RNG(0), []
    for k in range(24):
        atoms = bulk("Cu", cubic=True)
        if k % 2:
            strain = 0.02 * rng.normal(size=(3, 3))
            atoms.set_cell(atoms.cell @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        atoms.positions += 0.05 * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        labels = {
            "energy": np.array(atoms.get_potential_energy()),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(voigt=False),
        }
        frames.append(Frame(atoms.copy(), labels, "", f"frame {k}"))
    return frames


def times(frames, **factors):
    return [
        replace(f, labels={t: v * factors.get(t, 1.0) for t, v in f.labels.items()}) for f in frames
    ]


def test_labels_come_from_wherever_ase_put_them(tmp_path):
    frames = []
    for k in range(3):
        atoms = water(k, REF_energy=-14.0 - k, polarizability=np.diag([1.0, 2.0, 3.0]))
        atoms.arrays["REF_forces"] = np.full((3, 3), float(k))
        atoms.info["config_type"] = f"kind{k % 2}"
        frames.append(stored(atoms, energy=1.0 + k, dipole=np.array([0.0, 0.1, 0.2])))
    path = file_of(tmp_path, frames)
    keys = {
        "energy": "REF_energy",
        "forces": "REF_forces",
        "dipole": "dipole",
        "polarizability": "polarizability",
    }
    read = read_frames(path, keys)
    assert [float(f.labels["energy"]) for f in read] == [-14.0, -15.0, -16.0]
    assert np.array_equal(read[2].labels["forces"], np.full((3, 3), 2.0))
    assert np.allclose(read[0].labels["dipole"], [0.0, 0.1, 0.2])
    assert np.allclose(read[0].labels["polarizability"], np.diag([1.0, 2.0, 3.0]))
    assert [f.group for f in read] == ["kind0", "kind1", "kind0"]
    # The same file by ASE's own key, which its reader moves into a calculator.
    own = read_frames(path, {"energy": "energy"})
    assert [float(f.labels["energy"]) for f in own] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("form", ["voigt", "matrix", "nine"])
def test_stress_in_every_form_is_the_same_tensor(tmp_path, form):
    tensor = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    atoms = bulk("Cu", cubic=True)
    if form == "voigt":
        atoms.info["s"] = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # xx yy zz yz xz xy
    elif form == "matrix":
        atoms.info["s"] = tensor
    else:
        stored(atoms, stress=np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    path = file_of(tmp_path, [atoms])
    read = read_frames(path, {"stress": "stress" if form == "nine" else "s"})
    assert np.array_equal(read[0].labels["stress"], tensor)


def test_each_frame_is_used_for_what_it_has(tmp_path):
    with_both = water(0, e=-1.0, mu=np.array([0.1, 0.2, 0.3]))
    path = file_of(tmp_path, [with_both, water(1, e=-2.0)])
    read = read_frames(path, {"energy": "e", "dipole": "mu"})
    assert [sorted(f.labels) for f in read] == [["dipole", "energy"], ["energy"]]
    graphs = labelled_graphs(read, elements_of(read), 3.0, ("energy", "dipole"))
    assert torch.isfinite(graphs[0].target_dipole).all()
    assert torch.isnan(graphs[1].target_dipole).all()
    assert graphs[1].target_dipole.shape == (1, 3)


def test_energies_keep_their_digits_in_float32(tmp_path):
    """-9391.45554428 eV in float32 is off by up to half a meV; less its references it is not."""
    frame = Frame(water(), {"energy": np.array(-9391.45554428)}, "", "frame 0")
    references = np.array([-600.0, -8191.0])
    (graph,) = labelled_graphs(
        [frame], (1, 8), 3.0, ("energy",), references=references, dtype=torch.float32
    )
    assert graph.target_energy.dtype == torch.float32
    assert float(graph.target_energy) == pytest.approx(-0.45554428, abs=1e-7)


def test_references_are_the_energies_of_the_atoms():
    frames = [
        Frame(Atoms(s), {"energy": np.array(e)}, "", s)
        for s, e in (("H2O", -14.0), ("H2", -6.0), ("O2", -9.0), ("H2O2", -18.0))
    ]
    counts = np.array([[2, 1], [2, 0], [0, 2], [2, 2]])
    exact = times(frames)
    for f, n in zip(exact, counts, strict=True):
        f.labels["energy"] = np.array(n @ [-3.5, -4.5])
    assert np.allclose(fitted_references(exact, (1, 8)), [-3.5, -4.5])
    # Per atom: the residual is orthogonal to the rows n / sum(n).
    rows = counts / counts.sum(1, keepdims=True)
    target = np.array([float(f.labels["energy"]) for f in frames]) / counts.sum(1)
    found = fitted_references(frames, (1, 8))
    assert np.abs(rows.T @ (rows @ found - target)).max() < 1e-12


def test_references_can_be_given(tmp_path):
    path = file_of(tmp_path, [Atoms("H", info={"e": -13.6}), Atoms("O", info={"e": -2041.0})])
    assert given_references(path, (1, 8), "e").tolist() == [-13.6, -2041.0]
    assert given_references({"O": -2.0, "H": -1.0}, (1, 8), "e").tolist() == [-1.0, -2.0]
    with pytest.raises(InputError, match="no energy of an isolated C"):
        given_references(path, (1, 6, 8), "e")
    with pytest.raises(InputError, match=r"frame 0.*3 atoms"):
        given_references(file_of(tmp_path, [water(e=1.0)], "w.extxyz"), (1, 8), "e")
    with pytest.raises(InputError, match="is not a chemical element"):
        given_references({"Hy": -1.0}, (1,), "e")


def test_isolated_atoms_are_taken_out_of_the_frames():
    energy = {"energy": np.array(-3.0), "forces": np.zeros((1, 3))}
    box = {"cell": 20 * np.eye(3), "pbc": True}
    frames = [
        Frame(Atoms("Cu"), energy, "", "free"),
        Frame(Atoms("Cu", **box), energy | {"energy": np.array(-3.2)}, "", "in a box"),
        Frame(Atoms("Cu", info={"charge": -1}), energy | {"energy": np.array(-4.4)}, "", "ion"),
        Frame(Atoms("O", **box), energy | {"polarizability": np.eye(3)}, "", "with more labels"),
        Frame(bulk("Cu"), energy, "", "crystal of one atom"),
        Frame(Atoms("Cu"), {"dipole": np.zeros(3)}, "", "without energy"),
        Frame(Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]]), energy, "", "pair"),
    ]
    rest, energies = without_isolated_atoms(frames, 5.0)
    assert energies == {29: [-3.0, -3.2], 8: [-3.0]}
    assert [f.place for f in rest] == [
        "with more labels", "crystal of one atom", "without energy", "pair"
    ]  # fmt: skip
    assert list(rest[0].labels) == ["polarizability"]


def test_given_references_leave_the_others_to_the_fit():
    frames = [
        Frame(Atoms(s), {"energy": np.array(e)}, "", s) for s, e in (("H2O", -11.5), ("H2", -6.0))
    ]
    assert fitted_references(frames, (1, 8), given={1: -3.0}) == pytest.approx([-3.0, -5.5])
    assert fitted_references(frames, (1, 8), given={1: -3.0, 8: -5.0}).tolist() == [-3.0, -5.0]


def test_scale_is_the_rms_of_all_components():
    frames = [
        Frame(Atoms("H2"), {"forces": np.array([[3.0, 0, 0], [0, 0, 0]])}, "", ""),
        Frame(Atoms("H"), {"forces": np.zeros((1, 3))}, "", ""),
    ]
    assert root_mean_square(frames, "forces") == pytest.approx(1.0)
    assert root_mean_square(frames, "stress") == 1.0


def test_work_of_forces_and_stress_is_the_energy(copper):
    slope, correlation, pairs = work_slope(copper)
    assert pairs >= 4
    assert slope == pytest.approx(1.0, abs=0.1)
    assert correlation > 0.95
    slope, correlation, pairs = work_slope(copper, stress=True)
    assert slope == pytest.approx(1.0, abs=0.1)
    assert correlation > 0.95


def test_a_rotated_molecule_does_the_same_work():
    """A harmonic molecule that also tumbles: the trapezoidal rule after laying one upon another."""
    rng, frames = RNG(3), []
    base = molecule("H2O").positions
    for k in range(30):
        r = base + 0.03 * rng.normal(size=(3, 3))
        lengths = [(0, 1, 0.97), (0, 2, 0.97), (1, 2, 1.52)]
        energy, force = 0.0, np.zeros((3, 3))
        for i, j, d in lengths:
            v = r[j] - r[i]
            stretch = np.linalg.norm(v) - d
            energy += 20 * stretch**2
            pull = 40 * stretch * v / np.linalg.norm(v)
            force[i] += pull
            force[j] -= pull
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        q *= np.sign(np.linalg.det(q))
        labels = {"energy": np.array(energy), "forces": force @ q.T}
        frames.append(Frame(Atoms("OH2", r @ q.T + k), labels, "", f"frame {k}"))
    slope, correlation, _ = work_slope(frames)
    assert slope == pytest.approx(1.0, abs=0.05)
    assert correlation > 0.99
    assert unit_warnings(frames) == []


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({}, None),
        ({"energy": mol / kcal}, "energies in kcal/mol"),
        ({"energy": 1 / Hartree}, "energies in Hartree"),
        ({"forces": Bohr / Hartree}, "forces in Hartree/Bohr"),
        ({"forces": Bohr}, "forces per Bohr"),
        ({"forces": -1.0}, "gradients in the place of forces"),
        ({"stress": 1 / GPa}, "stress in GPa"),
        ({"stress": -10 / GPa}, "stress in kbar and with the sign of a pressure"),
        ({"stress": -1.0}, "stress with the sign of a pressure"),
    ],
)
def test_labels_in_wrong_units_are_noticed(copper, factors, said):
    warnings = unit_warnings(times(copper, **factors))
    if said is None:
        assert warnings == []
    else:
        assert any(said in line for line in warnings), warnings


def test_total_energies_in_wrong_units_are_noticed():
    """Nothing but the energies: those of all electrons, as PBE gives them, in eV and others."""
    energy = 2 * -13.6 - 2041.8 - 10.0
    for factor, said in ((1.0, ""), (mol / kcal, "in kcal/mol"), (1 / Hartree, "in Hartree")):
        frames = [Frame(water(), {"energy": np.array(factor * energy)}, "", "frame 0")]
        warnings = unit_warnings(frames)
        assert [said in line for line in warnings] == ([True] if said else [])
    lower = [Frame(water(), {"energy": np.array(1e5 * energy)}, "", "frame 0")]
    assert any("another unit" in line for line in unit_warnings(lower))


def test_free_atoms_have_their_energies():
    """Hartree-Fock limits of C, O and Fe, Hartree: -37.689, -74.809, -1262.444 (Bunge 1993)."""
    for z, energy in ((6, -37.689), (8, -74.809), (26, -1262.444)):
        assert free_atom_energy(z) / Hartree == pytest.approx(energy, rel=0.01)


def test_binding_against_isolated_atoms_is_plausible():
    frames = [Frame(water(), {"energy": np.array(-2078.5)}, "", "frame 0")]
    assert unit_warnings(frames, np.array([-13.6, -2041.0])) == []
    assert "eV an atom" in unit_warnings(frames, np.array([-0.5, -75.0]))[0]
    assert "eV an atom" in unit_warnings(frames, np.array([-13.6, -2091.0]))[0]


def squeezed():
    atoms = water(1, e=1.0)
    atoms.positions[1] = atoms.positions[0] + [0.1, 0.0, 0.0]
    return atoms


def across():
    atoms = Atoms("Cu2", [[0.05, 1, 1], [3.9, 1, 1]], cell=[4, 4, 4], pbc=True)
    atoms.info["e"] = 1.0
    return atoms


BAD = {
    "nan label": (lambda: water(1, e=np.nan), "frame 1: energy .* not finite"),
    "nan position": (
        lambda: Atoms("H", [[np.nan, 0, 0]], info={"e": 1.0}),
        "frame 1: positions or cell",
    ),
    "flat cell": (
        lambda: Atoms("H", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True, info={"e": 1.0}),
        "frame 1: the periodic cell has no volume",
    ),
    "overlap": (squeezed, r"frame 1: atoms 0 and 1 overlap \(0.100"),
    "overlap across a face": (across, r"frame 1: atoms 0 and 1 overlap \(0.150"),
    "unknown element": (lambda: Atoms("X", info={"e": 1.0}), "frame 1 .*unknown element"),
    "shape": (lambda: water(1, e=np.array([1.0, 2.0])), r"frame 1: energy .*shape \(2,\)"),
    "text": (lambda: water(1, e="much"), "frame 1: energy .* not numeric"),
    "charge": (lambda: water(1, e=1.0, charge="plus"), "frame 1: .*'plus'.*one finite number"),
    "charges": (lambda: water(1, e=1.0, charge=[1.0, 0.0]), "frame 1: .*one finite number"),
    "nan charge": (lambda: water(1, e=1.0, charge=np.nan), "frame 1: .*one finite number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_frames_are_named(tmp_path, case):
    make, message = BAD[case]
    path = file_of(tmp_path, [water(e=1.0), make()])
    with pytest.raises(InputError, match=message) as refusal:
        read_frames(path, {"energy": "e"})
    assert "\n" not in str(refusal.value)
    assert path.name in str(refusal.value)


def test_stress_needs_a_periodic_symmetric_tensor(tmp_path):
    path = file_of(tmp_path, [water(s=np.zeros(6))])
    with pytest.raises(InputError, match="not periodic"):
        read_frames(path, {"stress": "s"})
    atoms = bulk("Cu", cubic=True)
    atoms.info["s"] = np.arange(9.0).reshape(3, 3)
    with pytest.raises(InputError, match="not symmetric"):
        read_frames(file_of(tmp_path, [atoms]), {"stress": "s"})


def test_keys_that_cannot_be(tmp_path):
    path = file_of(tmp_path, [stored(water(REF_dipole=np.ones(3)), energy=1.0)])
    with pytest.raises(InputError, match="nearest in the file is 'REF_dipole'"):
        read_frames(path, {"energy": "energy", "dipole": "REF_dipol"})
    with pytest.raises(InputError, match="did you mean 'forces'"):
        read_frames(path, {"force": "forces"})
    with pytest.raises(InputError, match="virial"):
        read_frames(path, {"stress": "REF_virial"})
    with pytest.raises(InputError, match="at least one"):
        read_frames(path, {})
    with pytest.raises(InputError, match="of its kind"):
        read_frames(path, {"energy": "energy"}, group="REF_kind")
    # What is optional may be missing, but not all of it.
    assert read_frames(path, {"energy": "energy", "forces": "f"}, optional=True)
    with pytest.raises(InputError, match="no frame has the key"):
        read_frames(path, {"forces": "f"}, optional=True)


def test_files_that_cannot_be(tmp_path):
    empty, garbage = tmp_path / "empty.extxyz", tmp_path / "garbage.extxyz"
    empty.write_text("")
    garbage.write_text("this: is\n\t- nothing")
    for path, message in (
        (tmp_path / "nowhere.extxyz", "no such file"),
        (empty, "is empty"),
        (garbage, "not readable"),
    ):
        with pytest.raises(InputError, match=message):
            read_frames(path, {"energy": "energy"})


def test_an_element_the_model_does_not_know_is_named():
    frames = [Frame(water(), {}, "", "data: frame 7")]
    with pytest.raises(InputError, match=r"data: frame 7: element H is unknown.*which knows O"):
        labelled_graphs(frames, (8,), 3.0, ())


def test_only_a_label_of_a_charged_cells_dipole_is_refused():
    cell, ion = water(charge=1), water(charge=1)
    cell.set_cell([6, 6, 6])
    cell.pbc = True
    frames = [Frame(a, {"energy": np.array(1.0)}, "", "data: frame 7") for a in (cell, ion)]
    graphs = labelled_graphs(frames, (1, 8), 3.0, ("energy", "dipole"))
    assert [float(g.charge) for g in graphs] == [0.0, 1.0]
    for name, shape in (("dipole", (3,)), ("charges", (3,))):
        labels = {name: np.zeros(shape)}
        assert labelled_graphs([replace(frames[1], labels=labels)], (1, 8), 3.0, (name,))
        with pytest.raises(InputError, match=f"data: frame 7: a charged .* no {name}"):
            labelled_graphs([replace(frames[0], labels=labels)], (1, 8), 3.0, (name,))


@pytest.mark.skipif(not SHARED.is_dir(), reason="reference data not here")
@pytest.mark.parametrize("name", ["acac/train_300K.xyz", "dft-solids/Si-train.extxyz"])
def test_published_data_are_plausible_and_noticed_in_kcal(name):
    keys = {"energy": "energy", "forces": "forces"}
    if "solids" in name:
        keys["stress"] = "stress"
    frames = read_frames(SHARED / name, keys)
    assert unit_warnings(frames) == []
    assert any("kcal/mol" in w for w in unit_warnings(times(frames, energy=mol / kcal)))


def strained_copper(count=24):
    rng, frames = RNG(1), []
    for _ in range(count):
        atoms = bulk("Cu", a=3.6)
        strain = 0.02 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = EMT()
        frames.append(stored(atoms, energy=atoms.get_potential_energy(), stress=atoms.get_stress()))
    rest = bulk("Cu", a=3.59)
    rest.calc = EMT()
    frames.append(stored(rest, energy=rest.get_potential_energy(), stress=rest.get_stress()))
    return frames


@pytest.mark.parametrize("exchanged", [(), (3, 4, 11), range(20)])
def test_shear_stresses_in_another_order_are_found_frame_by_frame(tmp_path, exchanged):
    frames = strained_copper()
    for k in exchanged:
        frames[k].calc.results["stress"] = frames[k].get_stress()[[0, 1, 2, 4, 3, 5]]
    # Snapshots of dynamics and molecules are not looked at.
    hot = bulk("Cu", cubic=True)
    hot.rattle(0.2)
    frames.append(stored(hot, energy=5.0, stress=RNG(0).normal(size=6)))
    index, orders = contradictions(frames)
    assert index.tolist() == list(range(25))
    found = np.flatnonzero(orders).tolist()
    # All but where both stresses are nearly the same.
    gap = np.array([abs(frames[k].get_stress()[3] - frames[k].get_stress()[4]) for k in index])
    assert set(found) <= set(exchanged)
    assert all(gap[k] < 0.2 * np.median(gap) for k in set(exchanged) - set(found))
    assert {order_in_file(o) for o in orders[orders > 0]} == ({"xz yz xy"} if exchanged else set())
    path = file_of(tmp_path, frames)
    lines = unit_warnings(read_frames(path, {"energy": "energy", "stress": "stress"}))
    said = [line for line in lines if "contradict their strains" in line]
    assert len(said) == bool(exchanged)
    for line in said:
        assert f"{len(found)} of 25 strained crystals" in line
        assert "read in the order xz yz xy" in line


def test_stresses_that_are_missing_or_noisy_speak_for_no_order():
    frames = strained_copper()
    for atoms in frames[:20]:
        atoms.calc.results["stress"] = np.zeros(6)  # as where nobody computed them
    index, orders = contradictions(frames)
    assert len(index) == 25
    assert not orders.any()
    rng, noisy = RNG(4), strained_copper(60)
    for atoms in noisy:
        # Along the axes, with no more shear than noise.
        strain = np.diag(0.02 * rng.normal(size=3)) + 1e-4 * rng.normal(size=(3, 3))
        atoms.set_cell(bulk("Cu", a=3.6).cell.array @ (np.eye(3) + strain), scale_atoms=True)
        clean = atoms.copy()
        clean.calc = EMT()
        stress = clean.get_stress() + 0.02 * GPa * rng.normal(size=6)
        stored(atoms, energy=clean.get_potential_energy(), stress=stress)
    assert not contradictions(noisy)[1].any()
