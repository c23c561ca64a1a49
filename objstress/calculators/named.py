"""What the table of calculators says of each, and the elements that one may be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ase.data import chemical_symbols

from objstress.errors import InputError

MPTRJ = tuple(chemical_symbols[z] for z in (*range(1, 84), *range(89, 95)))
"""The 89 elements of the Materials Project's relaxation trajectories."""


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


def check_known(symbols: Iterable[str], elements: tuple[str, ...], name: str) -> None:
    """Refuse elements that a potential has not seen.

    Args:
        symbols: of the atoms.
        elements: that it knows.
        name: of the potential.

    Raises:
        InputError: one of the symbols is not among the elements.
    """
    unknown = sorted(set(symbols) - set(elements))
    if unknown:
        count = f"{len(elements)} elements" if len(elements) > 12 else ", ".join(elements)
        raise InputError(f"no model for element {', '.join(unknown)}: {name} knows {count}")
