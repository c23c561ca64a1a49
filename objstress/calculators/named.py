"""What the table of calculators says of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedCalculator:
    """A calculator that users ask for by name.

    Attributes:
        make: the constructor.
        what: one line on what it is and what it needs.
        elements: symbols it is right for; None if only the calculator itself can tell.
    """

    make: Callable[..., Any]
    what: str
    elements: tuple[str, ...] | None = None
