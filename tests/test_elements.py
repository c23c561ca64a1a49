"""Elements that do not lock, and plane stress."""

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import objstress.fem as fe
from objstress import orientation
from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import InputError
from objstress.fem import Displacement, StaticProblem, Traction, meshes
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.laws.base import MaterialLaw

COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
ALONG_110 = orientation((1, 1, 0), (1, 0, 0))


def rubber(nu, young=3.0):
    return NeoHooke(young / (2 * (1 + nu)), young * nu / ((1 + nu) * (1 - 2 * nu)))


def cook(n, nu, **options):
    """Vertical displacement of the corner (48, 60) of Cook's membrane under 0.05 along its end."""
    mesh = meshes.rectangle((1, 1), (n, n), options.pop("kind", "quadrilateral"))
    s, t = mesh.geometry.x[:, 0].copy(), mesh.geometry.x[:, 1].copy()
    mesh.geometry.x[:, 0], mesh.geometry.x[:, 1] = 48 * s, 44 * s + t * (44 - 28 * s)
    ends = [Displacement("x=min", (0, 0)), Traction("x=max", (0, 0.05))]
    problem = StaticProblem(mesh, rubber(nu), ends, **options)
    problem.solve(2, progress=False)
    corner = np.argmin(np.abs(problem.V.tabulate_dof_coordinates() - [48, 60, 0]).sum(axis=1))
    return problem.u.x.array[2 * corner + 1]


def test_cooks_membrane_does_not_lock():
    """4.7011 at nu = 0.5: B. Mueller, thesis, Universitaet Duisburg-Essen 2015, neo-Hooke."""
    mixed = cook(12, 0.4999, degree=2, element="mixed")
    assert mixed == pytest.approx(4.7011, rel=0.01)
    with pytest.warns(UserWarning, match=r"nearly incompressible \(bulk modulus 5000 times"):
        plain = cook(12, 0.4999)
    assert plain < 0.5 * mixed


@pytest.mark.filterwarnings("ignore:the law is nearly")
@pytest.mark.parametrize(
    ("kind", "degree"), [("hexahedron", 1), ("hexahedron", 2), ("tetrahedron", 2)]
)
def test_the_mixed_tangent_is_the_derivative_of_its_forces(kind, degree):
    mesh = meshes.box((1, 1, 1), (2, 1, 1), kind, jitter=0.0)
    problem = StaticProblem(mesh, rubber(0.45), [Displacement("x=min", (0, 0, 0))], degree=degree,
                            element="mixed")  # fmt: skip
    rng = np.random.default_rng(0)
    body, u = problem.body, problem.u.x.array
    u[:] = 0.05 * rng.normal(size=len(u)) / (8 if degree == 2 else 2)
    start, direction = u.copy(), rng.normal(size=len(u))
    body.evaluate()
    matrix = body.assemble_jacobian(bcs=False)
    vector = body.assemble_residual().duplicate()
    vector.setArray(direction)
    expected = (matrix * vector).getArray()
    h = 1e-6
    sides = []
    for sign in (1, -1):
        u[:] = start + sign * h * direction
        body.evaluate()
        sides.append(body.assemble_residual().getArray().copy())
    assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(
        expected, abs=1e-6 * np.abs(expected).max()
    )
    assert matrix.isSymmetric(1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("element", ["displacement", "mixed"])
def test_uniform_states_are_the_laws_own(element):
    """A patch of irregular cells: F-bar is F where it is the same everywhere."""
    F = np.array([[1.05, 0.02, 0], [0, 0.98, 0.01], [0, 0, 1.01]])
    mesh = meshes.box((1, 1, 1), (3, 3, 3), jitter=0.1)
    problem = StaticProblem(mesh, COPPER, [fe.mean_deformation(F)], element=element)
    problem.solve(progress=False)
    found = problem.material.F
    assert found == pytest.approx(np.broadcast_to(F, found.shape))
    assert problem.history[-1].energy == pytest.approx(float(COPPER.energy(F)), rel=1e-9)


def test_reactions_of_mixed_elements_balance():
    """What is prescribed goes through the condensed matrix."""
    ends = [Displacement("x=min", (0, 0, 0), "wall"), Displacement("x=max", (0.1, 0.1, 0), "end")]
    problem = StaticProblem(meshes.box((2, 1, 1), (4, 2, 2)), rubber(0.499), ends, element="mixed")
    record = problem.solve(2, progress=False)[-1]
    assert record.reactions["wall"] == pytest.approx(-np.array(record.reactions["end"]), abs=1e-9)
    assert record.order > 1.5


def test_pressure_of_mixed_elements_is_the_mean_stress():
    planes = [fe.symmetry_plane(f"{a}=min") for a in "xyz"]
    problem = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), rubber(0.4999),
                            [*planes, fe.Pressure("boundary", 0.5)], element="mixed")  # fmt: skip
    problem.solve(progress=False)
    assert problem.material.pressure.x.array == pytest.approx(-0.5, rel=1e-8)


@pytest.mark.filterwarnings("ignore:the law is nearly")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"element": "f-bar"}, "give 'displacement' or 'mixed'"),
        ({"plane": "stres"}, "give 'strain' or 'stress'"),
        ({"element": "mixed", "plane": "stress"}, "do not go together"),
        ({"element": "mixed", "assembly": "ufl"}, "do not go together"),
    ],
)
def test_bad_elements_get_one_clear_line(options, message):
    with pytest.raises(InputError, match=message):
        StaticProblem(meshes.rectangle((1, 1), (1, 1)), COPPER, [Displacement("x=min", (0, 0))],
                      **options)  # fmt: skip


def test_elements_and_meshes_that_do_not_fit_are_refused():
    wall = [Displacement("x=min", (0, 0, 0))]
    with pytest.raises(InputError, match="linear triangles and tetrahedra lock with it, too"):
        StaticProblem(
            meshes.box((1, 1, 1), (1, 1, 1), "tetrahedron"), COPPER, wall, element="mixed"
        )
    with pytest.raises(InputError, match="the mesh is not plane"):
        StaticProblem(meshes.box((1, 1, 1), (1, 1, 1)), COPPER, wall, plane="stress")


def test_plane_stress_is_a_thin_plate():
    """Bent in its plane, the crystal turned so that it shears when it is pulled."""
    turned = orientation((1, 1, 1), (1, 0.4, 0))

    def ends(*rest):
        return [
            Displacement("x=min", (0, 0, *rest)),
            Displacement("x=max", (0.1, 0.05, *rest), "end"),
        ]

    flat = StaticProblem(meshes.rectangle((2, 1), (8, 4)), COPPER, ends(), orientation=ALONG_110,
                         degree=2, plane="stress")  # fmt: skip
    plane = flat.solve(2, progress=False)[-1]
    t = 0.05
    thick = StaticProblem(meshes.box((2, 1, t), (8, 4, 1)), COPPER,
                          [*ends(None), fe.symmetry_plane("z=min")], orientation=ALONG_110,
                          degree=2)  # fmt: skip
    plate = thick.solve(2, progress=False)[-1]
    assert plane.reactions["end"] == pytest.approx(
        np.array(plate.reactions["end"][:2]) / t, rel=5e-3
    )
    assert plane.energy == pytest.approx(plate.energy / t, rel=5e-3)
    assert plane.order > 1.5
    sigma = flat.material.cell_averages()["cauchy_stress"]
    assert np.abs(sigma[:, :, 2]).max() < 1e-9
    # Without a mirror plane parallel to the plate its sides shear.
    sheared = StaticProblem(meshes.rectangle((1, 1), (1, 1)), COPPER,
                            [fe.symmetry_plane("x=min"), Displacement("x=min & y=min", (0, 0)),
                             Displacement("x=max", (0.05, None))],
                            orientation=turned, plane="stress")  # fmt: skip
    sheared.solve(progress=False)
    assert np.abs(sheared.material.F[:, :2, 2]).max() > 1e-3
    assert np.abs(sheared.material.piola()[:, :, 2]).max() < 1e-9


class Unstable(MaterialLaw):
    """No state without stress across the plane: stiffness along z is negative."""

    point_group = NeoHooke(1, 1).point_group

    def evaluate(self, F, order):
        parts = list(NeoHooke(1.0, 1.0).evaluate(F, order))
        parts[0] = parts[0] - 10 * (F[:, 2, 2] - 1) ** 2
        if order >= 1:
            parts[1] = parts[1].clone()
            parts[1][:, 2, 2] -= 20 * (F[:, 2, 2] - 1)
        if order >= 2:
            parts[2] = parts[2].clone()
            parts[2][:, 2, 2, 2, 2] -= 20
        return tuple(parts)


def test_plane_stress_of_an_unstable_law_is_refused():
    with pytest.raises(InputError, match="not stable across the plane at F = 1"):
        StaticProblem(meshes.rectangle((1, 1), (1, 1)), Unstable(), [Displacement("x=min", (0, 0))],
                      plane="stress")  # fmt: skip
