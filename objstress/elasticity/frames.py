"""The standard frame of a crystal's tensors, and the crystal rotated into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from objstress.symmetry.crystal import conventional_axes
from objstress.symmetry.point_group import PointGroup

if TYPE_CHECKING:
    from pymatgen.core import Structure


def ieee_rotation(structure: Structure) -> np.ndarray:
    """Rotation Q from a structure's own frame to the standard frame of its tensors, v_IEEE = Q v.

    Cubic: along the conventional axes; tetragonal, hexagonal and trigonal: z along c, x along a;
    orthorhombic: z, x, y along the axes from the shortest to the longest; monoclinic: y along b, z
    along the shorter one across; triclinic: z along the longest, x in the plane of it and the
    shortest. IEEE Standard on Piezoelectricity, ANSI/IEEE Std 176-1987, as pymatgen has it (whose
    own function fails where two axes are equally long, and may change the hand). Where the lattice
    gives an axis no sense, the choice is open: in trigonal crystals whose lattice is not
    rhombohedral two frames, rotated by 180 degrees about z, are equally standard, and C14 has the
    sign of the frame.

    Args:
        structure: exactly symmetric, see `primitive_cell`.

    Returns:
        Q, shape (3, 3), det Q = 1; its rows are the standard axes in the structure's frame.
    """
    axes = conventional_axes(structure)
    lengths = np.linalg.norm(axes, axis=1)
    # What is equally long but for round-off keeps its order.
    short, middle, long = np.argsort(np.round(lengths, 6), kind="stable")
    system = PointGroup.of_primitive_cell(structure).crystal_system
    if system == "orthorhombic":
        z, x = axes[short], axes[middle]
    elif system == "monoclinic":
        z = axes[0] if round(lengths[0], 6) < round(lengths[2], 6) else axes[2]
        x = np.cross(axes[1], z)
    elif system == "triclinic":
        z, x = axes[long], axes[short]
    else:
        z, x = axes[2], axes[0]
    z = z / np.linalg.norm(z)
    x = x - (x @ z) * z
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def rotated_structure(structure: Structure, q: np.ndarray) -> Structure:
    """The structure rotated by q: lattice vectors q a.

    Args:
        structure: in any frame.
        q: rotation, shape (3, 3).
    """
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(structure.lattice.matrix @ np.asarray(q).T)
    return Structure(lattice, [site.specie for site in structure], structure.frac_coords)
