"""Laws in other people's scripts: own forms, dolfinx-external-operator, dolfinx_materials."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("objstress.fem")

import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc

import objstress
from objstress import InputError, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness
from objstress.fem import Displacement, QuadratureMaterial, StaticProblem, meshes
from objstress.fem.solve.record import observed_order
from objstress.laws.rotated import RotatedLaw
from tests.helpers import random_rotation

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "own-form.md"
MFRONT = [(n // 10 - 1, n % 10 - 1) for n in (11, 22, 33, 12, 21, 13, 31, 23, 32)]
OPTIONS = {
    "ksp_type": "preonly",
    "pc_type": "lu",
    "snes_rtol": 1e-12,
    "snes_atol": 1e-12,
    "snes_stol": 0.0,
}


def snippet(number):
    """A code block of the page on own forms."""
    section = PAGE.read_text().split("<!-- own script -->")[1].split("<!-- end of own script -->")
    return section[0].split("```python\n")[number].split("```")[0]


@pytest.fixture(scope="module")
def law():
    """Anisotropic and turned, so that P and A have no entries that are zero or repeat by chance."""
    law = SaintVenantKirchhoff(cubic_stiffness(162.0, 64.0, 78.0), "m-3m")
    return RotatedLaw(law, random_rotation(1))


@pytest.fixture(scope="module")
def solved(law):
    """A bar pulled by 10 % between clamps, by our own static problem."""
    mesh = meshes.box((2, 1, 1), (4, 2, 2), jitter=0.15)
    clamps = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.2, 0, 0))]
    problem = StaticProblem(mesh, law, clamps, degree=1, quadrature_degree=2)
    problem.solve(progress=False)
    return problem


@pytest.fixture
def script(law, solved):
    """What someone's own script has before it meets a law: the same bar, at another u."""
    V = fem.functionspace(solved.mesh, ("Lagrange", 1, (3,)))
    u = fem.Function(V)
    u.x.array[:] = 0.02 * np.random.default_rng(0).normal(size=len(u.x.array))
    bcs = [
        fem.dirichletbc(np.array([pull, 0.0, 0.0]), fem.locate_dofs_geometrical(V, at), V)
        for pull, at in ((0.0, lambda x: x[0] < 1e-9), (0.2, lambda x: x[0] > 2 - 1e-9))
    ]
    return {
        "mesh": solved.mesh, "law": law, "u": u, "v": ufl.TestFunction(V),
        "du": ufl.TrialFunction(V), "bcs": bcs, "options": OPTIONS, "ufl": ufl,
        "objstress": objstress, "NonlinearProblem": fem_petsc.NonlinearProblem,
    }  # fmt: skip


def gaps(script):
    """Relative distances of r and J, as they stand in the script, from those of our own path."""
    material = QuadratureMaterial(script["u"], script["law"], 2)
    material.update(tangent=True)
    r = material.residual(script["v"]), script["r"]
    r = [fem_petsc.assemble_vector(fem.form(form)) for form in r]
    J = material.jacobian(script["du"], script["v"]), script["J"]
    J = [fem_petsc.assemble_matrix(fem.form(form)) for form in J]
    for matrix in J:
        matrix.assemble()
    return [float((b - a).norm() / a.norm()) for a, b in (r, J)]


def solve(script, update):
    """Newton's corrections from u = 0."""
    script["u"].x.array[:] = 0.0
    corrections = []
    problem = fem_petsc.NonlinearProblem(
        script["r"], script["u"], J=script["J"], bcs=script["bcs"],
        petsc_options_prefix=f"interop_{id(script)}_", petsc_options=OPTIONS,
    )  # fmt: skip
    objstress.fem.before_residual(problem, update)
    problem.solver.setMonitor(
        lambda snes, n, _: corrections.append(snes.getSolutionUpdate().norm()) if n else None
    )
    problem.solve()
    assert problem.solver.getConvergedReason() > 0
    return corrections


def distance(u, solved):
    exact = solved.u.x.array
    return np.abs(u.x.array - exact).max() / np.abs(exact).max()


# -- one's own form --------------------------------------------------------------------------


def test_the_snippet_for_own_scripts_solves_our_problem_in_under_ten_lines(script, solved):
    code = snippet(1)
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    script["u"].x.array[:] = 0.0
    exec(code, script)
    assert distance(script["u"], solved) <= 1e-12
    assert max(gaps(script)) <= 1e-12


def test_an_iterate_that_the_law_refuses_shortens_the_step(script, solved):
    material = QuadratureMaterial(script["u"], script["law"], 2)
    script |= {
        "r": material.residual(script["v"]),
        "J": material.jacobian(script["du"], script["v"]),
    }
    calls = []

    def update():
        calls.append(script["u"].x.array.copy())
        if len(calls) == 2:
            raise InputError("det F <= 0")
        material.update(tangent=True)

    solve(script, update)
    steps = [np.linalg.norm(u) for u in calls]
    assert 0 < steps[2] < 0.6 * steps[1]
    assert distance(script["u"], solved) <= 1e-12


def test_updates_add_up(script):
    material = QuadratureMaterial(script["u"], script["law"], 2)
    problem = fem_petsc.NonlinearProblem(
        material.residual(script["v"]), script["u"], J=material.jacobian(script["du"], script["v"]),
        bcs=script["bcs"], petsc_options_prefix="two_", petsc_options=OPTIONS,
    )  # fmt: skip
    script["u"].x.array[:] = 0.0
    calls = []
    objstress.fem.before_residual(problem, lambda: material.update(tangent=True))
    objstress.fem.before_residual(problem, lambda: calls.append(1))
    problem.solve()
    assert problem.solver.getConvergedReason() > 0
    assert len(calls) == problem.solver.getFunctionEvaluations()


# -- dolfinx-external-operator ---------------------------------------------------------------


@pytest.fixture
def operator_script(script):
    return script | vars(pytest.importorskip("dolfinx_external_operator"))


@pytest.mark.parametrize("what", ["displacement", "tensor"])
def test_the_external_operator_assembles_what_we_assemble(what, operator_script):
    code = snippet(2)
    if what == "tensor":
        code = code.replace("(law, u, dx)", "(law, ufl.Identity(3) + ufl.grad(u), dx)")
    exec(code, operator_script)
    operator_script["update"]()
    assert max(gaps(operator_script)) <= 1e-12


def test_newton_with_the_external_operator_is_quadratic(operator_script, solved):
    exec(snippet(2), operator_script)
    corrections = solve(operator_script, operator_script["update"])
    assert observed_order(corrections) >= 1.8
    assert distance(operator_script["u"], solved) <= 1e-12


def test_external_functions_of_the_multi_indices(operator_script, law):
    exec(snippet(2), operator_script)
    external = operator_script["stress"][0].external_function
    f = np.eye(3) + 0.1 * np.random.default_rng(0).normal(size=(2, 5, 3, 3))
    p, a = law.stress(f.reshape(-1, 3, 3)), law.tangent(f.reshape(-1, 3, 3))
    for values in (f, f.reshape(2, 45)):  # per cell: points and components, or both in one
        assert np.allclose(external((1,))(values), a.numpy().ravel(), rtol=1e-14)
        assert np.allclose(external((0,))(values), p.numpy().ravel(), rtol=1e-14)
        assert np.allclose(
            external((0,))(1.01 * values), law.stress(1.01 * f.reshape(-1, 3, 3)).ravel()
        )
    with pytest.raises(InputError, match=r"\(2,\)"):
        external((2,))
    with pytest.raises(InputError, match="det F <= 0 at 10 of 10"):
        external((1,))(-f)


def test_the_stress_is_found_beside_the_tangent(operator_script, law, monkeypatch):
    exec(snippet(2), operator_script)
    orders = []
    response = type(law).response
    monkeypatch.setattr(
        type(law), "response", lambda self, F, n: orders.append(n) or response(self, F, n)
    )
    operator_script["update"]()
    assert orders == [2]


def test_in_two_dimensions_the_external_operator_is_plane_strain(operator_script, law):
    from dolfinx import mesh as dmesh
    from mpi4py import MPI

    mesh = dmesh.create_unit_square(MPI.COMM_WORLD, 2, 2)
    V = fem.functionspace(mesh, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    u.x.array[:] = 0.02 * np.random.default_rng(0).normal(size=len(u.x.array))
    operator_script |= {"u": u, "v": ufl.TestFunction(V), "du": ufl.TrialFunction(V)}
    in_plane = "ufl.as_matrix([[P[0, 0], P[0, 1]], [P[1, 0], P[1, 1]]])"
    code = snippet(2).replace("form = ", "P = objstress.fem.stress_operator(law, u, dx)\nform = ")
    code = code.replace("inner(objstress.fem.stress_operator(law, u, dx)", f"inner({in_plane}")
    exec(code, operator_script)
    operator_script["update"]()
    assert max(gaps(operator_script)) <= 1e-12


def test_what_the_external_operator_refuses(operator_script, law):
    from objstress.fem import Grains, stress_operator

    u, dx = operator_script["u"], ufl.dx(metadata={"quadrature_degree": 2})
    with pytest.raises(InputError, match="QuadratureMaterial"):
        stress_operator(Grains(np.zeros(16, int), np.eye(3)[None], law), u, dx)
    with pytest.raises(InputError, match=r"shape \(3, 3, 3\)"):
        stress_operator(law, ufl.grad(ufl.grad(u)), dx)
    for measure in (ufl.dx, ufl.dx(metadata={"quadrature_degree": 0})):
        with pytest.raises(InputError, match=r'ufl.dx\(metadata={"quadrature_degree": 2}\)'):
            stress_operator(law, u, measure)


def test_a_missing_external_operator_names_its_pip_line(script, monkeypatch):
    monkeypatch.setitem(sys.modules, "dolfinx_external_operator", None)
    with pytest.raises(InputError, match="`pip install --no-deps dolfinx-external-operator`"):
        objstress.fem.stress_operator(script["law"], script["u"], ufl.dx)


# -- dolfinx_materials -----------------------------------------------------------------------


@pytest.fixture
def stand_in(monkeypatch):
    """The part of dolfinx_materials' `Material` that its users and its quadrature map rely on."""

    class Material:
        def __init__(self, **properties):
            self.material_properties = properties

            def one_by_one(gradients, state, dt):
                raise AssertionError("the loop over points was not replaced")

            self.batched_constitutive_update = one_by_one

        rotation_matrix = None
        internal_state_variables = {}

        def integrate(self, gradients, dt=0):
            start = {"F": np.zeros_like(gradients), "PK1": np.zeros_like(gradients)}
            tangent, state = self.batched_constitutive_update(gradients, start, dt)
            return state["PK1"], np.zeros((len(gradients), 0)), tangent

    generic = ModuleType("dolfinx_materials.generic")
    generic.Material = Material
    monkeypatch.setitem(sys.modules, "dolfinx_materials", ModuleType("dolfinx_materials"))
    monkeypatch.setitem(sys.modules, "dolfinx_materials.generic", generic)
    return Material


def test_the_material_speaks_mfronts_order(stand_in, law):
    material = objstress.fem.law_material(law)
    assert isinstance(material, stand_in)
    assert material.gradients == {"F": 9}
    assert material.fluxes == {"PK1": 9}
    assert material.tangent_blocks == {("PK1", "F"): (9, 9)}
    assert material.internal_state_variables == {}
    f = np.eye(3) + 0.1 * np.random.default_rng(0).normal(size=(4, 3, 3))
    p, a = law.stress(f).numpy(), law.tangent(f).numpy()
    gradients = np.array([[point[ij] for ij in MFRONT] for point in f])
    stress, internal, tangent = material.integrate(gradients)
    assert internal.shape == (4, 0)
    assert tangent.shape == (4, 9, 9)
    for m, iJ in enumerate(MFRONT):
        assert np.allclose(stress[:, m], p[:, *iJ], rtol=1e-14)
        for n, kL in enumerate(MFRONT):
            assert np.allclose(tangent[:, m, n], a[:, *iJ, *kL], rtol=1e-14)


def test_the_update_of_one_point_leaves_the_old_state_alone(stand_in, law):
    material = objstress.fem.law_material(law)
    f = np.array([1.05, 0.98, 1.01, 0.02, -0.03, 0.01, 0.04, -0.02, 0.03])
    old = {"F": np.zeros(9), "PK1": np.zeros(9)}
    tangent, new = material.constitutive_update(f, old, 0.0)
    stress, _, all_tangents = material.integrate(f[None])
    assert np.array_equal(new["F"], f)
    assert np.allclose(new["PK1"], stress[0], rtol=1e-14)
    assert np.allclose(tangent, all_tangents[0], rtol=1e-14)
    assert not old["F"].any()
    assert not old["PK1"].any()


def test_the_material_reports_strains_outside_those_of_the_fit(stand_in, law, monkeypatch):
    from objstress.errors import OutsideDomainWarning

    monkeypatch.setattr(law, "outside", lambda F: torch.tensor(F[:, 0, 0] > 1.1), raising=False)
    F = np.tile([1.2, 1, 1, 0, 0, 0, 0, 0, 0], (3, 1))
    F[0, 0] = 1.0
    with pytest.warns(OutsideDomainWarning, match=r"2 of 3 points lie outside.*worst: point 1"):
        objstress.fem.law_material(law).integrate(F)
    monkeypatch.setattr(law, "outside_action", "error")
    with pytest.raises(InputError, match="lie outside"):
        objstress.fem.law_material(law).integrate(F)


def test_the_material_assembles_what_we_assemble(stand_in, script):
    """With vectors written out here in the documented order, and dP:dF = dP_m/dF_n dF_n."""
    mesh, u, v, du = (script[name] for name in ("mesh", "u", "v", "du"))
    ours = QuadratureMaterial(u, script["law"], 2)
    ours.update(tangent=True)
    vectors = np.array([[point[ij] for ij in MFRONT] for point in ours.F])
    stress, _, tangent = objstress.fem.law_material(script["law"]).integrate(vectors)
    import basix.ufl

    def quadrature(values):
        element = basix.ufl.quadrature_element(
            mesh.basix_cell().name, value_shape=values.shape[1:], degree=2
        )
        function = fem.Function(fem.functionspace(mesh, element))
        function.x.array[:] = values.ravel()
        return function

    def vector(w):
        return ufl.as_vector([ufl.grad(w)[ij] for ij in MFRONT])

    script["r"] = ufl.dot(quadrature(stress), vector(v)) * ours.dx
    script["J"] = ufl.dot(ufl.dot(quadrature(tangent), vector(du)), vector(v)) * ours.dx
    assert max(gaps(script)) <= 1e-12


def test_what_the_material_refuses(stand_in, law):
    with pytest.raises(InputError, match="QuadratureMaterial"):
        objstress.fem.law_material(SimpleNamespace())
    with pytest.raises(InputError, match="det F <= 0 at 1 of 1"):
        objstress.fem.law_material(law).integrate(-np.ones((1, 9)))


def test_missing_dolfinx_materials_names_its_pip_line(law, monkeypatch):
    monkeypatch.setitem(sys.modules, "dolfinx_materials", None)
    line = r"`pip install --no-deps git\+https://github.com/bleyerj/dolfinx_materials`"
    with pytest.raises(InputError, match=line):
        objstress.fem.law_material(law)


def test_the_quadrature_map_of_dolfinx_materials_gives_our_answer(script, solved):
    """The package itself; it is not on PyPI."""
    maps = pytest.importorskip("dolfinx_materials.quadrature_map")
    from dolfinx_materials import utils

    script |= {name: getattr(utils, name) for name in ("deformation_gradient", "gradient")}
    script["QuadratureMap"] = maps.QuadratureMap
    exec(snippet(3), script)
    script["update"]()
    assert max(gaps(script)) <= 1e-12
    assert observed_order(solve(script, script["update"])) >= 1.8
    assert distance(script["u"], solved) <= 1e-12
