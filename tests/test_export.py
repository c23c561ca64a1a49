"""Laws as source code: C, an Abaqus UMAT and an MFront behaviour give the numbers of the law.

What is compiled is skipped where its compiler is missing. There is no Abaqus here: the UMAT is
called as Abaqus calls it, by its documented interface. Where MFront is missing, the code blocks of
the behaviour still run, in a class of few lines that stands for what MFront writes around them.
"""

import ctypes
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from objstress import GuardedLaw, InputError, NeoHooke, PointGroup, RotatedLaw, compile_law, fit_law
from objstress.elasticity.orientations import orientation
from objstress.io.weights import read_tensors
from objstress.laws import export_law
from objstress.laws.check import random_deformations, trained_radius
from objstress.laws.export.text import identifier
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.strain_energy import mandel_strain
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import O3
from objstress.symmetry.voigt import mandel_rotations, to_mandel
from tests.helpers import random_rotation

ROOT = Path(__file__).parents[1]
needs_c = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_fortran = pytest.mark.skipif(shutil.which("gfortran") is None, reason="no gfortran")
needs_cpp = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
needs_mfront = pytest.mark.skipif(shutil.which("mfront") is None, reason="no MFront")

# Cubic, trigonal and triclinic; the degree is given, as finding it takes minutes.
CRYSTALS = {
    "silicon": ("silicon/labels.extxyz", "silicon/silicon.cif", 6),
    "quartz": ("crystals/quartz.extxyz", "crystals/quartz.cif", 5),
    "kyanite": ("crystals/kyanite.extxyz", "crystals/kyanite.cif", 4),
}
ABAQUS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Abaqus' order of components; Voigt's has 23 13 12 at the end."""


@pytest.fixture(scope="module", params=CRYSTALS)
def law(request):
    data, crystal, degree = CRYSTALS[request.param]
    fitted = fit_law(
        ROOT / "data" / data,
        ROOT / "data" / crystal,
        degree=degree,
        use_network=False,
        progress=False,
    )
    return PolynomialLaw(
        fitted.polynomial,
        fitted.point_group,
        fitted.domain,
        fitted.metadata,
        fitted.structure,
        fitted.density,
    )


@pytest.fixture(scope="module")
def deformations(law):
    """1000 rotated strains inside the trained ones."""
    return random_deformations(1000, trained_radius(law), np.random.default_rng(0))


def random_law(group, degree):
    """Without a trained domain; stiff enough that no coefficient matters more than others."""
    polynomial = InvariantPolynomial(group, degree)
    c = np.random.default_rng(0).normal(size=len(polynomial.degrees))
    polynomial.set_coefficients(c * 10.0 ** np.array(polynomial.degrees))
    return PolynomialLaw(polynomial, group)


def assert_same(found, expected):
    """To 1e-12 of the largest, in the same shape."""
    expected = np.asarray(expected)
    found = np.asarray(found).reshape(expected.shape)
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


# -- C ---------------------------------------------------------------------------------------


class CompiledC:
    """The functions of an exported C file, called through a shared library."""

    def __init__(self, law, path):
        source, _ = export_law(law, path)
        library = path.with_suffix(".so")
        strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
        command = ["cc", *strict, "-O2", "-shared", "-fPIC", "-o", library, source]
        subprocess.run(command, check=True)
        self.library, self.name = ctypes.CDLL(str(library)), identifier(path.stem)

    def __call__(self, function, F, *shapes):
        """What a function returns, and the arrays that it fills; None for those not wanted."""
        f = np.ascontiguousarray(F, dtype=float).reshape(-1, 9)
        arrays = [None if s is None else np.full((len(f), *s), 7.0) for s in shapes]
        call = getattr(self.library, f"{self.name}_{function}")
        call.restype = ctypes.c_size_t
        pointers = [None if a is None else ctypes.c_void_p(a.ctypes.data) for a in (f, *arrays)]
        return call(ctypes.c_size_t(len(f)), *pointers), arrays


ALL = ((), (9,), (81,))
"""Shapes of W, P and A of a point."""


@pytest.fixture(scope="module")
def compiled(law, tmp_path_factory):
    return CompiledC(law, tmp_path_factory.mktemp("c") / "some.c")


@needs_c
def test_c_gives_the_numbers_of_the_law(law, compiled, deformations):
    bad, found = compiled("response", deformations, *ALL)
    assert bad == 0
    for value, expected in zip(found, law.response(deformations, 2), strict=True):
        assert_same(value, expected)


@needs_c
def test_c_takes_one_point_and_gives_only_what_is_wanted(law, compiled, deformations):
    _, whole = compiled("response", deformations[:5], *ALL)
    for k in range(3):
        wanted = [shape if j == k else None for j, shape in enumerate(ALL)]
        _, found = compiled("response", deformations[3], *wanted)
        assert np.array_equal(found[k][0], whole[k][3])


@needs_c
def test_c_counts_inverted_points_and_leaves_the_others_alone(law, compiled, deformations):
    f = deformations[:4].copy()
    f[1, 0] *= -1
    f[2] = np.nan
    bad, found = compiled("response", f, *ALL)
    assert bad == 2
    _, alone = compiled("response", f[[0, 3]], *ALL)
    for value, expected in zip(found, alone, strict=True):
        assert np.isnan(value[1:3]).all()
        assert np.array_equal(value[[0, 3]], expected)


@needs_c
@pytest.mark.parametrize("turned", [False, True])
def test_c_says_which_strains_are_outside(law, compiled, tmp_path, turned):
    f = random_deformations(2000, 3 * trained_radius(law), np.random.default_rng(1))
    if turned:
        law = RotatedLaw(law, random_rotation(2))
        compiled = CompiledC(law, tmp_path / "turned.c")
    expected = law.outside(f).numpy()
    assert 200 < expected.sum() < 1800
    count, (far,) = compiled("outside", f, ())
    assert count == expected.sum()
    assert np.array_equal(far > 1, expected)
    assert compiled("outside", f, None)[0] == count


@needs_c
def test_c_of_a_rotated_law(law, deformations, tmp_path):
    turned = RotatedLaw(law, random_rotation(3))
    _, found = CompiledC(turned, tmp_path / "turned.c")("response", deformations, *ALL)
    for value, expected in zip(found, turned.response(deformations, 2), strict=True):
        assert_same(value, expected)


@needs_c
@pytest.mark.parametrize(
    ("group", "degree"), [(PointGroup("m-3m"), 2), (O3, 3), (PointGroup("4/m"), 8)]
)
def test_c_of_every_degree_and_of_a_law_without_a_domain(group, degree, tmp_path):
    law = random_law(group, degree)
    f = random_deformations(100, 0.1, np.random.default_rng(0))
    compiled = CompiledC(law, tmp_path / "some.c")
    _, found = compiled("response", f, *ALL)
    for value, expected in zip(found, law.response(f, 2), strict=True):
        assert_same(value, expected)
    count, (far,) = compiled("outside", f, ())
    assert count == 0
    assert not far.any()


@needs_c
@needs_cpp
def test_the_header_serves_c_and_cpp(tmp_path):
    export_law(random_law(O3, 2), tmp_path / "some.h")
    assert (tmp_path / "some.c").exists()
    main = (
        '#include "some.h"\n#include "some.h"\nint main(void) { return some_response(0,0,0,0,0); }'
    )
    (tmp_path / "main.c").write_text(main)
    shutil.copy(tmp_path / "main.c", tmp_path / "main.cc")
    subprocess.run(["cc", "-Werror", "-c", "some.c"], cwd=tmp_path, check=True)
    for command in (["cc", "-Werror", "main.c"], ["g++", "-Werror", "main.cc"]):
        subprocess.run([*command, "some.o", "-lm", "-o", "main"], cwd=tmp_path, check=True)
        assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


@needs_c
def test_the_c_program_of_the_guide_runs(tmp_path):
    page = (ROOT / "docs/howto/export.md").read_text()
    (program,) = (part for part in page.split("```") if "int main" in part)
    law = random_law(PointGroup("m-3m"), 3)
    export_law(law, tmp_path / "si.c")
    (tmp_path / "main.c").write_text(program.removeprefix("text"))
    command = page.split("Build it with `")[1].split("`")[0]
    subprocess.run([*command.split(), "-Wall", "-Werror", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(float(law.stress(np.diag([1.01, 1, 1]))[0, 0]))


# -- Abaqus ----------------------------------------------------------------------------------


ARGUMENTS = re.findall(
    r"\w+",
    """STRESS STATEV DDSDDE SSE SPD SCD RPL DDSDDT DRPLDE DRPLDT STRAN DSTRAN TIME DTIME TEMP DTEMP
    PREDEF DPRED CMNAME NDI NSHR NTENS NSTATV PROPS NPROPS COORDS DROT PNEWDT CELENT DFGRD0 DFGRD1
    NOEL NPT LAYER KSPT JSTEP KINC""".lower(),
)
"""Of UMAT, in the order of the Abaqus User Subroutines Reference Guide."""


class CompiledUmat:
    """An exported UMAT, called as Abaqus calls it."""

    def __init__(self, law, path, flags=()):
        (source,) = export_law(law, path)
        library = path.with_name(path.name + ".so")
        command = ["gfortran", "-O2", "-shared", "-fPIC", *flags, "-o", library, source]
        subprocess.run(command, check=True, cwd=path.parent)
        self.umat = ctypes.CDLL(str(library)).umat_

    def __call__(self, F, props=(), ntens=6, ndi=3):
        """Arrays by the name of the argument, at one point."""
        number, integer = ctypes.c_double, ctypes.c_int
        new = {
            "stress": np.full(ntens, 7.0),
            "statev": np.zeros(1),
            "ddsdde": np.full((ntens, ntens), 7.0, order="F"),
            "sse": np.full(1, 7.0),
            "pnewdt": np.ones(1),
            "dfgrd1": np.asfortranarray(F),
            "props": np.array([*props, 0.0]),
        }
        counts = {"ndi": ndi, "nshr": ntens - ndi, "ntens": ntens, "nstatv": 1}
        counts["nprops"] = len(props)
        unused = (number * 16)()
        arguments = [
            ctypes.c_void_p(new[n].ctypes.data)
            if n in new
            else ctypes.byref(integer(counts[n]) if n in counts else unused)
            for n in ARGUMENTS
        ]
        # Fortran passes the length of CMNAME behind all others.
        self.umat(*arguments, ctypes.c_size_t(80))
        return new


@pytest.fixture(scope="module")
def umat(law, tmp_path_factory):
    return CompiledUmat(law, tmp_path_factory.mktemp("umat") / "some.f90")


def expected_umat(law, F):
    """Cauchy stress (n, 6), its Jaumann tangent (n, 6, 6) and W / J, from P and A of the law.

    A motion with the velocity gradient D, which is symmetric, has no spin: Jaumann's rate of
    tau = P F^T is the rate itself, dP F^T + P dF^T with dF = D F.
    """
    w, p, a = (t.numpy() for t in law.response(F, 2))
    jacobian = np.linalg.det(F)
    stress = (p @ F.transpose(0, 2, 1)) / jacobian[:, None, None]
    columns = []
    for k, l in ABAQUS:
        d = np.zeros((3, 3))
        d[k, l] += 0.5
        d[l, k] += 0.5
        df = d @ F
        dp = np.einsum("niJkL,nkL->niJ", a, df)
        rate = dp @ F.transpose(0, 2, 1) + p @ df.transpose(0, 2, 1)
        columns.append(abaqus(rate / jacobian[:, None, None]))
    return abaqus(stress), np.stack(columns, axis=-1), w / jacobian


def abaqus(tensor):
    return np.stack([tensor[:, i, j] for i, j in ABAQUS], axis=-1)


def assert_umat(umat, law, F, **options):
    found = [umat(f, **options) for f in F]
    expected = expected_umat(law, F)
    for name, value in zip(("stress", "ddsdde", "sse"), expected, strict=True):
        assert_same(np.array([point[name] for point in found]), value)
    return found


@needs_fortran
def test_umat_gives_cauchy_stress_and_jaumann_tangent(law, umat, deformations):
    found = assert_umat(umat, law, deformations)
    assert all(point["pnewdt"][0] == 1 for point in found)
    tangent = np.array([point["ddsdde"] for point in found])
    assert_same(tangent, tangent.transpose(0, 2, 1))


@needs_fortran
def test_tangent_of_the_umat_is_that_of_its_own_stress(law, umat, deformations):
    """By central differences of the Kirchhoff stress along each D."""
    f, h = deformations[0], 1e-5
    columns = []
    for k, l in ABAQUS:
        d = np.zeros((3, 3))
        d[k, l] += 0.5
        d[l, k] += 0.5
        tau = []
        for sign in (1, -1):
            moved = (np.eye(3) + sign * h * d) @ f
            tau.append(np.linalg.det(moved) * umat(moved)["stress"])
        columns.append((tau[0] - tau[1]) / (2 * h * np.linalg.det(f)))
    tangent = umat(f)["ddsdde"]
    assert np.abs(np.array(columns).T - tangent).max() <= 1e-8 * np.abs(tangent).max()


@needs_fortran
def test_umat_turns_the_crystal_by_its_nine_constants(law, umat, deformations):
    q = random_rotation(5)
    assert_umat(umat, RotatedLaw(law, q), deformations[:50], props=q.ravel())


@needs_fortran
def test_rounded_constants_make_no_stress(law, umat):
    q = random_rotation(5).round(7)
    assert not umat(np.eye(3), props=q.ravel())["stress"].any()


@needs_fortran
def test_umat_of_a_rotated_law_turned_once_more(law, deformations, tmp_path):
    first, then = random_rotation(6), random_rotation(7)
    umat = CompiledUmat(RotatedLaw(law, first), tmp_path / "turned.f90")
    turned = RotatedLaw(law, then @ first)
    assert_umat(umat, turned, deformations[:50], props=then.ravel())
    f = random_deformations(200, 3 * trained_radius(law), np.random.default_rng(1))
    far = [umat(point, props=then.ravel())["statev"][0] for point in f]
    assert np.array_equal(np.array(far) > 1, turned.outside(f).numpy())


@needs_fortran
def test_umat_of_plane_strain_has_four_components(law, umat):
    f = np.tile(np.eye(3), (20, 1, 1))
    f[:, :2, :2] += 0.01 * np.random.default_rng(0).normal(size=(20, 2, 2))
    for stress, tangent, point in zip(*expected_umat(law, f)[:2], f, strict=True):
        found = umat(point, ntens=4)
        assert_same(found["stress"], stress[:4])
        assert_same(found["ddsdde"], tangent[:4, :4])


@needs_fortran
@pytest.mark.parametrize("flat", [np.diag([1.0, 1.0, -1.0]), np.full((3, 3), np.nan)])
def test_umat_asks_for_a_smaller_increment_where_the_body_is_inverted(umat, flat):
    found = umat(flat)
    assert found["pnewdt"][0] == 0.25
    assert (found["stress"] == 7).all()


@needs_fortran
def test_umat_marks_strains_outside_the_fit(law, umat):
    f = random_deformations(200, 3 * trained_radius(law), np.random.default_rng(1))
    found = np.array([umat(point)["statev"][0] for point in f])
    assert np.array_equal(found > 1, law.outside(f).numpy())


@needs_fortran
@pytest.mark.parametrize(
    ("ending", "flags"),
    [
        (".for", ["-std=f2008"]),
        (".f", ["-ffixed-line-length-132", "-cpp"]),
        (".f90", ["-std=f2008", "-cpp"]),
    ],
)
def test_umat_of_each_form_is_standard_fortran(law, umat, deformations, ending, flags, tmp_path):
    other = CompiledUmat(law, tmp_path / f"some{ending}", ["-Werror", *flags])
    for name in ("stress", "ddsdde"):
        assert np.array_equal(other(deformations[0])[name], umat(deformations[0])[name])


@needs_fortran
def test_umat_refuses_plane_stress_and_what_is_no_rotation(tmp_path):
    """It ends the program, as there is no other way out of a UMAT: in a process of its own."""
    law = random_law(O3, 2)
    export_law(law, tmp_path / "some.f90")
    (tmp_path / "main.f90").write_text("""
program main
  implicit none
  double precision :: stress(3), statev(1), ddsdde(3, 3), sse, pnewdt, f(3, 3), props(9)
  integer :: ndi
  read (*, *) ndi
  f = 0.0d0
  props = 1.0d0
  call some_umat(stress, statev, ddsdde, sse, pnewdt, f, props, ndi, 3, 1, 9)
end program main
""")
    subprocess.run(["gfortran", "some.f90", "main.f90", "-o", "main"], cwd=tmp_path, check=True)
    for ndi, words in ((2, "not for plane stress"), (3, "no rotation")):
        done = subprocess.run(
            [tmp_path / "main"], input=str(ndi), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert words in done.stdout


# -- MFront ----------------------------------------------------------------------------------

# What MFront gives a behaviour, as its documentation says: tensors of N dimensions as vectors
# 11 22 33 12 13 23 with factors sqrt(2) on shears of symmetric ones, the first four in the plane.
AROUND = r"""
#include <cmath>
typedef double real;
const unsigned short StensorSize = SIZE;
struct StressStensor {
    double v[SIZE];
    double &operator[](unsigned short i) { return v[i]; }
    double operator[](unsigned short i) const { return v[i]; }
};
struct StiffnessTensor {
    double v[SIZE][SIZE];
    double &operator()(unsigned short i, unsigned short j) { return v[i][j]; }
};
struct Tensor { double v[3][3]; };
static const int PAIR[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};
static double det(const Tensor &F) {
    const double(*f)[3] = F.v;
    return f[0][0] * (f[1][1] * f[2][2] - f[1][2] * f[2][1])
        - f[0][1] * (f[1][0] * f[2][2] - f[1][2] * f[2][0])
        + f[0][2] * (f[1][0] * f[2][1] - f[1][1] * f[2][0]);
}
static StressStensor computeGreenLagrangeTensor(const Tensor &F) {
    StressStensor e;
    for (int a = 0; a < SIZE; ++a) {
        const int i = PAIR[a][0], j = PAIR[a][1];
        double c = i == j ? -1 : 0;
        for (int k = 0; k < 3; ++k) c += F.v[k][i] * F.v[k][j];
        e[a] = 0.5 * c * (i == j ? 1 : std::sqrt(2.0));
    }
    return e;
}
static StressStensor convertSecondPiolaKirchhoffStressToCauchyStress(
    const StressStensor &s, const Tensor &F) {
    double full[3][3] = {};
    for (int a = 0; a < SIZE; ++a)
        full[PAIR[a][0]][PAIR[a][1]] = full[PAIR[a][1]][PAIR[a][0]]
            = s[a] / (a < 3 ? 1 : std::sqrt(2.0));
    StressStensor sig;
    for (int a = 0; a < SIZE; ++a) {
        double sum = 0;
        for (int k = 0; k < 3; ++k)
            for (int l = 0; l < 3; ++l)
                sum += F.v[PAIR[a][0]][k] * full[k][l] * F.v[PAIR[a][1]][l];
        sig[a] = sum / det(F) * (a < 3 ? 1 : std::sqrt(2.0));
    }
    return sig;
}
namespace {  // or the loader would take the tables of another law's class of this name
struct Behaviour {
    enum Status { FAILURE = 0, SUCCESS = 1 };
    Tensor F1;
    StressStensor sig;
    StiffnessTensor Dt;
    real Psi_s;
    LOCALS
    PRIVATE
    Status integrate() { INTEGRATOR return SUCCESS; }
    bool tangent(int smt) { TANGENT return true; }
    void energy() { ENERGY }
};
}
extern "C" int run(const double *F, double *sig, double *Dt, double *W) {
    Behaviour b;
    for (int i = 0; i < 9; ++i) b.F1.v[i / 3][i % 3] = F[i];
    if (b.integrate() == Behaviour::FAILURE) return 1;
    b.tangent(0);
    b.energy();
    *W = b.Psi_s;
    for (int i = 0; i < SIZE; ++i) {
        sig[i] = b.sig[i];
        for (int j = 0; j < SIZE; ++j) Dt[SIZE * i + j] = b.Dt(i, j);
    }
    return 0;
}
"""


def block(text, keyword):
    """What stands in the braces behind a keyword of a behaviour."""
    start = text.index("{", text.index(keyword)) + 1
    depth, end = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[start : end - 1]


def compiled_behaviour(path, size):
    text = path.read_text()
    parts = {
        "LOCALS": "".join(f"{x};" for x in re.findall(r"@LocalVariable (.*);", text)),
        "PRIVATE": block(text, "@Private"),
        "INTEGRATOR": block(text, "@Integrator"),
        "TANGENT": block(text, "@TangentOperator<DS_DEGL>"),
        "ENERGY": block(text, "@InternalEnergy"),
    }
    code = AROUND
    for word, part in parts.items():
        code = code.replace(word, part, 1)
    source, library = path.with_suffix(".cc"), path.with_suffix(f".{size}.so")
    source.write_text(code)
    flags = ["-std=c++17", "-O1", "-Wall", "-Werror", f"-DSIZE={size}", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, "-o", library, source], check=True)
    return ctypes.CDLL(str(library)).run


@needs_cpp
@pytest.mark.parametrize("size", [6, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_blocks_of_the_behaviour_give_the_numbers_of_the_law(law, turned, size, tmp_path):
    """Only their C++ is seen here: not MFront's parser, nor its tensors."""
    if turned:
        law = RotatedLaw(law, random_rotation(8))
    (path,) = export_law(law, tmp_path / "some.mfront")
    run = compiled_behaviour(path, size)
    f = np.eye(3) + 0.02 * np.random.default_rng(0).normal(size=(50, 3, 3))
    if size == 4:
        f[:, :2, 2] = f[:, 2, :2] = 0.0
    found = [np.empty((50, size)), np.empty((50, size, size)), np.empty(50)]
    for k in range(50):
        assert run(*(ctypes.c_void_p(a[k:].ctypes.data) for a in (f, *found))) == 0
    flat = np.diag([1.0, 1.0, -1.0])
    assert run(ctypes.c_void_p(flat.ctypes.data), None, None, None) == 1
    w, p, _ = (t.numpy() for t in law.response(f, 2))
    cauchy = p @ f.transpose(0, 2, 1) / np.linalg.det(f)[:, None, None]
    # d2W/dE2 of the sample by the crystal's, E_crystal = Q^T E Q.
    crystal, q = (law.law, law.Q.numpy()) if turned else (law, np.eye(3))
    second = crystal.strain_energy(mandel_strain(torch.tensor(f @ q)), 2)[2].numpy()
    turn = mandel_rotations(q[None])[0]
    order = [0, 1, 2, 5, 4, 3][:size]
    assert_same(found[0], to_mandel(cauchy)[:, order])
    assert_same(found[1], (turn @ second @ turn.T)[:, order][:, :, order])
    assert_same(found[2], w)


class State(ctypes.Structure):
    """`mfront_gb_State`: pointers to doubles."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("F", "stress", "density", "properties", "internal", "energy", "lost", "outer")
    ]

    def __init__(self, **arrays):
        super().__init__(**{name: a.ctypes.data for name, a in arrays.items()})


class BehaviourData(ctypes.Structure):
    """`mfront_gb_BehaviourData`: what solvers give a behaviour of MFront's generic interface."""

    _fields_ = [
        ("message", ctypes.c_char_p),
        ("dt", ctypes.c_double),
        ("K", ctypes.c_void_p),
        ("rdt", ctypes.c_void_p),
        ("speed", ctypes.c_void_p),
        ("s0", State),
        ("s1", State),
    ]


@needs_mfront
@pytest.mark.parametrize("hypothesis", ["Tridimensional", "PlaneStrain"])
def test_mfront_gives_the_numbers_of_the_law(law, deformations, hypothesis, tmp_path):
    """Compiled by MFront, called as its solvers do: stress P, dP/dF and the stored energy."""
    (path,) = export_law(law, tmp_path / "some.mfront")
    run = ["mfront", "--obuild", "--interface=generic", path.name]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    call = ctypes.CDLL(str(tmp_path / "src" / "libBehaviour.so"))[f"Some_{hypothesis}"]
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    if hypothesis == "PlaneStrain":
        pairs = pairs[:5]
        stretch = np.array([polar(f)[1] for f in deformations])
        stretch[:, 2] = stretch[:, :, 2] = (0, 0, 1)
        turns = np.random.default_rng(1).uniform(0, 2 * np.pi, len(stretch))
        about_z = Rotation.from_rotvec(turns[:, None] * [0, 0, 1]).as_matrix()
        deformations = about_z @ stretch
    rows, columns = np.array(pairs).T
    n = len(pairs)
    w, p, a = (t.numpy() for t in law.response(deformations, 2))
    found = [np.empty(w.shape), np.empty((len(w), n)), np.empty((len(w), n, n))]
    rest, still, one = np.eye(3)[rows, columns].copy(), np.zeros(n), np.ones(1)
    for k, f in enumerate(deformations):
        f = f[rows, columns].copy()
        stress, energy, spare, K = np.zeros(n), np.zeros(1), np.zeros(1), np.zeros(n * n)
        K[:3] = 4, 2, 2  # the consistent tangent dP/dF, and P
        common = {"density": one, "energy": energy, "lost": spare, "outer": one}
        data = BehaviourData(dt=1.0, K=K.ctypes.data, rdt=one.ctypes.data, speed=spare.ctypes.data)
        data.s0 = State(F=rest, stress=still, **common)
        data.s1 = State(F=f, stress=stress, **common)
        assert call(ctypes.byref(data)) == 1
        for array, value in zip(found, (energy[0], stress, K.reshape(n, n)), strict=True):
            array[k] = value
    assert_same(found[0], w)
    assert_same(found[1], p[:, rows, columns])
    assert_same(found[2], a[:, rows, columns][:, :, rows, columns])


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("silicon", "silicon"),
        ("quartz 300 K (LDA)", "quartz_300_K_LDA"),
        ("6H-SiC", "law_6H_SiC"),
        ("Grün", "Grun"),
        ("石英", "law"),
        ("_x", "x"),
        ('a"b*/c', "a_b_c"),
        ("x" * 99, "x" * 40),
    ],
)
def test_names_are_identifiers(stem, name):
    assert identifier(stem) == name


@needs_c
@needs_fortran
@pytest.mark.parametrize("stem", ["double", "6H-SiC", 'it\'s "x" */ \\', "石英", "x" * 99])
def test_files_with_odd_names_compile(stem, tmp_path):
    law = random_law(O3, 2)
    CompiledC(law, tmp_path / f"{stem}.c")("response", np.eye(3), *ALL)
    for ending in ("for", "f90"):
        CompiledUmat(law, tmp_path / f"{stem}.{ending}")(np.eye(3))


def test_files_say_what_they_hold(law, tmp_path):
    law.save(tmp_path / "a.law")
    digest = read_tensors(tmp_path / "a.law", "law")[0]["sha256"]
    error = law.metadata["held_out"]["both"]["relative_rmse"]
    for ending in ("c", "h", "for", "f90", "mfront"):
        export_law(law, tmp_path / f"some.{ending}")
        head = (tmp_path / f"some.{ending}").read_text()[:1500]
        for words in (
            law.structure.composition.reduced_formula,
            f"group {law.point_group.symbol}",
            f"degree {law.degree}",
            "GPa",
            f"{error:.2g}",
            digest,
            "outside those of the fit",
        ):
            assert words in re.sub(r"\s+(\*|!)?\s*", " ", head), (ending, words)


def test_files_are_the_same_each_time(law, tmp_path):
    for ending in ("c", "f90", "mfront"):
        first, again = (
            export_law(law, tmp_path / folder / f"some.{ending}")[0].read_text()
            for folder in ("a", "b")
        )
        assert first == again


def test_only_polynomials_are_exported(quick_law, tmp_path):
    out = tmp_path / "some.c"
    for law in (quick_law, NeoHooke(80.0, 60.0), RotatedLaw(quick_law, np.eye(3))):
        with pytest.raises(InputError, match="cannot be exported: compile_law makes one that can"):
            export_law(law, out)
    polynomial = compile_law(NeoHooke(80.0, 60.0), 0.1)
    for around in (GuardedLaw(polynomial), compile_law(polynomial, kind="torch")):
        with pytest.raises(InputError, match=r"export the one inside, \.law"):
            export_law(around, out)
        export_law(around.law, out)


@needs_c
def test_a_law_fitted_without_a_network_is_its_polynomial(tmp_path):
    data, crystal, _ = CRYSTALS["silicon"]
    fitted = fit_law(
        ROOT / "data" / data,
        ROOT / "data" / crystal,
        degree=3,
        use_network=False,
        progress=False,
    )
    F = np.eye(3) + 0.01 * np.random.default_rng(0).normal(size=(50, 3, 3))
    turned = RotatedLaw(fitted, orientation((1, 1, 1)))
    for number, law in enumerate((fitted, turned)):
        _, found = CompiledC(law, tmp_path / f"some{number}.c")("response", F, *ALL)
        for value, expected in zip(found, law.response(F, 2), strict=True):
            assert_same(value, expected)


@pytest.mark.parametrize("name", ["some", "some.py", "some.law"])
def test_an_unknown_ending_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"the ending names the language, one of \.c, \.h, \.f"):
        export_law(random_law(O3, 2), tmp_path / name)


def test_the_command_writes_the_file(shell, quick_law, tmp_path):
    random_law(O3, 3).save(tmp_path / "a.law")
    quick_law.save(tmp_path / "network.law")
    code, out, _ = shell("export", tmp_path / "a.law", tmp_path / "new" / "a.c", "--json")
    assert code == 0
    assert [Path(file).name for file in json.loads(out)["files"]] == ["a.c", "a.h"]
    assert (tmp_path / "new" / "a.h").exists()
    code, _, errors = shell("export", tmp_path / "network.law", tmp_path / "b.c")
    assert code == 2
    assert errors.count("\n") == 1
    assert "compile_law makes one" in errors
