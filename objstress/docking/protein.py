"""Proteins from PDB and mmCIF, and the part of one that a ligand may bind to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from objstress.docking.site import FEATURES, RADII
from objstress.errors import InputError

MARGIN = 10.0
"""Angstrom around the box: what is farther away than any pair reaches. Scores of atoms near the cut
do not see all that is around them."""
EDGE = 5.0
"""Angstrom, of neighbours within the protein."""
AROUND = 5.0
"""Angstrom that a box goes beyond the ligand that it is made from."""
METALS = {"LI", "NA", "K", "MG", "CA", "SR", "BA", "MN", "FE", "CO", "NI", "CU", "ZN", "CD", "HG"}
WATER = {"HOH", "WAT", "DOD", "H2O"}
DONORS = {"ARG": "NE NH1 NH2", "ASN": "ND2", "GLN": "NE2", "HIS": "ND1 NE2", "LYS": "NZ",
          "SER": "OG", "THR": "OG1", "TRP": "NE1", "TYR": "OH", "CYS": "SG"}  # fmt: skip
ACCEPTORS = {"ASN": "OD1", "ASP": "OD1 OD2", "GLN": "OE1", "GLU": "OE1 OE2", "HIS": "ND1 NE2",
             "SER": "OG", "THR": "OG1", "TYR": "OH"}  # fmt: skip
CHARGED = {"ARG": ("positive", "NH1 NH2 NE"), "LYS": ("positive", "NZ"),
           "ASP": ("negative", "OD1 OD2"), "GLU": ("negative", "OE1 OE2")}  # fmt: skip
AROMATIC = {"PHE": "CG CD1 CD2 CE1 CE2 CZ", "TYR": "CG CD1 CD2 CE1 CE2 CZ",
            "TRP": "CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "HIS": "CG ND1 CD2 CE1 NE2"}  # fmt: skip
PLANAR = {"ARG": "CZ NH1 NH2 NE", "ASN": "CG OD1 ND2", "ASP": "CG OD1 OD2",
          "GLN": "CD OE1 NE2", "GLU": "CD OE1 OE2"}  # fmt: skip

POLAR = {"ARG": "CD CZ", "ASN": "CG", "ASP": "CG", "GLN": "CD", "GLU": "CD", "LYS": "CE",
         "SER": "CB", "THR": "CB", "TYR": "CZ", "HIS": "CG CD2 CE1", "PRO": "CD",
         "TRP": "CD1 CE2"}  # fmt: skip
"""Carbons bonded to nitrogen or oxygen."""


@dataclass(frozen=True)
class Protein:
    """Heavy atoms of a protein, its metals included, waters not.

    Attributes:
        positions: (n, 3) Angstrom.
        features: (n, len(FEATURES)).
        labels: (n, 4) chain, kind and number of the residue, and the atom's name.
        notes: what was done to it, a line each.
    """

    positions: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...] = ()

    def edges(self) -> np.ndarray:
        """(e, 2), atoms closer than `EDGE`, both directions."""
        pairs = cKDTree(self.positions).query_pairs(EDGE, output_type="ndarray")
        return np.concatenate([pairs, pairs[:, ::-1]])

    def within(self, box: Box) -> Protein:
        """The residues with an atom in a box or within `MARGIN` of it.

        Raises:
            InputError: there are none.
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


@dataclass(frozen=True)
class Box:
    """Where the ligand's heavy atoms may be.

    Attributes:
        centre, size: (3,) Angstrom.
    """

    centre: np.ndarray
    size: np.ndarray

    def __post_init__(self):
        if not (np.isfinite(self.centre).all() and np.isfinite(self.size).all()):
            raise InputError("box: six finite numbers, centre and size in Angstrom")
        if (self.size <= 0).any() or (self.size > 400).any():
            raise InputError(f"box: size {self.size.tolist()}; give 0 to 400 Angstrom")

    @staticmethod
    def of_text(text: str) -> Box:
        """ "x,y,z,a,b,c", centre and size in Angstrom."""
        try:
            numbers = np.array([float(x) for x in text.replace(",", " ").split()])
        except ValueError:
            numbers = np.zeros(0)
        if len(numbers) != 6:
            raise InputError(f'box {text!r}: give "x,y,z,a,b,c", centre and size in Angstrom')
        return Box(numbers[:3], numbers[3:])

    @staticmethod
    def around(positions: np.ndarray, margin: float = AROUND) -> Box:
        """The box of atoms (n, 3) and a margin: a reference ligand, or the whole protein."""
        low, high = positions.min(0), positions.max(0)
        return Box((low + high) / 2, high - low + 2 * margin)


def read_protein(path: str | Path) -> Protein:
    """Heavy atoms of the first model of a PDB or mmCIF file (also .gz).

    Of alternate locations the most occupied one is kept; waters are left out; hydrogens are not
    needed: what can be a donor is known from residue and atom.

    Raises:
        InputError: no such file, not PDB or mmCIF, no atoms.
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
    """`read_protein` of what gemmi has read; `name` is for messages."""
    if not len(structure) or not structure[0].count_atom_sites():
        raise InputError(f"{name}: no atoms")
    notes = []
    if len(structure) > 1:
        notes.append(f"first of {len(structure)} models")
    positions, features, labels = [], [], []
    alternates = waters = others = 0
    metals, strange = set(), set()
    for chain in structure[0]:
        seen: dict[str, str] = {}
        for residue in chain:
            if seen.setdefault(str(residue.seqid), residue.name) != residue.name:
                alternates += len(residue)
                continue
            if residue.name in WATER:
                waters += 1
                continue
            best: dict[str, gemmi.Atom] = {}
            for atom in residue:
                if atom.element.is_hydrogen:
                    continue
                if atom.name in best:
                    alternates += 1
                    if atom.occ <= best[atom.name].occ:
                        continue
                best[atom.name] = atom
            if not gemmi.find_tabulated_residue(residue.name).is_amino_acid():
                others += 1
            for label, atom in best.items():
                symbol = atom.element.name
                if symbol.upper() in METALS:
                    metals.add(symbol)
                    symbol = "metal"
                if symbol == "Se":
                    symbol = "S"
                if symbol not in RADII:
                    strange.add(symbol)
                    continue
                positions.append(atom.pos.tolist())
                features.append(residue_features(residue.name, label, symbol))
                labels.append((chain.name, residue.name, str(residue.seqid), label))
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
    if strange:
        notes.append(f"elements without a radius left out: {', '.join(sorted(strange))}")
    return Protein(place, np.array(features), np.array(labels), tuple(notes))


def residue_features(residue: str, name: str, symbol: str) -> list[float]:
    """Values of `FEATURES` of a residue's atom, by their names."""
    true = {symbol}
    backbone = name in ("N", "O", "C", "CA", "OXT")
    if (name == "N" and residue != "PRO") or name in DONORS.get(residue, "").split():
        true.add("donor")
    if name in ("O", "OXT") or name in ACCEPTORS.get(residue, "").split():
        true.add("acceptor")
    if symbol == "metal":
        true |= {"donor", "positive"}
    charge, atoms = CHARGED.get(residue, ("", ""))
    if name in atoms.split():
        true.add(charge)
    if name in AROMATIC.get(residue, "").split():
        true |= {"aromatic", "ring", "planar"}
    if name in ("N", "C", "O") or name in PLANAR.get(residue, "").split():
        true.add("planar")
    if residue == "PRO" and name in ("N", "CA", "CB", "CG", "CD"):
        true.add("ring")
    if symbol == "C" and not backbone and name not in POLAR.get(residue, "").split():
        true.add("hydrophobic")
    return [float(f in true) for f in FEATURES]


def pdb_line(
    serial: int, name: str, element: str, chain: str, residue: str, number: str, x: np.ndarray
) -> str:
    """An ATOM record, with one letter of the chain; `number` may end in an insertion code."""
    if number[-1].isdigit():
        number += " "
    return (
        f"ATOM  {serial:5d}  {name:<3s} {residue:>3s} {chain[:1]:1s}{number:>5s}   "
        f"{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}  1.00  0.00          {element:>2s}"
    )
