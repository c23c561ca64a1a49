"""Initial momenta, thermostat and barostat, shared by single and batched runs."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms, units
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet

from objstress.errors import InputError

RESTS = 1e-5
"""Relative momenta below which all atoms together are at rest: above the round-off of files and
float32 forces, far below thermal momenta even of a million atoms."""


def replica_generator(seed: int, replica: int = 0) -> np.random.Generator:
    """Random numbers of one replica, for its momenta and its noise.

    Args:
        seed: of all replicas.
        replica: number of the replica; a single run is number 0.
    """
    return np.random.default_rng([seed, replica])


def draw_momenta(masses: np.ndarray, temperature: float, random: np.random.Generator) -> np.ndarray:
    r"""Draw momenta of the Maxwell-Boltzmann distribution.

    .. math:: p_i = \sqrt{m_i k T}\, \xi_i, \quad \xi_i \sim N(0, 1)

    Args:
        masses: (n,) u.
        temperature: K.
        random: source of xi.

    Returns:
        (n, 3) in ASE's units, (u eV)^(1/2).
    """
    return np.sqrt(masses * units.kB * temperature)[:, None] * random.standard_normal(
        (len(masses), 3)
    )


def without_drift(
    positions: np.ndarray, momenta: np.ndarray, masses: np.ndarray, rotation: bool = False
) -> np.ndarray:
    r"""Remove the overall motion from momenta.

    .. math:: p_i \leftarrow p_i - m_i (v_0 + \omega \times (r_i - r_0)), \quad I \omega = L

    v_0 is the velocity of the centre of mass r_0; I and L are the inertia and the angular momentum
    about it. I is inverted by its pseudoinverse: a linear molecule does not rotate about its axis.

    Args:
        positions: (n, 3) Angstrom.
        momenta: (n, 3) in ASE's units, (u eV)^(1/2).
        masses: (n,) u.
        rotation: whether the rotation is removed, too.

    Returns:
        Momenta (n, 3).
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
    """Set initial momenta in place: those that the atoms have, or drawn ones.

    In nve drawn momenta leave the centre of mass at rest and an isolated molecule without rotation;
    in npt the centre of mass is always at rest. With constraints neither is removed.

    Args:
        atoms: changed in place.
        ensemble: "nve", "nvt" or "npt".
        temperature: K.
        random: see `draw_momenta`.
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
    """Number of momenta that share the kinetic energy: 3 n, less those that are conserved.

    With noise on every atom none is conserved. Otherwise a centre of mass at rest stays at rest
    (3), and an isolated molecule without rotation stays so (3, or 2 if it is linear). Where the
    atoms drift or rotate as a whole, as after nvt, these motions are part of the kinetic energy and
    count.

    Args:
        atoms: with momenta.
        thermostat: whether there is noise on every atom.

    Returns:
        The number of degrees of freedom, at least 1.

    Raises:
        InputError: constraints leave none.
    """
    n = atoms.get_number_of_degrees_of_freedom()
    if n < 1:
        raise InputError("no degree of freedom is left: the constraints hold all atoms")
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
    r"""Langevin dynamics: velocity Verlet between two half steps of an Ornstein-Uhlenbeck process.

    .. math::

        p \leftarrow c\, p + \sqrt{(1 - c^2)\, m k T}\; \xi, \quad c = e^{-\gamma \Delta t / 2}

    Each atom has noise and friction of its own, so that a few stiff modes, as those of a small
    molecule, reach the same temperature, at which chains and the rescaling of all velocities fail.
    Conserved up to the error of velocity Verlet is the energy less the heat of the thermostat
    (`heat`). Bussi and Parrinello, Phys. Rev. E 75 (2007) 056707, eqs. (17)-(19).

    Args:
        atoms: with a calculator and momenta.
        timestep: Delta t, ASE's units.
        temperature: T, K.
        friction: gamma, 1 / ASE's unit of time.
        random: source of xi.
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
        self.decay = math.exp(-friction * timestep / 2)
        variance = (1 - self.decay**2) * units.kB * temperature
        self.spread = np.sqrt(variance * atoms.get_masses())[:, None]
        self.heat = 0.0

    def _half_bath(self) -> None:
        atoms = self.atoms
        before = atoms.get_kinetic_energy()
        xi = self.random.standard_normal((len(atoms), 3))
        atoms.set_momenta(self.decay * atoms.get_momenta() + self.spread * xi)
        self.heat += float(atoms.get_kinetic_energy() - before)

    def step(self, forces: np.ndarray | None = None) -> np.ndarray:
        self._half_bath()
        forces = super().step()
        self._half_bath()
        return forces

    def get_conserved_energy(self) -> float:
        """Total energy less the heat of the thermostat, eV."""
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
    r"""ASE's barostat of Martyna, Tobias and Klein with Nose-Hoover chains, for few atoms.

    .. math:: \langle \sum_i p_i^2 / m_i \rangle = 3 (n - 1) k T

    ASE counts 3 n momenta; the centre of mass stays at rest, which leaves 3 (n - 1). With that
    number the mean temperature and pressure are right for small cells, too. Martyna, Tobias and
    Klein, J. Chem. Phys. 101 (1994) 4177.

    Args:
        atoms: with a calculator and zero total momentum.
        timestep: ASE's units, as are the pressure and the next times.
        temperature: K.
        pressure: positive in compression.
        thermostat_time: relaxation time of the temperature.
        barostat_time: relaxation time of the pressure.
        shape: whether all of the cell moves, not its volume alone.

    Returns:
        ASE's integrator.
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
