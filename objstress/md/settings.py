"""Checks of the settings of molecular dynamics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase import Atoms

from objstress.errors import InputError, check_seed

ENSEMBLES = ("nve", "nvt", "npt")
RECORDS = ("dipole", "polarizability", "velocities")


def highest(limit: float | None, temperature: float) -> float:
    """Temperature, K, beyond which a run has blown up, see `run_md`."""
    if limit is None:
        return max(10 * temperature, 5000.0)
    if not limit > 0:  # NaN, too
        raise InputError(f"limit = {limit} K: give a positive number, or None")
    return limit


def check_numbers(s: dict[str, Any]) -> None:
    """Refuse a seed, times, numbers of steps or records that are out of range."""
    check_seed(s["seed"])
    for name in ("time", "timestep", "thermostat_time", "barostat_time"):
        if name in s and not (math.isfinite(s[name]) and s[name] > 0):
            raise InputError(f"{name} = {s[name]}: give a positive number")
    for name in ("every", "record_every"):
        if name in s and not (isinstance(s[name], int | np.integer) and s[name] >= 1):
            raise InputError(f"{name} = {s[name]}: give a whole number of steps, at least 1")
    for name in s["record"]:
        if name not in RECORDS:
            raise InputError(f"record {name!r}: choose from {', '.join(RECORDS)}")


def check_settings(atoms: Atoms, time: float, s: dict[str, Any]) -> None:
    """Refuse settings of `run_md` that are out of range or do not fit the atoms."""
    check_numbers({"time": time, **s})
    if s["ensemble"] not in ENSEMBLES:
        raise InputError(f"ensemble {s['ensemble']!r}: choose one of {', '.join(ENSEMBLES)}")
    lowest = 0.0 if s["ensemble"] == "nve" else 1e-3
    if not (math.isfinite(s["temperature"]) and s["temperature"] >= lowest):
        raise InputError(f"temperature = {s['temperature']} K: give a positive number")
    if not math.isfinite(s["pressure"]):
        raise InputError(f"pressure = {s['pressure']} GPa: give a number")
    if s["cell"] not in ("shape", "volume"):
        raise InputError(f"cell = {s['cell']!r}: give 'shape' or 'volume'")
    if s["ensemble"] == "npt" and not (atoms.pbc.all() and len(atoms) > 1):
        raise InputError("npt needs two atoms or more, periodic along all axes")
    if s["ensemble"] == "npt" and atoms.constraints:
        raise InputError("npt cannot hold atoms fixed")
