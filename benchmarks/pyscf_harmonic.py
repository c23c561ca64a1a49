"""IR and Raman lines of the DFT itself: `python -m benchmarks.pyscf_harmonic [NAME ...]`.

What spectra of a potential trained on data/molecules are compared against: PySCF's analytic
Hessian and its own normal-mode analysis at the relaxed geometries of data/molecules/relaxed.extxyz,
by default of water, methane and hydrogen peroxide. Writes results/pyscf_harmonic.json. Shares no
code with `objstress.spectra`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from scipy import constants
from tqdm import tqdm

from objstress.calculators.pyscf import PySCFCalculator
from objstress.errors import InputError
from objstress.io.files import write_json
from objstress.reports import environment

RELAXED = Path(__file__).parents[1] / "data" / "molecules" / "relaxed.extxyz"
RESULTS = Path(__file__).parent / "results" / "pyscf_harmonic.json"
STEP = 0.005
"""Angstrom, of the central differences."""
AT_REST = 1e-3
"""eV/Angstrom: above this the normal modes are not those of a stationary point."""
INFRARED = (
    constants.N_A
    * constants.e**2
    / (12 * constants.epsilon_0 * constants.c**2 * constants.atomic_mass)
    / 1000
)
"""km/mol for 1 e^2/u: the integrated absorption N_A |dmu/dQ|^2 / (12 epsilon_0 c^2), 974.88."""


def harmonic_reference(
    atoms: Atoms, step: float = STEP, progress: bool = True, **settings: Any
) -> dict[str, Any]:
    r"""Harmonic frequencies, IR intensities and Raman activities of a molecule by PySCF.

        A_k = N_A (dmu/dQ_k)^2 / (12 epsilon_0 c^2)    S_k = 45 a'^2 + 7 g'^2
        rho_k = 3 g'^2 / (45 a'^2 + 4 g'^2)

    a' the mean, g' the anisotropy of dalpha/dQ_k. Hessian and modes are PySCF's; derivatives of
    dipole, polarizability and, as a check on the Hessian (which leaves out that the integration
    grid moves with the nuclei), forces are central differences of analytic values.

    Args:
        atoms: at a stationary point; ASE's masses are taken.
        step: Angstrom.
        settings: those of `objstress.calculators.pyscf.PySCFCalculator`.

    Returns:
        wavenumbers_per_cm (m,), imaginary ones negative; wavenumbers_by_differences_per_cm (m,)
        from the Hessian by differences of forces; infrared_km_per_mol,
        raman_activity_angstrom4_per_u and depolarisation (m,);
        born_charges_e [k, i, j] = dmu_i/dR_kj (n, 3, 3);
        polarizability_gradient_angstrom2 [k, l, i, j] = dalpha_ij/dR_kl (n, 3, 3, 3);
        displacements_per_sqrt_u (m, n, 3); largest_force_eV_per_angstrom; energy_eV; symbols,
        positions_angstrom, masses_u; method.

    Raises:
        InputError: forces above 1e-3 eV/Angstrom, and what PySCF refuses.
    """
    from pyscf.hessian.thermo import harmonic_analysis

    # The response on the full grid, too: here differences are taken of it.
    calculator = PySCFCalculator(**({"coarse_grid": settings.get("grid", 4)} | settings))
    atoms = atoms.copy()
    atoms.calc = calculator
    force = float(np.abs(atoms.get_forces()).max())
    if force > AT_REST:
        raise InputError(
            f"a force of {force:.2g} eV/Angstrom: normal modes need a relaxed structure "
            f"(below {AT_REST:g})"
        )
    state = calculator.ground_state(atoms)
    hessian = state.Hessian().kernel()
    n, masses = len(atoms), atoms.get_masses()
    born, gradient = np.zeros((n, 3, 3)), np.zeros((n, 3, 3, 3))
    by_forces = np.zeros((n, n, 3, 3))
    places = [(k, j) for k in range(n) for j in range(3)]
    for k, j in tqdm(places, desc=atoms.get_chemical_formula(), disable=not progress):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[k, j] += sign * step
            calculator.calculate(moved, calculator.implemented_properties)
            ends.append(calculator.results)
        change = {key: (ends[0][key] - ends[1][key]) / (2 * step) for key in ends[0]}
        born[k, :, j] = change["dipole"]
        gradient[k, j] = change["polarizability"]
        by_forces[k, :, j] = -change["forces"]
    by_forces = (by_forces + by_forces.transpose(1, 0, 3, 2)) / 2
    # PySCF's analysis works in Hartree and Bohr.
    hartree = constants.physical_constants["Hartree energy in eV"][0]
    bohr = constants.physical_constants["Bohr radius"][0] * 1e10
    modes, check = (
        harmonic_analysis(state.mol, h, imaginary_freq=False, mass=masses)
        for h in (hessian, by_forces * bohr**2 / hartree)
    )
    along = modes["norm_mode"]
    dipole = np.einsum("kij,mkj->mi", born, along)
    alpha = np.einsum("klij,mkl->mij", gradient, along)
    mean = np.trace(alpha, axis1=1, axis2=2) / 3
    rest = alpha - mean[:, None, None] * np.eye(3)
    anisotropy = 1.5 * (rest**2).sum(axis=(1, 2))
    return {
        "method": calculator.describe(),
        "symbols": atoms.get_chemical_symbols(),
        "positions_angstrom": atoms.positions.tolist(),
        "masses_u": masses.tolist(),
        "energy_eV": float(state.e_tot) * hartree,
        "largest_force_eV_per_angstrom": force,
        "wavenumbers_per_cm": modes["freq_wavenumber"].tolist(),
        "wavenumbers_by_differences_per_cm": check["freq_wavenumber"].tolist(),
        "infrared_km_per_mol": (INFRARED * (dipole**2).sum(axis=1)).tolist(),
        "raman_activity_angstrom4_per_u": (45 * mean**2 + 7 * anisotropy).tolist(),
        "depolarisation": (3 * anisotropy / (45 * mean**2 + 4 * anisotropy)).tolist(),
        "displacements_per_sqrt_u": along.tolist(),
        "born_charges_e": born.tolist(),
        "polarizability_gradient_angstrom2": gradient.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of relaxed.extxyz")
    chosen = parser.parse_args().names or ["water", "methane", "hydrogen-peroxide"]
    minima: dict[str, Atoms] = {}
    for atoms in read(RELAXED, ":"):
        if atoms.info["config_type"] == "minimum":
            minima.setdefault(atoms.info["name"], atoms)  # one hand says it all
    results: dict[str, Any] = {"environment": environment()}
    for name in chosen:
        if name not in minima:
            raise SystemExit(f"{name}: not in {RELAXED.name}, which has {', '.join(minima)}")
        results[name] = harmonic_reference(minima[name])
        write_json(RESULTS, results)


if __name__ == "__main__":
    main()
