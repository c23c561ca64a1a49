"""Readouts: from the last features of a network to scalars and tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from objstress.nn.convolution import Features


class EnergyReadout(nn.Module):
    """Sum over the nodes of MLP(x_0e); one hidden layer, SiLU.

    Args:
        channels: scalar channels of the features.
        hidden: width of the hidden layer.
        dtype: of the weights.
    """

    def __init__(self, channels: int, hidden: int, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.inner = nn.Parameter(torch.randn(channels, hidden, dtype=dtype) / math.sqrt(channels))
        self.bias = nn.Parameter(torch.zeros(hidden, dtype=dtype))
        self.outer = nn.Parameter(torch.randn(hidden, dtype=dtype) / math.sqrt(hidden))

    def forward(self, x: Features) -> Tensor:
        """{0e: (nodes, batch, channels, 1)} to (batch,)."""
        scalars = x[(0, 1)].squeeze(-1)
        return (torch.nn.functional.silu(scalars @ self.inner + self.bias) @ self.outer).sum(dim=0)


class ScalarReadout(nn.Module):
    r"""Scalars of scalars, zero where the features are.

    .. math:: y_o = \sum_h w_{ho} \, \mathrm{SiLU} \Bigl( \sum_c W_{ch} x_c \Bigr)
        + \sum_c v_{co} x_c

    Args:
        channels: scalar channels of the features.
        hidden: width of the hidden layer.
        out: number of results.
        dtype: of the weights.
    """

    def __init__(self, channels: int, hidden: int, out: int, dtype: torch.dtype):
        super().__init__()
        self.inner = nn.Parameter(torch.randn(channels, hidden, dtype=dtype) / math.sqrt(channels))
        self.outer = nn.Parameter(torch.randn(hidden, out, dtype=dtype) / math.sqrt(hidden))
        self.linear = nn.Parameter(torch.randn(channels, out, dtype=dtype) / math.sqrt(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels) to (n, out)."""
        return torch.nn.functional.silu(x @ self.inner) @ self.outer + x @ self.linear


class TensorReadout(nn.Module):
    r"""One tensor of the channels of its irrep.

    .. math:: T = \sum_c (w_c + [\mathrm{MLP}(s)]_c) \, x_c, \qquad s \text{ the scalar channels}

    Args:
        channels: of the features.
        dtype: of the weights.
    """

    def __init__(self, channels: int, dtype: torch.dtype):
        super().__init__()
        self.gate = ScalarReadout(channels, channels, channels, dtype)
        self.linear = nn.Parameter(torch.randn(channels, dtype=dtype) / math.sqrt(channels))

    def forward(self, scalars: Tensor, x: Tensor) -> Tensor:
        """(n, channels) and (channels, n, width) to (n, width)."""
        weight = self.linear + self.gate(scalars) / math.sqrt(x.shape[0])
        return torch.einsum("nc,cnm->nm", weight, x)
