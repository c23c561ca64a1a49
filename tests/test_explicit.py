"""Explicit motion: speeds of waves, the stable step, energy, and agreement with implicit steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

from dolfinx import mesh as dmesh
from mpi4py import MPI
from scipy.linalg import eigvalsh

from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import orientation
from objstress.errors import ConvergenceError, InputError
from objstress.fem import (
    BodyForce,
    Displacement,
    DynamicProblem,
    ExplicitProblem,
    Grains,
    Pressure,
    RigidPlane,
    Traction,
    meshes,
)
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.laws.rotated import RotatedLaw

MPIEXEC = Path(sys.executable).with_name("mpiexec")
COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
HEAVY = 8960.0  # kg/m^3
YOUNG, DENSITY, LENGTH = 100.0, 2500.0, 10.0  # GPa, kg/m^3, mm
LAW = NeoHooke(YOUNG / 2, 0.0)  # Poisson ratio 0
SPEED = np.sqrt(YOUNG * 1e9 / DENSITY) * 1e-3  # m/s in mm/us
PERIOD = 4 * LENGTH / SPEED  # of a bar with one end fixed, us
WALL = Displacement("x=min", (0.0, 0.0, 0.0), "wall")


def first_mode(strain):
    def stretched(x):
        u = strain * LENGTH * np.sin(np.pi * x[0] / (2 * LENGTH))
        return np.array([u, 0 * u, 0 * u])

    return stretched


def bar(bcs=(WALL,), cells=(10, 1, 1), kind=ExplicitProblem, **options):
    mesh = meshes.box((LENGTH, 1, 1), cells)
    return kind(mesh, options.pop("law", LAW), list(bcs), **{"density": DENSITY} | options)


def delay(first, second, interval):
    """How much later than the first the second comes: the peak of their correlation, refined."""
    c = np.correlate(second, first, "full")
    k = int(np.argmax(c))
    left, top, right = c[k - 1 : k + 2]
    return (k - len(first) + 1 + 0.5 * (left - right) / (left - 2 * top + right)) * interval


@pytest.mark.parametrize("polarisation", [0, 1, 2])
def test_waves_have_the_speeds_of_the_acoustic_tensor(polarisation):
    """Along [110] of copper: one longitudinal wave and two of shear, by 2 in speed apart.

    Nothing moves but in the direction of the wave's polarisation, so that the bar is a part of an
    infinite crystal. The pulse is a Gauss curve of 6 cells: waves of kh = 1/6, whose error of
    dispersion, (kh)^2 / 24, is 0.1 %.
    """
    q = orientation((1, 1, 0))
    crystal = RotatedLaw(COPPER, q)
    moduli, ways = np.linalg.eigh(crystal.acoustic_tensor(np.eye(3), (1.0, 0.0, 0.0)).numpy())
    which = int(np.argmax(np.abs(ways[polarisation])))
    assert abs(ways[polarisation, which]) == pytest.approx(1.0, abs=1e-9)
    speed = np.sqrt(moduli[which] * 1e9 / HEAVY) * 1e-3
    width, length = 6.0, 60.0
    still = [0.0, 0.0, 0.0]
    still[polarisation] = None
    push = [None, None, None]
    push[polarisation] = 1e-6
    begin, end = 4 * width / speed, (50 + 8 * width) / speed
    problem = ExplicitProblem(
        meshes.box((length, 1, 1), (60, 1, 1)),
        crystal,
        [Displacement(lambda x: x[0] >= 0, still), Displacement("x=min", push)],
        density=HEAVY,
        amplitude=lambda t: np.exp(-0.5 * ((t - begin) * speed / width) ** 2),
    )
    x = problem.V.tabulate_dof_coordinates()
    stations = [int(np.argmin(np.abs(x - [at, 0, 0]).sum(axis=1))) for at in (5.0, 35.0)]
    seen = []
    problem.solve(
        80,
        duration=end,
        progress=False,
        after_step=lambda p, r: seen.append(p.u.x.array.reshape(-1, 3)[stations, polarisation]),
    )
    a, b = np.array(seen).T
    # Up to where the pulse comes back from the far end.
    measured = 30.0 / delay(a, b, end / 80)
    assert measured == pytest.approx(speed, rel=5e-3)


def bodies():
    boxed = {"size": (1.0, 1.2, 0.8), "cells": (3, 2, 2), "jitter": 0.15}
    plane = RigidPlane("x=max", (0, 0, 0), point=(0.995, 0, 0), normal=(-1, 0, 0))
    square = dmesh.create_unit_square(MPI.COMM_WORLD, 3, 3, dmesh.CellType.quadrilateral)
    return {
        "cube": (meshes.box((1, 1, 1), (3, 3, 3)), [], {}),
        "hexahedra": (meshes.box(**boxed), [], {}),
        "held": (meshes.box(**boxed), [Displacement(lambda x: x[0] >= 0, (0, None, 0))], {}),
        "tetrahedra": (meshes.box(**boxed, kind="tetrahedron"), [], {}),
        "quadratic": (meshes.box((1, 1, 1), (2, 2, 1)), [], {"degree": 2}),
        "plane strain": (square, [], {}),
        "plane stress": (square, [], {"plane": "stress"}),
        "mixed": (meshes.box(**boxed), [], {"element": "mixed"}),
        "contact": (meshes.box(**boxed), [plane], {}),
    }


@pytest.mark.parametrize("name", bodies())
def test_the_step_is_below_the_limit_of_the_whole_body_and_not_far(name):
    mesh, bcs, options = bodies()[name]
    problem = ExplicitProblem(
        mesh, COPPER, bcs, density=HEAVY, orientation=orientation((1, 2, 3)), safety=1.0, **options
    )
    body = problem.body
    if name == "contact":  # it touches
        problem.u.x.array[0 :: problem.dim] += 0.01
    body.material.update(tangent=True)
    a = body.assemble_jacobian(bcs=False)
    k = a.getValues(range(a.size[0]), range(a.size[1]))
    free = np.setdiff1d(np.arange(len(k)), body.supports.held)
    squared = eigvalsh((k + k.T)[np.ix_(free, free)] / 2, np.diag(body.masses[free]))[-1]
    mass = body.comm.allreduce(body.masses.sum()) / problem.dim
    volume = body.material.volumes.sum()
    assert mass == pytest.approx(HEAVY * 1e-3 * volume, rel=1e-12)
    limit = 2 / np.sqrt(squared)
    assert 0.98 * limit < problem.stable_step <= limit * (1 + 1e-12)


def test_the_step_of_a_bar_is_the_time_through_a_cell():
    assert bar(safety=1.0).stable_step == pytest.approx(1.0 / SPEED, rel=2e-2)
    pair = Grains(lambda x: (x[:, 0] > 5).astype(int), [np.eye(3)] * 2, LAW)
    both = bar(law=pair, density=[DENSITY, DENSITY / 4], safety=1.0)
    assert both.stable_step == pytest.approx(0.5 / SPEED, rel=2e-2)


def test_a_free_bar_keeps_its_energy():
    problem = bar(displacement=first_mode(0.04), cells=(6, 1, 1))
    history = problem.solve(20, duration=10.4 * PERIOD, progress=False)
    assert history[-1].time == 10.4 * PERIOD
    assert sum(r.steps for r in history) > 250
    start = history[0].kinetic + history[0].energy - history[0].balance
    worst = max(abs(r.balance) for r in history) / start
    assert worst < 1e-3
    assert min(r.kinetic for r in history) < 0.02 * start
    assert max(r.kinetic for r in history) > 0.95 * start
    assert all(r.work == pytest.approx(0.0, abs=1e-9) for r in history)
    # A body as good as linear keeps it to round-off, whatever waves there are.
    gentle = bar([WALL, Traction("x=max", (1e-4, 0.0, 0.0))], cells=(6, 1, 1))
    history = gentle.solve(5, duration=PERIOD, progress=False)
    assert max(abs(r.balance) for r in history) < 1e-4 * max(r.work for r in history)


def test_explicit_and_implicit_steps_agree():
    """All kinds of conditions, each with an amplitude of its own; masses differ by (kh)^2 / 12."""

    def made(kind, **options):
        ramp = [(0.0, 0.0), (0.3 * PERIOD, 1.0), (PERIOD, 0.6)]
        wall = Displacement("x=min", (0.02, 0.0, 0.0), "wall", amplitude=lambda t: np.sin(t) ** 2)
        bcs = [
            wall,
            Traction("x=max", (0.2, 0.05, 0.0), amplitude=ramp),
            Pressure("y=max", 0.1, amplitude=np.sin),
            BodyForce((0.0, 0.0, 0.003), amplitude=ramp),
            RigidPlane("z=min", (0, 0, 0.01), 2.0, "floor", amplitude=np.sin),
        ]
        mesh = meshes.box((3, 1, 1), (9, 3, 3))
        return kind(mesh, LAW, bcs, density=DENSITY, amplitude=lambda t: t, **options)

    explicit, implicit = made(ExplicitProblem), made(DynamicProblem, spectral_radius=0.8)
    run = {"duration": 0.3 * PERIOD, "progress": False}
    ours, theirs = explicit.solve(3, **run), implicit.solve(30, **run)[9::10]
    size = np.abs(implicit.u.x.array).max()
    assert np.abs(explicit.u.x.array - implicit.u.x.array).max() < 0.03 * size
    for one, other in zip(ours, theirs, strict=True):
        assert one.at == pytest.approx(other.at)
        assert one.load == pytest.approx(other.load)
        assert one.work == pytest.approx(other.work, rel=0.05)
        assert abs(one.balance) < 1e-3 * one.work
        assert set(one.reactions) == set(other.reactions) == {"wall", "floor"}
    one, other = ours[-1], theirs[-1]
    assert one.contact > 0
    for name in ("energy", "kinetic", "contact"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=0.04), name
    for name, force in one.reactions.items():
        assert np.allclose(force, other.reactions[name], atol=0.04 * np.abs(force).max()), name


def test_prescribed_displacements_are_exact_and_their_work_balances():
    end = Displacement("x=max", (0.05, None, None), "end")
    problem = bar([WALL, end], amplitude=lambda t: np.sin(t) ** 2)
    right = np.flatnonzero(problem.V.tabulate_dof_coordinates()[:, 0] > LENGTH - 1e-9)

    def look(problem, record):
        u, v, a = (f.x.array.reshape(-1, 3)[right, 0] for f in problem.state().values())
        t = record.time
        assert np.array_equal(u, np.full(len(u), 0.05 * np.sin(t) ** 2))
        assert v == pytest.approx(0.05 * np.sin(2 * t), abs=0.001)
        assert a == pytest.approx(0.1 * np.cos(2 * t), abs=0.002)

    history = problem.solve(7, duration=PERIOD, progress=False, after_step=look)
    assert max(r.work for r in history) > 0.01
    assert max(abs(r.balance) for r in history) < 1e-3 * max(r.work for r in history)


@pytest.mark.parametrize(("stiffness", "safety"), [(100.0, 0.9), (None, 0.2)])
def test_a_bar_bounces_off_a_plane(stiffness, safety):
    speed = 0.1
    plane = RigidPlane("x=min", (0, 0, 0), stiffness, point=(-0.1, 0, 0), normal=(1, 0, 0))
    problem = bar([plane], velocity=(-speed, 0, 0), cells=(5, 1, 1), safety=safety)
    history = problem.solve(20, duration=1.6 * PERIOD, progress=False)
    start = 0.5 * DENSITY * 1e-3 * LENGTH * speed**2
    assert max(r.contact for r in history) > 0.05 * start
    assert history[-1].contact == 0.0
    assert max(abs(r.balance) for r in history) < 1e-2 * start
    momentum = problem.body.masses @ problem.velocity.x.array
    assert momentum > 0.9 * speed * LENGTH * DENSITY * 1e-3


def test_steps_follow_a_law_that_stiffens():
    """Thrown at a wall the bar is compressed by a third and stiffens, between two records."""

    def thrown(safety):
        problem = bar(velocity=(-2.0, 0.0, 0.0), safety=safety)
        record = problem.solve(1, duration=LENGTH / SPEED, progress=False)[-1]
        assert record.min_J < 0.75
        assert record.steps > np.ceil(LENGTH / SPEED / problem.stable_step)
        return abs(record.balance) / (record.kinetic + record.energy)

    whole, half = thrown(0.9), thrown(0.45)
    assert whole < 0.05
    assert half < whole / 3.5  # of second order


def test_a_step_beyond_the_limit_is_refused_and_would_end_with_one_line(monkeypatch):
    with pytest.raises(InputError, match="longer steps are unstable"):
        bar(safety=1.05)
    problem = bar(displacement=first_mode(0.04), cells=(4, 1, 1))
    problem.solve(2, duration=0.1 * PERIOD, progress=False)
    kept = {name: f.x.array.copy() for name, f in problem.state().items()}
    monkeypatch.setattr(problem.solver, "safety", 1.1)
    with pytest.raises(ConvergenceError, match=r"at time .*worst cells: \d+ at \(.*det F"):
        problem.solve(1, duration=100 * PERIOD, progress=False)
    assert problem.time == pytest.approx(0.1 * PERIOD)
    assert all(np.array_equal(f.x.array, kept[name]) for name, f in problem.state().items())
    assert len(problem.history) == 2


def test_loads_that_are_no_numbers_end_with_one_line():
    pulled = Traction("x=max", (0.1, 0.0, 0.0))
    problem = bar([WALL, pulled], amplitude=lambda t: 1.0 if t < 0.5 else np.nan)
    with pytest.raises(ConvergenceError, match=r"no numbers at time 0\.4 .*state at time 0\.3 "):
        problem.solve(10, duration=1.0, progress=False)
    assert np.isfinite(problem.u.x.array).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": None}, "no density"),
        ({"safety": 0.0}, "safety"),
        ({"safety": float("nan")}, "safety"),
    ],
)
def test_bad_problems_get_one_clear_line(options, message):
    with pytest.raises(InputError, match=message):
        bar(**options)


def test_elements_without_lumped_masses_are_refused():
    for cells in (dmesh.CellType.triangle, dmesh.CellType.tetrahedron):
        if cells == dmesh.CellType.triangle:
            mesh = dmesh.create_unit_square(MPI.COMM_WORLD, 1, 1, cells)
        else:
            mesh = meshes.box((1, 1, 1), (1, 1, 1), "tetrahedron")
        with pytest.raises(InputError, match=r"degree 2 on these cells .* not positive"):
            ExplicitProblem(mesh, LAW, [], density=DENSITY, degree=2)
    with pytest.raises(InputError, match="at least 1, a time > 0"):
        bar(cells=(1, 1, 1)).solve(0, duration=1.0)


def test_an_interrupted_run_resumes_to_the_bit(tmp_path):
    class Stop(Exception):
        pass

    def stop(problem, record):
        if record.time > 0.5 * PERIOD:
            raise Stop

    def made(**options):
        moved = Displacement("x=min", (0.1, 0.0, 0.0), "wall", amplitude=[(0, 0), (2.0, 1)])
        pulled = Traction("x=max", (0.5, 0.0, 0.0))
        return bar([moved, pulled], cells=(4, 1, 1), **options)

    run = {"duration": PERIOD, "progress": False}
    whole = made()
    expected = whole.solve(6, **run)
    with pytest.raises(Stop):
        made().solve(6, **run, checkpoint=tmp_path, after_step=stop)
    again = made()
    history = again.solve(6, **run, checkpoint=tmp_path)
    assert [r.to_dict() for r in history] == [r.to_dict() for r in expected]
    for name, function in again.state().items():
        assert np.array_equal(function.x.array, whole.state()[name].x.array)
    with pytest.raises(InputError, match="safety"):
        made(safety=0.5).solve(6, **run, checkpoint=tmp_path)


def pulled():
    floor = RigidPlane("z=min", (0, 0, 0.01), 2.0, "floor")
    problem = bar([WALL, Traction("x=max", (0.5, 0.1, 0.0)), floor], cells=(6, 2, 2))
    last = problem.solve(3, duration=0.3 * PERIOD, progress=False)[-1]
    numbers = [last.kinetic, last.energy, last.contact, last.work, last.balance, last.step]
    return [*numbers, *last.reactions["wall"], *last.reactions["floor"]]


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_two_ranks_agree_with_one():
    code = (
        "import json; from mpi4py import MPI; from tests.test_explicit import pulled\n"
        "answer = pulled()\nif MPI.COMM_WORLD.rank == 0: print(json.dumps(answer))"
    )
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-c", code], capture_output=True, text=True,
        cwd=Path(__file__).parents[1], env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert np.allclose(answer, pulled(), rtol=1e-9, atol=1e-13)
