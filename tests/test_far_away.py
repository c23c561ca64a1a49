"""Laws far from their labels: guarded growth, and the loss of ellipticity."""

import numpy as np
import pytest
import torch

from objstress import InputError, NeoHooke, SaintVenantKirchhoff, fit_law, load_law
from objstress.elasticity.acoustic import acoustic_tensor, smallest_acoustic
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.strain import right_stretch
from objstress.laws.check import random_deformations, stress_gradient, tangent_gradient
from objstress.laws.compile import compile_law
from objstress.laws.guarded import GuardedLaw
from objstress.laws.rotated import RotatedLaw
from objstress.symmetry.voigt import from_mandel
from tests.conformance import LawConformance
from tests.test_crystals import CRYSTALS


@pytest.fixture(scope="module")
def quartz():
    law = fit_law(
        CRYSTALS / "quartz.extxyz", CRYSTALS / "quartz.cif", use_network=False, progress=False
    )
    law.outside_action = "ignore"
    return law


@pytest.fixture(scope="module")
def guarded(quartz):
    return GuardedLaw(quartz)


def _edge(law, count):
    """Strains on the edge of the trained ones, Mandel."""
    x = np.random.default_rng(0).normal(size=(count, 6))
    x = np.vstack([x, [1, 1, 1, 0, 0, 0], [-1, -1, -1, 0, 0, 0]])
    return x / np.sqrt(np.einsum("na,ab,nb->n", x, law.domain.numpy(), x))[:, None]


class TestGuarded(LawConformance):
    @pytest.fixture
    def law(self, guarded):
        return guarded


def test_nothing_changes_inside(quartz, guarded):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6))
    m = quartz.domain.numpy()
    x /= np.sqrt(np.einsum("na,ab,nb->n", x, m, x))[:, None]
    # Every other point lies outside: those inside share their batch.
    f = right_stretch(from_mandel(x * np.linspace(0, 0.9999, 400)[:, None]))
    mixed = np.stack([f, right_stretch(from_mandel(2.0 * x))], axis=1).reshape(-1, 3, 3)
    assert guarded.outside(mixed[1::2]).all()
    for a, b in zip(guarded.response(mixed, 2), quartz.response(f, 2), strict=True):
        assert (a[::2] - b).abs().max() <= 1e-10


def test_derivatives_hold_outside_and_across_the_edge(guarded):
    rays = _edge(guarded, 60)
    for r in (0.98, 1.02, 1.05, 1.1, 1.5, 2.5):
        f = right_stretch(from_mandel(r * rays))
        assert bool(guarded.outside(f).all()) == (r > 1)
        assert stress_gradient(guarded, f) < 1e-6
        assert tangent_gradient(guarded, f) < 1e-6


def test_curvature_is_continuous_across_the_edge(quartz, guarded):
    rays = torch.tensor(_edge(guarded, 40))
    inside = quartz.strain_energy(rays, 2)
    outside = guarded.strain_energy(rays * (1 + 1e-7), 2)
    for a, b in zip(inside, outside, strict=True):
        assert (a - b).abs().max() < 1e-4 * a.abs().max()


def test_a_stable_crystal_stays_stable_outside(quartz, guarded):
    rays = _edge(guarded, 300)
    at_the_edge, _ = quartz.ellipticity(right_stretch(from_mandel(rays)))
    assert at_the_edge.min() > 0
    for r in (1.01, 1.03, 1.06, 1.1, 1.2, 1.35, 1.5):
        beyond, _ = guarded.ellipticity(right_stretch(from_mandel(r * rays)))
        assert (beyond >= 0.2 * at_the_edge).all()


def test_stress_does_not_fall_back_outside(quartz, guarded):
    """Along each ray the slope of W grows on: 0.1 let the pressure drop behind the edge."""
    rays = torch.tensor(_edge(guarded, 200))
    r = torch.linspace(1, 1.5, 60, dtype=torch.float64)
    x = rays[:, None] * r[:, None]
    slope = (guarded.strain_energy(x.reshape(-1, 6), 1)[1].reshape(x.shape) * rays[:, None]).sum(-1)
    assert (slope.diff(dim=1) > 0).all()


def test_newton_passes_far_beyond_the_edge(guarded):
    from objstress.fem import Displacement, StaticProblem, meshes

    faces = [f"{a}={b}" for a in "xyz" for b in ("min", "max")]
    crushed = [
        Displacement(
            face,
            tuple((-0.5 if face == "z=max" else 0) if c == face[0] else None for c in "xyz"),
        )
        for face in faces
    ]
    stretched = [Displacement("z=min", (0, 0, 0)), Displacement("z=max", (0, 0, 1.0))]
    quiet = GuardedLaw(guarded.law, guarded.slope)
    quiet.outside_action = "ignore"
    for ends, least in ((crushed, 0.5), (stretched, None)):
        problem = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), quiet, ends)
        history = problem.solve(10, progress=False)
        assert history[-1].load == 1
        assert max(record.rejected for record in history) <= 4
        if least:
            assert history[-1].min_J == pytest.approx(least)


def test_energy_grows_along_every_way_out(quartz, guarded):
    rng = np.random.default_rng(2)
    rays = rng.normal(size=(200, 6))
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    r = np.linspace(0.005, 0.6, 100)
    e = from_mandel(rays[:, None] * r[:, None])
    alive = np.linalg.eigvalsh(np.eye(3) + 2 * e).min(-1) > 1e-3
    w = np.full(alive.shape, np.nan)
    w[alive] = guarded.response(right_stretch(e[alive]), 0)[0]
    assert np.nanmin(np.diff(w, axis=1)) > 0
    plain = np.full(alive.shape, np.nan)
    plain[alive] = quartz.response(right_stretch(e[alive]), 0)[0]
    assert np.nanmin(np.diff(plain, axis=1)) < 0  # the bare polynomial falls somewhere
    # Crushed to nothing it costs ever more.
    crushed = np.eye(3) * np.array([0.9, 0.5, 0.1, 1e-2, 1e-4])[:, None, None]
    energies = guarded.response(crushed, 0)[0]
    assert (energies.diff() > 0).all()
    assert energies[-1] > 1e3


def test_a_compiled_guarded_law_is_still_guarded(guarded):
    compiled = compile_law(guarded, 1e-2)
    assert isinstance(compiled, GuardedLaw)
    far = np.diag([1.5, 1.0, 1.0])[None]
    for a, b in zip(compiled.response(far, 2), guarded.response(far, 2), strict=True):
        assert (a - b).abs().max() < 0.02 * b.abs().max()
    with pytest.raises(InputError, match="cannot be fused"):
        compile_law(guarded, kind="torch")
    with pytest.raises(InputError, match="before it is rotated"):
        GuardedLaw(RotatedLaw(guarded, np.eye(3)))


def test_compiled_laws_know_where_they_were_compiled():
    law = compile_law(NeoHooke(mu=40.0, lam=60.0), 1e-2)
    assert bool(law.outside(np.diag([1.5, 1.0, 1.0])[None]))
    assert not bool(law.outside(np.diag([1.05, 1.0, 1.0])[None]))


def test_a_law_that_is_unstable_at_rest_is_not_guarded(quartz):
    soft = NeoHooke(mu=40.0, lam=60.0)
    law = compile_law(soft, 1e-2)
    law.polynomial.set_coefficients(-law.polynomial.coefficients.numpy())
    with pytest.raises(InputError, match="not positive definite"):
        GuardedLaw(law)


def test_only_laws_with_a_domain_are_guarded(guarded, tmp_path):
    with pytest.raises(InputError, match="trained domain"):
        GuardedLaw(SaintVenantKirchhoff(cubic_stiffness(160, 60, 80)))
    guarded.save(tmp_path / "guarded.law")
    again = load_law(tmp_path / "guarded.law", outside="ignore")
    f = random_deformations(5, 0.2, np.random.default_rng(4))
    torch.testing.assert_close(again.response(f, 1)[1], guarded.response(f, 1)[1])


def test_acoustic_tensor_gives_the_speeds_of_a_cubic_crystal():
    c11, c12, c44 = 160.0, 60.0, 80.0
    law = SaintVenantKirchhoff(cubic_stiffness(c11, c12, c44))
    q = law.acoustic_tensor(np.eye(3), (2, 0, 0))
    torch.testing.assert_close(q, torch.diag(torch.tensor([c11, c44, c44], dtype=torch.float64)))
    q = law.acoustic_tensor(np.eye(3), (1, 1, 0))
    expected = sorted([(c11 + c12 + 2 * c44) / 2, (c11 - c12) / 2, c44])
    assert torch.linalg.eigvalsh(q).tolist() == pytest.approx(expected)
    value, direction = law.ellipticity(np.eye(3))
    # The softest wave of a crystal with C44 > (C11 - C12) / 2 runs along <110>.
    assert float(value) == pytest.approx((c11 - c12) / 2, rel=1e-3)
    assert sorted(direction.abs().tolist()) == pytest.approx([0, 0.7071, 0.7071], abs=0.05)


def test_loss_of_ellipticity_is_seen_at_the_right_stretch():
    """SVK under uniaxial compression F = diag(s, 1, 1): A_1111 = (C11 / 2) (3 s^2 - 1)."""
    law = SaintVenantKirchhoff(cubic_stiffness(160.0, 60.0, 80.0))
    stretches = np.array([0.62, 0.56])  # either side of sqrt(1/3) = 0.577
    f = np.eye(3)[None].repeat(2, 0)
    f[:, 0, 0] = stretches
    longitudinal = law.acoustic_tensor(f, (1, 0, 0))[:, 0, 0]
    assert longitudinal.tolist() == pytest.approx((80 * (3 * stretches**2 - 1)).tolist())
    value, _ = law.ellipticity(f)
    assert value[1] < 0
    assert value[1] <= longitudinal[1] + 1e-9


def test_the_search_finds_what_a_fine_grid_finds():
    law = NeoHooke(mu=1.0, lam=1.5)
    f = random_deformations(6, 0.3, np.random.default_rng(3))
    tangent = law.response(f, 2)[2]
    value, n = smallest_acoustic(tangent)
    q = acoustic_tensor(tangent, n)
    torch.testing.assert_close(torch.linalg.eigvalsh(q)[:, 0], value)
    rng = np.random.default_rng(5)
    fine = torch.tensor(rng.normal(size=(20000, 3)))
    fine = fine / fine.norm(dim=1, keepdim=True)
    every = torch.einsum("nijkl,dj,dl->ndik", tangent, fine, fine)
    least = torch.linalg.eigvalsh(every)[..., 0].min(dim=1).values
    assert (value <= least + 2e-3 * tangent.abs().max()).all()
