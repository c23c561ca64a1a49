"""Every law passes the same conformance; what is special to each follows."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from objstress import InputError, NeoHooke, OutsideDomainWarning, PointGroup, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness, youngs_modulus
from objstress.elasticity.orientations import orientation
from objstress.laws import check as measure
from objstress.laws.analytic import BazantLaw, DecoupledNeoHooke
from objstress.laws.learned import LearnedLaw
from objstress.laws.rotated import RotatedLaw
from objstress.symmetry.voigt import mandel_to_voigt, to_mandel, voigt_to_mandel
from objstress.workflows.silicon import random_law
from tests.conformance import LawConformance
from tests.helpers import random_rotation

SILICON = cubic_stiffness(162.0, 64.0, 78.0)


class TestSaintVenantKirchhoff(LawConformance):
    @pytest.fixture
    def law(self):
        return SaintVenantKirchhoff(cubic_stiffness(162.0, 64.0, 78.0), "-43m")

    def test_gives_back_its_constants(self, law):
        assert np.allclose(law.stiffness(), SILICON, atol=1e-12)


class TestTriclinicSaintVenantKirchhoff(LawConformance):
    larger = PointGroup("2/m")

    @pytest.fixture
    def law(self):
        a = np.random.default_rng(0).normal(size=(6, 6))
        return SaintVenantKirchhoff(100 * np.eye(6) + 5 * (a + a.T), "-1")


class TestBazant(LawConformance):
    larger = PointGroup("2/m")

    @pytest.fixture
    def law(self):
        a = np.random.default_rng(0).normal(size=(6, 6))
        return BazantLaw(100 * np.eye(6) + 5 * (a + a.T), "-1")


def test_bazants_law_is_hookes_near_the_identity_and_grows_both_ways():
    law = BazantLaw(SILICON, "m-3m")
    assert np.allclose(law.stiffness(), SILICON, atol=1e-12)
    stretch = np.array([1e-3, 0.1, 0.5, 1.7, 3.0])
    f = np.eye(3) * np.ones((5, 1, 1))
    f[:, 2, 2] = stretch
    # W = C11 e^2 / 2 with e = sinh(2 ln lambda) / 2, the same for lambda and 1 / lambda
    expected = 0.5 * 162.0 * (0.5 * np.sinh(2 * np.log(stretch))) ** 2
    assert law.response(f, 0)[0].tolist() == pytest.approx(expected.tolist())


class TestNeoHooke(LawConformance):
    @pytest.fixture
    def law(self):
        return NeoHooke(80.0, 60.0)

    def test_small_strains_follow_lame(self, law):
        c = law.stiffness()
        assert np.allclose(c, cubic_stiffness(220.0, 60.0, 80.0), atol=1e-10)


class TestDecoupledNeoHooke(LawConformance):
    @pytest.fixture
    def law(self):
        return DecoupledNeoHooke(80.0, 120.0)

    def test_small_strains_follow_its_moduli(self, law):
        lam = 120.0 - 2 / 3 * 80.0
        assert np.allclose(law.stiffness(), cubic_stiffness(lam + 160.0, lam, 80.0), atol=1e-10)


class TestLearnedLaw(LawConformance):
    @pytest.fixture
    def law(self, quick_law):
        return quick_law


class TestRotatedLaw(LawConformance):
    @pytest.fixture
    def law(self, quick_law):
        return RotatedLaw(quick_law, random_rotation(2))

    def test_survives_its_file(self):
        pytest.skip("files hold laws in the crystal's frame; the orientation belongs to the body")


class TestNetworkOfTetragonalGroup(LawConformance):
    """A lone node on a cubic lattice: the filters alone make it 4/m and not 4/mmm."""

    larger = PointGroup("4/mmm")

    @pytest.fixture(scope="class")
    def law(self):
        return random_law(PointGroup("4/m"))


class TestFittedSilicon(LawConformance):
    @pytest.fixture
    def law(self, dft_law):
        return dft_law


@pytest.mark.parametrize("group", PointGroup.all(), ids=lambda g: g.symbol)
def test_random_weights_have_the_symmetry_of_every_group(group):
    f = measure.random_deformations(20, 0.1, np.random.default_rng(0))
    assert measure.material_symmetry(random_law(group), f, group.operations) <= 1e-12


def test_rotated_law_is_the_law_of_the_rotated_crystal(quick_law):
    q = random_rotation(3)
    turned = RotatedLaw(quick_law, q)
    f = measure.random_deformations(5, 0.05, np.random.default_rng(0))
    # Turn the crystal and the deformation with it: the stress turns too.
    expected = q @ quick_law.stress(f).numpy() @ q.T
    assert np.abs(turned.stress(q @ f @ q.T).numpy() - expected).max() < 1e-12
    with pytest.raises(InputError, match="crystal's frame"):
        turned.save("x.law")
    with pytest.raises(InputError, match="rotation"):
        RotatedLaw(quick_law, np.diag([1.0, 1.0, -1.0]))


def test_orientation_lays_directions_along_axes():
    for direction, axis in (((1, 1, 1), (1, 0, 0)), ((0, 0, 1), (0, 0, -1)), ((1, 0, 0),) * 2):
        q = orientation(direction, axis)
        assert np.allclose(q @ q.T, np.eye(3), atol=1e-14)
        assert np.isclose(np.linalg.det(q), 1)
        assert np.allclose(q @ direction / np.linalg.norm(direction), axis, atol=1e-14)
    with pytest.raises(InputError, match="length zero"):
        orientation((0, 0, 0))


def test_voigt_and_mandel_agree_with_tensors():
    rng = np.random.default_rng(0)
    e = rng.normal(size=(3, 3))
    e = e + e.T
    stress = np.einsum("ab,b->a", voigt_to_mandel(SILICON), to_mandel(e))
    full = np.zeros((3, 3))
    for i in range(3):
        full[i, i] = 162 * e[i, i] + 64 * (np.trace(e) - e[i, i])
        for j in range(3):
            if i != j:
                full[i, j] = 2 * 78 * e[i, j]
    assert np.allclose(stress, to_mandel(full))
    assert np.allclose(mandel_to_voigt(voigt_to_mandel(SILICON)), SILICON)


def test_youngs_modulus_has_the_closed_form_of_cubic_crystals():
    s = np.linalg.inv(SILICON)
    anisotropy = s[0, 0] - s[0, 1] - s[3, 3] / 2
    for n in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (3, 1, 2)):
        a, b, c = np.array(n) / np.linalg.norm(n)
        invariant = a * a * b * b + b * b * c * c + c * c * a * a
        assert np.isclose(youngs_modulus(SILICON, n), 1 / (s[0, 0] - 2 * anisotropy * invariant))


@pytest.mark.parametrize(
    ("stiffness", "group", "message"),
    [
        (np.eye(5), "-1", "6 x 6"),
        (np.triu(np.ones((6, 6))) + 10 * np.eye(6), "-1", "not symmetric"),
        (-np.eye(6), "-1", "not positive definite"),
        (np.diag([1.0, 2, 3, 1, 1, 1]), "m-3m", "not invariant"),
        (np.full((6, 6), np.nan), "-1", "finite"),
    ],
)
def test_bad_stiffness_is_refused(stiffness, group, message):
    with pytest.raises(InputError, match=message):
        SaintVenantKirchhoff(stiffness, group)


def test_bad_neo_hooke_is_refused():
    with pytest.raises(InputError, match="must be > 0"):
        NeoHooke(-1.0, 2.0)


def test_law_knows_where_it_was_trained(dft_law):
    inside = np.stack([np.eye(3), np.diag([1.03, 0.99, 1.0])])
    far = np.diag([1.3, 1.0, 1.0])
    assert not dft_law.outside(inside).any()
    assert dft_law.outside(far).all()
    with pytest.warns(OutsideDomainWarning, match="1 of 3 points lie outside"):
        dft_law.stress(np.concatenate([inside, far[None]]))
    action = dft_law.outside_action
    try:
        dft_law.outside_action = "error"
        with pytest.raises(InputError, match="1 of 1 points lie outside"):
            dft_law.stress(far)
    finally:
        dft_law.outside_action = action


def test_a_million_points_stay_under_two_gigabytes():
    """Energy, stress and tangent of a polynomial law, in a process of its own."""
    code = """
import resource
import numpy as np
import torch
from objstress.graphs.lone_nodes import lone_node
from objstress.laws.learned import LearnedLaw
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
group = PointGroup("m-3m")
polynomial = InvariantPolynomial(group, 4)
polynomial.set_coefficients(np.ones(len(polynomial.degrees)))
law = LearnedLaw(lone_node("cubic"), group, polynomial)
f = torch.rand(1_000_000, 3, 3, dtype=torch.float64).mul_(0.01).add_(torch.eye(3))
law.tangent(f)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.0


def test_parts_add_up(quick_law):
    f = measure.random_deformations(5, 0.05, np.random.default_rng(0))
    parts = quick_law.parts()
    total = parts["polynomial"].stress(f) + parts["network"].stress(f)
    torch.testing.assert_close(total, quick_law.stress(f))
    assert isinstance(parts["network"], LearnedLaw)
