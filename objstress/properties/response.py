"""Elastic constants and force constants of a crystal, by differences of stress and forces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.linalg import null_space

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.labels.noise import Noise, calculator_noise
from objstress.symmetry.voigt import (
    SHEAR,
    from_mandel,
    mandel_to_voigt,
    to_mandel,
    voigt_to_mandel,
)

STRAIN = 1e-3
"""Green-Lagrange strain of the differences (Mandel)."""
DISPLACEMENT = 5e-3
"""Displacement of the differences, Angstrom."""


@dataclass(frozen=True)
class HarmonicResponse:
    r"""Second derivatives of the energy of one cell by strain E and displacements u.

    .. math::

        W(E, u) &= W_0 + \tfrac{1}{2} V_0\, E : C : E + u L E + \tfrac{1}{2} u K u, \\
        C_\mathrm{relaxed} &= C - L^T K^+ L / V_0

    with x = F (X + u) and E = (F^T F - I) / 2. K^+ is the inverse on the displacements without a
    common shift: ions follow the strain until no force is left. Born and Huang, Dynamical Theory of
    Crystal Lattices, section 11; Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005),
    equation (16).

    Attributes:
        clamped: C with ions that only follow the cell, (6, 6) Voigt, GPa.
        internal_strain: L (3 n, 6), Mandel, eV/Angstrom.
        force_constants: K (3 n, 3 n), eV/Angstrom^2.
        volume: V0, Angstrom^3.
        noise: of the calculator, and with it of the differences.
        steps: strain and displacement (Angstrom) of the differences.
    """

    clamped: np.ndarray
    internal_strain: np.ndarray
    force_constants: np.ndarray
    volume: float
    noise: Noise
    steps: tuple[float, float]

    @property
    def stiffness_of_ions(self) -> np.ndarray:
        """Eigenvalues (m,) of K, eV/Angstrom^2, ascending; m = 3 n - 3 without the common shifts.

        A negative one means that the crystal relaxes to another structure of the same cell.
        """
        b = _relative(len(self.force_constants) // 3)
        return np.linalg.eigvalsh(b.T @ self.force_constants @ b)

    @property
    def relaxed(self) -> np.ndarray:
        """C with ions that follow the strain until no force is left, (6, 6) Voigt, GPa."""
        b = _relative(len(self.force_constants) // 3)
        k, l = b.T @ self.force_constants @ b, b.T @ self.internal_strain
        soft = l.T @ np.linalg.solve(k, l) / self.volume / GPa
        return self.clamped - mandel_to_voigt((soft + soft.T) / 2)

    def scattered(self, number: int, seed: int = 0) -> list[HarmonicResponse]:
        """The response as it might have come out with the calculator's noise.

        Args:
            number: of the samples.
            seed: of the random numbers.
        """
        rng = np.random.default_rng(seed)

        def with_noise(values: np.ndarray, size: float | np.ndarray) -> np.ndarray:
            return values + size * rng.normal(size=values.shape)

        # A central difference has the noise of two evaluations over two steps.
        strain, displacement = (2**0.5 * s for s in self.steps)
        samples = []
        for _ in range(number):
            constants = with_noise(self.force_constants, self.noise.forces / displacement)
            # Of Mandel's shear components, which are sqrt 2 times the stress, too.
            mandel = with_noise(
                voigt_to_mandel(self.clamped), SHEAR[:, None] * self.noise.stress / strain / GPa
            )
            samples.append(
                replace(
                    self,
                    clamped=mandel_to_voigt((mandel + mandel.T) / 2),
                    internal_strain=with_noise(self.internal_strain, self.noise.forces / strain),
                    force_constants=(constants + constants.T) / 2,
                )
            )
        return samples


@lru_cache(maxsize=4)
def _relative(atoms: int) -> np.ndarray:
    """Orthonormal displacements of n atoms without a common shift, (3 n, 3 n - 3)."""
    return null_space(np.tile(np.eye(3), atoms))


def harmonic_response(
    structure: Structure,
    calculator: Any,
    strain: float = STRAIN,
    displacement: float = DISPLACEMENT,
) -> HarmonicResponse:
    """Elastic and force constants by central differences of stress and forces.

    12 strained cells and 6 n displaced ones; the error is of second order in the steps, whose frame
    is that of the cell.

    Args:
        structure: without forces and stress under the calculator, see `relaxed_crystal`.
        calculator: of ASE, with stress.
        strain: step of the Green-Lagrange strain (Mandel components).
        displacement: step of the ions, Angstrom.

    Returns:
        Elastic constants (6, 6) in GPa, internal strain and force constants.

    Raises:
        InputError: a calculator without stress, or one whose stress does not change with strain.
    """
    cell = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    stress, pull = np.zeros((6, 6)), np.zeros((3 * len(cell), 6))
    for a, axis in enumerate(np.eye(6)):
        (s1, f1), (s2, f2) = (_strained(cell, calculator, sign * strain * axis) for sign in (1, -1))
        stress[:, a] = (s1 - s2) / (2 * strain)
        pull[:, a] = -(f1 - f2) / (2 * strain)
    if not np.abs(stress).max() > 0:
        raise InputError(
            "the stress does not change with strain: no atom lies within the calculator's reach"
        )
    constants = np.zeros((3 * len(cell), 3 * len(cell)))
    for k in range(len(constants)):
        forces = []
        for sign in (1, -1):
            atoms = cell.copy()
            atoms.positions[k // 3, k % 3] += sign * displacement
            atoms.calc = calculator
            forces.append(atoms.get_forces().ravel())
        constants[:, k] = -(forces[0] - forces[1]) / (2 * displacement)
    return HarmonicResponse(
        clamped=mandel_to_voigt((stress + stress.T) / 2) / GPa,
        internal_strain=pull,
        force_constants=(constants + constants.T) / 2,
        volume=float(cell.get_volume()),
        noise=calculator_noise(cell, calculator),
        steps=(strain, displacement),
    )


def _strained(cell: Atoms, calculator: Any, strain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second Piola-Kirchhoff stress (Mandel, eV/Angstrom^3) and -dW/du (3 n)."""
    f = right_stretch(from_mandel(strain))
    atoms = cell.copy()
    atoms.set_cell(cell.cell.array @ f.T, scale_atoms=True)
    atoms.calc = calculator
    try:
        cauchy = atoms.get_stress(voigt=False)
    except NotImplementedError:
        raise InputError(
            f"{type(calculator).__name__} gives no stress; elastic constants need one"
        ) from None
    inverse = np.linalg.inv(f)
    return (
        to_mandel(np.linalg.det(f) * inverse @ cauchy @ inverse.T),
        (atoms.get_forces() @ f).ravel(),
    )
