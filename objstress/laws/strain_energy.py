"""Laws that are an energy of the Green-Lagrange strain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from objstress.laws.base import MaterialLaw
from objstress.symmetry.voigt import MANDEL, SHEAR, VOIGT_INDEX, VOIGT_PAIRS

_SHEAR = torch.tensor(SHEAR)[:, None]


class StrainEnergyLaw(MaterialLaw):
    r"""A law given by an energy of the Green-Lagrange strain, objective by construction.

    .. math:: S = \partial W / \partial E, \qquad P = F S, \qquad
        A_{iJkL} = \delta_{ik} S_{JL} + F_{iM} (\partial S_{MJ} / \partial E_{NL}) F_{kN}

    An own kind of law gives `strain_energy` and `point_group`.
    """

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        f = F.permute(1, 2, 0).contiguous()
        return from_strain(f, self.strain_energy(mandel_rows(f).T, order))

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """Energy density and its derivatives with respect to Mandel strain.

        Args:
            x: Mandel strains, (n, 6).
            order: 0, 1 or 2.

        Returns:
            W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6) up to `order`, GPa.
        """
        raise NotImplementedError


def from_strain(f: Tensor, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """W, P and A from an energy of E and its derivatives, see `StrainEnergyLaw`.

    Components first, points last: every product runs along contiguous rows, which for matrices as
    small as these is faster than batched matrix products.

    Args:
        f: deformation gradients, (3, 3, n).
        parts: W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6), GPa, x Mandel's E, as far as they are asked
            for.

    Returns:
        As many of (n,), (n, 3, 3) and (n, 3, 3, 3, 3).
    """
    n, shear = f.shape[-1], _SHEAR.to(f.device)
    out = [parts[0]]
    if len(parts) >= 2:
        second = (parts[1].T * shear)[VOIGT_INDEX.ravel()].view(3, 3, n)
        out.append(_sum_products(f[:, :, None].unbind(1), second.unbind(), torch.empty_like(f)))
    if len(parts) >= 3:
        # C_MJNL, rows and columns numbered as Voigt does; half[MJ, k, L] = C_MJNL F_kN.
        c = parts[2].permute(1, 2, 0) * (shear[:, None] * shear)
        half = f.new_empty(6, 3, 3, n)
        for L in range(3):
            columns = [c[:, v, None] for v in VOIGT_INDEX[:, L]]
            _sum_products(f.unbind(1), columns, half[:, :, L])
        tangent = f.new_empty(3, 3, 3, 3, n)
        for J in range(3):
            rows = [half[v] for v in VOIGT_INDEX[:, J]]
            _sum_products(f[:, :, None, None].unbind(1), rows, tangent[:, J])
        for i in range(3):
            tangent[i, :, i] += second
        out.append(tangent)
    return tuple(out[:1]) + tuple(t.view(-1, n).T.view(n, *t.shape[:-1]) for t in out[1:])


def mandel_rows(f: Tensor) -> Tensor:
    """E of F (3, 3, n) in Mandel form, (6, n), dimensionless."""
    c = torch.stack([(f[:, i] * f[:, j]).sum(0) for i, j in VOIGT_PAIRS])
    c[:3] -= 1.0
    return c / (2 * _SHEAR.to(f.device))


def _sum_products(left: Sequence[Tensor], right: Sequence[Tensor], out: Tensor) -> Tensor:
    """sum_m left[m] right[m], written into `out`."""
    torch.mul(left[0], right[0], out=out)
    for a, b in zip(left[1:], right[1:], strict=True):
        out.addcmul_(a, b)
    return out


def third_order_stiffness(law: StrainEnergyLaw, step: float = 1e-3) -> np.ndarray:
    r"""Third-order elastic constants of a law at F = I.

    .. math:: C_{abc} = \partial^3 W / \partial \eta_a \partial \eta_b \partial \eta_c, \qquad
        \eta_4 = 2 E_{23}

    Central differences of the law's own second derivatives, extrapolated from h and h / 2.

    Args:
        law: an energy of E.
        step: h, in strain.

    Returns:
        (6, 6, 6) in Voigt's order, GPa.
    """

    def second(y: torch.Tensor) -> torch.Tensor:
        return law.strain_energy(y, 2)[2]

    coarse, fine = (third_derivatives(second, h) for h in (step, step / 2))
    return (4 * fine - coarse) / 3


def third_derivatives(second: Callable[[Tensor], Tensor], step: float) -> np.ndarray:
    """Third derivatives at E = 0 by central differences of the second ones.

    Args:
        second: d2W/dx2 (n, 6, 6), GPa, at Mandel strains (n, 6).
        step: size of the strains.

    Returns:
        C_abc in Voigt's order, (6, 6, 6), GPa.
    """
    axes = step * torch.eye(6, dtype=torch.float64)
    third = ((second(axes) - second(-axes)) / (2 * step)).numpy()
    return third * SHEAR[:, None, None] * SHEAR[:, None] * SHEAR


def mandel_strain(F: Tensor) -> Tensor:
    """Green-Lagrange strain E = (F^T F - I) / 2 in Mandel form, differentiable.

    Args:
        F: deformation gradients, (n, 3, 3).

    Returns:
        Dimensionless, (n, 6).
    """
    strain = 0.5 * (F.transpose(-1, -2) @ F - torch.eye(3, dtype=F.dtype, device=F.device))
    return torch.einsum("aij,nij->na", F.new_tensor(MANDEL), strain)


def tensor_from_mandel(x: Tensor) -> Tensor:
    """Mandel vectors (..., 6) to symmetric tensors (..., 3, 3), differentiable."""
    return torch.einsum("...a,aij->...ij", x, x.new_tensor(MANDEL))
