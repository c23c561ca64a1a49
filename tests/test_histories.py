"""Load histories: amplitudes, stages one after the other, going on, lengths of steps."""

import json

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import objstress.fem as fe
from objstress.errors import InputError
from objstress.fem import Displacement, StaticProblem, Traction, meshes, simulate
from objstress.laws.analytic import NeoHooke

LAW = NeoHooke(80.0, 60.0)
WALL = Displacement("x=min", (0, 0, 0), "wall")
CYCLE = [(0, 0), (1, 1), (2, 0), (3, 1)]


def bar(*bcs, **options):
    return StaticProblem(meshes.box((2, 1, 1), (4, 2, 2)), LAW, [WALL, *bcs], **options)


def pulled(amplitude=None, by=0.1):
    return bar(Displacement("x=max", (by, None, None), "end", amplitude))


def test_unloading_follows_the_way_back():
    problem = pulled(CYCLE)
    history = problem.solve(12, until=3, progress=False)
    force = {round(r.load, 6): r.reactions["end"][0] for r in history}
    assert force[0.5] == pytest.approx(force[1.5], rel=1e-9)
    assert force[1] == pytest.approx(force[3], rel=1e-9)
    assert abs(force[2]) < 1e-10


@pytest.mark.parametrize("steps", [5, 7])
def test_steps_end_at_the_corners(steps):
    loads = [r.load for r in pulled(CYCLE).solve(steps, until=3, progress=False)]
    assert {1.0, 2.0, 3.0} <= set(loads)


def test_a_table_repeats():
    wave = fe.Amplitude([(0, 0), (1, 1), (2, 0)], cycles=3)
    assert [wave(t) for t in (0.5, 2.5, 3, 4.5, 6, 9)] == [0.5, 0.5, 1, 0.5, 0, 0]
    assert wave.times.tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("table", "cycles", "message"),
    [
        ([(0, 0), (1, 1), (0.5, 0)], 1, r"load factors must rise, but point 3 is at 0\.5 after 1"),
        ([(0, 0), (1, np.nan)], 1, "pairs of finite numbers"),
        ([0, 1], 1, "pairs of finite numbers"),
        ([(-1, 0), (1, 1)], 1, "first load factor is -1"),
        ([(0, 0), (1, 1)], 2, "same factor at both ends"),
        ([(0, 0), (1, 0)], 0, "0 cycles"),
    ],
)
def test_bad_tables_get_one_clear_line(table, cycles, message):
    with pytest.raises(InputError, match=message):
        fe.Amplitude(table, cycles)


def test_every_kind_of_condition_has_an_amplitude():
    """All of them off at the end: the body is as it was."""
    off = [(0, 0), (0.5, 1), (1, 0)]
    plate = fe.RigidPlane("z=max", (0, 0, -0.05), 500.0, "lid", amplitude=off, point=(0, 0, 1),
                          normal=(0, 0, -1))  # fmt: skip
    problem = bar(
        Traction("x=max", (1, 0, 0), amplitude=off),
        fe.Pressure("y=max", 1.0, amplitude=off),
        fe.BodyForce((0, 1, 0), amplitude=lambda t: np.interp(t, *zip(*off, strict=True))),
        plate,
    )
    middle, end = problem.solve(2, progress=False)
    assert middle.energy > 1e-3
    assert np.abs(middle.reactions["lid"]).max() > 0.1
    assert end.energy < 1e-12


def test_solving_again_goes_on():
    once = pulled(by=0.05).solve(4, until=2, progress=False)
    problem = pulled(by=0.05)
    problem.solve(2, progress=False)
    twice = problem.solve(2, progress=False)
    assert [r.load for r in twice] == [0.5, 1.0, 1.5, 2.0]
    assert twice[-1].energy == pytest.approx(once[-1].energy, rel=1e-9)
    with pytest.raises(InputError, match="the load factor is 2 already"):
        problem.solve(until=1.5)
    problem.reset()
    assert [r.load for r in problem.solve(2, progress=False)] == [0.5, 1.0]


def test_stages_go_on_from_where_the_body_is():
    """Pulled by a displacement, held by the force that this took, released."""
    problem = pulled()
    force = problem.solve(2, progress=False)[-1].reactions["end"][0]
    energy, u = problem.history[-1].energy, problem.u.x.array.copy()
    problem.change([WALL, Traction("x=max", (force, 0, 0))])
    # The traction is spread otherwise than the reactions were: the same force, all the same.
    held = problem.solve(2, progress=False)
    assert [r.load for r in held] == [0.5, 1.0, 1.5, 2.0]
    assert held[-1].reactions["wall"][0] == pytest.approx(-force, rel=1e-8)
    assert held[-1].energy == pytest.approx(energy, rel=0.05)
    assert problem.u.x.array == pytest.approx(u, abs=0.02)
    problem.change([WALL])
    free = problem.solve(2, progress=False)
    assert free[-1].load == 3.0
    assert free[-1].energy < 1e-12


def test_a_stage_begins_in_balance():
    """What was there before fades in proportion: half of it is left in the middle."""
    problem = bar(Traction("x=max", (0.1, 0, 0)))
    problem.solve(1, progress=False)
    problem.change([WALL])
    _, middle, end = problem.solve(2, progress=False)
    assert middle.reactions["wall"][0] == pytest.approx(-0.05, rel=1e-8)
    assert end.reactions["wall"][0] == pytest.approx(0, abs=1e-10)


def test_contacts_stay_where_they_are():
    """A lid comes down, and goes on in the next stage from there."""
    lid = {"point": (0, 0, 1), "normal": (0, 0, -1), "name": "lid", "stiffness": 2000.0}
    problem = bar(fe.RigidPlane("z=max", (0, 0, -0.04), **lid))
    down = problem.solve(2, progress=False)[-1].reactions["lid"][2]
    problem.change([WALL, fe.RigidPlane("z=max", (0, 0, -0.04), **lid)])
    held = problem.solve(2, progress=False)
    assert [r.reactions["lid"][2] for r in held[2:]] == pytest.approx([down, down], rel=1e-7)
    problem.change([WALL, fe.RigidPlane("z=max", (0, 0, 0), **lid)])
    assert problem.solve(2, progress=False)[-1].energy < 1e-12


def test_a_refused_stage_changes_nothing():
    problem = pulled()
    problem.solve(1, progress=False)
    with pytest.raises(InputError, match="no node found there"):
        problem.change([WALL, Displacement("x=9", (0, 0, 0))])
    again = problem.solve(1, progress=False)[-1]
    assert again.energy == pytest.approx(pulled().solve(2, until=2, progress=False)[-1].energy)


def test_steps_grow_where_newton_is_at_ease():
    loads = [0, *(r.load for r in pulled(by=0.01).solve(20, largest=5, progress=False))]
    lengths = np.diff(loads)
    assert lengths[:2] == pytest.approx([0.05, 0.05])
    assert lengths.max() > 0.15
    assert lengths.max() <= 0.25 + 1e-12
    assert loads[-1] == 1


def test_amplitudes_and_arc_lengths_do_not_go_together():
    with pytest.raises(InputError, match="give them no amplitudes"):
        fe.follow_path(pulled(CYCLE), progress=False)


CASE = """
law: soft.law
mesh: {shape: box, size: [2, 1, 1], cells: [4, 2, 2]}
displacements: [{where: x=min, value: [0, 0, 0], name: wall}]
stages:
  - {steps: 2, until: 2, displacements: [{where: x=max, value: [0.1, null, null], name: end,
     amplitude: [[0, 0], [1, 1], [2, 0.5]]}]}
  - {steps: 2, tractions: [{where: x=max, value: [0.5, 0, 0]}]}
"""


@pytest.fixture
def folder(tmp_path):
    LAW.save(tmp_path / "soft.law")
    (tmp_path / "case.yaml").write_text(CASE)
    return tmp_path


def test_a_case_runs_its_stages_and_resumes_within_them(folder, monkeypatch):
    whole = simulate(folder / "case.yaml", folder / "out", progress=False)
    assert [s["load"] for s in whole["steps"]] == [1.0, 2.0, 2.5, 3.0]
    assert whole["steps"][-1]["reactions"]["wall"][0] == pytest.approx(-0.5, rel=1e-8)
    # Lost: the last state of the second stage.
    (folder / "out" / "states" / "stage-2" / "00002.safetensors").unlink()
    solves = []
    solve = fe.StaticProblem.step
    monkeypatch.setattr(
        fe.StaticProblem, "step", lambda self, to: solves.append(to) or solve(self, to)
    )
    again = simulate(folder / "case.yaml", folder / "out", progress=False)
    assert solves == [3.0]
    assert json.dumps(again["steps"][:3]) == json.dumps(whole["steps"][:3])
    assert again["steps"][3]["energy"] == pytest.approx(whole["steps"][3]["energy"], rel=1e-9)


def test_a_stage_that_changed_is_not_resumed(folder):
    simulate(folder / "case.yaml", folder / "out", progress=False)
    (folder / "case.yaml").write_text(CASE.replace("[0.5, 0, 0]", "[0.6, 0, 0]"))
    with pytest.raises(InputError, match="other settings: stages"):
        simulate(folder / "case.yaml", folder / "out", progress=False)


def test_a_mesh_with_other_tags_is_not_resumed(folder):
    """The same nodes, cells and conditions; the groups have changed places."""
    pytest.importorskip("gmsh")
    from tests.test_conditions import bar as gmsh_bar

    gmsh_bar(folder / "bar.msh")
    text = """
law: soft.law
mesh: {shape: file, file: bar.msh}
displacements:
  - {where: {tag: left}, value: [0, 0, 0]}
  - {where: {tag: [right]}, value: [0.1, 0, 0], name: end}
steps: 1
"""
    (folder / "case.yaml").write_text(text)
    first = simulate(folder / "case.yaml", folder / "out", progress=False)
    assert first["steps"][-1]["reactions"]["end"][0] > 0
    mesh = (folder / "bar.msh").read_text()
    swapped = mesh.replace('"left"', '"?"').replace('"right"', '"left"').replace('"?"', '"right"')
    (folder / "bar.msh").write_text(swapped)
    with pytest.raises(InputError, match=r"other settings: content of bar\.msh"):
        simulate(folder / "case.yaml", folder / "out", progress=False)
    again = simulate(folder / "case.yaml", folder / "out", progress=False, fresh=True)
    assert again["steps"][-1]["reactions"]["end"][0] > 0
    (folder / "case.yaml").write_text(text.replace("tag: left", "tag: top"))
    with pytest.raises(InputError, match="no group 'top'"):
        simulate(folder / "case.yaml", folder / "out", progress=False, fresh=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1, 1], [2, 0.5]", "[1, 1], [0.5, 0.5]", "load factors must rise"),
        ("{where: x=max, value: [0.5", "{where: {tag: top}, value: [0.5", "no group 'top'"),
        ("{where: x=max, value: [0.5", "{where: {tag: 3}, value: [0.5", "no tags of facets"),
        ("until: 2", "untill: 2", "unknown key .*untill.*did you mean 'until'"),
    ],
)
def test_bad_stages_get_one_clear_line(folder, old, new, message):
    assert old in CASE
    (folder / "case.yaml").write_text(CASE.replace(old, new))
    with pytest.raises(InputError, match=message):
        simulate(folder / "case.yaml", folder / "out", progress=False)


def test_a_loose_tolerance_records_the_state_that_it_leaves():
    end = Displacement("x=max", (-1.5, 0.5, None))
    problem = bar(end, petsc_options={"snes_stol": 0.9})  # a line search fails
    record = problem.solve(progress=False)[-1]
    problem.material.invalidate()
    assert problem.evaluate()
    assert problem.body.stored_energy() == record.energy
    assert problem.body.reactions() == record.reactions


def test_a_stage_ends_where_its_conditions_are_reached():
    problem = pulled()
    problem.solve(until=0.5, progress=False)
    problem.change([WALL, Displacement("x=max", (0.03, None, None), "end")])
    assert problem.solve(progress=False)[-1].load == 1.5
    assert problem.history[-1].displacements["end"][0] == pytest.approx(0.03, rel=1e-9)


def test_a_corner_at_the_end_is_the_end():
    """The last point of a table that repeats is a round-off before the end of the run."""
    wave = fe.Amplitude([(0, 0), (0.075, 1), (0.15, 0)], 3)
    assert wave.times[-1] < 0.45
    assert pulled(wave).solve(6, until=0.45, progress=False)[-1].load == 0.45


def test_another_body_of_the_same_name_begins_at_its_own_place():
    plane = fe.RigidPlane("z=max", (0, 0, -0.02), name="tool", point=(0, 0, 1), normal=(0, 0, -1))
    problem = bar(plane)
    problem.solve(progress=False)
    ball = fe.RigidSphere("z=max", (0, 0, 0), name="tool", centre=(1, 0.5, 3), radius=1.5)
    problem.change([WALL, ball])
    assert problem.solve(progress=False)[-1].energy < 1e-12


@pytest.mark.parametrize("table", [None, [(0, 1), (1, 0)]])
def test_contacts_go_on_as_displacements_do(table):
    """Whatever the amplitude: from where it is, to amplitude times motion at s = 1 and beyond."""
    lid = {"point": (0, 0, 1), "normal": (0, 0, -1), "name": "lid", "stiffness": 2000.0}
    problem = bar(fe.RigidPlane("z=max", (0, 0, -0.02), **lid))
    problem.solve(progress=False)
    problem.change([WALL, fe.RigidPlane("z=max", (0, 0, -0.04), amplitude=table, **lid)])
    factor = (lambda s: s) if table is None else fe.Amplitude(table)
    for record in problem.solve(4, until=3, progress=False)[1:]:
        s = record.load - 1
        expected = -0.04 * factor(s) + max(0, 1 - s) * (-0.02 + 0.04 * factor(0))
        assert record.displacements["lid"][2] == pytest.approx(expected, abs=1e-12)


def test_back_to_the_beginning_after_a_change_at_the_beginning():
    problem = pulled()
    problem.change([WALL, Displacement("x=max", (0.05, None, None), "end")])
    problem.reset()
    assert problem.body.supports.proportional
    fe.follow_path(problem, first=0.5, steps=2, progress=False)


def test_steps_belong_to_the_stages(folder):
    (folder / "case.yaml").write_text(CASE + "steps: 40\n")
    with pytest.raises(InputError, match="steps: give them in each stage"):
        simulate(folder / "case.yaml", folder / "out", progress=False)
