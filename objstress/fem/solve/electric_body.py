"""A body whose law knows an electric field: displacement and potential are unknown together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import as_amplitude
from objstress.fem.conditions.displacements import Displacement
from objstress.fem.conditions.electrodes import Electrode, SurfaceCharge, charging, film
from objstress.fem.conditions.facets import described
from objstress.fem.materials.electric import ElectricMaterial, at_rest
from objstress.fem.materials.grains import Grains
from objstress.fem.solve.body import Body
from objstress.fem.solve.electric_supports import ElectricSupports
from objstress.fem.solve.linear import DIRECT_UP_TO
from objstress.fem.solve.supports import over_ranks
from objstress.laws.base import MaterialLaw

FILM = 1e6
"""Permittivity times thickness of a floating electrode, over that of the body times a cell."""


class ElectricBody(Body):
    r"""A body with a potential: both balances, of forces and of charges, in one system.

    .. math:: \int P : \nabla v\, dX = \ldots, \qquad
        \int D_0 \cdot \nabla q\, dX + \int \omega\, q\, dS = 0, \qquad E_0 = -\nabla \phi

    The unknowns at each node are u and phi / s, s the field at which the law stores as much as at
    a strain of one: all of them are lengths, all residuals forces, and the tangent is symmetric
    and well scaled.

    Args:
        mesh, law, conditions, options: see `Body`; assembly, element and plane as by default.

    Attributes:
        phi: potential, V/nm times the mesh's unit of length.
        scale: s, V/nm.
        permittivity: largest of the laws, C/m^2 over V/nm.

    Raises:
        InputError: see `Body`; another assembly, element or plane; nothing that holds the
            potential; electrodes that touch.
    """

    material: ElectricMaterial
    supports: ElectricSupports

    def _material(
        self, law: MaterialLaw | Any, degree: int, kind: tuple[str, str, str]
    ) -> ElectricMaterial:
        if kind != ("quadrature", "displacement", "strain"):
            raise InputError(
                "a law that knows an electric field goes with assembly = 'quadrature', element = "
                "'displacement' and plane = 'strain'"
            )
        mesh, dim = self.mesh, self.dim
        self.W = fem.functionspace(mesh, ("Lagrange", self.degree, (dim + 1,)))
        if not np.array_equal(self.W.dofmap.list, self.V.dofmap.list):
            raise RuntimeError("dolfinx numbers the nodes of two Lagrange spaces differently")
        self.w = fem.Function(self.W)
        self.phi = fem.Function(
            fem.functionspace(mesh, ("Lagrange", self.degree)), name="potential"
        )
        material = ElectricMaterial(self.u, self.phi, law, degree)
        stiffness, self.permittivity = at_rest(material.law)
        self.scale = (stiffness / self.permittivity) ** 0.5
        return material

    def follow(self) -> None:
        w = self.w.x.array.reshape(-1, self.dim + 1)
        self.u.x.array.reshape(-1, self.dim)[:] = w[:, : self.dim]
        self.phi.x.array[:] = self.scale * w[:, self.dim]

    def lead(self) -> None:
        w = self.w.x.array.reshape(-1, self.dim + 1)
        w[:, : self.dim] = self.u.x.array.reshape(-1, self.dim)
        w[:, self.dim] = self.phi.x.array / self.scale

    def change(self, conditions: Sequence[Any], load: float) -> None:
        self.lead()
        super().change(conditions, load)

    def _check_electric(self, conditions: Sequence[Electrode | SurfaceCharge]) -> None:
        self._electrodes = [c for c in conditions if isinstance(c, Electrode)]
        for electrode in self._electrodes:
            electrode.check(described(electrode))

    def _in_unknowns(self, residual: Any, jacobian: Any) -> tuple[Any, Any]:
        test, trial = ufl.TestFunction(self.W), ufl.TrialFunction(self.W)
        dim, s, material = self.dim, self.scale, self.material
        v, du = (ufl.as_vector([a[k] for k in range(dim)]) for a in (test, trial))
        q, dphi = s * test[dim], s * trial[dim]
        residual = ufl.replace(residual, {self._v: v}) + material.charge_residual(q)
        jacobian = ufl.replace(jacobian, {self._v: v, self._du: du})
        jacobian = jacobian + material.field_jacobian(du, dphi, v, q)
        thick = FILM * self.permittivity * self.edge
        for one, factor, ds in self._charged:
            if isinstance(one, SurfaceCharge):
                residual = residual - charging(one.value, factor, q, ds, self.mesh)
                continue
            area = self._area(ds)
            residual = residual - charging((one.charge or 0.0) / area, factor, q, ds, self.mesh)
            residual = residual + film(self.phi, q, thick, ds, self.mesh)
            jacobian = jacobian + film(dphi, q, thick, ds, self.mesh)
        return residual, jacobian

    def _area(self, ds: Any) -> float:
        form = fem.form(fem.Constant(self.mesh, 1.0) * ds)
        return float(over_ranks(self.comm, np.array([fem.assemble_scalar(form)]))[0])

    def _supports(self, start: fem.Function | None) -> ElectricSupports:
        displacements = [c for c in self.conditions if isinstance(c, Displacement)]
        return ElectricSupports(
            self.places, self.W, displacements, self._electrodes, self.scale, start
        )

    def check_rigid_motions(self) -> None:
        super().check_rigid_motions()
        self.supports.check_potential()

    def fields(self) -> dict[str, fem.Function]:
        return {"displacement": self.u, "potential": self.phi}

    def electrode_charges(self) -> dict[str, float]:
        """Free charge on each electrode, C/m^2 length^2; what the residual there balances."""
        found = self.supports.charges(self.assemble_residual())
        for name, one in zip(found, self._electrodes, strict=True):
            if one.charge is not None:
                amplitude, s = as_amplitude(one.amplitude), float(self.load.value)
                found[name] = one.charge * (s if amplitude is None else float(amplitude(s)))
        return found

    def electrode_potentials(self) -> dict[str, float]:
        """Mean potential of the nodes of each electrode, V/nm length."""
        return self.supports.mean_potentials(self.phi)

    def solver_options(self) -> dict[str, Any]:
        nodes, width = self.W.dofmap.index_map.size_global, self.dim + 1
        if nodes * width <= DIRECT_UP_TO:
            return super().solver_options()
        multigrid = {
            "ksp_type": "preonly",
            "pc_type": "gamg",
            "pc_gamg_threshold": 0.01,
            "mg_levels_ksp_type": "chebyshev",
            "mg_levels_pc_type": "jacobi",
        }
        blocks = {"0": ",".join(map(str, range(self.dim))), "1": str(self.dim)}
        return {
            "ksp_type": "gmres",
            "ksp_rtol": 1e-8,
            "ksp_max_it": 500,
            "ksp_gmres_restart": 100,
            "pc_type": "fieldsplit",
            "pc_fieldsplit_type": "symmetric_multiplicative",
            "pc_fieldsplit_block_size": width,
            **{f"pc_fieldsplit_{k}_fields": fields for k, fields in blocks.items()},
            **{f"fieldsplit_{k}_{name}": v for k in blocks for name, v in multigrid.items()},
        }


def knows_field(law: MaterialLaw | Any) -> bool:
    """Whether a body's law knows an electric field.

    Args:
        law: as a problem takes it.

    Raises:
        InputError: of several grains some do and others do not.
    """
    if not isinstance(law, Grains):
        return bool(getattr(law, "knows_field", False))
    known = {one.knows_field for one in law.laws}
    if len(known) > 1:
        raise InputError(
            "the laws of some grains know an electric field, of others not: give one kind"
        )
    return known == {True}
