"""Cases in YAML: what they may say, how they resume, and several ranks."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import BaseModel

pytest.importorskip("objstress.fem")

import objstress.fem as fe
from objstress import InputError, NeoHooke, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import from_bunge, textured_orientations
from objstress.errors import ConvergenceError
from objstress.fem import Case, ResultFile, meshes, read_case, simulate
from tests.helpers import read_vtx

ROOT = Path(__file__).parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
BLOCK = """
law: cu.law
mesh: {shape: box, size: [1, 1, 1], cells: [2, 2, 2]}
steps: 1
"""
SLIDING = "symmetry: [x=min, y=min, z=min]\n"
GRAINS = """
law: [cu.law, soft.law]
mesh: {shape: box, size: [1, 1, 1], cells: [3, 3, 3]}
grains:
  voronoi: {number: 5, seed: 3, periodic: true}
  orientations: {component: [35, 45, 0], spread: 10, seed: 2}
displacements:
  - {where: x=min, value: [0, 0, 0], name: wall}
  - {where: x=max, value: [0.05, null, null], name: end}
steps: 3
"""


@pytest.fixture
def folder(tmp_path):
    SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m").save(tmp_path / "cu.law")
    NeoHooke(20.0, 30.0).save(tmp_path / "soft.law")
    return tmp_path


def write(folder, text):
    path = folder / "case.yaml"
    path.write_text(text)
    return path


def built(folder, text):
    return read_case(write(folder, text)).build(folder)


def solved(folder, text):
    return simulate(write(folder, text), folder / "out", progress=False)["steps"][-1]


def test_a_polycrystal_is_the_one_of_the_same_words_in_python(folder):
    problem = built(folder, GRAINS)
    seeds = fe.random_seeds(5, (1, 1, 1), seed=3)
    points = np.random.default_rng(0).uniform(size=(50, 3))
    grains = problem.law.grains
    assert (grains.ids(points) == fe.Voronoi(seeds, (1, 1, 1))(points)).all()
    expected = textured_orientations(5, from_bunge([[35, 45, 0]])[0], 10, seed=2)
    assert grains.orientations == pytest.approx(expected)
    # Laws are taken in turn, one object for each file.
    first, second = grains.laws[:2]
    assert isinstance(second, NeoHooke)
    assert [law is first for law in grains.laws] == [True, False, True, False, True]


def test_grains_follow_the_body_wherever_it_lies(folder):
    """The plate lies around the origin: its own box is tiled."""
    text = GRAINS.replace(
        "{shape: box, size: [1, 1, 1], cells: [3, 3, 3]}", "{shape: plate-with-hole}"
    )
    assert set(built(folder, text).law.cell_grains) == set(range(5))
    text = GRAINS.replace(
        "{shape: box, size: [1, 1, 1], cells: [3, 3, 3]}",
        "{shape: rectangle, size: [2, 1], cells: [12, 6]}",
    ).replace("0.05, null, null", "0.05, null")
    assert set(built(folder, text).law.cell_grains) == set(range(5))


def test_orientations_come_from_a_file(folder):
    angles = [[10, 20, 30], [40, 50, 60], [0, 0, 0], [1, 2, 3], [4, 5, 6]]
    np.savetxt(folder / "odf.txt", angles)
    text = GRAINS.replace("{component: [35, 45, 0], spread: 10, seed: 2}", "{file: odf.txt}")
    found = built(folder, text).law.grains.orientations
    assert found == pytest.approx(from_bunge(angles))
    with pytest.raises(InputError, match=r"odf\.txt: 5 orientations for 4 grains"):
        built(folder, text.replace("number: 5", "number: 4"))


def test_pressure_and_symmetry_make_a_uniform_state(folder):
    step = solved(folder, BLOCK + SLIDING + "pressures: [{where: x=max, value: 0.5}]")
    # The sides are free: the stress is uniaxial, and the area grows a little.
    force = step["reactions"]["symmetry x=min"][0]
    assert 0.5 < force < 0.51
    assert step["reactions"]["symmetry y=min"][1] == pytest.approx(0, abs=1e-9)


def test_body_force_is_carried_by_the_wall(folder):
    text = BLOCK + "displacements: [{where: z=min, value: [0, 0, 0], name: wall}]\n"
    step = solved(folder, text + "body_force: [0, 0, -0.2]")
    assert step["reactions"]["wall"] == pytest.approx([0, 0, 0.2], abs=1e-9)


def test_mean_deformation_moves_the_boundary(folder):
    text = BLOCK + "mean_deformation: [[1.01, 0.02, 0], [0, 1, 0], [0, 0, 1]]\n"
    solved(folder, text)
    found = read_vtx(folder / "out" / "result.bp")
    x = found["geometry"]
    expected = np.stack([0.01 * x[:, 0] + 0.02 * x[:, 1], 0 * x[:, 0], 0 * x[:, 0]], axis=1)
    assert found["displacement"] == pytest.approx(expected, abs=1e-9)
    plane = text.replace("box, size: [1, 1, 1], cells: [2, 2, 2]", "rectangle, size: [1, 1], "
                         "cells: [2, 2]")  # fmt: skip
    solved(folder, plane + "restart: false")
    with pytest.raises(InputError, match="F33 = 1"):
        built(folder, plane.replace("[0, 0, 1]]", "[0, 0, 1.1]]"))


def test_contacts_press_on_the_body(folder):
    contacts = """contacts:
  - {shape: plane, where: x=max, motion: [-0.02, 0, 0], point: [1, 0, 0], normal: [-1, 0, 0],
     stiffness: 1.0e+5, name: wall}
  - {shape: sphere, where: z=max, motion: [0, 0, -0.02], centre: [0, 0, 3], radius: 2}
"""
    step = solved(folder, BLOCK + SLIDING + contacts)
    assert step["reactions"]["wall"][0] < -1
    assert step["reactions"]["contact 1"][2] < 0
    found = read_vtx(folder / "out" / "result.bp")
    at_wall = found["geometry"][:, 0] == 1
    assert found["displacement"][at_wall, 0] == pytest.approx(-0.02, abs=1e-4)


def test_petsc_gets_its_options(folder):
    text = BLOCK + "displacements: [{where: x=min, value: [0, 0, 0]}, {where: x=max, "
    text += "value: [0.1, 0.1, 0]}]\n"
    with pytest.raises(ConvergenceError, match="max"):
        solved(folder, text + "petsc_options: {snes_max_it: 0}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("voronoi:", "voronio:", "'grains.voronio'; did you mean 'voronoi'"),
        ("number: 5", "nubmer: 5", "'grains.voronoi.nubmer'; did you mean 'number'"),
        ("spread: 10", "spraed: 10", "'grains.orientations.spraed'; did you mean 'spread'"),
        ("steps: 3", "pressure: []", "did you mean 'pressures'"),
        ("steps: 3", "pressures: [{where: x=max, valeu: 1}]", "'pressures.0.valeu'.*'value'"),
        ("steps: 3", "contacts: [{shape: sphere, where: x=max, motion: [0, 0, 0], center: [0, 0, "
         "0], radius: 1}]", "'contacts.0.center'; did you mean 'centre'"),
        ("steps: 3", "contacts: [{shape: cone}]", "contacts.0: .*'cone'"),
        ("steps: 3", "body_force: [1]", "body_force: .*at least 2"),
        ("steps: 3", "restart: perhaps", "restart: "),
        ("steps: 3", "petsc_options: {ksp_rtol: [1]}", "petsc_options: .*rtol is neither a num"),
        ("steps: 3", "symmetry: [x]", "is not a number"),
        ("steps: 3", "orientation: {direction: [1, 1, 1]}", "leave orientation out"),
        ("number: 5", "number: 0", "grains.voronoi.number"),
        ("number: 5", "number: 1", "2 laws for 1 grains"),
        ("component: [35, 45, 0], ", "", "a spread needs the component"),
        ("component: [35, 45, 0]", "file: a.txt", "either file or component"),
        ("{component: [35, 45, 0], spread: 10, seed: 2}", "{file: a.txt}", "a.txt: no such file"),
        (GRAINS[GRAINS.index("grains:"):GRAINS.index("displacements:")], "", "2 laws and no gr"),
        ("{shape: box", "{shape: rectangle", "mesh.size"),
        ("soft.law]", "nowhere.law]", "nowhere.law: no such law file"),
    ],
)  # fmt: skip
def test_bad_keys_get_one_clear_line(folder, old, new, message):
    assert old in GRAINS
    with pytest.raises(InputError, match=message):
        built(folder, GRAINS.replace(old, new))


def keys_of(model, place=""):
    """{dotted key: its field} of a model and of those in it."""
    fields = {}
    for name, field in model.model_fields.items():
        fields[place + name] = field
        waiting = [field.annotation]
        while waiting:
            annotation = waiting.pop()
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                fields |= keys_of(annotation, f"{place}{name}.{annotation.__name__}.")
            waiting += get_args(annotation)
    return fields


def test_every_key_of_a_case_is_described():
    fields = keys_of(Case)
    assert len(fields) > 60
    assert not [key for key, field in fields.items() if not field.description]


def killed_after(folder, path, steps, monkeypatch):
    """A run that ends without any cleaning up."""

    def stop(self, time):
        original(self, time)
        if self.times == steps:
            raise KeyboardInterrupt

    original = ResultFile.write
    with monkeypatch.context() as patch:
        patch.setattr(ResultFile, "write", stop)
        patch.setattr(ResultFile, "discard", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            simulate(path, folder / "out", progress=False)


def test_a_killed_run_resumes_and_its_output_is_complete(folder, monkeypatch):
    path = write(folder, GRAINS)
    whole = simulate(path, folder / "whole", progress=False)
    killed_after(folder, path, 2, monkeypatch)
    assert not (folder / "out" / "result.bp").exists()
    solves = []
    monkeypatch.setattr(
        fe.StaticProblem,
        "step",
        lambda self, target, step=fe.StaticProblem.step: (
            solves.append(target) or step(self, target)
        ),
    )
    result = simulate(path, folder / "out", progress=False)
    assert solves == [1.0]  # the others were kept
    assert [s["load"] for s in result["steps"]] == [s["load"] for s in whole["steps"]]
    assert result["steps"][-1]["energy"] == pytest.approx(whole["steps"][-1]["energy"], rel=1e-10)
    for step in range(3):
        a, b = (read_vtx(folder / out / "result.bp", step) for out in ("whole", "out"))
        assert a["times"].tolist() == b["times"].tolist()
        for name in ("displacement", "cauchy_stress", "grain", "ipf_colour"):
            assert b[name] == pytest.approx(a[name], abs=1e-9), name
    assert simulate(path, folder / "out", progress=False, fresh=True) == whole
    assert len(solves) == 4


def test_states_of_another_case_are_refused_until_it_starts_over(folder):
    path = write(folder, GRAINS)
    simulate(path, folder / "out", progress=False)
    before = (folder / "out" / "history.json").read_bytes()
    changed = GRAINS.replace("0.05", "0.03").replace("seed: 3", "seed: 4")
    write(folder, changed)
    with pytest.raises(InputError, match=r"other settings: displacements; grains.*--fresh"):
        simulate(path, folder / "out", progress=False)
    assert (folder / "out" / "history.json").read_bytes() == before
    assert read_vtx(folder / "out" / "result.bp")["times"][-1] == 1
    NeoHooke(25.0, 30.0).save(folder / "soft.law")
    write(folder, GRAINS)
    with pytest.raises(InputError, match=r"other settings: content of soft.law"):
        simulate(path, folder / "out", progress=False)
    write(folder, changed)
    result = simulate(path, folder / "out", progress=False, fresh=True)
    assert json.loads((folder / "out" / "history.json").read_text()) == result
    # A tolerance changes the answer; what only changes how it is found may change.
    write(folder, changed + "petsc_options: {snes_rtol: 1.0e-12}")
    with pytest.raises(InputError, match="other settings: petsc_options"):
        simulate(path, folder / "out", progress=False)
    write(folder, changed + "petsc_options: {snes_max_it: 30}\noutside: ignore\n")
    assert simulate(path, folder / "out", progress=False)["steps"] == result["steps"]


def test_without_restart_no_states_are_kept(folder):
    solved(
        folder, BLOCK + SLIDING + "restart: false\ntractions: [{where: x=max, value: [1, 0, 0]}]"
    )
    assert sorted(p.name for p in (folder / "out").iterdir()) == [
        "history.csv",
        "history.json",
        "result.bp",
        "surface.safetensors",
    ]


def test_a_run_that_cannot_converge_keeps_what_it_reached(folder):
    """A block of Saint Venant's material crushes: its steps fail from some load on."""
    text = BLOCK.replace("steps: 1", "steps: 2") + (
        "displacements: [{where: x=min, value: [0, 0, 0]}, {where: x=max, value: [-1.2, 0, 0]}]\n"
    )
    path = write(folder, text)
    with pytest.raises(ConvergenceError, match="last accepted state is kept"):
        simulate(path, folder / "out", progress=False)
    history = json.loads((folder / "out" / "history.json").read_text())
    assert not history["complete"]
    loads = [step["load"] for step in history["steps"]]
    assert loads
    assert read_vtx(folder / "out" / "result.bp")["times"].tolist() == loads
    with pytest.raises(ConvergenceError):
        simulate(path, folder / "out", progress=False)
    again = json.loads((folder / "out" / "history.json").read_text())
    assert [step["load"] for step in again["steps"]][: len(loads)] == loads


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_a_run_that_cannot_converge_ends_with_code_3_on_two_ranks(folder):
    text = BLOCK.replace("steps: 1", "steps: 2") + (
        "displacements: [{where: x=min, value: [0, 0, 0]}, {where: x=max, value: [-1.2, 0, 0]}]\n"
    )
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-W", "ignore", "-m", "objstress", "simulate",
         write(folder, text), "--out", folder / "out"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = (x for x in done.stderr.splitlines() if x.startswith("error:"))
    assert re.search(r"state is kept; worst cells: \d+ at \(.*\), det F = ", line)
    history = json.loads((folder / "out" / "history.json").read_text())
    loads = [step["load"] for step in history["steps"]]
    assert loads
    assert not history["complete"]
    assert read_vtx(folder / "out" / "result.bp")["times"].tolist() == loads
    assert len(list((folder / "out" / "states").glob("0*.safetensors"))) == len(loads)


def by_place(found, name):
    """{place of the node or the middle of the cell: value}; what is there twice must agree."""
    x = found["geometry"]
    if found["places"][name] == "CellData":
        x = x[found["connectivity"]].mean(axis=1)
    table = {}
    for place, value in zip(map(tuple, np.round(x, 6) + 0.0), found[name], strict=True):
        assert value == pytest.approx(table.setdefault(place, value), abs=1e-9)
    return table


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_two_ranks_write_what_one_writes(folder):
    path = write(folder, GRAINS + "degree: 2\n")
    one = simulate(path, folder / "one", progress=False)
    # A run of more ranks was killed here.
    (folder / "two" / "result.partial.bp").mkdir(parents=True)
    (folder / "two" / "result.partial.bp" / "data.7").write_text("")
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-W", "ignore", "-m", "objstress", "simulate",
         path, "--out", folder / "two", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads(done.stdout)  # one object, from one rank
    assert json.loads((folder / "two" / "history.json").read_text()) == two
    for a, b in zip(one["steps"], two["steps"], strict=True):
        assert b["energy"] == pytest.approx(a["energy"], rel=1e-9)
        assert b["reactions"]["end"] == pytest.approx(a["reactions"]["end"], rel=1e-7, abs=1e-9)
    for step in range(3):
        a, b = (read_vtx(folder / out / "result.bp", step) for out in ("one", "two"))
        assert a["times"].tolist() == b["times"].tolist()
        for name in ("displacement", "cauchy_stress", "energy", "grain", "ipf_colour"):
            alone, together = by_place(a, name), by_place(b, name)
            assert together.keys() == alone.keys()
            assert len(alone) == (7**3 if name == "displacement" else 27)
            for place, value in alone.items():
                assert together[place] == pytest.approx(value, abs=1e-8), name
    assert not (folder / "two" / "result.bp" / "data.7").exists()


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_two_ranks_complain_once(folder):
    path = write(folder, GRAINS.replace("steps", "stpes"))
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-W", "ignore", "-m", "objstress", "simulate",
         path, "--out", folder / "out"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("did you mean 'steps'") == 1
    assert not (folder / "out").exists()


def run_on_two_ranks(folder, before):
    """The command line with some code before it, `rank` in it."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom mpi4py import MPI\n"
        "import objstress.fem as fe\nfrom objstress.cli.entry import main\n"
        f"rank = MPI.COMM_WORLD.rank\n{before}\n"
        f"sys.argv[1:] = ['simulate', {str(write(folder, GRAINS))!r}, '--out', "
        f"{str(folder / 'out')!r}]\nmain()\n"
    )
    return subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_a_rank_that_fails_alone_ends_the_others(folder):
    done = run_on_two_ranks(
        folder,
        "def broken(self, target): raise RuntimeError('only here')\n"
        "if rank == 1: fe.StaticProblem.step = broken",
    )
    assert done.returncode != 0
    assert "RuntimeError: only here" in done.stderr
    assert not (folder / "out" / "result.partial.bp").exists()


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_what_rank_0_cannot_write_is_said_once(folder):
    (folder / "out" / "history.json").mkdir(parents=True)
    done = run_on_two_ranks(folder, "")
    assert done.returncode == 2
    assert done.stderr.count("history.json: is a folder") == 1
    assert done.stdout == ""  # no rank takes the run for a good one


def test_rectangles_and_their_law_agree(folder):
    """Plane strain of a bar between sliding walls: the closed form of a neo-Hookean column."""
    text = """
law: soft.law
mesh: {shape: rectangle, size: [2, 1], cells: [2, 1], kind: triangle}
symmetry: [x=min, y=min, y=max]
displacements: [{where: x=max, value: [0.4, null], name: end}]
steps: 1
"""
    step = solved(folder, text)
    stretch = 1.2
    force = 20 * (stretch - 1 / stretch) + 30 * np.log(stretch) / stretch
    assert step["reactions"]["end"][0] == pytest.approx(force, rel=1e-9)
    assert meshes.rectangle((2, 1), (2, 1), "triangle").topology.index_map(2).size_global == 4
