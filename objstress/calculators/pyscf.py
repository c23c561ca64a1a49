"""PySCF as a calculator: DFT energies, forces, dipoles and polarizabilities of molecules.

Install with `pip install pyscf` (or `pip install objstress[molecules]`). Closed shells only; the
forces and polarizabilities are derivatives of the energy as it is computed, quadrature included.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, ground_state_magnetic_moments
from ase.units import Bohr, Hartree

from objstress.errors import InputError
from objstress.graphs.atoms import total_charge

CLOSEST = 0.25
"""Angstrom: nuclei closer than this are a mistake (H2: 0.74)."""
GAP = 0.1
"""eV: with less between the highest occupied and the lowest empty orbital, no closed shell."""
ASYMMETRY = 1e-5
"""Relative: how symmetric the polarizability comes out says how far its equations were solved."""


class PySCFCalculator(Calculator):
    r"""Energy, forces, dipole and polarizability of a closed-shell molecule, restricted Kohn-Sham.

    .. math::
        f_k = -\frac{dE}{dR_k}, \qquad \mu = \sum_k Z_k R_k - \operatorname{tr}(D r), \qquad
        \alpha_{ij} = \frac{d\mu_i}{d\mathcal{E}_j}

    Forces include the motion of the integration grid with the nuclei (`grid_response`), so that
    they sum to zero and are the energy's derivative on any grid. alpha is static and analytic:
    the coupled-perturbed Kohn-Sham equations for the three fields at once,

    .. math::
        (\epsilon_a - \epsilon_i) x_{ai} + v[x]_{ai} = -r_{ai}, \qquad
        \alpha = -4 \sum_{ai} r_{ai} x_{ai},

    in atomic units, times Bohr^3. Integrals are exact (no density fitting: for molecules this
    small the quadrature costs more than they do). The first iterations, and v, use the coarse
    grid: it moves alpha little, and energies not at all. No label depends on the one before it.

    Properties, ASE's units: energy, free_energy eV; forces (n, 3) eV/Angstrom; dipole (3,)
    e Angstrom, of a charged molecule about its centre of mass; polarizability (3, 3) Angstrom^3.

    Args:
        xc: functional, any name that PySCF knows.
        basis: likewise; with a def2 basis elements beyond Kr get its effective core potential.
        charge: of the molecule, e; None takes `atoms.info["charge"]` (0 if missing), as the
            potential does.
        grid: PySCF's level of the integration grid, 0 to 9; the finer, the less energy and forces
            change when a molecule is rotated.
        coarse_grid: level for the response and for the first iterations.
        tolerance: Hartree, change of the energy at convergence.
        memory: MB that PySCF may use for integrals.

    Raises:
        InputError: PySCF is not installed, an unknown functional or basis, a periodic cell,
            overlapping atoms, an open shell (odd number of electrons, magnetic moments, no gap, no
            convergence), no electrons or no empty orbitals, a charge that is not whole or not that
            of the atoms.
    """

    implemented_properties = ["energy", "free_energy", "forces", "dipole", "polarizability"]

    def __init__(
        self,
        *,
        xc: str = "PBE",
        basis: str = "def2-SVPD",
        charge: int | None = None,
        grid: int = 4,
        coarse_grid: int = 1,
        tolerance: float = 1e-10,
        memory: int = 4000,
    ):
        super().__init__()
        self.version = _pyscf().__version__
        _check(xc, basis, charge, grid, coarse_grid, tolerance)
        self.xc, self.basis = xc, basis
        self.charge = None if charge is None else int(charge)
        self.grid, self.coarse_grid, self.tolerance = grid, coarse_grid, tolerance
        self.memory = memory
        self._state: Any = None

    def describe(self) -> str:
        """Version and settings in one line, for the metadata of a label file."""
        charge = f", charge {self.charge:+d}" if self.charge else ""
        return (
            f"PySCF {self.version}: RKS {self.xc}/{self.basis}{charge}, exact integrals, grid "
            f"level {self.grid} (response {self.coarse_grid}), "
            f"converged to {self.tolerance:g} Hartree"
        )

    def check_state(self, atoms, tol=1e-15):
        """What changed since the last calculation, the charge included.

        Args:
            atoms: the molecule.
            tol: Angstrom, of ASE's comparison.
        """
        changes = super().check_state(atoms, tol)
        # ASE does not look into info.
        state = self._state
        if not changes and state is not None and self._charge(atoms) != state.mol.charge:
            changes.append("charge")
        return changes

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """One ground state for all `properties`; `atoms` and `system_changes` as in ASE."""
        super().calculate(atoms, properties, system_changes)
        if system_changes or self._state is None:
            self._state, self.results = None, {}
            self._state = self.ground_state(cast(Atoms, self.atoms))
        energy = float(self._state.e_tot) * Hartree
        self.results |= {"energy": energy, "free_energy": energy, "dipole": self._dipole()}
        if "forces" in properties and "forces" not in self.results:
            gradient = self._state.nuc_grad_method()
            gradient.grid_response = True
            self.results["forces"] = -gradient.kernel() * Hartree / Bohr
        if "polarizability" in properties and "polarizability" not in self.results:
            self.results["polarizability"] = self._polarizability()

    def ground_state(self, atoms: Atoms) -> Any:
        """The converged `pyscf.dft.rks.RKS` of a molecule (atomic units), for further properties.

        Args:
            atoms: the molecule.

        Raises:
            InputError: see the class.
        """
        molecule = self.molecule(atoms)
        first = self._kohn_sham(molecule, self.coarse_grid, max(self.tolerance, 1e-6))
        first.kernel()
        state = self._kohn_sham(molecule, self.grid, self.tolerance)
        state._eri = first._eri  # the same integrals: not computed twice
        if first.converged:
            state.kernel(dm0=first.make_rdm1())
        name, closed = atoms.get_chemical_formula(), "this calculator takes closed shells only"
        if not state.converged:
            raise InputError(
                f"{name} did not converge in {state.max_cycle} iterations: an open shell, or bonds "
                f"too far stretched; {closed}"
            )
        occupied = state.mo_occ > 0
        if occupied.all():
            raise InputError(
                f"{name}: {self.basis} has no empty orbitals to tell a closed shell by; give a "
                "larger basis"
            )
        gap = (state.mo_energy[~occupied].min() - state.mo_energy[occupied].max()) * Hartree
        if gap < GAP:
            raise InputError(
                f"{name}: only {gap:.3f} eV between occupied and empty orbitals; {closed}"
            )
        return state

    def molecule(self, atoms: Atoms, spin: int = 0) -> Any:
        """The `pyscf.gto.Mole` of these atoms.

        Args:
            atoms: the molecule.
            spin: number of unpaired electrons.

        Raises:
            InputError: see the class.
        """
        name = atoms.get_chemical_formula()
        if atoms.pbc.any():
            raise InputError(f"{name} is periodic: this calculator is for molecules (pbc=False)")
        if len(atoms) == 0 or not np.isfinite(atoms.positions).all():
            raise InputError(f"{name or 'no atoms'}: give at least one atom, all positions finite")
        distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
        if distances.min() < CLOSEST:
            raise InputError(f"{name}: two atoms overlap, {distances.min():.2g} Angstrom apart")
        charge = self._charge(atoms)
        electrons = int(atoms.numbers.sum()) - charge
        bare = InputError(f"{name} with charge {charge} has no electrons outside its cores")
        if electrons < 1:
            raise bare
        if spin == 0 and (electrons % 2 or atoms.get_initial_magnetic_moments().any()):
            what = "has magnetic moments"
            if electrons % 2:
                what = f"with charge {charge} has {electrons} electrons, an odd number"
            raise InputError(f"{name} {what}: this calculator takes closed shells only")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where else to look for a basis
            try:
                molecule = _pyscf().gto.M(
                    atom=list(zip(atoms.symbols, atoms.positions / Bohr, strict=True)),
                    unit="Bohr",
                    basis=self.basis,
                    ecp=_core_potentials(atoms, self.basis),
                    charge=charge,
                    spin=spin,
                    max_memory=self.memory,
                    verbose=0,
                    parse_arg=False,
                )
            except (RuntimeError, KeyError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"PySCF has no basis {self.basis} for {name}: {reason}") from None
            except AssertionError:  # fewer than none
                raise bare from None
        if molecule.nelectron < 1:
            raise bare
        return molecule

    def _charge(self, atoms: Atoms) -> int:
        if self.charge is not None and "charge" not in atoms.info:
            return self.charge
        charge, name = total_charge(atoms), atoms.get_chemical_formula()
        if charge != int(charge):
            raise InputError(f'{name}: info["charge"] = {charge}: give a whole number')
        if self.charge is not None and charge != self.charge:
            raise InputError(
                f'{name}: info["charge"] = {charge:g}, but this calculator\'s charge is '
                f"{self.charge}; give one of them, or the same"
            )
        return int(charge)

    def _kohn_sham(self, molecule: Any, grid: int, tolerance: float) -> Any:
        state = molecule.KS(xc=self.xc)  # restricted or not as the molecule's spin says
        state.grids.level = grid
        state.conv_tol = tolerance
        state.max_cycle = 60
        state.chkfile = None
        return state

    def _centre(self) -> np.ndarray:
        # Where the dipole does not depend on it, the origin adds no rounding.
        if not self._state.mol.charge:
            return np.zeros(3)
        return cast(Atoms, self.atoms).get_center_of_mass() / Bohr

    def _dipole(self) -> np.ndarray:
        molecule, centre = self._state.mol, self._centre()
        with molecule.with_common_origin(centre):
            r = molecule.intor_symmetric("int1e_r", comp=3)
        nuclei = molecule.atom_charges() @ (molecule.atom_coords() - centre)
        return (nuclei - np.einsum("xpq,qp->x", r, self._state.make_rdm1())) * Bohr

    def _polarizability(self) -> np.ndarray:
        from pyscf.scf import cphf

        state = self._state
        occupied = state.mo_occ > 0
        inner, outer = state.mo_coeff[:, occupied], state.mo_coeff[:, ~occupied]
        r = outer.T @ state.mol.intor_symmetric("int1e_r", comp=3) @ inner
        coarse = state.copy()
        coarse.grids = coarse.grids.copy().reset()
        coarse.grids.level = self.coarse_grid
        coarse.grids.build()
        answer = coarse.gen_response(hermi=1)

        def potential(x: np.ndarray) -> np.ndarray:
            x = x.reshape(-1, *r.shape[1:])
            density = 2 * outer @ x @ inner.T
            density += density.transpose(0, 2, 1)
            return (outer.T @ answer(density) @ inner).reshape(len(x), -1)

        x = cphf.solve(potential, state.mo_energy, state.mo_occ, r, max_cycle=60, tol=1e-7)[0]
        alpha = -4 * np.einsum("xai,yai->xy", r, x.reshape(r.shape)) * Bohr**3
        off = np.abs(alpha - alpha.T).max() / np.abs(alpha).max()
        if not off < ASYMMETRY:
            raise CalculationFailed(
                "PySCF did not solve the response equations: polarizability "
                f"asymmetric by {off:.1g} of itself"
            )
        return (alpha + alpha.T) / 2


def isolated_atom(symbol: str, **settings: Any) -> Atoms:
    """One neutral atom in its ground state with its energy (eV), unrestricted Kohn-Sham.

    A potential subtracts it, so that its energies are those of formation from atoms.

    Args:
        symbol: of the element.
        settings: those of `PySCFCalculator`.

    Raises:
        InputError: an unknown element or bad settings.
        CalculationFailed: the iterations did not converge.
    """
    if symbol not in atomic_numbers:
        raise InputError(f"unknown element {symbol!r}")
    calculator = PySCFCalculator(**settings)
    atoms = Atoms(symbol)
    spin = round(ground_state_magnetic_moments[atomic_numbers[symbol]])
    molecule = calculator.molecule(atoms, spin)
    state = calculator._kohn_sham(molecule, calculator.grid, calculator.tolerance)
    state.kernel()
    if not state.converged:
        state = state.newton()
        state.kernel()
    if not state.converged:
        raise CalculationFailed(f"PySCF did not converge for the atom {symbol}")
    atoms.info["unpaired_electrons"] = spin
    atoms.info["calculator"] = calculator.describe().replace("RKS", "UKS")
    atoms.calc = SinglePointCalculator(atoms, energy=float(state.e_tot) * Hartree)
    return atoms


def _pyscf() -> Any:
    try:
        import pyscf.dft
        import pyscf.gto
    except ImportError as error:
        raise InputError(f"PySCF is not installed ({error}): pip install pyscf") from None
    return pyscf


def _check(xc, basis, charge, grid, coarse_grid, tolerance) -> None:
    try:
        _pyscf().dft.libxc.parse_xc(xc)
    except Exception as error:
        raise InputError(f"PySCF has no functional {xc!r}: {error}") from None
    if not isinstance(basis, str) or not basis:
        raise InputError(f"basis = {basis!r}: give the name of a basis set")
    if charge is not None and not (isinstance(charge, Real) and float(charge).is_integer()):
        raise InputError(f"charge = {charge!r}: give a whole number, or none for that of the atoms")
    for name, level in (("grid", grid), ("coarse_grid", coarse_grid)):
        if level not in range(10):
            raise InputError(f"{name} = {level}: give a level from 0 to 9")
    if not 0 < tolerance <= 1e-4:
        raise InputError(f"tolerance = {tolerance}: give Hartree in (0, 1e-4]")


def _core_potentials(atoms: Atoms, basis: str) -> dict[str, str]:
    heavy = {str(s) for s, z in zip(atoms.symbols, atoms.numbers, strict=True) if z > 36}
    return {s: basis for s in heavy} if basis.lower().startswith("def2") else {}
