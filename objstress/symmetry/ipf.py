"""Colours of crystal directions, the same for all that the Laue group makes equivalent."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from objstress.errors import InputError
from objstress.symmetry.point_group import PointGroup, SymmetryGroup

# Azimuths in degrees between which the sector lies, and the directions of its three corners: red
# at the pole, green at the first azimuth, blue at the last one.
_SECTORS = {
    "-1": (0, 360, ("[001]", "[100]", "[100]")),
    "2/m": (0, 180, ("[001]", "[100]", "[-100]")),
    "mmm": (0, 90, ("[001]", "[100]", "[010]")),
    "4/m": (0, 90, ("[001]", "[100]", "[010]")),
    "4/mmm": (0, 45, ("[001]", "[100]", "[110]")),
    "-3": (0, 120, ("[0001]", "[2-1-10]", "[-12-10]")),
    "-3m": (30, 90, ("[0001]", "[10-10]", "[01-10]")),
    "6/m": (0, 60, ("[0001]", "[2-1-10]", "[11-20]")),
    "6/mmm": (0, 30, ("[0001]", "[2-1-10]", "[10-10]")),
    "m-3": (0, 90, ("[001]", "[101]", "[011]")),
    "m-3m": (0, 45, ("[001]", "[101]", "[111]")),
}
_ROUND_OFF = 1e-9


def sector_corners(group: PointGroup) -> dict[str, str]:
    """Crystal directions that are red, green and blue, {"red": "[001]", ...}.

    Along the Cartesian axes of the standard setting; four indices for trigonal and hexagonal
    crystals.

    Args:
        group: of the crystal.
    """
    return dict(zip(("red", "green", "blue"), _SECTORS[group.laue][2], strict=True))


def ipf_colours(group: SymmetryGroup, orientations: Any, direction: Any = (0, 0, 1)) -> np.ndarray:
    """Inverse pole figure colours of grains: `direction_colours` of h = Q^T d.

    Args:
        group: of the crystal.
        orientations: Q (g, 3, 3), crystal frame to sample frame.
        direction: d in the sample, such as the normal of the face that is seen.

    Returns:
        Red, green, blue in [0, 1], (g, 3).

    Raises:
        InputError: a direction of length zero, or not of three finite numbers.
    """
    d = np.asarray(direction, dtype=np.float64)
    if d.shape != (3,) or not np.linalg.norm(d) > 0 or not np.isfinite(d).all():
        raise InputError(f"sample direction {direction}: give three numbers, not all zero")
    return direction_colours(group, np.einsum("gji,j->gi", np.asarray(orientations), d))


def direction_colours(group: SymmetryGroup, directions: Any) -> np.ndarray:
    r"""Inverse pole figure colours of crystal directions h.

    .. math::

        (r, g, b) &= \sqrt{(1 - t,\; t (1 - s),\; t s)} \,/\, \text{largest} \\
        t &= \chi / \chi_\mathrm{max}, \qquad
        s = (\eta - \eta_\mathrm{min}) / (\eta_\mathrm{max} - \eta_\mathrm{min})

    chi is the angle of the equivalent of h in the fundamental sector to the pole [001], eta its
    azimuth from [100]; red, green and blue stand at the corners of the sector: [001] [101] [111]
    for m-3m, [0001] [2-1-10] [10-10] for 6/mmm; see `sector_corners`. Directions that the Laue
    group makes equivalent have one colour. Only the sectors of mmm, 4/mmm, 6/mmm and m-3m have
    mirror planes all around; colours jump across the other edges of the other ones, as in every key
    of this kind.

    Nolze and Hielscher, J. Appl. Cryst. 49 (2016) 1786, on this kind of key and smoother ones.

    Args:
        group: of the crystal, in the frame of the directions. A setting that is rotated against
            the standard one is recognised from the operations, by the least rotation that fits.
            Isotropic groups colour everything white.
        directions: (n, 3), any length.

    Returns:
        Red, green, blue in [0, 1], (n, 3).

    Raises:
        InputError: directions of another shape or of length zero.
    """
    h = np.asarray(directions, dtype=np.float64)
    size = np.linalg.norm(h, axis=-1, keepdims=True)
    if h.ndim != 2 or h.shape[1] != 3 or not (np.isfinite(h).all() and (size > 0).all()):
        raise InputError(f"directions of shape {h.shape}: give (n, 3), none of length zero")
    if not isinstance(group, PointGroup):
        return np.ones_like(h)
    laue = PointGroup(group.laue)
    first, last, _ = _SECTORS[group.laue]
    low, high = np.radians([first, last])
    standard = h / size @ _frame(group, laue)
    equivalent = np.einsum("gij,nj->ngi", laue.operations, standard)
    x, y, z = np.moveaxis(equivalent, -1, 0)
    eta = np.arctan2(y, x)
    eta = np.where(eta < low - _ROUND_OFF, eta + 2 * np.pi, eta)
    chi = np.arccos(np.clip(z, -1, 1))
    chi_max = np.full_like(eta, np.pi / 2)
    if group.crystal_system == "cubic":
        # Up to the planes z = x and z = y.
        chi_max = np.arctan(1 / np.maximum(np.abs(np.cos(eta)), np.abs(np.sin(eta))))
    # At the pole itself every azimuth will do.
    turn = np.where(chi < _ROUND_OFF, low, np.clip(eta, low, high))
    inside = (chi <= chi_max + _ROUND_OFF) & ((eta <= high + _ROUND_OFF) | (chi < _ROUND_OFF))
    # Of several on the sector's edge the first in azimuth, whatever round-off says.
    choice = np.where(inside, np.round(turn, 7), np.inf).argmin(axis=1)[:, None]
    pick = [np.take_along_axis(values, choice, axis=1)[:, 0] for values in (turn, chi, chi_max)]
    t = np.clip(pick[1] / pick[2], 0, 1)
    s = (pick[0] - low) / (high - low)
    rgb = np.sqrt(np.stack([1 - t, t * (1 - s), t * s], axis=1))
    return rgb / rgb.max(axis=1, keepdims=True)


def _frame(group: PointGroup, laue: PointGroup) -> np.ndarray:
    """The smallest rotation R from a Laue group's standard setting to the group's own frame."""
    known = _axes(laue.operations)
    if not known:
        return np.eye(3)
    mine = _axes(np.concatenate([group.operations, -group.operations]))
    (order, main), *others = sorted(known, key=lambda axis: -axis[0])
    across = [axis for axis in others if abs(axis[1] @ main) < 1 - 1e-6]
    mains = [sign * a for n, a in mine if n == order for sign in (1, -1)]
    if not across:
        # One axis only: what is around it has no name of its own.
        target = max(mains, key=lambda a: float(a @ main))
        return Rotation.align_vectors([target], [main])[0].as_matrix()
    second, side = across[-1]
    sides = [sign * a for n, a in mine if n == second for sign in (1, -1)]
    fitting = []
    for a in mains:
        for b in sides:
            if abs(a @ b - main @ side) < 1e-6:
                turn = _triad(a, b) @ _triad(main, side).T
                if _same(turn @ laue.operations @ turn.T, group.operations):
                    fitting.append(turn)
    return max(fitting, key=lambda turn: round(float(np.trace(turn)), 7))


def _axes(operations: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(order, axis) of the proper rotations but the identity, each axis once at its highest."""
    best: dict[tuple, tuple[int, np.ndarray]] = {}
    for g in operations[np.linalg.det(operations) > 0]:
        vector = Rotation.from_matrix(g).as_rotvec()
        angle = float(np.linalg.norm(vector))
        if angle < 1e-6:
            continue
        axis, order = vector / angle, round(2 * np.pi / angle)
        # One sign of the axis: its first component that is not zero is positive.
        axis = axis * np.sign(axis[np.abs(axis) > 1e-6][0])
        key = tuple(np.round(axis, 5) + 0.0)
        if key not in best or best[key][0] < order:
            best[key] = (order, axis)
    return [best[key] for key in sorted(best, reverse=True)]


def _triad(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    across = np.cross(a, b)
    across = across / np.linalg.norm(across)
    return np.stack([a, across, np.cross(a, across)], axis=1)


def _same(laue: np.ndarray, operations: np.ndarray) -> bool:
    """Whether every one of the operations is in the Laue group."""
    gap = np.abs(operations[:, None] - laue[None]).max(axis=(2, 3)).min(axis=1)
    return bool(gap.max() < 1e-5)
