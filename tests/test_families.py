"""Families of laws: labels with parameters, members, derivatives by parameters, graded bodies."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from objstress import InputError, OutsideDomainWarning, PointGroup, load_law
from objstress.elasticity.strain import right_stretch
from objstress.graphs.lone_nodes import host_of
from objstress.labels.csv_pairs import FULL
from objstress.labels.reading import read_labels
from objstress.labels.strains import sample_strains
from objstress.laws.family import LawFamily, load_family
from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings
from objstress.training.laws.family import fit_family
from objstress.training.laws.family_member import _left_out, fit_member
from objstress.training.laws.settings import NetworkTraining
from objstress.training.laws.stress_residuals import StressResiduals, alike
from tests.conformance import LawConformance

CUBIC = PointGroup("m-3m")
SMALL = StrainNetworkSettings(members=1, hidden=(10, 10))
QUICK = NetworkTraining(epochs=12, patience=12)


def random_family(group=CUBIC):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = StrainNetwork(
            group, StrainNetworkSettings(members=2, hidden=(6, 5), parameters=2, energy_scale=3.0)
        )
        for member in network.perceptrons:
            torch.nn.init.normal_(member.strength, std=0.5)
    return LawFamily(host_of(group), network, ["density", "x"], [0.1, 1.0], [0.5, 3.0])


def points(n=7):
    rng = np.random.default_rng(0)
    f = right_stretch(sample_strains(n, 0.1)) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    f *= np.sign(np.linalg.det(f))[:, None, None]
    return f, rng.uniform([0.1, 1.0], [0.5, 3.0], size=(n, 2))


def foams(values, n=25, seed=0):
    """Labels of cubic materials whose stiffness goes with the square of their density."""
    frames = []
    for k, rho in enumerate(values):
        f = right_stretch(sample_strains(n, 0.1, seed=seed + k))
        e = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3))
        trace = np.trace(e, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        s = rho**2 * (1.0 * trace + 0.8 * e + 2 * rho * trace * e)
        row = pd.DataFrame((f @ s).reshape(-1, 9), columns=["P" + c for c in FULL])
        for c, v in zip(FULL, f.reshape(-1, 9).T, strict=True):
            row["F" + c] = v
        row["density"] = rho
        frames.append(row)
    return pd.concat(frames)


class TestMember(LawConformance):
    @pytest.fixture(scope="class")
    def law(self):
        return random_family().at({"density": 0.2, "x": 2.5})


def test_points_of_different_members_are_those_members():
    family = random_family()
    f, p = points()
    whole = family.response(f, p, 2)
    for i, values in enumerate(p):
        for part, alone in zip(whole, family.at(values).response(f[i], 2), strict=True):
            torch.testing.assert_close(part[i], alone, rtol=1e-10, atol=1e-12)
    family.network.chunk = 3
    for part, again in zip(whole, family.response(f, p, 2), strict=True):
        torch.testing.assert_close(part, again, rtol=1e-10, atol=1e-12)


def test_derivatives_by_the_parameters_are_differences():
    family = random_family()
    f, p = points()
    by_energy, by_stress = family.by_parameters(f, p)
    for k, step in enumerate((1e-5, 1e-4)):
        shift = step * np.eye(2)[k]
        above, below = (family.response(f, p + s, 1) for s in (shift, -shift))
        energy, stress = ((a - b) / (2 * step) for a, b in zip(above, below, strict=True))
        torch.testing.assert_close(by_energy[:, k], energy, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(by_stress[..., k], stress, rtol=1e-6, atol=1e-7)


def test_a_file_gives_the_same_family_and_a_member_is_a_law_file(tmp_path):
    family = random_family()
    f, p = points()
    family.save(tmp_path / "foam.law")
    again = load_family(tmp_path / "foam.law")
    assert again.names == ("density", "x")
    torch.testing.assert_close(again.response(f, p, 1)[1], family.response(f, p, 1)[1])
    member = family.at(p[0])
    member.save(tmp_path / "member.law")
    loaded = load_law(tmp_path / "member.law")
    torch.testing.assert_close(loaded.response(f, 2)[2], member.response(f, 2)[2])
    assert loaded.metadata["parameters"] == {"density": p[0, 0], "x": p[0, 1]}
    with pytest.raises(InputError, match="load it with load_family"):
        load_law(tmp_path / "foam.law")
    with pytest.raises(InputError, match="load one law with load_law"):
        load_family(tmp_path / "member.law")


def test_parameters_outside_those_of_the_fit_are_said():
    family = random_family()
    with pytest.warns(OutsideDomainWarning, match=r"density = 0\.6 is outside the 0\.1 to 0\.5"):
        family.at({"density": 0.6, "x": 2.0})
    family.outside_action = "error"
    with pytest.raises(InputError, match=r"x = 0\.5 is outside"):
        family.at({"density": 0.3, "x": 0.5})
    assert family.outside([[0.1, 1.0], [0.5, 3.0], [0.09, 2.0]]).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"density": 0.2}, "'x' is missing"),
        ({"density": 0.2, "x": 1.0, "y": 1.0}, "no parameter 'y'"),
        ([0.2], "shape"),
        ([0.2, np.nan], "not a finite"),
    ],
)
def test_wrong_parameters_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        random_family().at(values)


def test_columns_that_cannot_be_parameters_are_refused(tmp_path):
    table = foams([0.2, 0.3], n=5)
    table["c"] = 7.0
    path = tmp_path / "foams.csv"
    table.to_csv(path, index=False)

    def fit(*names):
        return fit_family(path, "m-3m", names, network=SMALL, training=QUICK, progress=False)

    with pytest.raises(InputError, match="parameter 'c' is 7 in all labels"):
        fit("density", "c")
    with pytest.raises(InputError, match="no column 'porosity'"):
        fit("density", "c", "porosity")
    with pytest.raises(InputError, match="'P11' is no parameter"):
        fit("P11")
    with pytest.raises(InputError, match="unknown column 'c'"):
        fit("density")
    with pytest.raises(InputError, match="needs parameters"):
        fit()
    with pytest.raises(InputError, match="named twice"):
        fit("density", "c", "c")


def test_frames_carry_parameters(tmp_path):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = []
    for x in (0.0, 0.25):
        atoms = Atoms("Si", cell=np.eye(3) * 3, pbc=True)
        atoms.info |= {"deformation_gradient": np.eye(3).ravel(), "x": x}
        atoms.calc = SinglePointCalculator(atoms, stress=np.zeros(6), energy=0.0)
        frames.append(atoms)
    write(tmp_path / "alloys.extxyz", frames)
    labels = read_labels(tmp_path / "alloys.extxyz", group=CUBIC, parameters=["x"])
    assert labels.parameters.tolist() == [[0.0], [0.25]]
    with pytest.raises(InputError, match="frame 0 has no finite number 'y'"):
        read_labels(tmp_path / "alloys.extxyz", group=CUBIC, parameters=["y"])


def test_a_material_that_the_fit_has_not_seen_is_predicted(tmp_path):
    path = tmp_path / "foams.csv"
    foams(np.linspace(0.1, 0.6, 10)).to_csv(path, index=False)
    family = fit_family(path, "m-3m", ["density"], network=SMALL, training=QUICK, progress=False)
    held_out = family.metadata["held_out"]
    assert held_out["materials"] == 2
    assert held_out["median"] < 0.05
    # Of a density between those of the labels: stiffness goes from 1 to 36.
    new = foams([0.33], n=40, seed=99)
    f = new[["F" + c for c in FULL]].to_numpy().reshape(-1, 3, 3)
    p = new[["P" + c for c in FULL]].to_numpy().reshape(-1, 3, 3)
    stress = family.at([0.33]).stress(f).numpy()
    assert np.linalg.norm(stress - p) / np.linalg.norm(p) < 0.05


@pytest.fixture(scope="module")
def foam(tmp_path_factory):
    path = tmp_path_factory.mktemp("foam") / "foams.csv"
    foams(np.linspace(0.1, 0.6, 8)).to_csv(path, index=False)
    return fit_family(
        path, "m-3m", ["density"], held_out=0, network=SMALL, training=QUICK, progress=False
    )


def test_perceptrons_that_go_astray_are_left_out(tmp_path, monkeypatch):
    from objstress.training.laws import network

    fitted = []

    def with_errors(energy, *others):
        fitted.append(energy)
        return [(1.0, 0.10), (1.0, 0.90), (1.0, 0.12)]

    monkeypatch.setattr(network, "fit_network", with_errors)
    path = tmp_path / "foams.csv"
    foams([0.2, 0.3, 0.4, 0.5, 0.6]).to_csv(path, index=False)
    settings = StrainNetworkSettings(members=3, hidden=(4,))
    family = fit_family(path, "m-3m", ["density"], network=settings, progress=False)
    assert family.metadata["network"]["kept"] == [True, False, True]
    f, p = points()
    p = 0.2 + 0.4 * p[:, :1] / 3
    f, z = torch.tensor(f), torch.tensor(5 * p - 2)  # from -1 to 1
    each = [network.network_response(fitted[0].perceptrons[k], f, z)[1] for k in (0, 2)]
    torch.testing.assert_close(family.response(f, p, 1)[1], (each[0] + each[1]) / 2)


def test_few_labels_find_a_member_and_correct_it(foam, tmp_path):
    def errors(law, table):
        f, p = (table[[x + c for c in FULL]].to_numpy().reshape(-1, 3, 3) for x in "FP")
        return np.linalg.norm(law.response(f, 1)[1].numpy() - p) / np.linalg.norm(p)

    few, many = foams([0.33], n=8, seed=50), foams([0.33], n=60, seed=51)
    few.drop(columns="density").to_csv(tmp_path / "few.csv", index=False)
    law = fit_member(tmp_path / "few.csv", foam)
    assert law.metadata["member"]["parameters"]["density"] == pytest.approx(0.33, rel=0.03)
    assert errors(law, many) < 0.05
    # A material that is not quite of the family: its stresses are a third larger.
    for table in (few, many):
        table[["P" + c for c in FULL]] *= 4 / 3
    few.drop(columns="density").to_csv(tmp_path / "other.csv", index=False)
    other = fit_member(tmp_path / "other.csv", foam, {"density": 0.33})
    assert other.metadata["member"]["strength"] is not None
    assert other.metadata["member"]["error_before"] == pytest.approx(0.25, abs=0.03)
    assert errors(other, many) < 0.08
    other.save(tmp_path / "other.law")
    torch.testing.assert_close(load_law(tmp_path / "other.law").stiffness(), other.stiffness())
    few[:2].drop(columns="density").to_csv(tmp_path / "three.csv", index=False)
    with pytest.raises(InputError, match="2 labels"):
        fit_member(tmp_path / "three.csv", foam)


def test_left_out_errors_are_those_of_fits_without_the_label():
    rng = torch.Generator().manual_seed(0)
    j = torch.randn(8, 30, dtype=torch.float64, generator=rng)
    r = torch.randn(8, dtype=torch.float64, generator=rng)
    label, strength = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2]), 0.3
    expected = 0.0
    for one in range(3):
        rows = label == one
        rest = j[~rows]
        kernel = rest @ rest.T + strength * torch.eye(len(rest), dtype=torch.float64)
        change = -rest.T @ torch.linalg.solve(kernel, r[~rows])
        expected += float((r[rows] + j[rows] @ change).square().sum())
    assert float(_left_out(j @ j.T, r, label, strength)) == pytest.approx(expected, rel=1e-9)


def test_shell_fits_a_family_and_writes_a_member(tmp_path, shell, monkeypatch):
    from objstress.training.laws import network

    run_fit = network.run_fit
    monkeypatch.setattr(network, "run_fit", lambda *a, **k: run_fit(*a, **k | {"epochs": 1}))
    path, out = tmp_path / "foams.csv", tmp_path / "foam.law"
    foams([0.2, 0.3, 0.4, 0.5, 0.6], n=6).to_csv(path, index=False)
    words = ["fit", path, "--point-group", "m-3m", "--parameters", "density", "--out", out]
    code, text, problems = shell(*words, "--json")
    assert code == 0, problems
    assert json.loads(text)["materials"] == 5
    member = tmp_path / "member.law"
    code, text, problems = shell("member", out, "--at", "density=0.35", "--out", member, "--json")
    assert code == 0, problems
    np.testing.assert_allclose(load_law(member).stiffness(), json.loads(text)["stiffness_GPa"])
    few = tmp_path / "few.csv"
    foams([0.33], n=6).drop(columns="density").to_csv(few, index=False)
    words_of_member = ["fit", few, "--prior", out, "--at", "density=0.33", "--out", member]
    code, text, problems = shell(*words_of_member, "--json")
    assert code == 0, problems
    assert json.loads(text)["member"]["parameters"] == {"density": 0.33}
    code, _, problems = shell(*words_of_member, "--parameters", "density")
    assert (code, "--parameters is the prior's" in problems) == (2, True)
    code, _, problems = shell("fit", few, "--prior", member, "--at", "density=0.3")
    assert (code, "is one law" in problems) == (2, True)
    code, _, problems = shell("member", out, "--at", "0.3", "--out", member)
    assert (code, "NAME=NUMBER" in problems) == (2, True)
    code, _, problems = shell(*words, "--degree", "3")
    assert (code, "--degree is not for families" in problems) == (2, True)


def test_equations_of_alike_strains_are_those_of_all_components():
    group = PointGroup("m-3m")
    f = np.tile(np.eye(3), (6, 1, 1))
    f[0] *= 1.1
    f[1, 0, 0] = 0.9
    f[2, 0, 1] = 0.2
    f[3, 0, 0], f[3, 1, 1] = 1.1, 0.9
    f[4] = right_stretch(sample_strains(1, 0.1))[0]
    f = torch.tensor(f)
    family = random_family(group)
    member = family.network.perceptrons[0]
    sizes = sorted(
        (len(images), basis.shape[1])
        for _, images, basis in alike(
            0.5 * (f.mT @ f - torch.eye(3)).flatten(1)[:, [0, 4, 8, 5, 2, 1]], member.rotations
        )
    )
    assert (1, 1) in sizes  # a volume change alone
    assert (24, 6) in sizes  # a strain that only the identity keeps
    rng = torch.Generator().manual_seed(0)
    stress = torch.randn(6, 3, 3, dtype=torch.float64, generator=rng)
    weight = torch.rand(6, dtype=torch.float64, generator=rng) + 0.5
    p = torch.rand(6, 2, dtype=torch.float64, generator=rng)
    problem = StressResiduals(member, f, stress, weight, p, decay=0.1)
    weights = list(member.parameters())
    for w in weights:
        w.requires_grad_()
    from objstress.training.laws.losses import network_response, stress_loss

    def loss():
        squares = sum((w**2).sum() for w in weights)
        return stress_loss(network_response(member, f, p)[1], stress, weight) + 0.1 * squares

    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss(), weights)])
    found = torch.cat([g.flatten() for g in torch.autograd.grad(problem.loss(), weights)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    j, r, label = problem.equations()
    with torch.no_grad():
        torch.testing.assert_close(
            2 * (j.T @ r + 0.1 * nn.utils.parameters_to_vector(weights)), expected
        )
        assert label.unique().tolist() == list(range(6))
        before = float(loss() - problem.loss())
        for w in weights:
            w.add_(0.1)
        assert float(loss() - problem.loss()) == pytest.approx(before, rel=1e-9)  # the constant
