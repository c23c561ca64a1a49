"""Losses of networks of strain: relative stress, and energy density over a scale."""

from __future__ import annotations

import torch
from torch import Tensor

from objstress.laws.strain_energy import mandel_strain, tensor_from_mandel
from objstress.models.energy_network import EnergyNetwork
from objstress.models.strain_network import StrainNetwork, StrainPerceptron


def network_response(
    network: EnergyNetwork, F: Tensor, p: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Energy density and stress, zero at F = I, differentiable in the network's weights.

    Args:
        network: an energy of strain.
        F: deformation gradients (n, 3, 3).
        p: parameters of a family (n, q), of a network of strain.

    Returns:
        W (n,) and P (n, 3, 3), GPa.
    """
    # The last row is the undeformed crystal, whose values are subtracted: S_0 : E and not
    # P_0 : (F - I), which would not be objective.
    x = mandel_strain(F)
    if isinstance(network, StrainNetwork | StrainPerceptron):  # zero there by itself
        w, s = network.derivatives(x, 1, p)
        return w, F @ tensor_from_mandel(s)
    w, s = network.derivatives(torch.cat([x, torch.zeros_like(x[:1])]), 1)
    return w[:-1] - w[-1] - x @ s[-1], F @ tensor_from_mandel(s[:-1] - s[-1])


def stress_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of |dP|^2 weight^2; weight = 1 / max(|P|, floor) makes it relative.

    Args:
        predicted, target: P (n, 3, 3), GPa.
        weight: (n,), 1/GPa.
    """
    return (((predicted - target).flatten(1).norm(dim=1) * weight) ** 2).mean()


def energy_loss(predicted: Tensor, target: Tensor, scale: float) -> Tensor:
    """Variance of (W - W_label) / scale over the labels that have an energy (GPa).

    The variance, not the mean square: a constant offset between energies means nothing.

    Args:
        predicted: W (n,), GPa.
        target: W_label (n,), GPa; NaN where a label has no energy.
        scale: GPa.
    """
    known = torch.isfinite(target)
    gap = (predicted[known] - target[known]) / scale
    return ((gap - gap.mean()) ** 2).mean()
