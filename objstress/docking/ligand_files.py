"""Ligands from SDF, MOL2 and SMILES files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

from objstress.docking.ligand import Ligand, heavy_atoms, prepare_ligand, with_coordinates
from objstress.errors import InputError

ENDINGS = (".sdf", ".mol", ".mol2", ".smi", ".txt")
UNREADABLE = "not a record that RDKit can read"


def read_ligand(source: str | Path | Chem.Mol, placed: bool = False) -> Ligand:
    """The one ligand of a file, a SMILES or an RDKit molecule.

    Args:
        source: SDF, MOL2 or SMILES file with one molecule, SMILES, or an RDKit molecule.
        placed: refuse a molecule without coordinates, as its own place matters.

    Raises:
        InputError: a file of several molecules, and what `prepare_ligand` and `ligands_in` refuse.
    """
    return prepare_ligand(*_one_molecule(source), placed=placed)


def ligand_place(source: str | Path | Chem.Mol) -> np.ndarray:
    """Positions (n, 3) in Angstrom of the heavy atoms of a ligand that has coordinates.

    Raises:
        InputError: see `read_ligand`.
    """
    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    mol, _, _ = with_coordinates(*_one_molecule(source), seed=0, placed=True)
    return heavy_atoms(mol)[1]


def _one_molecule(source: str | Path | Chem.Mol) -> tuple[Chem.Mol, str]:
    """The molecule and its name."""
    if isinstance(source, Chem.Mol):
        return source, ""
    records = list(ligands_in(source))
    if len(records) != 1:
        raise InputError(
            f"{source}: {len(records)} molecules; give one, or a table (--table) for all"
        )
    name, mol = records[0]
    if isinstance(mol, str):
        raise InputError(f"{name}: {mol}")
    return mol, name


def ligands_in(source: str | Path) -> Iterator[tuple[str, Chem.Mol | str]]:
    """The molecules of an SDF, MOL2 or SMILES file, or of one SMILES, one after the other.

    Args:
        source: file that ends in one of `ENDINGS`, or SMILES.

    Yields:
        The name and the molecule, or the reason why a record cannot be read; the records after it
        are read all the same.

    Raises:
        InputError: no such file, or neither a file nor SMILES.
    """
    path = Path(source)
    kind = path.suffix.lower()
    if path.is_file() and kind not in ENDINGS:
        raise InputError(f"{path}: give a file that ends in {', '.join(ENDINGS)}")

    def named(k: int, title: str) -> str:
        return f"{path}:{k} {title}".rstrip()

    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    if kind in ENDINGS and not path.is_file():
        raise InputError(f"{path}: no such file")
    if kind in ENDINGS and not path.stat().st_size:
        raise InputError(f"{path}: empty")
    if kind in (".sdf", ".mol"):
        supplier = Chem.SDMolSupplier(str(path), removeHs=False)
        for k in range(len(supplier)):
            mol = supplier[k]
            if mol is None:
                try:
                    block = supplier.GetItemText(k)
                except UnicodeDecodeError:
                    yield named(k, ""), UNREADABLE
                    continue
                title = block.partition("\n")[0].strip()
                yield named(k, title), _why(Chem.MolFromMolBlock, block)
                continue
            try:
                title = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
            except UnicodeDecodeError:
                title = ""
            yield named(k, title), mol
    elif kind == ".mol2":
        blocks = path.read_text(errors="replace").split("@<TRIPOS>MOLECULE")[1:]
        for k, block in enumerate(blocks):
            text = "@<TRIPOS>MOLECULE" + block
            mol = Chem.MolFromMol2Block(text, removeHs=False)
            title = block.lstrip("\r\n").partition("\n")[0].strip()
            yield named(k, title), mol if mol is not None else _why(Chem.MolFromMol2Block, text)
    elif kind in (".smi", ".txt"):
        for k, line in enumerate(path.read_text(errors="replace").splitlines()):
            if line.strip():
                smiles, *title = line.split(maxsplit=1)
                mol = Chem.MolFromSmiles(smiles)
                name = named(k, "".join(title))
                yield name, mol if mol is not None else f"{smiles[:60]}: not SMILES"
    else:
        mol = Chem.MolFromSmiles(str(source))
        if mol is None or not mol.GetNumAtoms():
            raise InputError(f"{str(source)[:80]}: neither a file (.sdf, .mol2, .smi) nor SMILES")
        yield str(source), mol


def _why(parse: Callable[..., Any], block: str) -> str:
    """Why RDKit cannot read a record, in its own words."""
    try:
        mol = parse(block, sanitize=False, removeHs=False)
        if mol is not None:
            Chem.SanitizeMol(mol)
    except Exception as error:
        return f"{UNREADABLE} ({' '.join(str(error).split())})"
    return f"{UNREADABLE} (its format)"
