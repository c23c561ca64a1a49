"""Grains: orientations, laws cell by cell, effective constants and their bounds."""

import numpy as np
import pytest
import torch

pytest.importorskip("objstress.fem")

from dolfinx import mesh as dmesh

from objstress.elasticity.bounds import (
    isotropic_bounds,
    isotropic_moduli,
    reuss_average,
    rotated_stiffness,
    voigt_average,
)
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import (
    from_bunge,
    orientation,
    random_orientations,
    read_orientations,
    textured_orientations,
    to_bunge,
)
from objstress.errors import InputError
from objstress.fem import (
    Displacement,
    Grains,
    PeriodicCell,
    StaticProblem,
    Voronoi,
    mean_deformation,
    meshes,
    random_seeds,
    symmetry_plane,
)
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.laws.compile import compile_law
from objstress.laws.rotated import RotatedLaw

C = cubic_stiffness(168.4, 121.4, 75.4)
COPPER = SaintVenantKirchhoff(C, "m-3m")
UNIT = (1.0, 1.0, 1.0)


def test_one_grain_is_the_rotated_crystal():
    turn = random_orientations(1)
    mesh = meshes.box(UNIT, (2, 3, 2), jitter=0.1)
    bcs = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.05, 0.02, None), "end")]
    ids = np.zeros(12, dtype=int)
    as_grains = StaticProblem(mesh, Grains(ids, turn, COPPER), bcs)
    as_one = StaticProblem(mesh, COPPER, bcs, orientation=turn[0])
    for problem in (as_grains, as_one):
        problem.solve(1, progress=False)
    assert as_grains.u.x.array == pytest.approx(as_one.u.x.array, abs=1e-12)
    assert as_grains.history[-1].energy == pytest.approx(as_one.history[-1].energy, rel=1e-12)


class Pulled(NeoHooke):
    """Fitted to E_11 <= 4 % along its own first axis; its error bar is E_11 in GPa."""

    kind = ""

    def _along(self, F):
        f = torch.as_tensor(F)
        return 0.5 * ((f.mT @ f)[..., 0, 0] - 1)

    def outside(self, F):
        return self._along(F) > 0.04

    def stress_error(self, F):
        return self._along(F)


def test_a_grain_is_outside_by_its_own_axes():
    turns = random_orientations(2, seed=4)
    grains = Grains(np.array([0, 1]), turns, Pulled(20.0, 30.0))
    mesh = meshes.box(UNIT, (2, 1, 1))
    law = StaticProblem(mesh, grains, [Displacement("x=min", (0, 0, 0))]).law
    points = len(law.Q[law._of_point])
    of_grain = np.repeat(law.cell_grains, points // 2)
    for k, q in enumerate(turns):
        axis = q[:, 0]  # of grain k, in the sample
        f = np.tile(np.eye(3) + 0.05 * np.outer(axis, axis), (points, 1, 1))
        outside, error = law.outside(f).numpy(), law.stress_error(f).numpy()
        assert (outside == (of_grain == k)).all()
        assert error[of_grain == k] == pytest.approx(0.5 * (1.05**2 - 1), abs=1e-12)
        assert (error[of_grain != k] < 0.04).all()


@pytest.mark.parametrize("assembly", ["quadrature", "ufl"])
def test_a_layered_body_is_its_two_crystals(assembly):
    """Under one mean deformation in series: each layer's stress is its own law's at its own F."""
    turns = np.stack([np.eye(3), orientation((1, 1, 1))])
    law = compile_law(COPPER) if assembly == "ufl" else COPPER
    mesh = meshes.box(UNIT, (4, 1, 1))
    grains = Grains(lambda x: (x[:, 0] > 0.5).astype(int), turns, law)
    f = np.eye(3) + 0.01 * np.random.default_rng(0).normal(size=(3, 3))
    problem = StaticProblem(mesh, grains, [mean_deformation(f)], assembly=assembly)
    problem.u.interpolate(lambda x: (f - np.eye(3)) @ x)
    problem.material.update(tangent=True)
    middle = dmesh.compute_midpoints(mesh, 3, np.arange(4, dtype=np.int32))
    stresses = problem.material.piola().reshape(4, -1, 3, 3)
    for stress, x in zip(stresses, middle, strict=True):
        expected = RotatedLaw(law, turns[int(x[0] > 0.5)]).stress(f).numpy()
        assert stress == pytest.approx(np.broadcast_to(expected, stress.shape), abs=1e-12)


def test_forms_and_quadrature_agree_on_grains():
    law = compile_law(COPPER)
    grains = Grains(Voronoi(random_seeds(5, UNIT), UNIT), random_orientations(5), law)
    bcs = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.03, 0.01, None), "end")]
    ends = []
    for assembly in ("quadrature", "ufl"):
        problem = StaticProblem(meshes.box(UNIT, (4, 4, 4)), grains, bcs, assembly=assembly)
        problem.solve(1, progress=False)
        ends.append(problem.history[-1].reactions["end"])
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)


def test_grains_of_several_laws_keep_their_own():
    """A soft and a stiff half in parallel: the reactions add up to those of each alone."""
    laws = [NeoHooke(80.0, 0.0), NeoHooke(20.0, 0.0)]
    mesh = meshes.box(UNIT, (2, 2, 2))
    grains = Grains(lambda x: (x[:, 1] > 0.5).astype(int), np.stack([np.eye(3)] * 2), laws)
    sides = [symmetry_plane(f"{axis}=min") for axis in "xyz"]
    sides += [symmetry_plane("y=max"), symmetry_plane("z=max")]
    pull = Displacement("x=max", (0.05, None, None), "end")
    forces = []
    for law in (grains, *laws):
        problem = StaticProblem(mesh, law, [*sides, pull])
        problem.solve(1, progress=False)
        forces.append(problem.history[-1].reactions["end"][0])
    assert forces[0] == pytest.approx((forces[1] + forces[2]) / 2, rel=1e-10)


def test_voronoi_cells_repeat_with_the_box():
    voronoi = Voronoi(random_seeds(20, (1, 2, 3), seed=1), (1, 2, 3))
    x = np.random.default_rng(0).uniform(size=(200, 3)) * (1, 2, 3)
    assert (voronoi(x) == voronoi(x + np.array([1, -2, 3]))).all()
    nearest = np.linalg.norm(
        (x[:, None] - voronoi.seeds + np.array([1, 2, 3]) / 2) % (1, 2, 3)
        - np.array([1, 2, 3]) / 2,
        axis=-1,
    ).argmin(axis=1)
    assert (voronoi(x) == nearest).all()


def test_bunge_angles_turn_crystal_axes_as_defined():
    """(phi1, 0, 0) turns [100] about z; cube, Goss and brass have their {hkl}<uvw>."""
    assert from_bunge([[30, 0, 0]])[0] @ [1, 0, 0] == pytest.approx([3**0.5 / 2, 0.5, 0])
    for angles, plane, along in [
        ((0, 45, 0), (0, 1, 1), (1, 0, 0)),
        ((35.2644, 45, 0), (0, 1, 1), (2, -1, 1)),
    ]:
        q = from_bunge([angles])[0]
        normal, rolling = q @ plane, q @ along
        assert abs(normal[2]) == pytest.approx(np.linalg.norm(plane), abs=1e-5)
        assert abs(rolling[0]) == pytest.approx(np.linalg.norm(along), abs=1e-5)
    q = random_orientations(50)
    assert from_bunge(to_bunge(q)) == pytest.approx(q, abs=1e-12)


def test_textures_scatter_as_asked():
    component = from_bunge([[35, 45, 0]])[0]
    q = textured_orientations(4000, component, 5.0)
    cosine = (np.einsum("gij,ij->g", q, component) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert np.sqrt((angle**2).mean()) == pytest.approx(5 * 3**0.5, rel=0.03)
    assert textured_orientations(3, component, 0.0) == pytest.approx(np.stack([component] * 3))


def test_files_of_angles_are_read_or_named(tmp_path):
    path = tmp_path / "odf.txt"
    path.write_text("# phi1 Phi phi2 weight\n0 0 0 1\n35.3, 45, 0\n")
    assert read_orientations(path) == pytest.approx(from_bunge([[0, 0, 0], [35.3, 45, 0]]))
    path.write_text("0 0 0\n1 two 3\n")
    with pytest.raises(InputError, match="line 2: give phi1, Phi, phi2"):
        read_orientations(path)
    with pytest.raises(InputError, match="no such file"):
        read_orientations(tmp_path / "none")


ANGLES = np.array([[289.8, 154.49, 141.27], [20.86, 3.29, 177.49], [185.52, 72.26, 243.61]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("blanks.txt", b"289.8 154.49 141.27\n20.86 3.29 177.49\n185.52 72.26 243.61"),
        ("commas.txt", b"289,80 154,49 141,27\n20,86\t3,29\t177,49\n185,52; 72,26; 243,61"),
        ("latin.txt", b"# K\xf6rner\n289.8 154.49 141.27\n20.86 3.29 177.49\n185.52 72.26 243.61"),
        ("bom.txt", b"\xef\xbb\xbf289.8,154.49,141.27\n20.86,3.29,177.49\n185.52,72.26,243.61"),
        (
            "wide.txt",
            "289.8 154.49 141.27\n20.86 3.29 177.49\n185.52 72.26 243.61".encode("utf-16"),
        ),
    ],
)
def test_orientations_survive_other_programs_ways_of_writing(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_orientations(tmp_path / name) == pytest.approx(from_bunge(ANGLES))


def test_radians_and_quaternions_are_not_taken_for_degrees(tmp_path):
    radians = "\n".join(" ".join(f"{a:.12f}" for a in row) for row in np.radians(ANGLES))
    scan, text = tmp_path / "scan.ang", tmp_path / "odf.txt"
    scan.write_text(f"# GRID: SqrGrid\n{radians}\n")
    assert read_orientations(scan) == pytest.approx(from_bunge(ANGLES), abs=1e-9)
    text.write_text(radians)
    with pytest.raises(InputError, match="are they in radians"):
        read_orientations(text)
    text.write_text("# radians\n" + radians)
    assert read_orientations(text) == pytest.approx(from_bunge(ANGLES), abs=1e-9)
    text.write_text("# near cube\n# angles: degrees\n0.5 1.2 3.1\n")
    assert read_orientations(text) == pytest.approx(from_bunge([[0.5, 1.2, 3.1]]))
    scan.write_text("12.56637 12.56637 12.56637 0 0 0 -1\n")
    with pytest.raises(InputError, match=r"line 1: .*not indexed"):
        read_orientations(scan)
    for four in ("0.5 0.5 0.5 0.5\n0.1 0.7 -0.1 0.7\n", "1 0.71 0.71 0 0\n2 0.5 0.5 0.5 0.5\n"):
        text.write_text(four)
        with pytest.raises(InputError, match="are quaternions"):
            read_orientations(text)
    # What a comment happens to mention is no unit.
    scan.write_text(f"# Sample tilt 70 degrees\n# converted from degrees to radians\n{radians}\n")
    assert read_orientations(scan) == pytest.approx(from_bunge(ANGLES), abs=1e-9)


@pytest.mark.parametrize("row", ["30,5;45;10,2", "30,5 45 10,2", "30,5\t45\t10,2\t1"])
def test_decimal_commas_beside_whole_numbers(tmp_path, row):
    path = tmp_path / "odf.txt"
    path.write_text(f"{row}\n0 45 90\n")
    expected = from_bunge([[30.5, 45, 10.2], [0, 45, 90]])
    assert read_orientations(path) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("grains", "message"),
    [
        (lambda: Grains(np.zeros(8, int), np.eye(3)[None] * 2, COPPER), "orientation 0 is not a"),
        (lambda: Grains(np.zeros(8, int), [-np.eye(3)], COPPER), "orientation 0 is not a rotation"),
        (lambda: Grains(np.zeros(8, int), np.eye(3)[None], [COPPER] * 2), "2 laws for 1"),
        (lambda: Grains(np.arange(8), [np.eye(3)] * 7, COPPER), "grain 7 has no law"),
        (lambda: Grains(np.zeros(7, int), [np.eye(3)], COPPER), "each of the 8 cells"),
        (lambda: Grains(np.zeros(8), [np.eye(3)], COPPER), "give an integer"),
    ],
)
def test_bad_grains_get_one_clear_line(grains, message):
    with pytest.raises(InputError, match=message):
        StaticProblem(meshes.box(UNIT, (2, 2, 2)), grains(), [Displacement("x=0", (0, 0, 0))])


def test_cubic_bounds_are_those_of_hashin_and_shtrikman():
    k, g1, g2 = (168.4 + 2 * 121.4) / 3, (168.4 - 121.4) / 2, 75.4
    b1, b2 = (-3 * (k + 2 * g) / (5 * g * (3 * k + 4 * g)) for g in (g1, g2))
    lower, upper = g1 + 3 / (5 / (g2 - g1) - 4 * b1), g2 + 2 / (5 / (g1 - g2) - 6 * b2)
    found = isotropic_bounds(C)
    assert found.shear == pytest.approx((lower, upper), rel=1e-9)
    assert found.bulk == pytest.approx((k, k), rel=1e-12)


def test_bounds_are_ordered_for_every_crystal():
    """Reuss <= lower <= upper <= Voigt; for an isotropic crystal all are one."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        a = rng.normal(size=(6, 6))
        b = isotropic_bounds(100 * np.eye(6) + 8 * (a + a.T))
        for (low, high), (reuss, voigt) in (
            (b.bulk, b.bulk_voigt_reuss),
            (b.shear, b.shear_voigt_reuss),
        ):
            assert reuss <= low + 1e-9
            assert low <= high + 1e-9
            assert high <= voigt + 1e-9
    one = isotropic_bounds(cubic_stiffness(220.0, 60.0, 80.0))
    assert one.shear == pytest.approx((80.0, 80.0), rel=1e-9)


def test_averages_over_many_grains_tend_to_the_isotropic_ones():
    q = random_orientations(4000)
    found = isotropic_bounds(C)
    assert isotropic_moduli(voigt_average(C, q))[1] == pytest.approx(found.shear_voigt_reuss[1])
    assert isotropic_moduli(reuss_average(C, q))[1] == pytest.approx(
        found.shear_voigt_reuss[0], rel=1e-3
    )
    assert rotated_stiffness(C, np.eye(3)[None])[0] == pytest.approx(C)


def test_a_polycrystal_lies_between_its_bounds():
    """Bulk modulus of a cubic crystal exactly; all of C between Reuss and Voigt of its grains."""
    n = 24
    seeds, turns = random_seeds(n, UNIT, seed=3), random_orientations(n, seed=3)
    voronoi = Voronoi(seeds, UNIT)
    cell = PeriodicCell(meshes.box(UNIT, (6, 6, 6)), Grains(voronoi, turns, COPPER), UNIT, degree=1)
    c = cell.stiffness()
    bulk, shear = isotropic_moduli(c)
    assert bulk == pytest.approx((168.4 + 2 * 121.4) / 3, rel=1e-3)
    low, high = isotropic_bounds(C).shear_voigt_reuss
    assert low < shear < high
    x = (np.stack(np.meshgrid(*[np.arange(6)] * 3)).reshape(3, -1).T + 0.5) / 6
    weights = np.bincount(voronoi(x), minlength=n) / 216
    voigt, reuss = voigt_average(C, turns, weights), reuss_average(C, turns, weights)
    assert np.linalg.eigvalsh(voigt - c).min() > -1e-9
    assert np.linalg.eigvalsh(c - reuss).min() > -1e-9
