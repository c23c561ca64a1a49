"""Where conditions act, what they prescribe, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("objstress.fem")
pytest.importorskip("gmsh")

import gmsh
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh

import objstress.fem as fe
from objstress.errors import InputError
from objstress.fem import Displacement, Pressure, StaticProblem, Traction, meshes, read_mesh
from objstress.fem.conditions.where import Places
from objstress.laws.analytic import NeoHooke

LAW = NeoHooke(80.0, 60.0)
CASES = Path(__file__).parents[2] / "shared" / "cases" / "fem"
WALL = Displacement("x=min", (0, 0, 0), "wall")


def bar(path, dim=3, hexahedra=False, order=1, loose=False):
    """A bar (2, 1, 1) with the groups left = 3 (x = 0), right = 7 (x = 2), part = 5."""
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.model.add("bar")
    occ = gmsh.model.occ
    if dim == 3:
        occ.addBox(0, 0, 0, 2, 1, 1)
    else:
        occ.addRectangle(0, 0, 0, 2, 1)
    if loose:
        occ.addRectangle(5, 0, 0, 1, 1)
    occ.synchronize()
    for d, tag in gmsh.model.getEntities(dim - 1):
        x = occ.getCenterOfMass(d, tag)[0]
        if min(abs(x), abs(x - 2)) < 1e-9:
            name, number = ("left", 3) if x < 1 else ("right", 7)
            gmsh.model.addPhysicalGroup(d, [tag], number, name)
    if loose:
        gmsh.model.addPhysicalGroup(2, [gmsh.model.getEntities(2)[-1][1]], 9, "loose")
    gmsh.model.addPhysicalGroup(dim, [1], 5, "part")
    if hexahedra:
        gmsh.model.mesh.setTransfiniteAutomatic(recombine=True)
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.5)
    gmsh.model.mesh.generate(dim)
    gmsh.model.mesh.setOrder(order)
    gmsh.write(str(path))
    gmsh.finalize()
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_mesh(bar(tmp_path_factory.mktemp("bar") / "bar.msh"))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("hexahedra", [False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_tags_functions_and_texts_select_the_same(tmp_path, dim, hexahedra, order):
    data = read_mesh(bar(tmp_path / "bar.msh", dim, hexahedra, order))
    assert data.mesh.geometry.dim == dim
    assert data.mesh.geometry.cmap.degree == order
    places = Places(data.mesh)
    space = fem.functionspace(data.mesh, ("Lagrange", 2, (dim,)))
    sub = space.sub(0)
    collapsed, _ = sub.collapse()

    def ends(x):
        return np.abs(x[0] - 1) > 1 - 1e-9

    either = [
        ((data.facet_tags, [3, 7]), (data, ["right", "left"]), ends),
        ((data.facet_tags, 7), (data, "right"), (data, 7), "x=max", lambda x: x[0] > 2 - 1e-9),
    ]  # fmt: skip
    for forms in either:
        facets = [np.sort(places.facets(where, "it")) for where in forms]
        nodes = [np.sort(places.nodes(where, "it")(sub, collapsed)[0]) for where in forms]
        assert min(len(facets[0]), len(nodes[0])) > 0
        assert all(np.array_equal(facets[0], other) for other in facets)
        assert all(np.array_equal(nodes[0], other) for other in nodes)


def test_other_files_keep_their_groups(tmp_path):
    meshio = pytest.importorskip("meshio")
    source = bar(tmp_path / "bar.msh")
    known = read_mesh(source)
    for name in ("bar.vtu", "bar.xdmf"):
        meshio.write(tmp_path / name, meshio.read(source))
        read = read_mesh(tmp_path / name)
        one = fem.Constant(read.mesh, 1.0)
        assert fem.assemble_scalar(fem.form(one * ufl.dx)) == pytest.approx(2)
        places = [Places(m).facets((d, 7), "it") for m, d in
                  ((known.mesh, known.facet_tags), (read.mesh, read.facet_tags))]  # fmt: skip
        assert len(places[0]) == len(places[1]) > 0


def test_dolfinx_files_keep_their_tags(tmp_path, data):
    from dolfinx.io import XDMFFile

    with XDMFFile(data.mesh.comm, tmp_path / "bar.xdmf", "w") as file:
        file.write_mesh(data.mesh)
        file.write_meshtags(data.facet_tags, data.mesh.geometry)
    read = read_mesh(tmp_path / "bar.xdmf")
    for number in (3, 7):
        assert (read.facet_tags.values == number).sum() == (data.facet_tags.values == number).sum()


def test_a_float32_file_is_read_in_double_precision(tmp_path):
    single = dmesh.create_box(
        meshes.box((1, 1, 1), (1, 1, 1)).comm,
        [np.zeros(3), np.ones(3)],
        [2, 2, 2],
        dtype=np.float32,
    )
    with pytest.raises(InputError, match="single precision"):
        StaticProblem(single, LAW, [WALL])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("x=3", r"no node found there; the mesh reaches from \(0, 0, 0\) to \(2, 1, 1\)"),
        ("x=right", "'right' is not a number"),
        ("w=1", "give planes such as"),
        (lambda x: np.flatnonzero(x[0] > 1), r"where returns int64 \(\d+,\) for \d+ points"),
        (lambda x: x[0], "where returns float64"),
        (np.array([1, 2]), "where is a ndarray"),
        (3, "where is a int"),
    ],
)
def test_bad_places_get_one_clear_line(data, where, message):
    with pytest.raises(InputError, match=message):
        StaticProblem(data.mesh, LAW, [Displacement(where, (0, 0, 0))])


def test_tags_that_are_not_there_are_named(data):
    def refused(where, kind=Displacement, value=(0, 0, 0)):
        with pytest.raises(InputError) as error:
            StaticProblem(data.mesh, LAW, [WALL, kind(where, value)])
        return str(error.value)

    assert "no tag 4, there are 3, 7" in refused((data.facet_tags, 4))
    assert "there are 3 (left), 7 (right)" in refused((data, 4))
    assert "no group 'top', there are 'left', 'right', 'part'" in refused((data, "top"))
    assert "where is a MeshTags and a number, as in (tags, 3)" in refused(data.facet_tags)
    assert "dimension 3, give tags of facets" in refused((data.cell_tags, 5), Traction)
    other = meshes.box((1, 1, 1), (1, 1, 1))
    other.topology.create_entities(2)
    foreign = dmesh.meshtags(other, 2, np.arange(3, dtype=np.int32), np.full(3, 3, dtype=np.int32))
    assert "belong to another mesh" in refused((foreign, 3))
    inner = dmesh.locate_entities(data.mesh, 2, lambda x: np.ones_like(x[0], dtype=bool))
    every = dmesh.meshtags(data.mesh, 2, inner, np.ones(len(inner), dtype=np.int32))
    assert "lie inside the body" in refused((every, 1), Pressure, 1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((np.nan, 0, 0), "component nan, give finite"),
        (("a", 0, 0), "component 'a'"),
        ((0, 0), "give 3 components"),
        (0.1, "value is a float"),
        ("zero", "value is a str"),
        (lambda x: x[0], "must return numbers"),
        (lambda x: np.full_like(x, np.inf), "not finite at some nodes"),
    ],
)
def test_bad_values_get_one_clear_line(value, message):
    with pytest.raises(InputError, match=message):
        StaticProblem(meshes.box((1, 1, 1), (1, 1, 1)), LAW, [WALL, Displacement("x=max", value)])


def test_values_of_ufl_are_refused():
    mesh = meshes.box((1, 1, 1), (1, 1, 1))
    for value in (ufl.SpatialCoordinate(mesh), fem.Constant(mesh, (0.0, 0.0, 0.0))):
        with pytest.raises(InputError, match="value is a"):
            StaticProblem(mesh, LAW, [WALL, Displacement("x=max", value)])


def test_rounded_coordinates_lie_on_their_plane():
    mesh = meshes.box((1, 1, 1), (3, 3, 3))
    mesh.geometry.x[:] = (
        mesh.geometry.x.astype(np.float32) * (1 + 1e-7 * np.sin(np.arange(64)))[:, None]
    )
    problem = StaticProblem(mesh, LAW, [WALL, Displacement("x=max", (0.1, None, None), "end")])
    assert len(problem.body.supports.names["end"][0]) == 16


def test_near_misses_are_told():
    mesh = meshes.box((1, 1, 1), (3, 3, 3))
    x = mesh.geometry.x
    x[np.argmax(x.sum(axis=1)), 0] -= 2e-3
    with pytest.warns(UserWarning, match="displacement on 'x=1': 1 nodes all but lie there"):
        StaticProblem(mesh, LAW, [WALL, Displacement("x=1", (0.1, None, None), "end")])


def test_contradictions_are_refused_whatever_their_order():
    mesh = meshes.box((1, 1, 1), (3, 3, 3))
    grip = Displacement("x=max", (0.02, None, None), "grip")
    floor = Displacement("y=min", (0, 0, 0), "floor")
    for both in ([grip, floor], [floor, grip]):
        with pytest.raises(InputError, match=r"contradict .* 4 nodes: at \(1, 0, .*u_x = .*0\.02"):
            StaticProblem(mesh, LAW, both)
    # They agree at load factor 1 only.
    late = Displacement("y=min", (0.02, None, None), "late", [(0, 0), (0.5, 0), (1, 1)])
    with pytest.raises(InputError, match=r"at load factor 0\.185"):
        StaticProblem(mesh, LAW, [grip, late])


def test_shared_nodes_are_counted_once():
    mesh = meshes.box((1, 1, 1), (3, 3, 3))
    bcs = [WALL, Displacement("y=min", (0, 0, 0), "floor"), fe.BodyForce((0, 0, -0.1))]
    reactions = StaticProblem(mesh, LAW, bcs).solve(progress=False)[-1].reactions
    assert sum(np.array(r) for r in reactions.values()) == pytest.approx([0, 0, 0.1], abs=1e-12)


def test_pressure_on_all_of_the_boundary():
    """`where` reads alike for all conditions: hydrostatic pressure makes a uniform state."""
    planes = [fe.symmetry_plane(f"{a}=min") for a in "xyz"]
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)), LAW, [*planes, Pressure("boundary", 3.0)]
    )
    problem.solve(2, progress=False)
    sigma = problem.material.cell_averages()["cauchy_stress"]
    assert sigma == pytest.approx(np.broadcast_to(-3.0 * np.eye(3), sigma.shape), abs=1e-8)


def test_each_piece_must_be_held():
    """Two blocks with a gap between: dolfinx does not mind, the solver would."""
    solid = np.ones((3, 1, 1), dtype=bool)
    solid[1] = False
    mesh = meshes.voxels(solid, (3, 1, 1))
    with pytest.raises(
        InputError, match=r"translation along y of the piece from \(2, 0, 0\) to \(3, "
    ):
        StaticProblem(mesh, LAW, [WALL, Displacement("x=max", (0.1, None, None))])
    StaticProblem(mesh, LAW, [WALL, Displacement("x=max", (0.1, 0, 0))])


@pytest.mark.parametrize("degrees", [180, 200, 400])
def test_an_end_turns_beyond_half_a_turn(degrees):
    """Rigid rotation of the whole boundary: no strain, and the angle is not wrapped."""
    turn = fe.Rotation((0, 0, 2), degrees, centre=(0.5, 0.5, 0), translation=(0, 0, 0.1))
    mesh = meshes.box((1, 1, 1), (3, 3, 3))
    problem = StaticProblem(mesh, LAW, [Displacement("boundary", turn)])
    middle = []
    record = problem.solve(
        16, progress=False, after_step=lambda p, _: middle.append(p.u.x.array.copy())
    )[-1]
    assert record.energy < 1e-12
    angle = np.radians(degrees)
    x = problem.V.tabulate_dof_coordinates() - [0.5, 0.5, 0]
    c, s = np.cos(angle), np.sin(angle)
    moved = np.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1], x[:, 2] + 0.1], axis=1)
    assert problem.u.x.array.reshape(-1, 3) == pytest.approx(moved - x, abs=1e-8)
    quarter = np.abs(np.diff([np.abs(u).max() for u in middle]))
    assert quarter.max() > 0.01


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("wedge.xdmf", "cells of type wedge"),
        ("no.msh", "no such mesh file"),
    ],
)
def test_meshes_that_cannot_be_used_get_one_line(file, message):
    if not CASES.is_dir() and file != "no.msh":
        pytest.skip("no shared cases")
    with pytest.raises(InputError, match=message):
        read_mesh(CASES / file)


@pytest.mark.skipif(not CASES.is_dir(), reason="no shared cases")
def test_files_that_failed_are_read():
    plane = read_mesh(CASES / "plane.msh")
    assert plane.mesh.geometry.dim == 2
    part = read_mesh(CASES / "meshio.xdmf")
    assert part.mesh.topology.index_map(3).size_global == 902
    assert part.cell_tags is not None
    glue = read_mesh(CASES / "glue0.xdmf").mesh
    # Both pieces are held, but one would move without the other.
    ends = [WALL, Displacement("x=max", (0.02, None, None))]
    with pytest.warns(UserWarning, match="in 2 pieces that touch at .* nodes and are not joined"):
        StaticProblem(glue, LAW, [*ends, fe.symmetry_plane("y=min"), fe.symmetry_plane("z=min")])
    with pytest.raises(InputError, match="translation along y of the piece"):
        StaticProblem(glue, LAW, ends)


def test_a_file_of_mixed_dimensions_is_refused(tmp_path):
    with pytest.raises(InputError, match="nodes that no cell has"):
        read_mesh(bar(tmp_path / "loose.msh", loose=True))


def test_a_script_keeps_its_own_gmsh_model(tmp_path):
    path = bar(tmp_path / "bar.msh")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.model.add("mine")
        read_mesh(path)
        assert gmsh.model.getCurrent() == "mine"
        assert gmsh.isInitialized()
    finally:
        gmsh.finalize()


def test_grains_are_groups_of_cells(data):
    turned = fe.Grains.of_groups(data, {"part": np.eye(3)}, LAW)
    assert set(turned.of_cells(data.mesh)) == {0}
    with pytest.raises(InputError, match="no group 'rest' of cells, there are 'part'"):
        fe.Grains.of_groups(data, {"rest": np.eye(3)}, LAW)
    numbers = np.where(np.arange(len(data.cell_tags.values)) % 2, 8, 5).astype(np.int32)
    halves = data._replace(cell_tags=dmesh.meshtags(data.mesh, 3, data.cell_tags.indices, numbers))
    grains = fe.Grains.of_groups(halves, {8: np.eye(3), "part": np.eye(3)}, LAW)
    assert np.array_equal(grains.of_cells(data.mesh), np.where(numbers == 8, 0, 1))
    with pytest.raises(InputError, match="cells with tag 8 are in none"):
        fe.Grains.of_groups(halves, {"part": np.eye(3)}, LAW)
