"""Structures read from files by ASE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from objstress.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def read_atoms(path: str | Path) -> Atoms:
    """The last structure in a file, in any format that ASE reads.

    Args:
        path: the file.

    Returns:
        Positions and cell in Angstrom.

    Raises:
        InputError: no such file, or no structure in it.
    """
    from ase import Atoms
    from ase.io import read

    if not Path(path).is_file():
        raise InputError(f"{path}: no such structure file")
    try:
        atoms = read(path)
    except Exception as error:  # parsers raise all kinds of them
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable structure ({text})") from None
    assert isinstance(atoms, Atoms)
    return atoms
