"""Natural vibrations of bodies, of crystals with electrodes among them."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("objstress.fem")

from objstress.errors import ConvergenceError, InputError
from objstress.fem import (
    Displacement,
    DynamicProblem,
    Electrode,
    Pressure,
    StaticProblem,
    meshes,
    natural_vibrations,
    resonate,
)
from objstress.laws import ElectricLaw, NeoHooke, SaintVenantKirchhoff
from objstress.models import ElectricPolynomial
from objstress.symmetry.point_group import O3
from tests.helpers import MPIEXEC, printed_on
from tests.test_electric import QUARTZ_C, QUARTZ_E, QUARTZ_EPS, quartz
from tests.test_electrodes import ceramic, isotropic

HELD = Displacement("x=min", (0, 0, 0), "held")


def at_cut(cells=12):
    """The thickness of an infinite plate of quartz, 1 mm, normal along y: nothing varies along x.

    Its modes shear along x, which nothing couples to a motion along y.
    """
    turn = np.radians(-35.25)
    q = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    mesh = meshes.rectangle((1 / cells, 1), (1, cells))
    problem = StaticProblem(
        mesh,
        quartz(),
        [
            Displacement(lambda x: x[0] > -1, (None, 0), "sheared"),
            Displacement("y=min & x=min", (0, None), "pin"),
            Electrode("y=min", 0.0, name="low"),
            Electrode("y=max", 0.0, name="high"),
        ],
        orientation=q,
        degree=2,
    )
    problem.solve(1, progress=False)
    return problem


def test_an_at_cut_plate_resonates_as_its_closed_form_says():
    problem = at_cut()
    short = natural_vibrations(problem, 2649.0, 4, released=["pin"])
    free = natural_vibrations(problem, 2649.0, 4, released=["pin"], open_electrodes=["high"])
    # The plate's own motion along x first, then the overtones; with 1 mm MHz are 1e3 Hz m.
    assert short.frequencies[0] < 1e-4
    assert free.frequencies[1] == pytest.approx(1.6612, rel=2e-4)
    assert short.frequencies[1] == pytest.approx(1.6559, rel=2e-4)
    assert free.frequencies[3] == pytest.approx(3 * 1.6612, rel=1e-3)
    # An even overtone brings no charge, and does not know whether the electrodes are open.
    assert short.frequencies[2] == pytest.approx(free.frequencies[2], rel=1e-9)
    assert abs(short.charges["high"][2]) < 1e-9 * abs(short.charges["high"][1])
    np.testing.assert_allclose(short.charges["low"], -short.charges["high"], atol=1e-12)
    resonance, antiresonance = short.frequencies[1], free.frequencies[1]
    assert short.coupling("high")[1] == pytest.approx(
        np.sqrt(1 - (resonance / antiresonance) ** 2), rel=1e-3
    )
    # Statically the plate shears freely: the permittivity at constant stress.
    width, e26, c66, eps22 = 1 / 12, 0.0949, 29.239 - 0.0949**2 / 0.03982, 0.03982
    expected = width * (eps22 + e26**2 / c66)
    assert short.capacitances["high"] == pytest.approx(expected, rel=1e-4)


def test_admittance_is_largest_at_resonance_and_least_at_antiresonance():
    problem = at_cut()
    short = natural_vibrations(problem, 2649.0, 8, released=["pin"])
    f = np.linspace(1.64, 1.68, 4001)
    y = np.abs(short.admittance("high", f, loss=1e-5))
    assert f[y.argmax()] == pytest.approx(short.frequencies[1], abs=2e-5)
    assert f[y.argmin()] == pytest.approx(1.6611, abs=3e-4)
    low = short.admittance("high", [1e-4])[0]
    farad = 1e-9 * 1e-3 * short.capacitances["high"]
    assert low == pytest.approx(2j * np.pi * 100.0 * farad, rel=1e-6)


def test_a_bar_of_any_law_has_the_overtones_of_a_quarter_wave():
    young, rho, length = 70.0, 2700.0, 10.0
    law = SaintVenantKirchhoff(isotropic(young, 0.0))
    problem = StaticProblem(
        meshes.box((length, 1.0, 1.0), (20, 1, 1)),
        law,
        [HELD, Displacement(lambda x: x[0] > -1, (None, 0, 0), "guided")],
        degree=2,
    )
    problem.solve(1, progress=False)
    found = natural_vibrations(problem, rho, 3)
    speed = np.sqrt(young * 1e9 / rho) * 1e-3  # mm/us
    np.testing.assert_allclose(
        found.frequencies, speed / 4 / length * np.array([1, 3, 5]), rtol=1e-4
    )
    assert not found.charges
    mode = found.modes[0]["displacement"].x.array.reshape(-1, 3)
    x = problem.V.tabulate_dof_coordinates()[:, 0]
    shape = np.sin(np.pi * x / 2 / length)
    scale = mode[:, 0].max() if abs(mode[:, 0].max()) > abs(mode[:, 0].min()) else mode[:, 0].min()
    np.testing.assert_allclose(mode[:, 0] / scale, shape, atol=1e-3)
    again = natural_vibrations(problem, rho, 1, near=0.6)
    assert again.frequencies[0] == pytest.approx(found.frequencies[np.argmin(
        np.abs(found.frequencies - 0.6))], rel=1e-8)  # fmt: skip
    assert not problem.u.x.array.any()


def test_a_free_body_has_six_rigid_motions():
    law = SaintVenantKirchhoff(isotropic(70.0, 0.3))
    problem = StaticProblem(meshes.box((2.0, 1.0, 1.0), (4, 2, 2)), law, [HELD])
    problem.solve(1, progress=False)
    found = natural_vibrations(problem, 2700.0, 8, released=["held"])
    assert found.frequencies[5] < 1e-3 * found.frequencies[6]
    assert found.frequencies[6] > 0.1


def test_a_free_piezoelectric_has_finite_coupling_wherever_it_was_held():
    def free(*supports, released):
        problem = StaticProblem(
            meshes.box((1.0, 1.1, 0.3), (4, 4, 2)),
            ceramic(),
            [*supports, Electrode("z=min", 0.0, name="low"), Electrode("z=max", 0.0, name="high")],
        )
        problem.solve(1, progress=False)
        return natural_vibrations(problem, 7500.0, 9, released=released)

    clamped = free(HELD, released=["held"])
    pinned = free(
        Displacement("x=min & y=min & z=min", (0, 0, 0), "a"),
        Displacement("x=max & y=min & z=min", (None, 0, 0), "b"),
        Displacement("x=min & y=max & z=min", (None, None, 0), "c"),
        released=["a", "b", "c"],
    )
    assert (~clamped.elastic).sum() == 6
    assert not clamped.coupling("high")[:6].any()
    assert np.isfinite(clamped.admittance("high", [0.1, 1.0])).all()
    np.testing.assert_allclose(clamped.frequencies[6:], pinned.frequencies[6:], rtol=1e-6)
    assert clamped.capacitances["high"] == pytest.approx(pinned.capacitances["high"], rel=1e-5)
    np.testing.assert_allclose(clamped.coupling("high")[6:], pinned.coupling("high")[6:], atol=1e-5)


def test_what_another_support_holds_is_not_released():
    law = SaintVenantKirchhoff(isotropic(70.0, 0.3))
    floor = Displacement("z=min", (None, None, 0), "floor")
    tones = []
    for supports in ([HELD, floor], [floor, HELD]):
        problem = StaticProblem(meshes.box((2.0, 1.0, 1.0), (4, 2, 2)), law, supports)
        problem.solve(1, progress=False)
        tones.append(natural_vibrations(problem, 2700.0, 5, released=["held"]).frequencies[3:])
    np.testing.assert_allclose(tones[0], tones[1], rtol=1e-8)


def test_the_capacitance_leaves_open_electrodes_their_charge():
    law = ElectricLaw(NeoHooke(1.0, 1.0), ElectricPolynomial(O3, (0, 0)), background=5.0)
    mesh = meshes.box((2.0, 1.0, 0.5), (8, 2, 2))

    def half(first):
        return lambda x: np.isclose(x[2], 0.5) & (x[0] < 0.8 if first else x[0] > 1.2)

    def problem(left):
        one = StaticProblem(
            mesh,
            law,
            [
                HELD,
                Electrode("z=min", 0.0, name="low"),
                Electrode(half(True), name="left", **left),
                Electrode(half(False), 1e-6, name="right"),
            ],
        )
        one.solve(1, progress=False)
        return one

    held = problem({"potential": 0.0})
    found = natural_vibrations(held, 1000.0, 1, open_electrodes=["left"])
    floating = problem({"charge": 0.0}).history[-1].charges["right"] / 1e-6
    assert found.capacitances["right"] == pytest.approx(floating, rel=1e-6)


def test_an_unstable_state_has_no_vibrations():
    law = SaintVenantKirchhoff(isotropic(70.0, 0.0))
    column = StaticProblem(
        meshes.box((20.0, 1.0, 1.0), (20, 1, 1)),
        law,
        [HELD, Displacement("x=max", (-0.4, 0, 0))],
        degree=2,
    )
    column.solve(4, progress=False)
    with pytest.raises(ConvergenceError, match="unstable"):
        natural_vibrations(column, 2700.0, 3)
    assert column.u.x.array.any()


def test_tension_raises_the_tone():
    law = SaintVenantKirchhoff(isotropic(70.0, 0.3))
    tones = []
    for pull in (0.0, 0.2):
        problem = StaticProblem(
            meshes.box((20.0, 1.0, 1.0), (20, 2, 2)),
            law,
            [HELD, Displacement("x=max", (pull, 0, 0))],
            degree=2,
        )
        problem.solve(1, progress=False)
        tones.append(natural_vibrations(problem, 2700.0, 1).frequencies[0])
    assert tones[1] > 1.1 * tones[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, "give a mode or more"),
        ({"number": 55}, "54 unknown displacements: ask for fewer"),
        ({"density": -1.0}, "must be positive"),
        ({"density": [1.0, 2.0]}, "densities of shape"),
        ({"length_unit": 0.0}, "length_unit = 0"),
        ({"released": ["wall"]}, "no displacement is named 'wall'; there are held"),
        ({"open_electrodes": ["top"]}, "no electrode of given potential is named 'top'"),
        ({"open_electrodes": ["low", "high"]}, "all electrodes are open"),
    ],
)
def test_bad_vibrations_get_one_clear_line(options, message):
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)),
        ceramic(),
        [HELD, Electrode("z=min", 0.0, name="low"), Electrode("z=max", 0.0, name="high")],
    )
    with pytest.raises(InputError, match=message):
        natural_vibrations(problem, **{"density": 7500.0} | options)


def test_a_follower_pressure_and_an_unknown_electrode_are_refused():
    law = SaintVenantKirchhoff(isotropic(70.0, 0.3))
    pressed = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), law, [HELD, Pressure("x=max", 1e-3)])
    with pytest.raises(InputError, match="follower pressure"):
        natural_vibrations(pressed, 2700.0)
    problem = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), law, [HELD])
    moving = DynamicProblem(meshes.box((1, 1, 1), (2, 2, 2)), law, [HELD], density=2700.0)
    with pytest.raises(InputError, match="DynamicProblem is in motion"):
        natural_vibrations(moving, 2700.0)
    with pytest.raises(InputError, match="no electrode 'top' that is held; there are none"):
        natural_vibrations(problem, 2700.0, 1).admittance("top", [1.0])


CASE = """
law: quartz.json
mesh: {shape: box, size: [3, 2, 0.4], cells: [4, 3, 2]}
orientation: {cut: AT}
displacements: [{where: x=min, value: [0, 0, 0], name: clamp}]
electrodes:
  - {where: z=min, potential: 0, name: low}
  - {where: z=max, potential: 0, name: high}
steps: 1
"""


def test_the_command_writes_modes_pictures_and_admittance(tmp_path, shell):
    constants = {
        "elastic": QUARTZ_C.tolist(),
        "piezoelectric": QUARTZ_E.tolist(),
        "dielectric": QUARTZ_EPS.tolist(),
        "point_group": "32",
    }
    (tmp_path / "quartz.json").write_text(json.dumps(constants))
    path, out = tmp_path / "case.yaml", tmp_path / "out"
    path.write_text(CASE)
    code, text, error = shell(
        "resonate", path, "--out", out, "--density", 2649, "--number", 2, "--json"
    )
    assert code == 0, error
    result = json.loads(text)
    assert result == json.loads((out / "vibrations.json").read_text())
    assert result["driven"] == "high"
    first = result["modes"][0]
    assert first["open_MHz"] >= first["resonance_MHz"] > 0
    ratio = first["resonance_MHz"] / first["open_MHz"]
    assert first["coupling"] == pytest.approx(np.sqrt(1 - ratio**2), rel=0.1)
    # A free body, whose rigid motions bring nothing.
    code, text, error = shell(
        "resonate", path, "--out", tmp_path / "free", "--density", 2649, "--number", 7,
        "--released", "clamp", "--json",
    )  # fmt: skip
    assert code == 0, error
    assert [m["coupling"] for m in json.loads(text)["modes"][:6]] == [0.0] * 6
    table = pd.read_csv(out / "admittance.csv")
    assert list(table) == ["frequency [MHz]", "real [S]", "imaginary [S]"]
    assert (table["real [S]"] >= 0).all()
    for name in ("mode-1.png", "mode-2.png", "admittance.png"):
        assert (out / name).stat().st_size > 5000
    code, _, error = shell(
        "resonate", path, "--out", out, "--density", 2649, "--driven", "top", "--number", 1
    )
    assert code == 2
    assert "no electrode 'top'" in error


def test_modes_short_and_open_are_paired_by_their_shapes(tmp_path):
    law = ceramic().constants()
    constants = {name: law[name].tolist() for name in ("elastic", "piezoelectric", "dielectric")}
    (tmp_path / "ceramic.json").write_text(json.dumps(constants | {"point_group": "6mm"}))
    (tmp_path / "case.yaml").write_text(
        CASE.replace("quartz", "ceramic")
        .replace("size: [3, 2, 0.4], cells: [4, 3, 2]", "size: [1, 1.1, 0.3], cells: [4, 4, 2]")
        .replace("orientation: {cut: AT}\n", "")
    )
    found = resonate(
        tmp_path / "case.yaml", tmp_path / "out", density=7500.0, number=10, progress=False
    )
    coupled = [m for m in found["modes"] if m["coupling"] > 0.1 and "open_MHz" in m]
    assert coupled
    for mode in coupled:
        ratio = mode["resonance_MHz"] / mode["open_MHz"]
        assert mode["coupling"] == pytest.approx(np.sqrt(1 - ratio**2), rel=0.25)
    for mode in found["modes"]:
        if mode["coupling"] < 1e-6:
            assert mode["open_MHz"] == pytest.approx(mode["resonance_MHz"], rel=1e-6)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_two_ranks_agree_with_one():
    one, two = (printed_on("tests.test_vibrations", ranks) for ranks in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-7)


def on_ranks():
    problem = StaticProblem(
        meshes.box((1.0, 1.1, 0.3), (6, 5, 3)),
        ceramic(),
        [HELD, Electrode("z=min", 0.0, name="low"), Electrode("z=max", 1e-3, name="high")],
    )
    problem.solve(1, progress=False)
    short = natural_vibrations(problem, 7500.0, 4)
    free = natural_vibrations(problem, 7500.0, 4, open_electrodes=["high"])
    answer = [
        short.frequencies.tolist(),
        free.frequencies.tolist(),
        np.abs(short.charges["high"]).tolist(),
        short.coupling("high").tolist(),
        [short.capacitances["high"]],
    ]
    if problem.comm.rank == 0:
        print(json.dumps(answer))
