"""Third-order elastic constants of a cubic crystal, fitted to differences of stress labels."""

from __future__ import annotations

import numpy as np
import torch

from objstress.errors import InputError
from objstress.labels.differences import THIRD_DIRECTIONS, strain_and_stress
from objstress.labels.strain_labels import Labels
from objstress.laws.strain_energy import third_derivatives
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup


def third_order_differences(labels: Labels, group: PointGroup) -> np.ndarray:
    r"""Third-order constants of a cubic crystal from second differences of the stress.

    .. math::
        S_a(hd) + S_a(-hd) = s_a + C_{abc} d_b d_c h^2 + O(h^4)

    A cubic polynomial invariant under the group is fitted to them. s and the coefficient of h^4
    are eliminated by the three h of each direction. s is not taken from F = I: a plane-wave basis
    differs in that cell of higher symmetry, and an offset of 0.01 GPa there would be 90 GPa of
    C_111 at h = 0.015.

    Args:
        labels: at `third_order_strains`.
        group: the crystal's point group.

    Returns:
        Brugger's constants (derivatives by eta_a, eta_4 = 2 E_23), GPa, shape (6, 6, 6).

    Raises:
        InputError: a crystal that is not cubic, or labels at other strains.
    """
    if group.crystal_system != "cubic":
        raise InputError(f"four directions do not give the third-order constants of {group.symbol}")
    x, s = strain_and_stress(labels)
    cubics = InvariantPolynomial(group, 3, lowest=3)
    design, target = [], []
    for d in THIRD_DIRECTIONS:
        size = x @ d / (d @ d)
        along = np.linalg.norm(x - size[:, None] * d, axis=1) < 1e-9
        sizes = np.unique(np.round(np.abs(size[along & (np.abs(size) > 1e-9)]), 6))
        if len(sizes) != 3:
            raise InputError("third-order differences need labels at `third_order_strains`")
        even = [s[along & np.isclose(np.abs(size), h, atol=1e-6)].sum(axis=0) for h in sizes]
        powers = np.stack([np.ones(3), sizes**2, sizes**4], axis=1)
        target.append(np.linalg.solve(powers, np.array(even))[1])
        # S of a cubic is (1/2) C_abc d_b d_c.
        design.append(2 * cubics.design(torch.tensor(d[None]))[0])
    solution, *_ = np.linalg.lstsq(np.concatenate(design), np.concatenate(target), rcond=None)
    cubics.set_coefficients(solution)
    # The Hessian of a cubic is linear: its central difference is exact for any step.
    return third_derivatives(lambda x: cubics(x, 2)[2], 1.0)
