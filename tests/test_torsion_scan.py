"""What turning about a bond costs."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from objstress.docking.ligand import prepare_ligand
from objstress.docking.torsion_scan import HIGHEST, torsion_fragment, torsion_series


def series_of(smiles, pattern, seed=1):
    """Of the first four atoms in a row that match."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=seed)
    return torsion_series(mol, mol.GetSubstructMatch(Chem.MolFromSmarts(pattern)))


def energy(series, degrees):
    angle = np.radians(np.asarray(degrees, float))[..., None] * np.arange(len(series))
    return np.cos(angle) @ series[:, 0] + np.sin(angle) @ series[:, 1]


def test_butane_has_its_gauche_and_its_barriers():
    series = series_of("CCCC", "CCCC")
    anti, barrier, gauche, cis = energy(series, [180, 120, 65, 0])
    assert anti == pytest.approx(0, abs=0.05)
    # Smith and Jaffe, J. Phys. Chem. 100, 18718 (1996): 0.59, 3.31 and 5.51 kcal/mol.
    assert gauche == pytest.approx(0.59, abs=0.3)
    assert barrier == pytest.approx(3.31, abs=0.7)
    assert cis == pytest.approx(5.51, abs=1.2)


def test_crowded_rings_twist():
    angles = np.arange(91)
    bare = energy(series_of("c1ccccc1-c1ccccc1", "cc-!@cc"), angles)
    crowded = energy(series_of("Cc1cccc(C)c1-c1c(C)cccc1C", "cc-!@cc"), angles)
    # Of biphenyl 44 degrees; Almenningen et al., J. Mol. Struct. 128, 59 (1985).
    assert bare.argmin() == pytest.approx(44, abs=12)
    assert bare.max() < 4.0
    assert crowded[90] < 0.5
    assert crowded[0] == pytest.approx(HIGHEST, abs=1.0)


def test_neither_the_conformer_nor_what_is_far_from_the_bond_matters():
    one = series_of("C[C@H](F)C(=O)NCCc1ccccc1", "[CH3]CC=O")
    assert np.array_equal(one, series_of("C[C@H](F)C(=O)NCCc1ccccc1", "[CH3]CC=O", seed=9))
    assert np.array_equal(one, series_of("C[C@H](F)C(=O)NCCC1CCC(C)CC1", "[CH3]CC=O"))


def test_the_angle_reads_the_same_from_its_other_end():
    for smiles, pattern in (("CC(C)C(N)c1ccccc1", "cc[CH]N"), ("CC(C)Cc1ccccc1", "CCcc")):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(mol, randomSeed=1)
        four = mol.GetSubstructMatch(Chem.MolFromSmarts(pattern))
        assert np.array_equal(torsion_series(mol, four), torsion_series(mol, four[::-1]))


@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccccc1", "CC(=O)Nc1ccccc1", "CC(C)C(N)c1ccccc1"])
def test_a_phenyl_looks_the_same_after_half_a_turn(smiles):
    # Odd harmonics would tell its two sides apart.
    series = series_of(smiles, "[!#1]-[C,N;!$(C=O)]-!@cc")
    assert np.abs(series[1::2]).max() < 0.15


def test_hydrogens_of_imines_have_no_say():
    # Where the hydrogen of C=N-H is, no heavy atom shows.
    one, *others = (series_of("CC(C)(F)C(=N)N", "FCCN", seed) for seed in range(1, 7))
    for other in others:
        assert np.allclose(np.abs(one), np.abs(other))


@pytest.mark.parametrize(
    ("smiles", "pattern", "whole"),
    [
        ("CCOc1ccccc1[N+](=O)[O-]", "COcc", "[N+](=O)[O-]"),
        ("CCNc1ccccc1S(=O)(=O)[O-]", "CNcc", "S(=O)(=O)[O-]"),
        ("CCc1ccccc1C(C)(C)C", "CCcc", "C(C)(C)C"),
        ("CCOc1ccccc1C(F)(F)F", "COcc", "C(F)(F)F"),
    ],
)
def test_the_part_about_a_bond_has_whole_groups(smiles, pattern, whole):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    part = torsion_fragment(mol, mol.GetSubstructMatch(Chem.MolFromSmarts(pattern)))
    assert part.HasSubstructMatch(Chem.MolFromSmarts(whole))


def test_groups_nearby_matter():
    nitro = series_of("CCNc1ccccc1[N+](=O)[O-]", "CNcc")
    assert np.abs(nitro - series_of("CCNc1ccccc1N=O", "CNcc")).max() > 0.2
    bulky, slim = (series_of(s, "CCcc") for s in ("CCc1ccccc1C(C)(C)C", "CCc1ccccc1C"))
    assert np.abs(bulky - slim).max() > 0.5


def test_the_mirror_image_turns_the_other_way():
    left, right = (series_of(f"C[C{hand}H](F)C(=O)NC", "[CH3]CC=O") for hand in ("@", "@@"))
    assert np.abs(left[:, 1]).max() > 0.1
    assert np.array_equal(left * (1, -1), right)
    # A molecule that is its own mirror image turns both ways alike ...
    assert np.abs(series_of("CNC(=O)CCC", "O=CCC")[:, 1]).max() < 1e-9
    # ... unless the angle is of one of two atoms alike.
    assert np.abs(series_of("CC(C)C(=O)NC", "[CH3]CC=O")[:, 1]).max() > 0.1


@pytest.mark.parametrize(
    "smiles",
    [
        "C1CCCCCCCCCCC1CCO",  # a large ring, cut
        "O=C1OCCCCCCCCCCC=CC=CC=C1CC(=O)NC",
        "C1CC2CC1CC2CCN=[N+]=[N-]",  # a cage
        "O=[N+]([O-])c1ccccc1CC[S+](C)[O-]",
        "C[N+](C)(C)CCOC(=O)C",
        "OP(=O)([O-])OCC1OC(n2cnc3c(N)ncnc32)C(O)C1O",
        "[2H]C([2H])([2H])OCCN",
    ],
)
def test_every_rotatable_bond_has_one(smiles):
    ligand = prepare_ligand(Chem.MolFromSmiles(smiles))
    assert len(ligand.torsions) == len(ligand.tree) > 0
    for series in ligand.torsion_terms:
        values = energy(series, np.arange(360))
        assert values.min() == pytest.approx(0, abs=1e-9)
        assert 0.3 < values.max() < 1.2 * HIGHEST


def test_bonds_without_parameters_are_said():
    ligand = prepare_ligand(Chem.MolFromSmiles("CCI(=O)=O"))
    assert len(ligand.torsions) == 0 < len(ligand.tree)
    assert "rotate freely" in " ".join(ligand.notes)
