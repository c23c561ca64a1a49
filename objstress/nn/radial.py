"""Radial functions with a smooth cutoff."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def smooth_cutoff(length: Tensor, cutoff: float, p: int = 6) -> Tensor:
    r"""Polynomial envelope u(r / rc): 1 at 0, 0 from the cutoff on, two derivatives continuous.

    .. math:: u(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p(p+2) x^{p+1} - \tfrac{p(p+1)}{2} x^{p+2}

    Klicpera et al., arXiv:2003.03123, equation (8).

    Args:
        length: distances (...,) in Angstrom.
        cutoff: rc in Angstrom.
        p: the exponent.
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
    r"""Radial Bessel functions.

    .. math:: b_n(r) = \sqrt{2 / r_c} \, \sin(n \pi r / r_c) / r, \qquad n = 1 \ldots

    Klicpera et al., arXiv:2003.03123, equation (7).

    Args:
        size: number of functions.
        cutoff: rc in Angstrom.
        dtype: of the result.
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
    r"""Learned radial functions, no envelope.

    .. math:: R_k(r) = \sum_n W_{kn} \, \mathrm{SiLU} \Bigl( \sum_m V_{nm} b_m(r) + \beta_n \Bigr)

    Args:
        size: number of Bessel functions b.
        hidden: width of the hidden layer.
        out: number of functions R.
        dtype: of the weights.
    """

    def __init__(self, size: int, hidden: int, out: int, dtype: torch.dtype):
        super().__init__()
        self.inner = nn.Parameter(torch.randn(size, hidden, dtype=dtype) / math.sqrt(size))
        self.bias = nn.Parameter(torch.zeros(hidden, dtype=dtype))
        self.outer = nn.Parameter(torch.randn(hidden, out, dtype=dtype) * (2 / math.sqrt(hidden)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x @ self.inner + self.bias) @ self.outer
