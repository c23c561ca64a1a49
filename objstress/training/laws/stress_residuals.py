"""Least squares of a network of strain, images of strains that agree taken once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from objstress.laws.strain_energy import mandel_strain
from objstress.models.differences import volume_change
from objstress.models.strain_network import INPUTS, StrainNetwork, StrainPerceptron
from objstress.symmetry.voigt import MANDEL

SAME = 1e-9
"""Difference below which two strains are the same."""
TOGETHER = 5
"""Labels whose residuals are differentiated in one pass."""


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
        self.decay, self.towards = decay, 0.0 if towards is None else towards
        self.network = network
        self.perceptrons = network.perceptrons if isinstance(network, StrainNetwork) else [network]
        x, weight = mandel_strain(F), weight / len(F) ** 0.5
        push = torch.einsum("nij,ajk->nika", F, F.new_tensor(MANDEL)).reshape(-1, 9, 6)
        self.blocks, kinds = [], alike(x, network.rotations)
        widest = max(directions.shape[1] for *_, directions in kinds)
        parts: list[tuple[Tensor, ...]] = []
        for rows, images, directions in kinds:
            w = weight[rows, None]
            q, r = torch.linalg.qr(w[..., None] * push[rows] @ directions)
            y = (q.mT @ (w * stress[rows].flatten(1))[..., None]).squeeze(-1)
            block = Block(rows, x[rows], p[rows], images, directions, r)
            self.blocks.append(block)
            parts.append(
                (*block.maps(self.perceptrons[0], widest), pad(y, (0, widest - len(y[0]))))
            )
        self.inputs, self.maps, self.origin, self.wall, self.y = (
            torch.cat(part) for part in zip(*parts, strict=True)
        )
        self.p = torch.cat([block.p for block in self.blocks])
        counts = torch.cat(
            [block.rows.new_full((len(block.x),), len(block.images)) for block in self.blocks]
        )
        self.label = torch.repeat_interleave(counts)
        self.first = [0, *counts.cumsum(0).tolist()]  # image of each label

    def loss(self) -> Tensor:
        """Sum of squares at the network's weights, to be differentiated by them."""
        squares = self._residuals().square().sum()
        return squares + self.decay * self._distance().square().sum() if self.decay else squares

    @torch.enable_grad()
    def equations(self) -> tuple[Tensor, Tensor, Tensor]:
        """J (M, k), r (M,) and the number of each row's label (M,), where labels are few.

        J are the derivatives of the residuals r by the weights, which must ask for gradients.
        """
        weights = list(self.network.parameters())
        rows, found, by_weights, start = [], [], [], 0
        for block in self.blocks:
            m = block.directions.shape[1]
            # A few labels at a time: each is differentiated beside the others for nothing.
            for part in block.rows.split(TOGETHER):
                stop = start + len(part)
                r = self._residuals(start, stop)[:, :m].flatten()
                each = torch.eye(len(r), dtype=r.dtype)
                j = torch.autograd.grad(r, weights, each, is_grads_batched=True)
                by_weights.append(torch.cat([by.reshape(len(r), -1) for by in j], dim=1))
                found.append(r.detach())
                rows.append(part.repeat_interleave(m))
                start = stop
        return torch.cat(by_weights), torch.cat(found), torch.cat(rows)

    def _distance(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.network.parameters()) - self.towards

    def _residuals(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Of labels in the order of the blocks, (n, m); zeros where a block has fewer."""
        stop = len(self.y) if stop is None else stop
        images = slice(self.first[start], self.first[stop])
        label, p = self.label[images] - start, self.p[start:stop]
        found = -len(self.perceptrons) * self.y[start:stop]
        # There all materials agree but for their parameters.
        different = p if p.shape[1] else p[:1]
        zero = self.inputs.new_zeros(len(different), INPUTS)
        for perceptron in self.perceptrons:
            slopes = perceptron.slopes(self.inputs[images], p[label])
            stress = torch.zeros_like(found).index_add(
                0, label, (self.maps[images] @ slopes[..., None]).squeeze(-1)
            )
            at_zero = perceptron.slopes(zero, different)
            stress = stress - (self.origin[start:stop] @ at_zero[..., None]).squeeze(-1)
            stress = stress + softplus(perceptron.growth) * self.wall[start:stop]
            found = found + perceptron.scale(p)[:, None] * stress
        return found / len(self.perceptrons)


class Block(NamedTuple):
    """Labels whose strains are kept by the same operations.

    Attributes:
        rows: numbers of the labels, (n,).
        x: Mandel strains, (n, 6).
        p: parameters of a family, (n, q).
        images: numbers of rotations that give each different image once.
        directions: the stresses allowed, V (6, m).
        r: R of their residuals, (n, m, m).
    """

    rows: Tensor
    x: Tensor
    p: Tensor
    images: Tensor
    directions: Tensor
    r: Tensor

    def maps(self, perceptron: StrainPerceptron, widest: int) -> tuple[Tensor, ...]:
        """What a perceptron's residuals are linear in, in `widest` rows each, unused ones zero.

        Returns:
            Inputs of all images (n c, 7), the residuals by the slopes of f there (n c, m, 7), by
            those at E = 0 (n, m, 7), and by the factor c of the wall (n, m).
        """
        n, v = len(self.x), self.directions
        turns, unit = perceptron.rotations[self.images], v[:3].sum(dim=0)
        j, growth, k, _ = volume_change(self.x, perceptron.basis, 1)
        dj = unit + k @ v
        inputs = torch.einsum("gab,nb->nga", turns, self.x)
        inputs = torch.cat([inputs, growth[:, None, None].expand(-1, len(turns), 1)], dim=2)
        straight = torch.einsum("gab,bm->gma", turns, v).expand(n, -1, -1, -1)
        by_j = dj[:, None, :, None].expand(-1, len(turns), -1, 1)
        maps = self.r[:, None] @ torch.cat([straight, by_j], dim=3) / len(turns)
        origin = self.r @ torch.cat([straight[0].mean(dim=0), unit[:, None]], dim=1)
        steep = 2 * (growth**2 / j) * growth * (j + 1) / j**2
        wall = (self.r @ (steep[:, None] * dj)[..., None]).squeeze(-1)
        more = widest - v.shape[1]
        return (
            inputs.flatten(0, 1),
            pad(maps.flatten(0, 1), (0, 0, 0, more)),
            pad(origin, (0, 0, 0, more)),
            pad(wall, (0, more)),
        )


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
