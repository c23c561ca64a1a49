"""Stepping, checkpoints and writers on a problem that has nothing but their protocol.

Two fields of other block sizes, and a history at the quadrature points: a step that was taken
twice, or not taken back, shows in it.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import basix.ufl
from dolfinx import fem
from mpi4py import MPI

from objstress.errors import ConvergenceError, InputError
from objstress.fem import QuadratureMaterial, ResultFile, StepRecord, meshes, plot_field
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.protocol import Shown, Steppable
from objstress.fem.solve.stepping import march
from objstress.laws.analytic import NeoHooke
from tests.helpers import read_vtx

ROOT = Path(__file__).parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")


class Creeping:
    """Displacement and potential follow the load; the history adds up each step's squared length.

    A step longer than `longest` or beyond `limit` fails, halfway through its work.
    """

    pace = "load factor"
    record_type = StepRecord

    def __init__(self, cells=2, longest=1.0, limit=1.0):
        self.mesh = meshes.box((1, 1, 1), (cells, cells, cells), "tetrahedron")
        self.comm = self.mesh.comm
        space = fem.functionspace(self.mesh, ("Lagrange", 1, (3,)))
        self.u = fem.Function(space, name="displacement")
        scalars = fem.functionspace(self.mesh, ("Lagrange", 1))
        self.potential = fem.Function(scalars, name="potential")
        element = basix.ufl.quadrature_element("tetrahedron", value_shape=(3, 3), degree=2)
        self.plastic = fem.Function(fem.functionspace(self.mesh, element), name="plastic")
        self.material = QuadratureMaterial(self.u, NeoHooke(80.0, 60.0), 2)
        self.longest, self.limit = longest, limit
        self.at, self.why = 0.0, ""
        self.history, self.tried = [], []

    def state(self):
        return {"displacement": self.u, "potential": self.potential, "plastic": self.plastic}

    def initial(self):
        return self.state()

    def apply_load(self, load):
        self.load = load

    def evaluate(self):
        self.material.update(tangent=True)
        return True

    def settle(self, at):
        self.at = at
        self.apply_load(at)
        self.evaluate()

    def step(self, target):
        self.tried.append(target)
        size = target - self.at
        self.u.interpolate(lambda x: 0.1 * target * x)
        self.potential.interpolate(lambda x: target * x[2])
        self.plastic.interpolate(lambda x: np.outer(size**2 * np.arange(9.0), 1 + x[0]))
        if size > self.longest + 1e-12 or target > self.limit:
            self.why = "too long"
            return False
        self.at = target
        return self.evaluate()

    def record(self, at, rejected):
        return StepRecord(at, [1.0, 0.0], [1.0], None, rejected)

    def report(self, record):
        pass

    def strains_outside(self):
        return np.zeros((0, 6))

    def worst_cells(self):
        return "none"

    def balance(self):
        largest = float(np.abs(self.plastic.x.array).max())
        return {"plastic": self.comm.allreduce(largest, op=MPI.MAX)}

    def noise(self):
        return 0.0

    def is_in_balance(self, kept, record, noise):
        return kept == pytest.approx(self.balance())


def run(problem, steps=2, end=1.0, folder=None, after_step=None, smallest=1 / 256):
    states = None if folder is None else Checkpoint(problem, folder, steps)
    march(
        problem, (0.0, end), steps, smallest=smallest, progress=False, after_step=after_step,
        states=states,
    )  # fmt: skip
    return problem


def test_it_is_what_stepping_and_writers_know():
    steppable: Steppable = Creeping()
    shown: Shown = Creeping()
    for protocol, problem in ((Steppable, steppable), (Shown, shown)):
        names = {n for n in vars(protocol) if not n.startswith("_")} | set(protocol.__annotations__)
        assert all(hasattr(problem, name) for name in names)


def test_a_rejected_step_takes_back_every_field(capsys):
    problem = Creeping(longest=0.25)
    seen = []

    def keep(problem, record):
        seen.append({name: f.x.array.copy() for name, f in problem.state().items()})

    run(problem, after_step=keep)
    assert problem.tried[:2] == [0.5, 0.25]
    assert [r.load for r in problem.history] == [0.25, 0.5, 0.75, 1.0]
    assert [r.rejected for r in problem.history] == [1, 0, 1, 0]
    for values, load in zip(seen, (0.25, 0.5, 0.75, 1.0), strict=True):
        assert np.abs(values["displacement"]).max() == pytest.approx(0.1 * load)
        assert values["potential"].max() == pytest.approx(load)
    assert "step to load factor 0.5000 rejected (too long), next 0.2500" in capsys.readouterr().err


def test_a_hopeless_step_leaves_the_last_accepted_state():
    problem, kept = Creeping(limit=0.5), {}

    def keep(problem, record):
        kept.update({name: f.x.array.copy() for name, f in problem.state().items()})

    with pytest.raises(ConvergenceError, match=r"beyond load factor 0\.5000 \(too long\)"):
        run(problem, after_step=keep)
    assert [r.load for r in problem.history] == [0.5]
    for name, function in problem.state().items():
        assert np.array_equal(function.x.array, kept[name]), name
    assert (problem.load, problem.material.F.max()) == pytest.approx((0.5, 1.05))


def test_fields_of_several_spaces_resume(tmp_path):
    whole = run(Creeping(), 4, folder=tmp_path / "whole")

    def stop(problem, record):
        if record.load > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Creeping(), 4, folder=tmp_path / "part", after_step=stop)
    again = run(Creeping(), 4, folder=tmp_path / "part")
    assert again.tried == [0.75, 1.0]
    for name, function in whole.state().items():
        assert np.array_equal(again.state()[name].x.array, function.x.array), name
    assert whole.plastic.x.array.max() > 0


def resumed(folder):
    """The last half of a run, and how far its history is from what it must be."""
    problem = run(Creeping(), 4, folder=folder)
    x = problem.plastic.function_space.tabulate_dof_coordinates()
    gap = problem.plastic.x.array.reshape(-1, 9) - 0.25**2 * np.arange(9) * (1 + x[:, :1])
    return problem.tried, float(np.abs(gap).max())


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_fields_of_several_spaces_resume_on_other_ranks(tmp_path):
    assert resumed(tmp_path) == ([0.25, 0.5, 0.75, 1.0], 0.0)
    for number in (3, 4):
        (tmp_path / f"{number:05d}.safetensors").unlink()
    code = f"from tests.test_stepping import resumed\nprint(resumed({str(tmp_path)!r}))"
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("([0.75, 1.0], 0.0)") == 2
    assert resumed(tmp_path) == ([], 0.0)


def test_each_space_keeps_its_own_places(tmp_path):
    from safetensors import safe_open

    problem = run(Creeping(), 1, folder=tmp_path)
    with safe_open(tmp_path / "nodes.safetensors", framework="numpy") as file:
        shapes = {name: file.get_tensor(name).shape for name in file.keys()}  # noqa: SIM118
    points = problem.plastic.function_space.dofmap.index_map.size_global
    assert shapes == {
        "x": (27, 3), "x of potential": (27, 3), "x of plastic": (points, 3),
        "displacement": (27, 3), "potential": (27, 1), "plastic": (points, 9),
    }  # fmt: skip
    with pytest.raises(InputError, match=r"nodes.*nodes of potential.*nodes of plastic"):
        run(Creeping(cells=3), 1, folder=tmp_path)
    changed = Creeping()
    changed.plastic.x.array[:] = 1.0
    with pytest.raises(InputError, match="another plastic at the beginning"):
        run(changed, 1, folder=tmp_path)


def test_writers_show_two_fields(tmp_path):
    problem = Creeping()
    file = ResultFile(problem, tmp_path / "r.bp")
    run(problem, after_step=lambda _, record: file.write(record.load))
    file.close()
    fields = read_vtx(tmp_path / "r.bp")
    assert fields["times"].tolist() == [0.5, 1.0]
    assert "plastic" not in fields
    x = fields["geometry"]
    assert fields["potential"][:, 0] == pytest.approx(x[:, 2])
    assert fields["displacement"] == pytest.approx(0.1 * x)
    plot_field(problem, tmp_path / "r.png", "energy")
    assert (tmp_path / "r.png").stat().st_size > 1000
