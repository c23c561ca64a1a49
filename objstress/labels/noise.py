"""How far a calculator's forces and stresses scatter about smooth functions of the atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from objstress.errors import InputError

STEP = 1e-5
"""Angstrom, and strain times ten: so small that forces and stresses are linear over it."""
TIMES = 2


@dataclass(frozen=True)
class Noise:
    """The root mean square of the scatter.

    Attributes:
        forces: of a component, eV/Angstrom.
        stress: of a component, eV/Angstrom^3.
    """

    forces: float
    stress: float


def calculator_noise(atoms: Atoms, calculator: Any, seed: int = 0) -> Noise:
    r"""The scatter of a calculator, from what its second differences over tiny steps leave.

    .. math:: f(x + h) - 2 f(x) + f(x - h) = \epsilon_+ - 2 \epsilon_0 + \epsilon_- + O(h^2)

    over sqrt 6, the root mean square of all components and of two random steps. Networks in single
    precision scatter so; an analytic potential leaves only what is not linear.

    Args:
        atoms: near rest.
        calculator: of ASE, with stress.
        seed: of the random steps.

    Raises:
        InputError: a calculator without stress.
    """
    rng = np.random.default_rng(seed)

    def response(moves: np.ndarray, strain: np.ndarray) -> np.ndarray:
        moved = atoms.copy()
        moved.set_constraint()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        moved.positions += moves
        moved.calc = calculator
        try:
            return np.concatenate([moved.get_forces().ravel(), moved.get_stress()])
        except PropertyNotImplementedError:
            raise InputError(
                f"{type(calculator).__name__} gives no stress; elastic constants need one"
            ) from None

    rest = response(np.zeros((len(atoms), 3)), np.zeros((3, 3)))
    left = []
    for _ in range(TIMES):
        moves = STEP * rng.uniform(-1, 1, (len(atoms), 3))
        strain = 0.1 * STEP * rng.uniform(-1, 1, (3, 3))
        strain = (strain + strain.T) / 2
        both = response(moves, strain) + response(-moves, -strain)
        left.append((both - 2 * rest) ** 2 / 6)
    squares = np.array(left)
    return Noise(float(squares[:, :-6].mean() ** 0.5), float(squares[:, -6:].mean() ** 0.5))
