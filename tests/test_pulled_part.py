"""The first simulation of a new law: a body pulled along its longest side."""

import pytest
import yaml

pytest.importorskip("objstress.fem")
pytest.importorskip("gmsh")

from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import InputError
from objstress.fem import simulate
from objstress.laws import SaintVenantKirchhoff
from objstress.workflows import pull_part
from tests.test_conditions import bar


def test_a_bar_is_pulled_along_its_longest_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SaintVenantKirchhoff(cubic_stiffness(160.0, 60.0, 80.0)).save(tmp_path / "x.law")
    bar(tmp_path / "bar.msh")
    history = pull_part("x.law", "bar.msh", "x/part", 0.01)
    assert history["complete"]
    case = yaml.safe_load((tmp_path / "x/part/case.yaml").read_text())
    assert case["displacements"][1]["value"] == [pytest.approx(0.02), 0, 0]
    force = history["steps"][-1]["reactions"]["pulled"]
    # Between a bar that is free to contract and one that is not.
    assert 0.01 * 127 < force[0] < 0.01 * 160 * 1.03
    assert {"history.png", "von_mises.png", "result.bp"} <= {
        p.name for p in (tmp_path / "x/part/results").iterdir()
    }
    again = simulate("x/part/case.yaml", "elsewhere", progress=False)
    assert again["steps"][-1]["reactions"]["pulled"] == pytest.approx(force)


def test_the_mesh_is_refused_before_the_work(shell, tmp_path):
    (tmp_path / "empty.msh").write_text("")
    silicon = "data/silicon/silicon.cif"
    law = ("law", silicon, "--out", str(tmp_path / "x.law"))
    code, _, error = shell(*law, "--mesh", str(tmp_path / "empty.msh"))
    assert code == 2
    assert "empty.msh" in error
    code, _, error = shell(*law, "--case", str(tmp_path / "no.yaml"))
    assert code == 2
    assert "no.yaml" in error
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="empty"):
        pull_part("x.law", tmp_path / "empty.msh", tmp_path, 0.01)
