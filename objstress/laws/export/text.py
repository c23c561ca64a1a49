"""What all exported files share: names, numbers, and the comment at their head."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from objstress import __version__
from objstress.io.weights import digest
from objstress.laws.polynomial import PolynomialLaw


def identifier(stem: str) -> str:
    """A name that C, C++ and Fortran accept, from the stem of a file's name.

    Accents are dropped, all but letters and digits becomes an underscore; at most 40 characters,
    as Fortran allows 63 and suffixes follow.

    Args:
        stem: any text.
    """
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^0-9a-zA-Z]+", "_", plain).strip("_")[:40]
    return name if name[:1].isalpha() else f"law_{name}".rstrip("_")


def number(value: float) -> str:
    """The shortest text that is read as the same float64."""
    return repr(float(value))


def wrapped(words: Iterable[str], width: int) -> Iterator[str]:
    """Words joined by blanks to lines of at most `width` characters."""
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line


def description(name: str, law: PolynomialLaw, rotation: np.ndarray | None) -> list[str]:
    """What a file says of its law, a sentence a line.

    Args:
        name: the law's name in the file.
        law: the polynomial.
        rotation: Q (3, 3), crystal frame to sample frame, or None.
    """
    facts: dict[str, Any] = law.metadata
    of = ""
    if law.structure is not None and facts.get("fit", {}).get("atoms", True):
        of = f" of {law.structure.composition.reduced_formula}"
    lines = [
        f"{name}: law{of}, point group {law.point_group.symbol}, polynomial of degree "
        f"{law.degree}; by objstress {__version__}",
        f"sha256 of its numbers, as in the file of the law: {digest(law.to_dict()[1])}",
        "Energy per reference volume, stresses and tangents in GPa.",
    ]
    if "ions" in facts:
        lines.append(f"The labels had {facts['ions']} ions.")
    error = facts.get("held_out", {}).get("both", {}).get("relative_rmse")
    if error is not None:
        lines.append(f"Relative stress error on held-out labels: {error:.2g}.")
    if error := facts.get("compiled", {}).get("worst_error"):
        lines.append(
            f"Largest relative stress error of compiling it from another law: {error:.2g}."
        )
    if rotation is not None:
        rows = "; ".join(" ".join(number(x) for x in row) for row in rotation)
        lines.append(f"The crystal is turned by Q = [{rows}], crystal frame to sample frame.")
    if law.domain is None and law.density is None:
        lines.append("The law does not know the strains of its fit.")
    else:
        lines.append("Strains outside those of the fit are extrapolated, silently.")
    return lines
