"""Elastic constants by finite differences of the stress, and the strains that they need."""

from __future__ import annotations

import numpy as np

from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.symmetry.voigt import from_mandel, mandel_to_voigt, to_mandel


def elastic_strains(step: float) -> np.ndarray:
    """The strains that `elastic_differences` needs: +- `step` along each of the six Mandel axes.

    Args:
        step: size of the strain.

    Returns:
        E (12, 3, 3).
    """
    return from_mandel(step * np.concatenate([np.eye(6), -np.eye(6)]))


def elastic_differences(labels: Labels) -> np.ndarray:
    r"""The stiffness from central differences of the second Piola-Kirchhoff stress.

    .. math::
        C_{ab} = \frac{S_b(+h e_a) - S_b(-h e_a)}{2h},

    the mean of C_ab and C_ba.

    Args:
        labels: at `elastic_strains`; the reference, F = I, may be among them.

    Returns:
        C (6, 6), Voigt, GPa.

    Raises:
        InputError: labels at other strains.
    """
    x, s = strain_and_stress(labels)
    rows = []
    for axis in np.eye(6):
        size = x @ axis
        alone = np.linalg.norm(x - size[:, None] * axis, axis=1) < 1e-9
        up, down = (np.flatnonzero(alone & (sign * size > 1e-9)) for sign in (1, -1))
        if not (len(up) and len(down)):
            raise InputError("elastic differences need labels at `elastic_strains`")
        rows.append((s[up[0]] - s[down[0]]) / (size[up[0]] - size[down[0]]))
    stiffness = np.array(rows)
    # Each constant off the diagonal is measured twice; half of what the two differ by is noise
    # (pairs that cross a potential's cutoff) and the odd terms beyond the second order.
    return mandel_to_voigt((stiffness + stiffness.T) / 2)


THIRD_DIRECTIONS = np.array(
    [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=float
)
"""Mandel directions whose second differences give all six constants of a cubic crystal."""


def third_order_strains(step: float) -> np.ndarray:
    """The strains that `third_order_differences` needs: +-h, +-2h, +-4h in four directions.

    Args:
        step: h, a strain.

    Returns:
        E (24, 3, 3), along `THIRD_DIRECTIONS`.
    """
    sizes = step * np.array([1.0, -1.0, 2.0, -2.0, 4.0, -4.0])
    return from_mandel((THIRD_DIRECTIONS[:, None] * sizes[:, None]).reshape(-1, 6))


def strain_and_stress(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """E and S (second Piola-Kirchhoff, GPa) of labels, Mandel, (n, 6) each."""
    return to_mandel(labels.strain), to_mandel(np.linalg.inv(labels.F) @ labels.piola)
