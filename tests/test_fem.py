"""FEniCSx: assembly, equilibrium, load stepping, output."""

import json

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import basix.ufl
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI

from objstress import InputError, NeoHooke, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness, youngs_modulus
from objstress.elasticity.orientations import orientation
from objstress.errors import ConvergenceError
from objstress.fem import (
    Displacement,
    QuadratureMaterial,
    StaticProblem,
    Traction,
    meshes,
    read_case,
    simulate,
    verification,
)
from objstress.fem.solve.record import observed_order
from objstress.laws.learned import LearnedLaw
from objstress.laws.rotated import RotatedLaw
from tests.helpers import random_rotation, read_vtx

SILICON = cubic_stiffness(162.0, 64.0, 78.0)
CORNERS = (
    Displacement("x=min & y=min & z=min", (None, 0.0, 0.0)),
    Displacement("x=min & y=max & z=min", (None, None, 0.0)),
)


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
def test_assembly_agrees_with_pure_ufl(kind):
    residual, jacobian = verification.assembly_against_ufl(SILICON, kind)
    assert residual <= 1e-12
    assert jacobian <= 1e-12


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
def test_patch_test_on_an_irregular_mesh(kind, quick_law):
    for law in (NeoHooke(80.0, 60.0), RotatedLaw(quick_law, random_rotation(1))):
        assert verification.patch_test(law, kind) <= 1e-12


def test_jitter_makes_the_mesh_irregular():
    plain, moved = (meshes.box((1, 1, 1), (3, 3, 3), jitter=j) for j in (0.0, 0.15))
    assert np.abs(plain.geometry.x - moved.geometry.x).max() > 0.02


@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_bars_have_the_modulus_of_their_direction(direction, quick_law):
    closed = youngs_modulus(quick_law.stiffness(), np.array(direction))
    assert verification.bar_modulus(quick_law, direction) == pytest.approx(closed, rel=2e-3)


def test_newton_is_quadratic():
    law = SaintVenantKirchhoff(SILICON, "m-3m")
    for direction in ((1, 0, 0), (1, 1, 0), (1, 1, 1)):
        assert verification.newton_order(law, direction) >= 1.8


def test_observed_order_of_known_sequences():
    assert observed_order([1e-1, 1e-2, 1e-4, 1e-8]) == pytest.approx(2.0)
    assert observed_order([1e-1, 1e-2, 1e-3, 1e-4]) == pytest.approx(1.0)
    assert observed_order([1.0, 1e-2, 1e-4, 1e-13]) == pytest.approx(1.0)  # round-off left out
    assert observed_order([1.0, 1e-3]) is None


def test_neo_hooke_column_follows_its_closed_form():
    """Uniaxial stretch with fixed sides: P11 = mu (s - 1/s) + lambda ln(s) / s."""
    mu, lam, stretch = 80.0, 60.0, 1.2
    sides = [Displacement(f"{a}={b}", tuple(0.0 if k == a else None for k in "xyz"))
             for a in "yz" for b in ("min", "max")]  # fmt: skip
    problem = StaticProblem(
        meshes.box((2, 1, 1), (2, 2, 2)),
        NeoHooke(mu, lam),
        [Displacement("x=min", (0.0, None, None), "wall"),
         Displacement("x=max", (2 * (stretch - 1), None, None), "end"), *sides],
    )  # fmt: skip
    record = problem.solve(2, progress=False)[-1]
    exact = mu * (stretch - 1 / stretch) + lam * np.log(stretch) / stretch
    assert record.reactions["end"][0] == pytest.approx(exact, rel=1e-10)
    assert record.reactions["wall"][0] == pytest.approx(-exact, rel=1e-10)
    energy = mu / 2 * (stretch**2 - 1) - mu * np.log(stretch) + lam / 2 * np.log(stretch) ** 2
    assert record.energy == pytest.approx(2 * energy, rel=1e-10)
    assert record.min_J == pytest.approx(stretch, rel=1e-10)


def test_dead_traction_equals_its_reaction():
    problem = StaticProblem(
        meshes.box((3, 1, 1), (3, 2, 2), jitter=0.1),
        SaintVenantKirchhoff(SILICON, "m-3m"),
        [Displacement("x=min", (0.0, None, None), "wall"), *CORNERS,
         Traction("x=max", (2.5, 0.0, 0.0))],
        orientation=orientation((1, 1, 1)),
    )  # fmt: skip
    record = problem.solve(1, progress=False)[-1]
    assert record.reactions["wall"][0] == pytest.approx(-2.5, rel=1e-9)
    # A uniform state: P11 everywhere the traction.
    p = problem.material.stress.x.array.reshape(-1, 3, 3)
    assert np.allclose(p[:, 0, 0], 2.5, atol=1e-8)


def test_reactions_balance_tractions_that_touch_fixed_nodes():
    problem = StaticProblem(
        meshes.box((4, 1, 1), (4, 1, 1)),
        NeoHooke(80.0, 60.0),
        [Displacement("x=min", (0.0, 0.0, 0.0), "wall"), Traction("y=max", (0.1, 0.02, 0.0))],
    )
    record = problem.solve(1, progress=False)[-1]
    assert np.allclose(record.reactions["wall"], [-0.4, -0.08, 0.0], atol=1e-9)
    problem.reset()
    again = problem.solve(1, progress=False)
    assert len(again) == 1
    assert np.allclose(again[-1].reactions["wall"], record.reactions["wall"])


def test_degree_two_and_tetrahedra_agree_on_a_uniform_state():
    answers = []
    for kind, degree in (("hexahedron", 1), ("hexahedron", 2), ("tetrahedron", 2)):
        problem = StaticProblem(
            meshes.box((2, 1, 1), (2, 1, 1), kind),
            NeoHooke(80.0, 60.0),
            [Displacement("x=min", (0.0, None, None), "wall"),
             Displacement("x=max", (0.2, None, None)), *CORNERS],
            degree=degree,
        )  # fmt: skip
        answers.append(problem.solve(1, progress=False)[-1].reactions["wall"][0])
    assert np.ptp(answers) < 1e-8 * abs(answers[0])


def test_rejected_steps_leave_no_trace_and_the_run_continues():
    """Twisting a bar by 60 degrees at once is too much: the step is halved and finished."""
    angle = np.radians(60)

    def twist(x):
        y, z = x[1] - 0.5, x[2] - 0.5
        c, s = np.cos(angle), np.sin(angle)
        return np.array([0 * y, y * c - z * s - y, y * s + z * c - z])

    def solve(steps):
        problem = StaticProblem(
            meshes.box((6, 1, 1), (8, 2, 2)),
            SaintVenantKirchhoff(SILICON, "m-3m"),
            [Displacement("x=min", (0.0, 0.0, 0.0)), Displacement("x=max", twist, "end")],
            petsc_options={"snes_max_it": 6},
        )
        history = problem.solve(steps, progress=False)
        return problem, history

    problem, history = solve(1)
    assert sum(r.rejected for r in history) > 0
    assert history[-1].load == 1.0
    gentle, other = solve(12)
    assert sum(r.rejected for r in other) == 0
    assert np.abs(problem.u.x.array - gentle.u.x.array).max() < 1e-8
    assert history[-1].energy == pytest.approx(other[-1].energy, rel=1e-9)


def test_a_hopeless_step_ends_with_the_last_state_kept():
    """Pressing a block through itself: det F <= 0 whatever the step."""
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)),
        SaintVenantKirchhoff(SILICON, "m-3m"),
        [Displacement("x=min", (0.0, 0.0, 0.0)), Displacement("x=max", (-1.5, 0.0, 0.0))],
    )
    with pytest.raises(ConvergenceError, match="last accepted state is kept"):
        problem.solve(1, progress=False, smallest=1 / 8)
    reached = problem.history[-1].load if problem.history else 0.0
    assert reached < 1
    end = problem.u.x.array.reshape(-1, 3)[:, 0].min()
    assert end == pytest.approx(-1.5 * reached, abs=1e-12)


def test_tangent_and_residual_belong_together(quick_law):
    """Assembled Jacobian times a direction against differences of the assembled residual."""
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 1, 1), jitter=0.1), quick_law, [Displacement("x=min", (0, 0, 0))]
    )
    rng = np.random.default_rng(0)
    u = problem.u.x.array
    u[:] = 0.01 * rng.normal(size=len(u))
    base, direction = u.copy(), rng.normal(size=len(u))
    problem.material.update(tangent=True)
    jacobian = problem.body.assemble_jacobian(bcs=False)
    vector = jacobian.createVecRight()
    vector.setArray(direction)
    product = (jacobian * vector).getArray()
    h, sides = 1e-5, []
    for sign in (1, -1):
        u[:] = base + sign * h * direction
        problem.material.update(tangent=False)
        sides.append(problem.body.assemble_residual().getArray().copy())
    numeric = (sides[0] - sides[1]) / (2 * h)
    assert np.abs(numeric - product).max() < 1e-6 * np.abs(product).max()


def test_result_file_holds_every_field(tmp_path):
    problem = verification.pulled_plate(
        SaintVenantKirchhoff(SILICON, "m-3m"), (1, 1, 0), cells=(2, 2, 1), progress=False
    )
    path = tmp_path / "new" / "folder" / "plate.bp"
    problem.write(path)
    fields = read_vtx(path)
    assert set(fields) >= {"displacement", "cauchy_stress", "von_mises", "J", "energy", "outside"}
    assert len(fields["connectivity"]) == 16
    averages = problem.material.cell_averages()
    volume = problem.material.volumes.sum()
    hole = 8 * 0.5 * 0.5**2 * np.sin(np.pi / 4)  # an octagon
    assert volume == pytest.approx((16 - hole) * 0.4, rel=1e-10)
    assert averages["cauchy_stress"].shape == (16, 3, 3)
    # Mean of sigma J = P F^T over the body: the virial of the reactions.
    j, sigma = averages["J"], averages["cauchy_stress"]
    assert np.abs(sigma - sigma.transpose(0, 2, 1)).max() < 1e-10
    assert (j > 0).all()


def test_own_forms_can_use_the_material():
    """The quadrature functions are plain UFL coefficients: a user's form may hold them."""
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    law = NeoHooke(80.0, 60.0)
    problem = StaticProblem(mesh, law, [Displacement("x=min", (0, 0, 0))])
    problem.u.interpolate(lambda x: np.array([0.1 * x[0], 0 * x[0], 0 * x[0]]))
    problem.material.update(tangent=False)
    mean = fem.assemble_scalar(fem.form(problem.material.stress[0, 0] * problem.material.dx))
    assert mean == pytest.approx(float(law.stress(np.diag([1.1, 1, 1]))[0, 0]), rel=1e-12)
    assert isinstance(problem.material.residual(ufl.TestFunction(problem.V)), ufl.Form)


class Counting(NeoHooke):
    """How often it was evaluated, and with which modulus."""

    def response(self, F, order):
        self.calls = getattr(self, "calls", 0) + 1
        return super().response(F, order)


def test_a_material_is_evaluated_once_for_the_same_inputs():
    law = Counting(80.0, 60.0)
    problem = StaticProblem(
        meshes.box((1, 1, 1), (1, 1, 1)), law, [Displacement("x=min", (0, 0, 0))]
    )
    material = problem.material
    assert material.inputs == [problem.u]
    law.calls = 0  # its stiffness was asked for before
    for tangent, calls in ((False, 1), (False, 1), (True, 2), (True, 2), (False, 2)):
        material.update(tangent=tangent)
        assert law.calls == calls
    problem.u.x.array[-1] += 0.01
    material.update(tangent=False)
    assert law.calls == 3


def test_a_material_is_evaluated_again_when_anything_it_depends_on_changes():
    """A second field, a constant, the law, or what only the caller knows of; u stays."""

    class Heated(QuadratureMaterial):
        """Softer where it is warmer."""

        def __init__(self, u, law, degree):
            super().__init__(u, law, degree)
            mesh = u.function_space.mesh
            self.heat = self.cell_function(np.zeros(len(self.cells)))
            self.scale = fem.Constant(mesh, 1.0)
            self.inputs += [self.heat, self.scale]

        def _evaluate(self, tangent):
            super()._evaluate(tangent)
            warm = np.repeat(self.heat.x.array, len(self.weights))[:, None]
            values = self.stress.x.array.reshape(-1, 9)
            values *= float(self.scale.value) * (1 - warm)

    mesh = meshes.box((1, 1, 1), (2, 1, 1))
    u = fem.Function(fem.functionspace(mesh, ("Lagrange", 1, (3,))))
    u.interpolate(lambda x: 0.1 * x)
    law = Counting(80.0, 60.0)
    material = Heated(u, law, 2)

    def stress():
        material.update(tangent=False)
        return material.piola()[0, 0, 0]

    cold = stress()
    material.heat.x.array[:] = 0.5
    assert stress() == pytest.approx(0.5 * cold)
    material.scale.value = 2.0
    assert stress() == pytest.approx(cold)
    material.law = NeoHooke(160.0, 120.0)
    assert stress() == pytest.approx(2 * cold)
    material.law = law
    assert stress() == pytest.approx(cold)
    calls = law.calls
    assert stress() == pytest.approx(cold)
    assert law.calls == calls
    law.mu, law.lam = 160.0, 120.0  # in place
    material.invalidate()
    assert stress() == pytest.approx(2 * cold)


def _shell():
    x = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5]], dtype=float)
    triangle = basix.ufl.element("Lagrange", "triangle", 1, shape=(3,))
    return dmesh.create_mesh(MPI.COMM_SELF, np.array([[0, 1, 2], [1, 3, 2]]), triangle, x)


def _inverted_mesh():
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    mesh.geometry.x[13] = [1.4, 1.4, 1.4]
    return mesh


def _folded_mesh():
    """A node beyond the face of its tetrahedra: each of them is whole, some lie upon others."""
    mesh = meshes.box((1, 1, 1), (2, 2, 2), "tetrahedron")
    middle = np.isclose(mesh.geometry.x, 0.5).all(axis=1)
    mesh.geometry.x[middle] = [0.8, 0.1, 0.15]
    return mesh


@pytest.mark.parametrize(
    ("mesh", "bcs", "message"),
    [
        (_shell, [Displacement("x=0", (0, 0, 0))], "give solid cells in three"),
        (_inverted_mesh, [Displacement("x=0", (0, 0, 0))], "inverted or degenerate"),
        (_folded_mesh, [Displacement("x=0", (0, 0, 0))], "has inverted cells: they overlap"),
        (None, [Displacement("x=7", (0, 0, 0))], "no node found there"),
        (None, [Displacement("q=7", (0, 0, 0))], "give planes"),
        (None, [Displacement("x=hello", (0, 0, 0))], "is not a number"),
        (None, [], "free to move"),
        (None, [Displacement("x=0", (0, 0, 0)), Traction("x=0.3", (1, 0, 0))], "no boundary facet"),
    ],
)  # fmt: skip
def test_bad_problems_get_one_clear_line(mesh, bcs, message):
    mesh = mesh() if mesh else meshes.box((1, 1, 1), (2, 2, 2))
    with pytest.raises(InputError, match=message):
        StaticProblem(mesh, NeoHooke(1.0, 1.0), bcs)


CASE = """
law: a.law
mesh: {shape: box, size: [2, 1, 1], cells: [2, 1, 1]}
displacements:
  - {where: x=min, value: [0, 0, 0], name: wall}
  - {where: x=max, value: [0.1, null, null]}
steps: 2
"""


@pytest.fixture
def case(tmp_path):
    NeoHooke(80.0, 60.0).save(tmp_path / "a.law")
    path = tmp_path / "case.yaml"
    path.write_text(CASE)
    return path


def test_case_runs_and_writes_its_history(case, tmp_path):
    result = simulate(case, tmp_path / "out", progress=False)
    assert [s["load"] for s in result["steps"]] == [0.5, 1.0]
    assert json.loads((tmp_path / "out" / "history.json").read_text()) == result
    assert read_vtx(tmp_path / "out" / "result.bp")["times"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps", "stpes", "did you mean 'steps'"),
        ("law:", "lwa:", "did you mean 'law'"),
        ("size:", "szie:", "mesh.szie.*did you mean 'size'"),
        ("[0.1, null", "[.nan, null", "finite"),
        ("cells: [2, 1, 1]", "cels: [2, 1, 1]", "did you mean 'cells'"),
        ("name: wall", "nmae: wall", "did you mean 'name'"),
        ("shape: box", "shape: ball", "mesh"),
        ("steps: 2", "steps: 0", "steps"),
        ("law: a.law", "", "law"),
        ("steps: 2", "steps: [", "not YAML"),
        (CASE, "- a\n- b", "mapping of keys"),
    ],
)
def test_bad_cases_name_the_place_and_the_nearest_key(case, old, new, message):
    case.write_text(CASE.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_case(case)


def test_case_can_refuse_strains_outside_the_domain(dft_law, tmp_path):
    law = LearnedLaw(
        dft_law.structure,
        dft_law.point_group,
        dft_law.polynomial,
        domain=dft_law.domain.numpy(),
    )
    law.save(tmp_path / "a.law")
    path = tmp_path / "case.yaml"
    text = CASE.replace("[2, 1, 1]}", "[1, 1, 1]}").replace("0.1, null", "0.15, null")
    path.write_text(text + "outside: error\n")
    with pytest.raises(InputError, match="outside the strains"):
        simulate(path, tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []
    path.write_text(text)
    result = simulate(path, tmp_path / "out", progress=False)
    assert "points lie outside" in result["warnings"][0]
