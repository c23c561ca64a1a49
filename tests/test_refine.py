"""Strains that a simulation meets outside a law are kept, labelled, and fitted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from ase.units import GPa

from objstress import GuardedLaw, InputError, NeoHooke, fit_law, label_strains, load_law, refine_law
from objstress.elasticity.orientations import random_orientations
from objstress.elasticity.strain import right_stretch
from objstress.fem import Displacement, Grains, StaticProblem, meshes
from objstress.labels.strains import farthest_strains
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import from_mandel, mandel_rotations, to_mandel

COPPER = bulk("Cu", "fcc", a=3.6)  # not quite free of stress: the law's reference is another


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refine")
    label_strains(
        COPPER, "emt", out=folder / "0.extxyz", samples=70, max_strain=0.015, progress=False
    )
    law = fit_law(folder / "0.extxyz", COPPER, use_network=False, progress=False)
    law.save(folder / "0.law")
    return folder


@pytest.fixture(scope="module")
def far(folder):
    """Uniaxial strains up to 4 %, most of them outside, some of them twice by symmetry."""
    x = np.zeros((40, 6))
    x[:20, 0] = x[20:, 2] = np.linspace(0.01, 0.04, 20)
    return x


def true_stress(law, x):
    """P of the calculator itself at strains of the law, GPa."""
    found = []
    for F in right_stretch(from_mandel(x)):
        atoms = bulk("Cu", "fcc", a=3.6)
        atoms.set_cell(law.structure.lattice.matrix @ F.T, scale_atoms=True)
        atoms.calc = EMT()
        sigma = atoms.get_stress(voigt=False) / GPa
        found.append(np.linalg.det(F) * sigma @ np.linalg.inv(F).T)
    return np.array(found)


def test_the_strains_met_are_labelled_and_inside_then(folder, far):
    old = load_law(folder / "0.law", outside="ignore")
    result = refine_law(folder / "0.law", far, "emt", out=folder / "1.law", progress=False)
    frames = read(folder / "1.extxyz", ":")
    assert result["labelled"] >= 24
    assert [a.info["strain_index"] for a in frames] == list(range(71 + result["labelled"]))
    before = read(folder / "0.extxyz", ":")
    for a, b in zip(before, frames, strict=False):
        assert np.array_equal(a.positions, b.positions)
    new = load_law(folder / "1.law", outside="ignore")
    assert new.metadata["labels"] == len(frames)
    assert result["still_outside"] < 0.1
    F = right_stretch(from_mandel(far))
    assert new.outside(F).float().mean() < 0.1 < old.outside(F).float().mean()
    true = true_stress(new, far)
    errors = [
        np.linalg.norm(law.response(F, 1)[1] - true) / np.linalg.norm(true) for law in (old, new)
    ]
    assert errors[1] < 1e-3
    assert errors[1] < 0.1 * errors[0]


def test_a_guarded_law_is_guarded_again(folder, far):
    inner = load_law(folder / "0.law", outside="ignore")
    GuardedLaw(inner).save(folder / "guarded.law")
    refine_law(folder / "guarded.law", far, "emt", out=folder / "g1.law", samples=8, progress=False)
    again = load_law(folder / "g1.law")
    assert isinstance(again, GuardedLaw)
    assert again.metadata["labels"] == 71 + 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calculator": EMT(asap_cutoff=True)}, "give the same calculator"),
        ({"states": np.zeros((3, 6))}, "hold no strain outside"),
        ({"states": "nowhere"}, "holds no states of a run"),
        ({"labels": "gone.extxyz"}, "no label file"),
        ({"out": "0.law"}, "give the new law another name"),
        ({"law": "neo.law"}, "not a law that was fitted to labels"),
    ],
)
def test_refuses_what_cannot_be_refined(folder, far, change, message, monkeypatch):
    monkeypatch.chdir(folder)
    NeoHooke(40.0, 60.0).save("neo.law")
    arguments = {"law": "0.law", "states": far, "calculator": "emt", "out": "x.law"} | change
    law, states, calculator = (arguments.pop(key) for key in ("law", "states", "calculator"))
    with pytest.raises(InputError, match=message):
        refine_law(law, states, calculator, progress=False, **arguments)
    assert not (folder / "x.law").exists()


def test_crushed_strains_are_not_labelled(folder, far):
    x = np.concatenate([far, [[-0.45, 0, 0, 0, 0, 0]]])
    result = refine_law(
        folder / "0.law", x, "emt", out=folder / "c1.law", samples=6, progress=False
    )
    assert (result["labelled"], result["failed"]) == (6, [])
    for atoms in read(folder / "c1.extxyz", ":"):
        assert np.linalg.det(atoms.info["deformation_gradient"]) > 0.3


def test_laws_without_atoms_have_no_calculator(folder, far, tmp_path):
    data = Path(__file__).parents[1] / "data" / "spruce" / "pairs.csv"
    law = fit_law(data, point_group="mmm", use_network=False, progress=False)
    law.save(tmp_path / "spruce.law")
    with pytest.raises(InputError, match="without listed atoms has no calculator"):
        refine_law(tmp_path / "spruce.law", far, "emt", out=tmp_path / "x.law")


@pytest.mark.parametrize("textured", [False, True])
def test_states_keep_strains_in_the_frame_of_the_crystal(folder, textured, tmp_path):
    law = load_law(folder / "0.law", outside="ignore")
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    ends = [Displacement("z=min", (0, 0, 0)), Displacement("z=max", (0, 0, 0.04))]
    turns = random_orientations(8)
    if textured:
        problem = StaticProblem(mesh, Grains(np.arange(8), turns, law), ends)
    else:
        problem = StaticProblem(mesh, law, ends, orientation=turns[0])
    history = problem.solve(2, progress=False, checkpoint=tmp_path / "states")
    assert history[-1].outside
    x = problem.strains_outside()
    assert len(x) == history[-1].outside
    F = problem.material.F
    strains = 0.5 * (F.transpose(0, 2, 1) @ F - np.eye(3))
    Q = np.repeat(turns if textured else np.tile(turns[0], (8, 1, 1)), len(F) // 8, axis=0)
    expected = to_mandel(Q.transpose(0, 2, 1) @ strains @ Q)
    assert np.abs(x - expected[problem.law.outside(F).numpy()]).max() < 1e-12
    kept = refine_law(
        folder / "0.law",
        tmp_path / "states",
        "emt",
        out=tmp_path / "1.law",
        labels=folder / "0.extxyz",
        progress=False,
    )
    assert kept["met"] == sum(record.outside for record in history)


def test_strains_that_symmetry_makes_equal_are_picked_once():
    group = PointGroup("m-3m")
    x = np.random.default_rng(0).normal(size=(1, 6))
    images = np.concatenate([x @ m.T for m in mandel_rotations(group.operations)])
    two = np.concatenate([images, 0.5 * images])
    picked = farthest_strains(two, 10, group, np.zeros((1, 6)))
    sizes = np.linalg.norm(two[picked], axis=1)
    assert sizes == pytest.approx(np.linalg.norm(x) * np.array([1, 0.5]))
    assert len(farthest_strains(two, 10, group, x)) == 1
    assert len(farthest_strains(two[:0], 10, group, x)) == 0


def test_refine_in_a_shell(folder, shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = tmp_path / "case.yaml"
    case.write_text(
        f"law: {folder / '0.law'}\nmesh: {{shape: box, size: [1, 1, 1], cells: [2, 2, 2]}}\n"
        "steps: 1\ndisplacements: [{where: x=min, value: [0, 0, 0]}, "
        "{where: x=max, value: [0.03, 0, 0]}]\n"
    )
    code, _, error = shell("simulate", case, "--out", tmp_path / "out", "--json")
    assert code == 0, error
    code, out, error = shell(
        "refine", folder / "0.law", "--states", tmp_path / "out/states", "--calculator", "emt",
        "--out", tmp_path / "new.law", "--samples", 5, "--json",
    )  # fmt: skip
    assert code == 0, error
    answer = json.loads(out)
    assert answer["labelled"] == 5
    assert load_law(tmp_path / "new.law").metadata["labels"] == 76
    assert torch.isfinite(load_law(tmp_path / "new.law").stress(np.eye(3))).all()
