"""What every source of elastic constants offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from pymatgen.core import Structure

from objstress.calculators.named import check_known
from objstress.errors import InputError
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_primitive_cell

Ions = Literal["relaxed", "clamped"]
Crystal = Structure | Atoms | str | Path
"""A structure, or a file of one."""


@dataclass(frozen=True)
class CellStiffness:
    """Elastic constants of one crystal as a source gives them.

    Attributes:
        structure: the primitive cell free of stress, in the frame it came in.
        point_group: in the IEEE frame.
        to_ieee: Q (3, 3), v_IEEE = Q v.
        stiffness: (6, 6) Voigt, GPa, in the IEEE frame, not yet projected on the point group.
        least_ion_stiffness: eV/Angstrom^2, see `CrystalProperties`, as are the next ones.
        softest_mode: (atoms, 3).
        driven: whether a strain drives ions along an unstable mode.
        third_order: (6, 6, 6) GPa.
        deviation: (6, 6) GPa.
        distance: a pure number.
        note: what makes the constants doubtful.
    """

    structure: Structure
    point_group: PointGroup
    to_ieee: np.ndarray
    stiffness: np.ndarray
    least_ion_stiffness: float | None = None
    softest_mode: np.ndarray | None = None
    driven: bool = False
    third_order: np.ndarray | None = None
    deviation: np.ndarray | None = None
    distance: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Source(ABC):
    """A model that knows elastic constants of crystals.

    A subclass defines `stiffness`, and `energy_of_volume` if the model has an energy. An instance
    can be passed wherever a model is expected. The package's own kinds, listed in `SOURCES`, are
    also recognised by `find_model`, from what they wrap (`from_object`) and the ending of their
    files (`suffix`).

    Attributes:
        name: what results call the model.
        what: one line on what it is.
        elements: symbols that it knows; None if only the model itself can tell.
        suffix: ending of its files; empty if it has none.
        symprec: distance in Angstrom under which sites of a structure are equivalent.
    """

    name: str
    what: str
    elements: tuple[str, ...] | None
    suffix: ClassVar[str] = ""
    symprec: float = field(default=SYMPREC, kw_only=True)

    @classmethod
    def from_object(cls, model: Any) -> Source | None:
        """The source of an object in memory; None if the object is of another kind.

        Args:
            model: anything but a name or a file.
        """
        return None

    @classmethod
    def from_file(cls, path: Path) -> Source:
        """The source of a file with this class's `suffix`.

        Args:
            path: of the file.

        Raises:
            InputError: the class has no files, or the file cannot be used.
        """
        raise InputError(f"{cls.__name__} has no files: {path}")

    @abstractmethod
    def stiffness(self, structure: Crystal | None, ions: Ions) -> CellStiffness:
        """Elastic constants of a crystal, see `crystal_properties`.

        Args:
            structure: None takes the model's own crystal, if it has one.
            ions: "relaxed" or "clamped".

        Returns:
            Stiffness (6, 6) in GPa, with its frame and group.

        Raises:
            InputError: no structure, unknown elements, ions that the model does not have.
        """

    def energy_of_volume(self, structure: Crystal | None) -> tuple[float, Callable[[float], float]]:
        """The volume of the cell free of stress, Angstrom^3, and its energy, eV, at V / V0.

        Args:
            structure: None takes the model's own crystal, if it has one.

        Raises:
            InputError: the model has no energy (the default); see `stiffness`.
        """
        raise InputError(f"{self.name} gives tensors and no energy: an equation of state needs one")

    def check_elements(self, structure: Structure) -> None:
        """Refuse a structure with elements that the model does not know.

        Args:
            structure: of any cell.

        Raises:
            InputError: an element that is not in `elements`.
        """
        if self.elements is not None:
            check_known((site.specie.symbol for site in structure), self.elements, self.name)

    def read(self, structure: Crystal | None) -> Structure:
        """The primitive cell, of known elements, of what users give.

        Args:
            structure: a file, a pymatgen structure or ASE atoms.

        Raises:
            InputError: None; see `read_primitive_cell` and `check_elements`.
        """
        if structure is None:
            raise InputError("give the structure of the crystal")
        cell = read_primitive_cell(structure, self.symprec)
        self.check_elements(cell)
        return cell


def check_ions(metadata: dict[str, Any], ions: str, subject: str) -> None:
    """Refuse ions other than those of the labels that a model was fitted to."""
    trained = metadata.get("ions", ions)
    if trained != ions:
        raise InputError(f"{subject} of {trained} ions; ask for ions = {trained!r}")
