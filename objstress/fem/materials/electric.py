"""A law of strain and electric field at the quadrature points of a mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import ufl
from dolfinx import fem
from mpi4py import MPI

from objstress.errors import InputError
from objstress.fem.materials.grains import Grains, distinct_laws
from objstress.fem.materials.quadrature import QuadratureMaterial, gradient
from objstress.laws.base import MaterialLaw


def slope(f: Any) -> Any:
    """grad f of a scalar, three components also on a mesh of two dimensions."""
    g = ufl.grad(f)
    return g if g.ufl_shape == (3,) else ufl.as_vector([g[0], g[1], 0.0])


class ElectricMaterial(QuadratureMaterial):
    r"""P, D0 and their tangents of any law of strain and field as quadrature functions.

    .. math::

        r(u, \phi; v, q) = \int P : \nabla v + D_0 \cdot \nabla q \, dX, \qquad
        E_0 = -\nabla \phi

    the first variation of the integral of H. `update` follows u and phi.

    Args:
        u, law, degree: see `QuadratureMaterial`; the law knows a field.
        phi: potential in V/nm times the mesh's unit of length.

    Attributes:
        E0: material field at the points, V/nm, (n_points, 3).
        charge, coupling, permittivity: dolfinx functions of D0 (3,) in C/m^2, dP/dE0 (3, 3, 3) in
            C/m^2 and dD0/dE0 (3, 3) in C/m^2 over V/nm.
        energy: the enthalpy H, GPa, (n_points,).
    """

    def __init__(self, u: fem.Function, phi: fem.Function, law: MaterialLaw | Grains, degree: int):
        super().__init__(u, law, degree)
        self.phi = phi
        self.inputs.append(phi)
        self._field = fem.Expression(-slope(phi), self.points)
        self.E0 = np.zeros((len(self.F), 3))
        self.charge = self._function((3,), "D0")
        self.coupling = self._function((3, 3, 3), "dP/dE0")
        self.permittivity = self._function((3, 3), "dD0/dE0")

    def _before(self) -> None:
        self.E0 = self._field.eval(self.u.function_space.mesh, self.cells).reshape(-1, 3)

    def _evaluate(self, tangent: bool) -> None:
        parts = self.law.electric_response(self.F, self.E0, 2 if tangent else 1)
        self.energy = parts[0].numpy()
        targets = (self.stress, self.charge, self.tangent, self.coupling, self.permittivity)
        for function, values in zip(targets, parts[1:], strict=False):
            self._fill(function, values.numpy())

    def charge_residual(self, q: Any) -> Any:
        """UFL form of the balance of charges, with q a change of the potential."""
        return ufl.inner(self.charge, slope(q)) * self.dx

    def field_jacobian(self, du: Any, dphi: Any, v: Any, q: Any) -> Any:
        """UFL form of what the field adds to the derivative of both balances, see `jacobian`.

        Args:
            du, dphi: changes of displacement and potential.
            v, q: test functions of both.
        """
        b, field = self.coupling, -slope(dphi)
        i, j, k = ufl.indices(3)
        stress = ufl.as_tensor(b[i, j, k] * field[k], (i, j))
        charge = ufl.as_vector(-b[i, j, k] * gradient(du)[i, j], k)
        charge = charge + ufl.dot(self.permittivity, field)
        return (ufl.inner(stress, gradient(v)) + ufl.inner(charge, slope(q))) * self.dx

    def fields_outside(self) -> tuple[int, float]:
        comm = self.u.function_space.mesh.comm
        size = np.linalg.norm(self.E0[: self.owned], axis=1)
        largest = comm.allreduce(float(size.max(initial=0.0)), op=MPI.MAX)
        limit = self.law.largest_field
        count = 0 if limit is None else int((size > limit * (1 + 1e-9)).sum())
        return comm.allreduce(count, op=MPI.SUM), largest

    def cell_averages(self) -> dict[str, np.ndarray]:
        """As of any material, and `electric_field` (3,), e = F^-T E0 in V/nm.

        And `electric_displacement` (3,), d = F D0 / J in C/m^2.
        """
        charge = self.charge.x.array.reshape(-1, 3)[self._rows]
        e = np.linalg.solve(self.F.transpose(0, 2, 1), self.E0[..., None])[..., 0]
        d = np.einsum("nij,nj->ni", self.F, charge) / np.linalg.det(self.F)[:, None]
        return super().cell_averages() | {
            "electric_field": self.cell_means(e),
            "electric_displacement": self.cell_means(d),
        }


def at_rest(law: Any) -> tuple[float, float]:
    """The largest elastic constant (GPa) and permittivity (C/m^2 over V/nm) of a body's laws.

    Args:
        law: of strain and field, or of grains of such laws.

    Raises:
        InputError: a permittivity that is not positive.
    """
    stiffness, permittivity = 0.0, 0.0
    for one in distinct_laws(law):
        parts = one.electric_response(np.eye(3), np.zeros(3), 2)
        if float(torch.linalg.eigvalsh(parts[5]).min()) <= 0:
            raise InputError("the law's permittivity is not positive at rest")
        stiffness = max(stiffness, float(parts[3].abs().max()))
        permittivity = max(permittivity, float(parts[5].abs().max()))
    return stiffness, permittivity
