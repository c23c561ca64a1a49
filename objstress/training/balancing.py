r"""Weights of several losses against each other: L = sum_i w_i L_i, w_i > 0, sum_i w_i = tasks.

Losses come without units (see `potential_fit`). Balancers are modules so that their state, all
buffers in float64, is part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from objstress.errors import InputError


class Balancer(nn.Module):
    """Fixed weights, and what every other way of balancing starts from.

    Args:
        tasks: names of the losses.
        weights: {task: weight}, 1 where not named; normalised to sum to the number of tasks.

    Attributes:
        needs_norms: whether `update` wants the norms of the gradients.
        weights: (tasks,), now.

    Raises:
        InputError: a weight that is not positive, or of a task that is not trained.
    """

    needs_norms = False
    weights: Tensor

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float] | None = None):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("weights", normalised(self.tasks, weights or {}))

    def at(self, progress: float) -> Tensor:
        """Weights (tasks,) at this part of the training, from 0 to 1."""
        return self.weights

    def update(self, losses: Tensor, present: Tensor, norms: Tensor | None = None) -> None:
        """Learn from one batch; all processes call it with the same numbers.

        Args:
            losses: (tasks,) of the whole batch, over all processes.
            present: (tasks,) bool, whether the batch has labels of the task.
            norms: (tasks,) |grad L_i|, without weights.
        """


def normalised(tasks: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """Weights (tasks,) that sum to the number of tasks."""
    strange = [name for name in weights if name not in tasks]
    if strange:
        raise InputError(f"weights: {strange[0]!r} is not trained; there are {', '.join(tasks)}")
    given = torch.tensor([float(weights.get(t, 1.0)) for t in tasks], dtype=torch.float64)
    if not (torch.isfinite(given).all() and (given > 0).all()):
        raise InputError("weights: give positive numbers")
    return given * (len(tasks) / given.sum())


class TwoStage(Balancer):
    """Weights until a part of the training is over, others from then on.

    Args:
        later: {task: weight} of the second stage.
        switch: part of the training, between 0 and 1.
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
    r"""w_i = p_i exp(beta s_i) / Z,   s_i = (f_i - f_i') / sum_j |f_j - f_j'|

    f_i is the mean of L_i over a window of batches, f_i' that of the window before, p_i the given
    weights: a loss that falls more slowly than the others gets more weight. Heydari, Thompson,
    Mehmood, arXiv:1912.12355 (normalised variant; there p_i = 1).

    Args:
        beta: sharpness; 0 keeps the given weights.
        window: batches.
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
    r"""Weights under which all tasks pull at the shared layer alike, slow ones a little more.

        G_i = w_i |grad L_i|,   r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0))
        L_grad = sum_i | G_i - mean_j(G_j) r_i^alpha |,   the targets constant

    and one step down L_grad in log w for each batch, see `gradnorm_slope`, after which the weights
    are made to sum to what they did. Norms are linear in the weights, so that plain gradients of
    the L_i are all that is needed, no second graph. The step in log w keeps weights positive and
    their ratios free of the units of the losses; dividing by mean(G) frees `rate` of a unit.
    L_i(0) is the mean over the first batches that have labels of the task; until all tasks of a
    batch have theirs, weights stay. A batch without labels of a task leaves its weight alone; the
    others share what is left. Chen et al., ICML 2018, arXiv:1711.02257.

    Args:
        alpha: how much slow tasks are favoured; 0 makes all G_i equal.
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
    """dL_grad / dlog w_i = sign(G_i - target_i) w_i |grad L_i|, the targets constant.

    Args:
        weights, norms, rates: (tasks,) w_i, |grad L_i|, L_i / L_i(0).
    """
    g = weights * norms
    target = g.mean() * (rates / rates.mean()) ** alpha
    return torch.sign(g - target) * g
