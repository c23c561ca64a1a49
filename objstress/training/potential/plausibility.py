r"""Checks of the labels' units, without a model: warnings, never refusals.

Four tests:

1. Energies against forces. Between two frames a, b of the same atoms

   .. math::
       E_b - E_a = -\tfrac12 \sum_i (F_a + F_b)_i \cdot (r_b - r_a)_i + O(\text{anharmonicity})

   (trapezoidal, exact for harmonic energies; with the work of the stress where the cell changes).
   The slope of the one against the other over many pairs, each frame with its nearest, is 1. It
   is 23.06 for energies in kcal/mol with forces in eV/Angstrom, 1/27.2 for Hartree, 1.89 for
   forces per Bohr, -1 for gradients in the place of forces.
2. Total energies against the sum of all-electron energies of the free atoms: E_Z of Schwinger's
   formula, within 2 % (8 % for H). Energies far below that sum are in a smaller unit, energies
   that agree with it in another unit are in that one.
3. Energies of isolated atoms, if given, against the frames: nothing binds with more than 12 eV
   an atom (tungsten: 8.9), and labelled structures are bound.
4. The shear stresses of strained crystals against their strains: in another order than ASE's they
   contradict the crystal's symmetry, see `objstress.training.shear_order`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, GPa, Hartree, Rydberg, kcal, kJ, mol

from objstress.training.potential.frames import Frame, elements_of
from objstress.training.potential.references import composition
from objstress.training.shear_order import contradictions, order_in_file

UNITS = {
    "kcal/mol": mol / kcal,
    "kJ/mol": mol / kJ,
    "Hartree": 1 / Hartree,
    "Rydberg": 1 / Rydberg,
}
"""What 1 eV is in other units of energy."""
MANY = 200
"""Frames of one kind that are compared, at most."""
TRUSTED = 0.8
"""Correlation of energies and work from which a slope is trusted."""
STRONGEST = 12.0
"""eV an atom; more than anything binds with."""


def unit_warnings(
    frames: Sequence[Frame], references: np.ndarray | None = None, stress: bool = True
) -> list[str]:
    """Warnings of labels in wrong units, or with the wrong sign.

    Args:
        frames: labelled structures.
        references: (elements,) eV of isolated atoms, where they were given, not fitted.
        stress: whether to check the stress, too.

    Returns:
        A line for each sign of it.
    """
    lines = [_against_work(frames), _against_electrons(frames), _against_atoms(frames, references)]
    if stress:
        lines += [_against_stress(frames), _against_strain(frames)]
    return [line for line in lines if line]


def work_slope(frames: Sequence[Frame], stress: bool = False) -> tuple[float, float, int]:
    """Slope of energies against work, its correlation, and the number of pairs of frames.

    Args:
        frames: labelled structures.
        stress: False: slope of energies against the work of forces (pairs of the same cell);
            True: of what forces leave of them against the work of the stress (other cells).
    """
    wanted = {"energy", "forces", "stress"} if stress else {"energy", "forces"}
    alike: dict[tuple, list[Frame]] = {}
    for frame in frames:
        if wanted <= set(frame.labels) and len(frame.atoms) > 1:
            key = (*frame.atoms.numbers.tolist(), *frame.atoms.pbc.tolist())
            alike.setdefault(key, []).append(frame)
    steps = [_nearest(group, stress) for group in alike.values() if len(group) > 1]
    pairs = np.concatenate([np.zeros((0, 4)), *steps])
    # Small steps, where the trapezoidal rule holds.
    pairs = pairs[np.argsort(pairs[:, 0])[: max(5, len(pairs) // 3)]]
    gap = pairs[:, 1] - (pairs[:, 2] if stress else 0.0)
    work = pairs[:, 3] if stress else pairs[:, 2]
    keep = work != 0
    if keep.sum() < 5 or not gap.any():
        return np.nan, 0.0, int(keep.sum())
    # The slope of least absolute deviations: a weighted median of the ratios.
    ratio, weight = gap[keep] / work[keep], np.abs(work[keep])
    order = np.argsort(ratio)
    half = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)
    cosine = float(gap @ work / np.sqrt((gap @ gap) * (work @ work)))
    return float(ratio[order[half]]), cosine, int(keep.sum())


def _nearest(group: Sequence[Frame], stress: bool) -> np.ndarray:
    """Of some frames and their nearest: squared distance, dE, works of forces and stress."""
    group = group[:: -(-len(group) // MANY)]
    r = np.array([f.atoms.positions for f in group])
    force = np.array([f.labels["forces"] for f in group])
    energy = np.array([float(f.labels["energy"]) for f in group])
    h = np.array([f.atoms.cell.complete().array for f in group])
    pbc, mass = group[0].atoms.pbc, group[0].atoms.get_masses()
    rows = []
    for k in range(len(group)):
        rotated = force
        if pbc.any():
            strain = np.linalg.solve(h[k], h) - np.eye(3)
            # The displacement at a fixed cell: of scaled positions, across the nearest face.
            s = r @ np.linalg.inv(h) - r[k] @ np.linalg.inv(h[k])
            moved = (s - np.round(s) * pbc) @ ((h + h[k]) / 2)
        else:
            strain = np.zeros((len(group), 3, 3))
            moved, rotated = _aligned(r, force, r[k], mass)
        size = np.abs(strain).max(axis=(1, 2))
        distance = (moved**2).mean(axis=(1, 2)) + size**2
        distance[(size > 1e-4) != stress] = np.inf
        distance[k] = np.inf
        near = int(np.argmin(distance))
        if not np.isfinite(distance[near]):
            continue
        work = -0.5 * np.sum((force[k] + rotated[near]) * moved[near])
        pressed = 0.0
        if stress:  # dE = V sigma : h^-1 dh, half of it at either end
            for end in (k, near):
                gradient = np.linalg.solve(h[end], h[near] - h[k])
                volume = abs(np.linalg.det(h[end]))
                pressed += 0.5 * volume * np.sum(group[end].labels["stress"] * gradient)
        rows.append((distance[near], energy[near] - energy[k], work, pressed))
    return np.array(rows).reshape(-1, 4)


def _aligned(
    r: np.ndarray, force: np.ndarray, onto: np.ndarray, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (m, n, 3) from one molecule to others laid upon it, and their forces."""
    r = r - np.average(r, axis=1, weights=mass)[:, None]
    onto = onto - np.average(onto, axis=0, weights=mass)
    u, _, vt = np.linalg.svd(np.einsum("a,mai,aj->mij", mass, r, onto))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    turn = u @ vt
    return r @ turn - onto, force @ turn


def _against_work(frames: Sequence[Frame]) -> str:
    slope, cosine, number = work_slope(frames)
    if abs(cosine) < TRUSTED or 0.75 < slope < 1.33:
        return ""
    causes = {f"energies in {unit}": size for unit, size in UNITS.items()}
    for unit in ("Hartree", "Rydberg"):
        causes[f"forces in {unit}/Bohr"] = 1 / (UNITS[unit] * Bohr)
    for unit in ("kcal/mol", "kJ/mol"):
        causes[f"forces in {unit}/Angstrom"] = 1 / UNITS[unit]
    causes |= {"forces per Bohr": 1 / Bohr, "gradients in the place of forces": -1.0}
    return (
        f"energies change by {slope:.3g} times the work of the forces ({number} pairs of frames): "
        + _likely(slope, causes, "energies and forces in different units")
    )


def _against_stress(frames: Sequence[Frame]) -> str:
    slope, cosine, number = work_slope(frames, stress=True)
    if abs(cosine) < TRUSTED or 0.75 < slope < 1.33:
        return ""
    causes = {"stress in GPa": GPa, "stress in kbar": 0.1 * GPa}
    causes |= {f"{name} and with the sign of a pressure": -size for name, size in causes.items()}
    causes["stress with the sign of a pressure"] = -1.0
    return (
        f"energies change by {slope:.3g} times the work of the stress ({number} pairs of cells): "
        + _likely(slope, causes, "stress in another unit than eV/Angstrom^3")
    )


def _against_strain(frames: Sequence[Frame]) -> str:
    known = [f for f in frames if {"energy", "stress"} <= set(f.labels) and f.atoms.pbc.all()]
    images = []
    for frame in known:
        image = frame.atoms.copy()
        stress, energy = frame.labels["stress"], float(frame.labels["energy"])
        image.calc = SinglePointCalculator(
            image, energy=energy, stress=full_3x3_to_voigt_6_stress(stress)
        )
        images.append(image)
    index, orders = contradictions(images)
    wrong = index[orders > 0]
    if not len(wrong):
        return ""
    common = int(np.bincount(orders[orders > 0]).argmax())
    return (
        f"the shear stresses of {len(wrong)} of {len(index)} strained crystals contradict their "
        f"strains (first: {known[wrong[0]].place}), but agree once read in the order "
        f"{order_in_file(common)}: store them as ASE does, xx yy zz yz xz xy"
    )


def _likely(slope: float, causes: dict[str, float], otherwise: str) -> str:
    close = [name for name, size in causes.items() if 0.75 < slope / size < 1.33]
    return (" or ".join(close) or otherwise) + "?"


def free_atom_energy(z: int) -> float:
    r"""Total energy of a free atom, eV.

    .. math::
        E_Z = -(0.7687 Z^{7/3} - 0.5 Z^2 + 0.2699 Z^{5/3}) \text{ Hartree}

    Thomas and Fermi, Scott, Schwinger, Phys. Rev. A 24, 2353 (1981). Not relativistic.
    """
    return -Hartree * (0.7687 * z ** (7 / 3) - 0.5 * z**2 + 0.2699 * z ** (5 / 3))


def _against_electrons(frames: Sequence[Frame]) -> str:
    known = [f for f in frames if "energy" in f.labels]
    if not known:
        return ""
    elements = elements_of(known)
    counts = composition(known, elements)
    bound = counts @ np.array([free_atom_energy(z) for z in elements])
    energies = np.array([float(f.labels["energy"]) for f in known])
    ratio = float(np.median(energies / bound))
    for name, factor in UNITS.items():
        if 0.9 < ratio / factor < 1.1:
            return f"total energies are those of all electrons in {name}, not in eV"
    # 1.2: relativity deepens the heaviest atoms by a tenth.
    if ratio > 1.2 and np.median((energies - bound) / counts.sum(1)) < -STRONGEST:
        return (
            f"total energies are {ratio:.3g} times what all electrons of the atoms can give in eV: "
            "another unit?"
        )
    return ""


def _against_atoms(frames: Sequence[Frame], references: np.ndarray | None) -> str:
    known = [f for f in frames if "energy" in f.labels and len(f.atoms) > 1]
    if not known or references is None:
        return ""
    counts = composition(known, elements_of(frames))
    energies = np.array([float(f.labels["energy"]) for f in known])
    binding = float(np.median((counts @ references - energies) / counts.sum(1)))
    if -1.0 < binding < STRONGEST:
        return ""
    return (
        f"the frames are bound by {binding:.3g} eV an atom against the reference energies, which "
        "nothing is: energies and references in different units, or of different methods?"
    )
