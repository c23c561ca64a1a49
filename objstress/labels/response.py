"""Elastic constants and force constants of a crystal, by differences of stress and forces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.linalg import null_space

from objstress.calculators.batches import passes
from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.labels.noise import Noise, calculator_noise
from objstress.symmetry.irreducible import IrreducibleSteps, signs
from objstress.symmetry.voigt import SHEAR, from_mandel, mandel_to_voigt, to_mandel

STRAINS = (1e-3, 1e-2)
"""Green-Lagrange strains (Mandel) of the differences: of a quiet calculator, and the largest."""
DISPLACEMENTS = (5e-3, 3e-2)
"""Displacements of the differences, Angstrom, likewise."""
CURVATURE = 50.0
"""Third derivative of a stress by strain, and of a force by displacement (1/Angstrom^2, over ten),
relative to the first: of the order that crystals have."""
STIFF = (0.6, 10.0)
"""Stiffness of a crystal, eV/Angstrom^3 (100 GPa), and of an ion, eV/Angstrom^2."""
DRIVEN = 1e-3
"""Part of the largest elastic constant below which a mode does not count as driven by strains."""
ONE_STEP = 2e-3
"""Strain beyond which differences have a term of third order: one step is then not enough."""


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
        slopes: what they were made from.
    """

    clamped: np.ndarray
    internal_strain: np.ndarray
    force_constants: np.ndarray
    volume: float
    slopes: Slopes

    @property
    def stiffness_of_ions(self) -> np.ndarray:
        """Eigenvalues (m,) of K, eV/Angstrom^2, ascending; m = 3 n - 3 without the common shifts.

        A negative one means that the crystal relaxes to another structure of the same cell.
        """
        return self._modes[0]

    @property
    def driven(self) -> bool:
        r"""Whether a strain pushes ions along a mode of negative stiffness.

        .. math:: \frac{|L^T v_k|^2}{V_0 |k|} > 10^{-3} \max |C|, \qquad K v_k = k v_k, \quad k < 0

        C_relaxed then belongs to no minimum of the energy: ions do not follow the strain, they
        leave.
        """
        values, modes = self._modes
        pushes = ((modes.T @ self.internal_strain) ** 2).sum(axis=1)
        size = DRIVEN * np.abs(self.clamped).max() * GPa * self.volume
        return bool((pushes > size * np.abs(values))[values < 0].any())

    @property
    def softest_mode(self) -> np.ndarray:
        """The displacements (n, 3) of the least of them, of length 1 together."""
        return self._modes[1][:, 0].reshape(-1, 3)

    @cached_property
    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (m,) of K without the common shifts, and their displacements (3 n, m)."""
        b = _relative(len(self.force_constants) // 3)
        values, vectors = np.linalg.eigh(b.T @ self.force_constants @ b)
        return values, b @ vectors

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
        return [self.slopes.with_noise(rng).response(self.volume) for _ in range(number)]


@dataclass(frozen=True)
class Slopes:
    """The differences that a response is made of.

    Attributes:
        steps: the strains and displacements.
        stresses: slopes of S by strain, Mandel, eV/Angstrom^3, (strains, 6).
        pulls: slopes of the forces by strain, reference frame, eV/Angstrom, (strains, atoms, 3).
        forces: slopes of the forces by displacement, eV/Angstrom^2, (displacements, atoms, 3).
        deviations: by the noise of the calculator, of a component of each kind.
    """

    steps: IrreducibleSteps
    stresses: np.ndarray
    pulls: np.ndarray
    forces: np.ndarray
    deviations: tuple[float, float, float]

    def with_noise(self, rng: np.random.Generator) -> Slopes:
        """The slopes as they might have come out.

        Args:
            rng: random numbers.
        """

        def scattered(values: np.ndarray, size: float | np.ndarray) -> np.ndarray:
            return values + size * rng.normal(size=values.shape)

        stress, pull, force = self.deviations
        return replace(
            self,
            # Mandel's shear components are sqrt 2 times the stress.
            stresses=scattered(self.stresses, SHEAR * stress),
            pulls=scattered(self.pulls, pull),
            forces=scattered(self.forces, force),
        )

    def response(self, volume: float) -> HarmonicResponse:
        """The second derivatives.

        Args:
            volume: of the cell, Angstrom^3.
        """
        stress, pull = self.steps.by_strain(self.stresses, self.pulls)
        constants = -self.steps.by_displacement(self.forces)
        return HarmonicResponse(
            clamped=mandel_to_voigt((stress + stress.T) / 2) / GPa,
            internal_strain=-pull,
            force_constants=(constants + constants.T) / 2,
            volume=volume,
            slopes=self,
        )


@lru_cache(maxsize=4)
def _relative(atoms: int) -> np.ndarray:
    """Orthonormal displacements of n atoms without a common shift, (3 n, 3 n - 3)."""
    return null_space(np.tile(np.eye(3), atoms))


def harmonic_response(
    structure: Structure, calculator: Any, noise: Noise | None = None
) -> HarmonicResponse:
    r"""Elastic and force constants by central differences of stress and forces.

    Only strains and displacements that no operation of the space group makes from others are
    computed. The steps balance noise against curvature: h^3 = noise / (50 |f'|), at least 0.1 %
    of strain and 0.005 Angstrom. Where noise asks for strains that are no longer small, each slope
    is a least-squares fit of a h + b h^3 to steps of h and 2 h.

    Args:
        structure: without forces and stress under the calculator, exactly symmetric, see
            `relaxed_crystal`.
        calculator: of ASE, with stress.
        noise: of the calculator; measured if not given.

    Returns:
        Elastic constants (6, 6) in GPa, internal strain and force constants.

    Raises:
        InputError: a stress that does not change with strain; see `calculator_noise`.
    """
    cell = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    steps = IrreducibleSteps.of(structure)
    noise = noise or calculator_noise(cell, calculator)
    h = _balanced(noise.stress / STIFF[0] / CURVATURE, STRAINS)
    amplitudes = np.array([h] if h < ONE_STEP else [h, 2 * h])
    f = [
        right_stretch(from_mandel(sign * size * np.eye(6)[component]))
        for size in amplitudes
        for component, opposite in steps.strains
        for sign in signs(opposite)
    ]
    found = passes([_strained(cell, g) for g in f], calculator)
    there = (_on_reference(g, each) for g, each in zip(f, found, strict=True))
    strained = np.array(
        [[_odd(there, steps, opposite) for _, opposite in steps.strains] for _ in amplitudes]
    )
    slopes, gain = _slopes(strained, amplitudes)
    stresses, pulls = slopes[:, :6], slopes[:, 6:].reshape(-1, len(cell), 3)
    if not np.abs(stresses).max() > 0:
        raise InputError(
            "the stress does not change with strain: no atom lies within the calculator's reach"
        )
    u = _balanced(noise.forces / STIFF[1] / (CURVATURE / 10), DISPLACEMENTS)
    moved = [cell.copy()] + [
        _displaced(cell, atom, sign * u * direction)
        for atom, direction, opposite in steps.displacements
        for sign in signs(opposite)
    ]
    pushes = (each["forces"] for each in passes(moved, calculator, ["forces"]))
    rest, forces = next(pushes), []
    for *_, opposite in steps.displacements:
        push = next(pushes) - rest
        back = next(pushes) - rest if opposite is None else steps.image(push, opposite)
        forces.append((push - back) / (2 * u))
    deviations = (noise.stress * gain, noise.forces * gain, noise.forces / (2**0.5 * u))
    return Slopes(steps, stresses, pulls, np.array(forces), deviations).response(
        float(cell.get_volume())
    )


def _balanced(cube: float, limits: tuple[float, float]) -> float:
    """The step whose error by noise is that by curvature, within its limits."""
    return float(np.clip(cube ** (1 / 3), *limits))


def _slopes(odd: np.ndarray, amplitudes: np.ndarray) -> tuple[np.ndarray, float]:
    """Slopes at zero from odd parts (amplitudes, strains, ...), and their noise over that of one.

    An odd part (f(h) - f(-h)) / 2 has the noise of one evaluation over sqrt 2.
    """
    powers = amplitudes[:, None] ** (2 * np.arange(len(amplitudes)) + 1)
    weights = np.linalg.inv(powers)[0]
    return np.tensordot(weights, odd, 1), float(np.linalg.norm(weights) / 2**0.5)


def _odd(there: Iterator[np.ndarray], steps: IrreducibleSteps, opposite: int | None) -> np.ndarray:
    one = next(there)
    if opposite is None:
        back = next(there)
    else:
        stress, forces = one[:6], one[6:].reshape(-1, 3)
        back = np.append(
            steps.image_of_stress(stress, opposite), steps.image(forces, opposite).ravel()
        )
    return (one - back) / 2


def _displaced(cell: Atoms, atom: int, move: np.ndarray) -> Atoms:
    atoms = cell.copy()
    atoms.positions[atom] += move
    return atoms


def _strained(cell: Atoms, f: np.ndarray) -> Atoms:
    atoms = cell.copy()
    atoms.set_cell(cell.cell.array @ f.T, scale_atoms=True)
    return atoms


def _on_reference(f: np.ndarray, found: dict[str, np.ndarray]) -> np.ndarray:
    """Second Piola-Kirchhoff stress (Mandel, eV/Angstrom^3) and -dW/du, (6 + 3 n)."""
    forces, cauchy = found["forces"], voigt_6_to_full_3x3_stress(found["stress"])
    inverse = np.linalg.inv(f)
    stress = to_mandel(np.linalg.det(f) * inverse @ cauchy @ inverse.T)
    return np.concatenate([stress, (forces @ f).ravel()])
