"""Structures are compared with what their files say, at every door alike."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.lj import LennardJones
from ase.io import write
from pymatgen.core import DummySpecies, Lattice, Structure

from objstress import InputError, PointGroup, crystal_properties, read_structure
from objstress.labels.deformation import nearest_distance
from objstress.labels.relaxation import relaxed_crystal
from objstress.service.parsing import parse_structure
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.reading import read_primitive_cell

CASES = Path(__file__).parents[2] / "shared" / "cases" / "atoms"

CIF = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt '{group}'
{more}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""


def cif(tmp_path, group, sites, a=5.431, more=""):
    path = tmp_path / "x.cif"
    path.write_text(CIF.format(a=a, group=group, sites=sites, more=more))
    return path


SILICON = "Si1 Si 0.125 0.125 0.125 1"


def test_the_setting_of_a_cif_without_operations_is_kept(tmp_path):
    silicon = read_structure(cif(tmp_path, "F d -3 m :2", SILICON))
    assert len(silicon) == 8
    assert float(silicon.density) == pytest.approx(2.33, abs=0.01)
    first = read_structure(cif(tmp_path, "F d -3 m :1", "Si1 Si 0 0 0 1"))
    assert len(first) == 8
    text = cif(tmp_path, "F d -3 m :2", SILICON).read_text()
    assert parse_structure(text, "cif", 100).matches(silicon)
    assert len(parse_structure(text, "cif", 100)) == 8
    path = cif(tmp_path, "F d -3 m :9", SILICON)
    for read in (read_structure, lambda p: parse_structure(p.read_text(), "cif", 100)):
        with pytest.raises(InputError, match="'F d -3 m :9' is unknown"):
            read(path)


@pytest.mark.parametrize(
    ("group", "sites", "more", "message"),
    [
        # pymatgen takes the first origin, where the site is another one.
        ("F d -3 m", SILICON, "_cell_formula_units_Z 8\n_chemical_formula_sum Si", "by Z = 8"),
        ("F d -3 m", SILICON, "_exptl_crystal_density_diffrn 2.33(1)", "it says 2.330"),
        ("F m -3 m", "Na1 Na 0 0 0 1", "_chemical_formula_sum 'Cl1 Na1'", "formula says NaCl"),
        ("P m -3 m", "Cu1 Cu 0 0 0 0.8\nAu1 Au 0 0 0 0.7", "", "ccupanc"),
        ("P m -3 m", "Cu1 Cu 0 0 0 0.5", "", "partly occupied"),
        ("P 1", "Cu1 Cu 0 0 0 1\nO1 O 0.1 0 0 1", "", "atoms overlap: Cu and O are 0.54"),
    ],
)
def test_a_cif_at_odds_with_itself_is_refused(tmp_path, group, sites, more, message):
    path = cif(tmp_path, group, sites, more=more)
    with pytest.raises(InputError, match=message) as error:
        read_structure(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    # The service, which reads texts, says the same of what a CIF says of itself.
    if more:
        with pytest.raises(InputError, match=message):
            parse_structure(path.read_text(), "cif", 100)


def test_a_formula_that_agrees_is_no_obstacle(tmp_path):
    more = "_chemical_formula_sum 'Si8'\n_cell_formula_units_Z 1\n_exptl_crystal_density_diffrn ?"
    assert len(read_structure(cif(tmp_path, "F d -3 m :2", SILICON, more=more))) == 8


def test_a_cif_of_two_crystals_gives_the_first_and_its_own_words(tmp_path):
    path = cif(tmp_path, "F m -3 m", "Na1 Na 0 0 0 1\nCl1 Cl 0.5 0.5 0.5 1", more="")
    first = path.read_text().replace("data_x", "data_x\n_chemical_formula_sum 'Na Cl'")
    second = CIF.format(a=3.4, group="P m -3 m", sites="Po1 Po 0 0 0 1", more="")
    path.write_text(first + second.replace("data_x", "data_y\n_chemical_formula_sum Po"))
    assert read_structure(path).composition.reduced_formula == "NaCl"


def test_what_is_no_element_is_refused():
    ghost = Structure(Lattice.cubic(4), [DummySpecies("X")], [[0, 0, 0]])
    with pytest.raises(InputError, match="not a chemical element"):
        read_structure(ghost)


def test_a_poscar_without_elements_is_refused(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text("?\n1.0\n3 0 0\n0 3 0\n0 0 3\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    with pytest.raises(InputError, match="does not name its elements"):
        read_structure(path)


def test_what_is_no_crystal_is_refused_at_every_door(tmp_path):
    slab = fcc111("Cu", (1, 1, 3), vacuum=8)
    write(tmp_path / "slab.extxyz", slab)
    for given in (slab, tmp_path / "slab.extxyz"):
        for door in (read_structure, PointGroup.from_structure):
            with pytest.raises(InputError, match="periodic along a, b only"):
                door(given)
        with pytest.raises(InputError, match="has no bulk tensor"):
            crystal_properties(given, "emt")
    with pytest.raises(InputError, match="no direction"):
        read_structure(Atoms("Cu"))


def test_of_several_frames_the_last_is_read_and_said(tmp_path):
    write(tmp_path / "two.extxyz", [bulk("Cu"), bulk("Ag")])
    with pytest.warns(UserWarning, match="holds 2 frames: the last is read"):
        assert read_structure(tmp_path / "two.extxyz").composition.reduced_formula == "Ag"


def test_deuterium_keeps_its_mass():
    light, heavy = (
        primitive_cell(
            Structure.from_spacegroup(
                "Fm-3m", Lattice.cubic(4.08), ["Li", h], [[0, 0, 0], [0.5, 0.5, 0.5]]
            )
        )
        for h in ("H", "D")
    )
    assert float(heavy.density) / float(light.density) == pytest.approx(8.955 / 7.949, rel=1e-3)


def test_symmetry_within_ten_times_the_tolerance_is_said():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.positions[0, 2] += 0.03
    with pytest.warns(UserWarning, match=r"within symprec = 0.01 Angstrom, F ?m-3m within 0.1"):
        group = PointGroup.from_structure(atoms)
    assert group.symbol == "4mm"
    assert PointGroup.from_structure(atoms, symprec=0.1).symbol == "m-3m"
    # A tighter tolerance keeps a distortion that the usual one takes away.
    atoms.positions[0, 2] -= 0.025
    assert PointGroup.from_structure(atoms).symbol == "m-3m"
    cell = read_primitive_cell(atoms, symprec=1e-3)
    assert PointGroup.of_primitive_cell(cell).symbol == "4mm"


def test_a_crystal_may_relax_to_more_symmetry_but_not_to_less():
    rattled = bulk("Si", "diamond", a=5.43, cubic=True)
    rattled.rattle(0.008, seed=1)
    with pytest.warns(UserWarning, match="relaxes from point group 1 to m-3m"):
        crystal = relaxed_crystal(rattled, "kumagai")
    assert len(crystal) == 2
    with pytest.warns(UserWarning, match="relaxes from point group 1 to m-3m"):
        found = crystal_properties(rattled, "kumagai")
    exact = crystal_properties(bulk("Si", "diamond", a=5.43), "kumagai")
    assert found.point_group.symbol == "m-3m"
    assert found.stiffness_ieee == pytest.approx(exact.stiffness_ieee, abs=1e-2)
    assert np.allclose(found.stiffness, exact.stiffness, atol=1e-2)


def test_a_crystal_out_of_a_calculators_reach_is_refused():
    argon = bulk("Ar", "fcc", a=14.2)
    with pytest.raises(InputError, match="no atom lies within the calculator's reach"):
        crystal_properties(argon, LennardJones(rc=6.0))
    assert nearest_distance(read_structure(argon)) == pytest.approx(14.2 / np.sqrt(2))


@pytest.mark.skipif(not CASES.is_dir(), reason="the published cases are not here")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("occupancy-shared.cif", "ccupanc"),
        ("occupancy-partial.cif", "partly occupied"),
        ("brucite-OH.cif", "formula says"),
        ("third-033.cif", "give 0.3333333 for 1/3"),
        ("slab-TTF.extxyz", "no bulk tensor"),
        ("bulk-FFF.extxyz", "no bulk tensor"),
        ("POSCAR-no-elements", "does not name its elements"),
    ],
)
def test_published_cases_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        read_structure(CASES / name)


@pytest.mark.skipif(not CASES.is_dir(), reason="the published cases are not here")
def test_published_cases_are_read():
    for name in ("silicon-origin2.cif", "silicon-origin2-formula.cif"):
        assert float(read_structure(CASES / name).density) == pytest.approx(2.33, abs=0.01)
    assert float(read_primitive_cell(CASES / "lid.cif").density) == pytest.approx(0.883, abs=1e-3)
