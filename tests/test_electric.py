"""Laws of strain and electric field: groups, constants, energies, files, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from objstress import InputError, PointGroup, load_law
from objstress.errors import OutsideDomainWarning
from objstress.laws import (
    EPS0,
    ElectricLaw,
    FusedLaw,
    NeoHooke,
    PolynomialLaw,
    RotatedLaw,
    SaintVenantKirchhoff,
    check_law,
    compile_law,
    constants_table,
    linear_law,
    random_deformations,
    read_linear_law,
)
from objstress.laws.check_electric import field_symmetry, random_fields
from objstress.models import ElectricPolynomial, InvariantPolynomial, invariant_polynomials
from objstress.models.conformance import extra_operations, supergroups
from objstress.symmetry.point_group import O3
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import mandel_rotations
from objstress.training import fit_electric_law
from tests.conformance import ElectricConformance
from tests.helpers import random_rotation

GROUPS = PointGroup.all()
DATA = Path(__file__).parents[1] / "data" / "tensors" / "response.json"

# Bechmann, Phys. Rev. 110 (1958) 1060: alpha quartz, constant field and constant strain.
QUARTZ_C = np.array(
    [
        [86.74, 6.99, 11.91, -17.91, 0, 0],
        [6.99, 86.74, 11.91, 17.91, 0, 0],
        [11.91, 11.91, 107.2, 0, 0, 0],
        [-17.91, 17.91, 0, 57.94, 0, 0],
        [0, 0, 0, 0, 57.94, -17.91],
        [0, 0, 0, 0, -17.91, 39.88],
    ]
)
QUARTZ_E = np.array([[0.171, -0.171, 0, -0.0406, 0, 0], [0, 0, 0, 0, 0.0406, -0.171], [0.0] * 6])
QUARTZ_EPS = np.diag([39.21, 39.21, 41.03]) * 1e-3 / EPS0


def quartz():
    return linear_law(QUARTZ_C, QUARTZ_E, QUARTZ_EPS, "32")


def random_electric(group, seed=0, degree=3, strain_degrees=(2, 1), background=0.0):
    """A law of random coefficients: elastic constants of some 100 GPa, e of some C/m^2."""
    rng = np.random.default_rng(seed)
    strain = InvariantPolynomial(group, degree)
    strain.set_coefficients(100 * rng.normal(size=len(strain.degrees)))
    field = ElectricPolynomial(group, strain_degrees)
    field.set_coefficients(rng.normal(size=len(field.degrees)))
    return ElectricLaw(PolynomialLaw(strain, group), field, background)


class TestQuartz(ElectricConformance):
    @pytest.fixture
    def law(self):
        return quartz()

    def test_gives_back_its_constants(self, law):
        constants = law.constants()
        # c66 = (c11 - c12) / 2 is 39.875, and was rounded.
        np.testing.assert_allclose(constants["elastic"], QUARTZ_C, atol=0.005)
        np.testing.assert_allclose(constants["piezoelectric"], QUARTZ_E, atol=1e-12)
        np.testing.assert_allclose(constants["dielectric"], QUARTZ_EPS, atol=1e-12)

    def test_at_cut_has_the_constants_of_the_standard(self, law):
        turn = np.radians(-35.25)
        q = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
        cut = RotatedLaw(law, q)
        identity, none = np.eye(3), np.zeros(3)
        c66 = float(cut.tangent(identity, none)[0, 1, 0, 1])
        e26 = -float(cut.coupling(identity, none)[0, 1, 1])
        eps22 = float(cut.permittivity(identity, none)[1, 1])
        assert c66 + e26**2 / eps22 == pytest.approx(29.239, rel=1e-4)
        assert e26 == pytest.approx(-0.0949, rel=1e-4)
        assert 1e3 * eps22 == pytest.approx(39.82, rel=1e-4)

    def test_all_its_promises_are_measured(self, law):
        claims = check_law(law, samples=100)
        assert all(claim.ok for claim in claims), [c for c in claims if not c.ok]
        assert any("all 6 operations of 32" in claim.name for claim in claims)


class TestNonlinear(ElectricConformance):
    @pytest.fixture(params=["-43m", "432", "mm2", "-6", "1"])
    def law(self, request):
        return random_electric(PointGroup(request.param), degree=4, background=2.0)


class TestTurned(ElectricConformance):
    @pytest.fixture
    def law(self):
        return RotatedLaw(quartz(), random_rotation(np.random.default_rng(4)))

    def test_survives_its_file(self):
        pytest.skip("the orientation belongs to the body")

    def test_its_field_survives_its_file(self):
        pytest.skip("the orientation belongs to the body")

    def test_turns_with_the_crystal(self, law, deformations, fields):
        q = law.Q.numpy()
        p, d = law.electric_response(deformations, fields, 1)[1:]
        p0, d0 = law.law.electric_response(deformations @ q, fields @ q, 1)[1:]
        np.testing.assert_allclose(p, p0 @ q.T, atol=1e-13)
        np.testing.assert_allclose(d, d0 @ q.T, atol=1e-15)


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.symbol)
class TestAllGroups:
    def test_every_operation_is_kept_and_every_larger_group_broken(self, group):
        law = random_electric(group)
        rng = np.random.default_rng(1)
        f = random_deformations(6, 0.08, rng)
        e = random_fields(law, 6, rng)
        assert field_symmetry(law, f, e, group.operations) <= 1e-12
        for larger in supergroups(group):
            extra = extra_operations(group, larger)
            assert field_symmetry(law, f, e, extra) >= 1e-4, larger.symbol

    @pytest.mark.parametrize(
        ("degree", "field", "kind"),
        [
            (1, 1, "piezoelectric"),
            (0, 2, "dielectric"),
            (1, 2, "photoelastic"),
            (2, 1, "V[[V2]2]"),
        ],
    )
    def test_independent_constants_are_those_of_the_character_formula(
        self, group, degree, field, kind
    ):
        g = group.operations
        m = mandel_rotations(g)

        def character(matrices, power):
            first = np.trace(matrices, axis1=1, axis2=2)
            if power < 2:
                return first**power
            return (first**2 + np.trace(matrices @ matrices, axis1=1, axis2=2)) / 2

        number = np.mean(character(m, degree) * character(g, field))
        assert len(invariant_polynomials(group, degree, field)) == round(number)
        assert TensorForm(group, kind).independent == round(number)

    def test_no_piezoelectricity_where_symmetry_forbids_it(self, group):
        e = random_electric(group).constants()["piezoelectric"]
        assert (e == 0).all() == (group.centrosymmetric or group.symbol == "432")


def test_constants_are_derivatives_of_the_law():
    law = random_electric(PointGroup("mm2"), background=3.0)
    constants = law.constants()
    h = 1e-3
    voigt = np.zeros((6, 3, 3))
    for a, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        voigt[a, i, j] += 0.5
        voigt[a, j, i] += 0.5

    def differences(answer):
        # F with E = +-h V of each component; V itself for shears, whose eta is 1.
        return np.stack([(answer(h * v) - answer(-h * v)) / (2 * h) for v in voigt], axis=-1)

    def stretch(strain):
        values, vectors = np.linalg.eigh(np.eye(3) + 2 * strain)
        return vectors * np.sqrt(values) @ vectors.T

    def charge(v):
        return law.displacement(stretch(v), np.zeros(3)).numpy()

    def permittivity(v):
        return law.permittivity(stretch(v), np.zeros(3)).numpy()

    np.testing.assert_allclose(differences(charge), constants["piezoelectric"], atol=1e-9)
    np.testing.assert_allclose(differences(permittivity), constants["electrostriction"], atol=1e-5)
    np.testing.assert_allclose(
        permittivity(0 * voigt[0]) / EPS0, constants["dielectric"], rtol=1e-12
    )
    second = [
        differences(lambda v, w=w: (charge(h * w + v) - charge(v - h * w)) / (2 * h)) for w in voigt
    ]
    np.testing.assert_allclose(
        np.stack(second, axis=1), constants["nonlinear piezoelectric"], atol=1e-5
    )


def test_the_background_is_maxwells_stress():
    # An ideal dielectric: sigma = sigma(F) + eps (e e - e^2 / 2), d = eps e, at any strain.
    rubber = NeoHooke(1e-3, 1e-1)
    field = ElectricPolynomial(O3, (0, 0))
    law = ElectricLaw(rubber, field, background=4.7)
    rng = np.random.default_rng(0)
    f = random_deformations(20, 0.6, rng)
    e = rng.normal(size=(20, 3))
    e0 = np.einsum("nji,nj->ni", f, e)
    j = np.linalg.det(f)
    sigma = (law.stress(f, e0) @ f.transpose(0, 2, 1)).numpy() / j[:, None, None]
    maxwell = e[:, :, None] * e[:, None] - 0.5 * (e**2).sum(1)[:, None, None] * np.eye(3)
    np.testing.assert_allclose(
        sigma - rubber.cauchy_stress(f).numpy(), 4.7 * EPS0 * maxwell, atol=1e-14
    )
    d = np.einsum("nij,nj->ni", f, law.displacement(f, e0)) / j[:, None]
    np.testing.assert_allclose(d, 4.7 * EPS0 * e, rtol=1e-12)


def test_isotropic_materials_have_the_two_electrostrictive_constants():
    assert len(invariant_polynomials(O3, 1, 1)) == 0
    assert len(invariant_polynomials(O3, 0, 2)) == 1
    assert len(invariant_polynomials(O3, 1, 2)) == 2
    law = random_electric(O3, degree=2)
    rng = np.random.default_rng(0)
    f, e = random_deformations(10, 0.1, rng), random_fields(law, 10, rng)
    turns = -np.array([random_rotation(rng) for _ in range(5)])
    assert field_symmetry(law, f, e, turns) <= 1e-12


def test_polynomials_of_a_field_alone_vanish_with_it():
    polynomial = ElectricPolynomial(PointGroup("3"), (3, 2, 1, 0))
    polynomial.set_coefficients(np.random.default_rng(0).normal(size=len(polynomial.degrees)))
    y = torch.zeros(5, 9, dtype=torch.float64)
    y[:, :6] = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w, s, h = polynomial(y, 2)
    assert not w.any()
    assert not s[:, :6].any()
    assert not h[:, :6, :6].any()
    assert h[:, :6, 6:].any()
    assert polynomial.parts[0] == (1, 1)


def test_a_law_of_strain_refuses_a_field():
    law = SaintVenantKirchhoff(QUARTZ_C)
    with pytest.raises(InputError, match="SaintVenantKirchhoff knows no electric field"):
        law.stress(np.eye(3), [0.0, 0.0, 1.0])
    with pytest.raises(InputError, match="knows no electric field"):
        law.enthalpy(np.eye(3), np.zeros(3))


def test_a_law_compiled_keeps_its_field():
    law = ElectricLaw(NeoHooke(80.0, 60.0), ElectricPolynomial(PointGroup("-43m"), (1, 0)))
    law.polynomial.set_coefficients([0.3, -0.04])
    fast = compile_law(law)
    f, e = random_deformations(10, 0.05, np.random.default_rng(0)), [0.1, 0.2, -0.1]
    assert isinstance(fast.law, PolynomialLaw)
    assert torch.equal(fast.displacement(f, e), law.displacement(f, e))
    np.testing.assert_allclose(fast.stress(f, e), law.stress(f, e), atol=1e-2)
    with pytest.raises(InputError, match="before it is rotated"):
        compile_law(RotatedLaw(law, np.eye(3)))
    with pytest.raises(InputError, match="fuse the law of strain alone"):
        FusedLaw(law)
    with pytest.raises(InputError, match="knows a field already"):
        ElectricLaw(law, law.polynomial)


def test_a_larger_group_that_no_term_tells_apart_is_not_held_against_a_law():
    cubic = np.diag([200.0, 200, 200, 80, 80, 80])
    claims = check_law(linear_law(cubic, np.zeros((3, 6)), 5 * np.eye(3), "432"), samples=40)
    assert all(claim.ok for claim in claims)
    assert not any("how far" in claim.name for claim in claims)


def test_groups_of_strain_and_field_must_agree():
    field = ElectricPolynomial(PointGroup("32"), (1, 0))
    with pytest.raises(InputError, match="point group -1, which is not one of 32"):
        ElectricLaw(SaintVenantKirchhoff(QUARTZ_C, "-1"), field)
    # A law of strain of a larger group is fine: the field's part decides.
    steel = SaintVenantKirchhoff(np.diag([200.0, 200, 200, 80, 80, 80]), "m-3m")
    assert ElectricLaw(
        steel, ElectricPolynomial(PointGroup("-43m"), (1, 0))
    ).point_group.symbol == ("-43m")


def test_fields_beyond_those_of_the_fit_are_reported(tmp_path):
    law = quartz()
    law.largest_field = 0.1
    with pytest.warns(OutsideDomainWarning, match=r"1 of 2 points lie outside the fields.*0\.1 V"):
        law.stress(np.stack([np.eye(3)] * 2), [[0.05, 0, 0], [0.2, 0, 0]])
    law.save(tmp_path / "some.law")
    strict = load_law(tmp_path / "some.law", outside="error")
    with pytest.raises(InputError, match="outside the fields"):
        RotatedLaw(strict, np.eye(3)).displacement(np.eye(3), [0.2, 0, 0])
    strict.displacement(np.eye(3), [0.1, 0, 0])


class TestConstants:
    def test_all_crystals_of_the_data(self):
        from pymatgen.core import Structure

        # Checked are e and eps; an isotropic stiffness has the form of every group.
        iso = np.diag([140.0, 140, 140, 40, 40, 40])
        iso[:3, :3] += 60 * (1 - np.eye(3))
        rows = json.loads(DATA.read_text())
        assert len(rows) == 49
        for row in rows:
            structure = Structure.from_dict(row["structure"])
            law = linear_law(iso, row["piezoelectric"], row["dielectric"], structure)
            e = np.array(row["piezoelectric"])
            gap = np.abs(law.constants()["piezoelectric"] - e).max()
            assert gap <= 0.01 * max(np.abs(e).max(), 1e-3), row["formula_pretty"]

    def test_a_file_of_constants(self, tmp_path):
        path = tmp_path / "quartz.json"
        content = {
            "elastic": QUARTZ_C.tolist(),
            "piezoelectric": QUARTZ_E.tolist(),
            "dielectric": QUARTZ_EPS.tolist(),
            "point_group": "32",
        }
        path.write_text(json.dumps(content))
        law, by_hand = read_linear_law(path), quartz()
        f, e = random_deformations(5, 0.05, np.random.default_rng(0)), [0.1, 0.2, 0.3]
        assert torch.equal(law.stress(f, e), by_hand.stress(f, e))
        assert torch.equal(load_law(path).stress(f, e), by_hand.stress(f, e))
        path.write_text(json.dumps({k: v for k, v in content.items() if k != "dielectric"}))
        with pytest.raises(InputError, match="'dielectric' is missing"):
            read_linear_law(path)
        path.write_text(json.dumps({k: v for k, v in content.items() if k != "point_group"}))
        with pytest.raises(InputError, match="'point_group' or its 'structure'"):
            read_linear_law(path)
        path.write_text(json.dumps(content | {"background": 1}))
        with pytest.raises(InputError, match="unknown key 'background'"):
            read_linear_law(path)
        path.write_text(json.dumps(content | {"structure": {"lattice": 3}}))
        with pytest.raises(InputError, match="'structure' is no structure"):
            read_linear_law(path)
        with pytest.raises(InputError, match=r"none\.json"):
            read_linear_law(tmp_path / "none.json")

    def test_bad_constants_are_named(self):
        with pytest.raises(InputError, match="permittivity is not positive"):
            linear_law(QUARTZ_C, QUARTZ_E, -QUARTZ_EPS, "32")
        with pytest.raises(InputError, match=r"piezoelectric constants .* 6mm"):
            linear_law(np.diag([140.0] * 3 + [70.0] * 3), QUARTZ_E, QUARTZ_EPS, "6mm")
        with pytest.raises(InputError, match=r"elastic constants .* another frame"):
            linear_law(np.diag([1.0, 2, 3, 4, 5, 6]), QUARTZ_E, QUARTZ_EPS, "32")
        with pytest.raises(InputError, match="3 x 6; their shape is"):
            linear_law(QUARTZ_C, QUARTZ_E.T, QUARTZ_EPS, "32")
        with pytest.raises(InputError, match="finite"):
            linear_law(QUARTZ_C, QUARTZ_E * np.nan, QUARTZ_EPS, "32")
        with pytest.raises(InputError, match="background"):
            ElectricLaw(NeoHooke(1, 1), ElectricPolynomial(O3, (0, 0)), background=-1)
        with pytest.raises(InputError, match="strain_degrees"):
            ElectricPolynomial(O3, ())


class TestTable:
    def test_independent_constants_with_units(self):
        rows = constants_table(quartz()).splitlines()[2:]
        names = [row.split(" | ")[0].removeprefix("| ") for row in rows]
        assert names == ["c11", "c12", "c13", "c14", "c33", "c44", "e11", "e14", "eps11", "eps33"]
        assert "| c14 | -17.91 | GPa |" in rows
        assert "| e14 | -0.0406 | C/m^2 |" in rows
        assert "| eps33 | 4.63397 | eps0 |" in rows

    def test_nonlinear_constants_by_their_number(self):
        law = random_electric(PointGroup("-43m"))
        names = [row.split(" | ")[0] for row in constants_table(law).splitlines()[2:]]
        # Third order 6, nonlinear e 3, electrostriction 3: Nelson, Electric, Optic and Acoustic
        # Interactions in Dielectrics (1979), chapter 10.
        assert len(names) == 3 + 6 + 1 + 3 + 1 + 3

    def test_in_another_frame(self):
        law = quartz()
        half = np.diag([-1.0, -1.0, 1.0])  # Dauphine's twin: c14, e11 and e14 change
        rows = constants_table(law, half).splitlines()
        assert "| c14 | 17.91 | GPa |" in rows
        assert "| e11 | -0.171 | C/m^2 |" in rows
        assert "| e14 | -0.0406 | C/m^2 |" in rows

    def test_isotropic_laws_have_none(self):
        with pytest.raises(InputError, match="NeoHooke has no table"):
            constants_table(NeoHooke(1, 1))
        with pytest.raises(InputError, match="give one with a point group"):
            constants_table(ElectricLaw(NeoHooke(1, 1), ElectricPolynomial(O3, (0, 0))))


class TestFit:
    @pytest.fixture(scope="class")
    def truth(self):
        return random_electric(PointGroup("mm2"), seed=3, background=1.0)

    @pytest.fixture(scope="class")
    def labels(self, truth):
        rng = np.random.default_rng(0)
        f, e = random_deformations(80, 0.05, rng), random_fields(truth, 80, rng)
        _, p, d = truth.electric_response(f, e, 1)
        return f, e, p.numpy(), d.numpy()

    def test_labels_without_noise_give_the_law_back(self, truth, labels, tmp_path):
        law = fit_electric_law(truth.law, *labels, "mm2")
        for name, value in truth.constants().items():
            np.testing.assert_allclose(law.constants()[name], value, rtol=1e-6, atol=1e-7)
        left = law.metadata["field"]["held_out"]
        assert max(left.values()) < 1e-8
        assert law.largest_field == pytest.approx(np.linalg.norm(labels[1], axis=1).max())
        law.save(tmp_path / "fitted.law")
        assert load_law(tmp_path / "fitted.law").metadata["field"] == law.metadata["field"]

    def test_noise_is_told(self, truth, labels):
        f, e, p, d = labels
        rng = np.random.default_rng(1)
        noisy = d * (1 + 0.1 * rng.normal(size=d.shape))
        law = fit_electric_law(truth.law, f, e, p, noisy, "mm2")
        left = law.metadata["field"]
        assert 0.03 < left["held_out"]["displacement"] < 0.3
        assert left["held_out"]["displacement"] > left["fitted"]["displacement"] * 0.8
        e31 = truth.constants()["piezoelectric"][2, 0]
        assert law.constants()["piezoelectric"][2, 0] == pytest.approx(e31, rel=0.3)

    def test_labels_that_do_not_tell_are_refused(self, truth, labels):
        f, e, p, d = labels
        with pytest.raises(InputError, match="no label has a field"):
            fit_electric_law(truth.law, f, 0 * e, p, d, "mm2")
        along = e * [0.0, 0.0, 1.0]
        with pytest.raises(InputError, match="more directions"):
            fit_electric_law(truth.law, f, along, p, d, "mm2")
        with pytest.raises(InputError, match=r"stress of 80 labels .* shape is \(79, 3, 3\)"):
            fit_electric_law(truth.law, f, e, p[1:], d, "mm2")
        with pytest.raises(InputError, match=r"4 labels for \d+ constants"):
            fit_electric_law(truth.law, f[:5], e[:5], p[:5], d[:5], "mm2", (2, 2))
        with pytest.raises(InputError, match="displacement of 80 labels must be finite"):
            fit_electric_law(truth.law, f, e, p, d * np.nan, "mm2")
