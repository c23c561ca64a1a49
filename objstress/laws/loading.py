"""Loading of law files: tensors with a description that names the kind of law."""

from __future__ import annotations

from pathlib import Path

from objstress.errors import InputError
from objstress.io.weights import read_tensors, rebuilding

# Importing a kind of law enters it in the register that `law_from_dict` asks.
from objstress.laws import analytic, ensemble, fused, guarded, learned, polynomial  # noqa: F401
from objstress.laws.base import MaterialLaw, law_from_dict


def load_law(path: str | Path, outside: str = "warn") -> MaterialLaw:
    """The law in a file.

    Args:
        path: written by `law.save`.
        outside: "warn", "error" or "ignore" at strains outside the trained domain.

    Raises:
        InputError: no such file, damaged, not a law, or of a newer format.
    """
    if outside not in ("warn", "error", "ignore"):
        raise InputError(f"outside = {outside!r}: give 'warn', 'error' or 'ignore'")
    description, tensors = read_tensors(path, "law")
    if description.get("kind") == "potential":
        raise InputError(f"{path}: a potential, not a law; load it with load_potential")
    with rebuilding(path, "law"):
        law = law_from_dict(description, tensors)
    law.outside_action = outside
    return law
