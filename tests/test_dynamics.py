"""Motion in time: energy, frequency, order, momentum, and what a failed step leaves."""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import ufl
from dolfinx import fem

from objstress.errors import ConvergenceError, InputError
from objstress.fem import Displacement, DynamicProblem, Grains, RigidPlane, Traction, meshes
from objstress.laws.analytic import NeoHooke

YOUNG, DENSITY, LENGTH = 100.0, 2500.0, 10.0  # GPa, kg/m^3, mm
LAW = NeoHooke(YOUNG / 2, 0.0)  # Poisson ratio 0
SPEED = np.sqrt(YOUNG * 1e9 / DENSITY) * 1e-3  # m/s in mm/us
PERIOD = 4 * LENGTH / SPEED  # of a bar with one end fixed, us
WALL = Displacement("x=min", (0.0, 0.0, 0.0), "wall")


def first_mode(strain, length=LENGTH):
    def stretched(x):
        u = strain * length * np.sin(np.pi * x[0] / (2 * length))
        return np.array([u, 0 * u, 0 * u])

    return stretched


def bar(bcs=(WALL,), cells=(10, 1, 1), **options):
    return DynamicProblem(
        meshes.box((LENGTH, 1, 1), cells), LAW, list(bcs), **{"density": DENSITY} | options
    )


def tip(problem):
    x = problem.V.tabulate_dof_coordinates()
    return problem.u.x.array.reshape(-1, 3)[np.argmax(x[:, 0]), 0]


def moments(problem):
    """Forms of momentum and angular momentum about the origin, for a density of 1."""
    x = ufl.SpatialCoordinate(problem.mesh) + problem.u
    v = problem.velocity
    turning = ufl.cross(x, v)
    dx = ufl.dx(metadata={"quadrature_degree": 4})
    return [fem.form(w[k] * dx) for w in (v, turning) for k in range(3)]


def test_a_free_bar_keeps_its_energy_for_a_thousand_steps():
    problem = bar(displacement=first_mode(0.04), cells=(6, 1, 1))
    history = problem.solve(1000, duration=25 * PERIOD, progress=False)
    assert len(history) == 1000
    assert history[-1].time == 25 * PERIOD
    start = history[0].kinetic + history[0].energy - history[0].balance
    assert max(abs(r.balance) for r in history) < 1e-3 * start
    # It does vibrate: the energy goes all the way from one form into the other.
    assert min(r.kinetic for r in history) < 0.01 * start
    assert max(r.kinetic for r in history) > 0.95 * start
    assert all(r.rejected == 0 and r.work == pytest.approx(0.0, abs=1e-9) for r in history)


@pytest.mark.parametrize("unit", [1e-3, 1.0])  # mm, m
def test_small_vibrations_have_the_frequency_of_the_bar(unit):
    """A quarter of the wave, lambda = 4 L, stands on the bar: T = 4 L / c, c^2 = E / rho."""
    period = 4 * LENGTH * unit / np.sqrt(YOUNG * 1e9 / DENSITY) * 1e6
    problem = bar(displacement=first_mode(1e-5), length_unit=unit)
    times, tips = [0.0], [1e-5 * LENGTH]
    problem.solve(
        176, duration=2.2 * period, progress=False,
        after_step=lambda p, r: (times.append(r.time), tips.append(tip(p))),
    )  # fmt: skip
    times, tips = np.array(times), np.array(tips)
    k = np.flatnonzero(tips[1:] * tips[:-1] < 0)
    zeros = times[k] - tips[k] * (times[k + 1] - times[k]) / (tips[k + 1] - tips[k])
    assert len(zeros) == 4
    assert 2 * np.diff(zeros).mean() == pytest.approx(period, rel=1e-3)
    assert np.abs(tips[1:]).max() == pytest.approx(tips[0], rel=1e-3)


@pytest.mark.parametrize("radius", [1.0, 0.5, 0.0])
def test_of_second_order_in_the_time_step(radius):
    ends = []
    for steps in (20, 40, 80):
        problem = bar(displacement=first_mode(0.05), spectral_radius=radius, cells=(4, 1, 1))
        problem.solve(steps, duration=0.4 * PERIOD, progress=False)
        ends.append(problem.u.x.array.copy())
    coarse, fine = (np.linalg.norm(a - b) for a, b in pairwise(ends))
    assert np.log2(coarse / fine) == pytest.approx(2.0, abs=0.15)


def test_a_free_flight_keeps_its_momenta():
    """No condition at all: a spinning, breathing block."""
    spin, drift = np.array([0.02, -0.05, 0.3]), np.array([0.5, 0.1, -0.2])

    def velocity(x):
        return drift[:, None] + np.cross(spin, x.T).T + 0.05 * np.sin(3 * x)

    problem = DynamicProblem(
        meshes.box((2, 1, 1), (2, 1, 1), jitter=0.1), LAW, [], density=DENSITY, velocity=velocity
    )
    forms, seen = moments(problem), []

    def look(problem, record):
        seen.append([fem.assemble_scalar(form) for form in forms])

    problem.solve(100, duration=10.0, progress=False, after_step=look)
    seen = np.array(seen)
    assert np.abs(seen - seen[0]).max() < 1e-10 * np.abs(seen[0]).max()
    turned = problem.u.x.array.reshape(-1, 3) - problem.u.x.array.reshape(-1, 3).mean(axis=0)
    assert np.abs(turned).max() > 0.5  # far from small rotations


def test_a_rigid_flight_is_straight():
    problem = bar((), velocity=(1.0, 2.0, -0.5), spectral_radius=0.8)
    history = problem.solve(30, duration=30.0, progress=False)
    assert np.abs(problem.u.x.array.reshape(-1, 3) - [30.0, 60.0, -15.0]).max() < 1e-10
    assert np.abs(problem.velocity.x.array.reshape(-1, 3) - [1.0, 2.0, -0.5]).max() < 1e-12
    mass = DENSITY * 1e-3 * LENGTH  # 1e3 kg/m^3 = GPa us^2 / mm^2
    assert history[-1].kinetic == pytest.approx(0.5 * mass * 5.25, rel=1e-12)


def test_a_small_spectral_radius_dissipates_short_waves_and_spares_long_ones():
    def left(radius, strain, mode):
        def displacement(x):
            u = strain * np.sin((2 * mode - 1) * np.pi * x[0] / (2 * LENGTH))
            return np.array([u, 0 * u, 0 * u])

        problem = bar(displacement=displacement, spectral_radius=radius)
        history = problem.solve(40, duration=PERIOD, progress=False)
        first = history[0].kinetic + history[0].energy - history[0].balance
        return 1 + history[-1].balance / first

    assert left(0.0, 1e-4, mode=8) < 0.01
    assert left(0.0, 1e-4, mode=1) > 0.97
    assert left(1.0, 1e-4, mode=8) == pytest.approx(1.0, abs=1e-4)


def test_a_sudden_load_swings_to_twice_the_static_answer():
    traction = 0.05
    problem = bar([WALL, Traction("x=max", (traction, 0.0, 0.0))])
    tips = []
    history = problem.solve(
        80, duration=PERIOD, progress=False, after_step=lambda p, r: tips.append(tip(p))
    )
    static = traction / YOUNG * LENGTH
    assert max(tips) == pytest.approx(2 * static, rel=0.01)
    assert history[39].work == pytest.approx(traction * tips[39], rel=1e-9)
    assert max(abs(r.balance) for r in history) < 1e-4 * max(r.work for r in history)
    sums = np.array([r.reactions["wall"][0] for r in history])
    # The wall bears nothing until the wave is there, and twice the load while it comes back.
    assert abs(sums[:15]).max() < 0.1 * traction
    assert sums[20:58].mean() == pytest.approx(-2 * traction, rel=0.03)


def test_moving_ends_and_contacts_do_work_that_balances():
    ramp = Displacement("x=max", (0.01, None, None), "end")
    plane = RigidPlane("x=min", (0.02, 0.0, 0.0), normal=(1, 0, 0))
    for bcs in ([WALL, ramp], [plane]):
        problem = bar(bcs, amplitude=lambda t: (t / PERIOD) ** 2)
        history = problem.solve(60, duration=PERIOD, progress=False)
        assert history[-1].load == 1.0
        assert history[-1].work > 0
        assert max(abs(r.balance) for r in history) < 2e-3 * history[-1].work
    free = bar([ramp], amplitude=lambda t: t / PERIOD)
    free.solve(1, duration=PERIOD, progress=False)
    x = free.V.tabulate_dof_coordinates()[:, 0]
    v = free.velocity.x.array.reshape(-1, 3)[:, 0]
    assert v[x > LENGTH - 1e-9] == pytest.approx(0.01 / PERIOD, rel=1e-9)


@pytest.mark.parametrize(("stiffness", "steps", "drift"), [(100.0, 120, 1e-3), (None, 480, 1e-2)])
def test_a_bar_bounces_off_a_plane(stiffness, steps, drift):
    """Free, and thrown: what the blow stores in the contact comes back, a part of it as waves."""
    speed = 0.1
    plane = RigidPlane("x=min", (0, 0, 0), stiffness, point=(-0.1, 0, 0), normal=(1, 0, 0))
    problem = bar([plane], velocity=(-speed, 0, 0), cells=(5, 1, 1))
    history = problem.solve(steps, duration=1.6 * PERIOD, progress=False)
    start = 0.5 * DENSITY * 1e-3 * LENGTH * speed**2
    assert max(r.contact for r in history) > 0.1 * start
    assert history[-1].contact == 0.0
    assert max(abs(r.balance) for r in history) < drift * start
    assert all(abs(r.work) < 1e-9 * start for r in history)
    assert fem.assemble_scalar(moments(problem)[0]) > 0.9 * speed * LENGTH


@pytest.mark.parametrize(("speed", "iterations"), [(3.0, 15), (1.5, 5)])
def test_rejected_steps_leave_no_trace(speed, iterations):
    """Thrown against a wall: in one step cells turn inside out, or the iterations do not end."""

    def thrown(steps):
        problem = bar(
            velocity=(-speed, 0.0, 0.0), cells=(4, 1, 1), petsc_options={"snes_max_it": iterations}
        )
        return problem, problem.solve(steps, duration=3.0, progress=False)

    (problem, history), (other, gentle) = thrown(1), thrown(2)
    assert [r.rejected for r in history] == [1, 0]
    assert [r.rejected for r in gentle] == [0, 0]
    for one, two in zip(history, gentle, strict=True):
        assert one.to_dict() | {"rejected": 0} == two.to_dict()
    for name, function in problem.state().items():
        assert np.array_equal(function.x.array, other.state()[name].x.array)


def test_a_hopeless_step_ends_with_the_last_state_kept():
    problem = bar(amplitude=lambda t: 1.0 if t < 0.5 else np.nan,
                  bcs=[WALL, Traction("x=max", (0.1, 0.0, 0.0))])  # fmt: skip
    with pytest.raises(ConvergenceError, match=r"beyond time 0\.4"):
        problem.solve(10, duration=1.0, progress=False, smallest=1 / 2)
    assert problem.time == pytest.approx(0.4)
    assert np.isfinite(problem.u.x.array).all()


def test_grains_have_their_own_densities():
    grains = Grains(lambda x: (x[:, 0] > LENGTH / 2).astype(int), [np.eye(3)] * 2, LAW)
    problem = DynamicProblem(
        meshes.box((LENGTH, 1, 1), (4, 1, 1)), grains, [],
        density=[1000.0, 3000.0], velocity=(2.0, 0.0, 0.0),
    )  # fmt: skip
    record = problem.solve(1, duration=1.0, progress=False)[-1]
    assert record.kinetic == pytest.approx(0.5 * (1.0 + 3.0) * LENGTH / 2 * 4.0, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": None}, "no density"),
        ({"density": 0.0}, "must be positive"),
        ({"density": float("nan")}, "must be positive"),
        ({"density": [1e3, 2e3]}, "with grains one for each"),
        ({"spectral_radius": 1.1}, "from 0 to 1"),
        ({"length_unit": 0.0}, "length_unit"),
    ],
)
def test_bad_problems_get_one_clear_line(options, message):
    with pytest.raises(InputError, match=message):
        bar(**options)


def test_bad_runs_get_one_clear_line():
    problem = bar(velocity=(1.0, 2.0), cells=(1, 1, 1))
    with pytest.raises(InputError, match="3 components"):
        problem.solve(1, duration=1.0, progress=False)
    with pytest.raises(InputError, match="a time > 0"):
        problem.solve(1, duration=0.0, progress=False)


def test_an_interrupted_run_resumes(tmp_path):
    class Stop(Exception):
        pass

    def stop(problem, record):
        if record.time > 0.5 * PERIOD:
            raise Stop

    def made():
        return bar([WALL, Traction("x=max", (0.5, 0.0, 0.0))], cells=(4, 1, 1))

    run = {"duration": PERIOD, "progress": False}
    whole = made()
    expected = whole.solve(12, **run)
    with pytest.raises(Stop):
        made().solve(12, **run, checkpoint=tmp_path, after_step=stop)
    again = made()
    history = again.solve(12, **run, checkpoint=tmp_path)
    assert [r.to_dict() for r in history] == [r.to_dict() for r in expected]
    for name, function in again.state().items():
        assert np.array_equal(function.x.array, whole.state()[name].x.array)
    with pytest.raises(InputError, match="duration"):
        made().solve(12, duration=2 * PERIOD, progress=False, checkpoint=tmp_path)


def pulled():
    problem = bar([WALL, Traction("x=max", (0.5, 0.1, 0.0))], cells=(6, 2, 2), spectral_radius=0.9)
    last = problem.solve(5, duration=0.3 * PERIOD, progress=False)[-1]
    return [last.kinetic, last.energy, last.work, *last.reactions["wall"], *last.corrections[:2]]


def test_two_ranks_agree_with_one():
    mpiexec = Path(sys.executable).with_name("mpiexec")
    launcher = str(mpiexec) if mpiexec.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec")
    code = (
        "import json; from mpi4py import MPI; from tests.test_dynamics import pulled\n"
        "answer = pulled()\nif MPI.COMM_WORLD.rank == 0: print(json.dumps(answer))"
    )
    done = subprocess.run(
        [launcher, "-n", "2", sys.executable, "-c", code], capture_output=True, text=True,
        cwd=Path(__file__).parents[1], env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert np.allclose(answer, pulled(), rtol=1e-8, atol=1e-12)
