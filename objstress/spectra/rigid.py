"""The motions that leave the energy as it is: of molecules, crystals and molecules in boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

LINEAR = 1e-3
"""A molecule is linear where its smallest radius of gyration is below this part of the largest."""


@dataclass(frozen=True)
class Fragment:
    """Atoms that hang together by pairs closer than the cutoff, with none to others.

    Attributes:
        index: numbers of its atoms, (k,).
        positions: of the same atoms, next to one another across the cell's faces, (k, 3) Angstrom.
        repeats: unit vectors that span the translations that take the fragment into itself, (r, 3);
            none of a molecule, also of one in a box.
    """

    index: np.ndarray
    positions: np.ndarray
    repeats: np.ndarray


def fragments(atoms: Atoms, elements: Sequence[int], cutoff: float) -> list[Fragment]:
    """The fragments of a structure under a cutoff.

    Args:
        atoms: periodic along all, some or none of its axes.
        elements: atomic numbers that the model knows.
        cutoff: Angstrom, of the pairs.

    Raises:
        InputError: see `atom_graph`.
    """
    from objstress.graphs.atoms import atom_graph  # slow to import

    graph = atom_graph(atoms, elements, cutoff)
    shifts = (graph.shift @ graph.cell[0]).numpy()
    neighbours: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(len(atoms))]
    for (j, i), shift in zip(graph.edge_index.T.tolist(), shifts, strict=True):
        neighbours[i].append((j, shift))
    place: dict[int, np.ndarray] = {}
    found = []
    for first in range(len(atoms)):
        if first in place:
            continue
        place[first] = np.zeros(3)
        members, repeats = [first], [np.zeros(3)]
        for i in members:  # grows on the way
            for j, shift in neighbours[i]:
                moved = place[i] + shift
                if j not in place:
                    place[j] = moved
                    members.append(j)
                else:
                    repeats.append(moved - place[j])
        index = np.sort(members)
        positions = atoms.positions[index] + np.array([place[k] for k in index.tolist()])
        _, sizes, axes = np.linalg.svd(np.array(repeats), full_matrices=False)
        found.append(Fragment(index, positions, axes[sizes > 1e-6]))
    return found


def rigid_displacements(
    positions: np.ndarray, masses: np.ndarray, rotations: bool | np.ndarray = True
) -> np.ndarray:
    r"""Mass-weighted translations and rotations of a rigid body.

    .. math:: \sqrt{m_i}\, e_a, \quad \sqrt{m_i}\, e_a \times (r_i - r_0)

    with the centre of mass r_0.

    Args:
        positions: (n, 3) Angstrom.
        masses: (n,) u.
        rotations: False for crystals, which only translate; or the axes of the rotations, (a, 3).

    Returns:
        (k, 3 n) with orthonormal rows: k = 6, 5 for a linear molecule, 3 for an atom or a crystal.
    """
    root = np.sqrt(masses)
    motions = root[None, :, None] * np.eye(3)[:, None, :] / np.sqrt(masses.sum())
    motions = motions.reshape(3, -1)
    about = np.eye(3)[: 3 * int(rotations)] if np.ndim(rotations) == 0 else np.asarray(rotations)
    if not len(about):
        return motions
    arms = root[:, None] * (positions - masses @ positions / masses.sum())
    turns = np.cross(about[:, None, :], arms[None]).reshape(len(about), -1)
    # Squares of the singular values are the principal moments of inertia.
    _, sizes, axes = np.linalg.svd(turns, full_matrices=False)
    kept = sizes > max(LINEAR * np.linalg.norm(arms), 1e-8)
    return np.concatenate([motions, axes[kept]])


def rigid_motions(atoms: Atoms, masses: np.ndarray, potential: Any) -> np.ndarray:
    """Mass-weighted motions that leave a potential's energy as it is.

    Each fragment under the potential's cutoff moves by itself: it translates and, where the
    potential has the symmetry O(3) or SO(3), it rotates unless it is periodic (a chain rotates
    about its axis). A molecule in a box is a molecule.

    Args:
        atoms: one structure.
        masses: that weight the motions, (n,) u; ones for motions in Angstrom.
        potential: see `objstress.spectra.minimum.evaluate`.

    Returns:
        (k, 3 n) with orthonormal rows.
    """
    settings, rows = potential.settings, []
    for fragment in fragments(atoms, settings.elements, settings.cutoff):
        axes = np.zeros((0, 3))
        if str(settings.group) in ("O(3)", "SO(3)") and len(fragment.repeats) < 2:
            axes = fragment.repeats if len(fragment.repeats) else np.eye(3)
        own = rigid_displacements(fragment.positions, masses[fragment.index], axes)
        row = np.zeros((len(own), len(atoms), 3))
        row[:, fragment.index] = own.reshape(len(own), -1, 3)
        rows.append(row.reshape(len(own), -1))
    return np.concatenate(rows)
