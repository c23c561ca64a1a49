"""What follows from the elastic constants of a crystal."""

from __future__ import annotations

import numpy as np
import torch

from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.laws.strain_energy import third_derivatives
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import from_mandel, mandel_to_voigt, to_mandel


def elastic_strains(step: float) -> np.ndarray:
    """+ and - `step` (Mandel) along each of the six axes: what `elastic_differences` needs."""
    return from_mandel(step * np.concatenate([np.eye(6), -np.eye(6)]))


def elastic_differences(labels: Labels) -> np.ndarray:
    """C_ab = (S_b(+h e_a) - S_b(-h e_a)) / 2h of labels at `elastic_strains`, 6 x 6 Voigt, GPa;
    the mean of C_ab and C_ba.

    The reference, F = I, may be among the labels.
    """
    x, s = _strain_and_stress(labels)
    rows = []
    for axis in np.eye(6):
        size = x @ axis
        alone = np.linalg.norm(x - size[:, None] * axis, axis=1) < 1e-9
        up, down = (np.flatnonzero(alone & (sign * size > 1e-9)) for sign in (1, -1))
        if not (len(up) and len(down)):
            raise InputError("elastic differences need labels at `elastic_strains`")
        rows.append((s[up[0]] - s[down[0]]) / (size[up[0]] - size[down[0]]))
    found = np.array(rows)
    # Each constant off the diagonal is measured twice; half of what the two differ by is noise
    # (pairs that cross a potential's cutoff) and the odd terms beyond the second order.
    return mandel_to_voigt((found + found.T) / 2)


THIRD_DIRECTIONS = np.array(
    [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=float
)
"""Mandel directions whose second differences give all six constants of a cubic crystal."""


def third_order_strains(step: float) -> np.ndarray:
    """+-h, +-2h and +-4h along `THIRD_DIRECTIONS`: what `third_order_differences` needs."""
    sizes = step * np.array([1.0, -1.0, 2.0, -2.0, 4.0, -4.0])
    return from_mandel((THIRD_DIRECTIONS[:, None] * sizes[:, None]).reshape(-1, 6))


def third_order_differences(labels: Labels, group: PointGroup) -> np.ndarray:
    r"""C_abc from second differences of the stress, laid on the G-invariant cubics.

        S(hd) + S(-hd) = s + C_abc d_b d_c h^2 + O(h^4),

    s and the coefficient of h^4 eliminated by the three h of each direction. s is not taken from
    F = I: a plane-wave basis is another one in that cell of higher symmetry, and 0.01 GPa of
    offset there would be 90 GPa of C_111 at h = 0.015.

    Args:
        labels: at `third_order_strains`.

    Returns:
        Brugger's constants (derivatives by eta_a, eta_4 = 2 E_23), GPa, shape (6, 6, 6).

    Raises:
        InputError: a crystal that is not cubic, or labels at other strains.
    """
    if group.crystal_system != "cubic":
        raise InputError(f"four directions do not give the third-order constants of {group.symbol}")
    x, s = _strain_and_stress(labels)
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
    return third_derivatives(lambda y: cubics(y, 2)[2], 1.0)


def _strain_and_stress(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    return to_mandel(labels.strain), to_mandel(np.linalg.inv(labels.F) @ labels.piola)
