"""What every network that is an energy of the strain can do."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EnergyNetwork(nn.Module):
    """An energy density of Mandel strain, (n, 6) to (n,) by `forward`, and its derivatives.

    Attributes:
        chunk: number of points at which a law evaluates it at a time.
    """

    chunk: int = 4096

    def derivatives(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """W and its derivatives; they keep the graph of the weights where these are fitted.

        Args:
            x: Mandel strains, (n, 6).
            order: 0, 1 or 2.

        Returns:
            W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6) up to `order`, GPa.
        """
        fitted = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        # Six double-backward passes over the batch: faster here than vmap of jacobians or jvp.
        with torch.enable_grad():
            x = x.detach().requires_grad_(order > 0)
            out = [self(x)]
            if order >= 1:
                out += torch.autograd.grad(out[0].sum(), x, create_graph=fitted or order > 1)
            if order >= 2:
                rows = [
                    torch.autograd.grad(
                        out[1][:, a].sum(), x, retain_graph=fitted or a < 5, create_graph=fitted
                    )[0]
                    for a in range(6)
                ]
                out.append(torch.stack(rows, dim=1))
        return tuple(out) if fitted else tuple(part.detach() for part in out)
