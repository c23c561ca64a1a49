"""Which strains to label: quasi-random in the part of the six-dimensional ball that G leaves."""

from __future__ import annotations

import numpy as np

from objstress.elasticity.directions import strain_directions
from objstress.errors import InputError, check_seed
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import from_mandel, mandel_rotations

SMALL_STRAIN = 0.01
"""A fifth of the labels lie below this |E|: they pin the elastic constants."""
_GENERIC = np.array([1.0, 0.83, 0.64, 0.47, 0.31, 0.19])
"""A Mandel vector that no operation but E -> E leaves in place."""


def sample_strains(
    samples: int, max_strain: float = 0.08, seed: int = 0, group: PointGroup | None = None
) -> np.ndarray:
    r"""Quasi-random Green-Lagrange strains E with |E| = sqrt(E:E) <= max_strain.

    All six components vary at once. Directions come from a scrambled Sobol sequence mapped
    through the normal distribution to the sphere in Mandel's six-space; radii are uniform, every
    fifth one in (0.1, 1) x min(1 %, max_strain), the others between that and max_strain.

    Args:
        samples: number of strains.
        max_strain: largest |E|.
        seed: of the sequence.
        group: only strains of its `fundamental` part of the ball are kept, since g E g^T has
            the stress g S g^T and adds nothing new; None samples the whole ball.

    Returns:
        E (samples, 3, 3).

    Raises:
        InputError: no samples, or a max_strain outside (0, 0.4] (J must stay positive).
    """
    if samples < 1:
        raise InputError(f"samples = {samples}: give at least 1")
    if not 0 < max_strain <= 0.4:
        raise InputError(f"max_strain = {max_strain}: give a number in (0, 0.4]")
    check_seed(seed)
    from scipy.stats import qmc  # slow to import

    points = np.empty((0, 7))
    power = int(np.ceil(np.log2(samples + 1)))
    while len(points) < samples:
        points = qmc.Sobol(7, scramble=True, rng=seed).random_base2(power)
        if group is not None:
            points = points[fundamental(strain_directions(points), group)]
        power += 1
    points = points[:samples]
    small = min(SMALL_STRAIN, max_strain)
    low, high = np.full(samples, small), np.full(samples, max_strain)
    low[::5], high[::5] = 0.1 * small, small
    return from_mandel(strain_directions(points) * (low + (high - low) * points[:, 6])[:, None])


def farthest_strains(
    x: np.ndarray, number: int, group: PointGroup, taken: np.ndarray
) -> np.ndarray:
    """Strains that stand for all: each the farthest from those before it and their images under G.

    Args:
        x: Mandel strains, (n, 6).
        number: how many of them are wanted.
        group: the crystal's point group.
        taken: Mandel strains that need none near them, (m, 6).

    Returns:
        Their numbers among x, at most `number`; fewer where x has fewer different ones.
    """
    rotations = mandel_rotations(group.operations)
    rotations = rotations[np.unique(np.round(rotations, 8), axis=0, return_index=True)[1]]
    distance = np.full(len(x), np.inf)

    def approach(point: np.ndarray) -> None:
        images = rotations @ point
        near = np.linalg.norm(x[:, None] - images, axis=2).min(axis=1)
        np.minimum(distance, near, out=distance)

    for point in taken:
        approach(point)
    least = 1e-3 * np.linalg.norm(x, axis=1).max(initial=0.0)
    found: list[int] = []
    while len(found) < number and distance.max(initial=0.0) > least:
        found.append(int(distance.argmax()))
        approach(x[found[-1]])
    return np.array(found, dtype=int)


def fundamental(x: np.ndarray, group: PointGroup) -> np.ndarray:
    r"""Which strains lie in the cone that holds one image under G of each strain.

    .. math::
        d \cdot x \ge d \cdot M(g) x \quad \text{for every } g \in G

    (Dirichlet's domain of a generic d): each strain has exactly one image in it, boundaries apart.

    Args:
        x: Mandel strains (n, 6).
        group: the point group G.

    Returns:
        bool (n,).
    """
    images = np.einsum("a,gab,nb->ng", _GENERIC, mandel_rotations(group.operations), x)
    return x @ _GENERIC >= images.max(axis=1) - 1e-12
