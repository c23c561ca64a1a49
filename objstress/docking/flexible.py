"""Side chains that turn about their chi angles while a ligand looks for its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from objstress.docking.protein import Protein
from objstress.errors import InputError

# Along which bonds chi 1, chi 2, ... turn.
CHI = {
    "ARG": "CA CB CG CD NE", "LYS": "CA CB CG CD CE", "MET": "CA CB CG SD", "GLU": "CA CB CG CD",
    "GLN": "CA CB CG CD", "ASP": "CA CB CG", "ASN": "CA CB CG", "PHE": "CA CB CG",
    "TYR": "CA CB CG", "TRP": "CA CB CG", "HIS": "CA CB CG", "LEU": "CA CB CG", "ILE": "CA CB CG1",
    "VAL": "CA CB", "SER": "CA CB", "THR": "CA CB", "CYS": "CA CB",
}  # fmt: skip
REMOTENESS = "ABGDEZH"
BACKBONE = ("N", "C", "O", "OXT", "OT1", "OT2", "OC1", "OC2")
BOND = 2.2
"""Angstrom: heavy atoms that are closer are bonded."""


@dataclass(frozen=True)
class SideChains:
    """Atoms that move and the bonds that they turn about.

    Attributes:
        atoms: (f,) places in the site: C alpha and what follows it.
        axes: (t, 2) and
        moves: (t, f) bool, as in `TorsionTree`, counted within `atoms`.
        own: (f, m) bool, atoms of the same residue.
    """

    atoms: np.ndarray
    axes: np.ndarray
    moves: np.ndarray
    own: np.ndarray


def side_chains(site: Protein, residues: Sequence[str]) -> SideChains:
    """
    Args:
        residues: "A:315", chain and number.

    Raises:
        InputError: no such residue in the site, one without chi angles, with atoms missing or
            strange, or bonded to another by its side chain.
    """
    kinds, names = site.labels[:, 1], site.labels[:, 3]
    of = np.array([f"{chain}:{number}" for chain, _, number, _ in site.labels])
    atoms: list[int] = []
    axes, moving, own = [], [], []
    for residue in dict.fromkeys(residues):
        here = np.flatnonzero(of == residue)
        if not len(here):
            raise InputError(
                f'flexible {residue!r}: no such residue in the site; give "A:315", chain and number'
            )
        kind = str(kinds[here[0]])
        if kind not in CHI:
            raise InputError(f"flexible {residue}: {kind} has no side chain that turns")
        chain = {str(names[k]): len(atoms) + n
                 for n, k in enumerate(k for k in here if names[k] not in BACKBONE)}  # fmt: skip
        path = CHI[kind].split()
        lacking = [name for name in path if name not in chain]
        if lacking:
            raise InputError(f"flexible {residue}: {kind} lacks {', '.join(lacking)}")
        strange = [name for name in chain if name[1:2] not in REMOTENESS]
        if strange:
            raise InputError(f"flexible {residue}: {kind} with a strange atom {', '.join(strange)}")
        turning = [k for k in here if names[k] not in (*BACKBONE, "CA", "CB")]
        apart = site.positions[turning][:, None] - site.positions[of != residue]
        if (np.linalg.norm(apart, axis=-1) < BOND).any():
            raise InputError(
                f"flexible {residue}: its side chain is bonded to another residue; leave it rigid"
            )
        atoms += [int(k) for k in here if names[k] not in BACKBONE]
        own += [of == residue] * len(chain)
        for start, end in pairwise(path):
            axes.append((chain[start], chain[end]))
            far = REMOTENESS.index(end[1])
            moving.append([k for name, k in chain.items() if REMOTENESS.index(name[1]) > far])
    moves = np.zeros((len(axes), len(atoms)), dtype=bool)
    for row, some in zip(moves, moving, strict=True):
        row[some] = True
    return SideChains(
        np.array(atoms, dtype=int),
        np.array(axes, dtype=int).reshape(-1, 2),
        moves,
        np.array(own, dtype=bool).reshape(len(atoms), len(site.labels)),
    )
