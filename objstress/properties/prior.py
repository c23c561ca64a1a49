"""Elastic tensors of a training set's crystals under a calculator, each computed once."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure
from tqdm import tqdm

from objstress.errors import InputError, reason
from objstress.io.files import check_writable, write_json
from objstress.io.run_folder import check_same, fingerprint
from objstress.properties.crystal import crystal_properties
from objstress.properties.sources.base import Ions
from objstress.properties.sources.calculator import CalculatorSource
from objstress.symmetry.voigt import voigt_to_tensor


def prior_tensors(
    structures: Sequence[Structure],
    model: str,
    cache: str | Path,
    ions: Ions = "relaxed",
    progress: bool = True,
) -> list[np.ndarray | None]:
    """Elastic tensors of crystals under a calculator, kept in a file as they come.

    The crystals relax under the calculator, see `crystal_properties`. Repeat an interrupted call
    to resume it; crystals that are in the file already, of whatever training set, are not
    computed again.

    Args:
        structures: ordered crystals.
        model: name of a calculator, such as "sevennet".
        cache: JSON file of the tensors.
        ions: "relaxed" or "clamped".
        progress: show a bar on standard error.

    Returns:
        (3, 3, 3, 3) each, GPa, in the structure's own frame, not always positive definite; None of
        a crystal that the calculator cannot do, of which a warning tells the reason.

    Raises:
        InputError: an unknown calculator, a file of another model or of other ions, or one that
            cannot be read or written.
    """
    cache = Path(cache)
    check_writable(cache)
    settings = {"model": model, "ions": ions}
    known = _read(cache, settings)
    source: CalculatorSource | None = None
    tensors: list[np.ndarray | None] = []
    for structure in tqdm(structures, desc=f"tensors by {model}", disable=not progress):
        numbers = np.array([site.specie.Z for site in structure])
        key = fingerprint([structure.lattice.matrix, structure.frac_coords, numbers])
        if key not in known:
            source = source or CalculatorSource.named(model)
            known[key] = _row(structure, source, ions)
            write_json(cache, settings | {"crystals": known})
        if error := known[key].get("error"):
            warnings.warn(f"{known[key]['formula']}: no tensor by {model}: {error}", stacklevel=2)
            tensors.append(None)
        else:
            tensors.append(voigt_to_tensor(np.array(known[key]["stiffness_GPa"])))
    return tensors


def _read(cache: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if not cache.exists():
        return {}
    try:
        content = json.loads(cache.read_text())
        crystals = content.pop("crystals")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{cache}: not a file of a calculator's tensors; delete it") from None
    check_same(cache, content, settings, "delete it, or name another file")
    return crystals


def _row(structure: Structure, source: CalculatorSource, ions: Ions) -> dict[str, Any]:
    started = time.perf_counter()
    row: dict[str, Any] = {"formula": structure.composition.reduced_formula}
    try:
        found = crystal_properties(structure, source, ions=ions)
        row["stiffness_GPa"] = found.stiffness.tolist()
    except Exception as error:  # one crystal must not end the others
        row["error"] = reason(error)
    return row | {"seconds": time.perf_counter() - started}
