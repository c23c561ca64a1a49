"""The deformation gradient of a strained cell, found from the cell itself."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from pymatgen.core import Structure

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
    copies, rest = divmod(len(atoms), len(reference))
    numbers = np.array([s.specie.Z for s in reference])
    same = rest == 0 and np.array_equal(
        np.sort(atoms.numbers), np.sort(np.tile(numbers, max(copies, 1)))
    )
    if not same:
        raise InputError(
            f"{atoms.get_chemical_formula()} is not a whole number of {formula} cells "
            f"({len(reference)} atoms each)"
        )
    lattice, cell = reference.lattice.matrix, atoms.cell.array
    if np.linalg.det(cell) * np.linalg.det(lattice) < 0:
        # A left-handed choice of vectors: the other hand of the same lattice.
        lattice = -lattice
    tolerance = scatter * nearest_distance(reference)
    # A cell that was not rotated needs no search.
    guess = np.round(cell @ np.linalg.inv(lattice))
    if round(np.linalg.det(guess)) == copies:
        f = np.linalg.solve(guess @ lattice, cell).T
        if np.linalg.norm(0.5 * (f.T @ f - np.eye(3))) < 0.15:
            off = _scatter(atoms, f, reference)
            if off < tolerance:
                return f, off
    best: tuple[float, float, np.ndarray] | None = None
    for supercell in _integer_maps(cell, lattice, copies):
        f = np.linalg.solve(supercell @ lattice, cell).T
        strain = float(np.linalg.norm(0.5 * (f.T @ f - np.eye(3))))
        if best is not None:
            if strain > best[0] + 1e-6:
                break  # maps come in the order of their strain
            if np.trace(f) <= np.trace(best[2]) + 1e-6:
                continue  # of equal maps the one that rotates least
        off = _scatter(atoms, f, reference)
        if off < tolerance:
            best = (strain, off, f)
    if best is None:
        raise InputError(
            f"a cell of {len(atoms)} atoms is not a homogeneously strained {formula} crystal "
            f"(lengths within {STRETCH:.0%}, atoms within {tolerance:.2f} Angstrom of their sites)"
        )
    return best[2], best[1]


def nearest_distance(reference: Structure) -> float:
    """The shortest distance between two atoms of the crystal, Angstrom."""
    distances = reference.get_all_neighbors(6.0)
    return min(n.nn_distance for shell in distances for n in shell)


def _integer_maps(cell: np.ndarray, lattice: np.ndarray, copies: int) -> list[np.ndarray]:
    # All M with det M = copies whose M L has about the lengths and angles of `cell`, the least
    # strained first.
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
    if not maps or not (integer_maps := np.concatenate(maps)).size:
        return []
    # cell = (M L) F^T, so C = F^T F = (M L)^-1 (cell cell^T) (M L)^-T.
    back = np.linalg.inv(integer_maps @ lattice)
    strain = np.linalg.norm(0.5 * (back @ gram @ back.transpose(0, 2, 1) - np.eye(3)), axis=(1, 2))
    order = np.argsort(strain, kind="stable")
    return list(integer_maps[order])


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
