r"""Weights of several losses against each other: L = sum_i w_i L_i, w_i > 0, sum_i w_i = tasks.

Losses have no units (see `fit_potential`). Balancers are modules, so that their state, all buffers
in float64, is part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from objstress.errors import InputError


class Balancer(nn.Module):
    """Fixed weights of the losses; the base of the other balancers.

    Args:
        tasks: names of the losses.
        weights: {task: weight}, 1 where not named; normalised to sum to the number of tasks.

    Attributes:
        needs_norms: whether `update` needs the norms of the gradients.
        weights: (tasks,), the present ones.

    Raises:
        InputError: a weight that is not positive, or of a task that is not fitted.
    """

    needs_norms = False
    weights: Tensor

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float] | None = None):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("weights", normalised(self.tasks, weights or {}))

    def at(self, progress: float) -> Tensor:
        """Weights (tasks,) at this point of the fit.

        Args:
            progress: fraction of the fit that is over.
        """
        return self.weights

    def update(self, losses: Tensor, present: Tensor, norms: Tensor | None = None) -> None:
        """Adapt the weights after a batch; all processes call it with the same numbers.

        Args:
            losses: (tasks,) of the batch, over all processes.
            present: (tasks,) bool, whether the batch has labels of the task.
            norms: (tasks,) |grad L_i|, without weights.
        """


def normalised(tasks: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """Weights (tasks,) that sum to the number of tasks."""
    unknown = [name for name in weights if name not in tasks]
    if unknown:
        raise InputError(f"weights: {unknown[0]!r} is not fitted; targets are {', '.join(tasks)}")
    relative = torch.tensor([float(weights.get(t, 1.0)) for t in tasks], dtype=torch.float64)
    if not (torch.isfinite(relative).all() and (relative > 0).all()):
        raise InputError("weights: give positive numbers")
    return relative * (len(tasks) / relative.sum())


class TwoStage(Balancer):
    """Weights of a first stage of the fit, and others of the second.

    Args:
        tasks, weights: see `Balancer`.
        later: {task: weight} of the second stage.
        switch: fraction of the fit after which it begins.
    """

    later: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Mapping[str, float] | None = None,
        later: Mapping[str, float] | None = None,
        switch: float = 0.75,
    ):
        super().__init__(tasks, weights)
        self.register_buffer("later", normalised(self.tasks, later or {}))
        self.switch = switch

    def at(self, progress: float) -> Tensor:
        return self.weights if progress < self.switch else self.later


class SoftAdapt(Balancer):
    r"""Weights that grow where a loss falls more slowly than the others.

    .. math::
        w_i = \frac{p_i e^{\beta s_i}}{Z}, \qquad s_i = \frac{f_i - f_i'}{\sum_j |f_j - f_j'|}

    f_i is the mean of L_i over a window of batches, f_i' that of the window before, p_i the weights
    at the start. Heydari, Thompson, Mehmood, arXiv:1912.12355 (normalised variant; there p_i = 1).

    Args:
        tasks, weights: see `Balancer`.
        beta: sharpness, dimensionless; 0 keeps the weights.
        window: number of batches.
    """

    given: Tensor
    sums: Tensor
    counts: Tensor
    before: Tensor
    batches: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Mapping[str, float] | None = None,
        beta: float = 0.1,
        window: int = 50,
    ):
        super().__init__(tasks, weights)
        self.beta, self.window = beta, window
        zero = torch.zeros_like(self.weights)
        self.register_buffer("given", self.weights.clone())
        self.register_buffer("sums", zero.clone())
        self.register_buffer("counts", zero.clone())
        self.register_buffer("before", torch.full_like(zero, torch.nan))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def update(self, losses: Tensor, present: Tensor, norms: Tensor | None = None) -> None:
        self.sums += torch.where(present, losses.double(), 0.0)
        self.counts += present
        self.batches += 1
        if self.batches < self.window:
            return
        now = torch.where(self.counts > 0, self.sums / self.counts, self.before)
        change = torch.nan_to_num(now - self.before)  # a task just met has no rate yet
        size = change.abs().sum()
        if size > 0:
            w = self.given * torch.exp(self.beta * change / size)
            self.weights.copy_(w * (len(w) / w.sum()))
        self.before.copy_(now)
        for buffer in (self.sums, self.counts, self.batches):
            buffer.zero_()


class GradNorm(Balancer):
    r"""Weights under which all losses have like gradients at the shared layer, slow ones larger.

    .. math::
        G_i = w_i |\nabla L_i|, \qquad
        r_i = \frac{L_i / L_i(0)}{\operatorname{mean}_j L_j / L_j(0)}, \qquad
        L_\text{grad} = \sum_i \bigl| G_i - \operatorname{mean}_j(G_j)\, r_i^\alpha \bigr|,

    the targets constant. Each batch takes one step down L_grad in log w, see `gradnorm_slope`,
    after which the weights are scaled to their former sum. Norms are linear in the weights, so
    that plain gradients of the L_i suffice, without a second graph. The step in log w keeps the
    weights positive and their ratios free of the units of the losses; dividing by mean(G) makes
    `rate` dimensionless. L_i(0) is the mean over the first batches that have labels of the task;
    until all tasks of a batch have theirs, weights stay. A batch without labels of a task leaves
    its weight alone; the others share the rest. Chen et al., ICML 2018, arXiv:1711.02257.

    Args:
        tasks, weights: see `Balancer`.
        alpha: how much slow tasks are favoured, dimensionless; 0 makes all G_i equal.
        rate: relative change of a weight in one step, about.
        reference_batches: number of batches for L_i(0).
    """

    needs_norms = True
    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Mapping[str, float] | None = None,
        alpha: float = 0.5,
        rate: float = 0.025,
        reference_batches: int = 20,
    ):
        super().__init__(tasks, weights)
        self.alpha, self.rate, self.reference_batches = alpha, rate, reference_batches
        self.register_buffer("sums", torch.zeros_like(self.weights))
        self.register_buffer("counts", torch.zeros_like(self.weights))

    def update(self, losses: Tensor, present: Tensor, norms: Tensor | None = None) -> None:
        first = present & (self.counts < self.reference_batches)
        self.sums += torch.where(first, losses.double(), 0.0)
        self.counts += first
        if norms is None or present.sum() < 2:
            return
        if (self.counts[present] < self.reference_batches).any():
            return
        w, n = self.weights[present], norms[present].double()
        start = (self.sums / self.counts)[present].clamp(min=1e-30)
        slope = gradnorm_slope(w, n, losses[present].double() / start, self.alpha)
        mean = (w * n).mean()
        if not (torch.isfinite(slope).all() and mean > 0):
            return
        moved = w * torch.exp(-self.rate * slope / mean)
        self.weights[present] = moved * (w.sum() / moved.sum())


def gradnorm_slope(weights: Tensor, norms: Tensor, rates: Tensor, alpha: float) -> Tensor:
    """The slope dL_grad / dlog w_i = sign(G_i - target_i) w_i |grad L_i|, the targets constant.

    Args:
        weights, norms, rates: (tasks,) w_i, |grad L_i|, L_i / L_i(0).
        alpha: see `GradNorm`.
    """
    g = weights * norms
    target = g.mean() * (rates / rates.mean()) ** alpha
    return torch.sign(g - target) * g
