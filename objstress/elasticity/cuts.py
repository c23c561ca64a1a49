"""Plates cut from a crystal, by name or in the notation of the IEEE standard."""

from __future__ import annotations

import re

import numpy as np
from scipy.spatial.transform import Rotation

from objstress.errors import InputError

CUTS = {"AT": "(YXl) 35.25", "BT": "(YXl) -49.2"}
"""Of quartz in the axes of IRE 1949, in which c14 is negative. In those of IEEE 1978, turned by 180
degrees about Z, c14 is positive and all angles about X change their signs."""
_NOTATION = re.compile(r"\(([XYZ])([XYZ])([lwt]{0,3})\)\s*(.*)")


def plate_cut(notation: str) -> np.ndarray:
    r"""Orientation of a plate that is cut from a crystal, with its thickness along z.

    `(YXl) 35.25`: a plate whose thickness is along Y and whose length is along X, turned about its
    length by 35.25 degrees; the letters after the axes are the edges l, w and t that it is turned
    about, one after the other, each where the turns before have brought it, by the angles that
    follow, `(YXwl) 22.4/34.3`. Angles count counterclockwise about the edge, whose sense is that of
    the crystal's axis. X, Y, Z are the axes of the law's constants.
    Standards on Piezoelectric Crystals, Proc. IRE 37 (1949) 1378; the notation is that of IEEE Std
    176, too, whose axes of quartz are others (see `CUTS`).

    Args:
        notation: as above, or a name of `CUTS`: "AT", "BT".

    Returns:
        Q (3, 3), crystal frame to sample frame: length along x, thickness along z.

    Raises:
        InputError: another notation, or not as many angles as edges.
    """
    text = CUTS.get(notation.strip().upper(), notation.strip())
    match = _NOTATION.fullmatch(text)
    if match is None or match[1] == match[2]:
        raise InputError(
            f"cut {notation!r}: give a name ({', '.join(CUTS)}), or thickness, length and turns as "
            "in '(YXl) 35.25' or '(YXwl) 22.4/34.3'"
        )
    thickness, length, edges = match[1], match[2], match[3]
    try:
        angles = [float(a) for a in match[4].replace("°", "").split("/") if a.strip()]
    except ValueError:
        raise InputError(f"cut {notation!r}: {match[4]!r} are no angles in degrees") from None
    if len(angles) != len(edges):
        raise InputError(f"cut {notation!r}: {len(angles)} angles for {len(edges)} turns")
    (width,) = set("XYZ") - {thickness, length}
    plate = {
        edge: np.eye(3)["XYZ".index(axis)]
        for edge, axis in zip("twl", (thickness, width, length), strict=True)
    }
    for edge, angle in zip(edges, angles, strict=True):
        turn = Rotation.from_rotvec(np.radians(angle) * plate[edge]).as_matrix()
        plate = {name: turn @ axis for name, axis in plate.items()}
    return np.stack([plate["l"], np.cross(plate["t"], plate["l"]), plate["t"]])
