"""Crystals with known property tensors, read from JSON."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from objstress.errors import InputError
from objstress.symmetry.property_irreps import EXCHANGES
from objstress.symmetry.voigt import VOIGT_INDEX, voigt_to_tensor


def read_crystal_tensors(
    path: str | Path,
    kind: str = "elastic",
    key: str = "elastic_tensor_voigt",
    ions: str = "relaxed",
) -> tuple[list[Structure], list[np.ndarray]]:
    """Read structures and tensors from a JSON list of rows.

    Args:
        path: the file; `structure` of each row is a pymatgen dictionary.
        kind: see `tensor_irreps`; elastic tensors are 6 x 6 Voigt (GPa) or (3, 3, 3, 3),
            piezoelectric ones 3 x 6 Voigt (C/m^2) or (3, 3, 3), dielectric ones (3, 3), Born
            charges (atoms, 3, 3) (e).
        key: of the tensor in a row.
        ions: "relaxed" or "clamped"; rows that name their ions must have these.

    Returns:
        The structures, and their tensors (3, ..., 3).

    Raises:
        InputError: no such file, no rows, a row that lacks the key (the nearest one is named), has
            other ions or a tensor of another shape.
    """
    path = Path(path)
    if kind not in EXCHANGES:
        raise InputError(f"unknown kind of tensor {kind!r}: give one of {', '.join(EXCHANGES)}")
    try:
        rows = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of tensors") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise InputError(f"{path}: give a list of rows, each with structure and {key}")
    structures, tensors = [], []
    for number, row in enumerate(rows):
        for name in ("structure", key):
            if name not in row:
                near = difflib.get_close_matches(name, row, n=1, cutoff=0.3)
                hint = f"; the nearest key is {near[0]!r}" if near else ""
                raise InputError(f"{path}: row {number} has no {name!r}{hint}")
        if row.get("ions", ions) != ions:
            raise InputError(f"{path}: row {number} is of {row['ions']} ions, not {ions}")
        try:
            structures.append(Structure.from_dict(row["structure"]))
            tensors.append(_tensor(np.array(row[key], dtype=np.float64), kind, structures[-1]))
        except Exception as error:
            raise InputError(f"{path}: row {number} cannot be used ({error})") from None
    return structures, tensors


def _tensor(given: np.ndarray, kind: str, structure: Structure) -> np.ndarray:
    if not np.isfinite(given).all():
        raise ValueError("its tensor is not finite")
    if kind == "elastic" and given.shape == (6, 6):
        return voigt_to_tensor((given + given.T) / 2)
    if kind == "piezoelectric" and given.shape == (3, 6):
        return given[:, VOIGT_INDEX]
    wanted = (3,) * len(EXCHANGES[kind][0])
    if kind == "born charges":
        wanted = (len(structure), *wanted)
    if given.shape != wanted:
        raise ValueError(f"a tensor of shape {given.shape} where {wanted} was expected")
    return given
