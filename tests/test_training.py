"""Fits: the polynomial, the stress-free reference, the network, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.units import GPa

from objstress import InputError, PointGroup, fit_law
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.strain import right_stretch
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.labels.strains import sample_strains
from objstress.laws.analytic import BazantLaw, SaintVenantKirchhoff
from objstress.laws.learned import LearnedLaw
from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
from objstress.models.invariants import invariant_polynomials
from objstress.models.polynomial import InvariantPolynomial
from objstress.models.strain_network import StrainNetworkSettings
from objstress.symmetry.voigt import MANDEL, from_mandel, mandel_rotations, to_mandel
from objstress.training.laws.domain import trained_domain
from objstress.training.laws.losses import energy_loss, network_response, stress_loss
from objstress.training.laws.metrics import energy_errors, relative_rmse, worthwhile
from objstress.training.laws.network import Targets, fit_network
from objstress.training.laws.plausibility import check_work
from objstress.training.laws.polynomial import StressEquations, fit_polynomial, stress_floor
from objstress.training.laws.reference import stress_free_labels
from objstress.training.laws.settings import NetworkTraining
from objstress.workflows.silicon import elastic_constants_of_labels
from tests.conftest import DATA

# Independent elastic constants of second and third order, by Laue class (Brugger 1965, table I).
CONSTANTS = {
    "-1": (21, 56), "2/m": (13, 32), "mmm": (9, 20), "4/m": (7, 16), "4/mmm": (6, 12),
    "-3": (7, 20), "-3m": (6, 14), "6/m": (5, 12), "6/mmm": (5, 10), "m-3": (3, 8), "m-3m": (3, 6),
}  # fmt: skip


@pytest.mark.parametrize("symbol", CONSTANTS)
def test_invariants_count_the_elastic_constants(symbol):
    group = PointGroup(symbol)
    counts = tuple(len(invariant_polynomials(group, d)) for d in (2, 3))
    assert counts == CONSTANTS[symbol]


@pytest.mark.parametrize("symbol", ["1", "32", "6/m", "m-3", "m-3m"])
def test_polynomials_are_invariant_and_their_derivatives_right(symbol):
    group = PointGroup(symbol)
    polynomial = InvariantPolynomial(group, 4)
    rng = np.random.default_rng(0)
    polynomial.set_coefficients(rng.normal(size=len(polynomial.degrees)))
    x = torch.tensor(0.3 * rng.normal(size=(5, 6)))
    w, g, h = polynomial(x, 2)
    for m in torch.tensor(mandel_rotations(group.operations)):
        assert torch.allclose(polynomial(x @ m.T, 0)[0], w, rtol=1e-12, atol=1e-12)
    x.requires_grad_()
    (auto,) = torch.autograd.grad(polynomial(x, 0)[0].sum(), x, create_graph=True)
    assert torch.allclose(auto, g, atol=1e-12)
    rows = [torch.autograd.grad(auto[:, a].sum(), x, retain_graph=True)[0] for a in range(6)]
    assert torch.allclose(torch.stack(rows, 1), h, atol=1e-12)
    design = polynomial.design(x.detach())
    assert np.allclose(design @ polynomial.coefficients.numpy(), g.detach().numpy())


def test_polynomial_recovers_a_polynomial(silicon_group):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif").subset(np.arange(1, 40))
    truth = InvariantPolynomial(silicon_group, 3)
    truth.set_coefficients(100 * np.random.default_rng(1).normal(size=len(truth.degrees)))
    x = torch.tensor(to_mandel(labels.strain))
    law = LearnedLaw(labels.structure, silicon_group, truth)
    p = law.response(labels.F, 1)[1].numpy()
    j = np.linalg.det(labels.F)[:, None, None]
    made = replace(labels, cauchy=p @ labels.F.transpose(0, 2, 1) / j)
    fit = fit_polynomial(made, silicon_group, 0.1)
    assert fit.error < 1e-6
    assert torch.allclose(fit.polynomial(x, 1)[1], truth(x, 1)[1], atol=1e-5)


def test_the_fit_is_the_least_squares_solution(silicon_group):
    """The normal equations lose digits; the solution must not."""
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif")
    fit = fit_polynomial(labels, silicon_group, 0.16, degrees=[7])
    polynomial = InvariantPolynomial(silicon_group, 7)
    x = torch.tensor(to_mandel(labels.strain))
    n = len(labels)
    weight = 1 / np.maximum(np.linalg.norm(labels.piola, axis=(1, 2)), 0.16)
    push = np.einsum("n,nim,amj->nija", weight, labels.F, MANDEL).reshape(n, 9, 6)
    size = float(x.norm(dim=1).max()) ** (1.0 - np.array(polynomial.degrees))
    design = (push @ polynomial.design(x)).reshape(9 * n, -1) * size
    ridge = np.sqrt(fit.ridge) * np.linalg.norm(design, 2) * np.eye(design.shape[1])
    target = (weight[:, None] * labels.piola.reshape(n, 9)).ravel()
    augmented = np.vstack([design, ridge]), np.append(target, np.zeros(design.shape[1]))
    solution = size * np.linalg.lstsq(*augmented, rcond=None)[0]
    polynomial.set_coefficients(solution)
    expected, found = (p(x, 1)[1] for p in (polynomial, fit.polynomial))
    assert (found - expected).abs().max() < 1e-9 * expected.abs().max()


def test_a_degree_is_raised_where_it_gains(silicon_group):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif").subset(np.arange(1, 120))
    fit = fit_polynomial(labels, silicon_group, 0.16)
    degree = fit.polynomial.degree
    assert fit.error == fit.errors[degree]
    assert all(fit.errors[d] > fit.error for d in range(2, degree))
    assert all(fit.errors[d] >= 0.85 * fit.error for d in fit.errors)
    # Two degrees in a row without a gain end the search.
    assert max(fit.errors) == min(degree + 2, 8)
    assert fit_polynomial(labels, silicon_group, 0.16, degrees=[3]).polynomial.degree == 3


def test_the_degree_can_be_given():
    files = DATA / "labels.extxyz", DATA / "silicon.cif"
    law = fit_law(*files, degree=3, use_network=False, progress=False)
    assert law.polynomial.degree == 3
    with pytest.raises(InputError, match="degree = 9: give 2 to 8"):
        fit_law(*files, degree=9)
    few = read_labels(*files).subset(np.arange(5))
    with pytest.raises(InputError, match="5 labels are too few for a polynomial of degree 8"):
        fit_law(few, degree=8, held_out=0.0)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (160.2177, "times the labels' energies: stresses in GPa instead"),
        (1602.177, "stresses in kbar instead"),
        (-1602.177, r"stresses in kbar, positive in compression \(VASP's\)"),
        (-1.0, "stresses positive in compression"),
        (3.7, "another unit of one of them"),
    ],
)
def test_energies_must_be_the_work_of_the_stresses(factor, message):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif").subset(np.arange(1, 40))
    with pytest.raises(InputError, match=message):
        fit_law(replace(labels, cauchy=factor * labels.cauchy), use_network=False, progress=False)
    half = replace(labels, energy=0.5 * labels.energy)
    with pytest.raises(InputError, match="energies of an atom instead of the cell"):
        fit_law(half, use_network=False, progress=False)


def test_consistent_labels_of_large_strain_are_not_doubted(silicon, silicon_group):
    """The comparison's cubic energy is a poor one there."""
    law = BazantLaw(cubic_stiffness(160.0, 64.0, 78.0))
    F = right_stretch(sample_strains(60, 0.4, 0, silicon_group))
    energy, stress = (t.numpy() for t in law.response(F, 1))
    cauchy = stress @ F.transpose(0, 2, 1) / np.linalg.det(F)[:, None, None]
    labels = Labels(silicon, F, cauchy, energy * silicon.volume * GPa, "clamped", "by hand")
    check_work(labels, silicon_group)


def test_leave_one_out_is_what_leaving_out_gives(silicon_group):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif").subset(np.arange(1, 31))
    fit = fit_polynomial(labels, silicon_group, 0.16, degrees=range(2, 3))
    weight = 1 / np.maximum(np.linalg.norm(labels.piola, axis=(1, 2)), 0.16)
    gaps = StressEquations(labels, silicon_group, 0.16, 2).left_out(2, fit.ridge)
    errors = []
    for k in range(len(labels)):
        rest = np.delete(np.arange(len(labels)), k)
        other = StressEquations(labels.subset(rest), silicon_group, 0.16, 2).solve(2, fit.ridge)
        x = torch.tensor(to_mandel(labels.strain[k : k + 1]))
        p = labels.F[k] @ from_mandel(other(x, 1)[1][0].numpy())
        gap = weight[k] * (labels.piola[k] - p)
        assert np.abs(gap - gaps[k]).max() < 0.02 * np.abs(gaps[k]).max()
        errors.append(np.linalg.norm(p - labels.piola[k]) * weight[k])
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(fit.error, rel=1e-2)


def test_a_network_is_judged_by_what_the_polynomial_leaves_of_labels_it_has_not_seen(
    silicon_group, monkeypatch
):
    from objstress.training.laws import fit

    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif").subset(np.arange(1, 41))
    kind = {"degree": 2, "stress_free": False, "held_out": 0.0, "progress": False}
    weight = 1 / labels.stress_sizes(stress_floor(labels, silicon_group))
    squares = []
    for k in range(len(labels)):
        rest = labels.subset(np.delete(np.arange(len(labels)), k))
        p = fit_law(rest, use_network=False, **kind).response(labels.F[k : k + 1], 1)[1].numpy()
        squares.append((np.linalg.norm(labels.piola[k] - p) * weight[k]) ** 2)
    seen = []
    monkeypatch.setattr(fit, "worthwhile", lambda before, after: seen.append(before))
    settings = StrainNetworkSettings(members=1, hidden=(3,))
    fit_law(labels, network=settings, training=NetworkTraining(epochs=1, iterations=1), **kind)
    for square in seen[0]:
        assert np.abs(np.array(squares) / square - 1).min() < 0.02
    assert len(seen[0]) == round(0.15 * len(labels))


def test_a_network_is_kept_where_its_gain_is_sure_and_worth_it():
    before = np.full(30, 4.0)
    before[0] = 40.0
    assert worthwhile(before, 0.8 * before)
    assert not worthwhile(before, 0.9 * before)  # an error of 0.95
    lucky = before.copy()
    lucky[:2] = 4.0, 8.0  # a fifth of the mean, all of one label
    assert not worthwhile(before, lucky)


def test_stress_free_reference_is_found_and_cubic(silicon_group):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif")
    shifted = labels.rereferenced(1.004 * np.eye(3))
    found, stretch, _ = stress_free_labels(shifted, silicon_group)
    direct, own, _ = stress_free_labels(labels, silicon_group)
    assert np.abs(stretch - stretch[0, 0] * np.eye(3)).max() < 1e-12
    assert found.structure.lattice.a == pytest.approx(direct.structure.lattice.a, abs=2e-4)
    assert 1.004 * stretch[0, 0] == pytest.approx(own[0, 0], abs=1e-4)
    # Silicon, LDA with these pseudopotentials: 10.17 bohr.
    assert direct.structure.lattice.a * np.sqrt(2) == pytest.approx(10.17 * 0.529177, abs=0.005)


def test_reference_far_away_is_an_error(silicon_group):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif").rereferenced(
        1.04 * np.eye(3)
    )
    with pytest.raises(InputError, match=r"stretched by \d.* from the given structure"):
        stress_free_labels(labels, silicon_group)


def test_domain_holds_the_labels_and_nothing_far(silicon_group):
    labels = read_labels(DATA / "labels.extxyz", DATA / "silicon.cif")
    m, density = trained_domain(labels, silicon_group)
    x = to_mandel(labels.strain)
    assert (np.einsum("na,ab,nb->n", x, m, x) <= 1 + 1e-12).mean() >= 0.95
    for r in mandel_rotations(silicon_group.operations):
        assert np.abs(r.T @ m @ r - m).max() < 1e-8 * np.abs(m).max()
    assert np.linalg.eigvalsh(m).min() > 1 / 0.12**2
    law = _with_domain(labels, silicon_group, m, density)
    assert law.outside(labels.F).float().mean() < 0.05
    far = right_stretch(from_mandel(1.2 * x[np.linalg.norm(x, axis=1) > 0.07]))
    assert law.outside(far).all()
    for g in silicon_group.operations:
        turned = g @ labels.F @ g.T
        assert torch.equal(law.outside(turned), law.outside(labels.F))


def _with_domain(labels, group, m, density):
    polynomial = InvariantPolynomial(group, 2)
    return LearnedLaw(labels.structure, group, polynomial, domain=m, density=density)


def test_one_far_label_opens_nothing_in_other_directions(silicon, silicon_group):
    """0.1 called yz shear of 6.6 % inside, where one uniaxial label of 8 % stood apart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(301, 6))
    x *= (0.02 * rng.random(301) ** (1 / 6) / np.linalg.norm(x, axis=1))[:, None]
    x[-1] = [0.08, 0, 0, 0, 0, 0]
    F = right_stretch(from_mandel(x))
    zero = np.zeros((301, 3, 3))
    labels = Labels(silicon, F, zero, np.zeros(301), "clamped", "by hand")
    law = _with_domain(labels, silicon_group, *trained_domain(labels, silicon_group))
    assert law.outside(F[-1:]).all()
    assert law.outside(F[:-1]).float().mean() < 0.05
    for direction in np.eye(6):
        further = right_stretch(from_mandel(0.03 * direction[None]))
        assert law.outside(further).all()
    # The ellipsoid, where a guarded law begins to leave the law, is that of the others, too.
    assert np.linalg.eigvalsh(law.domain.numpy()).min() > 1 / 0.03**2


def test_labels_of_one_size_leave_the_middle_inside(silicon, silicon_group):
    """A law does not extrapolate to F = I, where no label may be."""
    x = np.random.default_rng(2).normal(size=(100, 6))
    x *= 0.01 / np.linalg.norm(x, axis=1)[:, None]
    F = right_stretch(from_mandel(x))
    labels = Labels(silicon, F, np.zeros((100, 3, 3)), np.zeros(100), "clamped", "by hand")
    law = _with_domain(labels, silicon_group, *trained_domain(labels, silicon_group))
    for share, outside in ((0.0, False), (0.3, False), (0.6, False), (1.2, True)):
        assert law.outside(right_stretch(from_mandel(share * x))).all() == outside
        assert law.outside(right_stretch(from_mandel(share * x))).any() == outside


def test_strains_on_the_side_without_labels_are_outside(silicon, silicon_group):
    rng = np.random.default_rng(1)
    x = 0.002 * rng.normal(size=(200, 6))
    x[:, :3] += 0.04 * rng.random(200)[:, None]  # dilated, never compressed
    F = right_stretch(from_mandel(x))
    labels = Labels(silicon, F, np.zeros((200, 3, 3)), np.zeros(200), "clamped", "by hand")
    law = _with_domain(labels, silicon_group, *trained_domain(labels, silicon_group))
    volume = np.array([0.0, 0.01, 0.03, -0.025, -0.03])[:, None, None]
    found = law.outside(right_stretch(volume * np.eye(3)))
    assert found.tolist() == [False, False, False, True, True]


def test_errors_of_energies_are_in_meV_an_atom(silicon):
    law = SaintVenantKirchhoff(cubic_stiffness(162.0, 64.0, 78.0), "m-3m")
    F = np.eye(3) + 0.02 * np.random.default_rng(0).normal(size=(6, 3, 3))
    ev_per_gpa_a3 = 1e9 * 1e-30 / 1.602176634e-19
    energy = law.energy(F).numpy() * ev_per_gpa_a3 * silicon.volume
    # Two atoms in the cell; a common offset is no error.
    energy = energy - 10.0 + 0.004 * np.array([1, -1, 1, -1, 1, -1])
    labels = Labels(silicon, F, np.zeros((6, 3, 3)), energy, "clamped", "by hand")
    found = energy_errors(law, labels)
    assert found["rmse_meV_per_atom"] == pytest.approx(2.0, rel=1e-6)
    assert found["labels"] == 6


def test_losses_are_what_they_say():
    p = torch.zeros(2, 3, 3, dtype=torch.float64)
    q = p.clone()
    q[0, 0, 0] = 3.0
    assert float(stress_loss(p, q, torch.tensor([2.0, 1.0]))) == pytest.approx(18.0)
    assert relative_rmse(p.numpy(), q.numpy(), 1.0) == pytest.approx(np.sqrt(0.5))
    w = torch.tensor([1.0, 2.0, float("nan")])
    assert float(energy_loss(w[:2] + 7, w[:2], 0.1)) == pytest.approx(0.0, abs=1e-10)
    assert float(energy_loss(torch.tensor([0.0, 0.0, 5.0]), w, 1.0)) == pytest.approx(0.25)


def test_training_response_is_the_law(silicon, silicon_group):
    from objstress.laws.check import random_deformations

    torch.manual_seed(0)
    network = ConstitutiveNetwork(silicon, silicon_group, NetworkSettings(channels=4))
    f = torch.tensor(random_deformations(4, 0.05, np.random.default_rng(0)))
    w, p = network_response(network, f)
    law = LearnedLaw(silicon, silicon_group, network=network)
    expected = law.response(f, 1)
    assert torch.allclose(w.detach(), expected[0], atol=1e-12)
    assert torch.allclose(p.detach(), expected[1], atol=1e-12)


@pytest.fixture
def small_fit(silicon, silicon_group, sw_labels):
    labels = read_labels(sw_labels, silicon).subset(np.arange(1, 61))
    stress = torch.tensor(labels.piola)
    targets = Targets(
        torch.tensor(labels.F),
        stress,
        torch.full((60,), float("nan"), dtype=torch.float64),
        1 / stress.flatten(1).norm(dim=1).clamp(min=0.2),
        torch.zeros(60, 0),
    )

    def network():
        torch.manual_seed(0)
        return ConstitutiveNetwork(
            silicon, silicon_group, NetworkSettings(channels=4, energy_scale=5.0)
        )

    return network, targets, [np.arange(60) >= 48]


def test_network_learns_logs_and_resumes(small_fit, tmp_path):
    make, targets, stops = small_fit
    network = make()
    settings = NetworkTraining(epochs=12, iterations=25, patience=20)
    [(before, after)] = fit_network(
        network, targets, stops, settings, 1.0, tmp_path, progress=False
    )
    assert after < 0.5 * before
    log = (tmp_path / "log" / "metrics.csv").read_text()
    assert {"epoch", "train_loss", "valid_error"} <= set(log.splitlines()[0].split(","))
    # The same call resumes at the end: nothing is left to do, the weights are the same.
    again = make()
    fit_network(again, targets, stops, settings, 1.0, tmp_path, progress=False)
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_interrupted_fit_resumes(small_fit, tmp_path, monkeypatch):
    make, targets, stops = small_fit
    settings = NetworkTraining(epochs=5, iterations=5, patience=10)
    straight = make()
    fit_network(straight, targets, stops, settings, 1.0, tmp_path / "a", progress=False)

    from objstress.training.laws.network import NetworkFit

    original = NetworkFit.validation_step

    def interrupted(self, batch, index):
        original(self, batch, index)
        if self.trainer.current_epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(NetworkFit, "validation_step", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit_network(make(), targets, stops, settings, 1.0, tmp_path / "b", progress=False)
    monkeypatch.setattr(NetworkFit, "validation_step", original)
    resumed = make()
    fit_network(resumed, targets, stops, settings, 1.0, tmp_path / "b", progress=False)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_fit_needs_something_to_fit(sw_labels):
    with pytest.raises(InputError, match="structure"):
        fit_law(sw_labels)
    with pytest.raises(InputError, match="held_out"):
        fit_law(sw_labels, DATA / "silicon.cif", held_out=1.0)
    with pytest.raises(InputError, match="neither"):
        fit_law(sw_labels, DATA / "silicon.cif", polynomial=False, use_network=False)


def test_labels_of_a_potential_give_its_elastic_constants(sw_labels):
    """Stillinger-Weber silicon: 151.4, 76.4, 56.4 GPa (Balamane et al., PRB 46, 2250, table V)."""
    law = fit_law(sw_labels, DATA / "silicon.cif", use_network=False, progress=False)
    c = law.stiffness()
    assert c[0, 0] == pytest.approx(151.4, rel=0.02)
    assert c[0, 1] == pytest.approx(76.4, rel=0.02)
    assert c[3, 3] == pytest.approx(56.4, rel=0.03)
    assert law.structure.lattice.a * np.sqrt(2) == pytest.approx(5.431, abs=0.003)
    assert law.metadata["reference_shift"] == pytest.approx(0.0092, abs=0.001)


def test_silicon_from_dft_meets_its_bars(dft_law):
    held_out = dft_law.metadata["held_out"]
    assert held_out["both"]["labels"] == 64
    assert held_out["both"]["relative_rmse"] <= 0.015
    fresh = elastic_constants_of_labels(DATA / "elastic-relaxed.extxyz", DATA / "silicon.cif")
    c = dft_law.stiffness()
    for learned, name in ((c[0, 0], "C11"), (c[0, 1], "C12"), (c[3, 3], "C44")):
        assert learned == pytest.approx(fresh[name], abs=2.0)
    # Labels without noise leave nothing for a network to learn.
    assert held_out["both"]["relative_rmse"] <= 0.001
    assert dft_law.metadata["network"]["reason"] == "the polynomial leaves less than 0.1 %"
    assert held_out["both"]["relative_rmse"] <= held_out["polynomial"]["relative_rmse"]


def test_clamped_and_relaxed_constants_differ_by_the_internal_displacement():
    relaxed, clamped = (
        elastic_constants_of_labels(DATA / f"elastic-{ions}.extxyz", DATA / "silicon.cif")
        for ions in ("relaxed", "clamped")
    )
    assert relaxed["C44"] == pytest.approx(78, abs=1.5)
    assert clamped["C44"] == pytest.approx(105, abs=2.5)
    assert relaxed["C11"] == pytest.approx(clamped["C11"], abs=0.5)
