"""What comes out of a run: fields, curves, probes, section forces."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("objstress.fem")

from objstress import InputError, NeoHooke, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness
from objstress.fem import (
    Amplitude,
    Displacement,
    DynamicProblem,
    RigidPlane,
    StaticProblem,
    mean_deformation,
    meshes,
    plot_field,
    plot_history,
    read_history,
    symmetry_plane,
    write_history,
)
from objstress.fem.solve.record import StepRecord
from tests.helpers import read_vtx

COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
SOFT = NeoHooke(20.0, 30.0)
F = np.array([[1.06, 0.05, 0.0], [-0.02, 0.97, 0.03], [0.01, 0.0, 1.02]])
SLIDING = [symmetry_plane(f"{axis}=min") for axis in "xyz"]
CASE = """
law: cu.law
mesh: {shape: box, size: [2, 1, 1], cells: [2, 1, 1]}
symmetry: [x=min, y=min, z=min]
displacements:
  - {where: x=max, value: [0.1, null, null], name: end, amplitude: [[0, 0], [1, 1], [2, 0.4], [3, 1.2]]}
steps: 6
until: 3
"""  # noqa: E501


def uniform(law=COPPER, kind="hexahedron"):
    """A body whose deformation gradient is F everywhere."""
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2), kind, jitter=0.15), law, [mean_deformation(F)]
    )
    problem.solve(1, progress=False)
    return problem


def pulled(steps=1, amplitude=None, **others):
    problem = StaticProblem(
        meshes.box((2, 1, 1), (4, 2, 2)),
        NeoHooke(80.0, 60.0),
        [
            Displacement("x=min", (0, 0, 0), "wall"),
            Displacement("x=max", (0.2, None, None), "end", amplitude),
        ],
    )
    problem.solve(steps, progress=False, **others)
    return problem


# -- fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
def test_strains_and_principal_values_of_a_uniform_state(kind):
    fields = uniform(kind=kind).material.cell_averages()
    sigma = (COPPER.stress(F).numpy() @ F.T) / np.linalg.det(F)
    strain = 0.5 * (F.T @ F - np.eye(3))
    for name, tensor in (("cauchy_stress", sigma), ("green_lagrange", strain)):
        size = np.abs(tensor).max()
        assert fields[name] == pytest.approx(np.broadcast_to(tensor, fields[name].shape),
                                             abs=1e-9 * size), name  # fmt: skip
    for name, tensor in (("principal_stress", sigma), ("principal_strain", strain)):
        values = np.linalg.eigh(tensor)[0][::-1]
        assert values[0] > values[1] > values[2]
        assert np.abs(fields[name] - values).max() < 1e-9 * np.abs(tensor).max(), name
    energy = float(COPPER.energy(F[None])[0])
    assert fields["energy"] == pytest.approx(np.full(len(fields["energy"]), energy))


def test_the_new_fields_are_in_the_file(tmp_path):
    problem = uniform()
    problem.write(tmp_path / "r.bp")
    found, fields = read_vtx(tmp_path / "r.bp"), problem.material.cell_averages()
    for name, width in (("green_lagrange", 9), ("principal_stress", 3), ("principal_strain", 3)):
        assert found[name] == pytest.approx(fields[name].reshape(-1, width), abs=1e-14)
        assert found["places"][name] == "CellData"


def test_components_of_tensors_are_drawn(tmp_path, monkeypatch):
    drawn = []

    def keep(axes, facets, colours, view, zoom=1.0):
        drawn.append(axes.figure)

    problem = pulled()
    monkeypatch.setattr("objstress.fem.results.plots.draw_facets", keep)
    for field, label in [
        ("cauchy_stress_xz", "Cauchy stress xz, GPa"),
        ("principal_stress_1", "principal stress 1, GPa"),
        ("green_lagrange_yy", "Green-Lagrange strain yy"),
    ]:
        plot_field(problem, tmp_path / "a.png", field)
        bar = drawn[-1].axes[-1]
        assert bar.get_ylabel() == label
        values = problem.material.cell_averages()
        values = {
            "cauchy_stress_xz": values["cauchy_stress"][:, 0, 2],
            "principal_stress_1": values["principal_stress"][:, 0],
            "green_lagrange_yy": values["green_lagrange"][:, 1, 1],
        }[field]
        assert bar.get_ylim()[1] == pytest.approx(values.max(), rel=0.2)


# -- history ---------------------------------------------------------------------------------


def test_the_mean_displacement_of_each_support_is_recorded():
    problem = pulled(2)
    assert [r.displacements["wall"] for r in problem.history] == [[0, 0, 0]] * 2
    x = problem.V.tabulate_dof_coordinates()
    end = problem.u.x.array.reshape(-1, 3)[np.isclose(x[:, 0], 2)].mean(axis=0)
    assert problem.history[0].displacements["end"][0] == pytest.approx(0.1)
    # The components that it leaves free, too.
    assert problem.history[1].displacements["end"] == pytest.approx(end, abs=1e-15)


def test_the_motion_of_contacts_is_recorded():
    lid = RigidPlane("z=max", (0, 0, -0.04), name="lid", point=(0, 0, 1), normal=(0, 0, -1),
                     amplitude=Amplitude([(0, 0), (0.5, 1), (1, 0.25)]))  # fmt: skip
    problem = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), COPPER, [*SLIDING, lid])
    problem.solve(2, progress=False)
    moved = [r.displacements["lid"] for r in problem.history]
    assert moved == pytest.approx(np.array([[0, 0, -0.04], [0, 0, -0.01]]))
    problem.change([*SLIDING, RigidPlane("z=max", (0, 0, -0.03), name="lid", point=(0, 0, 1),
                                         normal=(0, 0, -1))])  # fmt: skip
    problem.solve(2, progress=False)
    moved = [r.displacements["lid"][2] for r in problem.history[2:]]
    assert moved == pytest.approx([-0.02, -0.03])


def test_a_motion_records_the_end_of_each_step():
    ends = [Displacement("x=min", (0.1, 0, 0), "hammer")]
    problem = DynamicProblem(
        meshes.box((2, 1, 1), (2, 1, 1)), SOFT, ends, density=1e3, amplitude=lambda t: t
    )
    problem.solve(2, duration=1.0, progress=False)
    assert [r.displacements["hammer"][0] for r in problem.history] == pytest.approx([0.05, 0.1])


def test_old_records_have_no_displacements():
    assert StepRecord(1.0, [1.0], [], None, 0).displacements == {}


def test_the_table_of_a_history_has_its_numbers_and_units(tmp_path):
    problem = pulled(3)
    write_history(problem.history, tmp_path / "new" / "h.csv")
    table = pd.read_csv(tmp_path / "new" / "h.csv")
    assert list(table.columns) == [
        "load factor", "iterations", "energy [GPa length^3]", "min J",
        *(f"{name} {a} [GPa length^2]" for name in ("wall", "end") for a in "xyz"),
        *(f"{name} u_{a} [length]" for name in ("wall", "end") for a in "xyz"),
    ]  # fmt: skip
    assert len(table) == 3
    for row, record in zip(table.to_dict("records"), problem.history, strict=True):
        assert row["load factor"] == record.load
        assert row["iterations"] == len(record.residuals) - 1
        assert row["energy [GPa length^3]"] == record.energy
        assert row["min J"] == record.min_J
        for k, a in enumerate("xyz"):
            assert row[f"end {a} [GPa length^2]"] == record.reactions["end"][k]
            assert row[f"end u_{a} [length]"] == record.displacements["end"][k]
    with pytest.raises(InputError, match=r"ends in \.csv"):
        write_history(problem.history, tmp_path / "h.txt")


def test_a_step_without_a_condition_has_an_empty_cell(tmp_path):
    problem = pulled()
    problem.change([*SLIDING, Displacement("x=max", (0.0, None, None), "other")])
    problem.solve(1, progress=False)
    write_history(problem.history, tmp_path / "h.csv")
    table = pd.read_csv(tmp_path / "h.csv")
    assert table["end x [GPa length^2]"].isna().tolist() == [False, True]
    assert table["other x [GPa length^2]"].isna().tolist() == [True, False]


def test_a_motion_has_its_time_and_energies(tmp_path):
    problem = DynamicProblem(
        meshes.box((2, 1, 1), (2, 1, 1)), SOFT, SLIDING[:1], density=1e3, velocity=(0.1, 0, 0)
    )
    problem.solve(2, duration=1.0, progress=False)
    write_history(problem.history, tmp_path / "h.csv")
    table = pd.read_csv(tmp_path / "h.csv")
    assert table["time [us]"].tolist() == [0.5, 1.0]
    kinetic = table["kinetic [GPa length^3]"]
    assert kinetic.tolist() == [record.kinetic for record in problem.history]


@pytest.fixture
def drawn(monkeypatch):
    """Of the pictures that are drawn: {axis labels: {label: points}}, and the arrows there."""
    found = []

    def keep(figure, *arguments, **options):
        panels = {}
        for axes in figure.axes:
            lines = {line.get_label(): line.get_xydata() for line in axes.lines}
            arrows = [(np.array(t.xyann), np.array(t.xy)) for t in axes.texts]
            panels[axes.get_xlabel(), axes.get_ylabel()] = lines, arrows
        found.append(panels)
        original(figure, *arguments, **options)

    from matplotlib.figure import Figure

    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", keep)
    return found


MOVED = "mean displacement, length"
LOAD = "load factor"
FORCE = "force on the body, GPa length$^2$"
ENERGY = "stored energy, GPa length$^3$"


def test_loading_and_unloading_are_drawn_in_their_order(tmp_path, drawn):
    problem = pulled(6, Amplitude([(0, 0), (1, 1), (2, 0.4), (3, 1.2)]), until=3.0)
    plot_history(problem.history, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (panels,) = drawn
    assert list(panels) == [(MOVED, FORCE), (LOAD, FORCE), (LOAD, ENERGY)]
    lines, arrows = panels[MOVED, FORCE]
    assert [name for name in lines if not name.startswith("_")] == ["end x"]  # the wall is fixed
    forces = [record.reactions["end"][0] for record in problem.history]
    moved = [0, 0.1, 0.2, 0.14, 0.08, 0.16, 0.24]
    assert lines["end x"] == pytest.approx(np.array([moved, [0, *forces]]).T)
    ways = [np.sign(head - tail)[0] for tail, head in arrows]
    assert ways == [1, 1, -1, -1, 1, 1]
    lines, _ = panels[LOAD, FORCE]
    assert [name for name in lines if not name.startswith("_")] == ["wall x", "end x"]
    lines, _ = panels[LOAD, ENERGY]
    assert lines["stored energy"][1:, 1].tolist() == [r.energy for r in problem.history]


def test_one_reaction_and_one_component_are_drawn(tmp_path, drawn):
    history = pulled(2).history
    plot_history(history, tmp_path / "a.svg", reaction="wall", component="y")
    lines, _ = drawn[-1][LOAD, FORCE]
    assert lines["wall y"][1:, 1].tolist() == [r.reactions["wall"][1] for r in history]
    assert (MOVED, FORCE) not in drawn[-1]
    with pytest.raises(InputError, match="'ned': give one of wall, end"):
        plot_history(history, tmp_path / "a.png", reaction="ned")
    with pytest.raises(InputError, match="component = 'w': give one of x, y, z"):
        plot_history(history, tmp_path / "a.png", component="w")
    with pytest.raises(InputError, match="no load step"):
        plot_history([], tmp_path / "a.png")


def test_the_command_draws_what_simulate_wrote(tmp_path, shell, drawn):
    COPPER.save(tmp_path / "cu.law")
    (tmp_path / "case.yaml").write_text(CASE)
    out = tmp_path / "out"
    assert shell("simulate", tmp_path / "case.yaml", "--out", out)[0] == 0
    table = pd.read_csv(out / "history.csv")
    steps = json.loads((out / "history.json").read_text())["steps"]
    assert table["end x [GPa length^2]"].tolist() == [s["reactions"]["end"][0] for s in steps]
    assert table["end u_x [length]"].tolist() == [s["displacements"]["end"][0] for s in steps]
    code, text, error = shell("plot", out)
    assert (code, text) == (0, f"curves drawn in {out}/history.png\n"), error
    lines, _ = drawn[-1][MOVED, FORCE]
    assert lines["end x"][1:, 1].tolist() == table["end x [GPa length^2]"].tolist()
    code, text, _ = shell(
        "plot", out, "--reaction", "end", "--component", "x", "--out", tmp_path / "a.pdf", "--json"
    )
    assert json.loads(text) == {"plot": str(tmp_path / "a.pdf")}
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    # A folder of an earlier version knows no displacements.
    for step in steps:
        del step["displacements"], step["probes"]
    (out / "history.json").write_text(json.dumps({"steps": steps}))
    assert shell("plot", out)[0] == 0
    assert list(drawn[-1]) == [(LOAD, FORCE), (LOAD, ENERGY)]


def test_a_folder_without_a_history_gets_one_line(tmp_path, shell):
    code, text, error = shell("plot", tmp_path)
    assert (code, text) == (2, "")
    assert error == f"error: {tmp_path}: no history.json, give a folder that `simulate` wrote\n"
    (tmp_path / "history.json").write_text('{"steps": [{"lode": 1}]}')
    code, _, error = shell("plot", tmp_path)
    assert code == 2
    assert "not the history of a run" in error
    assert error.count("\n") == 1
    with pytest.raises(InputError, match="not the history"):
        read_history(tmp_path)
