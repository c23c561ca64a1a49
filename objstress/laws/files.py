"""Law files: safetensors with a JSON description in its header; loading never runs code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from objstress.errors import InputError
from objstress.files import write_whole
from objstress.laws.analytic import DecoupledNeoHooke, NeoHooke, SaintVenantKirchhoff
from objstress.laws.base import MaterialLaw
from objstress.laws.compiled import PolynomialLaw
from objstress.laws.ensemble import EnsembleLaw
from objstress.laws.fused import FusedLaw
from objstress.laws.guarded import GuardedLaw
from objstress.laws.learned import LearnedLaw

FORMAT = 1
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
    description, tensors = law.to_dict()
    tensors = {name: value.detach().contiguous() for name, value in sorted(tensors.items())}
    content = {"format": FORMAT, "sha256": _digest(tensors)} | description
    header = {"objstress": json.dumps(content)}
    write_whole(path, save(tensors, metadata=header))


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


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
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such law file")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("objstress")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged, or not a law file ({error})") from None
    if header is None:
        raise InputError(f"{path}: a safetensors file, but no objstress law")
    try:
        description = json.loads(header)
        if description["format"] > FORMAT:
            raise InputError(
                f"{path}: written by a newer objstress (format {description['format']}, "
                f"this one reads up to {FORMAT}); update objstress"
            )
        if description["sha256"] != _digest(tensors):
            raise InputError(f"{path}: damaged law file (its numbers do not match their checksum)")
        law = law_from_dict(description, tensors)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: damaged law file ({type(error).__name__}: {error})") from None
    law.outside_action = outside
    return law


def law_from_dict(description: dict[str, Any], tensors: dict[str, Tensor]) -> MaterialLaw:
    """The law that `to_dict` described; a law around another one asks for that one here."""
    return _KINDS[description["kind"]].from_dict(description, tensors)
