"""The standard frame of a crystal's tensors, and the crystal rotated into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from objstress.symmetry.crystal import conventional_axes
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import rotated_tensor, tensor_to_voigt

if TYPE_CHECKING:
    from pymatgen.core import Structure


def ieee_rotation(structure: Structure) -> np.ndarray:
    r"""Rotation Q from a structure's own frame to the standard frame of its tensors, v_IEEE = Q v.

    Cubic: along the conventional axes; tetragonal, hexagonal and trigonal: z along c, x along a;
    orthorhombic: z, x, y along the axes from the shortest to the longest; monoclinic: y along b, z
    along the shorter one across; triclinic: z along the longest, x in the plane of it and the
    shortest. IEEE Standard on Piezoelectricity, ANSI/IEEE Std 176-1987, as pymatgen has it (whose
    own function fails where two axes are equally long, and may change the hand). In the trigonal
    classes 32, 3m and -3m x lies along a two-fold axis, or normal to a mirror plane, as the
    standard has it, also where a does not (P-31m), so that C15 = 0.

    Where the axes alone leave the senses open (trigonal crystals, and tetragonal ones of class 4,
    -4 or 4/m), they follow the atoms: of the frames turned by 180 degrees about x, y or z that
    which makes positive the first entry, of 14 15 16 24 25 26, of

    .. math:: \sum_{i j} Z_i Z_j\, e^{-(r / \rho)^2}\, n \otimes n \otimes n \otimes n,
        \qquad n = r_{ij} / r, \quad \rho^3 = V / N

    that is not zero (a rule of this package: the standard goes by the signs of piezoelectric
    constants, which a structure does not tell). In a rhombohedral lattice turns about z are not
    among the frames: the obverse setting decides. Every cell of one crystal so has the same frame,
    and C14 and C16 one sign.

    Args:
        structure: exactly symmetric, see `primitive_cell`.

    Returns:
        Q, shape (3, 3), det Q = 1; its rows are the standard axes in the structure's frame.
    """
    axes = conventional_axes(structure)
    lengths = np.linalg.norm(axes, axis=1)
    # What is equally long but for round-off keeps its order.
    short, middle, long = np.argsort(np.round(lengths, 6), kind="stable")
    group = PointGroup.of_primitive_cell(structure)
    system = group.crystal_system
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
    if group.laue == "-3m":
        x = _two_fold_axis(group, x)
    q = np.stack([x, np.cross(z, x), z])
    if group.laue not in ("-3", "-3m", "4/m"):
        return q
    turns = [np.diag(signs) for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    if group.laue == "4/m" or _rhombohedral(structure, axes):
        turns = turns[:2]
    return _by_the_atoms(structure, [turn @ q for turn in turns])


def _two_fold_axis(group: PointGroup, x: np.ndarray) -> np.ndarray:
    """The two-fold axis across z that is nearest to x; of a rotoinversion, the mirror's normal."""
    proper = group.operations * np.linalg.det(group.operations)[:, None, None]
    halves = proper[np.abs(np.trace(proper, axis1=1, axis2=2) + 1) < 1e-6]
    axes = np.array([np.linalg.eigh(r + r.T)[1][:, -1] for r in halves])
    along = axes @ x
    nearest = int(np.abs(along).argmax())
    return axes[nearest] * np.sign(along[nearest])


def _rhombohedral(structure: Structure, axes: np.ndarray) -> bool:
    # The hexagonal cell holds three lattice points.
    return abs(np.linalg.det(axes)) / structure.volume > 2


def _by_the_atoms(structure: Structure, frames: list[np.ndarray]) -> np.ndarray:
    rho = (structure.volume / len(structure)) ** (1 / 3)
    z = np.array([site.specie.Z for site in structure], dtype=float)
    for width in (rho, 1.5 * rho):
        i, j, shift, r = structure.get_neighbor_list(4 * width)
        x, lattice = structure.cart_coords, structure.lattice.matrix
        n = (x[j] + shift @ lattice - x[i]) / r[:, None]
        weight = z[i] * z[j] * np.exp(-((r / width) ** 2))
        fabric = np.einsum("p,pi,pj,pk,pl->ijkl", weight, n, n, n, n, optimize=True)
        turned = [tensor_to_voigt(rotated_tensor(fabric, q)) for q in frames]
        rows = [c[:2, 3:].ravel() for c in turned]
        signs = np.where(np.abs(rows) > 1e-5 * np.abs(fabric).max(), np.sign(rows), 0)
        if signs.any():
            return frames[max(range(len(frames)), key=lambda k: tuple(signs[k]))]
    return frames[0]


def rotated_structure(structure: Structure, q: np.ndarray) -> Structure:
    """The structure rotated by q: lattice vectors q a.

    Args:
        structure: in any frame.
        q: rotation, shape (3, 3).
    """
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(structure.lattice.matrix @ np.asarray(q).T)
    return Structure(lattice, [site.specie for site in structure], structure.frac_coords)
