"""Runs on several ranks, and runs that were killed."""

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import basix.ufl
import torch
from dolfinx.mesh import create_mesh
from mpi4py import MPI

from objstress.errors import InputError
from objstress.fem import Displacement, DynamicProblem, StaticProblem, Traction, meshes
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.laws.analytic import NeoHooke
from tests.runs import STEPS, one_cell, polycrystal, sphere

ROOT = Path(__file__).parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")


def command(names, checkpoint="-", ranks=1, pause=0.0):
    run = [sys.executable, "-W", "ignore", "-m", "tests.runs", names, str(checkpoint), str(pause)]
    return run if ranks == 1 else [str(MPIEXEC), "-n", str(ranks), *run]


def finished(names, **options):
    done = subprocess.run(
        command(names, **options), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


RUNS = ("polycrystal", "sphere", "one-cell", "cycle", "tagged")


# On three ranks a node may be shared by three, and some ranks have no part of a support; runs of
# more ranks than cores take long, so only these are made.
ON_THREE = ("polycrystal", "one-cell", "cells")


@functools.cache
def answers(ranks):
    """All of them from one start of Python: starts take longer than the runs."""
    names = ON_THREE if ranks == 3 else (*RUNS, "cells", "multigrid")
    return finished(",".join(names), ranks=ranks)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
@pytest.mark.parametrize(
    ("name", "ranks"), [(n, 2) for n in RUNS] + [(n, 3) for n in RUNS if n in ON_THREE]
)
def test_ranks_do_not_change_the_answer(name, ranks):
    one, many = answers(1)[name], answers(ranks)[name]
    assert many["ranks"] == ranks
    assert len(many["history"]) == len(one["history"])
    for a, b in zip(one["history"], many["history"], strict=True):
        first = a["residuals"][0]
        for x, y in zip(a["residuals"], b["residuals"], strict=True):
            assert y == pytest.approx(x, rel=1e-9, abs=1e-9 * first)
        assert b["energy"] == pytest.approx(a["energy"], rel=1e-9)
        assert (b["points"], b["outside"]) == (a["points"], a["outside"])
        assert b["min_J"] == pytest.approx(a["min_J"], rel=1e-9)
        for key, force in a["reactions"].items():
            scale = max(np.abs(f).max() for f in a["reactions"].values())
            assert b["reactions"][key] == pytest.approx(force, abs=1e-9 * scale)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_ranks_do_not_change_periodic_cells():
    """One with voids, one of grains, one triclinic; each rank gets the whole answer."""
    (alone,) = answers(1)["cells"]
    assert len(alone) == 3
    for ranks in (2, 3):
        every = answers(ranks)["cells"]
        assert len(every) == ranks
        for of_rank in every:
            for one, many in zip(alone, of_rank, strict=True):
                assert many.keys() == one.keys()
                for key, value in one.items():
                    scale = np.abs(value).max()
                    assert np.allclose(many[key], value, rtol=0, atol=1e-9 * scale), key


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
@pytest.mark.parametrize("ranks", [1, 2])
def test_multigrid_gives_a_cell_the_answer_of_the_direct_solver(ranks):
    direct = answers(1)["cells"][0][2]
    for (iterative,) in answers(ranks)["multigrid"]:
        assert "unstable_modes" not in iterative
        for name in ("F", "P", "energy", "tangent", "stiffness"):
            for key in {name, f"pulled {name}"} & direct.keys():
                scale = np.abs(direct[key]).max()
                assert np.allclose(iterative[key], direct[key], rtol=0, atol=1e-9 * scale), key


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_all_ranks_refuse_a_cell_in_pieces():
    done = subprocess.run(
        command("plates", ranks=2),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("InputError: the cell's solid is in 2 pieces") == 2


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_ranks_share_the_cores():
    cores = len(os.sched_getaffinity(0))
    for ranks in (2, 3):
        for name in answers(ranks).keys() & set(RUNS):
            assert answers(ranks)[name]["threads"] * ranks <= max(cores, ranks)


def test_threads_are_given_back():
    """The law's threads are set while it is evaluated, and not left behind."""
    seen = []

    class Watching(NeoHooke):
        def response(self, F, order):
            seen.append(torch.get_num_threads())
            return super().response(F, order)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        mesh = meshes.box((1, 1, 1), (1, 1, 1))
        problem = StaticProblem(mesh, Watching(1.0, 1.0), [Displacement("x=0", (0, 0, 0))])
        assert set(seen) <= {problem.material.threads}  # of its stiffness
        seen.clear()
        problem.material.threads = 1
        problem.solve(1, progress=False)
        assert set(seen) == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def killed_once(name, folder, seconds):
    process = subprocess.Popen(
        command(name, folder, pause=0.05), cwd=ROOT, stdout=subprocess.DEVNULL, text=True
    )
    begun = time.time()
    while not folder.is_dir() and process.poll() is None and time.time() - begun < 60:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_run_resumes_to_the_same_end(tmp_path):
    whole = answers(1)["polycrystal"]["history"]
    folder = tmp_path / "states"
    random.seed(0)
    for _ in range(2):
        killed_once("polycrystal", folder, random.uniform(0.0, 0.6))
    resumed = finished("polycrystal", checkpoint=folder)["polycrystal"]["history"]
    assert [r["load"] for r in resumed] == [r["load"] for r in whole]
    for a, b in zip(whole, resumed, strict=True):
        assert b["energy"] == pytest.approx(a["energy"], rel=1e-10)
        assert b["reactions"]["end"] == pytest.approx(a["reactions"]["end"], rel=1e-10)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_a_run_may_resume_on_other_ranks(tmp_path):
    problem = polycrystal()
    states = Checkpoint(problem, tmp_path / "states", STEPS)
    problem.solve(
        STEPS,
        progress=False,
        checkpoint=tmp_path / "states",
    )
    for path in sorted(states.folder.glob("0*"))[3:]:
        path.unlink()
    rest = finished("polycrystal", checkpoint=tmp_path / "states", ranks=2)
    rest = rest["polycrystal"]["history"]
    assert rest[-1]["energy"] == pytest.approx(problem.history[-1].energy, rel=1e-10)


def test_states_of_another_body_are_refused(tmp_path):
    polycrystal(3).solve(1, progress=False, checkpoint=tmp_path / "states")
    with pytest.raises(InputError, match="this one 2; give another folder"):
        polycrystal(3).solve(2, progress=False, checkpoint=tmp_path / "states")
    with pytest.raises(InputError, match="nodes"):
        sphere().solve(1, progress=False, checkpoint=tmp_path / "states")


def test_a_damaged_state_is_named(tmp_path):
    folder = tmp_path / "states"
    polycrystal(2).solve(1, progress=False, checkpoint=folder)
    (folder / "00001.safetensors").write_bytes(b"half of it")
    with pytest.raises(InputError, match=r"00001\.safetensors: not a state of a run"):
        polycrystal(2).solve(1, progress=False, checkpoint=folder)


SOFT = {"law": (60.0, 40.0), "pull": 0.02, "force": 0.3}


def block(law=SOFT["law"], pull=SOFT["pull"], force=SOFT["force"], kind=StaticProblem, **others):
    loads = [Displacement("x=min", (0, 0, 0)), Traction("z=max", (0, 0, force))]
    if pull is not None:
        loads.append(Displacement("x=max", (pull, None, None)))
    return kind(meshes.box((1, 1, 1), (2, 2, 2)), NeoHooke(*law), loads, **others)


@pytest.mark.parametrize(
    "changed",
    [
        {"law": (60.001, 40.0)},
        {"pull": 0.02001},
        {"force": 0.30001},
        {"pull": None},
    ],
)
def test_states_of_other_laws_or_loads_are_refused(tmp_path, changed):
    block().solve(2, progress=False, checkpoint=tmp_path)
    block().solve(2, progress=False, checkpoint=tmp_path)
    with pytest.raises(InputError, match="another law or other loads; give another folder"):
        block(**changed).solve(2, progress=False, checkpoint=tmp_path)


def test_a_body_at_rest_resumes(tmp_path):
    """All its forces and energies are round-off."""
    kept = []
    for _ in range(2):
        body = block(pull=0.0, force=0.0)
        body.solve(2, progress=False, checkpoint=tmp_path)
        kept.append({p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()})
        assert [record.load for record in body.history] == [0.5, 1.0]
        assert np.abs(body.u.x.array).max() < 1e-12
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"density": 8900.0}, "other loads"),
        ({"force": 0.29}, "other loads"),
        ({"law": (61.0, 40.0)}, "other loads"),
        ({"amplitude": lambda t: 1.0 + 0.1 * t}, "other loads"),
        ({"velocity": (0.0, 0.1, 0.0)}, "another velocity at the beginning"),
    ],
)
def test_states_of_another_motion_are_refused(tmp_path, changed, message):
    given = {"kind": DynamicProblem, "density": 8960.0, "pull": None, "velocity": (0.1, 0.0, 0.0)}
    run = {"duration": 0.1, "progress": False, "checkpoint": tmp_path}
    block(**given).solve(2, **run)
    block(**given).solve(2, **run)
    with pytest.raises(InputError, match=message):
        block(**given | changed).solve(2, **run)


def test_a_body_in_free_flight_resumes(tmp_path):
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    kept = []
    for _ in range(2):
        free = DynamicProblem(mesh, NeoHooke(60.0, 40.0), [], density=1e3, velocity=(3.0, 2.0, 1.0))
        free.solve(4, duration=10.0, progress=False, checkpoint=tmp_path)
        kept.append({p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()})
        assert len(free.history) == 4
        moved = free.u.x.array.reshape(-1, 3)
        assert np.allclose(moved, [30.0, 20.0, 10.0], rtol=1e-9)
    assert kept[0] == kept[1]


def test_a_cracked_mesh_keeps_no_states(tmp_path):
    """Nodes at one place cannot be told apart by it."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
    nodes = np.concatenate([corners, corners + np.eye(3)[0]])
    element = basix.ufl.element("Lagrange", "hexahedron", 1, shape=(3,))
    mesh = create_mesh(MPI.COMM_WORLD, np.arange(16).reshape(2, 8), element, nodes)
    held = [Displacement(end, (0, 0, 0)) for end in ("x=min", "x=max")]
    problem = StaticProblem(mesh, NeoHooke(60.0, 40.0), held)
    with pytest.raises(InputError, match="two nodes of the mesh are at one place"):
        problem.solve(1, progress=False, checkpoint=tmp_path / "states")
    assert not any((tmp_path / "states").glob("*"))


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_ranks_fail_together(tmp_path):
    """Rank 0 alone finds the file damaged."""
    one_cell().solve(STEPS, progress=False, checkpoint=tmp_path)
    (tmp_path / "00003.safetensors").write_bytes(b"half of it")
    done = subprocess.run(
        command("one-cell", tmp_path, ranks=2),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("InputError: ") >= 2
    assert "not a state of a run" in done.stderr


def test_a_full_disk_is_an_input_error(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        block().solve(1, progress=False, checkpoint=tmp_path)
