"""Structures from a client's text, which opens, imports and runs nothing."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from pymatgen.core import DummySpecies, Element, Lattice, Structure

from objstress.errors import InputError
from objstress.symmetry.reading import check_cif, whole_cif

FORMATS = ("cif", "poscar", "json")
NEAREST = 0.5
"""Angstrom; atoms nearer than this overlap (H2 has 0.74)."""
MAGNETIC = re.compile(r"(group|symop)[._]magn|magnetic[._]space", re.IGNORECASE)
"""CIF names that lead to transformations which pymatgen has sympy evaluate."""
LONGEST = 1000.0
"""Angstrom, of a cell's edge."""


def parse_structure(text: str, format: str, max_atoms: int) -> Structure:
    """Read the periodic, ordered structure in a text.

    Args:
        text: a CIF, a POSCAR with the elements' symbols, or a structure as pymatgen's JSON.
        format: one of `FORMATS`.
        max_atoms: largest number of atoms in the cell as it is given.

    Raises:
        InputError: unreadable, empty, too many atoms, partly occupied, overlapping atoms, a cell
            without volume, or a CIF at odds with itself, see `check_cif`.
    """
    if format not in FORMATS:
        raise InputError(f"format = {format!r}: give one of {', '.join(FORMATS)}")
    if format == "cif" and MAGNETIC.search(text):
        raise InputError("magnetic CIFs are not accepted: give the crystal without its moments")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read: dict[str, Callable[[str], Any]] = {
                "cif": lambda x: Structure.from_str(whole_cif(x), fmt="cif"),
                "poscar": lambda x: Structure.from_str(x, fmt="poscar"),
                "json": _from_json,
            }
            structure = read[format](text)
        except InputError:
            raise
        except MemoryError:
            raise InputError("reading it needs more memory than a worker has") from None
        except Exception as error:  # pymatgen raises many kinds
            reason = _one_line(str(error)) or type(error).__name__
            raise InputError(f"not a readable {format.upper()} ({reason})") from None
    if any("cannot be determined" in str(w.message) for w in caught):
        raise InputError("the POSCAR does not name its elements: give their symbols on line 6")
    structure = _checked(structure, max_atoms)
    if format == "cif":
        check_cif(text, structure)
    return structure


def _from_json(text: str) -> Structure:
    """A structure from the few keys of a crystal; no class named in the text is looked up."""

    def refuse(word: str) -> None:
        raise InputError(f"not a readable JSON ({word} is not a number)")

    content = json.loads(text, parse_constant=refuse)
    if not isinstance(content, dict):
        raise InputError("not a structure: give a JSON object")
    named = content.get("@module"), content.get("@class")
    if named != ("pymatgen.core.structure", "Structure"):
        raise InputError(
            f"not a structure: @module and @class are {_one_line(str(named))}, not those of a "
            "pymatgen Structure"
        )
    matrix = _numbers(content["lattice"]["matrix"], (3, 3), "lattice.matrix")
    species, places = [], []
    for k, site in enumerate(content["sites"]):
        species.append({str(s["element"]): float(s["occu"]) for s in site["species"]})
        places.append(_numbers(site["abc"], (3,), f"sites[{k}].abc"))
    return Structure(Lattice(matrix), species, places)


def _numbers(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name} has the shape {array.shape}, not {shape}")
    return array


def _checked(structure: Structure, max_atoms: int) -> Structure:
    """The structure of elements alone, without charges, labels or other properties."""
    if len(structure) == 0:
        raise InputError("the structure holds no atoms")
    if len(structure) > max_atoms:
        raise InputError(
            f"too many atoms: the cell has {len(structure)}, this service takes {max_atoms}"
        )
    matrix = structure.lattice.matrix
    if not (np.isfinite(matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise InputError("the cell or a position is not a finite number")
    if max(structure.lattice.abc) > LONGEST:
        raise InputError(f"the cell is longer than {LONGEST:g} Angstrom")
    # The angles' part of the volume: a cell that is almost flat has endless neighbours.
    if (
        abs(structure.volume) < 1e-3
        or abs(structure.volume) / math.prod(structure.lattice.abc) < 1e-3
    ):
        raise InputError("the cell has no volume")
    elements = []
    for k, site in enumerate(structure):
        if not site.is_ordered:
            raise InputError(
                f"site {k + 1} ({site.species_string}) is partly occupied; give an ordered "
                "structure"
            )
        if isinstance(site.specie, DummySpecies):
            raise InputError(f"site {k + 1} ({site.species_string}) is not a chemical element")
        elements.append(Element(site.specie.symbol))
    shortest = min(structure.lattice.get_lll_reduced_lattice().abc)
    if shortest < NEAREST:
        raise InputError(f"the cell repeats after {shortest:.2g} Angstrom: atoms overlap")
    distance = structure.distance_matrix + np.diag([np.inf] * len(structure))
    if distance.min() < NEAREST:
        i, j = sorted(int(x) for x in np.unravel_index(distance.argmin(), distance.shape))
        raise InputError(
            f"atoms overlap: sites {i + 1} ({elements[i]}) and {j + 1} ({elements[j]}) are "
            f"{distance.min():.2g} Angstrom apart"
        )
    return Structure(Lattice(matrix), elements, structure.frac_coords)


def _one_line(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length] + " ..."
