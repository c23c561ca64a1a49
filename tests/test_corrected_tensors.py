"""A calculator's elastic tensors, corrected towards those of a better method."""

import json

import numpy as np
import pytest
from ase.build import bulk
from pymatgen.core import Lattice
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from objstress.elasticity.frames import rotated_structure
from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import InputError
from objstress.models.corrected_tensors import (
    SHAPES,
    VOLUME,
    CorrectedTensors,
    PriorTensor,
    ionicity,
)
from objstress.models.tensor_ensemble import load_tensors
from objstress.properties import prior as prior_module
from objstress.properties.crystal import crystal_properties
from objstress.properties.prior import prior_tensors
from objstress.properties.report import describe
from objstress.properties.screening import properties_row
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_structure
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import (
    mandel_to_voigt,
    rotated_tensor,
    tensor_to_voigt,
    voigt_to_mandel,
    voigt_to_tensor,
)
from objstress.training.tensors.correction import correct_tensors
from tests.helpers import conventional_cell

TURN = Rotation.from_euler("xyz", [0.3, -0.8, 1.9]).as_matrix()
KNOWN = CorrectedTensors(
    "emt", 0.05, np.array([0.1, -0.2, -0.15]), np.array([0.05, 0.2]), {"ions": "relaxed"}
)


def salt(pair=("Mg", "O"), a=4.2):
    return conventional_cell(225, Lattice.cubic(a), pair,
                                     [[0, 0, 0], [0.5, 0.5, 0.5]])  # fmt: skip


def mandel(tensor):
    return voigt_to_mandel(tensor_to_voigt(tensor))


def tensor_of(matrix):
    return voigt_to_tensor(mandel_to_voigt(matrix))


def triclinic(seed=0):
    a = np.random.default_rng(seed).normal(size=(6, 6))
    return tensor_of(expm(0.3 * (a + a.T)) * 100 + 300 * np.outer(VOLUME, VOLUME))


class TestCorrection:
    @pytest.mark.parametrize("q", [TURN, -TURN], ids=["turned", "mirrored"])
    def test_rotated_crystals_have_rotated_tensors(self, q):
        crystal, tensor = salt(), triclinic()
        there = KNOWN.correct(crystal, tensor).tensor
        turned = KNOWN.correct(rotated_structure(crystal, q), rotated_tensor(tensor, q)).tensor
        np.testing.assert_allclose(turned, rotated_tensor(there, q), atol=1e-10 * there.max())

    @pytest.mark.parametrize("symbol", ["m-3m", "6mm", "3m", "4/m", "mmm", "2/m"])
    def test_the_symmetry_stays(self, symbol):
        form = TensorForm(PointGroup(symbol), "elastic")
        found = KNOWN.correct(salt(), form.project(triclinic())).tensor
        np.testing.assert_allclose(form.project(found), found, atol=1e-10 * found.max())

    def test_formula(self):
        tensor, crystal = triclinic(), salt()
        # Where nothing is soft, nothing is raised.
        c = logm(mandel(tensor) + 1e4 * np.eye(6))
        stiff = tensor_of(expm(c))
        found = logm(mandel(KNOWN.correct(crystal, stiff).tensor)) - c
        volume = np.outer(VOLUME, VOLUME)
        assert VOLUME @ found @ VOLUME == pytest.approx(0.05, abs=5e-3)
        assert np.abs(found @ VOLUME - VOLUME * (VOLUME @ found @ VOLUME)).max() < 1e-3
        rest = found - volume * (VOLUME @ found @ VOLUME)
        shears, turns = np.linalg.eigh(SHAPES.T @ c @ SHAPES)
        expected = 0.1 - 0.2 * (shears - VOLUME @ c @ VOLUME) - 0.15 * ionicity(crystal)
        w = SHAPES @ turns
        np.testing.assert_allclose(rest, (w * expected) @ w.T, atol=5e-3)

    def test_unstable_crystals_have_a_stable_tensor_and_a_note(self):
        for least in (-40.0, -1e-9, 0.0):
            unstable = voigt_to_tensor(cubic_stiffness(200.0, 200.0 - 2 * least, 80.0))
            assert mandel(unstable)[0, 0] > 0
            found = KNOWN.correct(salt(), unstable)
            assert np.linalg.eigvalsh(mandel(found.tensor)).min() > 0
            assert ("unstable" in found.note) == (least <= 0)
        assert not KNOWN.correct(salt(), voigt_to_tensor(cubic_stiffness(200.0, 100.0, 80.0))).note

    def test_it_is_smooth_where_a_stiffness_vanishes(self):
        there = [
            PriorTensor.of(voigt_to_tensor(cubic_stiffness(200.0, 200.0 - c, 80.0))).shears[0]
            for c in (-1e-3, 0.0, 1e-3)
        ]
        assert 0 < there[2] - there[1] < 1e-3
        assert there[2] - there[1] == pytest.approx(there[1] - there[0], rel=1e-3)

    def test_stiff_crystals_keep_their_logarithm(self):
        tensor = voigt_to_tensor(cubic_stiffness(300.0, 100.0, 100.0))
        assert np.abs(PriorTensor.of(tensor).logarithm - logm(mandel(tensor))).max() < 0.02

    def test_nothing_can_be_made_of_a_negative_bulk_modulus(self):
        with pytest.raises(InputError, match="a bulk modulus of -"):
            PriorTensor.of(voigt_to_tensor(cubic_stiffness(-100.0, -90.0, 10.0)))


ELEMENTS = ["Li", "Na", "K", "Mg", "Ca", "Ti", "Ni", "Cu", "Al", "Zn", "Ag", "Au"]
PARTNERS = ["F", "O", "Cl", "N", "Se", "Pd"]


@pytest.fixture(scope="module")
def softened():
    """Crystals, their tensors, and those of a method that softens them by a known rule."""
    rng = np.random.default_rng(3)
    structures, tensors, priors = [], [], []
    for k in range(40):
        structures.append(salt((ELEMENTS[k % 12], PARTNERS[k % 6])))
        c12 = rng.uniform(40, 120)
        c = cubic_stiffness(c12 + rng.uniform(40, 200), c12, rng.uniform(20, 120))
        priors.append(voigt_to_tensor(c))
        tensors.append(KNOWN.correct(structures[-1], priors[-1]).tensor)
    return structures, tensors, priors


class TestFit:
    def test_it_recovers_a_known_softening(self, softened):
        structures, tensors, priors = softened
        for factor in (1.0, 4.0):  # every eighth tensor is wrong
            given = [t * (factor if k % 8 == 0 else 1.0) for k, t in enumerate(tensors)]
            found = correct_tensors(structures[:32], given[:32], "emt", priors[:32])
            assert found.bulk == pytest.approx(KNOWN.bulk, abs=0.03)
            held_out = list(zip(*(x[32:] for x in softened), strict=True))
            close = [np.abs(found.correct(c, p).tensor - t).max() for c, t, p in held_out]
            raw = [np.abs(p - t).max() for _, t, p in held_out]
            assert np.mean(close) < (0.1 if factor == 1 else 0.35) * np.mean(raw)

    def test_the_scatter_is_that_of_the_crystals(self, softened):
        structures, tensors, priors = softened
        rng, volume = np.random.default_rng(0), np.outer(VOLUME, VOLUME)
        noisy = [
            tensor_of(expm(logm(mandel(t)) + a * volume + b * (np.eye(6) - volume)))
            for t, a, b in zip(tensors, rng.normal(0, 0.05, 40), rng.normal(0, 0.3, 40),
                               strict=True)
        ]  # fmt: skip
        found = correct_tensors(structures, noisy, "emt", priors)
        np.testing.assert_allclose(found.scatter, [0.05, 0.3], rtol=0.35)
        c = found.correct(structures[0], priors[0])
        # 44 of a cubic crystal is a shear alone.
        assert c.deviation[1, 2, 1, 2] == pytest.approx(
            np.expm1(found.scatter[1]) * c.tensor[1, 2, 1, 2], rel=1e-6
        )

    def test_crystals_without_a_tensor_are_left_out(self, softened):
        structures, tensors, priors = (x[:8] for x in softened)
        broken = [None, voigt_to_tensor(-np.eye(6)), *priors[2:]]
        with pytest.warns(
            UserWarning, match=f"{structures[1].composition.reduced_formula} is left"
        ):
            found = correct_tensors(structures, tensors, "emt", broken)
        assert found.metadata["crystals"] == 6
        unstable = voigt_to_tensor(cubic_stiffness(100.0, 110.0, 50.0))
        found = correct_tensors(structures, tensors, "emt", [unstable, *priors[1:]])
        name = structures[0].composition.reduced_formula
        assert found.metadata["unstable_under_the_prior"] == [name]

    def test_what_cannot_be(self, softened):
        structures, tensors, priors = softened
        with pytest.raises(InputError, match="give one of each"):
            correct_tensors(structures, tensors, "emt", priors[:3])
        with pytest.raises(InputError, match="3 crystals with a tensor of both"):
            correct_tensors(structures[:3], tensors[:3], "emt", priors[:3])
        with pytest.raises(InputError, match="is not positive definite"):
            correct_tensors(structures[:4], [-tensors[0], *tensors[1:4]], "emt", priors[:4])


METALS = ("Cu", "Ag", "Au", "Ni", "Pd")


@pytest.fixture(scope="module")
def metals(tmp_path_factory):
    """Metals with tensors twice as stiff in shear as those of EMT, in rotated frames."""
    structures = [rotated_structure(read_structure(bulk(name)), TURN) for name in METALS]
    tensors = []
    for tensor in prior_tensors(
        structures, "emt", tmp_path_factory.mktemp("emt") / "kept.json", progress=False
    ):
        c = mandel(tensor)
        bulk_part = np.outer(VOLUME, VOLUME) * (VOLUME @ c @ VOLUME)
        tensors.append(tensor_of(2 * c - bulk_part))
    return structures, tensors


class TestPriors:
    def test_each_crystal_is_computed_once(self, metals, tmp_path, monkeypatch):
        asked, real = [], prior_module.crystal_properties

        def counted(structure, *arguments, **keywords):
            if len(asked) == 2:
                raise KeyboardInterrupt
            asked.append(structure)
            return real(structure, *arguments, **keywords)

        monkeypatch.setattr(prior_module, "crystal_properties", counted)
        kept = tmp_path / "kept.json"
        with pytest.raises(KeyboardInterrupt):
            prior_tensors(metals[0], "emt", kept, progress=False)
        asked[:] = [None] * 3  # the others, and no crystal more
        found = prior_tensors(metals[0], "emt", kept, progress=False)
        assert len(asked) == 6
        again = prior_tensors(metals[0][::-1], "emt", kept, progress=False)
        assert len(asked) == 6
        np.testing.assert_array_equal(found, again[::-1])
        own = crystal_properties(metals[0][0], "emt").stiffness
        np.testing.assert_allclose(tensor_to_voigt(found[0]), own, atol=1e-6)

    def test_a_crystal_that_fails_is_said(self, tmp_path):
        with pytest.warns(UserWarning, match="W: no tensor by emt"):
            found = prior_tensors([read_structure(bulk("W"))], "emt", tmp_path / "kept.json",
                                  progress=False)  # fmt: skip
        assert found == [None]

    def test_files_of_others_are_refused(self, metals, tmp_path):
        kept = tmp_path / "kept.json"
        prior_tensors(metals[0][:1], "emt", kept, progress=False)
        with pytest.raises(InputError, match="ions relaxed, this one clamped"):
            prior_tensors(metals[0][:1], "emt", kept, "clamped", progress=False)
        kept.write_text("[]")
        with pytest.raises(InputError, match="not a file of a calculator's tensors"):
            prior_tensors(metals[0][:1], "emt", kept, progress=False)


class TestModel:
    @pytest.fixture(scope="class")
    def model(self, metals, tmp_path_factory):
        kept = tmp_path_factory.mktemp("model") / "kept.json"
        return correct_tensors(
            *metals, "emt", prior_tensors(metals[0], "emt", kept, progress=False)
        )

    def test_files(self, model, tmp_path):
        model.save(tmp_path / "metals.tensor")
        again = load_tensors(tmp_path / "metals.tensor")
        assert again.metadata == model.metadata
        left, right = (m.correct(salt(), triclinic()) for m in (model, again))
        np.testing.assert_array_equal(left.tensor, right.tensor)
        np.testing.assert_array_equal(left.deviation, right.deviation)

    def test_crystals_can_be_asked_with_it(self, model, metals, tmp_path):
        model.save(tmp_path / "metals.tensor")
        found = crystal_properties(metals[0][0], tmp_path / "metals.tensor")
        raw = crystal_properties(metals[0][0], "emt")
        wanted = tensor_to_voigt(metals[1][0])
        np.testing.assert_allclose(found.stiffness, wanted, atol=0.08 * wanted.max())
        assert np.abs(found.stiffness - wanted).max() < 0.4 * np.abs(raw.stiffness - wanted).max()
        assert found.structure == raw.structure
        assert found.model == "metals.tensor"
        assert found.deviation.shape == (6, 6)
        assert not found.note
        plain = crystal_properties(bulk("Cu"), model)
        np.testing.assert_allclose(plain.stiffness_ieee, found.stiffness_ieee, rtol=1e-6)
        np.testing.assert_allclose(
            plain.deviation, found.deviation @ np.eye(6), atol=found.deviation.max()
        )
        with pytest.raises(InputError, match="this correction is of relaxed ions"):
            crystal_properties(bulk("Cu"), model, ions="clamped")

    def test_the_answer_says_that_the_calculator_has_it_unstable(self, model):
        bcc = bulk("Cu", "bcc", a=2.85)
        assert not crystal_properties(bcc, "emt").stability.stable
        found = crystal_properties(bcc, model)
        assert found.stability.stable
        assert found.note == "emt has this crystal unstable: its shear stiffness is an estimate"
        assert f"NOTE: {found.note}" in describe(found)
        assert found.to_dict()["note"] == found.note
        assert properties_row("bcc", bcc, model, "relaxed")["note"] == found.note
        assert "note" not in properties_row("fcc", bulk("Cu"), model, "relaxed")

    def test_from_the_shell(self, metals, tmp_path, shell):
        rows = [{"structure": s.as_dict(verbosity=0), "elastic_tensor_voigt":
                 tensor_to_voigt(t).tolist()} for s, t in zip(*metals, strict=True)]  # fmt: skip
        data, out, cif = (tmp_path / name for name in ("rows.json", "a.tensor", "copper.cif"))
        data.write_text(json.dumps(rows))
        metals[0][0].to(filename=str(cif))
        code, said, error = shell("fit-tensors", data, "--out", out, "--prior", "emt", "--json")
        assert code == 0, error
        assert json.loads(said)["crystals"] == len(rows)
        assert json.loads((tmp_path / "rows.json.emt.relaxed.json").read_text())["model"] == "emt"
        code, said, error = shell("properties", cif, "--model", out, "--json")
        assert code == 0, error
        found = json.loads(said)[str(cif)]
        assert found["model"] == "a.tensor"
        wanted = metals[1][0]
        assert found["averages"]["hill"]["bulk"] == pytest.approx(
            np.einsum("iijj", wanted) / 9, rel=0.02
        )
        for options, message in (
            (("--kind", "dielectric", "--key", "e"), "--prior gives elastic tensors"),
            (("--members", "2"), "--members and --epochs are of networks"),
            (("--prior", "magic"), "unknown"),
        ):
            if "dielectric" in options:
                data.write_text(json.dumps([r | {"e": np.eye(3).tolist()} for r in rows]))
            code, _, error = shell("fit-tensors", data, "--out", out, "--prior", "emt", *options)
            assert code == 2
            assert message in error
