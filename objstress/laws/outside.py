"""What is said of points outside the strains that a law was fitted to."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from objstress.elasticity.strain import strain_size
from objstress.errors import InputError, OutsideDomainWarning

OUTSIDE = "strains outside"
"""What a kept state calls the strains outside those of the fit."""
CHUNK = 65536
"""Points that are looked at together."""


def check_action(outside: str) -> None:
    """Refuse what is no `outside_action`.

    Args:
        outside: to be "warn", "error" or "ignore".

    Raises:
        InputError: it is none of them.
    """
    if outside not in ("warn", "error", "ignore"):
        raise InputError(f"outside = {outside!r}: give 'warn', 'error' or 'ignore'")


def report_outside(
    law: Any,
    count: int,
    points: int,
    worst: str,
    quiet: bool = False,
    stacklevel: int = 2,
    what: str = "strains",
) -> None:
    """Warn of points outside the strains of the fit, or refuse them, as the law says.

    Args:
        law: a `MaterialLaw`; its `outside_action` is "warn", "error" or "ignore".
        count: points outside; nothing is said of none.
        points: all points.
        worst: the worst of them, in words.
        quiet: whether nothing is said but refused, as on all ranks but the first.
        stacklevel: as `warnings.warn` counts, from the caller.
        what: that are outside, "strains" or "fields".

    Raises:
        InputError: there are such points, and the law says "error".
    """
    if not count or law.outside_action == "ignore":
        return
    text = outside_text(count, points, worst, what)
    if law.outside_action == "error":
        raise InputError(text)
    if not quiet:
        warnings.warn(text, OutsideDomainWarning, stacklevel=stacklevel + 1)


def report_fields(law: Any, E0: Any, stacklevel: int = 2) -> None:
    """Warn of electric fields larger than those of the fit, or refuse them, as the law says.

    Args:
        law: a `MaterialLaw`; its `largest_field` decides.
        E0: material fields in V/nm, (n, 3) or (3,).
        stacklevel: see `report_outside`.

    Raises:
        InputError: there are such fields, and the law says "error".
    """
    if law.largest_field is None:
        return
    size = torch.as_tensor(E0, dtype=torch.float64).reshape(-1, 3).norm(dim=1)
    count = int((size > law.largest_field * (1 + 1e-9)).sum())
    if not count:
        return
    worst = f"|E0| = {float(size.max()):.3g} V/nm, fitted to {law.largest_field:.3g} V/nm"
    report_outside(law, count, len(size), worst, stacklevel=stacklevel + 1, what="fields")


def outside_text(count: int, points: int, worst: str, what: str = "strains") -> str:
    """How many of the points lie outside the strains of the fit, and the worst, in words."""
    return (
        f"{count} of {points} points lie outside the {what} that the law was fitted to; "
        f"worst: {worst}"
    )


def find_outside(law: Any, F: Any) -> tuple[int, int, float]:
    """Points outside the strains of the fit, and the one of them with the largest |E|.

    A chunk of points at a time, so that memory does not grow with their number.

    Args:
        law: a `MaterialLaw`.
        F: deformation gradients, (n, 3, 3).

    Returns:
        Their number, the number of the worst point and its |E|; (0, 0, 0.0) without any.
    """
    points = torch.as_tensor(F)
    count, worst, largest = 0, 0, 0.0
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK]
        outside = law.outside(part).nonzero()[:, 0].to(part.device)
        if not len(outside):
            continue
        size = strain_size(part[outside].cpu().numpy())
        count += len(outside)
        if size.max() > largest:
            worst, largest = start + int(outside[size.argmax()]), float(size.max())
    return count, worst, largest


class OutsideWatch:
    """Reports points outside where nobody says which state is kept: again when they are more.

    Args:
        law: the `MaterialLaw` whose `outside` and `outside_action` count.
    """

    def __init__(self, law: Any):
        self.law, self.most = law, 0

    def __call__(self, F: Any, stacklevel: int = 2) -> None:
        """Look at the points of a state.

        Args:
            F: deformation gradients, (n, 3, 3).
            stacklevel: see `report_outside`.

        Raises:
            InputError: a point is outside, and the law says "error".
        """
        if self.law.outside_action == "ignore":
            return
        count, point, size = find_outside(self.law, F)
        if count > self.most or (count and self.law.outside_action == "error"):
            self.most = count
            worst = f"point {point}, |E| = {size:.3g}"
            report_outside(self.law, count, len(F), worst, stacklevel=stacklevel + 1)
