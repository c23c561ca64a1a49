"""The reference crystal of a law, read by pymatgen only when it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure


class OfCrystal:
    """A law that refers to a crystal, kept as a dictionary until `structure` is asked for.

    No stress needs the crystal, and importing pymatgen takes longer than most evaluations.
    """

    _structure: Structure | dict[str, Any] | None

    @cached_property
    def structure(self) -> Any:
        """The reference crystal (a pymatgen Structure), or None for laws without atoms."""
        if not isinstance(self._structure, dict):
            return self._structure
        from pymatgen.core import Structure

        return Structure.from_dict(self._structure)

    def structure_dict(self) -> dict[str, Any] | None:
        """The reference crystal as pymatgen's dictionary, for files; None without atoms."""
        if self._structure is None or isinstance(self._structure, dict):
            return self._structure
        return self._structure.as_dict()
