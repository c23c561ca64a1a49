"""Torsion angles and their strain energy."""

from __future__ import annotations

import torch
from torch import Tensor


def torsion_angles(x: Tensor, atoms: Tensor) -> Tensor:
    """Torsion angles, 0 where the first and the last atom are on the same side.

    Args:
        x: (b, n, 3) Angstrom.
        atoms: (q, 4), four in a row of each angle.

    Returns:
        (b, q) radians.
    """
    return _torsions(x, atoms)[0]


def _torsions(x: Tensor, atoms: Tensor) -> tuple[Tensor, ...]:
    """Angles (b, q), bonds f, g, h of each, and normals f x g, h x g, (b, q, 3).

    The bonds point from the second atom to the first, the third to the second, and the third to
    the fourth.
    """
    first, second, third, fourth = (x[:, atoms[:, m]] for m in range(4))
    f, g, h = first - second, second - third, fourth - third
    a, b = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
    sine = (torch.linalg.cross(b, a) * g).sum(-1) / g.norm(dim=-1)
    return torch.atan2(sine, (a * b).sum(-1)), f, g, h, a, b


def torsion_strain(phi: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    r"""The strain energy of torsions as a Fourier series, and its slope.

    .. math::

        V(\varphi) = \sum_k a_k \cos k\varphi + b_k \sin k\varphi

    Args:
        phi: (..., q) radians.
        terms: (q, k, 2) kcal/mol, a_k and b_k for k from 0 on.

    Returns:
        V (..., q) in kcal/mol and dV/dphi (..., q) in kcal/mol/rad.
    """
    k = torch.arange(terms.shape[1], dtype=phi.dtype, device=phi.device)
    cos, sin = (k * phi[..., None]).cos(), (k * phi[..., None]).sin()
    a, b = terms.unbind(-1)
    return (a * cos + b * sin).sum(-1), (k * (b * cos - a * sin)).sum(-1)


def torsion_energy(x: Tensor, atoms: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """The summed strain of all torsions, `torsion_strain`, and its gradient.

    d phi/dx has no singularities: Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996).

    Args:
        x: (b, n, 3) Angstrom.
        atoms: (q, 4), four in a row of each angle.
        terms: (q, k, 2) kcal/mol.

    Returns:
        Energies (b,) in kcal/mol and gradients (b, n, 3) in kcal/mol/Angstrom.
    """
    phi, f, g, h, a, b = _torsions(x, atoms)
    energy, slope = torsion_strain(phi, terms)
    size = g.norm(dim=-1)
    aa, bb = a.square().sum(-1).clamp_min(1e-8), b.square().sum(-1).clamp_min(1e-8)
    fg, hg = (f * g).sum(-1), (h * g).sum(-1)
    first = -(size / aa)[..., None] * a
    last = (size / bb)[..., None] * b
    middle = (fg / (aa * size))[..., None] * a - (hg / (bb * size))[..., None] * b
    force = torch.zeros_like(x)
    parts = (first, -first + middle, -last - middle, last)
    for m, part in enumerate(parts):
        force = force.index_add(1, atoms[:, m], slope[..., None] * part)
    return energy.sum(1), force
