"""Paths past limit points: against closed forms, load control and displacement control."""

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

from dolfinx import mesh as dmesh
from mpi4py import MPI

from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import ConvergenceError, InputError
from objstress.fem import (
    Displacement,
    DynamicProblem,
    Pressure,
    StaticProblem,
    Traction,
    follow_path,
    meshes,
)
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff

MU, LAMBDA = 80.0, 60.0
RISE, THICKNESS = 0.12, 0.04
FULL = 0.1  # GPa on the crown's cross-section, about three times what the arch bears


def column(load, **options):
    """A cell between sliding walls, pushed along x: F = diag(s, 1, 1)."""
    mesh = dmesh.create_rectangle(
        MPI.COMM_WORLD, [[0, 0], [1, 1]], [1, 1], dmesh.CellType.quadrilateral
    )
    walls = [Displacement("x=min", (0, None)), *(Displacement(f"y={y}", (None, 0)) for y in (0, 1))]
    law = SaintVenantKirchhoff(cubic_stiffness(LAMBDA + 2 * MU, LAMBDA, MU))
    return StaticProblem(mesh, law, [*walls, load], **options)


def arch(load):
    """Half of a shallow arch, clamped at its foot, on rollers at the crown's plane of symmetry."""
    mesh = dmesh.create_rectangle(
        MPI.COMM_WORLD, [[0, -0.5], [1, 0.5]], [10, 1], dmesh.CellType.quadrilateral
    )
    x = mesh.geometry.x
    x[:, 1] = THICKNESS * x[:, 1] + RISE / 2 * (1 - np.cos(np.pi * x[:, 0]))
    held = [Displacement("x=min", (0, 0), "foot"), Displacement("x=max", (0, None))]
    return StaticProblem(mesh, NeoHooke(50.0, 0.0), [*held, load], degree=2)


def crown(problem):
    """How far the crown's section has come down, its mean."""
    x = problem.V.tabulate_dof_coordinates()
    return -problem.u.x.array.reshape(-1, 2)[x[:, 0] > 1 - 1e-9, 1].mean()


def traced(problem, **options):
    """Load factors and crown displacements of a path."""
    crowns = [0.0]
    history = follow_path(
        problem, progress=False, after_step=lambda p, r: crowns.append(crown(p)), **options
    )
    return np.array([0.0] + [r.load for r in history]), np.array(crowns), history


PUSH = Traction("x=max", (0.0, -FULL))


@pytest.fixture(scope="module")
def path():
    problem = arch(PUSH)
    return problem, *traced(problem, first=0.1)


@pytest.mark.parametrize(("first", "rejected"), [(0.02, 0), (0.1, 1)])
def test_a_column_follows_its_closed_form_through_the_limit(first, rejected):
    """P11 = (lambda + 2 mu)/2 (s^3 - s), least at s = 1/sqrt(3); then the load falls.

    Long steps try to push the column through its foot: they are taken back.
    """
    problem, stretches = column(Traction("x=max", (-100.0, 0.0))), []
    history = follow_path(
        problem, first=first, load=None, displacement=0.8, progress=False,
        after_step=lambda p, r: stretches.append(1 + p.u.x.array.reshape(-1, 2)[:, 0].min()),
    )  # fmt: skip
    s, loads = np.array(stretches), np.array([r.load for r in history])
    assert (np.diff(s) < 0).all()
    assert np.allclose(-100 * loads, (LAMBDA + 2 * MU) / 2 * (s**3 - s), atol=1e-8)
    limit = (LAMBDA + 2 * MU) / (3 * np.sqrt(3)) / 100
    assert 0.98 * limit < loads.max() <= limit
    assert sum(r.rejected for r in history) == rejected
    assert s[-1] <= 0.2 < s[-2]
    assert loads[-1] < 0.5 * limit


def test_an_arch_snaps_through_and_bears_again(path):
    _, loads, crowns, history = path
    top = np.argmax(np.diff(loads) < 0)
    bottom = top + np.argmin(loads[top:])
    assert 0 < top < bottom < len(loads) - 1
    assert (np.diff(crowns) > 0).all()
    assert loads[bottom] < 0.0 < loads[top]  # it has to be held back half-way
    assert (np.diff(loads[bottom:]) > 0).all()
    assert loads[-1] == 1.0
    assert crowns[-1] > 2 * RISE  # bent the other way
    scale = max(r.residuals[0] for r in history)
    assert all(r.residuals[-1] < 1e-9 * scale for r in history)


def test_the_limit_load_is_that_of_displacement_control(path):
    _, loads, _, _ = path
    top = np.argmax(np.diff(loads) < 0)
    parabola = np.polynomial.Polynomial.fit(path[2][top - 1 : top + 2], loads[top - 1 : top + 2], 2)
    limit = FULL * parabola(parabola.deriv().roots()[0])
    pushed = arch(Displacement("x=max", (None, -0.12), "crown"))
    forces = [-r.reactions["crown"][1] / THICKNESS for r in pushed.solve(24, progress=False)]
    assert 0 < np.argmax(forces) < 23
    assert limit == pytest.approx(max(forces), rel=1e-3)


def test_the_primary_branch_is_that_of_load_control():
    part = 0.3
    problem, other = arch(PUSH), arch(Traction("x=max", (0.0, -part * FULL)))
    history = follow_path(problem, first=0.05, load=part, progress=False)
    assert history[-1].load == part
    assert len(history) > 2
    record = other.solve(4, progress=False)[-1]
    assert np.abs(problem.u.x.array - other.u.x.array).max() < 1e-9
    assert history[-1].energy == pytest.approx(record.energy, rel=1e-8)


def test_the_path_does_not_depend_on_the_arc_length(path):
    from scipy.interpolate import CubicSpline

    problem, loads, crowns, history = path
    other = arch(PUSH)
    fine = traced(other, first=0.05, longest=1.5, steps=300)
    assert len(fine[2]) > 2 * len(history)
    assert np.abs(problem.u.x.array - other.u.x.array).max() < 1e-8
    between = CubicSpline(fine[1], fine[0])(crowns)
    assert np.abs(between - loads).max() < 1e-5
    assert max(fine[0]) >= max(loads[: np.argmax(np.diff(loads) < 0) + 1])


def test_prescribed_displacements_and_pressure_scale_too():
    shape = Displacement("x=max", (None, -0.2), "crown")
    problem, other = arch(shape), arch(shape)
    record = follow_path(problem, first=0.1, progress=False)[-1]
    assert record.load == 1.0
    assert record.reactions["crown"][1] == pytest.approx(
        other.solve(5, progress=False)[-1].reactions["crown"][1], rel=1e-7
    )
    # In a column that cannot widen a pressure on its end is a dead load.
    loads = [
        [r.load for r in follow_path(column(push), first=0.05, steps=6, progress=False)]
        for push in (Pressure("x=max", 100.0), Traction("x=max", (-100.0, 0.0)))
    ]
    assert np.allclose(*loads, rtol=1e-10)


def test_a_hopeless_path_ends_with_the_last_state_kept():
    """The column's own path ends where it has no length left."""
    problem = column(Traction("x=max", (-100.0, 0.0)))
    with pytest.raises(ConvergenceError, match="last accepted state is kept"):
        follow_path(problem, first=0.2, load=None, smallest=1 / 2, progress=False)
    s = 1 + problem.u.x.array.reshape(-1, 2)[:, 0].min()
    assert 100 * problem.history[-1].load == pytest.approx(
        (LAMBDA + 2 * MU) / 2 * (s - s**3), rel=1e-8
    )


def test_bad_paths_get_one_clear_line():
    with pytest.raises(InputError, match="causes no displacement"):
        follow_path(column(Traction("x=max", (0.0, 0.0))))
    with pytest.raises(InputError, match="indefinite"):
        follow_path(column(Traction("x=max", (1.0, 0.0)), petsc_options={"ksp_type": "cg"}))
    with pytest.raises(InputError, match="first other than 0"):
        follow_path(column(Traction("x=max", (1.0, 0.0))), first=0.0)
    moving = DynamicProblem(meshes.box((1, 1, 1), (1, 1, 1)), NeoHooke(1.0, 1.0), [], density=1e3)
    with pytest.raises(InputError, match="StaticProblem"):
        follow_path(moving)
