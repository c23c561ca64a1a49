"""Mixins that every law and every layer must pass: subclass, give the thing, and run."""

import numpy as np
import pytest
import torch

from objstress.errors import InputError
from objstress.laws import check as measure
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
