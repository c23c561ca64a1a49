"""Readouts: what a network says at the end."""

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
