"""Law files: tensors with a description that names the kind of law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from objstress.errors import InputError
from objstress.laws.analytic import DecoupledNeoHooke, NeoHooke, SaintVenantKirchhoff
from objstress.laws.base import MaterialLaw
from objstress.laws.compiled import PolynomialLaw
from objstress.laws.ensemble import EnsembleLaw
from objstress.laws.fused import FusedLaw
from objstress.laws.guarded import GuardedLaw
from objstress.laws.learned import LearnedLaw
from objstress.tensor_files import read_tensors, rebuilding, write_tensors

_KINDS: dict[str, Any] = {
    kind.kind: kind
    for kind in (
        SaintVenantKirchhoff,
        DecoupledNeoHooke,
        NeoHooke,
        LearnedLaw,
        EnsembleLaw,
        PolynomialLaw,
        FusedLaw,
        GuardedLaw,
    )
}


def save_law(law: MaterialLaw, path: str | Path) -> None:
    """Write a law to one file, whole or not at all."""
    write_tensors(path, *law.to_dict())


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


def law_from_dict(description: dict[str, Any], tensors: dict[str, Tensor]) -> MaterialLaw:
    """The law that `to_dict` described; a law around another one asks for that one here."""
    return _KINDS[description["kind"]].from_dict(description, tensors)
