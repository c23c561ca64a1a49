"""Structures from files."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.io import read

from objstress.errors import InputError


def read_atoms(path: str | Path) -> Atoms:
    """The last structure in a file that ASE reads.

    Raises:
        InputError: no such file, or none in it.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such structure file")
    try:
        found = read(path)
    except Exception as error:  # whatever a parser trips over
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable structure ({text})") from None
    assert isinstance(found, Atoms)
    return found
