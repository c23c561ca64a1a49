"""The deformation gradient of a strained cell, found from the cell itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from pymatgen.core import Structure
from scipy.spatial import KDTree

from objstress.elasticity.strain import strain_size
from objstress.errors import InputError

STRETCH = 0.25
"""Largest change of a lattice vector's length that the search admits."""
SCATTER = 0.15
"""Atoms may leave the homogeneous deformation by this part of the nearest-neighbour distance."""


def find_deformation(
    atoms: Atoms, reference: Structure, scatter: float = SCATTER
) -> tuple[np.ndarray, float]:
    r"""The deformation gradient F of a strained cell, found from the cell itself.

    .. math::
        \text{cell} = M (L F^T)

    L is the reference lattice (rows), M an integer matrix. Supercells, other choices of the cell
    and rotated cells are all recognised. Among the lattice maps M whose atoms fall on the
    crystal's sites the one of least |E| is taken; maps that differ by a symmetry of the crystal
    describe the same label.

    Args:
        atoms: the strained cell.
        reference: the primitive reference crystal.
        scatter: how far atoms may leave the homogeneous deformation, as a part of the
            nearest-neighbour distance.

    Returns:
        F (3, 3), det F > 0, and the largest distance of an atom from the homogeneously deformed
        crystal (Angstrom, in the reference frame, up to a common shift).

    Raises:
        InputError: another composition, or no such map.
    """
    formula = reference.composition.reduced_formula
    copies = _copies(atoms, reference)
    if not copies:
        raise InputError(
            f"{atoms.get_chemical_formula()} is not a whole number of {formula} cells "
            f"({len(reference)} atoms each)"
        )
    if (known := unrotated_deformation(atoms, reference, scatter)) is not None:
        return known  # without a search
    lattice, cell = _one_hand(reference.lattice.matrix, atoms.cell.array), atoms.cell.array
    tolerance = scatter * nearest_distance(reference)
    # The search is short for a primitive cell: its translations are seen in the atoms.
    small = _primitive_cell(atoms, copies) if copies > 1 else None
    searches = [(cell, copies)] if small is None else [(small, 1), (cell, copies)]
    for vectors, times in searches:
        for f in _gradients(vectors, lattice, times):
            off = _scatter(atoms, f, reference)
            if off < tolerance:
                return f, off
    raise InputError(
        f"a cell of {len(atoms)} atoms is not a homogeneously strained {formula} crystal "
        f"(lengths within {STRETCH:.0%}, atoms within {tolerance:.2f} Angstrom of their sites)"
    )


def unrotated_deformation(
    atoms: Atoms, reference: Structure, scatter: float = SCATTER
) -> tuple[np.ndarray, float] | None:
    """The deformation gradient of a cell that was strained by little and not rotated, at once.

    Args:
        atoms, reference, scatter: as in `find_deformation`.

    Returns:
        As `find_deformation`; None for other cells.
    """
    copies, cell = _copies(atoms, reference), atoms.cell.array
    if not copies:
        return None
    lattice = _one_hand(reference.lattice.matrix, cell)
    guess = np.round(cell @ np.linalg.inv(lattice))
    if round(np.linalg.det(guess)) != copies:
        return None
    f = np.linalg.solve(guess @ lattice, cell).T
    if strain_size(f) >= 0.15:
        return None
    off = _scatter(atoms, f, reference)
    return (f, off) if off < scatter * nearest_distance(reference) else None


def _copies(atoms: Atoms, reference: Structure) -> int:
    """How many reference cells the atoms are; 0 if no whole number."""
    copies, rest = divmod(len(atoms), len(reference))
    numbers = np.tile([s.specie.Z for s in reference], copies)
    same = rest == 0 and np.array_equal(np.sort(atoms.numbers), np.sort(numbers))
    return copies if same else 0


def _one_hand(lattice: np.ndarray, cell: np.ndarray) -> np.ndarray:
    # A left-handed choice of vectors: the other hand of the same lattice.
    return -lattice if np.linalg.det(cell) * np.linalg.det(lattice) < 0 else lattice


def nearest_distance(reference: Structure) -> float:
    """The shortest distance between two atoms of the crystal, Angstrom."""
    # An atom's own images are no farther than the shortest period.
    reach = 1.001 * min(reference.lattice.get_lll_reduced_lattice().abc)
    distances = reference.get_all_neighbors(reach)
    return min(n.nn_distance for shell in distances for n in shell)


def _primitive_cell(atoms: Atoms, copies: int) -> np.ndarray | None:
    """Vectors (rows, Angstrom) of a supercell's primitive cell; None where its atoms hide it.

    They have the handedness of the cell.

    The translations that move the atoms onto each other best are as many as the copies. They form
    a group of that order: their fractions are multiples of 1 / copies, exactly.
    """
    cell, _ = minkowski_reduce(atoms.cell.array)
    places = atoms.positions @ np.linalg.inv(cell)
    kinds, numbers = np.unique(atoms.numbers, return_counts=True)
    rarest = np.flatnonzero(atoms.numbers == kinds[numbers.argmin()])
    moves = places[rarest] - places[rarest[0]]
    offsets = np.empty((len(moves), len(atoms), 3))
    for kind in kinds:
        mine = np.flatnonzero(atoms.numbers == kind)
        moved = places[mine] + moves[:, None]
        # Of a coordinate of -1e-17, % makes the edge of the box itself.
        tree = KDTree(places[mine] % 1 % 1, boxsize=1)
        nearest = tree.query(moved % 1 % 1)[1]
        offsets[:, mine] = places[mine][nearest] - moved
    offsets -= np.round(offsets)
    mean = offsets.mean(axis=1)
    stray = np.linalg.norm((offsets - mean[:, None]) @ cell, axis=-1).max(axis=1)
    best = stray.argsort()[:copies]
    fractions = np.round(copies * (moves + mean)[best]) / copies
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    vectors = ((fractions % 1)[:, None] + images).reshape(-1, 3) @ cell
    vectors = vectors[np.linalg.norm(vectors, axis=1).argsort()]
    # In three dimensions the shortest independent vectors are a basis.
    basis: list[np.ndarray] = []
    for vector in vectors:
        if np.linalg.matrix_rank([*basis, vector], tol=1e-3) > len(basis):
            basis.append(vector)
            if len(basis) == 3:
                break
    right = np.linalg.det(basis) * copies / np.linalg.det(atoms.cell.array)
    return np.sign(right) * np.array(basis) if abs(abs(right) - 1) < 1e-6 else None


def _gradients(cell: np.ndarray, lattice: np.ndarray, copies: int) -> Iterator[np.ndarray]:
    """F of all integer maps, the least strained first, of equal ones that which rotates least."""
    maps = _integer_maps(cell, lattice, copies)
    f = np.linalg.solve(maps @ lattice, cell).transpose(0, 2, 1)
    strain = strain_size(f)
    order = np.argsort(strain, kind="stable")
    equal = np.cumsum(np.diff(strain[order], prepend=0.0) > 1e-6)
    yield from f[order][np.lexsort((-np.trace(f[order], axis1=1, axis2=2), equal))]


def _integer_maps(cell: np.ndarray, lattice: np.ndarray, copies: int) -> np.ndarray:
    # All M (m, 3, 3) with det M = copies whose M L has about the lengths and angles of `cell`.
    gram = cell @ cell.T
    lengths = np.sqrt(np.diag(gram))
    reach = lengths.max() * (1 + STRETCH)
    bounds = np.ceil(reach * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-b, b + 1) for b in bounds], indexing="ij"), -1)
    grid = grid.reshape(-1, 3)
    vectors = grid @ lattice
    norms = np.linalg.norm(vectors, axis=1)
    chosen = [np.flatnonzero(np.abs(norms / length - 1) < STRETCH) for length in lengths]

    def fits(a: np.ndarray, b: np.ndarray, i: int, j: int) -> np.ndarray:
        product = np.einsum("...k,...k->...", a, b) - gram[i, j]
        return np.abs(product) < 2 * STRETCH * lengths[i] * lengths[j]

    maps = []
    pairs = np.stack(np.meshgrid(chosen[0], chosen[1], indexing="ij"), -1).reshape(-1, 2)
    pairs = pairs[fits(vectors[pairs[:, 0]], vectors[pairs[:, 1]], 0, 1)]
    for third in chosen[2]:
        ok = fits(vectors[pairs[:, 0]], vectors[third], 0, 2) & fits(
            vectors[pairs[:, 1]], vectors[third], 1, 2
        )
        if not ok.any():
            continue
        triples = np.concatenate([pairs[ok], np.full((int(ok.sum()), 1), third)], axis=1)
        candidates = grid[triples]
        maps.append(candidates[np.round(np.linalg.det(candidates)) == copies])
    return np.concatenate([np.empty((0, 3, 3), dtype=int), *maps])


def _scatter(atoms: Atoms, f: np.ndarray, reference: Structure) -> float:
    # Pull the atoms back and compare with the crystal's sites, once the best common shift is
    # taken off: the first atom is laid on each site of its species in turn.
    pulled = atoms.positions @ np.linalg.inv(f).T
    frac = pulled @ np.linalg.inv(reference.lattice.matrix)
    numbers = np.array([s.specie.Z for s in reference])
    best = np.inf
    for site in np.flatnonzero(numbers == atoms.numbers[0]):
        moved = frac - frac[0] + reference.frac_coords[site]
        for _ in range(2):
            delta = moved[:, None] - reference.frac_coords[None]
            delta -= np.round(delta)
            cartesian = delta @ reference.lattice.matrix
            distance = np.linalg.norm(cartesian, axis=-1)
            distance[atoms.numbers[:, None] != numbers[None]] = np.inf
            nearest = distance.argmin(axis=1)
            rows = np.arange(len(moved))
            offsets = cartesian[rows, nearest]
            moved = moved - offsets.mean(axis=0) @ np.linalg.inv(reference.lattice.matrix)
        best = min(best, float(np.linalg.norm(offsets - offsets.mean(axis=0), axis=1).max()))
    return best
