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
BACKBONE = ("N", "C", "O", "OXT")


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
        InputError: no such residue in the site, one without chi angles, or with atoms missing.
    """
    parts = [label.split("/") for label in site.labels]
    of = np.array([f"{chain}:{residue.split()[1]}" for chain, residue, _ in parts])
    names = np.array([name for _, _, name in parts])
    atoms: list[int] = []
    axes, moving, own = [], [], []
    for residue in dict.fromkeys(residues):
        here = np.flatnonzero(of == residue)
        if not len(here):
            raise InputError(
                f'flexible {residue!r}: no such residue in the site; give "A:315", chain and number'
            )
        kind = parts[here[0]][1].split()[0]
        if kind not in CHI:
            raise InputError(f"flexible {residue}: {kind} has no side chain that turns")
        chain = {str(names[k]): len(atoms) + n
                 for n, k in enumerate(k for k in here if names[k] not in BACKBONE)}  # fmt: skip
        path = CHI[kind].split()
        lacking = [name for name in path if name not in chain]
        if lacking:
            raise InputError(f"flexible {residue}: {kind} lacks {', '.join(lacking)}")
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
