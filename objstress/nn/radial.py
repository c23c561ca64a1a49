"""Radial functions with a smooth cutoff."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def smooth_cutoff(length: Tensor, cutoff: float, p: int = 6) -> Tensor:
    """Polynomial envelope u(r / rc): 1 at 0, 0 from the cutoff on, two derivatives continuous.

    Klicpera et al., arXiv:2003.03123, equation (8), exponent p.
    """
    x = length / cutoff
    poly = (
        1
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )
    return torch.where(x < 1, poly, torch.zeros_like(poly))


class BesselBasis(nn.Module):
    """b_n(r) = sqrt(2 / rc) sin(n pi r / rc) / r, n = 1 ... size (arXiv:2003.03123, eq. 7).

    Args:
        size: number of functions.
        cutoff: rc in Angstrom.
    """

    n: Tensor

    def __init__(self, size: int, cutoff: float, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.size, self.cutoff = size, float(cutoff)
        self.register_buffer("n", torch.arange(1, size + 1, dtype=dtype), persistent=False)

    def forward(self, length: Tensor) -> Tensor:
        """Lengths (...) in Angstrom, all positive, to values (..., size); no envelope."""
        x = length[..., None]
        return math.sqrt(2 / self.cutoff) * torch.sin(self.n * (math.pi / self.cutoff) * x) / x


class RadialFunctions(nn.Module):
    """R_k(r) = sum_n W_kn SiLU(sum_m V_nm b_m(r)), bias in the hidden layer, no envelope."""

    def __init__(self, size: int, hidden: int, out: int, dtype: torch.dtype):
        super().__init__()
        self.inner = nn.Parameter(torch.randn(size, hidden, dtype=dtype) / math.sqrt(size))
        self.bias = nn.Parameter(torch.zeros(hidden, dtype=dtype))
        self.outer = nn.Parameter(torch.randn(hidden, out, dtype=dtype) * (2 / math.sqrt(hidden)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x @ self.inner + self.bias) @ self.outer
