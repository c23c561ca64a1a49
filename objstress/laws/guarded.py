"""A law that stays safe far away: unchanged inside its trained strains, growing outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import LawAround, law_from_dict
from objstress.laws.strain_energy import StrainEnergyLaw, tensor_from_mandel

MARGIN = 0.25
"""How much further than the trained strains the law itself is evaluated, in units of them."""


class GuardedLaw(LawAround, StrainEnergyLaw):
    r"""A law that stays safe far away: unchanged inside its trained strains, growing outside.

    .. math:: W_\mathrm{guard}(E) = W(s(q) E) + k \langle q - 1 \rangle^3
        + k_J \langle \ln (J_0 / J) \rangle^3, \qquad q = E : M : E

    M is the trained ellipsoid (q <= 1 inside), <a> = max(a, 0). s is one inside and takes sqrt(q) s
    to at most 1 + `MARGIN` outside, twice continuously differentiable, so that W is never evaluated
    far from what it learned. The two penalties vanish inside with their first two derivatives (J_0
    is below every J of the ellipsoid) and carry the growth outside: W rises along every ray from F
    = I and goes to infinity with |E| and as J -> 0.

    M is invariant under G, so the symmetry is the law's own.

    Args:
        law: a learned or compiled law with a trained domain.
        strength: (k, k_J) in GPa; None measures the least that make W grow along every ray.

    Raises:
        InputError: a law without a trained domain, or that is no energy of E.
    """

    kind = "guarded"

    def __init__(self, law: Any, strength: tuple[float, float] | None = None):
        domain = getattr(law, "domain", None)
        if domain is None or not isinstance(law, StrainEnergyLaw):
            raise InputError(
                "only an energy of E with a trained domain can be guarded outside of it; guard a "
                "law before it is rotated or fused"
            )
        self.law: StrainEnergyLaw = law
        self.point_group, self.domain = law.point_group, domain
        self.chunk, self.outside_action = law.chunk, law.outside_action
        radius = float(1 / np.sqrt(np.linalg.eigvalsh(domain.numpy()).min()))
        # The least J on |E| = radius: hydrostatic or, for the largest domains, uniaxial.
        least = min(
            1.5 * np.log(max(1 - 2 * radius / np.sqrt(3), 1e-3)),
            0.5 * np.log(max(1 - 2 * radius, 1e-3)),
        )
        self.log_volume = float(least)
        self.strength = strength or self._measure()

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        m = x @ self.domain
        q = (m * x).sum(-1)
        if not (outside := q > 1).any():
            # Not one digit is touched inside.
            return self.law.strain_energy(x, order)
        parts = [
            p.clone() for p in self.law.strain_energy(torch.where(outside[:, None], 0, x), order)
        ]
        far = self._outside(x[outside], m[outside], q[outside], order)
        for part, value in zip(parts, far, strict=True):
            part[outside] = value
        return tuple(parts)

    def _outside(self, x: Tensor, m: Tensor, q: Tensor, order: int) -> tuple[Tensor, ...]:
        s, s1, s2 = _shrink(q)
        inner = self.law.strain_energy(s[:, None] * x, order)
        wall, volume = self.strength
        out = [inner[0] + wall * (q - 1) ** 3]
        eye = torch.eye(6, dtype=x.dtype)
        # dy/dx of y = s(q) x, with dq/dx = 2 m.
        jacobian = s[:, None, None] * eye + 2 * s1[:, None, None] * x[:, :, None] * m[:, None]
        if order >= 1:
            slope = 6 * wall * (q - 1) ** 2
            out.append((inner[1][:, None] @ jacobian)[:, 0] + slope[:, None] * m)
        if order >= 2:
            along = (inner[1] * x).sum(-1)
            mm = m[:, :, None] * m[:, None]
            cross = inner[1][:, :, None] * m[:, None]
            out.append(
                jacobian.transpose(1, 2) @ inner[2] @ jacobian
                + 2 * s1[:, None, None] * (cross + cross.transpose(1, 2))
                + (along * 4 * s2)[:, None, None] * mm
                + (along * 2 * s1 + slope)[:, None, None] * self.domain
                + (24 * wall * (q - 1))[:, None, None] * mm
            )
        extra = self._compression(x, volume, order)
        return tuple(a + b for a, b in zip(out, extra, strict=True))

    def _compression(self, x: Tensor, strength: float, order: int) -> tuple[Tensor, ...]:
        # k_J <ln J_0 - ln J>^3 with ln J = (1/2) ln det C, d ln J = C^-1 : dE.
        c = torch.eye(3, dtype=x.dtype) + 2 * tensor_from_mandel(x)
        gap = (self.log_volume - 0.5 * torch.linalg.det(c).log()).clamp(min=0)
        out = [strength * gap**3]
        if order >= 1:
            inverse = torch.linalg.inv(c)
            basis = tensor_from_mandel(torch.eye(6, dtype=x.dtype))
            v = torch.einsum("nij,aij->na", inverse, basis)
            out.append(-3 * strength * (gap**2)[:, None] * v)
        if order >= 2:
            # d(C^-1) = -2 C^-1 dE C^-1
            curvature = torch.einsum("nij,ajk,nkl->nail", inverse, basis, inverse)
            bend = 2 * torch.einsum("nail,bil->nab", curvature, basis)
            out.append(
                3 * strength * (gap**2)[:, None, None] * bend
                + 6 * strength * gap[:, None, None] * v[:, :, None] * v[:, None]
            )
        return tuple(out)

    def _measure(self) -> tuple[float, float]:
        # The penalties start at the energy stored at the edge of the domain, and are doubled until
        # W grows along every one of many rays.
        rays = _rays(self.domain)
        edge = float(self.law.strain_energy(rays, 0)[0].abs().mean())
        for doubling in range(12):
            self.strength = (edge * 2**doubling, 10 * edge * 2**doubling)
            if (_slopes(self, rays) > 0).all():
                return self.strength
        raise InputError("the law's energy falls even inside its trained strains: refit it")

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description, tensors = self.law.to_dict()
        return {
            "kind": self.kind,
            "law": description,
            "strength": list(self.strength),
        }, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> GuardedLaw:
        return cls(law_from_dict(description["law"], tensors), tuple(description["strength"]))


def _shrink(q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # sqrt(q) s(q) = 1 + MARGIN tanh((sqrt(q) - 1) / MARGIN) is twice continuously differentiable
    # at q = 1 (tanh has no second order term). Returns s, ds/dq and d2s/dq2.
    r = q.sqrt()
    t = torch.tanh((r - 1) / MARGIN)
    rho, rho1 = 1 + MARGIN * t, 1 - t**2
    rho2 = -2 * t * rho1 / MARGIN
    s = rho / r
    d1 = (rho1 - s) / r
    d2 = (rho2 - 2 * d1) / r
    # From d/dr to d/dq, r = sqrt(q).
    return s, d1 / (2 * r), (d2 - d1 / r) / (4 * q)


def _rays(domain: Tensor, count: int = 2000) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, dtype=torch.float64, generator=generator)
    isotropic = torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=torch.float64)
    x = torch.cat([x, isotropic[None], -isotropic[None]])
    return x / ((x @ domain) * x).sum(-1, keepdim=True).sqrt()


def _slopes(law: StrainEnergyLaw, rays: Tensor) -> Tensor:
    # dW/dr along each ray x = r ray, beyond the edge, as far as C stays positive.
    slopes = []
    least = torch.linalg.eigvalsh(tensor_from_mandel(rays))[:, 0]
    for r in (1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0):
        reached = rays[1 + 2 * r * least > 1e-3]
        if len(reached):
            slopes.append((law.strain_energy(r * reached, 1)[1] * reached).sum(-1))
    return torch.cat(slopes)
