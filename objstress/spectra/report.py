"""Spectra of a model and a structure or of a record of dynamics, as files in one folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from objstress.errors import InputError
from objstress.io.atoms import read_atoms
from objstress.io.files import check_writable, write_whole
from objstress.io.recording import Recording, read_recording
from objstress.spectra.correlations import (
    Correlation,
    density_of_states,
    infrared_from_dipoles,
    raman_from_polarizabilities,
)
from objstress.spectra.curves import Curve
from objstress.spectra.harmonic import HarmonicSpectrum, harmonic_spectrum
from objstress.spectra.plots import plot_spectra


def write_spectra(
    out: str | Path,
    model: str | Path | None = None,
    structure: str | Path | None = None,
    record: str | Path | None = None,
    *,
    fwhm: float = 10.0,
    temperature: float = 300.0,
    laser: float | None = None,
    verlet_step: float | None = None,
) -> dict[str, Any]:
    """Write harmonic spectra of a model and a structure, spectra of a record, or both.

    The folder then holds relaxed.extxyz, harmonic.json and harmonic.csv (modes) with the curves
    infrared-harmonic.csv and raman-harmonic.csv; infrared-dynamics.csv, raman-dynamics.csv,
    raman-depolarised-dynamics.csv and density-dynamics.csv of the quantities in the record; each
    curve as .json, too; and a plot of each kind with all of its curves, infrared.png, raman.png and
    density.png.

    Args:
        out: folder.
        model: file of a potential, evaluated in float64.
        structure: any file that ASE reads; its masses are kept (isotopes).
        record: .npz of dynamics, see `read_recording`.
        fwhm: width of harmonic lines and resolution of spectra from dynamics, cm^-1.
        temperature: K, of the scattering molecules; a record has its own.
        laser: wavelength, nm; with it Raman spectra are cross sections, without it activities.
        verlet_step: fs, see `Correlation`; by default that of the record.

    Returns:
        `files`, `warnings`, and `harmonic` (numbers of the modes) or `dynamics` (facts of each
        curve) or both; `table`, the modes as text.

    Raises:
        InputError: a model without a structure, nothing to do, files that cannot be used.
    """
    if (model is None) != (structure is None) and record is None:
        raise InputError("harmonic spectra need both: MODEL and STRUCTURE")
    if model is None and record is None:
        raise InputError("nothing to do: give MODEL and STRUCTURE, or a record of dynamics")
    out = Path(out)
    check_writable(out, folder=True)
    atoms = None if structure is None else read_atoms(structure)
    # Read before the harmonic part, which may take long.
    recording = None if record is None else read_recording(record)
    curves: list[tuple[str, Curve]] = []
    result: dict[str, Any] = {"out": str(out), "files": [], "warnings": []}
    if recording is not None:
        result["dynamics"] = {}
        for name, curve in _of_record(recording, atoms, fwhm, laser, verlet_step):
            curves.append((f"{name}-dynamics", curve))
            result["dynamics"][name] = curve.facts | {"width_per_cm": curve.width}
        result["warnings"] += _doubts(recording, atoms)
    if model is not None and atoms is not None:
        import torch

        from objstress.models.potential import load_potential

        spectrum = harmonic_spectrum(atoms, load_potential(model, torch.float64))
        out.mkdir(exist_ok=True)
        text = io.StringIO()
        write(text, spectrum.atoms, format="extxyz")
        write_whole(out / "relaxed.extxyz", text.getvalue())
        spectrum.to_json(out / "harmonic.json")
        spectrum.to_csv(out / "harmonic.csv")
        result["files"] += ["relaxed.extxyz", "harmonic.json", "harmonic.csv"]
        if spectrum.imaginary:
            result["warnings"].append(
                f"{spectrum.imaginary} imaginary mode(s), written as negative wavenumbers: the "
                "structure is at a saddle, not at a minimum"
            )
        rigid = float(np.abs(spectrum.modes.rigid).max(initial=0.0))
        if rigid > np.abs(spectrum.wavenumbers).min(initial=np.inf):
            result["warnings"].append(
                f"rigid motions have wavenumbers of up to {rigid:.1f} cm^-1, more than the softest "
                "mode: the structure is not at rest, or its second derivatives are inexact"
            )
        if spectrum.infrared_intensities is not None:
            curves.append(("infrared-harmonic", spectrum.infrared(fwhm)))
        if spectrum.raman_invariants is not None:
            raman = spectrum.raman(fwhm, laser=laser, temperature=temperature)
            curves.append(("raman-harmonic", raman))
        left_out = ("displacements_per_sqrt_u", "cell_angstrom", "masses_u")
        result["harmonic"] = {k: v for k, v in spectrum.to_dict().items() if k not in left_out}
        result["table"] = _heading(spectrum) + spectrum.table()
    out.mkdir(exist_ok=True)
    for name, curve in curves:
        curve.to_csv(out / f"{name}.csv")
        curve.to_json(out / f"{name}.json")
        result["files"] += [f"{name}.csv", f"{name}.json"]
    for kind in ("infrared", "raman", "density"):
        alike = [curve for _, curve in curves if curve.kind == kind]
        for number, group in enumerate(_same_axes(alike)):
            name = f"{kind}.png" if number == 0 else f"{kind}-{number + 1}.png"
            plot_spectra(group, out / name)
            result["files"].append(name)
    return result


def _of_record(
    recording: Recording,
    atoms: Atoms | None,
    resolution: float,
    laser: float | None,
    verlet_step: float | None,
) -> list[tuple[str, Curve]]:
    """Named curves of all recorded quantities."""
    settings = Correlation(
        time_step=recording.time_step,
        temperature=recording.temperature,
        resolution=resolution,
        verlet_step=verlet_step or recording.verlet_step,
    )
    arrays, curves = recording.arrays, []
    if "dipole" in arrays:
        infrared = infrared_from_dipoles(arrays["dipole"], settings, volume=recording.volume)
        curves.append(("infrared", infrared))
    if "polarizability" in arrays:
        alpha = arrays["polarizability"]
        curves.append(("raman", raman_from_polarizabilities(alpha, settings, laser=laser)))
        across = raman_from_polarizabilities(
            alpha, settings, laser=laser, part="perpendicular", label="dynamics, depolarised"
        )
        curves.append(("raman-depolarised", across))
    masses = recording.masses
    if masses is None and atoms is not None:
        masses = atoms.get_masses()
    if "velocities" in arrays and masses is not None:
        curves.append(("density", density_of_states(arrays["velocities"], masses, settings)))
    return curves


def _doubts(recording: Recording, atoms: Atoms | None) -> list[str]:
    doubts = []
    if "velocities" in recording.arrays and recording.masses is None and atoms is None:
        doubts.append("velocities left out: no masses_u in the record, and no STRUCTURE with them")
    axes = {"dipole": 2, "polarizability": 3, "velocities": 3}
    if recording.volume is None and all(
        array.ndim == axes[name] or len(array) == 1 for name, array in recording.arrays.items()
    ):
        doubts.append(
            "one record of one molecule: band areas depend on how its energy is shared among the "
            "modes, which a few atoms at constant energy never equalise; average over replicas"
        )
    return doubts


def _same_axes(curves: list[Curve]) -> list[list[Curve]]:
    """Curves by their unit: a liquid's cm^-1 and a molecule's L/(mol cm) share no axis."""
    units = dict.fromkeys(curve.unit for curve in curves)
    return [[curve for curve in curves if curve.unit == unit] for unit in units]


def _heading(spectrum: HarmonicSpectrum) -> str:
    rigid = max((abs(float(w)) for w in spectrum.modes.rigid), default=0.0)
    return (
        f"{spectrum.atoms.get_chemical_formula()}, largest force "
        f"{spectrum.largest_force or 0.0:.1e} eV/Å, zero-point energy "
        f"{spectrum.zero_point_energy:.4f} eV, rigid motions below {rigid:.2g} cm^-1\n"
    )
