"""The network of strain: its symmetry, its derivatives, and the labels that need it."""

import numpy as np
import pandas as pd
import pytest
import torch

from objstress import InputError, PointGroup, fit_law, load_law
from objstress.elasticity.strain import right_stretch
from objstress.graphs.lone_nodes import host_of
from objstress.labels.csv_pairs import FULL, read_pairs
from objstress.labels.strains import sample_strains
from objstress.laws.check import check_law
from objstress.laws.learned import LearnedLaw
from objstress.models.conformance import extra_operations, supergroups
from objstress.models.differences import softplus_change
from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings
from objstress.symmetry.voigt import mandel_rotations
from objstress.training.laws.correction import correct_law
from objstress.training.laws.network import stopping_labels
from objstress.training.laws.polynomial import StressEquations, fit_polynomial, stress_floor
from objstress.training.laws.settings import NetworkTraining
from tests.conformance import LawConformance

LAUE = ["-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"]
ONE = StrainNetworkSettings(members=1)
QUICK = NetworkTraining(epochs=25, patience=25)


def network_of(group, seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return StrainNetwork(group, StrainNetworkSettings(**{"members": 2, **settings}))


def stresses(network, x):
    with torch.no_grad():
        return network.derivatives(x, 1)[1]


@pytest.mark.parametrize("symbol", LAUE)
def test_random_weights_keep_the_group_and_no_operation_more(symbol):
    group = PointGroup(symbol)
    network = network_of(group)
    x = 0.1 * torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    s = stresses(network, x)

    def violation(operations):
        turns = torch.tensor(mandel_rotations(operations))
        gaps = [(stresses(network, x @ m.T) - s @ m.T).norm() / s.norm() for m in turns]
        return np.array([float(gap) for gap in gaps])

    assert violation(group.operations).max() <= 1e-12
    for larger in supergroups(group):
        if larger.laue != group.laue:
            assert violation(extra_operations(group, larger)).min() >= 1e-4, larger.symbol


@pytest.mark.parametrize("hidden", [(5,), (6, 5), (6, 5, 4)])
def test_closed_derivatives_are_those_of_the_energy(hidden):
    network = network_of(PointGroup("32"), hidden=hidden, strain_scale=0.3, energy_scale=7.0)
    x = 0.1 * torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    closed = network.derivatives(x, 2)
    x.requires_grad_()
    w = network(x)
    (s,) = torch.autograd.grad(w.sum(), x, create_graph=True)
    c = torch.stack([torch.autograd.grad(s[:, a].sum(), x, retain_graph=True)[0] for a in range(6)])
    for given, expected in zip(closed, (w, s, c.transpose(0, 1)), strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-11, atol=1e-12)


def test_energy_grows_without_bound_as_the_volume_vanishes():
    network = network_of(PointGroup("m-3m"))
    network.shrink(0.0)
    stretch = torch.tensor([1.0, 0.5, 0.2, 0.1, 0.05], dtype=torch.float64)
    x = torch.zeros(5, 6, dtype=torch.float64)
    x[:, :3] = 0.5 * (stretch[:, None] ** 2 - 1)
    w = network(x).detach()
    assert w[0] == pytest.approx(0.0, abs=1e-15)
    assert (w[1:] > 10 * w[:-1]).all()


class TestLaw(LawConformance):
    larger = PointGroup("m-3m")

    @pytest.fixture(scope="class")
    def law(self):
        group = PointGroup("m-3")
        return LearnedLaw(host_of(group), group, network=network_of(group, energy_scale=2e-6))


def buckling(f):
    """P of struts along x, y and z that give way at 3 % compression: kPa, far from polynomials."""
    e = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3))
    s = 2e-6 * e.copy()
    for k in range(3):
        s[:, k, k] += 4e-6 * (np.tanh((e[:, k, k] + 0.03) / 0.015) - np.tanh(2.0)) * 0.05
    return f @ s


def table(path, f, p, unit="GPa", size=1.0, **more):
    columns = {f"F{c}": f.reshape(-1, 9)[:, k] for k, c in enumerate(FULL)}
    columns |= {f"P{c} [{unit}]": size * p.reshape(-1, 9)[:, k] for k, c in enumerate(FULL)}
    pd.DataFrame(columns | more).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    f = right_stretch(sample_strains(160, 0.12))
    path = tmp_path_factory.mktemp("soft") / "foam.csv"
    return table(path, f, buckling(f), "Pa", 1e9)


def test_labels_that_no_polynomial_follows_get_a_network_alone(soft):
    said = []
    common = {"point_group": "m-3m", "progress": False}
    law = fit_law(soft, network=ONE, training=QUICK, say=said.append, **common)
    assert law.polynomial is None
    assert law.metadata["network"]["kind"] == "StrainNetwork"
    assert any("none follows the labels" in line for line in said)
    polynomial = fit_law(soft, use_network=False, **common)
    errors = [x.metadata["held_out"]["both"]["relative_rmse"] for x in (law, polynomial)]
    assert errors[0] < 0.08
    assert errors[1] > 1.3 * errors[0]
    assert all(claim.ok for claim in check_law(law)), [c for c in check_law(law) if not c.ok]


def test_contradictory_labels_are_refused_by_what_the_network_can_explain(tmp_path):
    f = right_stretch(sample_strains(120, 0.15))
    e = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3))
    noise = np.random.default_rng(0).normal(scale=0.3, size=(120, 3, 3))
    p = f @ (e + noise + noise.transpose(0, 2, 1))
    path = table(tmp_path / "noise.csv", f, p)
    with pytest.raises(InputError, match="no law of point group m-3m explains the labels"):
        fit_law(
            path,
            point_group="m-3m",
            network=ONE,
            training=NetworkTraining(epochs=2),
            progress=False,
        )


def test_a_fit_is_the_same_in_every_unit(tmp_path):
    f = right_stretch(sample_strains(60, 0.02))
    e = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3))
    p = f @ (100.0 * e + 40.0 * np.trace(e, axis1=1, axis2=2)[:, None, None] * np.eye(3))
    laws = [
        fit_law(
            table(tmp_path / f"{k}.csv", f, size * p),
            point_group="m-3m",
            use_network=False,
            progress=False,
        )
        for k, size in enumerate((1.0, 1e-10))
    ]
    c, small = (law.stiffness() for law in laws)
    assert np.abs(1e10 * small - c).max() < 1e-9 * np.abs(c).max()
    assert all(claim.ok for claim in check_law(laws[1]))


def test_each_load_case_counts_alike(tmp_path):
    f = right_stretch(sample_strains(30, 0.02))
    p = f @ (0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3)))
    p[:24] *= 100.0
    cases = ["large"] * 24 + ["small"] * 6
    labels = read_pairs(table(tmp_path / "a.csv", f, p, case=cases), PointGroup("m-3m"))
    sizes = labels.stress_sizes(1e-12)
    for chosen in (slice(0, 24), slice(24, None)):
        gap = 0.1 * np.linalg.norm(p[chosen], axis=(1, 2))
        # An error of a tenth everywhere in one case is half the mean square of a tenth.
        assert np.sum((gap / sizes[chosen]) ** 2) / 30 == pytest.approx(0.5 * 0.01)
    assert list(labels.subset(labels.cases == "small").cases) == ["small"] * 6


def test_weights_of_pairs_are_those_of_their_squares(tmp_path):
    f = right_stretch(sample_strains(10, 0.02))
    p = f @ (0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3)))
    weight = np.arange(1.0, 11.0)
    plain = read_pairs(table(tmp_path / "a.csv", f, p), PointGroup("m-3m")).stress_sizes(1e-12)
    path = table(tmp_path / "b.csv", f, p, weight=weight)
    weighted = read_pairs(path, PointGroup("m-3m")).stress_sizes(1e-12)
    assert (plain / weighted) ** 2 == pytest.approx(weight / weight.mean())
    path = table(tmp_path / "c.csv", f, p, weight=weight - 1)
    with pytest.raises(InputError, match="pair 1 has no positive weight"):
        read_pairs(path, PointGroup("m-3m"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P33 [GPa]", "P33 [MPa]", r"the units of the columns P\.\. differ"),
        ("F33", "F22", "two columns are named 'F22'"),
    ],
)
def test_columns_that_disagree_are_named(tmp_path, old, new, message):
    f = right_stretch(sample_strains(10, 0.02))
    path = table(tmp_path / "a.csv", f, f - np.eye(3))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_pairs(path, PointGroup("m-3m"))


def test_a_polynomial_that_does_better_than_the_network_stays(tmp_path):
    f = right_stretch(sample_strains(80, 0.12))
    rng = np.random.default_rng(0)
    e = 0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3))
    said = []
    law = fit_law(
        table(tmp_path / "a.csv", f, f @ e * (1 + 0.08 * rng.normal(size=(80, 1, 1)))),
        point_group="m-3m",
        network=StrainNetworkSettings(members=1, hidden=(1,)),
        training=NetworkTraining(epochs=1),
        progress=False,
        say=said.append,
    )
    assert any("no better than the polynomial" in line for line in said), said
    assert law.polynomial is not None


def test_whole_load_cases_are_left_out_to_choose_a_polynomial(tmp_path):
    f = right_stretch(sample_strains(80, 0.1))
    cases = np.array(["a", "b", "c", "d"]).repeat(20)
    path = table(tmp_path / "a.csv", f, buckling(f), "Pa", 1e9, case=cases)
    labels = read_pairs(path, PointGroup("m-3m"))
    group = PointGroup("m-3m")
    floor = stress_floor(labels, group)
    found = fit_polynomial(labels, group, floor, degrees=[3])
    errors = []
    for case in "abcd":
        rest = labels.subset(labels.cases != case)
        polynomial = StressEquations(rest, group, floor, 2).solve(3, found.ridge)
        law = LearnedLaw(labels.structure, group, polynomial)
        left = labels.subset(labels.cases == case)
        gap = law.response(left.F, 1)[1].numpy() - left.piola
        errors.append(np.linalg.norm(gap) / np.linalg.norm(left.piola))
    # The weights of the others change by a case left out, and the ridge's scale with them.
    assert found.error == pytest.approx(np.median(errors), rel=0.02)


def test_the_command_needs_the_data_and_the_group_alone(tmp_path, monkeypatch, shell):
    monkeypatch.chdir(tmp_path)
    f = right_stretch(sample_strains(60, 0.02))
    foam = table(
        tmp_path / "foam.csv", f, 2e-6 * f @ (0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3)))
    )
    code, text, _ = shell("fit", foam, "--point-group", "m-3m")
    assert code == 0
    assert "stiffness, kPa" in text
    assert load_law(tmp_path / "foam.law").polynomial is not None


def test_the_change_of_softplus_has_its_derivatives():
    generator = torch.Generator().manual_seed(0)
    d = (3 * torch.randn(4, 5, dtype=torch.float64, generator=generator)).requires_grad_()
    z = torch.randn(5, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(softplus_change, (d, z))
    activation, rise = softplus_change(d, z)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(activation, softplus(z + d) - softplus(z))
    torch.testing.assert_close(rise, torch.sigmoid(z + d) - torch.sigmoid(z))


def test_saturated_units_change_by_what_they_should():
    values = torch.tensor([-300.0, -40.0, -1.0, 1.0, 40.0, 300.0], dtype=torch.float64)
    d, z = (v.flatten() for v in torch.meshgrid(values, values, indexing="ij"))
    d.requires_grad_()
    activation, rise = softplus_change(d, z)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(activation, softplus(z + d) - softplus(z), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(rise, torch.sigmoid(z + d) - torch.sigmoid(z), rtol=0, atol=1e-15)
    (slope,) = torch.autograd.grad(activation.sum(), d)
    torch.testing.assert_close(slope, torch.sigmoid(z + d), rtol=1e-12, atol=1e-15)


def test_a_correction_refuses_the_weights_that_it_does_not_heed(tmp_path):
    f = right_stretch(sample_strains(60, 0.02))
    p = f @ (0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3)))
    prior = fit_law(
        table(tmp_path / "a.csv", f, p), point_group="m-3m", use_network=False, progress=False
    )
    path = table(tmp_path / "b.csv", f[:5], p[:5], weight=np.arange(1.0, 6.0))
    with pytest.raises(InputError, match="columns case and weight"):
        correct_law(path, prior)


def test_each_perceptron_is_stopped_by_other_labels():
    place = np.random.default_rng(0).permutation(103)
    masks = np.array(stopping_labels(place, 15, 8))
    assert masks.sum(axis=1).tolist() == [15] * 8
    assert masks.any(axis=0).all()  # no label stops none
    assert masks.sum(axis=0).max() <= 2  # and every one is fitted by most


def test_an_interrupted_fit_goes_on_where_it_stopped(tmp_path, monkeypatch):
    from objstress.training.laws import network as fits

    group = PointGroup("m-3m")
    f = torch.tensor(right_stretch(sample_strains(40, 0.1)))
    p = torch.tensor(buckling(f.numpy()))
    sizes = p.flatten(1).norm(dim=1)
    targets = fits.Targets(f, p, torch.zeros(40), 1 / sizes, torch.zeros(40, 0))
    stops = [np.arange(40) < 10, np.arange(40) >= 30]
    settings = NetworkTraining(epochs=4)

    def fitted(folder):
        network = network_of(group, hidden=(6,), energy_scale=1e-6)
        return fits.fit_network(network, targets, stops, settings, 1.0, folder, progress=False)

    heeded = NetworkTraining(energy_weight=0.1)
    with pytest.raises(InputError, match="stresses alone"):
        fits.fit_network(network_of(group), targets, stops, heeded, 1.0, progress=False)
    whole = fitted(tmp_path / "whole")
    step, calls = torch.optim.LBFGS.step, []

    def stopped(self, closure):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return step(self, closure)

    monkeypatch.setattr(torch.optim.LBFGS, "step", stopped)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fitted(tmp_path / "part")
    assert len(calls) == 6
    again = fitted(tmp_path / "part")
    np.testing.assert_allclose(again, whole, rtol=1e-9)
    # Two members of four epochs: five were done, and the sixth was done again.
    assert len(calls) == 6 + 3
