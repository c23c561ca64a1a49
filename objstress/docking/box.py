"""The box in which a ligand's heavy atoms may lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objstress.errors import InputError

AROUND = 5.0
"""Angstrom by which a box goes beyond the ligand that it is made from."""


@dataclass(frozen=True)
class Box:
    """The box in which a ligand's heavy atoms may lie.

    Attributes:
        centre: (3,) Angstrom, in the protein's frame.
        size: (3,) Angstrom, the lengths of its edges, along the axes of that frame.

    Raises:
        InputError: a number that is not finite, or a size outside 0 to 400 Angstrom.
    """

    centre: np.ndarray
    size: np.ndarray

    def __post_init__(self):
        if not (np.isfinite(self.centre).all() and np.isfinite(self.size).all()):
            raise InputError("box: six finite numbers, centre and size in Angstrom")
        if (self.size <= 0).any() or (self.size > 400).any():
            raise InputError(f"box: size {self.size.tolist()}; give 0 to 400 Angstrom")

    @staticmethod
    def from_text(text: str) -> Box:
        """The box of six numbers in a text, as the command line takes it.

        Args:
            text: "x,y,z,a,b,c", centre and size in Angstrom.

        Raises:
            InputError: the text does not hold six numbers, or `Box` refuses them.
        """
        try:
            numbers = np.array([float(x) for x in text.replace(",", " ").split()])
        except ValueError:
            numbers = np.zeros(0)
        if len(numbers) != 6:
            raise InputError(f'box {text!r}: give "x,y,z,a,b,c", centre and size in Angstrom')
        return Box(numbers[:3], numbers[3:])

    @staticmethod
    def around(positions: np.ndarray, margin: float = AROUND) -> Box:
        """The box around atoms, those of a reference ligand or of the whole protein.

        Args:
            positions: (n, 3) Angstrom.
            margin: Angstrom added on each side.
        """
        low, high = positions.min(0), positions.max(0)
        return Box((low + high) / 2, high - low + 2 * margin)
