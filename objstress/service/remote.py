"""Calls of the worker's functions by name, so that the server imports nothing that they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """What a worker reads in a client's text.

    Attributes:
        crystal: hash of the primitive cell in its frame.
        elements: symbols.
        atoms: of the primitive cell.
        evaluations: of a calculator, about, that its elastic constants take.
    """

    crystal: str
    elements: tuple[str, ...]
    atoms: int
    evaluations: int


def in_worker(name: str, *arguments: Any) -> Any:
    """What the function of this name in `objstress.service.work` returns; run in a worker."""
    from objstress.service import work

    return getattr(work, name)(*arguments)
