"""Bodies with electrodes: displacement and potential together."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("objstress.fem")

import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc

from objstress.errors import InputError, OutsideDomainWarning
from objstress.fem import (
    Displacement,
    DynamicProblem,
    Electrode,
    Grains,
    PeriodicCell,
    StaticProblem,
    SurfaceCharge,
    Traction,
    follow_path,
    meshes,
    read_history,
    simulate,
)
from objstress.fem.materials.electric import slope
from objstress.fem.solve import electric_body
from objstress.laws import EPS0, ElectricLaw, NeoHooke, linear_law
from objstress.models import ElectricPolynomial
from objstress.symmetry.point_group import O3
from objstress.symmetry.voigt import VOIGT_INDEX, voigt_to_tensor
from tests.helpers import MPIEXEC, printed_on, random_rotation
from tests.test_electric import QUARTZ_C, QUARTZ_E, QUARTZ_EPS, quartz


def isotropic(young, poisson):
    mu, lam = young / 2 / (1 + poisson), young * poisson / (1 + poisson) / (1 - 2 * poisson)
    c = np.diag([2 * mu] * 3 + [mu] * 3)
    c[:3, :3] += lam
    return c


def ceramic():
    """A material of 6mm, polar along z: c of some 100 GPa, e of some C/m^2."""
    c = np.array([[139.0, 77.8, 74.3], [77.8, 139.0, 74.3], [74.3, 74.3, 115.0]])
    stiffness = np.diag([0, 0, 0, 25.6, 25.6, (139.0 - 77.8) / 2])
    stiffness[:3, :3] = c
    e = np.zeros((3, 6))
    e[2, :3], e[0, 4], e[1, 3] = (-5.2, -5.2, 15.1), 12.7, 12.7
    return linear_law(stiffness, e, np.diag([730.0, 730.0, 635.0]), "6mm")


def held(where="z=min"):
    return Displacement(where, (0.0, 0.0, 0.0), "held")


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
def test_assembly_agrees_with_pure_ufl(kind):
    mesh = meshes.box((1.0, 1.2, 0.8), (3, 3, 3), kind, jitter=0.15)
    q = random_rotation(np.random.default_rng(1))
    law = quartz()
    problem = StaticProblem(
        mesh, law, [held(), Electrode("z=min", 0.0)], orientation=q, quadrature_degree=2
    )
    body, rng = problem.body, np.random.default_rng(0)
    body.u.x.array[:] = 0.01 * rng.normal(size=len(body.u.x.array))
    body.phi.x.array[:] = 0.1 * rng.normal(size=len(body.phi.x.array))
    problem.material.update(tangent=True)
    ours = body.assemble_residual(), body.assemble_jacobian(bcs=False)

    constants = law.constants()
    c, e, eps = (
        voigt_to_tensor(constants["elastic"]),
        constants["piezoelectric"][:, VOIGT_INDEX],
        EPS0 * constants["dielectric"],
    )
    c = ufl.as_tensor(np.einsum("ai,bj,ck,dl,ijkl->abcd", q, q, q, q, c).tolist())
    e = ufl.as_tensor(np.einsum("ai,bj,ck,ijk->abc", q, q, q, e).tolist())
    eps = ufl.as_tensor((q @ eps @ q.T).tolist())
    w = fem.Function(body.W)
    body.lead()
    w.x.array[:] = body.w.x.array
    f = ufl.Identity(3) + ufl.grad(ufl.as_vector([w[0], w[1], w[2]]))
    strain = 0.5 * (f.T * f - ufl.Identity(3))
    field = -body.scale * slope(w[3])
    i, j, k, l = ufl.indices(4)
    enthalpy = (
        0.5 * strain[i, j] * c[i, j, k, l] * strain[k, l]
        - field[i] * e[i, j, k] * strain[j, k]
        - 0.5 * field[i] * eps[i, j] * field[j]
    )
    form = ufl.derivative(enthalpy * problem.material.dx, w)
    residual = fem_petsc.assemble_vector(fem.form(form))
    jacobian = fem_petsc.assemble_matrix(fem.form(ufl.derivative(form, w)))
    jacobian.assemble()
    assert (ours[0] - residual).norm() <= 1e-12 * residual.norm()
    assert (ours[1] - jacobian).norm() <= 1e-12 * jacobian.norm()
    transposed = jacobian.copy()
    transposed.transpose()
    assert (ours[1] - transposed).norm() <= 1e-12 * jacobian.norm()


@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
def test_patch_test_of_a_piezoelectric(kind):
    mesh = meshes.box((1.0, 1.0, 1.0), (3, 3, 3), kind, jitter=0.15)
    g = np.array([[0.02, 0.03, 0.0], [-0.01, 0.025, 0.0], [0.0, 0.0, 0.03]])
    # Without shear along the polar axis D0 is along it: sides without charge are exact.
    problem = StaticProblem(
        mesh,
        ceramic(),
        [
            Displacement("boundary", lambda x: g @ x),
            Electrode("z=min", 0.01),
            Electrode("z=max", -0.02),
        ],
    )
    problem.solve(1, progress=False)
    x = problem.V.tabulate_dof_coordinates()
    np.testing.assert_allclose(problem.u.x.array.reshape(-1, 3), x @ g.T, atol=1e-12 * 0.05)
    np.testing.assert_allclose(problem.body.phi.x.array, 0.01 - 0.03 * x[:, 2], atol=1e-12 * 0.03)


def bimorph(width=1, degree=2):
    """Film of PVDF of two layers of opposite polarity, 100 mm x 1 mm, under 1 V, clamped."""
    e = np.zeros((3, 6))
    e[2, 0] = 0.046
    law = linear_law(isotropic(2.0, 0.0), e, 12.0 * np.eye(3), "mm2")
    mesh = meshes.box((100.0, 5.0, 1.0), (20, width, 2))
    over = np.diag([1.0, -1.0, -1.0])
    grains = Grains(lambda x: (x[:, 2] > 0.5).astype(int), [np.eye(3), over], law)
    return StaticProblem(
        mesh,
        grains,
        [
            Displacement("x=min", (0.0, 0.0, 0.0)),
            Electrode("z=min", 0.0, name="low"),
            Electrode("z=max", 1e-6, name="high"),  # MV: the mesh is in mm
        ],
        degree=degree,
    )


def test_a_bimorph_bends_as_beam_theory_says():
    problem = bimorph()
    problem.solve(1, progress=False)
    x = problem.V.tabulate_dof_coordinates()
    tip = problem.u.x.array.reshape(-1, 3)[np.isclose(x[:, 0], 100.0), 2]
    # w = 3 e31 V a^2 / (2 E t^2), t the whole thickness; in mm
    assert np.abs(tip).mean() == pytest.approx(3.45e-4, rel=0.01)


def test_charges_are_those_of_a_capacitor_and_their_sum_is_zero():
    law = ElectricLaw(NeoHooke(1.0, 1.0), ElectricPolynomial(O3, (0, 0)), background=7.0)
    mesh = meshes.box((2.0, 3.0, 0.5), (3, 3, 2), jitter=0.1)
    problem = StaticProblem(
        mesh,
        law,
        [Displacement("boundary", (0, 0, 0)), Electrode("z=min", 0.0), Electrode("z=max", 0.02)],
    )
    record = problem.solve(1, progress=False)[-1]
    expected = 7.0 * EPS0 * 6.0 / 0.5 * 0.02
    assert record.charges["z=max"] == pytest.approx(expected, rel=1e-10)
    assert record.charges["z=min"] == pytest.approx(-expected, rel=1e-10)
    assert record.potentials == {"z=min": 0.0, "z=max": pytest.approx(0.02)}
    assert record.largest_field == pytest.approx(0.04, rel=1e-9)


def test_charges_are_the_flux_of_d_through_the_body():
    # Both of the balances of a body of any shape: test functions one on an electrode.
    problem = StaticProblem(
        meshes.box((1.0, 1.0, 1.0), (4, 4, 4), jitter=0.1),
        quartz(),
        [held(), Electrode("x=min", 0.0), Electrode("x=max & z=max", 0.05, name="edge")],
    )
    record = problem.solve(1, progress=False)[-1]
    body = problem.body
    one = fem.Function(body.phi.function_space)
    one.x.array[np.isclose(body.phi.function_space.tabulate_dof_coordinates()[:, 0], 0.0)] = 1.0
    flux = fem.assemble_scalar(
        fem.form(ufl.inner(problem.material.charge, ufl.grad(one)) * problem.material.dx)
    )
    assert record.charges["x=min"] == pytest.approx(-flux, rel=1e-9)
    assert record.charges["edge"] == pytest.approx(flux, rel=1e-9)
    assert abs(record.charges["edge"]) > 1e-5


def test_reciprocity_of_force_by_voltage_and_charge_by_displacement():
    h = 1e-5

    def answer(push, voltage):
        problem = StaticProblem(
            meshes.box((1.0, 1.0, 1.0), (3, 3, 3), jitter=0.1),
            quartz(),
            [
                Displacement("x=min", (0, 0, 0)),
                Displacement("x=max", (push, 0, 0), "pushed"),
                Electrode("x=min", 0.0),
                Electrode("y=max & x=max", voltage, name="driven"),
            ],
        )
        record = problem.solve(1, progress=False)[-1]
        return record.reactions["pushed"][0], record.charges["driven"]

    force = (answer(0.0, h)[0] - answer(0.0, -h)[0]) / (2 * h)
    charge = (answer(h, 0.0)[1] - answer(-h, 0.0)[1]) / (2 * h)
    assert abs(force) > 1e-3
    # d2H/du dV is both: the force on the body is dH/du, the charge on the electrode -dH/dV.
    assert force == pytest.approx(-charge, rel=1e-8)


def test_a_floating_electrode_has_one_potential_and_its_charge():
    law = ElectricLaw(NeoHooke(1.0, 1.0), ElectricPolynomial(O3, (0, 0)), background=5.0)
    mesh = meshes.box((1.0, 1.0, 1.0), (4, 4, 4))
    clamped = Displacement("boundary", (0, 0, 0))
    charged = StaticProblem(
        mesh, law, [clamped, Electrode("z=min", 0.0), Electrode("z=max", charge=1e-3)]
    )
    record = charged.solve(2, progress=False)[-1]
    assert record.potentials["z=max"] == pytest.approx(1e-3 / (5.0 * EPS0), rel=1e-9)
    assert record.charges["z=max"] == pytest.approx(1e-3, rel=1e-9)
    assert record.charges["z=min"] == pytest.approx(-1e-3, rel=1e-9)
    # A film without charge in an uneven field is at one potential between the others'.
    uneven = StaticProblem(
        mesh,
        law,
        [
            clamped,
            Electrode("x=min", 0.0),
            Electrode("x=max & z=min", 0.1, name="edge"),
            Electrode(lambda x: np.isclose(x[2], 1) & (x[0] > 0.2), charge=0.0, name="film"),
        ],
    )
    record = uneven.solve(1, progress=False)[-1]
    phi, x = uneven.body.phi, uneven.body.phi.function_space.tabulate_dof_coordinates()
    film = phi.x.array[np.isclose(x[:, 2], 1) & (x[:, 0] > 0.2)]
    assert np.ptp(film) == 0.0
    assert 0.0 < record.potentials["film"] < 0.1


def test_a_floating_electrode_of_two_patches_on_a_long_film():
    # A strip of two capacitors in series over the film: half of the voltage, whatever its length.
    law = ElectricLaw(NeoHooke(1.0, 1.0), ElectricPolynomial(O3, (0, 0)), background=5.0)
    long = 2000.0

    def part(low, high, top):
        within = (low * long - 1e-6, high * long + 1e-6)
        return lambda x: np.isclose(x[2], top) & (x[0] > within[0]) & (x[0] < within[1])

    def solved(film, **options):
        problem = StaticProblem(
            meshes.box((long, 1.0, 1.0), (20, 1, 1)),
            law,
            [
                Displacement("boundary", (0, 0, 0)),
                Electrode(part(0, 0.45, 0), 0.0, name="left"),
                Electrode(part(0.55, 1, 0), 1.0, name="right"),
                Electrode(film, name="film", **options),
            ],
        )
        return problem, problem.solve(1, progress=False)[-1]

    problem, record = solved(part(0, 1, 1), charge=0.0)
    assert record.potentials["film"] == pytest.approx(0.5, abs=1e-9)
    _, held = solved(part(0, 1, 1), potential=0.5)
    assert record.charges["right"] == pytest.approx(held.charges["right"], rel=1e-6)
    assert abs(record.charges["film"]) < 1e-9 * record.charges["right"]

    patches = lambda x: part(0, 0.4, 1)(x) | part(0.6, 1, 1)(x)  # noqa: E731
    problem, record = solved(patches, charge=0.0)
    x = problem.body.phi.function_space.tabulate_dof_coordinates().T
    assert np.ptp(problem.body.phi.x.array[patches(x)]) == 0.0
    assert record.potentials["film"] == pytest.approx(0.5, abs=1e-9)
    # After a change to the same conditions the charge stays where it is.
    problem.change(problem.body.conditions)
    history = problem.solve(2, progress=False)
    assert history[-2].potentials["film"] == pytest.approx(0.5, abs=1e-9)
    assert history[-2].charges["right"] == pytest.approx(record.charges["right"], rel=1e-6)


def test_a_surface_charge_is_a_floating_electrode_in_an_even_field():
    law = ElectricLaw(NeoHooke(1.0, 1.0), ElectricPolynomial(O3, (0, 0)), background=5.0)
    problem = StaticProblem(
        meshes.box((1.0, 2.0, 1.0), (2, 2, 2)),
        law,
        [
            Displacement("boundary", (0, 0, 0)),
            Electrode("z=min", 0.0),
            SurfaceCharge("z=max", 1e-3),
        ],
    )
    record = problem.solve(1, progress=False)[-1]
    x = problem.V.tabulate_dof_coordinates()
    top = problem.body.phi.x.array[np.isclose(x[:, 2], 1)]
    np.testing.assert_allclose(top, 1e-3 / (5.0 * EPS0), rtol=1e-10)
    assert record.charges["z=min"] == pytest.approx(-2e-3, rel=1e-10)


def test_an_elastomer_under_voltage_thins_until_its_stress_is_gone():
    # One element, against the state of the law without stress under that field.
    law = ElectricLaw(NeoHooke(1.0, 20.0), ElectricPolynomial(O3, (0, 0)), background=100.0)
    voltage = 0.6
    problem = StaticProblem(
        meshes.box((1.0, 1.0, 1.0), (1, 1, 1)),
        law,
        [
            Displacement("x=min", (0, None, None)),
            Displacement("y=min", (None, 0, None)),
            Displacement("z=min", (None, None, 0)),
            Electrode("z=min", 0.0),
            Electrode("z=max", voltage),
        ],
    )
    problem.solve(4, progress=False)
    f = problem.material.F[0]
    from scipy.optimize import fsolve

    def free(x):
        stretched = np.diag([x[0], x[0], x[1]])
        p = law.stress(stretched, [0.0, 0.0, -voltage]).numpy()
        return p[0, 0], p[2, 2]

    stretch = fsolve(free, [1.1, 0.8], xtol=1e-13)
    np.testing.assert_allclose(np.diag(f), stretch[[0, 0, 1]], rtol=1e-9)
    assert stretch[0] > 1.05


def test_amplitudes_of_voltage_and_going_back_to_rest():
    triangle = [(0.0, 0.0), (0.5, 1.0), (1.0, 0.0)]
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)),
        ceramic(),
        [held(), Electrode("z=min", 0.0), Electrode("z=max", 1e-2, amplitude=triangle)],
    )
    history = problem.solve(4, progress=False)
    assert [r.potentials["z=max"] for r in history] == pytest.approx([5e-3, 1e-2, 5e-3, 0.0])
    assert np.abs(problem.u.x.array).max() < 1e-10
    moved = max(abs(r.charges["z=max"]) for r in history)
    problem.reset()
    problem.solve(4, progress=False)
    assert max(abs(r.charges["z=max"]) for r in problem.history) == pytest.approx(moved, rel=1e-9)


def test_changed_conditions_go_on_from_where_the_body_is():
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    low = Electrode("z=min", 0.0)
    problem = StaticProblem(mesh, ceramic(), [held(), low, Electrode("z=max", 1e-2)])
    problem.solve(1, progress=False)
    problem.change([held(), low, Electrode("z=max", -1e-2)])
    record = problem.solve(2, progress=False)[-1]
    assert record.potentials["z=max"] == pytest.approx(-1e-2)
    assert problem.history[1].potentials["z=max"] == pytest.approx(0.0, abs=1e-12)


def test_a_run_resumes_from_its_states(tmp_path):
    class Stop(Exception):
        pass

    def problem():
        return StaticProblem(
            meshes.box((1, 1, 1), (3, 3, 3)),
            random_electric_law(),
            [held(), Electrode("z=min", 0.0), Electrode("z=max", 0.02)],
        )

    def stop(problem, record):
        if record.load > 0.4:
            raise Stop

    with pytest.raises(Stop):
        problem().solve(4, progress=False, after_step=stop, checkpoint=tmp_path)
    resumed, whole = problem(), problem()
    resumed.solve(4, progress=False, checkpoint=tmp_path)
    whole.solve(4, progress=False)
    assert [r.load for r in resumed.history] == [r.load for r in whole.history]
    assert resumed.history[-1].charges["z=max"] == pytest.approx(
        whole.history[-1].charges["z=max"], rel=1e-9
    )
    np.testing.assert_allclose(resumed.body.phi.x.array, whole.body.phi.x.array, atol=1e-10)


def random_electric_law():
    """The ceramic with random nonlinear terms."""
    law = ceramic()
    rng = np.random.default_rng(0)
    polynomial = ElectricPolynomial(law.point_group, (2, 1))
    values = rng.normal(size=len(polynomial.degrees))
    values[np.array(polynomial.degrees) == 2] = law.polynomial.coefficients.numpy()
    polynomial.set_coefficients(values)
    return ElectricLaw(law.law, polynomial)


@pytest.mark.parametrize(
    ("size", "cells"), [((1, 1, 1), (5, 5, 5)), ((40, 3, 1), (40, 3, 2))], ids=["cube", "slender"]
)
def test_the_block_preconditioner_gives_what_mumps_gives(size, cells, monkeypatch):
    def solved():
        problem = StaticProblem(
            meshes.box(size, cells),
            ceramic(),
            [held(), Electrode("z=min", 0.0), Electrode("z=max", 0.01)],
        )
        problem.solve(1, progress=False)
        return problem

    direct = solved()
    monkeypatch.setattr(electric_body, "DIRECT_UP_TO", 100)
    blocks = solved()
    assert blocks.newton.ksp.getPC().getType() == "fieldsplit"
    assert blocks.newton.ksp.getIterationNumber() < 100
    np.testing.assert_allclose(
        blocks.u.x.array, direct.u.x.array, atol=1e-6 * np.abs(direct.u.x.array).max()
    )


def test_on_a_plane_mesh():
    mesh = meshes.rectangle((1, 1), (3, 3))
    problem = StaticProblem(
        mesh,
        quartz(),
        [
            Displacement("boundary", (0, 0)),
            Electrode("x=min", 0.0),
            Electrode("x=max", 1e-2),
        ],
    )
    record = problem.solve(1, progress=False)[-1]
    eps = quartz().constants()["dielectric"][0, 0] * EPS0
    assert record.charges["x=max"] == pytest.approx(1e-2 * eps, rel=1e-9)


def test_results_hold_the_potential_and_the_fields(tmp_path):
    problem = StaticProblem(
        meshes.box((1, 1, 1), (2, 2, 2)),
        ceramic(),
        [Displacement("boundary", (0, 0, 0)), Electrode("z=min", 0.0), Electrode("z=max", 1e-2)],
    )
    problem.solve(1, progress=False)
    means = problem.material.cell_averages()
    np.testing.assert_allclose(means["electric_field"], [[0, 0, -1e-2]] * 8, atol=1e-14)
    np.testing.assert_allclose(
        means["electric_displacement"], [[0, 0, -1e-2 * 635 * EPS0]] * 8, rtol=1e-9, atol=1e-14
    )
    problem.write(tmp_path / "fields.bp")
    assert (tmp_path / "fields.bp").is_dir()
    assert {"potential", "displacement"} <= set(problem.state())


def test_fields_beyond_the_fit_are_reported_with_the_step():
    law = ceramic()
    law.largest_field = 5e-3
    conditions = [
        Displacement("boundary", (0, 0, 0)),
        Electrode("z=min", 0.0),
        Electrode("z=max", 1e-2),
    ]
    problem = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), law, conditions)
    with pytest.warns(OutsideDomainWarning, match=r"64 of 64 points .* fields .*load factor 1"):
        problem.solve(2, progress=False)
    assert [r.fields_outside for r in problem.history] == [0, 64]
    law.outside_action = "error"
    strict = StaticProblem(meshes.box((1, 1, 1), (2, 2, 2)), law, conditions)
    with pytest.raises(InputError, match="fields"):
        strict.solve(1, progress=False)
    assert not strict.history
    assert not strict.body.phi.x.array.any()


CASE = """
law: quartz.json
mesh: {shape: box, size: [1, 1, 1], cells: [2, 2, 2]}
displacements: [{where: x=min, value: [0, 0, 0], name: clamp}]
electrodes:
  - {where: x=min, potential: 0, name: low}
  - {where: x=max, potential: 1e-3, name: high, amplitude: [[0, 0], [0.5, 1], [1, 0.5]]}
surface_charges: [{where: z=max, value: 1e-6}]
steps: 2
"""


def test_a_case_with_electrodes(tmp_path):
    constants = {
        "elastic": QUARTZ_C.tolist(),
        "piezoelectric": QUARTZ_E.tolist(),
        "dielectric": QUARTZ_EPS.tolist(),
        "point_group": "32",
    }
    (tmp_path / "quartz.json").write_text(json.dumps(constants))
    (tmp_path / "case.yaml").write_text(CASE)
    result = simulate(tmp_path / "case.yaml", tmp_path / "out", progress=False)
    assert [s["potentials"]["high"] for s in result["steps"]] == pytest.approx([1e-3, 5e-4])
    table = pd.read_csv(tmp_path / "out" / "history.csv")
    assert table["high potential [V/nm length]"].tolist() == pytest.approx([1e-3, 5e-4])
    total = table["high charge [C/m^2 length^2]"] + table["low charge [C/m^2 length^2]"]
    assert total.tolist() == pytest.approx([-5e-7, -1e-6], rel=1e-6)  # and the charge on top
    assert read_history(tmp_path / "out")[-1].charges == result["steps"][-1]["charges"]
    again = simulate(tmp_path / "case.yaml", tmp_path / "out", progress=False)
    assert again["steps"][-1]["charges"] == result["steps"][-1]["charges"]
    assert (tmp_path / "out" / "result.bp").is_dir()


BOX = meshes.box((1, 1, 1), (2, 2, 2))
LOW = Electrode("z=min", 0.0)


@pytest.mark.parametrize(
    ("law", "conditions", "message"),
    [
        (ceramic, [held()], "no electrode holds the potential"),
        (ceramic, [held(), Electrode("z=max", charge=1.0)], "no electrode holds the potential"),
        (ceramic, [held(), LOW, Electrode("x=min", 1.0)], "'z=min' and 'x=min' touch at 3 nodes"),
        (ceramic, [held(), LOW, Electrode("z=max")], "potential or, if it floats, its charge"),
        (ceramic, [held(), LOW, Electrode("z=max", 1.0, charge=1.0)], "or, if it floats"),
        (ceramic, [held(), LOW, Electrode("z=max", np.nan)], "give a finite number"),
        (ceramic, [held(), LOW, Electrode("z=max", "1 V")], "give a finite number"),
        (ceramic, [held(), LOW, Electrode("z=2", 1.0)], "z=2"),
        (ceramic, [held(), LOW, Electrode("z=max", 1.0, name="z=min")], "two electrodes are named"),
        (ceramic, [held(), LOW, SurfaceCharge("z=max", np.inf)], "surface charge inf"),
        (lambda: NeoHooke(1, 1), [held(), LOW], r"electrode on 'z=min': .* electric field"),
    ],
)
def test_bad_electrodes_get_one_clear_line(law, conditions, message):
    with pytest.raises(InputError, match=message):
        StaticProblem(BOX, law(), conditions)


def test_problems_that_take_no_electrodes_say_so():
    with pytest.raises(InputError, match="only a static body takes it"):
        DynamicProblem(BOX, ceramic(), [held(), LOW], density=7500.0, length_unit=1e-3)
    with pytest.raises(InputError, match="goes with assembly = 'quadrature'"):
        StaticProblem(BOX, ceramic(), [held(), LOW], element="mixed", degree=2)
    mixed = Grains(
        lambda x: (x[:, 2] > 0.5).astype(int), [np.eye(3)] * 2, [ceramic(), NeoHooke(1, 1)]
    )
    with pytest.raises(InputError, match="laws of some grains know an electric field"):
        StaticProblem(BOX, mixed, [held(), LOW])


def test_arc_lengths_take_held_electrodes_and_no_charges():
    conditions = [held(), LOW, Electrode("z=max", 0.01, name="high")]
    followed, stepped = (StaticProblem(BOX, ceramic(), conditions) for _ in range(2))
    path = follow_path(followed, first=0.5, steps=2, progress=False)
    stepped.solve(1, until=path[-1].load, progress=False)
    assert path[-1].charges["high"] == pytest.approx(stepped.history[-1].charges["high"], rel=1e-8)
    charged = StaticProblem(BOX, ceramic(), [held(), LOW, Electrode("z=max", charge=1e-3)])
    with pytest.raises(InputError, match="knows no charges"):
        follow_path(charged, first=0.1, steps=1, progress=False)


def test_soft_dielectrics_are_warned_of_locking():
    rubber = ElectricLaw(NeoHooke(1e-3, 10.0), ElectricPolynomial(O3, (0, 0)), background=4.7)
    with pytest.warns(UserWarning, match="linear elements lock"):
        StaticProblem(BOX, rubber, [held(), LOW])


def test_without_electrodes_elsewhere_the_law_is_that_of_no_field():
    f = np.eye(3) + 0.01 * np.diag([1.0, 0, 0])
    with_field, without = (
        PeriodicCell(meshes.box((1, 1, 1), (2, 2, 2)), law, (1, 1, 1)).solve(f)
        for law in (ceramic(), ceramic().law)
    )
    np.testing.assert_allclose(with_field.P, without.P, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_two_ranks_agree_with_one():
    one, two = (printed_on("tests.test_electrodes", ranks) for ranks in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-9, abs=1e-15)


def on_ranks():
    """Charges and potentials of grains under voltage, a floating electrode among them."""
    rng = np.random.default_rng(0)
    turns = [random_rotation(rng) for _ in range(3)]
    grains = Grains(lambda x: (3 * x[:, 0]).astype(int), turns, random_electric_law())
    problem = StaticProblem(
        meshes.box((1, 1, 1), (6, 3, 3)),
        grains,
        [
            held(),
            Traction("x=max", (0.05, 0, 0)),
            Electrode("z=min", 0.0, name="low"),
            Electrode("z=max & x=max", 0.01, name="edge"),
            Electrode(lambda x: np.isclose(x[2], 1) & (x[0] < 0.6), charge=1e-3, name="film"),
        ],
    )
    record = problem.solve(2, progress=False)[-1]
    if problem.comm.rank == 0:
        print(
            json.dumps(
                [
                    [record.energy, *record.reactions["held"]],
                    list(record.charges.values()),
                    list(record.potentials.values()),
                ]
            )
        )
