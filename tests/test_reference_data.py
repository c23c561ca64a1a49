"""Published DFT data of others; skipped where it is missing."""

import pytest
from ase.io import read, write
from pymatgen.core import Lattice

from objstress import InputError, fit_law
from objstress.training.potential.frames import read_frames
from objstress.training.potential.plausibility import unit_warnings
from tests.conftest import SHARED
from tests.helpers import conventional_cell

KEYS = {"energy": "energy", "forces": "forces", "stress": "stress"}
pytestmark = pytest.mark.skipif(
    not (SHARED / "dft-solids").is_dir(), reason="reference data not here"
)


def elastic_frames(name, path):
    frames = [
        atoms
        for part in ("train", "test")
        for atoms in read(SHARED / "dft-solids" / f"{name}-{part}.extxyz", ":")
        if str(atoms.info["group"]).lower() == "elastic"
    ]
    write(path, frames, format="extxyz")
    return path


def test_strained_supercells_of_others_give_a_law(tmp_path):
    """Zuo et al., J. Phys. Chem. A 124, 731 (2020), group `elastic`: PBE, clamped ions."""
    crystal = conventional_cell(227, Lattice.cubic(5.469), ["Si"], [[0, 0, 0]])
    said = []
    law = fit_law(
        elastic_frames("Si", tmp_path / "si.extxyz"),
        crystal,
        use_network=False,
        progress=False,
        say=said.append,
    )
    assert any("found from their cells" in line for line in said)
    assert any("clamped ions" in line for line in said)
    assert law.metadata["reference_shift"] < 0.001
    assert law.metadata["held_out"]["both"]["total_relative"] < 0.01
    # PBE silicon; C44 with clamped ions.
    c = law.stiffness()
    assert c[0, 0] == pytest.approx(153, abs=8)
    assert c[0, 1] == pytest.approx(57, abs=8)
    assert c[3, 3] == pytest.approx(99, abs=4)


def test_shear_stresses_in_another_order_are_found_out(tmp_path):
    """In the molybdenum set a cell sheared in yz carries its stress in xz, and the reverse."""
    crystal = conventional_cell(229, Lattice.cubic(3.168), ["Mo"], [[0, 0, 0]])
    with pytest.raises(InputError, match="read in the order xz yz xy"):
        fit_law(elastic_frames("Mo", tmp_path / "mo.extxyz"), crystal, use_network=False)


def test_training_frames_with_exchanged_shear_stresses_are_counted():
    frames = read_frames(SHARED / "dft-solids" / "Mo-train.extxyz", KEYS)
    (line,) = (x for x in unit_warnings(frames) if "contradict their strains" in x)
    assert "read in the order xz yz xy" in line
    frames = read_frames(SHARED / "dft-solids" / "Si-train.extxyz", KEYS)
    assert not any("contradict" in x for x in unit_warnings(frames))


def test_vacancies_are_no_strained_crystals(tmp_path):
    frames = [
        a
        for a in read(SHARED / "dft-solids" / "Si-train.extxyz", ":")
        if a.info["group"] == "vacancy"
    ]
    write(tmp_path / "v.extxyz", frames[:2], format="extxyz")
    crystal = conventional_cell(227, Lattice.cubic(5.469), ["Si"], [[0, 0, 0]])
    with pytest.raises(InputError, match="not a whole number of Si cells"):
        fit_law(tmp_path / "v.extxyz", crystal)
