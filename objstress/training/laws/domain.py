"""Where the labels of a law lie: the strains that it can be trusted at."""

from __future__ import annotations

import numpy as np
import torch

from objstress.labels.strain_labels import Labels
from objstress.laws.domain import density_functions
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import mandel_rotations, to_mandel

CORE = 0.95
"""Fraction of the labels, those in the densest places, that set the bound."""
MIDDLE = 0.05
"""Weight of zero strain, and of the labels' strains halved, in the mean."""
BEYOND = 1.25
"""How much sparser than the last of them a strain inside may lie."""


def trained_domain(labels: Labels, group: PointGroup) -> tuple[np.ndarray, np.ndarray]:
    r"""Where the labels lie, as a law keeps it.

    .. math::
        q(x) = v(x)^T \Big\langle v v^T \Big\rangle^{-1} v(x) \le c, \qquad v = (1, x_a, x_a x_b)

    The mean runs over the labels' Mandel strains x and their images under G, with a
    twentieth of the weight at x / 2 and a twentieth at zero; q is the inverse of
    the empirical Christoffel function, large where no labels are (Lasserre and Pauwels, Adv.
    Comput. Math. 45 (2019) 1439), and the same in every linear change of x, that by the stiffness
    among them. c is the largest q of the labels, but no more than `BEYOND` times that which `CORE`
    of them keep: a label far from the others then lies outside, and opens nothing around it. With
    fewer than 56 labels the products are left out of v.

    Args:
        labels: of one crystal.
        group: its point group G.

    Returns:
        The ellipsoid M (6, 6) that holds the labels with q <= c and their images, of the shape of
        their second moments (directions without labels get a thousandth of the largest extent), and
        the matrix L (28, 28) with v^T L v = q / c; see `objstress.laws.domain.FittedLaw`.
    """
    x = to_mandel(labels.strain)
    rotations = mandel_rotations(group.operations)
    scale = np.linalg.norm(x, axis=1).max()
    used = 28 if len(x) >= 2 * 28 else 7
    size = np.array([1.0] + 6 * [1 / scale] + 21 * [1 / scale**2])[:used]
    # Labels may leave out the middle, where no law extrapolates: it has a share of its own, so that
    # q(0) <= 1 / MIDDLE, well below every bound.
    places = np.concatenate([x, 0.5 * x, np.zeros((1, 6))])
    shares = np.repeat([(1 - 2 * MIDDLE) / len(x), MIDDLE / len(x), MIDDLE], [len(x), len(x), 1])
    moments = np.zeros((used, used))
    for rotation in rotations:
        v = density_functions(torch.tensor(places @ rotation.T)).numpy()[:, :used] * size
        moments += (shares[:, None] * v).T @ v / len(rotations)
    inverse = size[:, None] * _inverse(moments, 1e-10) * size
    v = density_functions(torch.tensor(x)).numpy()[:, :used]
    q = np.einsum("na,ab,nb->n", v, inverse, v)
    bound = min(q.max(), BEYOND * np.quantile(q, CORE))
    density = np.zeros((28, 28))
    density[:used, :used] = inverse / bound
    core = x[q <= bound]
    second = (rotations @ (core.T @ core / len(core)) @ rotations.transpose(0, 2, 1)).mean(axis=0)
    m = _inverse(second, 1e-6)
    return m / np.einsum("na,ab,nb->n", core, m, core).max(), density


def _inverse(matrix: np.ndarray, floor: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors / np.maximum(values, floor * values.max())) @ vectors.T
