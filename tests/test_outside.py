"""Strains outside those of the fit are said once a step, or refused, on every path."""

import warnings

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import torch
import ufl
from dolfinx import fem

from objstress import InputError, NeoHooke, OutsideDomainWarning
from objstress.elasticity.strain import strain_size
from objstress.fem import (
    Displacement,
    DynamicProblem,
    Grains,
    PeriodicCell,
    QuadratureMaterial,
    StaticProblem,
    follow_path,
    meshes,
)

UNIT = (1.0, 1.0, 1.0)


class Narrow(NeoHooke):
    """Fitted to |E| <= 1 %, as it says."""

    kind = ""

    def __init__(self, action="warn"):
        super().__init__(20.0, 30.0)
        self.outside_action = action

    def outside(self, F):
        return torch.tensor(strain_size(np.asarray(F).reshape(-1, 3, 3)) > 0.01)


def pulled(law, kind=StaticProblem, pull=0.02, **options):
    ends = [
        Displacement("x=min", (0, 0, 0), "wall"),
        Displacement("x=max", (pull, None, None), "end"),
    ]
    return kind(meshes.box(UNIT, (2, 2, 2)), law, ends, **options)


def said(run):
    """The warnings of a run, one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutsideDomainWarning)
        run()
    return [str(w.message) for w in caught if w.category is OutsideDomainWarning]


def test_a_static_problem_says_it_once_a_step():
    problem = pulled(Narrow())
    lines = said(lambda: problem.solve(4, progress=False))
    outside = [r for r in problem.history if r.outside]
    assert 1 <= len(outside) < 4
    assert len(lines) == len(outside)
    for line, record in zip(lines, outside, strict=True):
        assert line.startswith(f"{record.outside} of {record.points} points lie outside")
        assert record.worst_outside in line
        assert f"at load factor {record.load:.4g}" in line
    worst = strain_size(problem.material.F).max()
    assert outside[-1].worst_outside.endswith(f"|E| = {worst:.3g}")
    assert all(not r.worst_outside for r in problem.history if not r.outside)


def test_a_static_problem_refuses_the_step_and_keeps_the_last_one(tmp_path):
    problem = pulled(Narrow("error"))
    with pytest.raises(InputError, match=r"points lie outside .*worst: cell \d+ at"):
        problem.solve(4, progress=False, checkpoint=tmp_path)
    (record,) = problem.history
    assert record.outside == 0
    assert len(list(tmp_path.glob("0*.safetensors"))) == 1
    u = problem.u.x.array.copy()
    reached = pulled(Narrow("ignore"))
    reached.solve(4, progress=False, after_step=lambda p, r: r.load == record.load and keep(p))
    assert u == pytest.approx(keep.u, abs=1e-12)


def keep(problem):
    keep.u = problem.u.x.array.copy()


@pytest.mark.parametrize("law", [Narrow("ignore"), NeoHooke(20.0, 30.0)])
def test_nothing_is_said_where_nothing_is_to_be_said(law):
    assert said(lambda: pulled(law).solve(2, progress=False)) == []


def test_a_motion_says_it_too():
    problem = pulled(Narrow(), DynamicProblem, density=2000.0, amplitude=lambda t: t)
    lines = said(lambda: problem.solve(4, duration=1.0, progress=False))
    outside = [r for r in problem.history if r.outside]
    assert 1 <= len(lines) == len(outside) < 4
    assert "at time" in lines[0]
    refused = pulled(Narrow("error"), DynamicProblem, density=2000.0, amplitude=lambda t: t)
    with pytest.raises(InputError, match="lie outside"):
        refused.solve(4, duration=1.0, progress=False)
    assert all(r.outside == 0 for r in refused.history)


def test_a_path_says_it_too():
    problem = pulled(Narrow())
    lines = said(lambda: follow_path(problem, first=0.3, steps=4, progress=False))
    assert 1 <= len(lines) == sum(r.outside > 0 for r in problem.history)
    with pytest.raises(InputError, match="lie outside"):
        follow_path(pulled(Narrow("error")), first=0.3, steps=4, progress=False)


def test_the_strictest_law_of_grains_decides():
    laws = [Narrow("ignore"), NeoHooke(20.0, 30.0), Narrow("error")]

    def grain(points):
        return np.where(points[:, 0] < 0.5, 0, 2)

    for action, given in (("error", laws), ("ignore", [laws[0]] * 3), ("warn", laws[:2] * 2)):
        problem = pulled(Grains(grain, np.tile(np.eye(3), (len(given), 1, 1)), given))
        assert problem.law.outside_action == action
    with pytest.raises(InputError, match="lie outside"):
        pulled(Grains(grain, np.tile(np.eye(3), (3, 1, 1)), laws)).solve(1, progress=False)


def test_a_periodic_cell_says_it_once_a_solution():
    cell = PeriodicCell(meshes.box(UNIT, (2, 2, 2), "tetrahedron"), Narrow(), UNIT)
    assert said(lambda: cell.solve(np.diag([1.005, 1.0, 1.0]))) == []
    (line,) = said(lambda: cell.solve(np.diag([1.05, 1.0, 1.0]), tangent=True))
    points = cell.material.owned
    assert line.startswith(f"{points} of {points} points lie outside")
    strict = PeriodicCell(meshes.box(UNIT, (2, 2, 2), "tetrahedron"), Narrow("error"), UNIT)
    with pytest.raises(InputError, match="lie outside"):
        strict.solve(np.diag([1.05, 1.0, 1.0]))


def stretched(material, amount):
    material.u.interpolate(lambda x: np.array([amount * x[0] ** 2, 0 * x[0], 0 * x[0]]))
    material.update(tangent=True)


def test_a_material_in_own_forms_says_it_again_when_it_is_worse():
    mesh = meshes.box(UNIT, (2, 2, 2))

    def material(action):
        u = fem.Function(fem.functionspace(mesh, ("Lagrange", 2, (3,))))
        return QuadratureMaterial(u, Narrow(action), 4)

    one = material("warn")
    assert said(lambda: stretched(one, 0.001)) == []
    first = said(lambda: stretched(one, 0.008))
    assert len(first) == 1
    assert said(lambda: stretched(one, 0.0079)) == []
    assert said(lambda: stretched(one, 0.02)) != first
    strict = material("error")
    stretched(strict, 0.001)
    with pytest.raises(InputError, match="lie outside"):
        stretched(strict, 0.02)
    assert said(lambda: stretched(material("ignore"), 0.02)) == []


def test_an_external_operator_says_it_when_it_is_evaluated():
    pytest.importorskip("dolfinx_external_operator")
    from objstress.fem import stress_operator

    mesh = meshes.box(UNIT, (1, 1, 1))
    u = fem.Function(fem.functionspace(mesh, ("Lagrange", 1, (3,))))
    dx = ufl.dx(domain=mesh, metadata={"quadrature_degree": 2})
    F = np.tile(np.diag([1.05, 1.0, 1.0]), (8, 1, 1))
    operator = stress_operator(Narrow(), u, dx)
    (line,) = said(lambda: operator.external_function((1,))(F))
    assert line.startswith("8 of 8 points lie outside")
    assert said(lambda: operator.external_function((1,))(F)) == []
    with pytest.raises(InputError, match="lie outside"):
        stress_operator(Narrow("error"), u, dx).external_function((1,))(F)


def test_a_law_itself_names_the_worst_point():
    F = np.tile(np.eye(3), (3, 1, 1))
    F[1, 0, 0], F[2, 0, 0] = 1.05, 1.02
    (line,) = said(lambda: Narrow().stress(F))
    assert line == (
        "2 of 3 points lie outside the strains that the law was fitted to; "
        "worst: point 1, |E| = 0.0513"
    )
    with pytest.raises(InputError, match="worst: point 1"):
        Narrow("error").tangent(F)
