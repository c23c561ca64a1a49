"""Structures from files and objects, compared with what the file says of them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from objstress.errors import InputError
from objstress.symmetry.crystal import SYMPREC, primitive_cell, space_group

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

TOO_NEAR = 0.5
"""Least distance of two atoms, in sums of their covalent radii."""
DENSITY = 0.03
"""Largest relative difference between the density that a CIF names and that of its structure."""
OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
SYMBOLS = ("_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M")


def read_primitive_cell(
    source: Structure | Atoms | str | Path, symprec: float = SYMPREC
) -> Structure:
    """The primitive cell of what `read_structure` reads, symmetrised, in its own frame.

    Where ten times the tolerance would find more symmetry, a warning says so: the crystal is
    slightly distorted, or its positions are inexact.

    Args:
        source: see `read_structure`.
        symprec: distance in Angstrom under which sites are equivalent.

    Raises:
        InputError: see `read_structure` and `primitive_cell`.
    """
    structure = read_structure(source)
    found, wider = (space_group(structure, reach) for reach in (symprec, 10 * symprec))
    if wider[1] > found[1]:
        warnings.warn(
            f"{structure.composition.reduced_formula}: {found[0]} within symprec = {symprec:g} "
            f"Angstrom, {wider[0]} within {10 * symprec:g}",
            stacklevel=3,
        )
    return primitive_cell(structure, symprec)


def read_structure(source: Structure | Atoms | str | Path) -> Structure:
    """The crystal in a file (any format of pymatgen or ASE), or given as an object.

    What a CIF says of itself (formula, formula units in the cell, density) is compared with what
    was read. Of a file with several frames the last is read, with a warning.

    Args:
        source: a path, a pymatgen Structure, or ASE Atoms.

    Raises:
        InputError: the file is missing, unreadable, empty, not periodic in all directions, partly
            occupied or at odds with itself; overlapping atoms.
    """
    if not isinstance(source, (str, Path)):
        return checked_structure(_converted(source))
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such structure file")
    try:
        structure = _parse(path)
        if path.suffix.lower() in (".cif", ".mcif"):
            check_cif(path.read_text(errors="replace"), structure)
        return checked_structure(structure)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def checked_structure(structure: Structure) -> Structure:
    """The structure itself, once it is known to be a crystal.

    Args:
        structure: of any source.

    Raises:
        InputError: no atoms, partly occupied sites, a cell without volume, no period along one
            direction, atoms nearer than half the sum of their covalent radii.
    """
    if len(structure) == 0:
        raise InputError("the structure holds no atoms")
    if not structure.is_ordered:
        raise InputError(
            "sites are partly occupied; give an ordered structure (pymatgen's "
            "OrderDisorderedStructureTransformation makes one)"
        )
    matrix = structure.lattice.matrix
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-3:
        raise InputError("the cell has no volume")
    if not np.isfinite(structure.frac_coords).all():
        raise InputError("a position is not a finite number")
    _check_periods(structure.lattice.pbc)
    from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
    from pymatgen.core import Element

    kinds = {site.species_string: site.specie for site in structure}
    for name, kind in kinds.items():
        if not isinstance(getattr(kind, "element", kind), Element):
            raise InputError(f"{name} is not a chemical element")
    known = CovalentRadius.radius
    radii = np.array([known.get(Element.from_Z(s.specie.Z).symbol, 1.5) for s in structure])
    i, j, _, distances = structure.get_neighbor_list(2 * TOO_NEAR * radii.max())
    near = distances < TOO_NEAR * (radii[i] + radii[j])
    if near.any():
        k = int(np.flatnonzero(near)[distances[near].argmin()])
        first, last = sorted((int(i[k]), int(j[k])))
        names = f"{structure[first].species_string} and {structure[last].species_string}"
        raise InputError(
            f"atoms overlap: {names} are {distances[k]:.2g} Angstrom apart (sites {first + 1} and "
            f"{last + 1})"
        )
    return structure


def check_cif(text: str, structure: Structure) -> None:
    """Compare a structure with what its CIF says of it.

    Args:
        text: the CIF.
        structure: as it was read.

    Raises:
        InputError: another formula, number of formula units or density.
    """
    from pymatgen.core import Composition

    text = _block(text)
    says = _statements(text)
    found = structure.composition.element_composition
    formula = says.get("_chemical_formula_sum", "").strip("'\" ")
    try:
        stated = Composition(formula).element_composition if formula else None
    except ValueError:
        stated = None
    if stated is not None and stated.reduced_formula != found.reduced_formula:
        raise InputError(
            f"its sites make {found.reduced_formula}, its formula says {stated.reduced_formula}"
            + _thirds(text)
        )
    units = _number(says.get("_cell_formula_units_Z"))
    # Some programs give the formula of the whole cell.
    sizes = [] if stated is None or not units else [units * stated.num_atoms, stated.num_atoms]
    if sizes and found.num_atoms not in np.round(sizes, 2):
        raise InputError(
            f"its cell holds {found.num_atoms:g} atoms, by Z = {units:g} it should hold "
            f"{sizes[0]:g}: is the space group's setting or origin another?"
        )
    density = _number(says.get("_exptl_crystal_density_diffrn"))
    if density and structure.is_ordered:
        ours = float(structure.density)
        if abs(ours / density - 1) > DENSITY:
            raise InputError(f"its sites make {ours:.3f} g/cm^3, it says {density:.3f}")


def _converted(source: Any) -> Structure:
    from pymatgen.core import Structure

    if isinstance(source, Structure):
        return source
    from pymatgen.io.ase import AseAtomsAdaptor

    _check_periods(source.pbc)
    return AseAtomsAdaptor.get_structure(source)


def _check_periods(periodic: Any) -> None:
    if not all(periodic):
        along = ", ".join(axis for axis, yes in zip("abc", periodic, strict=True) if yes)
        raise InputError(
            f"not a crystal: periodic along {along or 'no direction'} only (pbc); a slab or a "
            "molecule has no bulk tensor"
        )


def _parse(path: Path) -> Structure:
    from pymatgen.core import Structure

    reason = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if path.suffix.lower() == ".cif":
                structure = Structure.from_str(
                    whole_cif(path.read_text(errors="replace")), fmt="cif"
                )
            else:
                structure = Structure.from_file(path)
        except InputError:
            raise
        except Exception as error:  # pymatgen raises many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
    if reason.startswith("Unrecognized"):
        return _by_ase(path, reason)
    said = [" ".join(str(w.message).split()) for w in caught]
    if reason:
        # What pymatgen warned of is often why it then failed.
        why = "; ".join([reason, *(s for s in said if not s.startswith(("No ", "Issues ")))][:2])
        raise InputError(f"not a readable crystal structure ({why})")
    if any("cannot be determined" in s for s in said):
        raise InputError("the POSCAR does not name its elements: give their symbols on line 6")
    return structure


def _by_ase(path: Path, reason: str) -> Structure:
    from ase.io import read

    try:
        frames = read(path, index=":")
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"not a readable crystal structure ({reason}; ASE: {why}); give a CIF, a POSCAR or "
            "another format of pymatgen or ASE"
        ) from None
    if not frames:
        raise InputError("the file holds no structure")
    if len(frames) > 1:
        warnings.warn(f"{path} holds {len(frames)} frames: the last is read", stacklevel=4)
    return _converted(frames[-1])


def whole_cif(text: str) -> str:
    """The block of a CIF that is read, with the operations of its setting where it lists none.

    pymatgen would take those of the first origin.

    Args:
        text: the CIF.

    Raises:
        InputError: an unknown space group, and no operations.
    """
    text = _block(text)
    says = _statements(text)
    symbol = next((says[name] for name in SYMBOLS if name in says), "").strip("'\" ")
    name, _, choice = symbol.partition(":")
    if not choice or any(tag.lower() in text.lower() for tag in OPERATIONS):
        return text
    import spglib

    wanted = name.replace(" ", "").lower()
    for number in range(1, 531):
        kind: Any = spglib.get_spacegroup_type(number)
        symbols = (kind.international_short, kind.international_full)
        same = wanted in [s.replace(" ", "").replace("_", "").lower() for s in symbols]
        if same and kind.choice.lower() == choice.strip().lower():
            found: Any = spglib.get_symmetry_from_database(number)
            break
    else:
        raise InputError(
            f"space group {symbol!r} is unknown, and no operations are listed; add {OPERATIONS[0]}"
        )
    from pymatgen.core.operations import SymmOp

    rows = [
        SymmOp.from_rotation_and_translation(w, t).as_xyz_str()
        for w, t in zip(found["rotations"], found["translations"], strict=True)
    ]
    return text.rstrip() + f"\nloop_\n{OPERATIONS[0]}\n" + "".join(f"'{row}'\n" for row in rows)


def _block(text: str) -> str:
    """The first block of a CIF with sites, which is the one that is read; all without any."""
    blocks = re.split(r"^(?=data_)", text, flags=re.MULTILINE | re.IGNORECASE)
    return next((block for block in blocks if "_atom_site_fract_x" in block), text)


def _statements(text: str) -> dict[str, str]:
    """The names of a CIF that stand beside their values on one line."""
    return dict(re.findall(r"^\s*(_\S+)[ \t]+(\S.*?)\s*$", text, re.MULTILINE))


def _number(value: str | None) -> float | None:
    """A number of a CIF, its standard deviation in brackets left out."""
    try:
        return float(re.sub(r"\(.*\)", "", value or "").strip("'\" "))
    except ValueError:
        return None


def _thirds(text: str) -> str:
    if re.search(r"(?<!\d)0?\.(333|667|167|833)(?!\d)", text):
        return " (positions of three digits: give 0.3333333 for 1/3)"
    return ""
