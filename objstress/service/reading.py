"""What a worker tells the server of a client's crystal."""

from __future__ import annotations

from dataclasses import dataclass


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
