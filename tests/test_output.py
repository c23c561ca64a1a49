"""Results of finite-element runs on disk: fields for ParaView, pictures."""

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

import matplotlib.image
from dolfinx import mesh as dmesh
from mpi4py import MPI

from objstress import InputError, NeoHooke, SaintVenantKirchhoff
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import from_bunge
from objstress.fem import (
    Displacement,
    DynamicProblem,
    Grains,
    ResultFile,
    StaticProblem,
    colour_key,
    meshes,
    plot_field,
    plot_load_displacement,
)
from objstress.fem.results.surface import outer_facets
from objstress.symmetry.point_group import PointGroup
from tests.helpers import read_vtx

COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
PULL = [Displacement("x=min", (0, 0, 0), "wall"), Displacement("x=max", (0.1, 0, 0), "end")]


def bar(kind="hexahedron", degree=1, law=None):
    return StaticProblem(
        meshes.box((2, 1, 1), (3, 2, 2), kind), law or NeoHooke(80.0, 60.0), PULL, degree=degree
    )


def three_grains():
    """A cube grain, a Goss grain and a soft isotropic one, along x."""
    q = from_bunge([[0, 0, 0], [0, 45, 0], [10, 20, 30]])
    return Grains(
        lambda x: np.floor(1.5 * x[:, 0]).astype(int), q, [COPPER, COPPER, NeoHooke(20.0, 30.0)]
    )


@pytest.mark.parametrize(
    ("kind", "degree"), [("hexahedron", 1), ("hexahedron", 2), ("tetrahedron", 2)]
)
def test_every_state_is_read_back(tmp_path, kind, degree):
    problem = bar(kind, degree)
    file = ResultFile(problem, tmp_path / "new" / "r.bp")
    expected = []

    def keep(problem, record):
        file.write(record.load)
        expected.append((problem.u.x.array.reshape(-1, 3).copy(), problem.material.cell_averages()))

    problem.solve(2, progress=False, after_step=keep)
    file.close()
    nodes = problem.V.tabulate_dof_coordinates()
    for step, (u, averages) in enumerate(expected):
        found = read_vtx(tmp_path / "new" / "r.bp", step)
        assert found["times"].tolist() == [0.5, 1.0]
        order = np.lexsort(np.round(nodes, 6).T), np.lexsort(np.round(found["geometry"], 6).T)
        assert found["geometry"][order[1]] == pytest.approx(nodes[order[0]], abs=1e-12)
        assert found["displacement"][order[1]] == pytest.approx(u[order[0]], abs=1e-14)
        for name, values in averages.items():
            assert found[name] == pytest.approx(values.reshape(len(values), -1), abs=1e-14), name
    assert found["connectivity"].shape[1] == {1: 8, 2: 27 if kind == "hexahedron" else 10}[degree]
    # Readers would take cell fields for values of nodes if the schema said so.
    assert found["places"]["displacement"] == "PointData"
    assert {found["places"][name] for name in averages} == {"CellData"}


def test_plane_strain_is_written(tmp_path):
    problem = StaticProblem(meshes.rectangle((2, 1), (3, 2), "triangle"), COPPER, PULL, degree=2)
    problem.solve(1, progress=False)
    problem.write(tmp_path / "r.bp")
    found = read_vtx(tmp_path / "r.bp")
    assert found["cauchy_stress"].shape == (12, 9)
    assert (found["cauchy_stress"][:, 8] > 0).all()  # held along z
    assert found["displacement"][:, 0].max() == pytest.approx(0.1)


def test_a_motion_brings_its_velocity(tmp_path):
    problem = DynamicProblem(
        meshes.box((2, 1, 1), (3, 2, 2)), COPPER, PULL[:1], density=8960, velocity=(0.0, 0.1, 0.0)
    )
    problem.solve(2, duration=1.0, progress=False)
    problem.write(tmp_path / "r.bp")
    found = read_vtx(tmp_path / "r.bp")
    for name, function in problem.state().items():
        values = np.sort(np.linalg.norm(function.x.array.reshape(-1, 3), axis=1))
        assert np.sort(np.linalg.norm(found[name], axis=1)) == pytest.approx(values)
        assert values.max() > 0


def test_grains_have_numbers_and_colours(tmp_path):
    problem = bar(law=three_grains())
    file = ResultFile(problem, tmp_path / "r.bp")
    file.write(0.0)
    file.close()
    found = read_vtx(tmp_path / "r.bp")
    middle = found["geometry"][found["connectivity"]].mean(axis=1)[:, 0]
    grain = found["grain"][:, 0]
    assert grain.tolist() == np.floor(1.5 * middle).tolist()
    colours = {0: (1, 0, 0), 1: (0, 1, 0), 2: (1, 1, 1)}  # [001], [011], no orientation
    for number, colour in colours.items():
        assert np.abs(found["ipf_colour"][grain == number] - colour).max() < 1e-6


def test_a_resumed_run_writes_all_its_states(tmp_path):
    """The first run leaves half a file, as a killed one does; the old result stays until then."""
    path, problem = tmp_path / "r.bp", bar()
    problem.write(path)  # of an earlier run
    half = ResultFile(problem, path)

    def stop(_, record):
        half.write(record.load)
        if record.load > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        problem.solve(4, progress=False, after_step=stop, checkpoint=tmp_path / "states")
    assert read_vtx(path)["times"].tolist() == [0.0]
    again = bar()
    whole = ResultFile(again, path)
    again.solve(
        4,
        progress=False,
        after_step=lambda _, record: whole.write(record.load),
        checkpoint=tmp_path / "states",
    )
    whole.close()
    assert read_vtx(path)["times"].tolist() == [0.25, 0.5, 0.75, 1.0]
    straight = bar()
    straight.solve(4, progress=False)
    stress = straight.material.cell_averages()["von_mises"]
    assert read_vtx(path)["von_mises"][:, 0] == pytest.approx(stress, rel=1e-10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.bp", "states"]


def test_nothing_is_left_of_a_refused_or_empty_run(tmp_path):
    problem = bar()
    for end in ("discard", "close"):
        getattr(ResultFile(problem, tmp_path / "r.bp"), end)()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ends", [("close", "close"), ("close", "discard"), ("discard", "close")])
def test_a_finished_result_stays(tmp_path, ends):
    problem, path = bar(), tmp_path / "r.bp"
    problem.write(path)
    file = ResultFile(problem, path)
    file.write(3.0)
    for end in ends:
        getattr(file, end)()
    assert read_vtx(path)["times"].tolist() == [3.0 if ends[0] == "close" else 0.0]
    assert [p.name for p in tmp_path.iterdir()] == ["r.bp"]


def test_the_old_result_stays_where_the_new_one_is_gone(tmp_path):
    problem, path = bar(), tmp_path / "r.bp"
    problem.write(path)
    file = ResultFile(problem, path)
    file.write(3.0)
    file.file.close()  # ADIOS2 ends the process where the folder of an open file is gone
    file.partial.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="removed while it was being written"):
        file.close()
    assert read_vtx(path)["times"].tolist() == [0.0]


def test_an_abandoned_file_leaves_that_of_the_next_run(tmp_path):
    """As where a notebook's cell was interrupted, is run again, and the first is closed late."""
    problem, path = bar(), tmp_path / "r.bp"
    first = ResultFile(problem, path)
    first.write(1.0)
    second = ResultFile(problem, path)
    first.close()
    second.write(2.0)
    second.close()
    assert read_vtx(path)["times"].tolist() == [2.0]


def test_bad_places_are_refused(tmp_path):
    problem = bar()
    (tmp_path / "mine.bp").mkdir()
    (tmp_path / "mine.bp" / "thesis.tex").write_text("x")
    (tmp_path / "file.bp").write_text("x")
    for name, message in [
        ("r.xdmf", "ends in .bp"),
        ("mine.bp", "thesis.tex is not part of a result"),
        ("file.bp", "is a file"),
        ("file.bp/r.bp", "cannot be created"),
    ]:
        with pytest.raises(InputError, match=message):
            ResultFile(problem, tmp_path / name)
    assert (tmp_path / "mine.bp" / "thesis.tex").is_file()


def area(facets):
    """Of facets (n, k, 3) by their triangles."""
    first = facets[:, :1]
    a, b = facets[:, 1:-1] - first, facets[:, 2:] - first
    return 0.5 * np.linalg.norm(np.cross(a, b), axis=-1).sum()


@pytest.mark.parametrize(
    ("kind", "degree"), [("hexahedron", 1), ("hexahedron", 2), ("tetrahedron", 2)]
)
def test_the_drawn_surface_is_the_deformed_one(kind, degree):
    problem = bar(kind, degree)
    problem.u.interpolate(lambda x: np.array([0.5 * x[0], 0 * x[1], 0 * x[2]]))
    for warp, length in ((0.0, 2.0), (1.0, 3.0), (2.0, 4.0)):
        corners, u, cells = outer_facets(problem)
        facets = corners + warp * u
        assert area(facets) == pytest.approx(2 + 4 * length)
        assert facets.max(axis=(0, 1)) == pytest.approx((length, 1, 1))
    middle = dmesh.compute_midpoints(problem.mesh, 3, cells)
    assert np.abs(facets.mean(axis=1) / (2, 1, 1) - middle).max() < 0.34  # its own cell


@pytest.mark.parametrize("cell", ["triangle", "quadrilateral"])
def test_a_plane_mesh_is_its_own_surface(cell):
    problem = StaticProblem(meshes.rectangle((2, 1), (3, 2), cell), COPPER, PULL)
    problem.solve(1, progress=False)
    corners, u, cells = outer_facets(problem)
    facets = corners + 10 * u
    assert len(facets) == len(cells) == problem.mesh.topology.index_map(2).size_local
    assert facets[..., 0].max() == pytest.approx(3.0)
    assert (facets[..., 2] == 0).all()


def shown(path):
    """The colours of an image that are neither white nor grey nor black, (n, 3)."""
    pixels = matplotlib.image.imread(path)[..., :3].reshape(-1, 3)
    return pixels[np.ptp(pixels, axis=1) > 0.5]


def test_plots_are_drawn_without_a_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    problem = bar(law=three_grains())
    problem.solve(1, progress=False)
    plot_field(problem, tmp_path / "new" / "a.png", warp=5)
    assert len(np.unique(shown(tmp_path / "new" / "a.png"), axis=0)) > 10
    plot_field(problem, tmp_path / "b.png", "ipf_colour")
    found = {tuple(np.round(c)) for c in shown(tmp_path / "b.png")}
    assert found == {(1, 0, 0), (0, 1, 0)}
    plot_field(problem, tmp_path / "c.svg", "grain")
    assert "<svg" in (tmp_path / "c.svg").read_text()
    colour_key(PointGroup("m-3m"), tmp_path / "key.png")
    assert {(1, 0, 0), (0, 1, 0), (0, 0, 1)} <= {
        tuple(np.round(c)) for c in shown(tmp_path / "key.png")
    }


@pytest.mark.parametrize("view", [(25.0, -60.0), (0.0, -90.0), (65.0, -80.0)])
def test_a_picture_holds_the_whole_body_and_little_else(tmp_path, view):
    grains = Grains(lambda x: (x[:, 0] > 4).astype(int), three_grains().orientations[:2], COPPER)
    problem = StaticProblem(meshes.box((8, 1, 1), (8, 1, 1)), grains, PULL)
    problem.solve(1, progress=False)
    plot_field(problem, tmp_path / "bar.png", "ipf_colour", view=view)
    picture = matplotlib.image.imread(tmp_path / "bar.png")[..., :3]
    height, width, _ = picture.shape
    assert height < 0.5 * width
    coloured = np.flatnonzero((np.ptp(picture, axis=2) > 0.3).any(axis=0))
    assert coloured[[0, -1]] == pytest.approx([15, width - 15], abs=4)  # a tenth of an inch


def test_plots_that_cannot_be_drawn_are_refused(tmp_path):
    problem = bar()
    with pytest.raises(
        InputError, match=r"'grian': give one of cauchy_stress_xx, .*, J, energy, outside$"
    ):
        plot_field(problem, tmp_path / "a.png", "grian")
    with pytest.raises(InputError, match="not an image format"):
        plot_field(problem, tmp_path / "a.docx")
    with pytest.raises(InputError, match="is a folder"):
        plot_field(problem, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reactions_are_drawn_over_the_displacement(tmp_path, monkeypatch):
    drawn = {}

    def keep(figure, *arguments, **options):
        (axes,) = figure.axes
        drawn["lines"] = {line.get_label(): line.get_xydata() for line in axes.lines}
        drawn["labels"] = axes.get_xlabel(), axes.get_ylabel()

    problem = bar()
    with pytest.raises(InputError, match="solve the problem first"):
        plot_load_displacement(problem, "end", tmp_path / "a.png")
    problem.solve(2, progress=False)
    with pytest.raises(InputError, match="'ned': give one of wall, end"):
        plot_load_displacement(problem, "ned", tmp_path / "a.png")
    plot_load_displacement(problem, "end", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    plot_load_displacement(
        problem.history, "end", tmp_path / "b.png", displacement=0.1, length="mm"
    )
    forces = [record.reactions["end"][0] for record in problem.history]
    assert drawn["lines"]["x"] == pytest.approx(
        np.array([[0, 0], [0.05, forces[0]], [0.1, forces[1]]])
    )
    assert drawn["labels"] == ("displacement, mm", "force of end on the body, GPa mm$^2$")


def test_meshes_of_rectangles():
    mesh = meshes.rectangle((2, 1), (3, 2))
    assert mesh.topology.cell_type == dmesh.CellType.quadrilateral
    assert mesh.topology.index_map(2).size_global == 6
    assert mesh.geometry.x.max(axis=0).tolist() == [2, 1, 0]
    assert meshes.rectangle((2, 1), (3, 2), "triangle", MPI.COMM_SELF).geometry.dim == 2
    for bad, message in [
        (((2, 0), (1, 1)), "two positive numbers"),
        (((2, 1, 1), (1, 1, 1)), "two positive numbers"),
        (((2, 1), (1, 1), "hexahedron"), "'quadrilateral' or 'triangle'"),
    ]:
        with pytest.raises(InputError, match=message):
            meshes.rectangle(*bad)
