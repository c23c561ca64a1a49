"""Many structures, sources, the equation of state, plots and pages of text."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import InputError
from objstress.laws.analytic import SaintVenantKirchhoff
from objstress.parallel import spread
from objstress.properties import screening
from objstress.properties.crystal import crystal_properties
from objstress.properties.eos import equation_of_state
from objstress.properties.plots import plot_properties
from objstress.properties.report import describe
from objstress.properties.screening import screen, structures_in
from objstress.properties.sources.base import Source
from objstress.properties.sources.calculator import CalculatorSource
from objstress.properties.sources.find import find_model
from objstress.properties.sources.law import LawSource

COPPER = Path(__file__).parents[1] / "data" / "crystals" / "copper.cif"


@pytest.fixture(scope="module")
def copper():
    return crystal_properties(COPPER, "emt")


class TestEquationOfState:
    def test_bulk_modulus_is_reuss_average(self, copper):
        found = equation_of_state(COPPER, "emt")
        assert found.bulk_modulus == pytest.approx(copper.averages.reuss.bulk, rel=5e-3)
        assert found.volume == pytest.approx(copper.structure.volume, rel=1e-3)
        assert found.residual < 1e-5
        assert 3 < found.derivative < 6

    def test_shape_of_the_cell_relaxes(self):
        hcp = bulk("Cu", "hcp", a=2.56, c=4.3)
        found = equation_of_state(hcp, EMT(), strain=0.04)
        expected = crystal_properties(hcp, EMT()).averages
        assert found.bulk_modulus == pytest.approx(expected.reuss.bulk, rel=5e-3)
        assert found.bulk_modulus < expected.voigt.bulk

    def test_of_a_law(self, dft_law):
        found = equation_of_state(None, dft_law, strain=0.03)
        assert found.bulk_modulus == pytest.approx(
            (dft_law.stiffness()[0, 0] + 2 * dft_law.stiffness()[0, 1]) / 3, rel=5e-3
        )
        assert found.volume == pytest.approx(dft_law.structure.volume, rel=1e-3)

    def test_what_cannot_be(self):
        with pytest.raises(InputError, match="at least 5"):
            equation_of_state(COPPER, "emt", points=3)
        with pytest.raises(InputError, match="has no crystal structure"):
            equation_of_state(None, SaintVenantKirchhoff(cubic_stiffness(160.0, 60.0, 50.0)))
        with pytest.raises(InputError, match="give the structure"):
            equation_of_state(None, "emt")


class TestModels:
    def test_elements_that_a_model_does_not_know_are_named(self):
        with pytest.raises(InputError, match="no model for element Si: emt knows Al, Ni, Cu"):
            crystal_properties(bulk("Si"), "emt")

    def test_unknown_names(self):
        with pytest.raises(InputError, match="unknown model 'nonsense'"):
            find_model("nonsense")

    def test_each_kind_has_its_source(self, dft_law, tmp_path):
        dft_law.save(tmp_path / "silicon.law")
        emt = EMT()
        assert isinstance(find_model("emt"), CalculatorSource)
        assert find_model(emt).calculator is emt
        assert find_model(dft_law).law is dft_law
        source = find_model(tmp_path / "silicon.law")
        assert isinstance(source, LawSource)
        assert (source.name, source.elements) == ("silicon.law", ("Si",))
        assert find_model(source) is source

    def test_a_new_source_needs_one_class_only(self, copper, tmp_path):
        class Noisy(Source):
            """Copper with a stiffness of less than its symmetry, as from a noisy model."""

            def stiffness(self, structure, ions):
                cell = CalculatorSource.named("emt").stiffness(self.read(structure), ions)
                noise = np.random.default_rng(0).normal(size=(6, 6))
                return replace(cell, stiffness=cell.stiffness + 0.01 * (noise + noise.T))

        source = Noisy("noisy", "EMT with noise", ("Cu",))
        noisy = crystal_properties(COPPER, source)
        assert noisy.model == "noisy"
        assert 0 < noisy.asymmetry < 1e-3
        np.testing.assert_allclose(noisy.stiffness, copper.stiffness, atol=0.05)
        answer = screen(
            [("copper", COPPER), ("silicon", bulk("Si"))], source, tmp_path / "a.csv",
            progress=False,
        )  # fmt: skip
        assert [row["name"] for row in answer["failed"]] == ["silicon"]
        assert "noisy knows Cu" in answer["failed"][0]["error"]
        with pytest.raises(InputError, match="noisy gives tensors and no energy"):
            equation_of_state(COPPER, source)


@pytest.fixture
def frames(tmp_path):
    """Four metals, and silicon, which EMT does not know."""
    file = tmp_path / "many.extxyz"
    write(file, [bulk(s) for s in ("Cu", "Al", "Ni", "Si", "Ag")])
    return file


class TestScreening:
    def test_a_row_for_each_and_reasons_for_those_that_fail(self, frames, copper, tmp_path):
        broken = tmp_path / "broken.cif"
        broken.write_text("nothing of the kind")
        out = tmp_path / "rows.csv"
        found = screen(structures_in([frames, broken]), "emt", out, progress=False)
        table = pd.read_csv(out)
        assert found["structures"] == len(table) == 6
        assert [Path(f["name"]).name for f in found["failed"]] == ["many.extxyz:3", "broken.cif"]
        assert "no model for element Si" in table["error"][3]
        assert "not a readable crystal structure" in table["error"][5]
        assert table["formula"].tolist()[:3] == ["Cu", "Al", "Ni"]
        assert table["space_group_number"][0] == 225
        assert table["C11_GPa"][0] == pytest.approx(copper.stiffness_ieee[0, 0], rel=1e-6)
        assert table["K_hill_GPa"][0] == pytest.approx(copper.averages.hill.bulk, rel=1e-6)
        assert not out.with_name("rows.csv.partial").exists()

    def test_constants_are_those_of_the_standard_frame_however_the_crystal_lies(self):
        ordered = bulk("Cu", "fcc", a=3.8, cubic=True)
        ordered.symbols[[2, 3]] = "Au"  # L1_0, tetragonal, its axis along x
        lying = ordered.copy()
        lying.rotate(33.0, (1, 2, 3), rotate_cell=True)
        rows = [screening.properties_row("a", s, "emt", "relaxed") for s in (ordered, lying)]
        stiffness = crystal_properties(ordered, "emt").stiffness
        assert abs(stiffness[0, 0] - stiffness[2, 2]) > 1.0  # its own frame is another one
        for row in rows:
            assert row["point_group"] == "4/mmm"
            assert row["C11_GPa"] == pytest.approx(row["C22_GPa"], rel=1e-6)
            assert row["C33_GPa"] == pytest.approx(stiffness[0, 0], rel=1e-3)
            # The axes of the primitive cell are the diagonals of the cubic one.
            shear = (stiffness[1, 1] - stiffness[1, 2]) / 2
            assert row["C66_GPa"] == pytest.approx(shear, rel=1e-3)

    def test_resumes_after_an_interruption_and_ends_the_same(self, frames, tmp_path, monkeypatch):
        whole = screen(structures_in([frames]), "emt", tmp_path / "whole.csv", progress=False)
        real, calls = screening.properties_row, []

        def stopped(name, *rest):
            calls.append(name)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(name, *rest)

        out = tmp_path / "rows.csv"
        monkeypatch.setattr(screening, "properties_row", stopped)
        with pytest.raises(KeyboardInterrupt):
            screen(structures_in([frames]), "emt", out, progress=False)
        assert not out.exists()
        partial = out.with_name("rows.csv.partial")
        partial.write_text(partial.read_text() + '{"name": "cut of')  # as a kill leaves it
        found = screen(structures_in([frames]), "emt", out, progress=False)
        assert found["resumed"] == 2
        assert len(calls) == 3 + 3
        assert found["failed"] == whole["failed"]
        left, right = (pd.read_csv(tmp_path / f).drop(columns="seconds")
                       for f in ("whole.csv", "rows.csv"))  # fmt: skip
        pd.testing.assert_frame_equal(left, right)

    def test_other_settings_do_not_resume(self, frames, tmp_path):
        out = tmp_path / "rows.csv"
        partial = out.with_name("rows.csv.partial")
        partial.write_text(json.dumps({"model": "emt", "arguments": {}, "ions": "clamped"}) + "\n")
        with pytest.raises(InputError, match="started with other settings"):
            screen(structures_in([frames]), "emt", out, progress=False)

    def test_without_a_model_processes_share_the_universal_potential(self, tmp_path, monkeypatch):
        monkeypatch.setattr(screening, "universal_potential", lambda: "emt")
        found = screen([("Cu", bulk("Cu"))], None, tmp_path / "x.csv", workers=2, progress=False)
        assert found["failed"] == []
        assert pd.read_csv(tmp_path / "x.csv")["model"][0] == "emt"

    def test_several_processes_give_the_same_and_survive_a_dead_one(self, frames, tmp_path):
        alone, together = tmp_path / "alone.csv", tmp_path / "together.parquet"
        screen(structures_in([frames]), "emt", alone, progress=False)
        pytest.importorskip("pyarrow")
        screen(structures_in([frames]), "emt", together, workers=2, progress=False)
        left, right = pd.read_csv(alone), pd.read_parquet(together)
        assert left["name"].tolist() == right["name"].tolist()
        np.testing.assert_allclose(
            left["C11_GPa"].dropna(), right["C11_GPa"].dropna().astype(float), rtol=1e-9
        )

    def test_what_cannot_be(self, frames, tmp_path):
        with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
            screen(structures_in([frames]), "emt", tmp_path / "rows.txt")
        with pytest.raises(InputError, match="by its name or file"):
            screen(structures_in([frames]), EMT(), tmp_path / "rows.csv", workers=2)
        with pytest.raises(InputError, match="given twice"):
            screen([("a", COPPER), ("a", COPPER)], "emt", tmp_path / "rows.csv", progress=False)
        with pytest.raises(InputError, match="no structures given"):
            screen([], "emt", tmp_path / "none.csv", progress=False)


def test_jobs_whose_process_dies_do_not_take_the_rest_with_them():
    # A task that costs no worker an import, slow enough that others wait behind it.
    jobs = [(f"__import__('time').sleep(0.01) or {k}",) for k in range(30)]
    fatal = [3, 4, 5, 20]
    for k in fatal:
        jobs[k] = ("__import__('os')._exit(1)",)
    with spread(eval, 2, None) as execute:
        found = dict(execute(jobs))
    assert sorted(found) == list(range(30))
    assert all("its worker died" in found.pop(k) for k in fatal)
    assert all(k == v for k, v in found.items())


class TestShell:
    def test_pages_json_tables_and_plots(self, copper, frames, tmp_path, shell):
        code, out, error = shell("properties", COPPER, "--model", "emt", "--plot", tmp_path)
        assert code == 0, error
        assert out.rstrip() == describe(copper)
        assert (tmp_path / "copper.png").is_file()
        code, out, error = shell("properties", COPPER, "--model", "emt", "--json")
        assert code == 0, error
        assert json.loads(out)[str(COPPER)]["stiffness_GPa"] == copper.stiffness.tolist()
        rows = tmp_path / "rows.csv"
        code, out, error = shell("properties", frames, "--model", "emt", "--out", rows)
        assert code == 0, error
        assert "5 structures in" in out
        assert "1 failed" in out
        assert "no model for element Si" in error
        assert len(pd.read_csv(rows)) == 5

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.cif", "--model", "emt"], "no such structure file"),
            (["{copper}", "--model", "psychic"], "unknown model 'psychic'"),
            (["{copper}", "--model", "kumagai"], "no model for element Cu: kumagai knows Si"),
            (["{copper}", "--model", "emt", "--out", "rows.doc"], "ends in .csv or .parquet"),
            (["{copper}", "--model", "emt", "--out", "a.csv", "--plot", "b"], "one by one"),
        ],
    )
    def test_bad_input_gets_one_line_and_code_2(self, arguments, message, shell):
        code, out, error = shell("properties", *(a.format(copper=COPPER) for a in arguments))
        assert code == 2, error
        errors = [x for x in error.splitlines() if x.startswith("error:")]
        assert len(errors) == 1
        assert message in errors[0]
        assert out == ""


class TestPages:
    def test_everything_has_its_unit(self, copper):
        text = describe(copper)
        for part in ("space group Fm-3m (225)", "elastic constants, GPa", "relaxed ions",
                     "Debye temperature", "all directions", "km/s", "W/(m K)"):  # fmt: skip
            assert part in text
        assert "-0.000" not in text
        assert "UNSTABLE" not in text

    def test_unstable_crystals_are_marked(self):
        found = crystal_properties(bulk("Cu", "bcc", a=2.87), EMT())
        assert not found.stability.stable
        assert "UNSTABLE: this strain costs -" in describe(found)
        with pytest.raises(InputError, match="unstable"):
            plot_properties(found, "never.png")

    def test_plot(self, copper, tmp_path):
        plot_properties(copper, tmp_path / "copper.png")
        assert (tmp_path / "copper.png").read_bytes().startswith(b"\x89PNG")
        with pytest.raises(InputError, match="nonsense"):
            plot_properties(copper, tmp_path / "copper.nonsense")
