"""Records of dynamics in .npz files: dipole, polarizability and velocities against time."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from objstress.errors import InputError
from objstress.io.files import write_whole

ARRAYS = ("dipole", "polarizability", "velocities")
NUMBERS = (*ARRAYS, "time_fs", "temperature_K", "masses_u", "volume_A3", "timestep_fs")


@dataclass(frozen=True)
class Recording:
    """What a run of dynamics recorded at equal steps.

    Attributes:
        time_step: fs between two records.
        temperature: K.
        arrays: of "dipole" (replicas, n, 3) or (n, 3) e Angstrom, "polarizability" (..., n, 3, 3)
            Angstrom^3, "velocities" (..., n, atoms, 3) Angstrom/fs, those that are there.
        masses: (atoms,) u, for velocities.
        volume: of a periodic cell, Angstrom^3.
        verlet_step: fs of the integrator.
    """

    time_step: float
    temperature: float
    arrays: dict[str, np.ndarray]
    masses: np.ndarray | None = None
    volume: float | None = None
    verlet_step: float | None = None


def read_recording(path: str | Path) -> Recording:
    """The record in an .npz file with time_fs (n,), temperature_K, and one or more of `ARRAYS`.

    Optional: masses_u (atoms,), volume_A3, timestep_fs (the integrator's own step).

    Raises:
        InputError: no such file, damaged, a missing key (all that are there are named), times that
            are not equal steps, what is not real numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such record of dynamics")
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from None
    for name in (name for name in NUMBERS if name in found):
        array = np.asarray(found[name])
        try:
            found[name] = array.astype(float, casting="same_kind", copy=False)
        except TypeError:
            raise InputError(f"{path}: {name} of {array.dtype}: give real numbers") from None
    there = ", ".join(found) or "nothing"
    for name in ("time_fs", "temperature_K"):
        if name not in found:
            raise InputError(f"{path}: no {name} in it; there are {there}")
    arrays = {name: found[name] for name in ARRAYS if name in found}
    if not arrays:
        raise InputError(f"{path}: none of {', '.join(ARRAYS)} in it; there are {there}")
    return Recording(
        time_step=_time_step(path, found["time_fs"], arrays),
        temperature=_number(path, found, "temperature_K") or 0.0,
        arrays=arrays,
        masses=found.get("masses_u"),
        volume=_number(path, found, "volume_A3"),
        verlet_step=_number(path, found, "timestep_fs"),
    )


def _time_step(path: Path, times: np.ndarray, arrays: dict[str, np.ndarray]) -> float:
    if times.ndim != 1 or len(times) < 4 or not np.isfinite(times).all():
        raise InputError(f"{path}: time_fs of shape {times.shape}: give at least four finite times")
    step = float(times[-1] - times[0]) / (len(times) - 1)
    if not step > 0 or np.abs(np.diff(times) - step).max() > 1e-3 * step:
        raise InputError(f"{path}: time_fs does not go in equal steps")
    axes = {"dipole": -2, "polarizability": -3, "velocities": -3}
    for name, array in arrays.items():
        if array.ndim < -axes[name] or array.shape[axes[name]] != len(times):
            raise InputError(f"{path}: {name} of shape {array.shape} for {len(times)} times")
    return step


def _number(path: Path, found: dict[str, Any], name: str) -> float | None:
    if name not in found:
        return None
    value = np.asarray(found[name])
    if value.size != 1 or not np.isfinite(value).all():
        raise InputError(f"{path}: {name} must be one finite number")
    return float(value.reshape(()))


def write_record(
    path: str | Path,
    atoms: Atoms,
    time: np.ndarray,
    temperature: float,
    timestep: float,
    arrays: dict[str, np.ndarray],
    volume: float | None = None,
) -> None:
    """What was recorded, with what spectra need besides, as npz: whole or not at all.

    Args:
        volume: mean over the run, Angstrom^3; None is that of the atoms, if periodic.
    """
    found: dict[str, Any] = {
        "time_fs": time,
        "temperature_K": temperature,
        "timestep_fs": timestep,
        "masses_u": atoms.get_masses(),
        **arrays,
    }
    if atoms.pbc.all():
        found["volume_A3"] = atoms.get_volume() if volume is None else volume
    content = BytesIO()
    np.savez(content, **found)
    write_whole(path, content.getvalue())
