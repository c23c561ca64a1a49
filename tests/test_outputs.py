"""What comes out of a run: fields, curves, probes, section forces."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("objstress.fem")

import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh

from objstress import InputError, NeoHooke, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import random_orientations
from objstress.fem import (
    Amplitude,
    BodyForce,
    Displacement,
    DynamicProblem,
    Grains,
    Pressure,
    RigidPlane,
    StaticProblem,
    Traction,
    mean_deformation,
    meshes,
    plot_field,
    plot_history,
    probe,
    read_history,
    section_force,
    simulate,
    symmetry_plane,
    write_history,
)
from objstress.fem.solve.record import StepRecord
from tests.helpers import read_vtx

ROOT = Path(__file__).parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
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
        (title,), bar = drawn[-1].texts, drawn[-1].axes[-1]
        assert title.get_text() == label
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
    lid = RigidPlane("x=max", (0.04, 0, 0), name="lid", point=(2.1, 0, 0), normal=(-1, 0, 0))
    ends = [Displacement("x=min", (0.1, 0, 0), "hammer"), lid]
    problem = DynamicProblem(
        meshes.box((2, 1, 1), (2, 1, 1)), SOFT, ends, density=1e3, amplitude=lambda t: t
    )
    problem.solve(2, duration=1.0, progress=False)
    for name, moved in (("hammer", [0.05, 0.1]), ("lid", [0.02, 0.04])):
        assert [r.displacements[name][0] for r in problem.history] == pytest.approx(moved)


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
    assert (code, text) == (0, f"drawn in {out}/history.png\n"), error
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


# -- probes ----------------------------------------------------------------------------------

POINTS = np.array([[0.3, 0.4, 0.55], [1, 1, 1], [0, 0.5, 0.2], [0.5, 0.5, 0.5], [0.91, 0.02, 0.7]])


def given(problem, function):
    """The problem with a displacement given at its nodes, as a function of X (n, 3)."""
    problem.u.interpolate(lambda x: function(x[: problem.dim].T).T)
    return problem


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_probes_are_exact_where_the_displacement_is_affine(kind, degree):
    """On a mesh of irregular cells, at a corner, a face and nodes, too."""
    mesh = meshes.box((1, 1, 1), (2, 2, 2), kind, jitter=0.15)
    body = StaticProblem(mesh, COPPER, [mean_deformation(F)], degree=degree)
    seen = probe(given(body, lambda x: x @ (F - np.eye(3)).T), POINTS)
    sigma = COPPER.stress(F).numpy() @ F.T / np.linalg.det(F)
    assert seen.displacement == pytest.approx(POINTS @ (F - np.eye(3)).T, abs=1e-13)
    for k in range(len(POINTS)):
        assert seen.F[k] == pytest.approx(F, abs=1e-12)
        assert seen.green_lagrange[k] == pytest.approx(0.5 * (F.T @ F - np.eye(3)), abs=1e-12)
        assert seen.cauchy_stress[k] == pytest.approx(sigma, abs=1e-10)
        assert seen.energy[k] == pytest.approx(float(COPPER.energy(F[None])[0]))


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
@pytest.mark.parametrize("degree", [2, 3])
def test_probes_follow_polynomials_of_the_elements(kind, degree):
    """A line through the body, u cubic where the elements are."""
    body = StaticProblem(
        meshes.box((1, 1, 1), (3, 2, 2), kind), COPPER, [mean_deformation(F)], degree=degree
    )
    a, b = np.array([0.1, 0.3, -0.2]), np.array([[0.1, 0.2, 0.3], [0.3, -0.1, 0.2], [0, 0.1, 0.2]])
    given(body, lambda x: 0.1 * (x @ a)[:, None] ** (degree - 1) * (x @ b.T))
    line = np.linspace([0.02, 0.1, 0.97], [0.96, 0.9, 0.03], 9)
    seen = probe(body, line)
    s, g = (line @ a)[:, None, None], (line @ b.T)[:, :, None]
    expected = 0.1 * s ** (degree - 1) * b + 0.1 * (degree - 1) * s ** (degree - 2) * g * a
    assert seen.F - np.eye(3) == pytest.approx(expected, abs=1e-12)


def test_probes_of_plane_strain():
    f = F.copy()
    f[2], f[:, 2] = (0, 0, 1), (0, 0, 1)
    for cell in ("triangle", "quadrilateral"):
        body = StaticProblem(meshes.rectangle((1, 1), (3, 2), cell), COPPER, [mean_deformation(f)])
        seen = probe(given(body, lambda x: x @ (f - np.eye(3))[:2, :2].T), POINTS[:, :2])
        assert seen.displacement == pytest.approx(POINTS[:, :2] @ (f - np.eye(3))[:2, :2].T)
        sigma = COPPER.stress(f).numpy() @ f.T / np.linalg.det(f)
        assert seen.cauchy_stress == pytest.approx(np.broadcast_to(sigma, (5, 3, 3)), abs=1e-10)
        with pytest.raises(InputError, match=r"finite coordinates \(n, 2\)"):
            probe(body, POINTS)


@pytest.mark.parametrize("laws", [[COPPER, SOFT], [COPPER, COPPER]])
def test_probes_in_grains_have_the_law_and_the_orientation_there(laws):
    grains = Grains(lambda x: (x[:, 0] > 0.5).astype(int), random_orientations(2), laws)
    body = StaticProblem(meshes.box((1, 1, 1), (4, 2, 2)), grains, [mean_deformation(F)])
    given(body, lambda x: x @ (F - np.eye(3)).T)
    # In another order than the cells, and several in one cell.
    points = np.array([[0.8, 0.4, 0.4], [0.2, 0.4, 0.4], [0.9, 0.1, 0.7], [0.21, 0.41, 0.4]])
    seen = probe(body, points)
    for k, g in enumerate([1, 0, 1, 0]):
        q = grains.orientations[g]
        piola = grains.laws[g].stress(F @ q).numpy() @ q.T
        sigma = piola @ F.T / np.linalg.det(F)
        assert seen.cauchy_stress[k] == pytest.approx(sigma, abs=1e-10)
    assert np.abs(seen.cauchy_stress[0] - seen.cauchy_stress[1]).max() > 0.1
    # The body's own law is as before.
    assert len(body.law.cell_grains) == len(body.material.cells)
    body.material.update(tangent=False)


def test_probes_agree_with_the_averages_of_a_rotated_crystal():
    q = random_orientations(1)[0]
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    body = StaticProblem(mesh, COPPER, [mean_deformation(F)], orientation=q)
    body.solve(1, progress=False)
    seen, fields = probe(body, POINTS), body.material.cell_averages()
    sigma = np.broadcast_to(fields["cauchy_stress"][0], (5, 3, 3))
    assert seen.cauchy_stress == pytest.approx(sigma, abs=1e-9)


def test_points_outside_the_body_are_named():
    body = uniform()
    message = r"point 1 at \(0.5, 1.01, 0.5\) is outside the body, which reaches from \(0, 0, 0\)"
    with pytest.raises(InputError, match=message):
        probe(body, [[0.5, 0.5, 0.5], [0.5, 1.01, 0.5], [7, 7, 7]])
    plate = StaticProblem(meshes.plate_with_hole(cells=(2, 2, 1)), COPPER, [mean_deformation(F)])
    with pytest.raises(InputError, match=r"point 0 at \(0, 0, 0.2\) is outside"):
        probe(plate, [[0, 0, 0.2]])  # in the hole
    # Coordinates that were rounded.
    assert probe(body, [[1.0 + 1e-7, 0.5, 0.5]]).F[0] == pytest.approx(F, abs=1e-9)


def test_a_part_cut_out_of_a_mesh_is_a_body_like_any_other():
    """dolfinx knows no numbers of a file for the cells of a submesh."""
    whole = meshes.box((1, 1, 1), (4, 2, 2))
    half = dmesh.locate_entities(whole, 3, lambda x: x[0] < 0.5 + 1e-9)
    body = StaticProblem(dmesh.create_submesh(whole, 3, half)[0], COPPER, [mean_deformation(F)])
    body.solve(1, progress=False)
    at = POINTS * [0.5, 1, 1]
    assert probe(body, at).displacement == pytest.approx(at @ (F - np.eye(3)).T, abs=1e-12)
    assert re.fullmatch(r"(\d at \(.*?\), det F = .*?(; )?){3}", body.material.worst_cells())


PROBED = CASE + "probes:\n  - {name: tip, at: [2, 1, 1]}\n  - {name: middle, at: [1, 0.5, 0.5]}\n"


def test_probes_of_a_case_are_recorded(tmp_path):
    COPPER.save(tmp_path / "cu.law")
    path, out = tmp_path / "case.yaml", tmp_path / "out"
    path.write_text(CASE)
    simulate(path, out, progress=False)
    # What is only looked at does not make another run of it.
    path.write_text(PROBED)
    steps = simulate(path, out, progress=False)["steps"]
    table = pd.read_csv(out / "history.csv")
    columns = {name: table[name].to_numpy() for name in table.columns}
    stretch = 1 + columns["end u_x [length]"] / 2
    for name, x in (("tip", 2), ("middle", 1)):
        u = columns[f"probe {name} u_x [length]"]
        assert u.tolist() == [s["probes"][name]["displacement"][0] for s in steps]
        assert u == pytest.approx(x * (stretch - 1))
        stress = columns[f"probe {name} sigma_xx [GPa]"]
        assert stress.tolist() == [s["probes"][name]["cauchy_stress"][0][0] for s in steps]
        # The bar is free at its sides.
        area = (1 + columns["probe tip u_y [length]"]) ** 2
        assert stress * area == pytest.approx(columns["end x [GPa length^2]"], rel=1e-6)
        assert columns[f"probe {name} E_xx"] == pytest.approx(0.5 * (stretch**2 - 1))
    assert read_history(out)[0].probes == steps[0]["probes"]
    for old, new, message in [
        ("at: [2, 1, 1]", "at: [2, 1, 1.5]", r"point 0 at \(2, 1, 1.5\) is outside"),
        ("at: [2, 1, 1]", "at: [2, 1]", "probe 'tip': give 3 coordinates"),
        ("name: middle", "name: tip", "probes: .*two are named 'tip'"),
    ]:
        path.write_text(PROBED.replace(old, new))
        with pytest.raises(InputError, match=message):
            simulate(path, tmp_path / "new", progress=False)
    assert not (tmp_path / "new" / "states").exists()


# -- section forces --------------------------------------------------------------------------


def test_the_force_on_a_section_is_the_reaction():
    body = pulled(2)
    force = body.history[-1].reactions["end"]
    size = abs(force[0])
    assert size > 1
    for x in (0.4, 1.0, 1.7):
        section = section_force(body, (x, 0, 0), (1, 0, 0), about=(0, 0.5, 0.5))
        assert section.force == pytest.approx(force, abs=1e-12 * size)
        assert np.abs(section.moment).max() < 1e-9 * size
        back = section_force(body, (x, 0, 0), (-2, 0, 0), about=(0, 0.5, 0.5))
        assert back.force == pytest.approx(-section.force, abs=1e-12 * size)


@pytest.mark.parametrize(("kind", "degree"), [("hexahedron", 2), ("tetrahedron", 1)])
def test_a_section_holds_what_acts_on_the_part_ahead(kind, degree):
    """Force and moment of the nodes of the moved end, on an irregular mesh of two grains."""
    q = random_orientations(2)
    grains = Grains(lambda x: (x[:, 0] > 1).astype(int), q, [COPPER, SOFT])
    mesh = meshes.box((2, 1, 1), (6, 2, 2), kind, jitter=0.1)
    end = Displacement("x=max", (0.1, -0.2, 0.1), "end")
    body = StaticProblem(mesh, grains, [Displacement("x=min", (0, 0, 0)), end], degree=degree)
    body.solve(2, progress=False)
    residual = body.body.assemble_residual().getArray().reshape(-1, 3)
    x = body.V.tabulate_dof_coordinates()
    at_end = np.isclose(x[:, 0], 2)
    c = np.array([0.3, 0.1, -0.2])
    moment = np.cross((x + body.u.x.array.reshape(-1, 3) - c)[at_end], residual[at_end]).sum(axis=0)
    section = section_force(body, (0.9, 0.5, 0.5), (1, 0.2, 0), about=c)
    force = np.array(body.history[-1].reactions["end"])
    assert section.force == pytest.approx(force, abs=1e-8 * np.abs(force).max())
    assert section.moment == pytest.approx(moment, abs=1e-8 * np.abs(moment).max())
    by_point = section_force(body, (0.9, 0.5, 0.5), (1, 0.2, 0))
    away = np.array([0.9, 0.5, 0.5]) - c
    assert by_point.moment == pytest.approx(moment - np.cross(away, force), abs=1e-7)


def test_loads_on_either_side_of_a_section_are_told_apart():
    """Weight, traction and contact pressure on the part ahead, nothing lost at the section."""
    lid = RigidPlane(lambda x: (x[2] > 0.99) & (x[0] > 1.2), (0, 0, -0.01), name="lid",
                     point=(0, 0, 1), normal=(0, 0, -1))  # fmt: skip
    loads = [BodyForce((0.1, 0.2, 0.3)), Traction("y=max", (0.1, 0.0, 0.05)), lid]
    wall = Displacement("x=min", (0, 0, 0), "wall")
    body = StaticProblem(meshes.box((2, 1, 1), (8, 2, 2)), COPPER, [wall, *loads])
    body.solve(1, progress=False)
    push = np.array(body.history[-1].reactions["lid"])
    assert push[2] < -0.1
    for x in (0.5, 1.0):
        ahead = (2 - x) * np.array([0.2, 0.2, 0.35]) + push
        section = section_force(body, (x, 0, 0), (1, 0, 0))
        assert section.force == pytest.approx(ahead, abs=1e-9)
        back = section_force(body, (x, 0, 0), (-1, 0, 0))
        assert back.moment == pytest.approx(-section.moment, abs=1e-9)


def test_a_follower_load_counts_where_it_acts():
    wall = Displacement("x=min", (0, 0, 0), "wall")
    pressure = Pressure(lambda x: (x[2] > 0.99) & (x[0] < 0.51), 0.5)
    body = StaticProblem(meshes.box((2, 1, 1), (8, 2, 2)), SOFT, [wall, pressure])
    body.solve(1, progress=False)
    assert abs(body.history[-1].reactions["wall"][2]) > 0.2
    assert np.abs(section_force(body, (1, 0, 0), (1, 0, 0)).force).max() < 1e-9


def test_sections_of_plane_strain_and_wrong_sections():
    mesh = meshes.rectangle((2, 1), (6, 3))
    end = Displacement("x=max", (0.1, 0.1), "end")
    body = StaticProblem(mesh, COPPER, [Displacement("x=min", (0, 0)), end])
    body.solve(1, progress=False)
    section = section_force(body, (1, 0), (1, 0), about=(0, 0))
    assert section.force[:2] == pytest.approx(body.history[-1].reactions["end"], abs=1e-9)
    assert section.force[2] == section.moment[0] == section.moment[1] == 0
    forces = body.body.assemble_residual().getArray().reshape(-1, 2)
    x = body.V.tabulate_dof_coordinates()[:, :2] + body.u.x.array.reshape(-1, 2)
    turn = (x[:, 0] * forces[:, 1] - x[:, 1] * forces[:, 0])[x[:, 0] > 1.9].sum()
    assert section.moment[2] == pytest.approx(turn, abs=1e-8)
    for point, normal, message in [
        ((3, 0), (1, 0), "all its cells lie behind it"),
        ((-1, 0), (1, 0), "all its cells lie ahead of it"),
        ((1, 0, 0), (1, 0), "point of a section: give 2"),
        ((1, 0), (0, 0), "length zero"),
    ]:
        with pytest.raises(InputError, match=message):
            section_force(body, point, normal)
    moving = DynamicProblem(meshes.box((1, 1, 1), (2, 1, 1)), SOFT, [], density=1e3)
    with pytest.raises(InputError, match="give a StaticProblem"):
        section_force(moving, (0.5, 0, 0), (1, 0, 0))


# -- several ranks ---------------------------------------------------------------------------

SCRIPT = """
import json, sys
import numpy as np
from mpi4py import MPI
from objstress import InputError
from objstress.fem import probe, section_force
from tests.runs import polycrystal

problem = polycrystal(4)
problem.solve(1, progress=False)
# Corners of cells, where grains meet on several ranks, and points within.
x = np.concatenate([np.random.default_rng(1).uniform(size=(20, 3)),
                    np.random.default_rng(2).integers(0, 5, size=(20, 3)) / 4])
seen = probe(problem, x)
section = section_force(problem, (0.4, 0.5, 0.5), (1, 0, 0))
try:
    probe(problem, [[2.0, 0, 0]])
    said = ""
except InputError as error:
    said = str(error)
answer = {"u": seen.displacement.tolist(), "sigma": seen.cauchy_stress.tolist(),
          "force": section.force.tolist(), "moment": section.moment.tolist(), "said": said,
          "moved": problem.history[-1].displacements}
every = MPI.COMM_WORLD.gather(answer)
if MPI.COMM_WORLD.rank == 0:
    print(json.dumps(every))
"""


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_ranks_do_not_change_probes_and_sections(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    answers = {}
    for ranks in (1, 3):
        run = [sys.executable, "-W", "ignore", str(tmp_path / "run.py")]
        run = run if ranks == 1 else [str(MPIEXEC), "-n", str(ranks), *run]
        done = subprocess.run(
            run, cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        answers[ranks] = json.loads(done.stdout.strip().splitlines()[-1])
    (alone,) = answers[1]
    assert len(answers[3]) == 3
    for each in answers[3]:
        for key in ("u", "sigma", "force", "moment"):
            size = np.abs(alone[key]).max()
            assert np.allclose(each[key], alone[key], rtol=0, atol=1e-8 * size), key
        assert each["said"] == alone["said"]
        assert "point 0 at (2, 0, 0) is outside" in each["said"]
        for name, u in alone["moved"].items():
            assert each["moved"][name] == pytest.approx(u, abs=1e-10)


@pytest.mark.parametrize("options", [{"plane": "stress"}, {"element": "mixed"}, {}])
def test_probes_and_sections_know_the_element(options):
    """At the quadrature points a probe is what the cells average; a section bears the reaction."""
    law = NeoHooke(1.0, 50.0)
    ends = [Displacement("x=min", (0, 0), "wall"), Displacement("x=max", (0.1, 0.4), "end")]
    mesh = meshes.rectangle((2, 1), (4, 2))
    problem = StaticProblem(mesh, law, ends, **options)
    record = problem.solve(2, progress=False)[-1]
    material = problem.material
    coordinates = fem.Expression(ufl.SpatialCoordinate(mesh), material.points)
    places = coordinates.eval(mesh, material.cells).reshape(-1, 2)
    assert pytest.approx(material.F, abs=1e-10) == probe(problem, places).F
    section = section_force(problem, (1.05, 0.5), (1, 0))
    assert section.force[:2] == pytest.approx(record.reactions["end"], abs=1e-10)
