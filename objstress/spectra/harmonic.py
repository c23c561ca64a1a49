"""Harmonic IR and Raman spectra, from second derivatives at a minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from objstress.errors import InputError
from objstress.io.files import write_json, write_whole
from objstress.spectra.curves import Curve, Shape, broaden, grid_for
from objstress.spectra.modes import NormalModes, normal_modes
from objstress.spectra.raman import cross_section, part_weights, raman_facts, raman_units
from objstress.spectra.rigid import rigid_displacements, rigid_motions
from objstress.spectra.units import DECADIC, INFRARED, QUANTUM


@dataclass(frozen=True)
class HarmonicSpectrum:
    r"""Normal modes with their IR and Raman intensities.

    .. math::

        A_k &= \frac{N_A \pi}{3 c^2} \frac{(d\mu/dQ_k)^2}{4 \pi \varepsilon_0}, \quad
        S_k = 45 a'^2 + 7 g'^2, \quad \rho_k = \frac{3 g'^2}{45 a'^2 + 4 g'^2}, \\
        a' &= \tfrac{1}{3} \mathrm{tr}\, \alpha', \quad
        g'^2 = \tfrac{3}{2} |\alpha' - a' 1|^2, \quad \alpha' = d\alpha/dQ_k

    A_k is 974.88 km/mol for each e^2/u, S_k in Angstrom^4/u, rho_k from 0 to 3/4. g'^2 is
    ((xx-yy)^2 + (yy-zz)^2 + (zz-xx)^2 + 6 (xy^2 + yz^2 + zx^2))/2 by components. In a set of
    degenerate modes only the sums of A and S have a meaning. A crystal's modes are those at Gamma
    without a macroscopic field (transverse), intensities for one cell.

    Attributes:
        atoms: the structure, at the minimum; its masses.
        modes: m modes by ascending wavenumber.
        dipole_gradient: dmu/dQ (m, 3), e/u^1/2; None without a dipole.
        polarizability_gradient: dalpha/dQ (m, 3, 3), Angstrom^2/u^1/2; None without it.
        largest_force: on any atom, eV/Angstrom; None where not known.
    """

    atoms: Atoms
    modes: NormalModes
    dipole_gradient: np.ndarray | None = None
    polarizability_gradient: np.ndarray | None = None
    largest_force: float | None = None

    @property
    def wavenumbers(self) -> np.ndarray:
        """Wavenumbers (m,) cm^-1, imaginary ones as negative numbers."""
        return self.modes.wavenumbers

    @property
    def imaginary(self) -> int:
        """Number of modes with an imaginary wavenumber: 0 at a minimum, 1 at a saddle.

        Those within round-off are none.
        """
        return int((self.wavenumbers < -self.modes.roundoff).sum())

    @property
    def zero_point_energy(self) -> float:
        """Zero-point energy, eV: the sum of h c nu/2 over the real modes."""
        return float(QUANTUM / 2 * self.wavenumbers[self._real].sum())

    @property
    def _real(self) -> np.ndarray:
        return self.wavenumbers > self.modes.roundoff

    @property
    def infrared_intensities(self) -> np.ndarray | None:
        """IR intensities A_k (m,), km/mol, the unit of band areas; None without a dipole."""
        if self.dipole_gradient is None:
            return None
        return np.asarray(INFRARED * (self.dipole_gradient**2).sum(axis=1))

    @property
    def raman_invariants(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Raman invariants a'^2 and g'^2, each (m,) Angstrom^4/u; None without a polarizability."""
        if self.polarizability_gradient is None:
            return None
        mean = np.trace(self.polarizability_gradient, axis1=1, axis2=2) / 3
        rest = self.polarizability_gradient - mean[:, None, None] * np.eye(3)
        return mean**2, 1.5 * (rest**2).sum(axis=(1, 2))

    def raman_activities(self, part: str = "total") -> np.ndarray | None:
        """Raman activities S_k (m,), Angstrom^4/u; None without a polarizability.

        Args:
            part: of the scattered light, one of `PARTS`.
        """
        a, g = part_weights(part)
        if self.raman_invariants is None:
            return None
        isotropic, anisotropic = self.raman_invariants
        return np.asarray(a * isotropic + g * anisotropic)

    @property
    def depolarisation(self) -> np.ndarray | None:
        """Depolarisation ratios rho_k (m,) for polarised light; NaN for modes without Raman.

        3/4 where a' vanishes; None without a polarizability.
        """
        if self.raman_invariants is None:
            return None
        isotropic, anisotropic = self.raman_invariants
        along = 45 * isotropic + 4 * anisotropic
        # The ratio of two round-off errors means nothing.
        seen = along > 1e-12 * along.max(initial=0.0)
        return np.divide(3 * anisotropic, along, out=np.full(len(along), np.nan), where=seen)

    def infrared(
        self,
        fwhm: float = 10.0,
        shape: Shape = "lorentzian",
        wavenumbers: np.ndarray | None = None,
        label: str = "harmonic",
    ) -> Curve:
        r"""IR spectrum of broadened lines: decadic molar absorption coefficient, L/(mol cm).

        .. math:: \epsilon(\nu) = 43.43 \sum_k A_k L(\nu - \nu_k)

        Its area times ln(10)/100 is in km/mol. Imaginary modes are left out.

        Args:
            fwhm: full width at half maximum of each line, cm^-1.
            shape: "lorentzian" or "gaussian".
            wavenumbers: (n,) grid, cm^-1; chosen if None.
            label: of the curve.

        Raises:
            InputError: no dipole.
        """
        strengths = self.infrared_intensities
        if strengths is None:
            raise InputError("no IR spectrum without a dipole: the model has no such head")
        lines, grid, values = self._broadened(strengths, fwhm, shape, wavenumbers)
        return Curve(
            kind="infrared",
            wavenumbers=grid,
            values=DECADIC * values,
            quantity="molar absorption coefficient",
            unit="L mol^-1 cm^-1",
            label=label,
            width=fwhm,
            area_unit="km/mol",
            area_factor=1 / DECADIC,
            sticks=lines,
            facts={"shape": shape},
        )

    def raman(
        self,
        fwhm: float = 10.0,
        shape: Shape = "lorentzian",
        wavenumbers: np.ndarray | None = None,
        *,
        laser: float | None = None,
        temperature: float = 300.0,
        part: str = "total",
        label: str = "harmonic",
    ) -> Curve:
        r"""Raman spectrum (Stokes side) of broadened lines: activity or differential cross section.

        .. math:: S(\nu) = \sum_k S_k L(\nu - \nu_k)

        in Angstrom^4/u for each cm^-1. With a laser the differential cross section of
        `cross_section` stands in place of S_k, 1e-30 cm^2/sr for each cm^-1. Imaginary modes are
        left out.

        Args:
            fwhm: full width at half maximum of each line, cm^-1.
            shape: "lorentzian" or "gaussian".
            wavenumbers: (n,) grid, cm^-1; chosen if None.
            laser: wavelength, nm.
            temperature: K, of the scattering molecules; unused without a laser.
            part: of the scattered light, one of `PARTS`.
            label: of the curve.

        Raises:
            InputError: no polarizability; a laser whose quanta are smaller than a mode's.
        """
        strengths = self.raman_activities(part)
        if strengths is None:
            raise InputError(
                "no Raman spectrum without a polarizability: the model has no such head"
            )
        if laser is not None:
            real = np.where(self._real, self.wavenumbers, 1.0)
            strengths = cross_section(strengths, real, laser, temperature)
        lines, grid, values = self._broadened(strengths, fwhm, shape, wavenumbers)
        return Curve(
            kind="raman",
            wavenumbers=grid,
            values=values,
            label=label,
            width=fwhm,
            sticks=lines,
            facts={"shape": shape} | raman_facts(part, laser, temperature),
            **raman_units(laser),
        )

    def _broadened(
        self, strengths: np.ndarray, fwhm: float, shape: Shape, points: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lines = np.stack([self.wavenumbers, strengths], axis=1)[self._real]
        grid = grid_for(lines[:, 0], fwhm, points)
        return lines, grid, broaden(lines[:, 0], lines[:, 1], grid, fwhm, shape)

    def table(self) -> str:
        """A table of the modes as text, one mode a line, units in the header."""
        names, columns = (
            ["mode", "cm^-1", "reduced mass, u"],
            [
                [str(k + 1) for k in range(len(self.wavenumbers))],
                [
                    f"{abs(w):.1f}" if w >= -self.modes.roundoff else f"{-w:.1f}i"
                    for w in self.wavenumbers
                ],
                [f"{x:.3f}" for x in self.modes.reduced_masses],
            ],
        )
        if self.infrared_intensities is not None:
            names.append("IR, km/mol")
            columns.append([f"{x:.2f}" for x in self.infrared_intensities])
        activities, ratios = self.raman_activities(), self.depolarisation
        if activities is not None and ratios is not None:
            names += ["Raman, Å^4/u", "depolarisation"]
            columns.append([f"{x:.2f}" for x in activities])
            columns.append([f"{x:.3f}" if math.isfinite(x) else "-" for x in ratios])
        widths = [
            max(map(len, [name, *column])) for name, column in zip(names, columns, strict=True)
        ]
        rows = [names, *zip(*columns, strict=True)]
        return "\n".join(
            "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
            for row in rows
        )

    def to_dict(self) -> dict[str, Any]:
        """Numbers and texts for a JSON file; None for what the model does not give."""
        ratios = self.depolarisation

        def plain(array: np.ndarray | None) -> list[Any] | None:
            return None if array is None else array.tolist()

        return {
            "symbols": self.atoms.get_chemical_symbols(),
            "positions_angstrom": self.atoms.positions.tolist(),
            "cell_angstrom": self.atoms.cell.array.tolist() if self.atoms.pbc.any() else None,
            "masses_u": self.atoms.get_masses().tolist(),
            "largest_force_eV_per_angstrom": self.largest_force,
            "imaginary_modes": self.imaginary,
            "zero_point_energy_eV": self.zero_point_energy,
            "rigid_wavenumbers_per_cm": self.modes.rigid.tolist(),
            "wavenumbers_per_cm": self.wavenumbers.tolist(),
            "reduced_masses_u": self.modes.reduced_masses.tolist(),
            "infrared_km_per_mol": plain(self.infrared_intensities),
            "raman_activity_angstrom4_per_u": plain(self.raman_activities()),
            "depolarisation": None
            if ratios is None
            else [float(x) if math.isfinite(x) else None for x in ratios],
            "dipole_gradient_e_per_sqrt_u": plain(self.dipole_gradient),
            "polarizability_gradient_angstrom2_per_sqrt_u": plain(self.polarizability_gradient),
            "displacements_per_sqrt_u": self.modes.vectors.tolist(),
        }

    def to_json(self, path: str | Path) -> None:
        """Write all of `to_dict` to a JSON file; imaginary wavenumbers are negative.

        Args:
            path: of the file.
        """
        write_json(path, self.to_dict())

    def to_csv(self, path: str | Path) -> None:
        """Write one mode a line, units in the header; imaginary wavenumbers are negative.

        Args:
            path: of the file.
        """
        columns = {
            "wavenumber (cm^-1)": self.wavenumbers,
            "reduced mass (u)": self.modes.reduced_masses,
            "IR intensity (km/mol)": self.infrared_intensities,
            "Raman activity (A^4/u)": self.raman_activities(),
            "depolarisation ratio": self.depolarisation,
        }
        known = {name: values for name, values in columns.items() if values is not None}
        rows = [",".join(["mode", *known])]
        for k, row in enumerate(zip(*known.values(), strict=True), start=1):
            rows.append(",".join([str(k), *(f"{x:.8g}" if math.isfinite(x) else "" for x in row)]))
        write_whole(path, "\n".join(rows) + "\n")


def harmonic_analysis(
    atoms: Atoms,
    hessian: np.ndarray,
    born_charges: np.ndarray | None = None,
    polarizability_gradient: np.ndarray | None = None,
    *,
    rigid: np.ndarray | None = None,
    largest_force: float | None = None,
) -> HarmonicSpectrum:
    r"""The harmonic spectrum from given derivatives, of any source.

    .. math::

        \frac{d\mu}{dQ_k} = \sum_n Z_n \frac{dR_n}{dQ_k}, \quad
        \frac{d\alpha}{dQ_k} = \sum_n \frac{d\alpha}{dR_n} \frac{dR_n}{dQ_k}

    Args:
        atoms: at a stationary point. Isotopes have their masses (`atoms.set_masses`); ASE's default
            masses are mean atomic weights.
        hessian: (3 n, 3 n) eV/Angstrom^2.
        born_charges: Z[k, i, j] = dmu_i/dR_kj, (n, 3, 3) e.
        polarizability_gradient: dalpha_ij/dR_kl at [k, l, i, j], (n, 3, 3, 3) Angstrom^2.
        rigid: see `normal_modes`; by default those of a molecule, or of a crystal if periodic.
        largest_force: on any atom, eV/Angstrom, as a remark.

    Raises:
        InputError: see `normal_modes`; gradients of another shape or not finite.
    """
    masses = atoms.get_masses()
    if rigid is None:
        rigid = rigid_displacements(atoms.positions, masses, not atoms.pbc.any())
    modes = normal_modes(hessian, masses, rigid)
    n = len(atoms)
    dipole = _along(modes, "born_charges", born_charges, (n, 3, 3), "nij,knj->ki")
    polarizability = _along(
        modes, "polarizability_gradient", polarizability_gradient, (n, 3, 3, 3), "nlij,knl->kij"
    )
    return HarmonicSpectrum(atoms.copy(), modes, dipole, polarizability, largest_force)


def _along(
    modes: NormalModes, name: str, gradient: Any, shape: tuple[int, ...], product: str
) -> np.ndarray | None:
    """The gradient by modes of one by atoms."""
    if gradient is None:
        return None
    gradient = np.asarray(gradient, dtype=np.float64)
    if gradient.shape != shape:
        raise InputError(f"{name} of shape {gradient.shape}: give {shape}")
    if not np.isfinite(gradient).all():
        raise InputError(f"{name} is not finite (NaN or infinity)")
    return np.asarray(np.einsum(product, gradient, modes.vectors))


def harmonic_spectrum(
    atoms: Atoms,
    potential: Any,
    *,
    relax: bool = True,
    force_tolerance: float = 1e-4,
) -> HarmonicSpectrum:
    """The harmonic spectrum of a potential at its minimum near the given atoms.

    A potential without a dipole gives no IR, one without a polarizability no Raman spectrum; a
    charged periodic cell has no dipole either. Rotations are removed for molecules, also in a box,
    whose potential has the symmetry O(3) or SO(3), see `rigid_motions`; under a point group a
    rotation costs energy, and the librations stay among the modes.

    Args:
        atoms: molecule or crystal; a crystal's cell stays as it is.
        potential: `objstress.models.potential.Potential`, or what can be called as one.
        relax: relax the atoms first, see `relaxed_atoms`.
        force_tolerance: eV/Angstrom that no force may exceed.

    Returns:
        The modes with their intensities.

    Raises:
        InputError: no energy head, forces above the tolerance without `relax`, atoms that the
            potential does not know.
        ConvergenceError: no minimum, see `relaxed_atoms`.
    """
    from objstress.graphs.atoms import total_charge
    from objstress.spectra.minimum import evaluate, relaxed_atoms

    heads = tuple(potential.settings.heads)
    if "energy" not in heads:
        raise InputError(f"no vibrations without an energy: the model has {', '.join(heads)} only")
    if relax:
        atoms = relaxed_atoms(atoms, potential, force_tolerance)
    outputs = ["forces", "hessian"]
    if "dipole" in heads and not (atoms.pbc.any() and total_charge(atoms)):
        outputs.append("born_charges")
    if "polarizability" in heads:
        outputs.append("polarizability_gradient")
    derivatives = evaluate(atoms, potential, outputs)
    force = float(np.linalg.norm(derivatives["forces"], axis=1).max())
    if force > force_tolerance:
        raise InputError(
            f"a force of {force:.2g} eV/Angstrom: normal modes need a structure at rest "
            f"(below {force_tolerance:g}); relax it first"
        )
    return harmonic_analysis(
        atoms,
        derivatives["hessian"],
        derivatives.get("born_charges"),
        derivatives.get("polarizability_gradient"),
        rigid=rigid_motions(atoms, atoms.get_masses(), potential),
        largest_force=force,
    )
