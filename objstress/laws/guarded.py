"""A law that stays safe far away: unchanged inside its trained strains, growing outside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.analytic import BazantLaw
from objstress.laws.base import LawAround, law_from_dict
from objstress.laws.strain_energy import StrainEnergyLaw

MARGIN = 0.05
"""How much further than the trained strains the law itself is evaluated, in units of them: little,
because from there on it extrapolates, but not nothing, because the stress changes its slope
within."""


class GuardedLaw(LawAround, StrainEnergyLaw):
    r"""A law that stays safe far away: unchanged inside its trained strains, growing outside.

    .. math:: W_\mathrm{guard}(E) = U(E) + (W - U)(s E) + K (r - \rho(r)), \qquad
        r^2 = E : M : E, \qquad s = \rho(r) / r

    M is the trained ellipsoid (r <= 1 inside) and U the `BazantLaw` with the law's elastic
    constants, which is defined and grows for every F. Inside rho = r, and W is the law's own.
    Outside rho = 1 + m tanh((r - 1) / m) with m = `MARGIN`, twice continuously differentiable: of
    the law only its difference from U at the edge is left, and U alone carries the growth.

    Where rho levels off, the curvature along a ray changes by rho'' d(W - U)/dr - K rho''. K is the
    largest d(W - U)/dr found from the edge to there (or zero), so that this is not negative: no ray
    loses stiffness as it leaves the domain, and the transverse stiffness goes over from the law's
    to U's.

    M and C are invariant under G, so the symmetry is the law's own.

    Args:
        law: a learned or compiled law with a trained domain.
        slope: K in GPa; None measures it.

    Raises:
        InputError: a law without a trained domain, one that is no energy of E, or whose elastic
            constants are not positive definite.
    """

    kind = "guarded"

    def __init__(self, law: Any, slope: float | None = None):
        domain = getattr(law, "domain", None)
        if domain is None or not isinstance(law, StrainEnergyLaw):
            raise InputError(
                "only an energy of E with a trained domain can be guarded outside of it; guard a "
                "law before it is rotated or fused"
            )
        self.law: StrainEnergyLaw = law
        self.point_group, self.domain = law.point_group, domain
        self.chunk, self.outside_action = law.chunk, law.outside_action
        self.carrier = BazantLaw(law.stiffness())
        self.slope = self._steepest() if slope is None else slope

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
        r = q.sqrt()
        t = torch.tanh((r - 1) / MARGIN)
        rho, rho1, rho2 = 1 + MARGIN * t, 1 - t**2, -2 * t * (1 - t**2) / MARGIN
        s = rho / r
        n = m / r[:, None]  # dr/dx
        rest = self._rest(s[:, None] * x, order)
        out = [rest[0] + self.slope * (r - rho)]
        if order >= 1:
            # d(s x)/dx = s I + x (ds/dr n)
            s1 = (rho1 - s) / r
            moved = s1[:, None, None] * x[:, :, None] * n[:, None]
            jacobian = s[:, None, None] * torch.eye(6, dtype=x.dtype, device=x.device) + moved
            slope = self.slope * (1 - rho1)
            out.append((rest[1][:, None] @ jacobian)[:, 0] + slope[:, None] * n)
        if order >= 2:
            s2 = (rho2 - 2 * s1) / r
            along = (rest[1] * x).sum(-1)
            mixed = s1[:, None, None] * rest[1][:, :, None] * n[:, None]
            across = (along * s1 + slope) / r  # times d2r/dx2 = (M - n n) / r
            radial = along * s2 - self.slope * rho2 - across
            out.append(
                jacobian.transpose(1, 2) @ rest[2] @ jacobian
                + mixed
                + mixed.transpose(1, 2)
                + radial[:, None, None] * n[:, :, None] * n[:, None]
                + across[:, None, None] * self.domain
            )
        carried = self.carrier.strain_energy(x, order)
        return tuple(a + b for a, b in zip(out, carried, strict=True))

    def _rest(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        # W - U
        own, carried = (w.strain_energy(x, order) for w in (self.law, self.carrier))
        return tuple(a - b for a, b in zip(own, carried, strict=True))

    def _steepest(self) -> float:
        # The largest x . d(W - U)/dx on the edge: the best of many rays, each moved uphill.
        values, vectors = torch.linalg.eigh(self.domain)
        back = vectors * values.rsqrt()  # from the unit sphere to the edge
        generator = torch.Generator().manual_seed(0)
        y = torch.randn(512, 6, dtype=torch.float64, generator=generator)
        isotropic = (
            torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=torch.float64) @ vectors * values.sqrt()
        )
        y = torch.cat([y, isotropic[None], -isotropic[None]])
        y = y / y.norm(dim=1, keepdim=True)

        def slopes(y: Tensor) -> Tensor:
            # The larger of those at the edge and where the law is left.
            x = y @ back.T
            both = [(self._rest(r * x, 1)[1] * x).sum(-1) for r in (1.0, 1 + MARGIN)]
            return torch.maximum(*both)

        found = slopes(y)
        best = float(found.max())
        y = y[found.topk(16).indices]
        for step in 0.3 * 0.8 ** torch.arange(20):
            x = y @ back.T
            _, gradient, hessian = self._rest(x, 2)
            uphill = (gradient + (hessian @ x[:, :, None])[:, :, 0]) @ back
            uphill = uphill - (uphill * y).sum(1, keepdim=True) * y
            y = y + step * uphill / uphill.norm(dim=1, keepdim=True).clamp(min=1e-300)
            y = y / y.norm(dim=1, keepdim=True)
            best = max(best, float(slopes(y).max()))
        return max(best, 0.0)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description, tensors = self.law.to_dict()
        return {
            "kind": self.kind,
            "law": description,
            "slope": self.slope,
        }, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> GuardedLaw:
        # Files of 0.1 have a "strength" of what stood there before.
        return cls(law_from_dict(description["law"], tensors), description.get("slope"))
