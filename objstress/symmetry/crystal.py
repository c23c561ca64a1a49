"""The crystal itself: its exact symmetry, its primitive cell, all in its own frame.

Every function keeps the Cartesian frame of the structure it is given: nothing is rotated to a
standard setting, because the material law and the finite-element body refer to that frame.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from objstress.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMPREC = 1e-2
"""Distance in Angstrom under which two sites count as equivalent (CIF files are rounded)."""
EXACT = 1e-5
"""The same in a cell that is symmetric already: its distortions, if it has any, are real."""


def _spglib_cell(structure: Structure):
    numbers = [site.specie.Z for site in structure]
    return structure.lattice.matrix, structure.frac_coords, numbers


def space_group_operations(structure: Structure, symprec: float = SYMPREC):
    """Operations f' = W f + w of the space group in fractional coordinates, by spglib.

    Args:
        structure: in any cell.
        symprec: distance in Angstrom under which sites are equivalent.

    Returns:
        W (n, 3, 3) integers and w (n, 3) floats.

    Raises:
        InputError: spglib finds no symmetry (overlapping atoms, most often).
    """
    dataset = _dataset(structure, symprec)
    return np.asarray(dataset.rotations), np.asarray(dataset.translations)


def site_operations(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Operations of the space group on the sites of a cell.

    Args:
        structure: exactly symmetric, see `symmetrized`.

    Returns:
        Cartesian rotations g (n, 3, 3) and permutations p (n, atoms): g takes site k to p[k].
    """
    rotations, translations = space_group_operations(structure, 1e-3)
    columns = structure.lattice.matrix.T
    cartesian = columns @ rotations @ np.linalg.inv(columns)
    frac = structure.frac_coords
    numbers = np.array([s.specie.Z for s in structure])
    permutations = []
    for w, t in zip(rotations, translations, strict=True):
        delta = (frac @ w.T + t)[:, None] - frac[None]
        delta -= np.round(delta)
        distance = np.linalg.norm(delta @ structure.lattice.matrix, axis=-1)
        distance[numbers[:, None] != numbers[None]] = np.inf
        permutations.append(distance.argmin(axis=1))
    return cartesian, np.array(permutations)


def moved_vectors(vectors: np.ndarray, rotation: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    """Vectors on the sites of a cell, such as forces, moved by an operation of the space group.

    Args:
        vectors: (..., atoms, 3), Cartesian.
        rotation, permutation: g (3, 3) and p (atoms,) of one operation, see `site_operations`.
    """
    image = np.empty_like(vectors)
    image[..., permutation, :] = vectors @ rotation.T
    return image


def _dataset(structure: Structure, symprec: float):
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = spglib.get_symmetry_dataset(_spglib_cell(structure), symprec=symprec)
    if dataset is None:
        raise InputError(
            f"{structure.composition.reduced_formula}: no space group found; "
            "do atoms overlap? (symprec = "
            f"{symprec:g} Angstrom)"
        )
    return dataset


def space_group(structure: Structure, symprec: float = SYMPREC) -> tuple[str, float]:
    """The space group's symbol, and its operations per atom of the cell.

    Args:
        structure: in any cell.
        symprec: distance in Angstrom under which sites are equivalent.

    Returns:
        The Hermann-Mauguin symbol, and a number that is larger the higher the symmetry; ("", 0.0)
        where spglib finds none.
    """
    try:
        dataset = _dataset(structure, symprec)
    except InputError:
        return "", 0.0
    return dataset.international, len(dataset.rotations) / len(structure)


def cartesian_operations(structure: Structure, symprec: float = SYMPREC) -> np.ndarray:
    """Point operations R = L^T W L^-T in Cartesian coordinates (rows of L are the lattice vectors).

    They are exactly orthogonal only if the lattice is exactly symmetric: see `symmetrized`.

    Args:
        structure: in any cell.
        symprec: distance in Angstrom under which sites are equivalent.

    Returns:
        Shape (n, 3, 3).
    """
    rotations, _ = space_group_operations(structure, symprec)
    distinct = np.unique(rotations, axis=0)
    columns = structure.lattice.matrix.T
    return columns @ distinct @ np.linalg.inv(columns)


def conventional_axes(structure: Structure, symprec: float = SYMPREC) -> np.ndarray:
    """Lattice vectors of spglib's conventional cell, in the structure's own frame.

    International Tables' axes: c along the axis of highest order (hexagonal axes also where the
    lattice is rhombohedral), b along that of a monoclinic crystal.

    Args:
        structure: in any cell.
        symprec: distance in Angstrom under which sites are equivalent.

    Returns:
        Rows are the vectors, (3, 3), Angstrom.
    """
    change = np.asarray(_dataset(structure, symprec).transformation_matrix)
    return np.linalg.inv(change).T @ structure.lattice.matrix


def symmetrized(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """The structure made exactly symmetric under its space group, in its own frame.

    The metric becomes the mean of W^T G W over the group and each site the mean of its images;
    the lattice is the stretched one nearest to the given one (no rotation).

    Args:
        structure: in any cell.
        symprec: distance in Angstrom under which sites are equivalent.

    Raises:
        InputError: a symmetry that is ambiguous at that distance.
    """
    from pymatgen.core import Structure

    number = _dataset(structure, symprec).number
    for _ in range(3):
        rotations, translations = space_group_operations(structure, symprec)
        old = structure.lattice.matrix
        metric = old @ old.T
        # G_ij = a_i . a_j transforms as W^T G W under a change of basis by W.
        metric = np.mean([w.T @ metric @ w for w in rotations.astype(float)], axis=0)
        root = np.linalg.cholesky(metric)
        left, _, right = np.linalg.svd(np.linalg.solve(old, root))
        lattice = root @ (left @ right).T
        frac = structure.frac_coords
        total = np.zeros_like(frac)
        numbers = np.array([site.specie.Z for site in structure])
        for w, t in zip(rotations, translations, strict=True):
            image = frac @ w.T + t
            # delta[i, j]: from site i to the image of site j
            delta = image[None] - frac[:, None]
            delta -= np.round(delta)
            distance = np.linalg.norm(delta @ lattice, axis=-1)
            distance[numbers[:, None] != numbers[None]] = np.inf
            nearest = distance.argmin(axis=1)
            total += delta[np.arange(len(frac)), nearest]
        frac = frac + total / len(rotations)
        structure = Structure(lattice, [s.specie for s in structure], frac)
    if _dataset(structure, 1e-6).number != number:
        raise InputError(
            f"{structure.composition.reduced_formula}: its symmetry is ambiguous at "
            f"{symprec:g} Angstrom; give its lattice and positions with more digits"
        )
    return structure


def primitive_cell(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """The primitive cell of a structure, symmetrised, in the same Cartesian frame.

    The cell is reduced first: a supercell has fewer operations than its crystal.

    Args:
        structure: in any cell.
        symprec: distance in Angstrom under which sites are equivalent.

    Raises:
        InputError: spglib finds no primitive cell, or see `symmetrized`.
    """
    import spglib
    from pymatgen.core import Element, Structure

    # By name: deuterium is another element than hydrogen, with a mass of its own.
    names = [getattr(site.specie, "element", site.specie).name for site in structure]
    elements = sorted(set(names))
    kinds = [elements.index(name) + 1 for name in names]
    given: Any = (structure.lattice.matrix, structure.frac_coords, kinds)
    cell = spglib.standardize_cell(given, to_primitive=True, no_idealize=True, symprec=symprec)
    if cell is None:
        raise InputError(
            f"{structure.composition.reduced_formula}: no primitive cell found; do atoms overlap?"
        )
    lattice, frac, found = cell
    species = [Element(elements[int(kind) - 1]) for kind in found]
    return symmetrized(Structure(lattice, species, frac), symprec)
