"""Lattices of one node, more symmetric than the material: there the filters alone carry it."""

from __future__ import annotations

from functools import cache

import numpy as np
from pymatgen.core import Structure

from objstress.errors import InputError
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.supergroups import contains

LATTICES = ("cubic", "hexagonal", "hexagonal-y", "cubic-111")


def lone_node(lattice: str) -> Structure:
    """One atom (hydrogen, a mere marker) on a cubic or hexagonal lattice with unit spacing.

    Args:
        lattice: "cubic" (simple cubic, edges along x, y, z), "hexagonal" (a = 1 along x,
            c = 1.1 along z), "hexagonal-y" (the same with c along y) or "cubic-111" (simple
            cubic, [111] along z and a two-fold [1-10] along x, for trigonal materials).

    Raises:
        InputError: an unknown lattice.
    """
    if lattice == "cubic":
        matrix = np.eye(3)
    elif lattice == "hexagonal":
        matrix = np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, 1.1]])
    elif lattice == "hexagonal-y":
        matrix = np.array([[1, 0, 0], [-0.5, 0, -np.sqrt(3) / 2], [0, 1.1, 0]])
    elif lattice == "cubic-111":
        x = np.array([1, -1, 0]) / np.sqrt(2)
        z = np.array([1, 1, 1]) / np.sqrt(3)
        # Columns of Q^T are x, z x x, z: Q takes the cube's axes to the rotated frame.
        matrix = np.stack([x, np.cross(z, x), z]).T
    else:
        raise InputError(f"lattice {lattice!r}: give one of {', '.join(LATTICES)}")
    return Structure(matrix, ["H"], [[0, 0, 0]])


@cache
def host_lattices() -> dict[str, tuple[Structure, PointGroup]]:
    """The lone-node lattices and their point groups."""
    lattices = {name: lone_node(name) for name in LATTICES}
    return {name: (s, PointGroup.from_structure(s)) for name, s in lattices.items()}


def host_of(group: PointGroup) -> Structure:
    """A lone-node lattice more symmetric than (or as symmetric as) a group.

    Args:
        group: in standard setting.

    Raises:
        InputError: the group's axes are not those of any of the lattices.
    """
    for structure, host in host_lattices().values():
        if contains(host, group):
            return structure
    raise InputError(
        f"the axes of point group {group.symbol} are not those of the standard setting, which a "
        "material without atoms needs (see PointGroup)"
    )
