"""Compiled laws: one polynomial, its constants, its UFL form, and the fused program."""

import shutil

import numpy as np
import pytest
import torch

from objstress import InputError, NeoHooke, PointGroup, load_law
from objstress.elasticity.moduli import cubic_stiffness
from objstress.graphs.lone_nodes import host_of
from objstress.laws import check as measure
from objstress.laws.compile import compile_law
from objstress.laws.fused import FusedLaw, compiler_found
from objstress.laws.learned import LearnedLaw
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.rotated import RotatedLaw
from objstress.models.compiled_strain_network import CompiledStrainNetwork
from objstress.models.polynomial import InvariantPolynomial
from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings
from objstress.symmetry.point_group import O3
from tests.conformance import LawConformance
from tests.helpers import polynomial_of_stiffness, random_rotation


def random_polynomial_law(group, degree=4):
    """Random invariant coefficients of higher order on a stiff isotropic quadratic part."""
    polynomial = InvariantPolynomial(group, degree)
    c = 30.0 * np.random.default_rng(0).normal(size=len(polynomial.degrees))
    quadratic = InvariantPolynomial(group, 2)
    stiffness = polynomial_of_stiffness(quadratic, cubic_stiffness(160.0, 60.0, 50.0))
    c[: len(stiffness)] = 0.2 * c[: len(stiffness)] + stiffness
    polynomial.set_coefficients(c)
    return PolynomialLaw(polynomial, group, domain=np.eye(6) / 0.08**2)


class TestCompiledTrigonal(LawConformance):
    larger = PointGroup("6/mmm")

    @pytest.fixture(scope="class")
    def law(self):
        return random_polynomial_law(PointGroup("-3m"), 5)


class TestCompiledTriclinic(LawConformance):
    larger = PointGroup("2/m")

    @pytest.fixture(scope="class")
    def law(self):
        return random_polynomial_law(PointGroup("-1"), 3)


class TestCompiledNeoHooke(LawConformance):
    @pytest.fixture(scope="class")
    def law(self):
        return compile_law(NeoHooke(80.0, 60.0))

    def test_follows_the_law(self, law, deformations):
        original = NeoHooke(80.0, 60.0)
        p = original.stress(deformations).numpy()
        gap = law.stress(deformations).numpy() - p
        assert measure.relative_error(original, gap, p).max() <= 1e-3
        assert law.metadata["compiled"]["worst_error"] <= 1e-3
        assert law.point_group is O3


class TestFusedLaw(LawConformance):
    @pytest.fixture(scope="class")
    def law(self):
        return compile_law(random_polynomial_law(PointGroup("m-3m")), kind="torch")


def strain_law(symbol, **settings):
    group = PointGroup(symbol)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = StrainNetwork(group, StrainNetworkSettings(**settings))
    return LearnedLaw(host_of(group), group, network=network)


class TestCompiledStrainNetwork(LawConformance):
    larger = PointGroup("m-3m")

    @pytest.fixture(scope="class")
    def law(self):
        return compile_law(strain_law("m-3", members=3, energy_scale=2e-6), kind="torch")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(
    ("symbol", "hidden"),
    [("-1", (5,)), ("2/m", (24, 7)), ("6/mmm", (8, 8, 8)), ("m-3m", (9,) * 4)],
)
def test_a_network_of_strain_in_c_has_the_same_numbers(symbol, hidden):
    law = strain_law(symbol, members=2, hidden=hidden, strain_scale=0.4)
    for member in law.network.perceptrons:  # some units saturated
        member.biases[0][:2] = torch.tensor([45.0, -45.0])
    network = CompiledStrainNetwork(law.network, "cc")
    assert np.float64(1e-310) * 1.0 > 0  # the program does not change arithmetic around it
    rng = torch.Generator().manual_seed(0)
    for size in (1e-7, 1e-3, 0.1):
        x = size * torch.randn(41, 6, dtype=torch.float64, generator=rng)
        for order in (0, 1, 2):
            known, found = (n.derivatives(x, order) for n in (law.network, network))
            # Of an energy at small strains the terms of first order cancel.
            torch.testing.assert_close(found[0], known[0], rtol=1e-12, atol=1e-14 * size)
            for a, b in zip(found[1:], known[1:], strict=True):
                assert (a - b).norm() <= 1e-13 * b.norm()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("bias", [0.0, -45.0, -65.0, -100.0, -600.0, 100.0])
def test_units_that_saturate_far_away_are_those_of_torch(bias):
    law = strain_law("-1", members=1, hidden=(4,))
    (member,) = law.network.perceptrons
    member.biases[0][:] = bias
    member.weights[0][:] = 0.0
    member.weights[0][0] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    x = torch.zeros(9, 6, dtype=torch.float64)
    x[:, 0] = torch.tensor([-1e3, -200.0, -66.0, -1.0, 1.0, 66.0, 100.0, 650.0, 1e6])
    known, found = (
        parts(x, torch.zeros(9), 2)
        for parts in (law.network.parts, CompiledStrainNetwork(law.network, "cc")._parts)
    )
    for a, b in zip(found[2:], known[2:], strict=True):  # the wall has no units
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_without_a_compiler_a_network_of_strain_is_evaluated_as_it_is(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("CXX", "no-such-compiler")
    law = strain_law("m-3m", members=1)
    f = measure.random_deformations(7, 0.07, np.random.default_rng(0))
    fused = compile_law(law, kind="torch")
    for a, b in zip(law.response(f, 2), fused.response(f, 2), strict=True):
        assert torch.equal(a, b)


def test_least_degree_that_meets_the_tolerance_is_taken():
    law = NeoHooke(80.0, 60.0)
    degrees = [compile_law(law, t).metadata["compiled"]["degree"] for t in (3e-2, 1e-3, 1e-4)]
    assert degrees == sorted(degrees)
    assert degrees[0] < degrees[-1]


def test_polynomial_alone_comes_out_as_it_is():
    law = random_polynomial_law(PointGroup("32"))
    again = compile_law(law, 1e-12)
    assert torch.equal(again.polynomial.coefficients, law.polynomial.coefficients)
    assert again.metadata["compiled"]["degree"] == 4
    assert torch.equal(again.domain, law.domain)


def test_rotated_law_compiles_in_the_sample_frame():
    law = random_polynomial_law(PointGroup("4/mmm"), 3)
    turned = RotatedLaw(law, random_rotation(4))
    f = measure.random_deformations(20, 0.07, np.random.default_rng(0))
    compiled = compile_law(turned)
    torch.testing.assert_close(compiled.stress(f), turned.stress(f), rtol=1e-8, atol=1e-8)
    assert torch.equal(compiled.outside(1.05 * f), turned.outside(1.05 * f))
    assert compiled.metadata["compiled"]["of"] == "RotatedLaw"


def test_tolerance_that_cannot_be_met_names_the_best():
    with pytest.raises(InputError, match=r"the best is .* at degree 8; allow a larger tolerance"):
        compile_law(NeoHooke(80.0, 60.0), 1e-12)
    with pytest.raises(InputError, match="positive"):
        compile_law(NeoHooke(80.0, 60.0), 0.0)
    with pytest.raises(InputError, match="unknown kind 'fortran'"):
        compile_law(NeoHooke(80.0, 60.0), kind="fortran")


def test_outside_action_and_domain_go_along():
    law = random_polynomial_law(PointGroup("m-3m"))
    law.outside_action = "error"
    with pytest.raises(InputError, match="1 of 1 points lie outside"):
        compile_law(law).stress(np.diag([1.2, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("symbol", "counts"),
    [
        ("m-3m", (3, 6, 11)),
        ("m-3", (3, 8, 14)),
        ("6/mmm", (5, 10, 19)),
        ("-3m", (6, 14, 28)),
        ("32", (6, 14, 28)),
        ("-1", (21, 56, 126)),
    ],
)
def test_number_of_independent_constants(symbol, counts):
    law = random_polynomial_law(PointGroup(symbol))
    assert tuple(len(law.elastic_constants(k)) for k in (2, 3, 4)) == counts
    assert law.constants_table().count("\n") == 1 + sum(counts)


def test_constants_are_derivatives_of_the_energy():
    law = random_polynomial_law(PointGroup("m-3m"), 3)
    c = law.stiffness()
    second, third = law.elastic_constants(2), law.elastic_constants(3)
    for name, (a, b) in {"C11": (0, 0), "C12": (0, 1), "C44": (3, 3)}.items():
        assert second[name] == pytest.approx(c[a, b], rel=1e-10)
    assert list(third) == ["C111", "C112", "C123", "C144", "C155", "C456"]
    # dC_ab / d eta_c by differences of d2W/dx2, x_a = eta_a / sqrt 2 for shear.
    h, unit = 1e-3, np.array([1, 1, 1, 0.5**0.5, 0.5**0.5, 0.5**0.5])
    for name, value in third.items():
        a, b, e = (int(digit) - 1 for digit in name[1:])
        x = torch.zeros(2, 6, dtype=torch.float64)
        x[0, e], x[1, e] = h, -h
        w = law.strain_energy(x, 2)[2][:, a, b].numpy()
        expected = (w[0] - w[1]) / (2 * h) * unit[a] * unit[b] * unit[e]
        assert value == pytest.approx(expected, rel=1e-8)
    with pytest.raises(InputError, match="orders 2 to 3"):
        law.elastic_constants(4)


def test_neo_hooke_has_its_closed_third_order_constants():
    """W of E11 alone: mu E11 - (mu/2) ln(1 + 2 E11) + (lambda/8) ln^2(1 + 2 E11)."""
    mu, lam = 80.0, 60.0
    third = compile_law(NeoHooke(mu, lam), 1e-5).elastic_constants(3)
    assert third["C111"] == pytest.approx(-8 * mu - 6 * lam, rel=2e-3)


@pytest.mark.skipif(not compiler_found(), reason="no C++ compiler")
def test_fused_law_has_the_same_numbers_and_its_file_holds_the_law(tmp_path):
    law = random_polynomial_law(PointGroup("m-3m"), 3)
    law.chunk = 32
    fused = compile_law(law, kind="torch")
    f = measure.random_deformations(70, 0.07, np.random.default_rng(0))  # two chunks and a rest
    for a, b in zip(law.response(f, 2), fused.response(f, 2), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    fused.save(tmp_path / "a.law")
    again = load_law(tmp_path / "a.law")
    assert isinstance(again, FusedLaw)
    assert torch.equal(again.law.polynomial.coefficients, law.polynomial.coefficients)


# -- in the form -----------------------------------------------------------------------------


def problems(law, orientation=None):
    fem = pytest.importorskip("objstress.fem")
    from objstress.fem import meshes

    made = []
    for assembly in ("quadrature", "ufl"):
        problem = fem.StaticProblem(
            meshes.box((1.0, 1.2, 0.8), (2, 2, 2), jitter=0.15),
            law,
            [
                fem.Displacement("x=min", (0.0, 0.0, 0.0)),
                fem.Displacement("x=max", (0.03, 0.02, None), "end"),
            ],
            orientation=orientation,
            assembly=assembly,
        )
        u = problem.u.x.array
        u[:] = 0.01 * np.random.default_rng(0).normal(size=len(u))
        problem.material.update(tangent=True)
        made.append(problem)
    return made


@pytest.mark.parametrize("turned", [False, True])
def test_ufl_assembly_agrees_with_the_quadrature_path(turned):
    law = random_polynomial_law(PointGroup("32"), 3)
    quadrature, form = problems(law, random_rotation(5) if turned else None)
    r = [p.body.assemble_residual() for p in (quadrature, form)]
    assert (r[0] - r[1]).norm() <= 1e-12 * r[0].norm()
    j = [p.body.assemble_jacobian(bcs=False) for p in (quadrature, form)]
    assert (j[0] - j[1]).norm() <= 1e-12 * j[0].norm()
    one, other = (p.material.cell_averages() for p in (quadrature, form))
    for name, values in one.items():
        assert np.allclose(values, other[name], rtol=1e-10, atol=1e-12), name
    one, other = (p.solve(1, progress=False)[-1] for p in (quadrature, form))
    assert np.allclose(one.reactions["end"], other.reactions["end"], rtol=1e-9)
    assert one.energy == pytest.approx(other.energy, rel=1e-10)


def test_own_derivatives_of_the_ufl_energy_are_right():
    pytest.importorskip("objstress.fem")
    import ufl
    from dolfinx import fem
    from dolfinx.fem import petsc as fem_petsc

    from objstress.fem import energy_density

    law = random_polynomial_law(PointGroup("m-3m"), 3)
    problem, _ = problems(law)
    u, v, w = problem.u, ufl.TestFunction(problem.V), fem.Function(problem.V)
    w.x.array[:] = np.random.default_rng(1).normal(size=len(w.x.array))
    f = ufl.variable(ufl.Identity(3) + ufl.grad(u))
    energy = energy_density(law, f) * problem.material.dx
    total = fem.assemble_scalar(fem.form(energy))
    stored = problem.material.energy @ problem.material.volumes
    assert total == pytest.approx(stored, rel=1e-12)
    first = ufl.derivative(energy, u, v)
    residual = fem_petsc.assemble_vector(fem.form(first))
    ours = problem.body.assemble_residual()
    assert (residual - ours).norm() <= 1e-12 * ours.norm()
    # The Jacobian by its product with w: a form of one test function compiles faster.
    product = fem_petsc.assemble_vector(fem.form(ufl.derivative(first, u, w)))
    expected = problem.body.assemble_jacobian(bcs=False) * w.x.petsc_vec
    assert (product - expected).norm() <= 1e-12 * expected.norm()


def test_only_polynomials_have_a_form():
    fem = pytest.importorskip("objstress.fem")
    from objstress.fem import meshes

    law, fixed = NeoHooke(80.0, 60.0), [fem.Displacement("x=min", (0, 0, 0))]
    with pytest.raises(InputError, match="compile"):
        fem.energy_density(law, None)
    mesh = meshes.box((1, 1, 1), (1, 1, 1))
    with pytest.raises(InputError, match="make one with compile_law"):
        fem.StaticProblem(mesh, law, fixed, assembly="ufl")
    with pytest.raises(InputError, match="give 'quadrature' or 'ufl'"):
        fem.StaticProblem(mesh, law, fixed, assembly="magic")


def test_case_can_ask_for_the_form(tmp_path):
    pytest.importorskip("objstress.fem")
    from objstress.fem import simulate

    random_polynomial_law(PointGroup("m-3m"), 3).save(tmp_path / "a.law")
    (tmp_path / "case.yaml").write_text("""
law: a.law
mesh: {shape: box, size: [2, 1, 1], cells: [2, 1, 1]}
orientation: {direction: [1, 1, 0]}
displacements:
  - {where: x=min, value: [0, 0, 0], name: wall}
  - {where: x=max, value: [0.05, null, null]}
steps: 1
""")
    one = simulate(tmp_path / "case.yaml", tmp_path / "one", progress=False)
    with (tmp_path / "case.yaml").open("a") as file:
        file.write("assembly: ufl\n")
    other = simulate(tmp_path / "case.yaml", tmp_path / "other", progress=False)
    pulls = [np.array(r["steps"][-1]["reactions"]["wall"]) for r in (one, other)]
    assert np.allclose(*pulls, atol=1e-9)
