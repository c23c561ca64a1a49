"""Ensembles: the mean is a law, its error bar is honest, and it says what to label next."""

import numpy as np
import pytest
import torch

from objstress import InputError, load_law
from objstress.elasticity.orientations import orientation
from objstress.elasticity.strain import right_stretch
from objstress.labels.reading import read_labels
from objstress.labels.strains import sample_strains
from objstress.laws.ensemble import EnsembleLaw
from objstress.laws.rotated import RotatedLaw
from objstress.training.laws.adaptive import label_adaptively
from objstress.training.laws.ensemble import fit_law_ensemble
from objstress.training.laws.metrics import stress_errors
from tests.conformance import LawConformance
from tests.helpers import read_vtx
from tests.test_crystals import CRYSTALS, labels_of


@pytest.fixture(scope="module")
def magnesium():
    return labels_of("magnesium")


@pytest.fixture(scope="module")
def ensemble(magnesium):
    return fit_law_ensemble(
        magnesium.subset(np.arange(80)), held_out=0.0, use_network=False, progress=False
    )


class TestEnsemble(LawConformance):
    @pytest.fixture
    def law(self, ensemble):
        return ensemble


def test_the_error_bar_foretells_the_error(ensemble, magnesium):
    unseen = magnesium.subset(np.arange(150, 301))
    stress = unseen.piola
    size = np.maximum(np.linalg.norm(stress, axis=(1, 2)), ensemble.stress_floor())
    error = np.linalg.norm(ensemble.response(unseen.F, 1)[1].numpy() - stress, axis=(1, 2)) / size
    bar = ensemble.stress_error(unseen.F).numpy() / size
    assert 0.4 < np.sqrt(np.mean(error**2) / np.mean(bar**2)) < 1.5
    # Larger where the error is: the worst quarter of the bars holds more than its share.
    worst = np.argsort(-bar)[: len(bar) // 4]
    assert (error[worst] ** 2).mean() > 1.5 * (error**2).mean()
    assert float(ensemble.stress_error(np.eye(3)).max()) < 1e-12
    # Far outside the labels the members part.
    f = right_stretch(3 * sample_strains(20, 0.05))
    inside = right_stretch(sample_strains(20, 0.05))
    assert ensemble.stress_error(f).mean() > 10 * ensemble.stress_error(inside).mean()


def test_more_labels_make_smaller_bars(ensemble, magnesium):
    more = fit_law_ensemble(magnesium.subset(np.arange(240)), use_network=False, progress=False)
    f = right_stretch(sample_strains(100, 0.05, seed=9))
    assert more.stress_error(f).mean() < 0.7 * ensemble.stress_error(f).mean()
    assert more.metadata["held_out"]["both"]["relative_rmse"] < 0.015
    assert 0 < more.metadata["error_bar"]["rms_error_over_bar"] < 2


def test_error_bars_survive_the_file_and_a_turn(ensemble, tmp_path):
    ensemble.save(tmp_path / "mg.law")
    again = load_law(tmp_path / "mg.law", outside="ignore")
    assert isinstance(again, EnsembleLaw)
    f = torch.tensor(right_stretch(sample_strains(10, 0.05)))
    torch.testing.assert_close(again.stress_error(f), ensemble.stress_error(f), rtol=1e-8, atol=0)
    q = orientation((1, 1, 0))
    turned = RotatedLaw(ensemble, q)
    torch.testing.assert_close(turned.stress_error(f), ensemble.stress_error(f @ q))


def test_error_bars_are_a_field_of_the_fe_output(ensemble, tmp_path):
    from objstress.fem import Displacement, StaticProblem, meshes

    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)),
        ensemble,
        [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.03, 0, 0))],
    )
    problem.solve(progress=False)
    bars = problem.material.cell_averages()["stress_error"]
    expected = ensemble.stress_error(problem.material.F).numpy()
    assert bars.shape == (8,)
    assert bars.min() > 0
    assert bars.mean() == pytest.approx(expected.mean())
    problem.write(tmp_path / "out.bp")
    assert read_vtx(tmp_path / "out.bp")["stress_error"].mean() == pytest.approx(bars.mean())


def test_the_labels_of_an_ensemble_are_inside_its_domain(ensemble, magnesium):
    f = magnesium.F[:80] @ np.linalg.inv(ensemble.metadata["reference_stretch"])
    assert ensemble.outside(f).float().mean() < 0.05
    strains = sample_strains(4, 0.04)
    moves = ensemble.internal_displacements(right_stretch(strains))
    assert moves.shape == (4, 2, 3)


def test_ensembles_need_members(magnesium):
    with pytest.raises(InputError, match="at least two laws"):
        fit_law_ensemble(magnesium, members=1)


def test_adaptive_labels_stop_at_their_target_and_resume(tmp_path):
    silicon = CRYSTALS.parent / "silicon" / "silicon.cif"
    out = tmp_path / "adaptive.extxyz"
    common = dict(target=1e-9, batch=8, progress=False)
    first = label_adaptively(
        silicon, "stillinger-weber", out=tmp_path / "b.extxyz", samples=48, **common
    )
    assert not first["reached"]
    assert [n for n, _ in first["error_bars"]] == [33, 41, 49]
    assert first["error_bars"][-1][1] < first["error_bars"][0][1]
    # An interrupted run resumes with the very same strains.
    calls = []

    def interrupted():
        from objstress.calculators.registry import make_calculator

        calc = make_calculator("stillinger-weber")
        inner = calc.calculate

        def calculate(atoms=None, *args, **kwargs):
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt
            inner(atoms, *args, **kwargs)

        calc.calculate = calculate
        return calc

    # The last tenth of the calls falls into the second batch.
    stop = 10**9
    label_adaptively(silicon, interrupted, out=out, samples=48, **common)
    stop, whole = int(0.93 * len(calls)), read_labels(out, silicon)
    calls.clear()
    out.unlink()
    with pytest.raises(KeyboardInterrupt):
        label_adaptively(silicon, interrupted, out=out, samples=48, **common)
    stop = 10**9
    result = label_adaptively(silicon, interrupted, out=out, samples=48, **common)
    assert 33 < result["resumed"] < 49
    assert np.allclose(read_labels(out, silicon).F, whole.F, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"target": 0.0}, "target"), ({"target": 0.01, "samples": 10}, "at least 32 samples")],
)
def test_senseless_targets_are_refused(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        label_adaptively(
            CRYSTALS / "copper.cif", "emt", out=tmp_path / "x.extxyz", progress=False, **wrong
        )


def test_the_error_of_an_ensemble_is_no_worse_than_that_of_a_law(ensemble, magnesium):
    from objstress import fit_law

    one = fit_law(magnesium.subset(np.arange(80)), held_out=0.0, use_network=False, progress=False)
    unseen = magnesium.subset(np.arange(150, 301))
    errors = [stress_errors(law, unseen)["relative_rmse"] for law in (ensemble, one)]
    assert errors[0] < 1.3 * errors[1]
