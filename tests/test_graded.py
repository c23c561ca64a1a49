"""Bodies whose parameters are a field: members of a family of laws in finite elements."""

import numpy as np
import pytest
import torch

from objstress import InputError, OutsideDomainWarning

pytest.importorskip("dolfinx_solver")

import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from objstress.fem import Displacement, Graded, Grains, QuadratureMaterial, StaticProblem
from objstress.models.strain_network import StrainNetworkSettings
from objstress.training.laws.family import fit_family
from objstress.training.laws.settings import NetworkTraining
from tests.test_families import foams


@pytest.fixture(scope="module")
def foam(tmp_path_factory):
    path = tmp_path_factory.mktemp("foam") / "foams.csv"
    foams([0.2, 0.3, 0.4, 0.5, 0.6], n=12).to_csv(path, index=False)
    return fit_family(
        path,
        "m-3m",
        ["density"],
        network=StrainNetworkSettings(members=1, hidden=(8,)),
        training=NetworkTraining(epochs=8),
        progress=False,
    )


def cube(n=3):
    return mesh.create_unit_cube(MPI.COMM_SELF, n, n, n, mesh.CellType.hexahedron)


def squeezed(domain, law):
    problem = StaticProblem(
        domain, law, [Displacement("z=min", (0, 0, 0)), Displacement("z=max", (0, 0, -0.05))]
    )
    problem.solve()
    return problem


def layers(domain, values):
    field = fem.Function(fem.functionspace(domain, ("DG", 0)))
    middle = mesh.compute_midpoints(domain, 3, np.arange(domain.topology.index_map(3).size_local))
    field.x.array[:] = np.where(middle[:, 2] < 0.5, *values)
    return field


def test_a_uniform_field_is_one_member(foam):
    domain = cube()
    graded = squeezed(domain, Graded(foam, fem.Constant(domain, 0.35)))
    plain = squeezed(domain, foam.at([0.35]))
    np.testing.assert_allclose(graded.u.x.array, plain.u.x.array, atol=1e-9)


def test_layers_are_grains_of_their_own_laws(foam):
    domain = cube(4)
    graded = squeezed(domain, Graded(foam, layers(domain, (0.25, 0.55))))
    ids = layers(domain, (0, 1)).x.array.astype(int)
    turns = np.tile(np.eye(3), (2, 1, 1))
    grains = squeezed(domain, Grains(ids, turns, [foam.at([0.25]), foam.at([0.55])]))
    np.testing.assert_allclose(graded.u.x.array, grains.u.x.array, atol=1e-9)
    cells = np.array([0, 40], dtype=np.int32)
    f = graded.material.F.reshape(64, -1, 3, 3)[cells, 0]
    torch.testing.assert_close(
        graded.material.law_in(cells).response(f, 1)[1],
        grains.material.law_in(cells).response(f, 1)[1],
    )


def test_an_expression_of_the_place_is_a_field_and_a_change_of_it_is_seen(foam):
    domain = cube(2)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (3,))))
    u.interpolate(lambda x: 0.03 * np.stack([x[1], x[2], x[0]]))
    top = fem.Constant(domain, 0.5)
    z = ufl.SpatialCoordinate(domain)[2]
    material = QuadratureMaterial(u, Graded(foam, 0.2 + (top - 0.2) * z), 2)
    material.update(False)
    before = material.energy.copy()
    p = material.law.p[:, 0].numpy()
    assert 0.2 < p.min() < 0.3 < 0.4 < p.max() < 0.5
    np.testing.assert_allclose(before, foam.response(material.F, p[:, None], 0)[0].numpy())
    top.value = 0.3
    material.update(False)
    assert (material.energy < before).all()


def test_the_derivative_of_the_energy_by_the_field_is_its_difference(foam):
    domain = cube(2)
    field = layers(domain, (0.3, 0.5))
    problem = squeezed(domain, Graded(foam, field))
    material = problem.material

    def energy():
        material.update(False)
        return float(material.volumes @ material.energy)

    # At fixed displacements: what an adjoint needs of the law.
    by_energy, _ = material.law.by_parameters(material.F)
    expected = float(material.volumes @ by_energy[:, 0].numpy())
    sizes = []
    for shift in (1e-4, -2e-4):
        field.x.array[:] += shift
        sizes.append(energy())
    assert (sizes[0] - sizes[1]) / 2e-4 == pytest.approx(expected, rel=1e-6)


def test_fields_that_do_not_fit_are_said(foam):
    domain = cube(2)
    with pytest.raises(InputError, match=r"shape \(2,\) for the parameters density"):
        Graded(foam, fem.Constant(domain, (0.3, 0.4)))
    with pytest.warns(OutsideDomainWarning, match="density = 0.62 is outside"):
        squeezed(domain, Graded(foam, layers(domain, (0.3, 0.62))))
    with pytest.raises(InputError, match="takes no orientation"):
        StaticProblem(domain, Graded(foam, fem.Constant(domain, 0.3)), [], orientation=np.eye(3))
