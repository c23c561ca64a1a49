"""Least squares of a small network by Levenberg and Marquardt's method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from objstress.laws.strain_energy import mandel_strain
from objstress.models.energy_network import EnergyNetwork
from objstress.symmetry.voigt import MANDEL

LARGEST = 1e9
"""Damping at which no step helps any more."""
ROWS = 64
"""Labels whose Jacobian is made at a time."""


class StressResiduals(nn.Module):
    r"""Weighted differences of a network's stresses from given ones, six for each label.

    .. math::
        \sum_n w_n^2 \, |F_n S(E_n) - P_n|^2 / N = \sum_n |R_n S_n - y_n|^2 + \mathrm{const},
            \qquad w_n (F_n B_a) / \sqrt{N} = Q_n R_n

    Args:
        network: an energy of strain that vanishes with its stress at E = 0.
        F: deformation gradients (N, 3, 3).
        stress: P (N, 3, 3), GPa.
        weight: w (N,), 1/GPa.
    """

    def __init__(self, network: EnergyNetwork, F: Tensor, stress: Tensor, weight: Tensor):
        super().__init__()
        self.network, self.x = network, mandel_strain(F)
        weight = weight / len(F) ** 0.5
        push = torch.einsum("nij,ajk->nika", F, F.new_tensor(MANDEL)).reshape(-1, 9, 6)
        q, self.r = torch.linalg.qr(weight[:, None, None] * push)
        self.y = (q.mT @ (weight[:, None] * stress.flatten(1))[..., None]).squeeze(-1)
        parameters = dict(network.named_parameters())
        self.names, self.shapes = list(parameters), [p.shape for p in parameters.values()]

    def residuals(self, flat: Tensor) -> Tensor:
        """Differences (N, 6) at all weights of the network in one vector."""
        with torch.no_grad():
            stress = functional_call(self, self._named(flat), (self.x,))
        return (self.r @ stress[..., None]).squeeze(-1) - self.y

    def jacobian(self, flat: Tensor) -> Tensor:
        """Their derivatives by the vector, (N, 6, k)."""

        def one(flat: Tensor, x: Tensor) -> Tensor:
            return functional_call(self, self._named(flat), (x[None],))[0]

        return self.r @ vmap(jacrev(one), (None, 0), chunk_size=ROWS)(flat, self.x)

    def forward(self, x: Tensor) -> Tensor:
        """dW/dx (n, 6) at Mandel strains x."""
        return self.network.derivatives(x, 1)[1]

    def _named(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in self.shapes])
        return {
            f"network.{name}": part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


class LevenbergMarquardt(torch.optim.Optimizer):
    r"""Damped Gauss-Newton steps for least squares.

    .. math::
        (J^T J + \lambda \, \overline{\mathrm{diag}}(J^T J)) \, \delta = -J^T r

    A step that does not lower \|r\| is taken again with four times the damping; one that does
    lowers it by a third.

    Args:
        parameters: of the network.
        damping: lambda of the first step.

    Attributes:
        problem: what the steps lower; to be set before the first.
    """

    problem: StressResiduals

    def __init__(self, parameters: Iterable[Tensor], damping: float = 1e-2):
        super().__init__(list(parameters), {"damping": damping})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step, or none where no damping up to `LARGEST` lowers the residuals."""
        group = self.param_groups[0]
        flat = nn.utils.parameters_to_vector(group["params"])
        r = self.problem.residuals(flat).flatten()
        j = self.problem.jacobian(flat).flatten(0, 1)
        normal, gradient = j.T @ j, j.T @ r
        mean = normal.diagonal().mean()
        while group["damping"] < LARGEST:
            shifted = normal.clone()
            shifted.diagonal().add_(group["damping"] * mean)
            trial = flat - torch.linalg.solve(shifted, gradient)
            if self.problem.residuals(trial).norm() < r.norm():
                nn.utils.vector_to_parameters(trial, group["params"])
                group["damping"] = max(group["damping"] / 3, 1e-12)
                return
            group["damping"] *= 4
