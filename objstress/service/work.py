"""What a worker process does: parse, compute, write down. Nothing here runs in the server."""

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
from objstress.properties.sources import FILES, PropertyModel, find_model
from objstress.service.parsing import parse_structure
from objstress.symmetry.crystal import conventional_axes

Outcome = tuple[Literal["answer", "refused", "internal"], str]
_loaded: dict[str, PropertyModel] = {}


def begin(memory: int) -> None:
    """One thread, behind the server's own, no core files, and at most `memory` bytes of addresses
    beyond those in use."""
    warnings.simplefilter("ignore")
    if hasattr(os, "nice"):
        os.nice(5)  # or known answers and refusals would wait for those that are computed
    torch.set_num_threads(1)
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def describe(models: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """({name, what, elements} of each model, what is wrong with one of them)."""
    rows = []
    for given in models:
        try:
            model = find_model(given)
        except (InputError, OSError) as error:
            return [], str(error)
        elements = None if model.elements is None else list(model.elements)
        rows.append({"name": model.name, "what": model.what, "elements": elements, "given": given})
    return rows, ""


def compute(text: str, format: str, model: str, ions: Any, max_atoms: int) -> Outcome:
    """The answer as JSON, or why there is none.

    Args:
        model: a name or a file that the operator has chosen, never a client's text.
    """
    try:
        structure = parse_structure(text, format, max_atoms)
        found = crystal_properties(structure, _model(model), ions=ions)
        answer = found.to_dict() | drawing(found.structure)
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


def _model(given: str) -> PropertyModel:
    """Files are read once; calculators are made anew, so that no request sees another one's."""
    if given in _loaded:
        return _loaded[given]
    model = find_model(given)
    if given.endswith(FILES):
        _loaded[given] = model
    return model


def _finite(value: Any) -> Any:
    """Numbers that are not finite as None."""
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
