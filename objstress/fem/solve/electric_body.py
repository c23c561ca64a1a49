"""A body whose law knows an electric field: displacement and potential are unknown together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import as_amplitude
from objstress.fem.conditions.displacements import Displacement
from objstress.fem.conditions.electrodes import Electrode, SurfaceCharge, charging
from objstress.fem.conditions.facets import described
from objstress.fem.materials.electric import ElectricMaterial, at_rest
from objstress.fem.materials.grains import Grains
from objstress.fem.solve.body import Body
from objstress.fem.solve.electric_supports import ElectricSupports
from objstress.fem.solve.linear import DIRECT_UP_TO, near_nullspace
from objstress.laws.base import MaterialLaw


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
        stiffness, permittivity = at_rest(material.law)
        self.scale = (stiffness / permittivity) ** 0.5
        return material

    def lead(self) -> None:
        w = self.w.x.array.reshape(-1, self.dim + 1)
        w[:, : self.dim] = self.u.x.array.reshape(-1, self.dim)
        w[:, self.dim] = self.phi.x.array / self.scale

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
        for one, factor, ds in self._charged:
            residual = residual - charging(one.value, factor, q, ds, self.mesh)
        return residual, jacobian

    @property
    def carries_charge(self) -> bool:  # type: ignore[override]
        """Whether charges are given, on surfaces or floating electrodes."""
        return bool(self._charged or self.supports.floating)

    def prepare(self, ksp: PETSc.KSP) -> None:
        pc = ksp.getPC()
        if pc.getType() != "fieldsplit":
            return
        nodes = np.arange(*self.W.dofmap.index_map.local_range, dtype=np.int32) * (self.dim + 1)
        displacement = (nodes[:, None] + np.arange(self.dim, dtype=np.int32)).ravel()
        fields = [
            PETSc.IS().createGeneral(n, comm=self.comm) for n in (displacement, nodes + self.dim)
        ]
        fields[0].setBlockSize(self.dim)
        # The matrix has that of both fields; without its own, multigrid fails on slender bodies.
        fields[0].compose("nearnullspace", near_nullspace(self.V))
        pc.setFieldSplitIS(("0", fields[0]), ("1", fields[1]))

    def _supports(self, start: fem.Function | None) -> ElectricSupports:
        displacements = [c for c in self.conditions if isinstance(c, Displacement)]
        supports = ElectricSupports(
            self.places, self.W, displacements, self._electrodes, self.scale, start
        )
        self._ties, self._loose = supports.ties(), None
        return supports

    def follow(self) -> None:
        self.supports.even_out(self.w)
        w = self.w.x.array.reshape(-1, self.dim + 1)
        self.u.x.array.reshape(-1, self.dim)[:] = w[:, : self.dim]
        self.phi.x.array[:] = self.scale * w[:, self.dim]

    def create_matrix(self) -> PETSc.Mat:
        loose = super().create_matrix()
        if self._ties is None:
            return loose
        return self._tied(super().assemble_jacobian(loose))

    def assemble_jacobian(self, A: PETSc.Mat | None = None, bcs: bool = True) -> PETSc.Mat:
        if self._ties is None:
            return super().assemble_jacobian(A, bcs)
        self._loose = super().assemble_jacobian(self._loose, bcs)
        tied = self._tied(self._loose)
        if A is None:
            return tied
        tied.copy(A)
        tied.destroy()  # those of several ranks are not freed by Python
        return A

    def _tied(self, loose: PETSc.Mat) -> PETSc.Mat:
        """The derivative by masters; what has one is set apart, with one on the diagonal."""
        tied = loose.PtAP(self._ties)
        apart = tied.createVecLeft()
        apart.set(0.0)
        rows = self.supports.tied_rows()
        apart.setValues(rows, np.ones(len(rows)))
        apart.assemble()
        ones = PETSc.Mat().createDiagonal(apart)
        ones.convert("aij")
        tied.axpy(1.0, ones, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        ones.destroy()
        return tied

    def assemble_residual(self, b: PETSc.Vec | None = None) -> PETSc.Vec:
        b = super().assemble_residual(b)
        if self._ties is None:
            return b
        self._tie(b, self._ties)
        for master, charge in zip(self.supports.masters, self._given_charges(), strict=True):
            first, last = b.getOwnershipRange()
            if first <= master < last:
                b.getArray()[master - first] += self.scale * charge
        return b

    def bring_in(self, b: PETSc.Vec, x: PETSc.Vec | None, alpha: float) -> None:
        super().bring_in(b, x, alpha)
        if self._ties is not None:
            self._tie(b, self._ties)

    def _tie(self, b: PETSc.Vec, ties: PETSc.Mat) -> None:
        """Sum the rows of each floating electrode into its master's."""
        tied = ties.createVecRight()
        ties.multTranspose(b, tied)
        b.getArray()[:] = tied.getArray()

    def _given_charges(self) -> list[float]:
        """Of the floating electrodes at the present load factor."""
        charges, s = [], float(self.load.value)
        for _, one in self.supports.floating:
            amplitude = as_amplitude(one.amplitude)
            factor = s if amplitude is None else float(amplitude(s))
            if not np.isfinite(factor):
                raise InputError(f"an amplitude of a charge is {factor} at load factor {s:g}")
            charges.append(factor * float(one.charge or 0.0))
        return charges

    def check_rigid_motions(self) -> None:
        super().check_rigid_motions()
        self.supports.check_potential()

    def fields(self) -> dict[str, fem.Function]:
        return {"displacement": self.u, "potential": self.phi}

    def electrode_charges(self) -> dict[str, float]:
        # Of the field alone: neither charges that are given nor what fades after a change.
        return self.supports.charges(self.unbalanced())

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
        return {
            "ksp_type": "gmres",
            "ksp_rtol": 1e-8,
            "ksp_max_it": 500,
            "ksp_gmres_restart": 100,
            "pc_type": "fieldsplit",
            "pc_fieldsplit_type": "symmetric_multiplicative",
            **{f"fieldsplit_{k}_{name}": v for k in (0, 1) for name, v in multigrid.items()},
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
