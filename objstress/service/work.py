"""The functions of a worker process; none of them runs in the server."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pymatgen.core import Structure

from objstress.calculators.universal import UNIVERSAL, universal_potential
from objstress.errors import InputError
from objstress.properties.crystal import crystal_properties
from objstress.properties.sources.base import Source
from objstress.properties.sources.calculator import CalculatorSource, stiffness_evaluations
from objstress.properties.sources.find import FILES, find_model
from objstress.service.parsing import parse_structure
from objstress.service.reading import Reading
from objstress.symmetry.crystal import conventional_axes
from objstress.symmetry.reading import read_primitive_cell

Outcome = tuple[Literal["answer", "refused", "internal"], Any]
SAME = 1e-6
"""Angstrom, and fractions of a cell, within which two crystals are one."""
NO_MEMORY = "the structure needs more memory than a worker has"
_loaded: dict[str, tuple[Source, str]] = {}
"""{name or file: the model, what changes when its answers may}."""


def begin(memory: int, models: tuple[str, ...] = ()) -> None:
    """Load the models and limit the worker: one thread, low priority, `memory` more bytes.

    A model that cannot be loaded is an error of `describe`, not of the start.
    """
    warnings.simplefilter("ignore")
    if hasattr(os, "nice"):
        os.nice(5)  # lest cached answers and refusals wait for computed ones
    torch.set_num_threads(1)
    for model in models:
        try:
            _load(model)
        except (InputError, OSError):
            break
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def default_models() -> tuple[tuple[str, ...], str]:
    """The universal potential for a service without models, or why there is none."""
    try:
        return (universal_potential(),), ""
    except InputError as error:
        return (), str(error)


def describe(models: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """What is to be known of each loaded model; the error of the first that cannot be loaded."""
    rows = []
    for given in models:
        try:
            source, changes = _load(given)
            row = {
                "name": source.name,
                "what": source.what,
                "elements": None if source.elements is None else list(source.elements),
                "version": changes,
                "universal": given in UNIVERSAL,
                "given": given,
                "seconds": _seconds(source),
            }
        except (InputError, OSError) as error:
            return [], str(error)
        if known := UNIVERSAL.get(given):
            row |= {k: getattr(known, k) for k in ("functional", "citation", "faults", "licence")}
        rows.append(row)
    return rows, ""


def read(text: str, format: str, max_atoms: int) -> Outcome:
    """Read a client's text: a `Reading`, or the reason why it is no crystal.

    Args:
        text, format, max_atoms: see `parse_structure`.
    """
    return _outcome(lambda: _reading(parse_structure(text, format, max_atoms)))


def compute(text: str, format: str, model: str, ions: Any, max_atoms: int) -> Outcome:
    """Compute the answer as JSON, or the reason why there is none.

    Args:
        text, format, max_atoms: see `parse_structure`.
        model: a name or a file that the operator has chosen, never a client's text.
        ions: see `crystal_properties`.
    """

    def answer() -> str:
        source, changes = _load(model)
        structure = parse_structure(text, format, max_atoms)
        properties = crystal_properties(structure, source, ions=ions)
        content = properties.to_dict() | {"model_version": changes}
        content |= drawing(properties.structure)
        return json.dumps(_finite(content), allow_nan=False)

    return _outcome(answer)


def drawing(structure: Structure) -> dict[str, Any]:
    """The atoms of the primitive cell and the conventional cell around them, Angstrom."""
    return {
        "elements": [site.specie.symbol for site in structure],
        "positions_A": structure.cart_coords.tolist(),
        "conventional_cell_A": conventional_axes(structure).tolist(),
    }


def _outcome(work: Callable[[], Any]) -> Outcome:
    try:
        return "answer", work()
    except InputError as error:
        return "refused", " ".join(str(error).split())[:500]
    except MemoryError:
        return "refused", NO_MEMORY
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        # Numbers that no crystal has: the operator sees where.
        traceback.print_exc()
        return "refused", f"the structure cannot be computed ({type(error).__name__}: {error})"[
            :500
        ]
    except Exception as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):  # PyTorch's allocators
            return "refused", NO_MEMORY
        traceback.print_exc()
        return "internal", type(error).__name__


def _reading(structure: Structure) -> Reading:
    cell = read_primitive_cell(structure)
    lattice = np.round(cell.lattice.matrix / SAME).astype(int).tolist()
    whole = round(1 / SAME)
    places = np.round(cell.frac_coords * whole).astype(int) % whole
    sites = sorted(
        [site.specie.symbol, *place] for site, place in zip(cell, places.tolist(), strict=True)
    )
    return Reading(
        crystal=hashlib.sha256(json.dumps([lattice, sites]).encode()).hexdigest(),
        elements=tuple(sorted({site.specie.symbol for site in cell})),
        atoms=len(cell),
        evaluations=stiffness_evaluations(cell),
    )


def _load(model: str) -> tuple[Source, str]:
    """The model, loaded once in each worker, and its version."""
    if model not in _loaded:
        source = find_model(model)
        _loaded[model] = source, _version(model, source)
    return _loaded[model]


def _seconds(source: Source) -> tuple[float, float] | None:
    return source.evaluation_seconds() if isinstance(source, CalculatorSource) else None


def _version(model: str, source: Source) -> str:
    """What changes when a model's answers may: a program's version, or the hash of a file."""
    if model.endswith(FILES):
        return _hash(Path(model))
    calculator = getattr(source, "calculator", source)
    if hasattr(calculator, "describe"):
        return calculator.describe()
    package = type(calculator).__module__.partition(".")[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # a user's own module
        return _hash(Path(inspect.getfile(type(calculator))))


def _hash(path: Path) -> str:
    return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _finite(value: Any) -> Any:
    """The value with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
