"""Flexible side chains: the atoms that move, and the chi angles about which they rotate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from objstress.docking.protein import Protein
from objstress.errors import InputError

# The atoms along whose bonds chi 1, chi 2, ... rotate.
CHI = {
    "ARG": "CA CB CG CD NE", "LYS": "CA CB CG CD CE", "MET": "CA CB CG SD", "GLU": "CA CB CG CD",
    "GLN": "CA CB CG CD", "ASP": "CA CB CG", "ASN": "CA CB CG", "PHE": "CA CB CG",
    "TYR": "CA CB CG", "TRP": "CA CB CG", "HIS": "CA CB CG", "LEU": "CA CB CG", "ILE": "CA CB CG1",
    "VAL": "CA CB", "SER": "CA CB", "THR": "CA CB", "CYS": "CA CB",
}  # fmt: skip
REMOTENESS = "ABGDEZH"
BACKBONE = ("N", "C", "O", "OXT", "OT1", "OT2", "OC1", "OC2")
BOND = 2.2
"""Angstrom; heavy atoms that are closer are bonded."""


@dataclass(frozen=True)
class SideChains:
    """Atoms that move and the bonds about which they rotate.

    Attributes:
        atoms: (f,) indices in the site's m atoms: C alpha and the side chain beyond it.
        axes: (t, 2) ends of each bond, as in `TorsionTree`, indices in `atoms`.
        moves: (t, f) bool, the atoms that each bond moves, as in `TorsionTree`.
        residue: (f, m) bool, the site's atoms in the same residue.
    """

    atoms: np.ndarray
    axes: np.ndarray
    moves: np.ndarray
    residue: np.ndarray


def side_chains(site: Protein, residues: Sequence[str]) -> SideChains:
    """The side chains of some residues of a site.

    Args:
        site: see `Protein.within`.
        residues: chain and number of each, "A:315".

    Raises:
        InputError: no such residue in the site, one without chi angles, one with missing or
            unknown atoms, or one whose side chain is bonded to another residue.
    """
    kinds, names = site.labels[:, 1], site.labels[:, 3]
    residue_of = np.array([f"{chain}:{number}" for chain, _, number, _ in site.labels])
    atoms: list[int] = []
    axes, moving, same = [], [], []
    for residue in dict.fromkeys(residues):
        here = np.flatnonzero(residue_of == residue)
        if not len(here):
            raise InputError(
                f'flexible {residue!r}: no such residue in the site; give "A:315", chain and number'
            )
        kind = str(kinds[here[0]])
        if kind not in CHI:
            raise InputError(f"flexible {residue}: {kind} has no side chain that rotates")
        chain = {str(names[k]): len(atoms) + n
                 for n, k in enumerate(k for k in here if names[k] not in BACKBONE)}  # fmt: skip
        path = CHI[kind].split()
        missing = [name for name in path if name not in chain]
        if missing:
            raise InputError(f"flexible {residue}: {kind} lacks {', '.join(missing)}")
        unknown = [name for name in chain if name[1:2] not in REMOTENESS]
        if unknown:
            raise InputError(f"flexible {residue}: {kind} has unknown atoms {', '.join(unknown)}")
        rotating = [k for k in here if names[k] not in (*BACKBONE, "CA", "CB")]
        apart = site.positions[rotating][:, None] - site.positions[residue_of != residue]
        if (np.linalg.norm(apart, axis=-1) < BOND).any():
            raise InputError(
                f"flexible {residue}: its side chain is bonded to another residue; leave it rigid"
            )
        atoms += [int(k) for k in here if names[k] not in BACKBONE]
        same += [residue_of == residue] * len(chain)
        for start, end in pairwise(path):
            axes.append((chain[start], chain[end]))
            far = REMOTENESS.index(end[1])
            moving.append([k for name, k in chain.items() if REMOTENESS.index(name[1]) > far])
    moves = np.zeros((len(axes), len(atoms)), dtype=bool)
    for row, indices in zip(moves, moving, strict=True):
        row[indices] = True
    return SideChains(
        np.array(atoms, dtype=int),
        np.array(axes, dtype=int).reshape(-1, 2),
        moves,
        np.array(same, dtype=bool).reshape(len(atoms), len(site.labels)),
    )
