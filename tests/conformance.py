"""Mixins that every law and every layer must pass: subclass, give the thing, and run."""

import numpy as np
import pytest
import torch

from objstress.errors import InputError
from objstress.laws import check as measure
from objstress.laws import check_electric as measure_field
from objstress.models.conformance import extra_operations
from objstress.symmetry.irreps import representation
from objstress.symmetry.point_group import PointGroup


class LawConformance:
    """Give a fixture `law`; `larger` is a group that the law must *not* have (or None)."""

    larger = None

    @pytest.fixture
    def deformations(self, law):
        rng = np.random.default_rng(1)
        return measure.random_deformations(40, measure.trained_radius(law), rng)

    def test_is_objective(self, law):
        rng = np.random.default_rng(0)
        f = measure.random_deformations(1000, measure.trained_radius(law), rng)
        assert measure.objectivity(law, f, rng) <= 1e-12

    def test_has_its_material_symmetry(self, law, deformations):
        group = law.point_group
        rng = np.random.default_rng(2)
        operations = (
            group.operations if isinstance(group, PointGroup) else measure.random_rotations(20, rng)
        )
        assert measure.material_symmetry(law, deformations[:10], operations) <= 1e-12

    def test_has_no_more_symmetry(self, law, deformations):
        if self.larger is None:
            pytest.skip("nothing is larger")
        extra = extra_operations(law.point_group, self.larger)
        for g in extra:
            assert measure.material_symmetry(law, deformations[:10], g[None]) >= 1e-4

    def test_identity_is_free_of_energy_and_stress(self, law):
        assert measure.residual_at_identity(law) <= 1e-14

    def test_stress_is_the_gradient_of_the_energy(self, law, deformations):
        assert measure.stress_gradient(law, deformations) <= 1e-6

    def test_tangent_is_the_gradient_of_the_stress(self, law, deformations):
        assert measure.tangent_gradient(law, deformations) <= 1e-6

    def test_tangent_has_major_symmetry(self, law, deformations):
        assert measure.major_symmetry(law, deformations) <= 1e-12

    def test_closed_loops_do_no_work(self, law):
        rng = np.random.default_rng(5)
        f = measure.random_deformations(6, measure.trained_radius(law), rng)
        c = f.transpose(0, 2, 1) @ f
        from objstress.elasticity.strain import right_stretch

        loops = right_stretch(0.5 * (c - np.eye(3))).reshape(2, 3, 3, 3)
        assert measure.loop_work(law, loops) <= 1e-9

    def test_full_turn_brings_the_stress_back(self, law):
        assert measure.rigid_spin(law) <= 1e-12

    def test_batch_equals_single_and_chunks_do_not_matter(self, law, deformations):
        whole = law.response(deformations, 2)
        for k in (0, 7):
            for a, b in zip(whole, law.response(deformations[k], 2), strict=True):
                torch.testing.assert_close(a[k], b, rtol=1e-12, atol=1e-12)
        chunk = law.chunk
        try:
            law.chunk = 7
            for a, b in zip(whole, law.response(deformations, 2), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        finally:
            law.chunk = chunk

    def test_answers_in_float64_whatever_comes_in(self, law, deformations):
        narrow = torch.tensor(deformations, dtype=torch.float32)
        assert law.stress(narrow).dtype == torch.float64

    def test_evaluation_leaves_the_law_alone(self, law, deformations):
        first = law.stress(deformations)
        law.tangent(deformations)
        assert torch.equal(first, law.stress(deformations))

    def test_refuses_what_is_no_deformation(self, law):
        flat = np.diag([1.0, 1.0, -1.0])
        with pytest.raises(InputError, match="det F <= 0 at 1 of 2 points"):
            law.stress(np.stack([np.eye(3), flat]))
        with pytest.raises(InputError, match="not finite"):
            law.stress(np.full((3, 3), np.nan))
        with pytest.raises(InputError, match="shape"):
            law.stress(np.eye(2))

    def test_survives_its_file(self, law, deformations, tmp_path):
        from objstress import load_law

        law.save(tmp_path / "some.law")
        again = load_law(tmp_path / "some.law", outside="ignore")
        for a, b in zip(
            law.response(deformations, 2), again.response(deformations, 2), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


class ElectricConformance(LawConformance):
    """A law that knows an electric field: the same under fields, and all 32 groups told apart."""

    @pytest.fixture
    def fields(self, law, deformations):
        return measure_field.random_fields(law, len(deformations), np.random.default_rng(3))

    def test_is_objective_under_a_field(self, law, deformations, fields):
        rng = np.random.default_rng(0)
        assert measure_field.field_objectivity(law, deformations, fields, rng) <= 1e-12

    def test_has_all_operations_under_a_field(self, law, deformations, fields):
        operations = law.point_group.operations
        assert measure_field.field_symmetry(law, deformations, fields, operations) <= 1e-12

    def test_has_no_larger_group_of_its_laue_class(self, law, deformations, fields):
        for extra in measure_field.same_laue_class(law.point_group):
            assert measure_field.field_symmetry(law, deformations, fields, extra) >= 1e-4

    def test_answers_are_derivatives_of_the_enthalpy(self, law, deformations, fields):
        first, second = measure_field.field_gradients(law, deformations[:10], fields[:10])
        assert first <= 1e-6
        assert second <= 1e-6

    def test_blocks_are_symmetric(self, law, deformations, fields):
        assert measure_field.field_blocks(law, deformations, fields) <= 1e-12

    def test_is_its_law_of_strain_without_a_field(self, law, deformations):
        assert measure_field.without_field(law, deformations) <= 1e-14

    def test_batch_equals_single_under_a_field(self, law, deformations, fields):
        whole = law.electric_response(deformations, fields, 2)
        for k in (0, 7):
            single = law.electric_response(deformations[k], fields[k], 2)
            for a, b in zip(whole, single, strict=True):
                torch.testing.assert_close(a[k], b, rtol=1e-12, atol=1e-12)
        chunk = law.chunk
        try:
            law.chunk = 7
            again = law.electric_response(deformations, fields, 2)
        finally:
            law.chunk = chunk
        for a, b in zip(whole, again, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

    def test_each_answer_is_its_part_of_all(self, law, deformations, fields):
        h, p, d, a, b, k = law.electric_response(deformations, fields, 2)
        assert torch.equal(law.enthalpy(deformations, fields), h)
        assert torch.equal(law.stress(deformations, fields), p)
        assert torch.equal(law.displacement(deformations, fields), d)
        assert torch.equal(law.tangent(deformations, fields), a)
        assert torch.equal(law.coupling(deformations, fields), b)
        assert torch.equal(law.permittivity(deformations, fields), k)

    def test_refuses_what_is_no_field(self, law):
        with pytest.raises(InputError, match=r"E0 has shape \(2,\)"):
            law.enthalpy(np.eye(3), [0.0, 1.0])
        with pytest.raises(InputError, match="field has entries that are not finite"):
            law.enthalpy(np.eye(3), [0.0, np.nan, 0.0])

    def test_its_field_survives_its_file(self, law, deformations, fields, tmp_path):
        from objstress import load_law

        law.save(tmp_path / "some.law")
        again = load_law(tmp_path / "some.law", outside="ignore")
        for a, b in zip(
            law.electric_response(deformations, fields, 2),
            again.electric_response(deformations, fields, 2),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def turned(features, operation):
    """Features {(l, p): (..., 2l+1)} after the operation."""
    return {
        o: v @ torch.tensor(representation(o, operation[None])[0], dtype=v.dtype).T
        for o, v in features.items()
    }


def assert_equivariant(function, features, operations, tolerance):
    """function(D(g) x) = D(g) function(x) for each operation."""
    plain = function(features)
    scale = max(float(v.detach().abs().max()) for v in plain.values())
    for g in operations:
        expected, found = turned(plain, g), function(turned(features, g))
        for o in plain:
            gap = float((expected[o] - found[o]).detach().abs().max())
            assert gap <= tolerance * scale, f"{o} under {g.tolist()}: {gap / scale:.1e}"
