"""Loading of law files: tensors with a description that names the kind of law."""

from __future__ import annotations

from pathlib import Path

from objstress.errors import InputError
from objstress.io.weights import read_tensors, rebuilding

# Importing a kind of law registers it for `law_from_dict`.
from objstress.laws import (  # noqa: F401
    analytic,
    corrected,
    electric,
    ensemble,
    fused,
    guarded,
    learned,
    polynomial,
)
from objstress.laws.base import MaterialLaw, law_from_dict
from objstress.laws.linear import read_linear_law
from objstress.laws.outside import check_action


def load_law(path: str | Path, outside: str = "warn") -> MaterialLaw:
    """Load the law in a file.

    Args:
        path: a file that `law.save` wrote, or a JSON file of constants, see `read_linear_law`.
        outside: what the law does at strains outside its trained domain: "warn", "error" or
            "ignore".

    Returns:
        A law of the class that is registered for the file's kind.

    Raises:
        InputError: the file is missing, damaged, not a law, or of a newer format.
    """
    check_action(outside)
    if Path(path).suffix == ".json":
        law: MaterialLaw = read_linear_law(path)
        law.outside_action = outside
        return law
    description, tensors = read_tensors(path, "law")
    if description.get("kind") == "potential":
        raise InputError(f"{path}: a potential, not a law; load it with load_potential")
    if description.get("kind") == "family":
        raise InputError(
            f"{path}: a family of laws; load it with load_family, and take one of its members by at"
        )
    with rebuilding(path, "law"):
        law = law_from_dict(description, tensors)
    law.outside_action = outside
    return law
