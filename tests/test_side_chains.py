"""Side chains that move with the ligand: what turns, what stays, what is refused."""

import numpy as np
import pytest
import torch

from objstress.docking.energy import PoseEnergy, PoseEnergySettings
from objstress.errors import InputError

rdkit = pytest.importorskip("rdkit")
gemmi = pytest.importorskip("gemmi")
from rdkit import Chem  # noqa: E402
from rdkit.Chem import rdDistGeom  # noqa: E402

from objstress.docking.box import Box  # noqa: E402
from objstress.docking.complex import make_complex  # noqa: E402
from objstress.docking.flexible import CHI, side_chains  # noqa: E402
from objstress.docking.ligand_files import read_ligand  # noqa: E402
from objstress.docking.protein import read_protein  # noqa: E402
from objstress.docking.run import dock  # noqa: E402
from objstress.docking.search import Search  # noqa: E402

RESIDUES = ["A:2", "A:3", "A:4"]


def write_peptide(sequence, path):
    mol = Chem.AddHs(Chem.MolFromSequence(sequence))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=7) == 0
    path.write_text(Chem.MolToPDBBlock(mol))
    return path


@pytest.fixture(scope="module")
def peptide(tmp_path_factory):
    """PDB file of glycine, arginine, phenylalanine, serine."""
    return write_peptide("GRFS", tmp_path_factory.mktemp("peptide") / "peptide.pdb")


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PoseEnergy(PoseEnergySettings(channels=4, scores=4, bessel=4, readout=4))


# RDKit gives isoleucine's C gamma 1 and 2 each other's names.
@pytest.mark.parametrize("letter", "RKMEQDNFYWHLVSTC")
def test_turning_keeps_bonds_and_what_belongs_to_the_backbone(letter, tmp_path):
    site = read_protein(write_peptide(f"G{letter}", tmp_path / "two.pdb"))
    chains = side_chains(site, ["A:2"])
    kind = site.labels[-1, 1]
    assert len(chains.axes) == len(CHI[kind].split()) - 1
    complex_ = make_complex(read_ligand("c1ccccc1"), site, ["A:2"])
    step = torch.zeros(1, 6 + len(complex_.tree), dtype=torch.float64)
    step[:, 6:] = torch.linspace(0.3, 2.0, len(complex_.tree))
    moved = complex_.tree.moved(complex_.native[None], step)[0].numpy()[6:]
    names = site.labels[chains.atoms, 3]
    went = np.linalg.norm(moved - site.positions[chains.atoms], axis=1)
    for name, far in zip(names, went, strict=True):
        assert (far < 1e-12) == (name in ("CA", "CB"))
    before, after = site.positions.copy(), site.positions.copy()
    after[chains.atoms] = moved
    bonded = np.linalg.norm(before[:, None] - before, axis=-1) < 1.95
    lengths = [np.linalg.norm(x[:, None] - x, axis=-1)[bonded] for x in (before, after)]
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-9


@torch.no_grad()
def test_gradient_of_every_motion_is_that_of_the_energy(peptide, model):
    site = read_protein(peptide)
    complex_ = make_complex(read_ligand("OCCc1ccccc1"), site, RESIDUES)
    field, tree = model.field(complex_), complex_.tree
    search = Search(field, Box.around(site.positions, 1.0), 0)
    x = search.jumped(search.random_poses(4))
    slopes = tree.slopes(x, field(x)[1])
    for k in range(slopes.shape[1]):
        step = torch.zeros_like(slopes)
        step[:, k] = 1e-5
        ahead, back = field(tree.moved(x, step))[0], field(tree.moved(x, -step))[0]
        error = ((ahead - back) / 2e-5 - slopes[:, k]).abs()
        assert (error < 1e-6 * slopes.abs().max()).all()


@torch.no_grad()
def test_side_chains_in_their_places_change_nothing_for_the_ligand(peptide, model):
    site, ligand = read_protein(peptide), read_ligand("OCCc1ccccc1")
    rigid, free = make_complex(ligand, site), make_complex(ligand, site, RESIDUES)
    x = Search(model.field(rigid), Box.around(site.positions), 0).random_poses(3)
    y = torch.cat([x, free.native[len(ligand.positions) :].expand(3, -1, -1)], dim=1)
    apart = model.field(free)(y)[0] - model.field(rigid)(x)[0]
    # What is left is how the chains themselves overlap as they came: the same for all poses.
    assert np.ptp(apart.numpy()) < 1e-9 * float(model.field(rigid)(x)[0].abs().max())


def test_docking_with_side_chains_moves_them_and_writes_them(peptide, model, tmp_path):
    found = dock(peptide, "OCCc1ccccc1", model, starts=4, hops=2, flexible=["A:2", "A:3"], poses=2)
    site = read_protein(peptide)
    (tmp_path / "chains.pdb").write_text(found.side_chains_pdb())
    written = gemmi.read_structure(str(tmp_path / "chains.pdb"))
    assert len(written) == len(found.poses)
    assert {r.name for r in written[0]["A"]} == {"ARG", "PHE"}
    places = dict(zip(map("/".join, site.labels), site.positions, strict=True))
    went = {k: np.linalg.norm(x - places[k]) for k, x in found.poses[0].side_chains.items()}
    assert max(went.values()) > 0.1
    assert went["A/ARG/2/CA"] == 0.0


@pytest.mark.parametrize(
    ("residue", "said"),
    [("A:99", "no such residue"), ("A:1", "GLY has no side chain"), ("nonsense", "A:315")],
)
def test_residues_that_cannot_turn_are_refused(peptide, residue, said):
    with pytest.raises(InputError, match=said):
        side_chains(read_protein(peptide), [residue])
