"""Universal potentials: what they promise, and the law of any crystal that they make."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from objstress.calculators import (
    CALCULATORS,
    UNIVERSAL,
    make_calculator,
    universal_potential,
)
from objstress.calculators.named import MPTRJ
from objstress.calculators.universal import UniversalPotential
from objstress.errors import InputError
from objstress.labels.labelling import label_strains
from objstress.labels.noise import calculator_noise
from objstress.labels.reading import read_labels
from objstress.laws.loading import load_law
from objstress.properties.crystal import crystal_properties
from objstress.symmetry.reading import read_primitive_cell
from objstress.workflows.crystal_law import _dimension, law_of

SILICON = Path(__file__).parents[1] / "data/silicon/silicon.cif"

MODELS = {"sevennet": {"model": "7net-0"}, "chgnet": {}}


@pytest.fixture(scope="module", params=MODELS)
def potential(request):
    pytest.importorskip({"sevennet": "sevenn"}.get(request.param, request.param))
    return make_calculator(request.param, MODELS[request.param])


class TestCalculators:
    def test_forces_and_stress_are_derivatives_of_the_energy(self, potential):
        atoms = bulk("MgO", "rocksalt", a=4.2)
        atoms.rattle(0.05, seed=1)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.ones((3, 3))), scale_atoms=True)

        def energy(moved=0.0, strain=0.0):
            there = atoms.copy()
            there.positions[0] += moved
            there.set_cell(there.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            there.calc = potential
            return there.get_potential_energy()

        atoms.calc = potential
        h = 1e-4
        for axis in np.eye(3):
            slope = (energy(moved=h * axis) - energy(moved=-h * axis)) / (2 * h)
            assert slope == pytest.approx(-atoms.get_forces()[0] @ axis, abs=1e-6)
        for i, j in ((0, 0), (1, 2)):
            strain = np.zeros((3, 3))
            strain[i, j] = strain[j, i] = h / (1 if i == j else 2)
            slope = (energy(strain=strain) - energy(strain=-strain)) / (2 * h * atoms.get_volume())
            assert slope == pytest.approx(atoms.get_stress(voigt=False)[i, j], abs=1e-7)

    def test_numbers_are_smooth_to_the_last_digits(self, potential):
        noise = calculator_noise(bulk("Si"), potential)
        assert noise.forces < 1e-7
        assert noise.stress < 1e-8

    def test_an_unknown_element_is_named(self, potential):
        polonium = bulk("Po", "sc", a=3.3)
        with pytest.raises(InputError, match=r"no model for element Po: .* knows 89 elements"):
            crystal_properties(polonium, potential)

    def test_what_is_loaded_is_what_the_label_file_says(self, potential):
        assert "float64" in potential.describe()
        assert potential.name_of_model in potential.describe()

    def test_the_table_knows_the_elements(self, potential):
        if hasattr(potential, "symbols"):
            assert potential.symbols == MPTRJ
        assert len(MPTRJ) == 89

    @pytest.mark.parametrize("name", UNIVERSAL)
    def test_one_line_where_it_is_not_installed(self, name, monkeypatch):
        monkeypatch.setattr(UniversalPotential, "installed", False)
        with pytest.raises(InputError) as caught:
            make_calculator(name, {"model": "any"})
        assert str(caught.value).startswith(f"{name} is not installed: pip install")
        assert CALCULATORS[name] is UNIVERSAL[name]
        assert UNIVERSAL[name].citation
        assert UNIVERSAL[name].licence

    def test_a_download_is_said_before_it_begins(self, monkeypatch):
        monkeypatch.setattr(UniversalPotential, "installed", True)
        with (
            pytest.warns(UserWarning, match="weights are downloaded"),
            pytest.raises(InputError, match=r"cannot be imported.*pip install orb-models"),
        ):
            make_calculator("orb")

    def test_an_unknown_model_is_refused(self):
        pytest.importorskip("chgnet")
        with pytest.raises(InputError, match="chgnet cannot be loaded: Unknown model_name"):
            make_calculator("chgnet", {"model": "0.0"})

    def test_a_file_that_is_not_whole_or_of_another_version_is_refused(self, tmp_path):
        torch = pytest.importorskip("torch")
        pytest.importorskip("sevenn")
        (tmp_path / "half.pth").write_bytes(b"half")
        torch.save({"another": "layout"}, tmp_path / "other.pth")
        for name in ("half", "other"):
            with pytest.raises(InputError, match="is the file whole, and of a version that"):
                make_calculator("sevennet", {"model": str(tmp_path / f"{name}.pth")})
        with pytest.raises(InputError, match=r"none\.pth does not exist"):
            make_calculator("sevennet", {"model": str(tmp_path / "none.pth")})

    def test_the_best_that_needs_no_download_is_chosen(self, monkeypatch):
        monkeypatch.setattr(UniversalPotential, "installed", True)
        assert universal_potential() == "sevennet"
        there = property(lambda self: self.package in ("chgnet", "mace"))
        monkeypatch.setattr(UniversalPotential, "installed", there)
        assert universal_potential() == "chgnet"
        monkeypatch.setattr(UniversalPotential, "installed", False)
        with pytest.raises(InputError, match=r"install objstress\[universal\], or name a model"):
            crystal_properties(bulk("Cu"))

    def test_measured_faults_are_those_of_the_benchmark(self):
        results = Path(__file__).parents[1] / "benchmarks/results/universal.json"
        for name, errors in json.loads(results.read_text())["moduli"].items():
            k, g = (100 * errors[m]["median_relative_error"] for m in ("K", "G"))
            assert (
                f"K is off by {k:.0f} % and G by {g:.0f} % in the median" in UNIVERSAL[name].faults
            )

    def test_the_shell_lists_them(self, shell):
        code, out, error = shell("calculators")
        assert code == 0, error
        for name, potential in UNIVERSAL.items():
            assert f"\n{name} " in out
            assert potential.citation in out
        code, out, _ = shell("calculators", "--json")
        assert json.loads(out)["chgnet"]["licence"] == "BSD-3"


MOS2 = crystal(
    ["Mo", "S"], [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)], spacegroup=194,
    cellpar=[3.16, 3.16, 12.3, 90, 90, 120],
)  # fmt: skip


@pytest.mark.parametrize(
    ("atoms", "dimension"),
    [
        (bulk("NaCl", "rocksalt", a=5.64), 3),
        (bulk("Cu"), 3),
        (bulk("SiC", "zincblende", a=4.36), 3),
        (MOS2, 2),
        (Atoms("Se", cell=[4.4, 4.4, 2.4], pbc=True), 1),
        (Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], cell=[4, 4, 4], pbc=True), 0),
    ],
)
def test_layers_chains_and_molecules_are_told_from_frameworks(atoms, dimension):
    assert _dimension(read_primitive_cell(atoms)) == dimension


class TestLawOf:
    @pytest.fixture(scope="class")
    def made(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("law")
        with pytest.MonkeyPatch.context() as patch:
            there = property(lambda self: self.package == "chgnet")  # the fast one
            patch.setattr(UniversalPotential, "installed", there)
            report = law_of(
                SILICON, folder / "si.law", model="kumagai", max_strain=0.03, say=lambda _: None
            )
        return folder, report

    def test_the_law_is_that_of_the_potential(self, made):
        folder, report = made
        law = load_law(folder / "si.law")
        there = crystal_properties(SILICON, "kumagai")
        gap = np.abs(law.stiffness() - there.stiffness).max()
        assert gap < 0.01 * there.stiffness.max()
        assert all(claim["ok"] for claim in report["claims"])
        assert law.metadata["model"] == "kumagai"

    def test_it_says_how_far_a_second_potential_is_apart(self, made):
        pytest.importorskip("chgnet")
        _, report = made
        second = report["second_potential"]
        assert second["name"] == "chgnet"
        c, other = (np.array(x["stiffness_GPa"]) for x in (report, second))
        apart = np.linalg.norm(c - other) / np.linalg.norm(c)
        assert second["constants_apart"] == pytest.approx(apart, rel=0.05)
        assert 0.02 < second["stresses_apart"] < 1

    def test_it_leaves_a_report_labels_and_a_picture(self, made):
        folder, report = made
        text = (folder / "si" / "report.md").read_text()
        assert "How far to trust it" in text
        assert json.loads((folder / "si" / "report.json").read_text())["labels"] == 41
        assert {"crystal.cif", "labels.extxyz", "elasticity.png"} <= {
            p.name for p in (folder / "si").iterdir()
        }
        assert report["stiffness_ieee_GPa"][0][3] == pytest.approx(0, abs=1e-9)

    def test_the_same_call_goes_on_and_others_are_refused(self, made, monkeypatch):
        folder, report = made
        monkeypatch.setattr(
            "objstress.labels.labelling.StrainLabels.label", lambda *a: pytest.fail("again")
        )
        monkeypatch.setattr(UniversalPotential, "installed", False)
        again = law_of(
            SILICON, folder / "si.law", model="kumagai", max_strain=0.03, say=lambda _: None
        )
        np.testing.assert_allclose(again["stiffness_GPa"], report["stiffness_GPa"], atol=1e-9)
        with pytest.raises(InputError, match="max_strain"):
            law_of(SILICON, folder / "si.law", model="kumagai", say=lambda _: None)

    @pytest.mark.parametrize(
        ("structure", "keywords", "said"),
        [
            (bulk("Cu", "bcc", a=2.86), {}, "Cu is not stable under emt: a strain lowers its"),
            (bulk("Cu"), {"budget": 1e-7}, "too few for a law"),
            (bulk("Cu"), {"budget": -1}, "give minutes above 0"),
            (bulk("Si"), {}, "no model for element Si: emt knows Al, Ni"),
            (bulk("Cu"), {"max_strain": 0.9}, "max_strain"),
            (bulk("Cu"), {"model": "psychic"}, "unknown calculator 'psychic'"),
        ],
    )
    def test_one_reason_why_there_is_no_law(self, structure, keywords, said, tmp_path):
        with pytest.raises(InputError, match=said):
            law_of(
                structure,
                tmp_path / "x.law",
                **{"model": "emt", "say": lambda _: None} | keywords,
            )
        assert not (tmp_path / "x.law").exists()

    def test_more_strains_are_labelled_until_the_law_predicts_them(self, tmp_path, monkeypatch):
        monkeypatch.setattr("objstress.workflows.crystal_law.plot_properties", lambda *_: None)
        monkeypatch.setattr("objstress.workflows.crystal_law.FEWEST", 1)
        monkeypatch.setattr("objstress.workflows.crystal_law.ACCURATE", 1e-3)
        monkeypatch.setattr(UniversalPotential, "installed", False)
        lines = []
        report = law_of(bulk("Cu"), tmp_path / "cu.law", model="emt", say=lines.append)
        numbers = [int(n) for n in re.findall(r"labelling (\d+) strains", " ".join(lines))]
        assert len(numbers) > 1
        assert numbers == [numbers[0] * 2**k for k in range(len(numbers))]
        assert report["labels"] == numbers[-1] + 1
        assert load_law(tmp_path / "cu.law").metadata["polynomial"]["leave_one_out"] < 3e-3
        # They are those that as many labels at once would have been.
        at_once = tmp_path / "once.extxyz"
        relaxed = crystal_properties(bulk("Cu"), "emt").structure
        label_strains(relaxed, "emt", out=at_once, samples=numbers[-1], max_strain=0.05)
        once, grown = (read_labels(f, relaxed) for f in (at_once, tmp_path / "cu/labels.extxyz"))
        np.testing.assert_allclose(grown.strain, once.strain, atol=1e-6)

    def test_labels_that_no_law_explains_are_one_reason(self, tmp_path, monkeypatch):
        def fit_law(*arguments, **keywords):
            raise InputError(
                "the stress-free cell is stretched by 2.9%; give the relaxed structure"
            )

        monkeypatch.setattr("objstress.workflows.crystal_law.plot_properties", lambda *_: None)
        monkeypatch.setattr("objstress.workflows.crystal_law.fit_law", fit_law)
        with pytest.raises(InputError, match=r"stretched by 2\.9%; a crystal near an instability"):
            law_of(bulk("Cu"), tmp_path / "x.law", model="emt", say=lambda _: None)
        assert not (tmp_path / "x.law").exists()

    def test_a_part_occupied_site_is_refused(self, tmp_path):
        from pymatgen.core import Lattice, Structure

        alloy = Structure(Lattice.cubic(3.7), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
        with pytest.raises(InputError, match="partly occupied"):
            law_of(alloy, tmp_path / "x.law", model="emt")

    def test_the_name_of_the_law_is_checked(self, tmp_path):
        with pytest.raises(InputError, match=r"ends in \.law"):
            law_of(bulk("Cu"), tmp_path / "x.pt", model="emt")


def test_magnets_are_noted():
    from objstress.workflows.crystal_law import _notes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nickel = crystal_properties(bulk("Ni"), "emt")
    (note,) = _notes(nickel, "emt")
    assert note.startswith("Ni: emt knows no magnetic order")
