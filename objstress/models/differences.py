"""Functions of strain as differences from E = 0, which keep their digits however small E is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def powers(p: Tensor) -> Tensor:
    """Parameters (..., q), and their products in pairs behind them, (..., q (q + 3) / 2)."""
    rows, columns = torch.triu_indices(p.shape[-1], p.shape[-1])
    return torch.cat([p, p[..., rows] * p[..., columns]], dim=-1)


def softplus_change(d: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    r"""Changes of softplus and of its slope s from z to z + d, to full precision for any d.

    .. math::
        \Delta = \max(d, 0) + \ln (b + a e^{-|d|}) = \max(d, 0) + \ln (1 + a (e^{-|d|} - 1)), \qquad
        \Delta s = \pm \frac{a b (1 - e^{-|d|})}{b + a e^{-|d|}}

    in which a = 1 - b is 1 - s(z) for d > 0 and s(z) else, and the sign is that of d. The second
    form of the logarithm is for small d, the first where the slope is 0 or 1 but for rounding.

    Args:
        d: change of the argument, (..., h).
        z: the argument at its beginning, (h,) or (..., h).
    """
    up, down = torch.sigmoid(z), torch.sigmoid(-z)
    a, b = torch.where(d > 0, down, up), torch.where(d > 0, up, down)
    size = -d.abs()
    fall = torch.expm1(size)
    rest = b + a * torch.exp(size)
    small = a * fall
    # Both branches are finite wherever they are not taken: so are their derivatives.
    logarithm = torch.where(small > -0.5, torch.log1p(small.clamp(min=-0.5)), torch.log(rest))
    return d.clamp(min=0) + logarithm, torch.copysign(a * b * fall / rest, d)


def volume_change(x: Tensor, basis: Tensor, order: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""J = det(1 + 2 E)^(1/2), its change from E = 0, and its derivatives by Mandel's strain.

    .. math::
        J - 1 = \frac{2 I_1 + 4 I_2 + 8 I_3}{J + 1}, \qquad
        K = J C^{-1} = \frac{1 + 2 (I_1 - E) + 4 \, \mathrm{cof} E}{J}, \qquad
        \frac{\partial J}{\partial E} = K, \qquad
        \frac{\partial^2 J}{\partial x_a \partial x_b} =
            \frac{(K : B_a)(K : B_b) - 2 \, K B_a K : B_b}{J}

    I_1, I_2, I_3 are the invariants of E: nothing is subtracted that nearly cancels at small E.

    Args:
        x: Mandel strains, (n, 6).
        basis: Mandel's basis B, (6, 3, 3).
        order: of the last derivative; zeros stand for the others.

    Returns:
        J (n,), J - 1 (n,), the components of K - 1 (n, 6), and the second derivative (n, 6, 6).
    """
    e = torch.einsum("na,aij->nij", x, basis)
    one = torch.eye(3, dtype=x.dtype, device=x.device)
    a, b, c = e.unbind(1)
    cofactor = torch.stack([torch.linalg.cross(u, v) for u, v in ((b, c), (c, a), (a, b))], dim=1)
    first, second = e.diagonal(dim1=1, dim2=2).sum(-1), cofactor.diagonal(dim1=1, dim2=2).sum(-1)
    rise = 2 * first + 4 * second + 8 * (a * cofactor[:, 0]).sum(-1)
    j = (1 + rise).sqrt()
    growth = rise / (j + 1)
    if order == 0:
        return j, growth, x.new_zeros(()), x.new_zeros(())
    rest = 2 * (first[:, None, None] * one - e) + 4 * cofactor
    k = (rest - growth[:, None, None] * one) / j[:, None, None]
    components = torch.einsum("nij,aij->na", k, basis)
    if order == 1:
        return j, growth, components, x.new_zeros(())
    k = k + one
    whole = torch.einsum("nij,aij->na", k, basis)
    twice = torch.einsum("nij,ajk,nkl,bil->nab", k, basis, k, basis)
    curvature = whole[:, :, None] * whole[:, None] - 2 * twice
    return j, growth, components, curvature / j[:, None, None]


def energy_of_parts(
    x: Tensor, basis: Tensor, order: int, parts: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """The energy of `StrainPerceptron`, and its derivatives by strain.

    Args:
        x: Mandel strains, (n, 6).
        basis: Mandel's basis, (6, 3, 3).
        order: of the last derivative.
        parts: of J - 1 (n,), see `StrainPerceptron.parts`.
    """
    j, growth, k, curvature = volume_change(x, basis, order)
    c, at_zero, change, *more = parts(growth)
    wall = growth**2 / j
    straight = (x * at_zero[:, :6]).sum(dim=1) + at_zero[:, 6] * x[:, :3].sum(dim=1)
    out = [change - straight + c * wall**2]
    if order >= 1:
        gradient = more[0]
        steep = growth * (j + 1) / j**2  # d wall / dJ
        by_j = gradient[:, 6] + 2 * c * wall * steep
        dj = basis.diagonal(dim1=1, dim2=2).sum(-1) + k
        out.append(gradient[:, :6] + by_j[:, None] * dj + at_zero[:, 6:] * k)
    if order >= 2:
        hessian = more[1]
        by_jj = hessian[:, 6, 6] + 2 * c * (steep**2 + 2 * wall / j**3)
        mixed = hessian[:, :6, 6, None] * dj[:, None]
        second = hessian[:, :6, :6] + mixed + mixed.transpose(1, 2)
        second = second + by_jj[:, None, None] * dj[:, :, None] * dj[:, None]
        out.append(second + (by_j + at_zero[:, 6])[:, None, None] * curvature)
    return tuple(out)
