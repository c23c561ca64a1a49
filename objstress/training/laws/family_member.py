"""A new member of a family of laws from a few labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.stats import qmc
from torch import Tensor, nn

from objstress.errors import InputError
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.laws.family import LawFamily, load_family
from objstress.laws.learned import LearnedLaw
from objstress.models.strain_network import StrainNetwork
from objstress.training.laws.losses import network_response, stress_loss
from objstress.training.laws.stress_residuals import StressResiduals

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Decays towards the family's weights that are compared."""
FEWEST = 3
"""Labels that can tell one decay from another."""
STEPS = 6
"""Of Gauss and Newton."""
STARTS = 64
"""Members that the search of unknown parameters begins from."""


def fit_member(
    data: str | Path | Labels,
    family: LawFamily | str | Path,
    p: Any = None,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> LearnedLaw:
    r"""Fit a new member of a family to a few labels, the family its prior.

    .. math::
        \frac{\sum_n |P(F_n; w) - P_n|^2}{\sum_n |P_n|^2} + \lambda \, |w - w(p)|^2 \to \min_w

    w(p) are the weights of the member with parameters p; those are given, or are the ones whose
    member follows the labels best. How far the weights may leave them, the labels decide: lambda
    is the one by which each label is best predicted from the others (in the network's
    linearisation, where that is a formula), or infinite.

    Args:
        data: a CSV or extxyz file (see `read_labels`), or labels.
        family: or its file.
        p: the parameters, see `LawFamily.at`; None looks for them.
        seed: of the search.
        say: called with a line on each step.

    Returns:
        The law; `metadata["member"]` holds the parameters, lambda, and the errors before and
        after.

    Raises:
        InputError: see `read_labels`; fewer labels than three.
    """
    if not isinstance(family, LawFamily):
        family = load_family(family)
    labels = data if isinstance(data, Labels) else read_labels(data, None, family.point_group)
    if len(labels) < FEWEST:
        raise InputError(f"{len(labels)} labels: give at least {FEWEST}")
    if labels.cases is None:
        labels = replace(labels, cases=np.zeros(len(labels), int))
    if p is None:
        p = _nearest(labels, family, seed)
        found = ", ".join(f"{n} = {v:.4g}" for n, v in zip(family.names, p, strict=True))
        say(f"parameters that follow the labels best: {found}")
    start = family.at(p)
    network = start.network
    assert isinstance(network, StrainNetwork)
    f, stress = torch.tensor(labels.F), torch.tensor(labels.piola)
    weight = torch.tensor(1 / labels.stress_sizes(start.stress_floor()))
    network.requires_grad_()
    towards = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    problem = StressResiduals(network, f, stress, weight, f.new_zeros(len(f), 0), 0.0, towards)
    j, r, label = problem.equations()
    with torch.no_grad():
        before = float(stress_loss(network_response(network, f)[1], stress, weight))
    kernel = j @ j.T
    left_out = {
        strength: before + float(_left_out(kernel, r, label, strength) - r @ r)
        for strength in STRENGTHS
    }
    strength = min(left_out, key=lambda each: left_out[each])
    better = left_out[strength] < before
    if better:
        problem.decay = strength
        _approach(problem, towards)
    network.requires_grad_(False)
    after = min(before, left_out[strength]) ** 0.5
    say(
        f"{len(labels)} labels, each predicted from the others: error {before**0.5:.2%} of the "
        f"family's member, {after:.2%} of the one fitted"
    )
    start.metadata = {
        "labels": len(labels),
        "source": labels.source,
        "member": {
            "parameters": start.metadata["parameters"],
            "strength": strength if better else None,
            "error_before": before**0.5,
            "error_after": after,
        },
    }
    return start


def _left_out(kernel: Tensor, r: Tensor, label: Tensor, strength: float) -> Tensor:
    """Sum of squares of the labels' residuals, each label predicted from the others."""
    inverse = torch.linalg.inv(kernel + strength * torch.eye(len(r), dtype=r.dtype))
    known = inverse @ r
    gaps = []
    for one in label.unique():
        rows = label == one
        gaps.append(torch.linalg.solve(inverse[rows][:, rows], known[rows]))
    return torch.cat(gaps).square().sum()


def _approach(problem: StressResiduals, towards: Tensor) -> None:
    """Gauss-Newton steps; the equations are far fewer than the weights."""
    weights = list(problem.network.parameters())
    change = torch.zeros_like(towards)
    loss = float(problem.loss().detach())
    for _ in range(STEPS):
        j, r, _ = problem.equations()
        shifted = j @ j.T + problem.decay * torch.eye(len(r), dtype=r.dtype)
        step = j.T @ torch.linalg.solve(shifted, j @ change - r) - change
        for share in (1.0, 0.5, 0.25, 0.125):
            nn.utils.vector_to_parameters(towards + change + share * step, weights)
            if float(problem.loss().detach()) < loss:
                break
        else:
            nn.utils.vector_to_parameters(towards + change, weights)
            return
        change, loss = change + share * step, float(problem.loss().detach())


def _nearest(labels: Labels, family: LawFamily, seed: int) -> list[float]:
    """The parameters whose member follows the labels best."""
    lower, upper = family.lower.numpy(), family.upper.numpy()
    stress, size = labels.piola, np.linalg.norm(labels.piola)

    def gap(z: np.ndarray) -> np.ndarray:
        p = lower + np.clip(z, 0, 1) * (upper - lower)
        return ((family.response(labels.F, p, 1)[1].numpy() - stress) / size).ravel()

    # Sobol' sequences are balanced at powers of two.
    starts = qmc.Sobol(len(lower), rng=seed).random(STARTS)
    first = min(starts, key=lambda z: float((gap(z) ** 2).sum()))
    found = least_squares(gap, first, bounds=(0, 1), diff_step=1e-4).x
    return (lower + found * (upper - lower)).tolist()
