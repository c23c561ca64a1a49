"""A potential as a program of PyTorch gives what the potential gives, for any structure."""

import json

import pytest
import torch
from ase.build import bulk, molecule

from objstress import InputError, Potential, PotentialSettings, export_potential
from objstress.graphs.atoms import atom_graph
from objstress.graphs.neighbours import NeighbourTable


@pytest.fixture(scope="module")
def potential():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = PotentialSettings(
            elements=(1, 8, 14),
            heads=("energy", "dipole"),
            cutoff=3.5,
            channels=4,
            layers=2,
            edge_lmax=2,
            later_lmax=1,
            correlation=2,
        )
        made = Potential(settings)
    made.references += torch.tensor([0.3, -1.0, 2.0])
    return made


@pytest.fixture(scope="module")
def loaded(potential, tmp_path_factory):
    """The program, as PyTorch reads it, and what stands in its archive."""
    file = tmp_path_factory.mktemp("program") / "some.pt2"
    export_potential(potential, file)
    archive = {"objstress.json": ""}
    program = torch.export.load(file, extra_files=archive).module()
    return program, json.loads(archive["objstress.json"])


def crystal(repeat):
    atoms = bulk("Si", cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=1)
    return atoms


STRUCTURES = {
    "crystal": crystal(1),
    "supercell": crystal((3, 1, 1)),
    "water": molecule("H2O"),
    "disilane": molecule("Si2H6"),  # rows of different lengths
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_program_gives_what_the_potential_gives(potential, loaded, name):
    atoms = STRUCTURES[name]
    graph = atom_graph(atoms, potential.settings.elements, potential.settings.cutoff)
    table = NeighbourTable(graph)
    assert table.mask.all() == (name != "disilane")
    inputs = (graph.pos, graph.cell[0], graph.species, table.sender, table.shift, table.mask)
    energies, forces, virial = loaded[0](*inputs)
    names = ("energies", "forces", *(("stress",) if atoms.pbc.all() else ()))
    expected = potential.eval()(graph, names)
    torch.testing.assert_close(energies, expected["energies"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(forces, expected["forces"], rtol=1e-12, atol=1e-12)
    if "stress" in expected:
        stress = virial / atoms.cell.volume
        torch.testing.assert_close(stress, expected["stress"][0], rtol=1e-12, atol=1e-12)


def test_program_says_what_it_is_of(loaded):
    facts = loaded[1]
    assert facts["elements"] == [1, 8, 14]
    assert facts["cutoff_A"] == 3.5
    assert facts["dtype"] == "float64"


def test_exporting_leaves_the_potential_alone(potential, loaded):
    assert potential.settings.heads == ("energy", "dipole")
    assert all(p.requires_grad for p in potential.parameters())
    assert not any(getattr(m, "plain", False) for m in potential.modules())


def test_what_cannot_be_exported_is_refused(potential, tmp_path):
    with pytest.raises(InputError, match=r"end in \.pt2"):
        export_potential(potential, tmp_path / "some.c")
    charges = Potential(PotentialSettings(elements=(1,), heads=("dipole",), channels=2))
    with pytest.raises(InputError, match="no energy"):
        export_potential(charges, tmp_path / "some.pt2")
    assert not list(tmp_path.iterdir())


def test_the_command_exports_potentials_to_pt2(shell, monkeypatch, potential, tmp_path):
    """The verb has its own tests: here only whether it is asked."""
    asked = []
    monkeypatch.setattr("objstress.models.export.export_potential", lambda *a: asked.append(a))
    potential.save(tmp_path / "some.potential")
    code, out, _ = shell("export", tmp_path / "some.potential", tmp_path / "some.pt2")
    assert code == 0
    assert "some.pt2" in out
    ((given, path),) = asked
    assert isinstance(given, Potential)
    assert path == tmp_path / "some.pt2"
