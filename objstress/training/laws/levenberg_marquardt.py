"""Least squares of a small network by Levenberg and Marquardt's method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from objstress.laws.strain_energy import mandel_strain
from objstress.models.strain_network import StrainNetwork, StrainPerceptron
from objstress.symmetry.voigt import MANDEL

SAME = 1e-9
"""Difference below which two strains are the same."""
LABELS = 1024
"""Labels whose equations are held at a time."""
LARGEST = 1e9
"""Damping at which no step helps any more."""


class StressResiduals:
    r"""Weighted differences of a network's stresses from given ones.

    .. math::
        \sum_n w_n^2 \, |F_n S(E_n) - P_n|^2 / N = \sum_n |R_n V_n^T S_n - y_n|^2 + \mathrm{const},
            \qquad w_n (F_n B_a) V_n / \sqrt{N} = Q_n R_n

    The columns of V_n are the stresses that the operations which keep E_n keep, too. All that the
    group forbids is part of the constant, and images of a strain that agree are taken once: on load
    paths along a crystal's axes an eighth of the work is left.

    Args:
        network: to be fitted.
        F: deformation gradients (N, 3, 3).
        stress: P (N, 3, 3), GPa.
        weight: w (N,), 1/GPa.
        p: parameters of a family, (N, q).
        decay: of the square of each weight's distance, beside the squares of the residuals.
        towards: the weights (k,) that it is a distance from; zero by default.
    """

    def __init__(
        self,
        network: StrainPerceptron | StrainNetwork,
        F: Tensor,
        stress: Tensor,
        weight: Tensor,
        p: Tensor,
        decay: float = 0.0,
        towards: Tensor | None = None,
    ):
        self.network, x = network, mandel_strain(F)
        self.decay, self.towards = decay, 0.0 if towards is None else towards
        push = torch.einsum("nij,ajk->nika", F, F.new_tensor(MANDEL)).reshape(-1, 9, 6)
        weight = weight / len(F) ** 0.5
        self.blocks = []
        for rows, images, directions in alike(x, network.rotations):
            w = weight[rows, None]
            q, r = torch.linalg.qr(w[..., None] * push[rows] @ directions)
            y = (q.mT @ (w * stress[rows].flatten(1))[..., None]).squeeze(-1)
            block = Block(rows, x[rows], p[rows], images, directions, r, y)
            self.blocks += block.split(LABELS)

    @torch.no_grad()
    def loss(self) -> float:
        """Sum of squares at the network's weights."""
        squares = sum(self._residuals(block).square().sum() for block in self.blocks)
        return float(squares + self.decay * self._distance().square().sum())

    def normal(self) -> tuple[Tensor, Tensor]:
        """J^T J (k, k) and J^T r (k,), J the derivatives of the residuals r by the weights."""
        gradient = self.decay * self._distance()
        normal = torch.diag(torch.full_like(gradient, self.decay))
        for block in self.blocks:
            j = self._jacobian(block)
            normal.addmm_(j.T, j)
            gradient.addmv_(j.T, self._residuals(block))
        return normal, gradient

    def equations(self) -> tuple[Tensor, Tensor, Tensor]:
        """J (M, k), r (M,) and the number of each row's label (M,), where labels are few."""
        rows = [b.rows.repeat_interleave(b.directions.shape[1]) for b in self.blocks]
        j = torch.cat([self._jacobian(block) for block in self.blocks])
        return j, torch.cat([self._residuals(block) for block in self.blocks]), torch.cat(rows)

    def _jacobian(self, block: Block) -> Tensor:
        by = self.network.stress_jacobian(block.x, block.images, block.directions, block.p)
        return (block.r @ by).flatten(0, 1)

    def _distance(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.network.parameters()) - self.towards

    def _residuals(self, block: Block) -> Tensor:
        stress = self.network.derivatives(block.x, 1, block.p)[1] @ block.directions
        return ((block.r @ stress[..., None]).squeeze(-1) - block.y).flatten()


class Block(NamedTuple):
    """Labels whose strains are kept by the same operations.

    Attributes:
        rows: numbers of the labels, (n,).
        x: Mandel strains, (n, 6).
        p: parameters of a family, (n, q).
        images: numbers of rotations that give each different image once.
        directions: the stresses allowed, V (6, m).
        r, y: R (n, m, m) and y (n, m) of their residuals.
    """

    rows: Tensor
    x: Tensor
    p: Tensor
    images: Tensor
    directions: Tensor
    r: Tensor
    y: Tensor

    def split(self, size: int) -> list[Block]:
        """Blocks of no more than `size` labels."""
        parts = (self.rows, self.x, self.p, self.r, self.y)
        return [
            Block(rows, x, p, self.images, self.directions, r, y)
            for rows, x, p, r, y in zip(*(part.split(size) for part in parts), strict=True)
        ]


def alike(x: Tensor, rotations: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Sort strains by the rotations that keep them.

    Args:
        x: Mandel strains, (n, 6).
        rotations: of a group, on Mandel's components, (g, 6, 6).

    Returns:
        For each set of rotations that keep some of the strains: the strains' numbers, the numbers
        of rotations that give all their different images once, and an orthonormal basis (6, m) of
        all strains that the set keeps.
    """
    gap = torch.einsum("gab,nb->nga", rotations, x) - x[:, None]
    keeps, member = (gap.abs().amax(dim=2) < SAME).unique(dim=0, return_inverse=True)
    found = []
    for k, kept in enumerate(keeps):
        values, vectors = torch.linalg.eigh(rotations[kept].mean(dim=0))
        directions = vectors[:, values > 0.5]  # of a projector: 0 or 1
        # One that nothing else keeps shows which images differ: e's powers are independent.
        generic = directions @ torch.arange(directions.shape[1]).to(x).exp()
        turned = rotations @ generic
        agree = (turned[:, None] - turned).abs().amax(dim=2) < SAME
        first = agree.to(torch.uint8).argmax(dim=1)
        found.append(((member == k).nonzero().flatten(), first.unique(), directions))
    return found


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
        before = self.problem.loss()
        normal, gradient = self.problem.normal()
        mean = normal.diagonal().mean()
        while group["damping"] < LARGEST:
            shifted = normal.clone()
            shifted.diagonal().add_(group["damping"] * mean)
            change = torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(shifted))
            nn.utils.vector_to_parameters(flat - change[:, 0], weights)
            if self.problem.loss() < before:
                group["damping"] = max(group["damping"] / 3, 1e-12)
                return
            group["damping"] *= 4
        nn.utils.vector_to_parameters(flat, weights)
