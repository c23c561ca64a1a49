"""Acoustic tensor and loss of ellipticity: where a law stops being a stable material."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from objstress.elasticity.directions import half_sphere

DIRECTIONS = 200
"""Directions of the coarse search over the half sphere, about 10 degrees apart."""
REFINEMENTS = 4
"""Rounds of a closer search about the best direction, each a third as wide."""


def acoustic_tensor(tangent: Tensor, n: Tensor) -> Tensor:
    """Acoustic tensor of a direction.

    .. math:: Q_{ik}(n) = A_{iJkL} n_J n_L

    Ogden, Non-Linear Elastic Deformations (1984), section 6.4.

    Args:
        tangent: A, (..., 3, 3, 3, 3), GPa.
        n: directions in the reference body, (..., 3), any length but zero.

    Returns:
        (..., 3, 3), symmetric, GPa.
    """
    n = n / n.norm(dim=-1, keepdim=True)
    return torch.einsum("...ijkl,...j,...l->...ik", tangent, n, n)


def smallest_acoustic(tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Least eigenvalue of the acoustic tensor over all directions, and its direction.

    Positive: strongly elliptic, waves of every direction and polarisation run. Zero or less: a
    discontinuity surface of normal n may form.

    Args:
        tangent: A, (n, 3, 3, 3, 3), GPa.

    Returns:
        (n,) GPa and (n, 3) unit vectors (upper half sphere in the coarse search).
    """
    values, directions = [], []
    for part in tangent.split(2048):  # 200 acoustic tensors a point
        grid = part.new_tensor(half_sphere(DIRECTIONS))
        least = _least_eigenvalue(torch.einsum("nijkl,dj,dl->ndik", part, grid, grid))
        best, index = least.min(dim=1)
        n = grid[index]
        width = np.sqrt(2 * np.pi / DIRECTIONS)
        for _ in range(REFINEMENTS):
            cap = _cap(n, width)
            q = torch.einsum("nijkl,ndj,ndl->ndik", part, cap, cap)
            least, index = _least_eigenvalue(q).min(dim=1)
            better = least < best
            best = torch.where(better, least, best)
            n = torch.where(better[:, None], cap[torch.arange(len(n), device=n.device), index], n)
            width /= 3
        values.append(best)
        directions.append(n)
    return torch.cat(values), torch.cat(directions)


def _cap(n: Tensor, width: float) -> Tensor:
    # Two rings of eight about each n (points, 3), (points, 16, 3).
    helper = torch.zeros_like(n)
    helper.scatter_(1, n.abs().argmin(dim=1, keepdim=True), 1.0)
    a = torch.linalg.cross(n, helper)
    a = a / a.norm(dim=1, keepdim=True)
    b = torch.linalg.cross(n, a)
    angle = torch.arange(8, dtype=n.dtype, device=n.device) * (np.pi / 4)
    ring = a[:, None] * angle.cos()[:, None] + b[:, None] * angle.sin()[:, None]
    rings = [n[:, None] * np.cos(w) + ring * np.sin(w) for w in (0.5 * width, width)]
    return torch.cat(rings, dim=1)


def _least_eigenvalue(q: Tensor) -> Tensor:
    # Closed form for symmetric 3 x 3 matrices (Smith, Comm. ACM 4, 168 (1961)): LAPACK would
    # take a call for each.
    mean = torch.einsum("...ii->...", q) / 3
    rest = q - mean[..., None, None] * torch.eye(3, dtype=q.dtype, device=q.device)
    p = (rest.pow(2).sum((-1, -2)) / 6).sqrt()
    safe = p.clamp(min=torch.finfo(q.dtype).tiny)
    half = torch.linalg.det(rest / safe[..., None, None]) / 2
    phi = torch.acos(half.clamp(-1, 1)) / 3
    return mean + 2 * p * torch.cos(phi + 2 * np.pi / 3)
