"""How a condition grows and falls: its factor as a function of the load factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from objstress.errors import InputError


class Amplitude:
    r"""A factor given by a table, linear between its points, the last value held.

    .. math:: a(\lambda) = a_k + (a_{k+1} - a_k)
        \frac{\lambda - \lambda_k}{\lambda_{k+1} - \lambda_k}

    Steps end at the points of the table, where the curve has its corners.

    Args:
        table: pairs (load factor, factor), load factors rising from 0 or more; the first value
            holds before the first point.
        cycles: how often the table is run through, one after the other; the factors at its ends
            must agree where it repeats.

    Raises:
        InputError: numbers that are not finite, load factors that do not rise, ends that do not
            meet.
    """

    def __init__(self, table: Sequence[Sequence[float]], cycles: int = 1):
        points = np.asarray(table, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise InputError("amplitude: give pairs of finite numbers, (load factor, factor)")
        times, values = points.T
        if times[0] < 0:
            raise InputError(f"amplitude: the first load factor is {times[0]:g}, give 0 or more")
        for k, (before, after) in enumerate(pairwise(times.tolist())):
            if after <= before:
                raise InputError(
                    f"amplitude: load factors must rise, but point {k + 2} is at {after:g} after "
                    f"{before:g}"
                )
        if cycles < 1:
            raise InputError(f"amplitude: {cycles} cycles, give at least 1")
        if cycles > 1:
            if len(times) < 2 or values[0] != values[-1]:
                raise InputError(
                    "amplitude: a table that repeats needs several points and the same factor at "
                    "both ends"
                )
            period = times[-1] - times[0]
            starts = times[0] + period * np.arange(cycles)
            times = np.append(
                (starts[:, None] + times[:-1] - times[0]).ravel(), starts[-1] + period
            )
            values = np.append(np.tile(values[:-1], cycles), values[-1])
        self.times, self.values = times, values

    def __call__(self, load: float) -> float:
        """The factor at a load factor."""
        return float(np.interp(load, self.times, self.values))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Amplitude)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        return hash((*self.times.tolist(), *self.values.tolist()))


type History = Amplitude | Callable[[float], float] | Sequence[Sequence[float]] | None
"""a(lambda): an `Amplitude`, its table, any function, or None for a = lambda."""


def as_amplitude(history: Any) -> Callable[[float], float] | None:
    """What a condition was given, as a function; None stays None.

    Raises:
        InputError: neither a function nor a table.
    """
    if history is None or callable(history):
        return history
    return Amplitude(history)


def corners(amplitudes: Sequence[Any]) -> list[float]:
    """The load factors at which some of these functions have their corners."""
    return sorted({t for a in amplitudes if isinstance(a, Amplitude) for t in a.times.tolist()})
