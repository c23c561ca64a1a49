"""The functions of a worker process; none of them runs in the server."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
import warnings
from typing import Any, Literal

import numpy as np
import torch
from pymatgen.core import Structure

from objstress.errors import InputError
from objstress.properties.crystal import crystal_properties
from objstress.properties.sources.base import Source
from objstress.properties.sources.find import FILES, find_model
from objstress.service.parsing import parse_structure
from objstress.symmetry.crystal import conventional_axes

Outcome = tuple[Literal["answer", "refused", "internal"], str]
_loaded: dict[str, Source] = {}


def begin(memory: int) -> None:
    """Limit a worker: one thread, low priority, no core files, `memory` more bytes."""
    warnings.simplefilter("ignore")
    if hasattr(os, "nice"):
        os.nice(5)  # lest cached answers and refusals wait for computed ones
    torch.set_num_threads(1)
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def describe(models: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """Load the models: ({name, what, elements} of each, the error of the first that fails)."""
    rows = []
    for given in models:
        try:
            source = find_model(given)
        except (InputError, OSError) as error:
            return [], str(error)
        elements = None if source.elements is None else list(source.elements)
        rows.append(
            {"name": source.name, "what": source.what, "elements": elements, "given": given}
        )
    return rows, ""


def compute(text: str, format: str, model: str, ions: Any, max_atoms: int) -> Outcome:
    """Compute the answer as JSON, or the reason why there is none.

    Args:
        text, format, max_atoms: see `parse_structure`.
        model: a name or a file that the operator has chosen, never a client's text.
        ions: see `crystal_properties`.
    """
    try:
        structure = parse_structure(text, format, max_atoms)
        properties = crystal_properties(structure, _source(model), ions=ions)
        answer = properties.to_dict() | drawing(properties.structure)
        return "answer", json.dumps(_finite(answer), allow_nan=False)
    except InputError as error:
        return "refused", " ".join(str(error).split())[:500]
    except MemoryError:
        return "refused", "the structure needs more memory than a worker has"
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        # Numbers that no crystal has: the operator sees where.
        traceback.print_exc()
        return "refused", f"the structure cannot be computed ({type(error).__name__}: {error})"[
            :500
        ]
    except Exception as error:
        traceback.print_exc()
        return "internal", type(error).__name__


def drawing(structure: Structure) -> dict[str, Any]:
    """The atoms of the primitive cell and the conventional cell around them, Angstrom."""
    return {
        "elements": [site.specie.symbol for site in structure],
        "positions_A": structure.cart_coords.tolist(),
        "conventional_cell_A": conventional_axes(structure).tolist(),
    }


def _source(model: str) -> Source:
    """Files are read once; each request makes a new calculator, so that none sees another's."""
    if model in _loaded:
        return _loaded[model]
    source = find_model(model)
    if model.endswith(FILES):
        _loaded[model] = source
    return source


def _finite(value: Any) -> Any:
    """The value with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
