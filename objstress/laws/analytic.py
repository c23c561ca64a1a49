"""Laws in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import MaterialLaw
from objstress.laws.strain_energy import StrainEnergyLaw, tensor_from_mandel
from objstress.symmetry.point_group import O3, PointGroup, SymmetryGroup, symmetry_group
from objstress.symmetry.voigt import MANDEL, mandel_rotations, mandel_to_voigt, voigt_to_mandel


class _QuadraticLaw(StrainEnergyLaw):
    """A quadratic energy of some strain, of any anisotropy: what such laws have in common."""

    def __init__(self, stiffness: Any, point_group: str | SymmetryGroup = "-1"):
        c = np.asarray(stiffness, dtype=np.float64)
        if c.shape != (6, 6) or not np.isfinite(c).all():
            raise InputError("the stiffness must be a finite 6 x 6 Voigt matrix in GPa")
        if np.abs(c - c.T).max() > 1e-9 * np.abs(c).max():
            raise InputError("the stiffness matrix is not symmetric")
        mandel = voigt_to_mandel(0.5 * (c + c.T))
        if np.linalg.eigvalsh(mandel).min() <= 0:
            raise InputError("the stiffness is not positive definite: the crystal is unstable")
        self.point_group = symmetry_group(point_group)
        if isinstance(self.point_group, PointGroup):
            m = mandel_rotations(self.point_group.operations)
            if np.abs(m @ mandel @ m.transpose(0, 2, 1) - mandel).max() > 1e-6 * np.abs(c).max():
                raise InputError(f"the stiffness is not invariant under {self.point_group.symbol}")
        self.c = torch.tensor(mandel)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        group = self.point_group
        tensors = {"stiffness_mandel": self.c}
        if isinstance(group, PointGroup):
            tensors["operations"] = torch.tensor(group.operations)
        return {"kind": self.kind, "group": group.symbol}, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> _QuadraticLaw:
        group = symmetry_group(description["group"], tensors.get("operations"))
        return cls(mandel_to_voigt(tensors["stiffness_mandel"].numpy()), group)


class SaintVenantKirchhoff(_QuadraticLaw):
    r"""Saint Venant and Kirchhoff's law of any anisotropy: a quadratic energy of E.

    .. math:: W = \tfrac12 E : C : E, \qquad S = C : E

    Args:
        stiffness: C, 6 x 6 Voigt in GPa (order xx yy zz yz xz xy), symmetric, positive definite.
        point_group: symbol or group that C must be invariant under; -1 (any C) by default.

    Raises:
        InputError: C is not symmetric, not positive definite, or breaks the point group.
    """

    kind = "saint-venant-kirchhoff"

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        g = x @ self.c
        return (0.5 * (x * g).sum(-1), g, self.c.expand(len(x), 6, 6))[: order + 1]


class BazantLaw(_QuadraticLaw):
    r"""A quadratic energy of Bazant's strain, of any anisotropy: elastic constants at large strain.

    .. math:: W = \tfrac12 e : C : e, \qquad e = \tfrac14 (U^2 - U^{-2}), \qquad U^2 = F^T F

    e agrees with Hencky's strain ln U to the second order in ln U and grows without bound where a
    material is stretched and where it is crushed: unlike Saint Venant and Kirchhoff's law this one
    stiffens in compression, and its energy goes to infinity as J -> 0.

    Bazant, J. Eng. Mater. Technol. 120 (1998) 131, with m = 2.

    Args:
        stiffness: C, 6 x 6 Voigt in GPa (order xx yy zz yz xz xy), symmetric, positive definite.
        point_group: symbol or group that C must be invariant under; -1 (any C) by default.

    Raises:
        InputError: C is not symmetric, not positive definite, or breaks the point group.
    """

    kind = "bazant"

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        strain = tensor_from_mandel(x)
        c = torch.eye(3, dtype=x.dtype, device=x.device) + 2 * strain
        inverse = torch.linalg.inv(c)
        basis = x.new_tensor(MANDEL)
        e = torch.einsum("aij,nij->na", basis, 0.25 * (c - inverse))
        t = e @ self.c
        out = [0.5 * (e * t).sum(-1)]
        if order >= 1:
            # de = (dE + C^-1 dE C^-1) / 2
            moved = inverse[:, None] @ basis @ inverse[:, None]
            eye = torch.eye(6, dtype=x.dtype, device=x.device)
            slope = 0.5 * (eye + torch.einsum("aij,nbij->nab", basis, moved))
            out.append((t[:, None] @ slope)[:, 0])
        if order >= 2:
            # T : d2e = -2 sym tr(Y dE C^-1 dE), Y = C^-1 T C^-1
            y = inverse @ tensor_from_mandel(t) @ inverse
            bend = torch.einsum("nbij,aij->nab", y[:, None] @ basis @ inverse[:, None], basis)
            out.append(slope.transpose(1, 2) @ self.c @ slope - bend - bend.transpose(1, 2))
        return tuple(out)


class NeoHooke(MaterialLaw):
    r"""Compressible neo-Hookean law, isotropic.

    .. math::

        W &= \tfrac{\mu}{2} (\mathrm{tr}\, F^T F - 3) - \mu \ln J + \tfrac{\lambda}{2} (\ln J)^2 \\
        P &= \mu (F - F^{-T}) + \lambda \ln J \, F^{-T}

    Bonet and Wood, Nonlinear Continuum Mechanics for Finite Element Analysis, eq. (6.27).

    Args:
        mu: shear modulus, GPa, positive.
        lam: Lame's first constant, GPa, with lam + 2/3 mu > 0.

    Raises:
        InputError: a shear or bulk modulus that is not positive.
    """

    kind = "neo-hooke"
    point_group = O3

    def __init__(self, mu: float, lam: float):
        if not (mu > 0 and lam + 2 * mu / 3 > 0):
            raise InputError(f"mu = {mu}, lambda = {lam} GPa: shear and bulk modulus must be > 0")
        self.mu, self.lam = float(mu), float(lam)

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        log = torch.log(torch.linalg.det(F))
        energy = 0.5 * self.mu * ((F * F).sum((-1, -2)) - 3) - self.mu * log
        out = [energy + 0.5 * self.lam * log**2]
        if order >= 1:
            inverse = torch.linalg.inv(F)
            transposed = inverse.transpose(-1, -2)
            log_ = log[:, None, None]
            out.append(self.mu * (F - transposed) + self.lam * log_ * transposed)
        if order >= 2:
            eye = torch.eye(3, dtype=F.dtype, device=F.device)
            a = self.mu * torch.einsum("ik,jl->ijkl", eye, eye)
            a = a + self.lam * torch.einsum("nji,nlk->nijkl", inverse, inverse)
            factor = (self.mu - self.lam * log)[:, None, None, None, None]
            out.append(a + factor * torch.einsum("njk,nli->nijkl", inverse, inverse))
        return tuple(out)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"kind": self.kind, "mu": self.mu, "lam": self.lam}, {}

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> NeoHooke:
        return cls(description["mu"], description["lam"])


class DecoupledNeoHooke(MaterialLaw):
    r"""Neo-Hookean law with shape and volume decoupled, isotropic.

    .. math::

        W &= \tfrac{\mu}{2} (J^{-2/3} I_1 - 3) + \tfrac{\kappa}{4} (J^2 - 1 - 2 \ln J),
        \qquad I_1 = \mathrm{tr}\, F^T F \\
        P &= \mu J^{-2/3} (F - \tfrac{I_1}{3} F^{-T}) + \tfrac{\kappa}{2} (J^2 - 1) F^{-T}

    Simo, Taylor and Pister, Comput. Methods Appl. Mech. Engrg. 51 (1985) 177.

    Args:
        mu: shear modulus, GPa, positive.
        kappa: bulk modulus, GPa, positive.

    Raises:
        InputError: a modulus that is not positive.
    """

    kind = "decoupled-neo-hooke"
    point_group = O3

    def __init__(self, mu: float, kappa: float):
        if not (mu > 0 and kappa > 0):
            raise InputError(f"mu = {mu}, kappa = {kappa} GPa: both must be > 0")
        self.mu, self.kappa = float(mu), float(kappa)

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        j = torch.linalg.det(F)
        first = (F * F).sum((-1, -2))
        scale = self.mu * j ** (-2 / 3)
        energy = 0.5 * (scale * first - 3 * self.mu)
        out = [energy + 0.25 * self.kappa * (j**2 - 1 - 2 * torch.log(j))]
        if order >= 1:
            inverse = torch.linalg.inv(F)
            transposed = inverse.transpose(-1, -2)
            pressure = 0.5 * self.kappa * (j**2 - 1) - scale * first / 3
            out.append(scale[:, None, None] * F + pressure[:, None, None] * transposed)
        if order >= 2:

            def each(values: Tensor) -> Tensor:
                return values[:, None, None, None, None]

            eye = torch.eye(3, dtype=F.dtype, device=F.device)
            mixed = torch.einsum("nij,nkl->nijkl", F, transposed)
            both = torch.einsum("nij,nkl->nijkl", transposed, transposed)
            a = each(scale) * (
                torch.einsum("ik,jl->ijkl", eye, eye)
                - 2 / 3 * (mixed + mixed.permute(0, 3, 4, 1, 2))
            )
            a = a + each(2 / 9 * scale * first + self.kappa * j**2) * both
            out.append(a - each(pressure) * torch.einsum("njk,nli->nijkl", inverse, inverse))
        return tuple(out)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"kind": self.kind, "mu": self.mu, "kappa": self.kappa}, {}

    @classmethod
    def from_dict(
        cls, description: dict[str, Any], tensors: dict[str, Tensor]
    ) -> DecoupledNeoHooke:
        return cls(description["mu"], description["kappa"])
