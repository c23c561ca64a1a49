"""Published DFT data of others; skipped where it is missing."""

import pytest
from ase.io import read, write
from pymatgen.core import Lattice, Structure

from objstress import InputError, fit_law
from tests.conftest import SHARED

pytestmark = pytest.mark.skipif(
    not (SHARED / "dft-solids").is_dir(), reason="reference data not here"
)


@pytest.mark.parametrize(
    ("name", "number", "a", "species", "c11"),
    [("Si", 227, 5.469, "Si", 160), ("Mo", 229, 3.168, "Mo", 460)],
)
def test_strained_supercells_of_others_give_a_law(tmp_path, name, number, a, species, c11):
    """Zuo et al., J. Phys. Chem. A 124, 731 (2020), group `elastic`: PBE, clamped ions."""
    crystal = Structure.from_spacegroup(number, Lattice.cubic(a), [species], [[0, 0, 0]])
    frames = [
        atoms
        for part in ("train", "test")
        for atoms in read(SHARED / "dft-solids" / f"{name}-{part}.extxyz", ":")
        if str(atoms.info["group"]).lower() == "elastic"
    ]
    path = tmp_path / "elastic.extxyz"
    write(path, frames, format="extxyz")
    said = []
    law = fit_law(path, crystal, use_network=False, progress=False, say=said.append)
    assert any("found from their cells" in line for line in said)
    assert law.metadata["reference_shift"] < 0.02
    assert law.stiffness()[0, 0] == pytest.approx(c11, rel=0.12)
    assert law.metadata["held_out"]["both"]["total_relative"] < 0.05


def test_vacancies_are_no_strained_crystals(tmp_path):
    frames = [
        a
        for a in read(SHARED / "dft-solids" / "Si-train.extxyz", ":")
        if a.info["group"] == "vacancy"
    ]
    write(tmp_path / "v.extxyz", frames[:2], format="extxyz")
    crystal = Structure.from_spacegroup(227, Lattice.cubic(5.469), ["Si"], [[0, 0, 0]])
    with pytest.raises(InputError, match="not a whole number of Si cells"):
        fit_law(tmp_path / "v.extxyz", crystal)
