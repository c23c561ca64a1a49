"""Folders of known complexes, laid out as in PDBbind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from objstress.docking.box import Box
from objstress.docking.complex import Complex, make_complex
from objstress.docking.ligand_files import read_ligand
from objstress.docking.protein import read_protein
from objstress.errors import InputError

POCKETS = ("_pocket.pdb", "_protein.pdb", "_protein.cif")
LIGANDS = ("_ligand.sdf", "_ligand.mol2")


def complexes_in(folder: str | Path) -> Iterator[tuple[str, Complex | str]]:
    """The complexes ID/ID_pocket.pdb with ID/ID_ligand.sdf of a folder, one after the other.

    Where RDKit cannot read the SDF, the MOL2 file beside it is tried; without a pocket the whole
    protein is read and cut to the ligand's box.

    Args:
        folder: the folder of the folders ID.

    Yields:
        The name ID and the complex, or the reason why it cannot be read.

    Raises:
        InputError: no such folder, or no complexes in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of complexes")
    names = sorted(f.name for f in folder.iterdir() if (f / f"{f.name}{LIGANDS[0]}").is_file()
                   or (f / f"{f.name}{LIGANDS[1]}").is_file())  # fmt: skip
    if not names:
        raise InputError(
            f"{folder}: no complexes; give folders ID with ID_ligand.sdf, ID_pocket.pdb"
        )
    for name in names:
        try:
            yield name, _read_complex(folder / name, name)
        except InputError as error:
            yield name, str(error)


def _read_complex(folder: Path, name: str) -> Complex:
    pockets = [f for f in (folder / f"{name}{end}" for end in POCKETS) if f.is_file()]
    if not pockets:
        raise InputError(f"{folder}: none of {', '.join(name + end for end in POCKETS)}")
    refusal: InputError | None = None
    for path in (folder / f"{name}{end}" for end in LIGANDS):
        if path.is_file():
            try:
                ligand = read_ligand(path, placed=True)
            except InputError as error:
                refusal = error
                continue
            return make_complex(
                ligand, read_protein(pockets[0]).within(Box.around(ligand.positions))
            )
    assert refusal is not None
    raise refusal
