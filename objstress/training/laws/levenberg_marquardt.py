"""Least squares of a small network by Levenberg and Marquardt's method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from objstress.laws.strain_energy import mandel_strain
from objstress.models.strain_network import StrainPerceptron
from objstress.symmetry.voigt import MANDEL

LARGEST = 1e9
"""Damping at which no step helps any more."""


class StressResiduals:
    r"""Weighted differences of a network's stresses from given ones, six for each label.

    .. math::
        \sum_n w_n^2 \, |F_n S(E_n) - P_n|^2 / N = \sum_n |R_n S_n - y_n|^2 + \mathrm{const},
            \qquad w_n (F_n B_a) / \sqrt{N} = Q_n R_n

    Args:
        network: to be fitted.
        F: deformation gradients (N, 3, 3).
        stress: P (N, 3, 3), GPa.
        weight: w (N,), 1/GPa.
    """

    def __init__(self, network: StrainPerceptron, F: Tensor, stress: Tensor, weight: Tensor):
        self.network, self.x = network, mandel_strain(F)
        weight = weight / len(F) ** 0.5
        push = torch.einsum("nij,ajk->nika", F, F.new_tensor(MANDEL)).reshape(-1, 9, 6)
        q, self.r = torch.linalg.qr(weight[:, None, None] * push)
        self.y = (q.mT @ (weight[:, None] * stress.flatten(1))[..., None]).squeeze(-1)

    def residuals(self) -> Tensor:
        """Differences at the network's weights, (6 N,)."""
        stress = self.network.derivatives(self.x, 1)[1]
        return ((self.r @ stress[..., None]).squeeze(-1) - self.y).flatten()

    def jacobian(self) -> Tensor:
        """Their derivatives by the weights, (6 N, k)."""
        return (self.r @ self.network.stress_jacobian(self.x)).flatten(0, 1)


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
        weights = group["params"]
        flat = nn.utils.parameters_to_vector(weights)
        r, j = self.problem.residuals(), self.problem.jacobian()
        normal, gradient = j.T @ j, j.T @ r
        mean = normal.diagonal().mean()
        while group["damping"] < LARGEST:
            shifted = normal.clone()
            shifted.diagonal().add_(group["damping"] * mean)
            change = torch.linalg.solve(shifted, gradient)
            nn.utils.vector_to_parameters(flat - change, weights)
            if self.problem.residuals().norm() < r.norm():
                group["damping"] = max(group["damping"] / 3, 1e-12)
                return
            group["damping"] *= 4
        nn.utils.vector_to_parameters(flat, weights)
