"""A ligand's pose in a protein: the energy, the motions, the search, and what is refused."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from objstress.docking.energy import CORE, LARGEST, PoseEnergy, PoseEnergySettings, load_pose_energy
from objstress.docking.torsion_tree import uniform_rotations
from objstress.docking.torsions import torsion_angles
from objstress.errors import InputError
from tests.conftest import SHARED

rdkit = pytest.importorskip("rdkit")
pytest.importorskip("gemmi")
from rdkit import Chem  # noqa: E402
from rdkit.Chem import rdMolTransforms  # noqa: E402

from objstress.docking.box import Box  # noqa: E402
from objstress.docking.complex import make_complex  # noqa: E402
from objstress.docking.fit import PoseFit, PoseTraining, fit_pose_energy  # noqa: E402
from objstress.docking.folders import complexes_in  # noqa: E402
from objstress.docking.ligand import prepare_ligand  # noqa: E402
from objstress.docking.ligand_files import ligands_in, read_ligand  # noqa: E402
from objstress.docking.poses import clusters, rmsd  # noqa: E402
from objstress.docking.protein import pdb_line, read_protein  # noqa: E402
from objstress.docking.run import dock  # noqa: E402
from objstress.docking.search import Search  # noqa: E402
from objstress.docking.synthetic import (  # noqa: E402
    make_complexes,
    physical_field,
    random_ligand,
    write_complex,
)
from objstress.training.balancing import GradNorm  # noqa: E402

SMALL = PoseEnergySettings(channels=4, scores=4, bessel=4, readout=4)
COMPLEXES = SHARED / "complexes"


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PoseEnergy(SMALL)


@pytest.fixture(scope="module")
def complex_(pocket):
    path, ligand = pocket
    return make_complex(ligand, read_protein(path))


@pytest.fixture(scope="module")
def poses(complex_):
    search = Search(physical_field(complex_), Box.around(complex_.native.numpy()), 1)
    return search.random_poses(5)


def turned(complex_, matrix, shift):
    """Ligand and site under the same motion (or mirrored)."""
    parts = {}
    for name in ("ligand", "site"):
        graph = getattr(complex_, name).clone()
        graph.pos = graph.pos @ matrix.T + shift
        parts[name] = graph
    # A mirror image turns the other way.
    terms = complex_.torsion_terms * torch.tensor([1.0, torch.linalg.det(matrix).sign()])
    native = complex_.native @ matrix.T + shift
    return replace(complex_, **parts, torsion_terms=terms, native=native)


@torch.no_grad()
def test_energy_does_not_care_how_the_complex_lies_in_space(model, complex_, poses):
    energy, forces = model.field(complex_)(poses)
    q = uniform_rotations(1, torch.Generator().manual_seed(3))[0]
    shift = torch.tensor([30.0, -50.0, 7.0], dtype=torch.float64)
    same, turned_forces = model.field(turned(complex_, q, shift))(poses @ q.T + shift)
    assert torch.allclose(same, energy, rtol=0, atol=1e-10 * energy.abs().max())
    assert torch.allclose(turned_forces, forces @ q.T, rtol=0, atol=1e-9 * forces.abs().max())


@torch.no_grad()
def test_gradient_of_every_motion_is_that_of_the_energy(model, complex_, poses):
    field, tree = model.field(complex_), complex_.tree
    slopes = tree.slopes(poses, field(poses)[1])
    for k in range(slopes.shape[1]):
        step = torch.zeros_like(slopes)
        step[:, k] = 1e-5
        ahead, back = field(tree.moved(poses, step))[0], field(tree.moved(poses, -step))[0]
        error = ((ahead - back) / 2e-5 - slopes[:, k]).abs()
        assert (error < 1e-6 * slopes.abs().max()).all()


@torch.no_grad()
def test_batch_gives_what_single_poses_give(model, complex_, poses):
    field = model.field(complex_)
    energy, forces = field(poses)
    for k in range(len(poses)):
        e, f = field(poses[k : k + 1])
        assert torch.allclose(e[0], energy[k], rtol=1e-12)
        assert torch.allclose(f[0], forces[k], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_weights_give_gradients_of_energy_and_forces(model, complex_, poses):
    with torch.enable_grad():
        energy, forces = model.field(complex_)(poses)
        (energy.sum() + forces.square().sum()).backward()
    assert model.mix.grad.abs().max() > 0
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def test_encoders_tell_left_from_right_and_no_torsion_changes_them(model, complex_):
    ligand = complex_.ligand
    before = model.ligand(ligand)
    step = torch.zeros(1, 6 + len(complex_.tree), dtype=torch.float64)
    step[0] = torch.linspace(0.3, 1.7, step.shape[1])
    assert len(complex_.tree) >= 3
    other = ligand.clone()
    other.pos = complex_.tree.moved(ligand.pos[None], step)[0]
    assert torch.allclose(model.ligand(other), before, atol=1e-12)
    mirrored = ligand.clone()
    mirrored.pos = ligand.pos * torch.tensor([1.0, 1.0, -1.0])
    assert (model.ligand(mirrored) - before).abs().max() > 1e-6 * before.abs().max()


@torch.no_grad()
def test_mirrored_ligand_scores_differently_in_its_mirrored_place(model, complex_, poses):
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    energy, _ = model.field(complex_)(poses)
    mirrored, _ = model.field(turned(complex_, mirror, torch.zeros(3)))(poses @ mirror)
    assert (energy - mirrored).abs().max() > 1e-6 * energy.abs().max()
    # The known energy is blind to it.
    known, _ = physical_field(complex_)(poses)
    blind, _ = physical_field(turned(complex_, mirror, torch.zeros(3)))(poses @ mirror)
    assert torch.allclose(known, blind)


@torch.no_grad()
def test_no_weights_can_remove_the_core(model, complex_):
    strong = PoseEnergy(SMALL)
    strong.load_state_dict(model.state_dict())
    strong.mix.mul_(1e6)
    strong.stiff.fill_(-50.0)
    field = strong.field(complex_)
    assert (field.scores < -0.99 * LARGEST).any()  # pairs that attract as much as they can
    # All of the site but the atom on which the ligand's first atom lies is taken far away.
    x = complex_.native - complex_.native[0] + complex_.site.pos[0]
    field.site = field.site.clone()
    field.site[1:] += 1000.0
    deepest = field.contact[0] - 1.31
    for part in (0.1, 0.5, 1.0):
        shifted = x + torch.tensor([part * float(deepest), 0.0, 0.0])
        shifted[1:] += 500.0
        energy, forces = field(shifted[None])
        energy = energy - field.strain(shifted[None])[0]
        overlap = float(field.contact[0]) - part * float(deepest)
        assert energy[0].item() == pytest.approx(CORE * overlap**2, rel=1e-6)
        assert forces[0, 0, 0] < 0  # out along x is down


@torch.no_grad()
def test_single_precision_gives_nearly_the_same(model, complex_, poses):
    single = PoseEnergy(SMALL, torch.float32)
    single.load_state_dict(model.state_dict())
    for mine, theirs in zip(
        single.field(complex_)(poses), model.field(complex_)(poses), strict=True
    ):
        assert mine.dtype == torch.float64  # poses and sums are, whatever the weights are
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


def test_model_survives_its_file(model, complex_, poses, tmp_path):
    model.metadata["made by"] = "a test"
    model.save(tmp_path / "a.pose")
    again = load_pose_energy(tmp_path / "a.pose")
    assert again.metadata == model.metadata
    with torch.no_grad():
        assert torch.equal(again.field(complex_)(poses)[0], model.field(complex_)(poses)[0])
    (tmp_path / "b.pose").write_bytes((tmp_path / "a.pose").read_bytes()[:-8])
    with pytest.raises(InputError, match="damaged"):
        load_pose_energy(tmp_path / "b.pose")


def bonds(mol):
    of = mol.GetConformer()
    return np.array(
        [
            rdMolTransforms.GetBondLength(of, b.GetBeginAtomIdx(), b.GetEndAtomIdx())
            for b in mol.GetBonds()
        ]
    )


def angles(mol):
    of, found = mol.GetConformer(), []
    for atom in mol.GetAtoms():
        near = [n.GetIdx() for n in atom.GetNeighbors()]
        found += [
            rdMolTransforms.GetAngleRad(of, a, atom.GetIdx(), b)
            for k, a in enumerate(near)
            for b in near[:k]
        ]
    return np.array(found)


@pytest.fixture(scope="module")
def docked(pocket, model):
    """A docking of each of two seeds."""
    path, ligand = pocket
    return [dock(path, ligand, model, starts=8, hops=1, seed=seed) for seed in (0, 1)]


def test_docking_keeps_bonds_angles_and_chirality(pocket, model, docked):
    path, ligand = pocket
    found, other = docked
    assert [p.energy for p in found.poses] == sorted(p.energy for p in found.poses)
    assert sum(p.confidence for p in found.poses) == pytest.approx(1)
    assert sum(p.share for p in found.poses) <= 1 + 1e-12
    assert len(found.poses) > 2
    for one, two in pairwise(found.poses):
        odds = math.exp(two.energy - one.energy)
        assert one.confidence == pytest.approx(odds * two.confidence, rel=1e-9)
    for pose in found.poses:
        assert np.abs(bonds(pose.mol) - bonds(ligand.mol)).max() < 1e-6
        assert np.abs(angles(pose.mol) - angles(ligand.mol)).max() < 1e-6
        placed = Chem.Mol(pose.mol)
        Chem.AssignStereochemistryFrom3D(placed)
        centres = Chem.FindMolChiralCenters(placed)
        assert centres == Chem.FindMolChiralCenters(ligand.mol)
        assert len(centres) == 2
    again = dock(path, ligand, model, starts=8, hops=1)
    assert again.poses[0].energy == found.poses[0].energy
    assert other.poses[0].energy != found.poses[0].energy


@pytest.mark.parametrize("smiles", ["C", "CO", "CC", "CC#N", "OCC"])
def test_hydrogens_of_small_molecules_follow_too(smiles):
    ligand = read_ligand(smiles)
    step = torch.zeros(1, 6 + len(ligand.tree), dtype=torch.float64)
    step[0, :6] = torch.tensor([1.0, -2.0, 3.0, 0.7, -1.1, 0.4])
    moved = ligand.placed(ligand.tree.moved(torch.tensor(ligand.positions)[None], step)[0].numpy())
    assert np.abs(bonds(moved) - bonds(ligand.mol)).max() < 1e-6
    assert np.abs(angles(moved) - angles(ligand.mol)).max() < 1e-6


@pytest.mark.parametrize("smiles", ["C", "O", "CO"])
def test_ligands_of_one_or_two_atoms_are_docked(smiles, pocket, model):
    found = dock(pocket[0], smiles, model, starts=4, hops=1)
    assert np.isfinite(found.poses[0].mol.GetConformer().GetPositions()).all()
    assert sum(p.share for p in found.poses) == pytest.approx(1)


def test_confidence_does_not_depend_on_how_many_poses_are_kept(pocket, model, docked):
    path, ligand = pocket
    few, many = dock(path, ligand, model, starts=8, hops=1, poses=1, seed=1), docked[1]
    assert len(many.poses) > len(few.poses) == 1
    assert few.poses[0].confidence == many.poses[0].confidence < 1


def test_records_that_were_never_embedded_are_embedded_or_refused(tmp_path):
    path = tmp_path / "flat.sdf"
    path.write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")) + "$$$$\n")
    assert min(bonds(read_ligand(path).mol)) > 0.9
    with pytest.raises(InputError, match="no 3D coordinates"):
        read_ligand(path, placed=True)


def test_search_finds_the_native_place_of_a_known_energy(tmp_path):
    # Of seeds 1 to 7, those that make a complex, and with four torsions or fewer.
    for seed in (1, 4, 7):
        assert write_complex(tmp_path / str(seed), "a", seed)
        ((name, complex_),) = complexes_in(tmp_path / str(seed))
        assert name == "a"
        native = complex_.native.numpy()
        field = physical_field(complex_)
        with torch.no_grad():
            least = field(complex_.native[None])[0].item()
            search = Search(field, Box.around(native, 4.0), seed=5)
            random, _ = field(search.random_poses(2000))
            search.evaluations = 0
            x, energy = search.run(32, 6)
        best = int(energy.argmin())
        away = rmsd(x[best : best + 1].numpy(), native, complex_.automorphisms.numpy())[0]
        assert len(complex_.tree) <= 4
        assert away < 2.0
        assert energy[best] == pytest.approx(least, abs=0.3)
        assert random.min() > energy[best] + 1.0
        assert search.evaluations == 32 * (7 * 61 + 121)


@torch.no_grad()
def test_a_search_stays_in_its_box(complex_):
    """Beside the pocket, where the energy would draw the molecule out."""
    native = complex_.native.numpy()
    centre = native.mean(0) + np.array([7.0, 0.0, 0.0])
    box = Box(centre, np.full(3, 8.0))
    x, _ = Search(physical_field(complex_), box, seed=2).run(16, 2)
    # The wall is soft; without it each pose leaves the box by 2.2 Angstrom or more.
    assert ((x - torch.tensor(centre)).abs() - 4.0).max() < 1.6


@torch.no_grad()
def test_atoms_of_a_ligand_repel_each_other(complex_):
    field = physical_field(complex_)
    blind = physical_field(replace(complex_, inner=complex_.inner[:, :0]))
    native = complex_.native[None]
    i, j = complex_.inner.T.tolist()[0]
    folded = native.clone()
    folded[0, j] = folded[0, i] + torch.tensor([0.5, 0.0, 0.0])
    more = field(folded)[0] - blind(folded)[0]
    assert more > 1.0
    assert field(native)[0] - blind(native)[0] < 0.1 * more
    # A gradient that pushes them apart.
    push = field(folded)[1] - blind(folded)[1]
    assert push[0, j, 0] < 0 < push[0, i, 0]


def test_new_torsions_are_drawn_as_their_strain_lets_them(complex_, poses):
    search = Search(physical_field(complex_), None, 1)
    atoms, terms = complex_.torsions, complex_.torsion_terms
    assert len(atoms) == len(complex_.tree) >= 3
    x = poses[:1].expand(2000, -1, -1)
    step = torch.zeros(2000, 6 + len(complex_.tree), dtype=torch.float64)
    step[:, 6:] = search.torsion_steps(x)
    angles = torsion_angles(complex_.tree.moved(x, step), atoms)
    for bond in range(len(atoms)):
        # Of steps of 5 degrees, each as often as exp(-E / kT), whatever the angle was before.
        steps = (angles[:, bond] / math.radians(5)) % 72
        assert (steps - steps.round()).abs().max() < 1e-6
        k = torch.arange(terms.shape[1], dtype=torch.float64)
        phi = math.radians(5) * torch.arange(72)[:, None] * k
        strain = phi.cos() @ terms[bond, :, 0] + phi.sin() @ terms[bond, :, 1]
        expected = (-strain).softmax(0)
        seen = torch.bincount(steps.round().long() % 72, minlength=72) / 2000
        assert (seen - expected).abs().sum() < 0.2


def test_shipped_energy_finds_the_native_place_of_a_complex_that_it_has_not_seen(tmp_path):
    (name,) = make_complexes(tmp_path, 1, first=1_000_000)[:1]
    whole = tmp_path / name
    ligand = read_ligand(whole / f"{name}_ligand.sdf", placed=True)
    box = Box.around(ligand.positions, 4.0)
    found = dock(whole / f"{name}_pocket.pdb", ligand, box=box, starts=32, hops=4)
    best = found.poses[0].positions
    assert rmsd(best[None], ligand.positions, ligand.automorphisms)[0] < 2.0


def test_shell_fits_complexes_that_a_command_made(tmp_path, shell):
    made = make_complexes(tmp_path / "complexes", 1, workers=1)
    assert make_complexes(tmp_path / "complexes", 1, workers=1) == made  # nothing more
    (tmp_path / "complexes" / "broken").mkdir()
    (tmp_path / "complexes" / "broken" / "broken_ligand.sdf").write_text("rubbish")
    out = tmp_path / "my.pose"
    code, said, warned = shell(
        "fit-pose-energy", tmp_path / "complexes", "--out", out, "--epochs", 1, "--json"
    )
    assert code == 0
    assert "broken" in warned
    assert json.loads(said)["complexes"] == len(made)
    assert load_pose_energy(out).metadata["training"]["epochs"] == 1
    error = shell("fit-pose-energy", tmp_path / "complexes", "--out", out, "--epochs", 0)[2]
    assert "at least 1" in error
    with pytest.raises(InputError, match="holds broken"):
        make_complexes(tmp_path / "complexes", 3)


def test_training_sets_the_native_apart_and_resumes(complex_, tmp_path, monkeypatch):
    # Three complexes in batches of two: a resumed run must see the order it would have seen.
    known = [complex_] * 2 + [replace(complex_, native=complex_.native + 0.1)]
    training = PoseTraining(epochs=6, decoys=8, batch_size=2)
    whole = fit_pose_energy(known, SMALL, training, tmp_path / "whole", progress=False)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(training.seed)
        before = PoseFit(PoseEnergy(SMALL), training, [complex_]).losses(0, 99)
        after = PoseFit(whole, training, [complex_]).losses(0, 99)
    assert after[0] < 0.5 * before[0]
    assert whole.metadata["complexes"] == 3
    losses, calls = PoseFit.losses, []

    def stopped(self, *arguments):
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("the plug is pulled")
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PoseFit, "losses", stopped)
        with pytest.raises(RuntimeError, match="plug"):
            fit_pose_energy(known, SMALL, training, tmp_path / "cut", progress=False)
    again = fit_pose_energy(known, SMALL, training, tmp_path / "cut", progress=False)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    # Another number of epochs is another fit: it starts over.
    shorter = replace(training, epochs=1)
    other = fit_pose_energy(known, SMALL, shorter, tmp_path / "cut", progress=False)
    fresh = fit_pose_energy(known, SMALL, shorter, progress=False)
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    with pytest.raises(InputError, match="no complexes"):
        fit_pose_energy([])


def test_gradnorm_balances_the_losses_of_a_fit(complex_, monkeypatch):
    """The step that is taken is that of the weighted losses."""
    training = PoseTraining(epochs=1, decoys=8, batch_size=1)
    weighed, summed = [], []
    at, backward = GradNorm.at, PoseFit.manual_backward

    def watched(self, step):
        weights = at(self, step) * torch.tensor([1.0, 3.0])
        weighed.append(weights.clone())
        return weights

    def losses(self, index, seed):
        value = plain(self, index, seed)
        summed.append(value.detach().clone())
        return value

    plain = PoseFit.losses
    totals = []

    def kept(self, total, *arguments, **keywords):
        totals.append(float(total.detach()))
        return backward(self, total, *arguments, **keywords)

    monkeypatch.setattr(GradNorm, "at", watched)
    monkeypatch.setattr(PoseFit, "losses", losses)
    monkeypatch.setattr(PoseFit, "manual_backward", kept)
    fit_pose_energy([complex_], SMALL, training, progress=False)
    assert len(weighed) == len(totals) == 1
    assert totals[0] == pytest.approx(float((weighed[0].to(summed[0]) * summed[0]).sum()))


def test_unlike_atoms_are_not_taken_for_alike():
    assert len(read_ligand("CC(=C)c1ccncc1").automorphisms) == 2  # the ring's flip
    assert len(read_ligand("CC(=O)[O-]").automorphisms) == 2


def test_rmsd_knows_which_atoms_are_alike():
    ligand = prepare_ligand(Chem.MolFromSmiles("Cc1ccc(C)cc1"))
    assert len(ligand.automorphisms) == 4
    swapped = ligand.positions[ligand.automorphisms[-1]]
    assert rmsd(swapped[None], ligand.positions, ligand.automorphisms)[0] < 1e-12
    x = np.stack([ligand.positions, swapped, ligand.positions + 3.0])
    found = clusters(x, np.array([0.0, 1.0, 0.5]), ligand.automorphisms, 2.0)
    assert found == [(0, [0, 1]), (2, [2])]


def test_shell_writes_an_sdf_with_energies(pocket, model, shell, tmp_path):
    path, ligand = pocket
    model.save(tmp_path / "a.pose")
    Chem.SDWriter(str(tmp_path / "l.sdf")).write(ligand.mol)
    arguments = ["dock", "--protein", path, "--ligand", tmp_path / "l.sdf"]
    arguments += ["--model", tmp_path / "a.pose", "--reference", tmp_path / "l.sdf"]
    arguments += ["--out", tmp_path / "poses.sdf", "--starts", 4, "--hops", 1]
    told = json.loads(shell(*arguments, "--json")[1])
    mols = list(Chem.SDMolSupplier(str(tmp_path / "poses.sdf"), removeHs=False))
    assert len(mols) == len(told["poses"])
    assert float(mols[0].GetProp("energy_kcal_per_mol")) == pytest.approx(
        told["poses"][0]["energy_kcal_per_mol"], abs=1e-3
    )
    assert "rank" in shell(*arguments)[1]
    code, _, said = shell(*arguments, "--workers", 2)
    assert code == 2
    assert "add --table" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("CCO.Cl", "2 fragments"),
        ("C[Si](C)(C)C", "no radius of element Si"),
        ("[H][H]", "0 heavy atoms"),
        ("no molecule", "neither a file"),
        ("missing.sdf", "no such file"),
    ],
)
def test_ligands_that_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        read_ligand(given)


def test_what_was_done_to_a_ligand_is_said():
    ring = prepare_ligand(Chem.MolFromSmiles("C1CCCCCCCCCCC(=O)1"))
    assert any("ring of 12 atoms kept rigid" in n for n in ring.notes)
    assert any("22 hydrogens added" in n for n in ring.notes)
    assert any("ETKDG" in n for n in ring.notes)
    assert len(ring.tree) == 0


def test_a_bad_record_does_not_end_the_file(tmp_path):
    good = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")) + "$$$$\n"
    (tmp_path / "many.sdf").write_text(good + "rubbish\n\n\nM  END\n$$$$\n" + good)
    found = [mol for _, mol in ligands_in(tmp_path / "many.sdf")]
    assert [isinstance(m, str) for m in found] == [False, True, False]
    with pytest.raises(InputError, match="3 molecules"):
        read_ligand(tmp_path / "many.sdf")


PDB = (
    "ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.00  0.00           N\n"
    "ATOM      2  CA AALA A   1       1.450   0.000   0.000  0.40  0.00           C\n"
    "ATOM      3  CA BALA A   1       1.500   0.100   0.000  0.60  0.00           C\n"
    "HETATM    4 ZN    ZN A   2       5.000   0.000   0.000  1.00  0.00          ZN\n"
    "HETATM    5  O   HOH A   3       8.000   0.000   0.000  1.00  0.00           O\n"
    "END\n"
)


def test_proteins_with_alternates_metals_and_waters(tmp_path):
    (tmp_path / "p.pdb").write_text(PDB)
    protein = read_protein(tmp_path / "p.pdb")
    assert len(protein.positions) == 3
    assert protein.positions[1, 0] == pytest.approx(1.5)
    text = " ".join(protein.notes)
    for word in ("1 alternate", "Zn", "1 waters"):
        assert word in text
    with pytest.raises(InputError, match="no atom of the protein in the box"):
        protein.within(Box(np.array([100.0, 0, 0]), np.full(3, 10.0)))


def test_a_box_beside_the_protein_is_said(pocket, model):
    path, _ = pocket
    low, high = (f(read_protein(path).positions, axis=0) for f in (np.min, np.max))
    size = np.full(3, 6.0)

    def beside(gap):
        return Box(np.array([high[0] + 3.0 + gap, *(low + high)[1:] / 2]), size)

    with pytest.raises(InputError, match="nothing is in reach of the box: the protein's nearest"):
        dock(path, "CCO", model, box=beside(9.5), starts=1, hops=0)
    weak = PoseEnergy(SMALL)
    for parameter in weak.parameters():
        parameter.data.zero_()
    found = dock(path, "CCO", weak, box=beside(6.0), starts=1, hops=0)
    assert any("no pose binds: the least energy is" in note for note in found.notes)


def pdb_text(*atoms):
    """Lines from (record, name field, altloc, residue, chain, number, x, occupancy, element)."""
    lines = [
        f"{record:6s}{k:5d} {name:4s}{letter:1s}{residue:4s}{chain:1s}{number:4d}    "
        f"{x:8.3f}{1.0 * k:8.3f}{0.0:8.3f}{occupancy:6.2f}{0.0:6.2f}          {element:>2s}"
        for k, (record, name, letter, residue, chain, number, x, occupancy, element) in enumerate(
            atoms, start=1
        )
    ]
    return "\n".join([*lines, "END"]) + "\n"


def read_text(tmp_path, *atoms):
    (tmp_path / "p.pdb").write_text(pdb_text(*atoms))
    return read_protein(tmp_path / "p.pdb")


def test_only_a_letter_makes_an_alternate(tmp_path):
    """Two chains without a letter, and a metal with the number of a residue, are all there."""
    two = [
        ("ATOM", " CA ", "", "ALA", "", 1, 0.0, 1.0, "C"),
        ("ATOM", " CA ", "", "GLY", "", 2, 4.0, 1.0, "C"),
        ("ATOM", " CA ", "", "ALA", "", 1, 20.0, 1.0, "C"),
        ("HETATM", "ZN  ", "", "ZN", "", 1, 30.0, 1.0, "ZN"),
    ]
    protein = read_text(tmp_path, *two)
    assert sorted(protein.positions[:, 0]) == [0.0, 4.0, 20.0, 30.0]
    assert not any("alternate" in note for note in protein.notes)


def test_a_residue_keeps_one_conformer_the_most_occupied(tmp_path):
    atoms = [
        ("ATOM", " CA ", "A", "SER", "A", 3, 0.0, 0.35, "C"),
        ("ATOM", " CB ", "A", "SER", "A", 3, 1.0, 0.35, "C"),
        ("ATOM", " CA ", "B", "PRO", "A", 3, 2.0, 0.65, "C"),
        ("ATOM", " CB ", "B", "PRO", "A", 3, 3.0, 0.60, "C"),
        ("ATOM", " CA ", "", "ALA", "A", 4, 9.0, 1.0, "C"),
    ]
    protein = read_text(tmp_path, *atoms)
    assert protein.labels[:, 1].tolist() == ["PRO", "PRO", "ALA"]
    assert protein.positions[:, 0].tolist() == [2.0, 3.0, 9.0]


def test_of_what_the_best_conformer_lacks_one_is_kept(tmp_path):
    atoms = [
        ("ATOM", " CB ", "A", "SER", "A", 3, 0.0, 0.60, "C"),
        ("ATOM", " CB ", "B", "SER", "A", 3, 1.0, 0.40, "C"),
        ("ATOM", " OG ", "B", "SER", "A", 3, 2.0, 0.30, "O"),
        ("ATOM", " OG ", "C", "SER", "A", 3, 3.0, 0.35, "O"),
    ]
    assert read_text(tmp_path, *atoms).positions[:, 0].tolist() == [0.0, 3.0]


@pytest.mark.parametrize("water", ["HOH", "SOL", "TIP3", "WAT", "SPC"])
def test_water_has_many_names(tmp_path, water):
    atoms = [
        ("ATOM", " CA ", "", "ALA", "A", 1, 0.0, 1.0, "C"),
        ("HETATM", " O  ", "", water, "A", 2, 5.0, 1.0, "O"),
    ]
    protein = read_text(tmp_path, *atoms)
    assert protein.labels[:, 1].tolist() == ["ALA"]
    assert "1 waters left out" in protein.notes


def test_elements_of_amino_acids_do_not_depend_on_columns(tmp_path):
    names = ["N   ", "CA  ", "CD1 ", "OE1 ", "SG  ", "HG  ", "NE  "]
    atoms = [("ATOM", n, "", "GLU", "A", 1, 3.0 * k, 1.0, "") for k, n in enumerate(names)] + [
        ("HETATM", "CA  ", "", "CA", "A", 2, 30.0, 1.0, "CA")
    ]
    protein = read_text(tmp_path, *atoms)
    assert len(protein.positions) == 7  # the hydrogen is left out, calcium itself is a metal
    assert "metals Ca: kept, as spheres without coordination" in protein.notes
    assert protein.features[:6].sum() > 0


def test_a_ligand_that_rdkit_refuses_is_refused_in_its_words(tmp_path):
    betaine = Chem.MolFromSmiles("C[N](C)(C)CC(=O)[O-]", sanitize=False)
    good = Chem.MolFromSmiles("CCO")
    records = []
    for mol, title in ((good, "ethanol"), (betaine, "betaine"), (good, "again")):
        mol.SetProp("_Name", title)
        records.append(Chem.MolToMolBlock(mol, kekulize=False) + "$$$$\n")
    (tmp_path / "l.sdf").write_text("".join(records))
    found = list(ligands_in(tmp_path / "l.sdf"))
    assert [isinstance(mol, str) for _, mol in found] == [False, True, False]
    assert found[1][0].endswith("l.sdf:1 betaine")
    assert "valence for atom # 1 N" in found[1][1]


@pytest.mark.parametrize(
    ("text", "said"), [("", "no atoms"), ("HELLO\n", "no atoms"), ("END\n", "no atoms")]
)
def test_files_that_are_no_proteins(tmp_path, text, said):
    (tmp_path / "p.pdb").write_text(text)
    with pytest.raises(InputError, match=said):
        read_protein(tmp_path / "p.pdb")


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d,e,f", "0,0,0,-1,1,1", "0,0,0,nan,1,1"])
def test_boxes_that_are_none(text):
    with pytest.raises(InputError, match="box"):
        Box.from_text(text)


def test_random_ligands_are_molecules_that_can_be_docked():
    rng = np.random.default_rng(1)
    for _ in range(3):
        ligand = random_ligand(rng)
        assert 10 <= len(ligand.heavy) <= 34
        moved = ligand.placed(ligand.positions + 1.0)
        apart = moved.GetConformer().GetPositions() - ligand.mol.GetConformer().GetPositions()
        assert np.abs(apart - 1.0).max() < 1e-9


@pytest.mark.skipif(not COMPLEXES.exists(), reason="the reference complexes are not here")
@pytest.mark.parametrize(
    ("protein", "ligand", "torsions"),
    [("1iep_receptor", "1iep_ligand", 7), ("5x72_receptor", "5x72_ligand_p59", 2)],
)
def test_real_complexes_are_read(protein, ligand, torsions):
    guest = read_ligand(COMPLEXES / f"{ligand}.sdf")
    site = read_protein(COMPLEXES / f"{protein}.pdb").within(Box.around(guest.positions))
    assert len(guest.tree) == torsions
    assert 200 < len(site.positions) < 2000
    field = physical_field(make_complex(guest, site))
    native = torch.tensor(guest.positions)[None]
    assert field(native)[0].item() < field(native + 1.5)[0].item()


def test_titles_of_mol2_records_are_in_their_names(tmp_path):
    record = (
        "@<TRIPOS>MOLECULE\n{}\n2 1 0 0 0\nSMALL\nNO_CHARGES\n@<TRIPOS>ATOM\n"
        "1 C1 0.0 0.0 0.0 C.3 1 A 0.0\n2 O1 1.4 0.0 0.0 O.3 1 A 0.0\n@<TRIPOS>BOND\n1 1 2 1\n"
    )
    path = tmp_path / "two.mol2"
    path.write_text(record.format("methanol") + record.format("another one"))
    found = dict(ligands_in(path))
    assert list(found) == [f"{path}:0 methanol", f"{path}:1 another one"]
    assert [m.GetNumHeavyAtoms() for m in found.values()] == [2, 2]


@torch.no_grad()
def test_donors_and_acceptors_come_as_near_as_in_proteins(tmp_path):
    """2.8 to 3.0 Angstrom (Baker and Hubbard, 1984); others keep to their radii."""
    apart = torch.linspace(2.0, 5.0, 601, dtype=torch.float64)
    for atom, element, nearest, farthest in (("O", "O", 2.7, 3.0), ("CA", "C", 3.6, 4.2)):
        (tmp_path / "one.pdb").write_text(pdb_line(1, atom, element, "A", "GLY", "1", np.zeros(3)))
        complex_ = make_complex(read_ligand("[NH4+]"), read_protein(tmp_path / "one.pdb"))
        x = torch.stack([apart, 0 * apart, 0 * apart], dim=-1)[:, None]
        least = float(apart[physical_field(complex_)(x)[0].argmin()])
        assert nearest < least < farthest
