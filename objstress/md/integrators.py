"""Momenta to begin with, and thermostats: pieces that single and batched runs share."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms, units
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet

RESTS = 1e-5
"""Relative momenta below which a whole rests: above what files and float32 forces round off, far
below what heat gives even to a million atoms."""


def noise(seed: int, replica: int = 0) -> np.random.Generator:
    """The random numbers of one replica; a single run is replica 0."""
    return np.random.default_rng([seed, replica])


def draw_momenta(masses: np.ndarray, temperature: float, random: np.random.Generator) -> np.ndarray:
    """Momenta (n, 3) of the Maxwell-Boltzmann distribution, p = sqrt(m k T) xi; ASE's units.

    Args:
        masses: (n,) u.
        temperature: K.
    """
    return np.sqrt(masses * units.kB * temperature)[:, None] * random.standard_normal(
        (len(masses), 3)
    )


def without_drift(
    positions: np.ndarray, momenta: np.ndarray, masses: np.ndarray, rotation: bool = False
) -> np.ndarray:
    r"""p_i - m_i (v_0 + w x (r_i - r_0)): the momenta without those of the whole.

    v_0 is the velocity of the centre of mass r_0, w the solution of I w = L about it, taken with
    the pseudoinverse: a linear molecule does not turn about its axis.

    Args:
        positions, momenta: (n, 3).
        masses: (n,).
        rotation: whether w is subtracted, too.
    """
    m = masses[:, None]
    p = momenta - m * (momenta.sum(0) / masses.sum())
    if not rotation:
        return p
    r = positions - (m * positions).sum(0) / masses.sum()
    inertia = np.einsum("i,ij,ij,kl->kl", masses, r, r, np.eye(3)) - (m * r).T @ r
    w = np.linalg.pinv(inertia, rcond=1e-8) @ np.cross(r, p).sum(0)
    return p - m * np.cross(w, r)


def start_momenta(
    atoms: Atoms, ensemble: str, temperature: float, random: np.random.Generator
) -> None:
    """Momenta to begin with, set in place: those that the atoms have, or drawn.

    In nve drawn ones leave the centre of mass at rest and an isolated molecule without rotation;
    in npt the centre of mass is at rest in any case. What atoms are held fixed forbids both.
    """
    p, masses = atoms.get_momenta(), atoms.get_masses()
    drawn = not p.any()
    if drawn:
        p = draw_momenta(masses, temperature, random)
    still = ensemble == "npt" or (ensemble == "nve" and drawn)
    if still and len(atoms) > 1 and not atoms.constraints:
        p = without_drift(atoms.positions, p, masses, rotation=not atoms.pbc.any())
    atoms.set_momenta(p)


def degrees_of_freedom(atoms: Atoms, thermostat: bool) -> int:
    """How many momenta share the kinetic energy: 3 n, less those that the dynamics keeps.

    With noise on every atom none is kept. Otherwise a centre of mass at rest stays so (3), and an
    isolated molecule that does not turn goes on so (3, or 2 if it is linear). A whole that moves
    or turns, as after nvt, has these motions in its kinetic energy: they count.
    """
    n = atoms.get_number_of_degrees_of_freedom()
    if thermostat or atoms.constraints:
        return n
    p = atoms.get_momenta()
    least = RESTS * np.abs(p).max()
    still = without_drift(atoms.positions, p, atoms.get_masses())
    if not atoms.pbc.any() and len(atoms) > 1:
        unturned = without_drift(atoms.positions, p, atoms.get_masses(), rotation=True)
        if np.abs(unturned - still).max() <= least:
            moments = atoms.get_moments_of_inertia()
            n -= 3 if moments.min() > 1e-8 * moments.max() else 2
    if np.abs(p - still).max() <= least:
        n -= 3
    return max(n, 1)


class Langevin(VelocityVerlet):
    r"""Velocity Verlet between two half steps of the Ornstein-Uhlenbeck process:

        p <- c p + sqrt((1 - c^2) m k T) xi,   c = exp(-gamma dt / 2)

    Every atom meets noise and friction of its own, so that a few stiff modes, as those of a small
    molecule, come to the same temperature, which chains and rescaling of all velocities fail at.
    Kept up to the error of velocity Verlet is the energy less what the thermostat gave (`heat`).

    Bussi and Parrinello, Phys. Rev. E 75 (2007) 056707, eqs. (17)-(19).

    Args:
        atoms, timestep: in ASE's units.
        temperature: K.
        friction: gamma, 1 / ASE's time.
        random: where xi comes from.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        temperature: float,
        friction: float,
        random: np.random.Generator,
    ):
        super().__init__(atoms, timestep)
        self.random = random
        self.keeps = math.exp(-friction * timestep / 2)
        variance = (1 - self.keeps**2) * units.kB * temperature
        self.spread = np.sqrt(variance * atoms.get_masses())[:, None]
        self.heat = 0.0

    def _half_bath(self) -> None:
        atoms = self.atoms
        before = atoms.get_kinetic_energy()
        xi = self.random.standard_normal((len(atoms), 3))
        atoms.set_momenta(self.keeps * atoms.get_momenta() + self.spread * xi)
        self.heat += float(atoms.get_kinetic_energy() - before)

    def step(self, forces: np.ndarray | None = None) -> np.ndarray:
        self._half_bath()
        forces = super().step()
        self._half_bath()
        return forces

    def get_conserved_energy(self) -> float:
        return float(self.atoms.get_total_energy()) - self.heat


def barostat(
    atoms: Atoms,
    timestep: float,
    temperature: float,
    pressure: float,
    thermostat_time: float,
    barostat_time: float,
    shape: bool,
) -> MTKNPT | IsotropicMTKNPT:
    """The isothermal-isobaric ensemble of Martyna, Tobias and Klein, by ASE.

    ASE counts 3 n momenta; the centre of mass is at rest and keeps so, which leaves 3 (n - 1).
    With that number instead of n the mean temperature and pressure come out right for small cells.

    Args:
        atoms: their total momentum is zero.
        timestep, pressure, thermostat_time, barostat_time: in ASE's units.
        shape: all of the cell moves, not its volume alone.
    """
    kind = MTKNPT if shape else IsotropicMTKNPT
    dynamics = kind(
        atoms,
        timestep=timestep,
        temperature_K=temperature,
        pressure_au=pressure,
        tdamp=thermostat_time,
        pdamp=barostat_time,
    )
    moving = max(len(atoms) - 1, 1)
    thermostat = dynamics._thermostat
    thermostat._Q[0] *= moving / len(atoms)
    thermostat._num_atoms_global = dynamics._num_atoms_global = moving
    return dynamics
