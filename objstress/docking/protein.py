"""Proteins from PDB and mmCIF files, and the part of one near a ligand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from objstress.docking.box import Box
from objstress.docking.heavy_atoms import RADII
from objstress.docking.residues import residue_features
from objstress.errors import InputError

MARGIN = 10.0
"""Angstrom around the box, more than any pair reaches. Atoms near the cut do not see all of their
surroundings, and their scores differ a little for it."""
EDGE = 5.0
"""Angstrom, of neighbours within the protein."""
METALS = {"LI", "NA", "K", "MG", "CA", "SR", "BA", "MN", "FE", "CO", "NI", "CU", "ZN", "CD", "HG"}
WATER = {
    *("HOH", "WAT", "DOD", "H2O", "SOL", "SPC", "SPCE"),
    *("TIP", "TIP2", "TIP3", "TIP4", "TP3", "TP4", "T3P", "T4P"),
}
"""Names of the PDB, GROMACS, CHARMM, AMBER and others."""
STANDARD = {
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS"),
    *("MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL", "MSE"),
}
"""Residues whose atoms' names begin with the element, selenium's with SE."""


@dataclass(frozen=True)
class Protein:
    """Heavy atoms of a protein, metals included, waters left out.

    Attributes:
        positions: (n, 3) Angstrom.
        features: (n, len(FEATURES)), 0 or 1.
        labels: (n, 4) chain, kind and number of the residue, and the atom's name.
        notes: what was done to it, a line each.
    """

    positions: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...] = ()

    def edges(self) -> np.ndarray:
        """Pairs of atoms closer than `EDGE`, 5 Angstrom, in both directions, (e, 2)."""
        pairs = cKDTree(self.positions).query_pairs(EDGE, output_type="ndarray")
        return np.concatenate([pairs, pairs[:, ::-1]])

    def within(self, box: Box) -> Protein:
        """The residues with an atom in a box or within `MARGIN`, 10 Angstrom, of it.

        Args:
            box: where the ligand may be.

        Raises:
            InputError: no atom of the protein is there.
        """
        reach = np.abs(self.positions - box.centre) - box.size / 2
        near = reach.max(1) < MARGIN
        if not near.any():
            low, high = self.positions.min(0).round(1), self.positions.max(0).round(1)
            raise InputError(
                f"no atom of the protein in the box at {np.round(box.centre, 1).tolist()}; it "
                f"spans {low.tolist()} to {high.tolist()} Angstrom"
            )
        _, residue = np.unique(self.labels[:, [0, 2]], axis=0, return_inverse=True)
        near = np.isin(residue, residue[near])
        return Protein(self.positions[near], self.features[near], self.labels[near], self.notes)


def read_protein(path: str | Path) -> Protein:
    """The protein in the first model of a PDB or mmCIF file.

    Of alternate locations, which a letter marks, each residue keeps the most occupied; waters are
    left out. Hydrogens are not needed: residue and atom tell the donors.

    Args:
        path: .pdb or .cif, or either of them as .gz.

    Raises:
        InputError: no such file, neither PDB nor mmCIF, or no heavy atoms.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        structure = gemmi.read_structure(str(path))
    except Exception as error:
        raise InputError(
            f"{path}: neither PDB nor mmCIF ({' '.join(str(error).split())[:120]})"
        ) from None
    return protein_of(structure, str(path))


def protein_of(structure: gemmi.Structure, name: str) -> Protein:
    """The protein of a structure that gemmi has read.

    Args:
        structure: its first model is taken.
        name: of its file, for messages.

    Raises:
        InputError: no heavy atoms, or positions that are not finite.
    """
    if not len(structure) or not structure[0].count_atom_sites():
        raise InputError(f"{name}: no atoms")
    notes = []
    if len(structure) > 1:
        notes.append(f"first of {len(structure)} models")
    positions, features, labels = [], [], []
    alternates = waters = others = 0
    metals, unknown = set(), set()
    for chain in structure[0]:
        for _, group in groupby(chain, key=lambda residue: str(residue.seqid)):
            present, rest = _conformer(list(group))
            alternates += rest
            for residue, atoms in present:
                if residue.name in WATER:
                    waters += 1
                    continue
                others += not gemmi.find_tabulated_residue(residue.name).is_amino_acid()
                for atom in atoms:
                    symbol = _element(atom, residue.name in STANDARD)
                    if symbol.upper() in METALS:
                        metals.add(symbol)
                        symbol = "metal"
                    if symbol == "Se":
                        symbol = "S"
                    if symbol in ("H", "D"):
                        continue
                    if symbol not in RADII:
                        unknown.add(symbol)
                        continue
                    positions.append(atom.pos.tolist())
                    features.append(residue_features(residue.name, atom.name, symbol))
                    labels.append((chain.name, residue.name, str(residue.seqid), atom.name))
    if not positions:
        raise InputError(f"{name}: no heavy atoms besides waters")
    place = np.array(positions)
    if not np.isfinite(place).all():
        raise InputError(f"{name}: positions are not finite")
    for count, text in (
        (alternates, "{} alternate atoms left out, the most occupied kept"),
        (waters, "{} waters left out"),
        (others, "{} residues that are no amino acids kept as part of the protein"),
    ):
        if count:
            notes.append(text.format(count))
    if metals:
        notes.append(f"metals {', '.join(sorted(metals))}: kept, as spheres without coordination")
    if unknown:
        notes.append(f"elements without a radius left out: {', '.join(sorted(unknown))}")
    return Protein(place, np.array(features), np.array(labels), tuple(notes))


def _conformer(
    residues: list[gemmi.Residue],
) -> tuple[list[tuple[gemmi.Residue, list[gemmi.Atom]]], int]:
    """Of residues at one place in a chain, the atoms of the most occupied conformer.

    Only atoms with an alternate-location letter are alternates: two residues of one number without
    letters are two residues.

    Args:
        residues: in the order of the file.

    Returns:
        The residues with their atoms, and how many heavy atoms are left out.
    """
    occupancy: dict[str, list[float]] = {}
    for residue in residues:
        for atom in residue:
            if atom.has_altloc():
                occupancy.setdefault(atom.altloc, []).append(atom.occ)
    best = max(occupancy, key=lambda letter: float(np.mean(occupancy[letter])), default="")
    found, left_out = [], 0
    for residue in residues:
        atoms = [atom for atom in residue if not atom.has_altloc() or atom.altloc == best]
        names = {atom.name for atom in atoms}
        if any(atom.altloc == best for atom in atoms):
            # What the best conformer does not list, another may.
            for atom in sorted(residue, key=lambda atom: -atom.occ):
                if atom.name not in names:
                    atoms.append(atom)
                    names.add(atom.name)
        left_out += sum(not atom.element.is_hydrogen for atom in residue)
        left_out -= sum(not atom.element.is_hydrogen for atom in atoms)
        if atoms:
            found.append((residue, atoms))
    return found, left_out


def _element(atom: gemmi.Atom, standard: bool) -> str:
    """The element's symbol; in a standard residue by the name, whose columns may be shifted."""
    letters = atom.name.lstrip("0123456789")
    if standard and letters[:1] in tuple("CNOSH"):
        return "Se" if letters.upper() == "SE" else letters[0]
    return atom.element.name


def pdb_line(
    serial: int, name: str, element: str, chain: str, residue: str, number: str, x: np.ndarray
) -> str:
    """An ATOM record of a PDB file.

    Args:
        serial: number of the atom.
        name: of the atom.
        element: its symbol.
        chain: its first letter is written.
        residue: kind of the residue.
        number: of the residue; it may end in an insertion code.
        x: (3,) Angstrom.
    """
    if number[-1].isdigit():
        number += " "
    return (
        f"ATOM  {serial:5d}  {name:<3s} {residue:>3s} {chain[:1]:1s}{number:>5s}   "
        f"{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}  1.00  0.00          {element:>2s}"
    )
