"""Few labels correct a law: what they say is kept, what they leave open shows in the error bars."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import GPa

from objstress import (
    InputError,
    NeoHooke,
    correct_law,
    fit_law,
    fit_law_ensemble,
    load_law,
    read_labels,
    suggest_strains,
)
from objstress.elasticity.strain import right_stretch
from objstress.labels.strain_labels import Labels
from objstress.labels.strains import sample_strains
from objstress.laws import (
    CorrectedLaw,
    GuardedLaw,
    LearnedLaw,
    RotatedLaw,
    StrainEnergyLaw,
    compile_law,
)
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import mandel_rotations, to_mandel
from objstress.training import law_prior, write_suggestions
from objstress.training.laws.prior import MISFIT
from objstress.training.laws.suggestions import most_helpful
from tests.conformance import LawConformance
from tests.helpers import random_rotation
from tests.test_crystals import CRYSTALS, labels_of

SOFTER, LARGER = 1.4, 1.01


class Stiffer(StrainEnergyLaw):
    """A law whose shear strains count more: each shear modulus is `SOFTER` times as large."""

    def __init__(self, law):
        self.law, self.point_group = law, law.point_group
        volume = np.outer([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]) / 3
        self.scaling = torch.tensor(volume + np.sqrt(SOFTER) * (np.eye(6) - volume))

    def strain_energy(self, x, order):
        a = self.scaling
        parts = self.law.strain_energy(x @ a, order)
        return tuple([parts[0], *(p @ a for p in parts[1:2]), *(a @ p @ a for p in parts[2:])])


def labels_from(law, prior, strains, larger=LARGER):
    """Labels against the prior's reference of a crystal that is larger by a factor."""
    f = right_stretch(np.asarray(strains))
    return Labels(
        structure=prior.structure,
        F=f,
        cauchy=law.cauchy_stress(f / larger).numpy(),
        energy=np.full(len(f), np.nan),
        ions=prior.metadata["ions"],
        source="synthetic",
    )


def relative_error(law, truth, strains):
    f = right_stretch(strains)
    stress = truth.response(f, 1)[1]
    gap = law.response(f, 1)[1] - stress
    return float((gap.flatten(1).norm(dim=1) / stress.flatten(1).norm(dim=1)).pow(2).mean().sqrt())


def fitted(labels, degree):
    law = fit_law(labels, held_out=0.0, use_network=False, degree=degree, progress=False)
    law.outside_action = "ignore"
    return law


@pytest.fixture(scope="module")
def prior():
    """Gallium phosphide: two elastic constants of the axial strain, two of the reference."""
    return fitted(labels_of("gallium-phosphide"), 3)


@pytest.fixture(scope="module")
def truth(prior):
    return Stiffer(prior)


@pytest.fixture(scope="module")
def strains(prior):
    return suggest_strains(prior, 3)


@pytest.fixture(scope="module")
def law(prior, truth, strains):
    corrected = correct_law(labels_from(truth, prior, LARGER**2 * strains), prior)
    corrected.outside_action = "ignore"
    return corrected


def fitted_form(group, law):
    """An isotropic polynomial of the group, as stiff as a law."""
    polynomial = InvariantPolynomial(group, 2)
    x = torch.tensor(np.random.default_rng(0).normal(size=(30, 6)))
    target = float(law.stiffness()[3, 3]) * 2 * x
    design = polynomial.design(x).reshape(-1, len(polynomial.degrees))
    polynomial.set_coefficients(np.linalg.lstsq(design, target.ravel(), rcond=None)[0])
    return polynomial


UNSEEN = sample_strains(60, 0.04, seed=5)


class TestCorrectedLaw(LawConformance):
    larger = PointGroup("622")

    @pytest.fixture(scope="class")
    def law(self):
        quartz = labels_of("quartz")
        corrected = correct_law(quartz.subset([40, 50, 60]), fitted(quartz.subset(slice(90)), 3))
        corrected.outside_action = "ignore"
        return corrected


def test_three_labels_mend_softness_and_lattice(law, prior, truth):
    assert relative_error(prior, truth, UNSEEN) > 0.15
    assert relative_error(law, truth, UNSEEN) < 0.01
    stretch = np.array(law.metadata["reference_stretch"])
    assert np.allclose(stretch, LARGER * np.eye(3), atol=2e-4)
    edges = np.array(law.structure.lattice.abc) / prior.structure.lattice.abc
    assert np.allclose(edges, LARGER, atol=2e-4)
    low, high = law.metadata["correction"]["stiffness_ratio"]
    assert 0.98 < low < 1.1
    assert high == pytest.approx(SOFTER, rel=0.02)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_label_without_stress_says_where_the_crystal_rests_and_no_more(prior):
    rest = 0.5 * (1.01**2 - 1) * np.eye(3)[None]
    law = correct_law(labels_from(prior, prior, rest), prior)
    assert relative_error(law, prior, UNSEEN) < 1e-6
    assert np.allclose(law.metadata["reference_stretch"], 1.01 * np.eye(3), atol=1e-5)
    # What it leaves open is the whole expected error.
    f = right_stretch(UNSEEN)
    bar = law.stress_error(f) / law.response(f, 1)[1].flatten(1).norm(dim=1)
    assert 0.2 < bar.median() < 0.8


def test_bars_shrink_with_labels(prior, truth, law):
    f = right_stretch(UNSEEN)
    bars = [
        float(correct_law(labels_from(truth, prior, s), prior).stress_error(f).mean())
        for s in (suggest_strains(prior, 1), suggest_strains(prior, 12))
    ]
    middle = float(law.stress_error(f).mean())
    assert bars[0] > 2 * middle
    assert middle > 2 * bars[1]


def test_bars_foretell_the_error_of_laws_drawn_from_the_prior(prior):
    expected = law_prior(prior)
    columns = expected.uncertainty().factor.numpy()
    rng = np.random.default_rng(0)
    x = suggest_strains(prior, 4)
    ratios = []
    for _ in range(12):
        change = columns @ rng.normal(size=columns.shape[1])
        drawn = deepcopy(expected.law)
        drawn.polynomial.set_coefficients(drawn.polynomial.coefficients.numpy() + change[:-6])
        law = correct_law(labels_from(drawn, prior, x, larger=1.0), prior)
        # The drawn law's cells, which the corrected one refers to its own reference.
        stretch = np.array(law.metadata["reference_stretch"])
        tested = labels_from(drawn, prior, UNSEEN, larger=1.0).rereferenced(stretch)
        gap = law.response(tested.F, 1)[1].numpy() - tested.piola
        ratios.append(np.linalg.norm(gap, axis=(1, 2)) / law.stress_error(tested.F).numpy())
    ratios = np.concatenate(ratios)
    assert 0.5 < np.mean(ratios < 1) < 0.85
    assert np.mean(ratios < 2) > 0.88


@pytest.mark.parametrize("number", [6, 60])
def test_scatter_of_labels_is_learned_and_in_the_bars(prior, number):
    """Few labels have fewer equations than unknowns, many have more."""
    labels = labels_from(prior, prior, sample_strains(number, 0.04, group=prior.point_group))
    noise = np.random.default_rng(1).normal(size=(number, 3, 3)) / np.sqrt(6)
    size = np.hypot(np.linalg.norm(labels.piola, axis=(1, 2)), 10 * prior.stress_floor())
    symmetric = (noise + noise.transpose(0, 2, 1)) / 2
    law = correct_law(
        replace(labels, cauchy=labels.cauchy + 0.02 * size[:, None, None] * symmetric), prior
    )
    learned = law.metadata["correction"]["scales"]["misfit"]
    assert 0.005 < learned < 0.03 if number < 10 else 0.017 < learned < 0.024
    # What is not known of the scatter itself is in the bars, too.
    unknown = law.uncertainty.misfit / learned - 1
    assert unknown > 0.01 if number < 10 else 0 < unknown < 0.005
    f = right_stretch(UNSEEN)
    assert (law.stress_error(f) > learned * law.response(f, 1)[1].flatten(1).norm(dim=1)).all()


def test_file_frame_guard_and_compiled_form_keep_their_bars(law, prior, tmp_path):
    f = torch.tensor(right_stretch(UNSEEN[:8]))
    bars = law.stress_error(f)
    law.save(tmp_path / "a.law")
    again = load_law(tmp_path / "a.law", outside="ignore")
    assert isinstance(again, CorrectedLaw)
    torch.testing.assert_close(again.stress_error(f), bars, rtol=1e-12, atol=0)
    assert again.metadata == json.loads(json.dumps(law.metadata))
    assert np.allclose(
        again.internal_displacements(f), prior.internal_displacements(f), rtol=0, atol=1e-12
    )
    q = random_rotation(3)
    torch.testing.assert_close(RotatedLaw(law, q).stress_error(f), law.stress_error(f @ q))
    torch.testing.assert_close(GuardedLaw(law).stress_error(f), bars)
    assert law.stress_error(f[0]).shape == ()
    # A rigid turn changes no error bar.
    torch.testing.assert_close(law.stress_error(torch.tensor(q) @ f), bars, rtol=1e-9, atol=0)
    assert compile_law(law).stress_error(f) is None


def test_suggested_strains_are_inside_and_different(prior, law):
    group = prior.point_group
    for known in (prior, law, GuardedLaw(prior)):
        x = to_mandel(suggest_strains(known, 6))
        assert not known.outside(right_stretch(suggest_strains(known, 6))).any()
        images = np.einsum("gab,nb->gna", mandel_rotations(group.operations), x)
        apart = np.linalg.norm(images[:, :, None] - x, axis=-1).min(axis=0)
        assert (apart + np.eye(6)).min() > 2e-3
    with pytest.raises(InputError, match="give 1 to"):
        suggest_strains(prior, 0)


def test_picked_labels_help_more_than_others(prior, truth):
    pool = sample_strains(200, 0.05, group=prior.point_group)
    errors = []
    rng = np.random.default_rng(1)
    picked = most_helpful(prior, to_mandel(pool), 2)
    for index in [picked, *(rng.permutation(len(pool))[:2] for _ in range(5))]:
        law = correct_law(labels_from(truth, prior, pool[index]), prior)
        errors.append(relative_error(law, truth, UNSEEN))
    assert errors[0] < 0.7 * np.median(errors[1:])


@pytest.mark.parametrize("suffix", ["extxyz", "vasp"])
def test_results_of_suggested_cells_are_labels(prior, truth, strains, tmp_path, suffix):
    files = write_suggestions(prior, strains, tmp_path / "dft")
    assert len(files) == 2 * len(strains)
    frames = [read(file) for file in files if file.suffix == "." + suffix]
    for atoms, strain in zip(frames, strains, strict=True):
        stress = truth.cauchy_stress(right_stretch(strain)).numpy() * GPa
        atoms.calc = SinglePointCalculator(
            atoms, stress=stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)], energy=0.0
        )
    write(tmp_path / "dft.extxyz", frames, format="extxyz")
    labels = read_labels(tmp_path / "dft.extxyz", prior.structure)
    assert np.allclose(labels.F, right_stretch(strains), atol=1e-6)
    # The ions start where the prior's internal displacements put them.
    expected = prior.internal_displacements(right_stretch(strains))
    assert np.abs(labels.moves - (expected - expected.mean(1, keepdims=True))).max() < 1e-5
    law = correct_law(tmp_path / "dft.extxyz", prior)
    assert relative_error(law, truth, UNSEEN) < 0.02


def test_materials_without_atoms(tmp_path):
    data = CRYSTALS.parent / "spruce" / "pairs.csv"
    spruce = fit_law(data, point_group="mmm", degree=3, use_network=False, progress=False)
    spruce.save(tmp_path / "spruce.law")
    strains = suggest_strains(spruce, 3)
    (file,) = write_suggestions(spruce, strains, tmp_path)
    stress = 1.3 * to_mandel(
        np.linalg.inv(right_stretch(strains)) @ spruce.stress(right_stretch(strains)).numpy()
    ) / np.sqrt([1, 1, 1, 2, 2, 2])  # fmt: skip
    head, *rows = file.read_text().splitlines()
    head += ",S11,S22,S33,S23,S13,S12"
    rows = [r + "," + ",".join(map(repr, map(float, s))) for r, s in zip(rows, stress, strict=True)]
    file.write_text("\n".join([head, *rows]))
    law = correct_law(file, tmp_path / "spruce.law")
    assert law.structure is None
    assert law.metadata["prior"]["file"] == str(tmp_path / "spruce.law")
    assert np.abs(law.stiffness() / (1.3 * spruce.stiffness() + 1e-12) - 1)[:3, :3].max() < 0.05
    assert write_suggestions(law, strains, tmp_path / "more")[0].name == "strains.csv"


def test_ensembles_and_guarded_laws_are_priors_too(prior, truth, strains, law):
    labels = labels_from(truth, prior, LARGER**2 * strains)
    f = right_stretch(UNSEEN)
    guarded = correct_law(labels, GuardedLaw(prior))
    torch.testing.assert_close(guarded.response(f, 1)[1], law.response(f, 1)[1])
    assert guarded.metadata["prior"]["kind"] == "guarded"
    ensemble = fit_law_ensemble(
        labels_of("gallium-phosphide"),
        members=2,
        held_out=0.0,
        degree=3,
        use_network=False,
        progress=False,
    )
    mean = correct_law(labels, ensemble)
    assert relative_error(mean, truth, UNSEEN) < 0.02
    assert np.allclose(mean.internal_displacements(f), ensemble.internal_displacements(f))


def test_held_out_labels_are_reported(prior):
    labels = labels_of("gallium-phosphide")
    law = correct_law(labels, prior, held_out=0.5)
    assert law.metadata["held_out"]["both"]["labels"] == 20
    assert law.metadata["held_out"]["both"]["relative_rmse"] < 0.01
    assert set(law.metadata["error_bar"]) == {"within_one_bar", "within_two_bars"}


def _opposed(labels):
    return replace(labels, cauchy=-labels.cauchy)


def _in_gpa(labels):
    return replace(labels, cauchy=160 * labels.cauchy)


def _clamped(labels):
    return replace(labels, ions="clamped")


def _random(labels):
    noise = np.random.default_rng(0).normal(size=labels.cauchy.shape)
    return replace(labels, cauchy=labels.cauchy + 3 * (noise + noise.transpose(0, 2, 1)))


def _none(labels):
    return labels.subset([])


def _copper(labels):
    return labels_of("copper").subset([1, 2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_opposed, "stress sign and units"),
        (_in_gpa, "stress sign and units"),
        (_clamped, "clamped ions"),
        (_random, "contradict|stress sign"),
        (_none, "no labels"),
        (_copper, "point group m-3m, the prior has 6mm"),
    ],
)
def test_wrong_labels_are_refused_in_one_line(prior, truth, wrong, message):
    labels = labels_from(truth, prior, sample_strains(20, 0.04, seed=2))
    with pytest.raises(InputError, match=message) as caught:
        correct_law(wrong(labels), prior)
    assert "\n" not in str(caught.value)


def test_wrong_priors_are_refused(law, prior, truth, strains):
    labels = labels_from(truth, prior, strains)
    with pytest.raises(InputError, match="corrected already"):
        correct_law(labels, compile_law(law))
    other = labels_of("gallium-nitride").subset([1, 2])
    with pytest.raises(InputError, match="of Ga2 N2 in the primitive cell"):
        correct_law(other, prior)
    with pytest.raises(InputError, match="one of a point group"):
        correct_law(labels, NeoHooke(1.0, 1.0))
    group = PointGroup("6mm").rotated(random_rotation(1))
    turned = LearnedLaw(prior.structure, group, fitted_form(group, prior))
    with pytest.raises(InputError, match="6mm, in other axes, the prior has 6mm"):
        correct_law(labels, turned)


def test_commands(prior, shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prior.save("prior.law")
    code, out, err = shell("suggest", "prior.law", "--labels", "2", "--out", "dft", "--json")
    assert code == 0
    assert "relax the cell by the better method first" in err
    assert len(json.loads(out)["files"]) == 4
    data, structure = (str(CRYSTALS / f"gallium-phosphide.{s}") for s in ("extxyz", "cif"))
    fit = ["fit", data, "--structure", structure, "--prior", "prior.law", "--out", "new.law"]
    code, out, _ = shell(*fit, "--json")
    assert code == 0
    assert json.loads(out)["prior"]["file"] == "prior.law"
    assert load_law("new.law").stress_error(np.eye(3)[None]) > 0
    code, out, err = shell("suggest", "new.law", "--out", "more")
    assert (code, out.strip(), err.strip()) == (0, "5 strains in more", "")
    code, _, err = shell(*fit, "--members", "3")
    assert code == 2
    assert "--members" in err


def test_a_crystal_at_rest_says_nothing_of_the_misfit(prior, truth):
    """Its stresses vanish by symmetry and by its stretch, whatever the law misses."""
    corrected = correct_law(labels_from(truth, prior, np.zeros((1, 3, 3))), prior)
    expected, _ = MISFIT
    assert corrected.metadata["correction"]["scales"]["misfit"] == pytest.approx(expected, rel=0.5)
