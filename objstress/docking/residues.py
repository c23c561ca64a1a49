"""Features of the atoms of amino acids, by residue and name."""

from __future__ import annotations

from objstress.docking.heavy_atoms import FEATURES

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


def residue_features(residue: str, name: str, symbol: str) -> list[float]:
    """The values of `FEATURES` of one atom of a residue.

    Args:
        residue: its kind, "ASP".
        name: of the atom, "OD1".
        symbol: of its element, or "metal".
    """
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
