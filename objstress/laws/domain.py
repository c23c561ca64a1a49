"""The strains that a law was fitted to, and whether a strain is one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.laws.base import as_deformation
from objstress.laws.strain_energy import StrainEnergyLaw, mandel_strain


class FittedLaw(StrainEnergyLaw):
    r"""An energy of E that knows where the labels lie that it was fitted to.

    .. math:: x^T M x \le 1, \qquad v(x)^T L v(x) \le 1, \qquad v = (1, x_a, x_a x_b)

    A strain E, Mandel's x, is inside where both hold. The first is an ellipsoid. The second is the
    labels' Christoffel function, which is low where many labels are; it sees corners and gaps that
    an ellipsoid does not, and one label far from the others does not open it. See
    `objstress.training.laws.domain`.

    Attributes:
        domain: M (6, 6); None for laws without a trained domain.
        density: L (28, 28); None where the ellipsoid alone decides.
    """

    domain: Tensor | None
    density: Tensor | None

    def set_domain(
        self, domain: np.ndarray | Tensor | None, density: np.ndarray | Tensor | None
    ) -> None:
        """Say where the labels lie.

        Args:
            domain: M (6, 6) or None.
            density: L (28, 28) or None.
        """
        self.domain = None if domain is None else torch.as_tensor(domain)
        self.density = None if density is None else torch.as_tensor(density)

    def outside(self, F: Any) -> Tensor:
        x = mandel_strain(as_deformation(F).reshape(-1, 3, 3))
        found = x.new_zeros(len(x), dtype=torch.bool)
        if self.domain is not None:
            found |= ((x @ self.domain.to(x.device)) * x).sum(-1) > 1 + 1e-9
        if self.density is not None:
            v = density_functions(x)
            found |= ((v @ self.density.to(x.device)) * v).sum(-1) > 1 + 1e-9
        return found

    def domain_tensors(self) -> dict[str, Tensor]:
        """The attributes by name, for `to_dict`, as far as the law has them."""
        both = {"domain": self.domain, "density": self.density}
        return {name: value for name, value in both.items() if value is not None}


def density_functions(x: Tensor) -> Tensor:
    """The functions v of strain: 1, the six components and their 21 products.

    Args:
        x: Mandel strains, (n, 6).

    Returns:
        Shape (n, 28).
    """
    rows, columns = torch.triu_indices(6, 6)
    return torch.cat([x.new_ones(len(x), 1), x, x[:, rows] * x[:, columns]], dim=1)
