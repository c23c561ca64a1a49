"""Recordings of dynamics in .npz files: dipole, polarizability and velocities against time."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from objstress.errors import InputError
from objstress.io.files import write_whole

if TYPE_CHECKING:
    from ase import Atoms

ARRAYS = ("dipole", "polarizability", "velocities")
NUMBERS = (*ARRAYS, "time_fs", "temperature_K", "masses_u", "volume_A3", "timestep_fs")


@dataclass(frozen=True)
class Recording:
    """What a run of dynamics recorded at equal steps.

    Attributes:
        time_step: fs between two records.
        temperature: K.
        arrays: one or more of "dipole" (replicas, n, 3) or (n, 3) e Angstrom, "polarizability"
            (..., n, 3, 3) Angstrom^3, "velocities" (..., n, atoms, 3) Angstrom/fs.
        masses: (atoms,) u, for velocities.
        volume: Angstrom^3, of a periodic cell.
        verlet_step: fs, the integrator's own step.
    """

    time_step: float
    temperature: float
    arrays: dict[str, np.ndarray]
    masses: np.ndarray | None = None
    volume: float | None = None
    verlet_step: float | None = None


def read_recording(path: str | Path) -> Recording:
    """The recording in an .npz file that a run of dynamics wrote.

    Args:
        path: file with the arrays time_fs (n,), temperature_K, and one or more of dipole,
            polarizability and velocities (`Recording.arrays`); masses_u (atoms,), volume_A3 and
            timestep_fs (the integrator's own step) are optional.

    Raises:
        InputError: no such file, a damaged one, a missing array (those present are named), times
            that are not equal steps, or values that are not real numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such record of dynamics")
    try:
        with np.load(path, allow_pickle=False) as file:
            values: dict[str, Any] = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from None
    for name in (name for name in NUMBERS if name in values):
        array = np.asarray(values[name])
        try:
            values[name] = array.astype(float, casting="same_kind", copy=False)
        except TypeError:
            raise InputError(f"{path}: {name} of {array.dtype}: give real numbers") from None
    present = ", ".join(values) or "nothing"
    for name in ("time_fs", "temperature_K"):
        if name not in values:
            raise InputError(f"{path}: no {name} in it; it has {present}")
    arrays = {name: values[name] for name in ARRAYS if name in values}
    if not arrays:
        raise InputError(f"{path}: none of {', '.join(ARRAYS)} in it; it has {present}")
    return Recording(
        time_step=_time_step(path, values["time_fs"], arrays),
        temperature=_number(path, values, "temperature_K") or 0.0,
        arrays=arrays,
        masses=values.get("masses_u"),
        volume=_number(path, values, "volume_A3"),
        verlet_step=_number(path, values, "timestep_fs"),
    )


def _time_step(path: Path, times: np.ndarray, arrays: dict[str, np.ndarray]) -> float:
    if times.ndim != 1 or len(times) < 4 or not np.isfinite(times).all():
        raise InputError(f"{path}: time_fs of shape {times.shape}: give at least four finite times")
    step = float(times[-1] - times[0]) / (len(times) - 1)
    if not step > 0 or np.abs(np.diff(times) - step).max() > 1e-3 * step:
        raise InputError(f"{path}: time_fs does not have equal steps")
    axes = {"dipole": -2, "polarizability": -3, "velocities": -3}
    for name, array in arrays.items():
        if array.ndim < -axes[name] or array.shape[axes[name]] != len(times):
            raise InputError(f"{path}: {name} of shape {array.shape} for {len(times)} times")
    return step


def _number(path: Path, values: dict[str, Any], name: str) -> float | None:
    if name not in values:
        return None
    value = np.asarray(values[name])
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
    """Write a recording, with masses and volume, to an .npz file, whole or not at all.

    Args:
        path: the file; `read_recording` reads it.
        atoms: the system, for its masses.
        time: (n,) fs.
        temperature: K.
        timestep: fs, the integrator's own step.
        arrays: see `Recording.arrays`.
        volume: Angstrom^3, mean over the run; None takes that of the atoms, if they are periodic.
    """
    content: dict[str, Any] = {
        "time_fs": time,
        "temperature_K": temperature,
        "timestep_fs": timestep,
        "masses_u": atoms.get_masses(),
        **arrays,
    }
    if atoms.pbc.all():
        content["volume_A3"] = atoms.get_volume() if volume is None else volume
    buffer = BytesIO()
    np.savez(buffer, **content)
    write_whole(path, buffer.getvalue())
