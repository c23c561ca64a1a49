"""Forces, contacts and planes: each against a solution in closed form."""

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

from dolfinx import mesh as dmesh
from mpi4py import MPI

from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import ConvergenceError, InputError
from objstress.fem import (
    BodyForce,
    Displacement,
    Pressure,
    RigidPlane,
    RigidSphere,
    StaticProblem,
    Traction,
    mean_deformation,
    meshes,
    symmetry_plane,
)
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff

LAW = NeoHooke(80.0, 60.0)
SLIDING = [symmetry_plane("x=min"), symmetry_plane("y=min"), symmetry_plane("z=min")]


def solved(mesh, bcs, law=LAW, steps=2, **options):
    problem = StaticProblem(mesh, law, bcs, **options)
    problem.solve(steps, progress=False)
    return problem


def test_a_column_under_its_weight_stands_on_it():
    """The reaction is the weight; a column without lateral strain shortens by b h^2 / 2 E."""
    weight, young = 1e-4, 100.0
    column = meshes.box((1, 1, 4), (2, 2, 16))
    load = BodyForce((0, 0, -weight))
    problem = solved(column, [*SLIDING, load], NeoHooke(young / 2, 0.0), degree=2)
    assert problem.history[-1].reactions["symmetry z=min"][2] == pytest.approx(4 * weight, rel=1e-9)
    top = problem.u.x.array.reshape(-1, 3)[:, 2].min()
    assert top == pytest.approx(-weight * 16 / 2 / young, rel=1e-4)


def test_pressure_all_around_is_the_laws_own():
    """A follower pressure on every face gives the isotropic stretch at which sigma = -p."""
    pressure = 40.0
    everywhere = lambda x: np.ones(x.shape[1], dtype=bool)  # noqa: E731
    problem = solved(meshes.box((1, 1, 1), (2, 2, 2)), [*SLIDING, Pressure(everywhere, pressure)])
    stretch = problem.material.F
    assert np.abs(stretch - stretch[0, 0, 0] * np.eye(3)).max() < 1e-9
    assert LAW.cauchy_stress(stretch[0]).numpy() == pytest.approx(-pressure * np.eye(3), abs=1e-8)


def test_pressure_follows_the_surface_it_acts_on():
    """A bent strip's pressure stays normal: the reaction's moment differs from a dead load's."""
    mesh = meshes.box((4, 0.5, 0.5), (16, 2, 2))
    wall = Displacement("x=min", (0, 0, 0), "wall")
    reactions = []
    for load in (Pressure("z=max", 0.3), Traction("z=max", (0, 0, -0.3))):
        problem = solved(mesh, [wall, load], steps=4)
        reactions.append(problem.history[-1].reactions["wall"])
    assert reactions[1] == pytest.approx([0, 0, 0.3 * 4 * 0.5], abs=1e-8)
    # The strip bends down, so that the pressure's force leans: it pulls along x.
    assert abs(reactions[0][0]) > 0.02


@pytest.mark.parametrize(
    "load",
    [
        Pressure("z=max", 5.0),
        RigidPlane("z=max", (0, 0, -0.1), point=(0, 0, 1.02), normal=(0, 0.1, -1)),
        RigidSphere("z=max", (0, 0, -0.1), centre=(0.4, 0.5, 3.0), radius=2.0),
    ],
    ids=lambda load: type(load).__name__,
)
def test_the_jacobian_holds_the_loads_tangent(load):
    problem = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), LAW, [*SLIDING, load])
    rng = np.random.default_rng(0)
    start = 0.02 * rng.normal(size=len(problem.u.x.array))
    push = rng.normal(size=len(start))
    ends = []
    for sign in (1, -1):
        problem.u.x.array[:] = start + 1e-6 * sign * push
        problem.settle(1.0)
        ends.append(problem.body.assemble_residual().getArray().copy())
    problem.u.x.array[:] = start
    problem.settle(1.0)
    matrix = problem.body.assemble_jacobian(bcs=False)
    x, product = matrix.createVecs()
    x.setArray(push)
    matrix.mult(x, product)
    numeric = (ends[0] - ends[1]) / 2e-6
    assert np.abs(numeric - product.getArray()).max() < 1e-6 * np.abs(numeric).max()


def test_loads_may_share_facets():
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    both = solved(mesh, [*SLIDING, Traction("x=max", (0.5, 0, 0)), Traction("x=1", (0.5, 0, 0))])
    one = solved(mesh, [*SLIDING, Traction("x=max", (1.0, 0, 0))])
    assert both.u.x.array == pytest.approx(one.u.x.array, abs=1e-12)


def test_a_plane_presses_like_a_prescribed_displacement():
    """Down to the penalty's own give, p / eps, a plane is a moving wall."""
    mesh = meshes.box((1, 1, 1), (3, 3, 3))
    plane = RigidPlane(
        "z=max", (0, 0, -0.05), stiffness=1e6, name="die", point=(0, 0, 1), normal=(0, 0, -1)
    )
    pressed = solved(mesh, [*SLIDING, plane])
    wall = solved(mesh, [*SLIDING, Displacement("z=max", (None, None, -0.05), "die")])
    ours, theirs = (p.history[-1].reactions["die"][2] for p in (pressed, wall))
    assert ours == pytest.approx(theirs, rel=2e-3)
    assert ours < 0


def test_a_plane_far_away_does_nothing():
    away = RigidPlane("z=max", (0, 0, -0.05), point=(0, 0, 2), normal=(0, 0, -1), name="die")
    problem = solved(meshes.box((1, 1, 1), (2, 2, 2)), [*SLIDING, away])
    assert problem.history[-1].reactions["die"] == [0, 0, 0]
    assert np.abs(problem.u.x.array).max() == 0


def test_action_is_reaction_under_a_sphere():
    sphere = RigidSphere("z=max", (0, 0, -0.1), name="tip", centre=(0.0, 0.0, 3.0), radius=2.0)
    problem = solved(meshes.box((1, 1, 1), (4, 4, 4)), [*SLIDING, sphere], steps=4)
    last = problem.history[-1].reactions
    assert last["tip"][2] < -0.1
    for k, name in enumerate(("symmetry x=min", "symmetry y=min", "symmetry z=min")):
        assert last[name][k] == pytest.approx(-last["tip"][k], rel=1e-8, abs=1e-9)


def test_mean_deformation_is_the_mean():
    f = np.array([[1.05, 0.02, 0], [0, 0.98, 0.01], [0.01, 0, 1.01]])
    mesh = meshes.box((1, 1, 1), (3, 3, 3), jitter=0.1)
    problem = solved(mesh, [mean_deformation(f)])
    volumes = problem.material.volumes
    assert np.einsum("n,nij->ij", volumes, problem.material.F) / volumes.sum() == pytest.approx(f)


def test_mean_deformation_of_a_plane_mesh_stays_in_its_plane():
    mesh = meshes.rectangle((2, 1), (3, 2))
    f = np.array([[1.05, 0.02, 0], [-0.01, 0.98, 0], [0, 0, 1]])
    problem = solved(mesh, [mean_deformation(f)])
    assert np.abs(problem.material.F - f).max() < 1e-10
    for i, k in ((0, 2), (1, 2), (2, 0), (2, 1), (2, 2)):
        out = f.copy()
        out[i, k] += 0.01
        with pytest.raises(InputError, match="plane strain, give F33 = 1 and F13 = F23 = F31"):
            StaticProblem(mesh, LAW, [mean_deformation(out)])


def test_plane_strain_is_the_body_between_two_walls():
    law = SaintVenantKirchhoff(cubic_stiffness(160.0, 60.0, 80.0), "m-3m")
    flat = dmesh.create_rectangle(
        MPI.COMM_WORLD, [[0, 0], [2, 1]], [4, 3], dmesh.CellType.quadrilateral
    )
    bcs = [Displacement("x=min", (0, 0)), Displacement("x=max", (0.1, 0.05), "end")]
    solid = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.1, 0.05, 0), "end")]
    walls = [symmetry_plane("z=min"), symmetry_plane("z=max")]
    turn = [[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]
    two = solved(flat, bcs, law, orientation=turn)
    three = solved(meshes.box((2, 1, 0.3), (4, 3, 1)), [*solid, *walls], law, orientation=turn)
    ends = two.history[-1].reactions["end"], three.history[-1].reactions["end"]
    assert np.array(ends[0]) == pytest.approx(np.array(ends[1][:2]) / 0.3, rel=1e-9)
    assert two.history[-1].energy == pytest.approx(three.history[-1].energy / 0.3, rel=1e-9)


@pytest.mark.parametrize(
    ("bcs", "named"),
    [
        ([symmetry_plane("x=min"), symmetry_plane("y=min")], "translation along z"),
        (SLIDING[:1], "translation along y, translation along z, rotation about x"),
        ([Displacement("x=0 & y=0 & z=0", (0, 0, 0))], "rotation about x, rotation about y"),
        ([Displacement("x=0 & y=0", (0, 0, 0))], "rotation about z"),
    ],
)
def test_free_rigid_motions_are_named(bcs, named):
    with pytest.raises(InputError, match=f"free to move: {named}"):
        StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), LAW, bcs)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (Traction("x=max", (1, 0)), "traction .* give 3 finite components"),
        (BodyForce((0, 0, np.nan)), "body force .* give 3 finite components"),
        (RigidSphere("z=max", (0, 0, 0), radius=-1.0), "radius = -1.0"),
        (RigidPlane("z=max", (0, 0, 0), normal=(0, 0, 0)), "normal has length zero"),
        (RigidPlane("z=max", (0, 0, 0), stiffness=0.0), "penalty stiffness = 0.0"),
        (Displacement("x=max", (0,)), "give 3 components"),
    ],
)
def test_bad_loads_get_one_clear_line(load, message):
    with pytest.raises(InputError, match=message):
        StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), LAW, [*SLIDING, load])


def test_a_step_that_cannot_converge_names_its_worst_cells():
    crush = Displacement("x=max", (-1.5, 0, 0))
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)), LAW, [Displacement("x=min", (0, 0, 0)), crush]
    )
    with pytest.raises(ConvergenceError, match=r"worst cells: \d+ at \(.*\), det F = "):
        problem.solve(1, smallest=0.2, progress=False)
    assert np.isfinite(problem.u.x.array).all()


def test_forty_loads_add_up():
    load = [Traction("x=max", (0.01, 0, 0))] * 40
    problem = solved(meshes.box((1, 1, 1), (2, 2, 2)), [*SLIDING, *load], steps=1)
    assert problem.history[-1].reactions["symmetry x=min"][0] == pytest.approx(-0.4, rel=1e-9)


def test_contacts_may_be_given_by_arrays():
    """Comparing two of them would be comparing arrays."""
    mesh = meshes.box((1, 1, 1), (1, 1, 1))
    planes = [
        RigidPlane("z=max", np.zeros(3), point=np.array([0, 0, z]), normal=np.array([0, 0, -1]))
        for z in (2.0, 3.0)
    ]
    problem = StaticProblem(mesh, LAW, [*SLIDING, *planes])
    assert sorted(problem.body.contacts) == ["contact 0", "contact 1"]


def test_contacts_of_one_name_are_refused():
    planes = [RigidPlane(f"{a}=max", (0, 0, 0), name="die") for a in "xz"]
    with pytest.raises(InputError, match="two contacts are named 'die'"):
        StaticProblem(meshes.box((1, 1, 1), (1, 1, 1)), LAW, [*SLIDING, *planes])


def test_the_unit_of_length_does_not_matter():
    """Residuals are forces alone: in metres or micrometres the same iterates."""
    traces = []
    for size in (1.0, 1e-6):
        bcs = [
            Displacement("x=min", (0, 0, 0)),
            Displacement("x=max", (0.1 * size, 0.05 * size, None)),
        ]
        problem = solved(meshes.box((size,) * 3, (3, 3, 3)), bcs, NeoHooke(1e-6, 1e-6), steps=1)
        traces.append(np.array(problem.history[-1].residuals) / size**2)
    assert len(traces[0]) == len(traces[1])
    assert traces[1][:3] == pytest.approx(traces[0][:3], rel=1e-6)


def test_problems_are_freed_and_solvers_get_their_options():
    options = {"mat_mumps_icntl_14": 77}
    problem = solved(meshes.box((1, 1, 1), (2, 2, 2)), SLIDING, steps=1, petsc_options=options)
    factor = problem.newton.ksp.getPC().getFactorMatrix()
    assert factor.getMumpsIcntl(14) == 77
    gone = weakref.ref(problem)
    del problem
    gc.collect()
    assert gone() is None


def test_a_body_without_free_nodes_is_solved_at_once():
    ends = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.01, 0, 0), "end")]
    problem = solved(meshes.box((1, 1, 1), (1, 1, 1)), ends, steps=1)
    expected = float(LAW.stress(np.diag([1.01, 1, 1]))[0, 0])
    assert problem.history[-1].reactions["end"][0] == pytest.approx(expected, rel=1e-10)
