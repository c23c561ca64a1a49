"""The crystal itself: reading it, its exact symmetry, its primitive cell, all in its own frame.

Every function keeps the Cartesian frame of the structure it is given: nothing is rotated to a
standard setting, because the material law and the finite-element body refer to that frame.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from objstress.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

SYMPREC = 1e-2
"""Distance in Angstrom under which two sites count as equivalent (CIF files are rounded)."""


def read_structure(source: Structure | Atoms | str | Path) -> Structure:
    """The periodic structure in a file (any format of pymatgen or ASE), or given as an object.

    Args:
        source: a path, a pymatgen Structure, or ASE Atoms.

    Raises:
        InputError: the file is missing, unreadable, empty, not periodic or partly occupied.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{path}: no such structure file")
        structure = _parse(path)
    else:
        structure = _converted(source)
    if len(structure) == 0:
        raise InputError(f"{source}: the structure holds no atoms")
    if not structure.is_ordered:
        raise InputError(f"{source}: sites are partly occupied; give an ordered structure")
    if not np.isfinite(structure.lattice.matrix).all() or structure.volume < 1e-3:
        raise InputError(f"{source}: the cell has no volume")
    return structure


def _converted(source: Structure | Atoms) -> Structure:
    from pymatgen.core import Structure

    if isinstance(source, Structure):
        return source
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_structure(source)


def _parse(path: Path) -> Structure:
    from pymatgen.core import Structure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Structure.from_file(path)
        except Exception as first:  # pymatgen raises many kinds; ASE reads more formats
            from ase import Atoms
            from ase.io import read
            from pymatgen.io.ase import AseAtomsAdaptor

            try:
                atoms = read(path, index=-1)
                if not isinstance(atoms, Atoms) or not atoms.pbc.all() or len(atoms) == 0:
                    raise InputError(f"{path}: not a periodic structure with atoms")
                return AseAtomsAdaptor.get_structure(atoms)
            except InputError:
                raise
            except Exception:
                reason = " ".join(str(first).split()) or type(first).__name__
                raise InputError(
                    f"{path}: not a readable crystal structure ({reason}); "
                    "give a CIF, a POSCAR or another format of pymatgen or ASE"
                ) from None


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

    cell = spglib.standardize_cell(
        _spglib_cell(structure), to_primitive=True, no_idealize=True, symprec=symprec
    )
    if cell is None:
        raise InputError(
            f"{structure.composition.reduced_formula}: no primitive cell found; do atoms overlap?"
        )
    lattice, frac, numbers = cell
    elements = [Element.from_Z(int(z)) for z in numbers]
    return symmetrized(Structure(lattice, elements, frac), symprec)
