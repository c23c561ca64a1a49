"""What is prescribed of a cell's mean deformation, and what of its mean stress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import polar

from objstress.errors import InputError
from objstress.fem.conditions.displacements import checked_mean


@dataclass(frozen=True)
class MeanControl:
    """Mean F and P at the end of the load path, component by component.

    Attributes:
        rotation: of the answer, (3, 3).
        F: its prescribed components, row by row (9,); 1 and 0, as at the start, where it is free.
        P: mean stress where F is free, GPa, (9,); 0 elsewhere.
        free: numbers of the free components of F among these nine.
    """

    rotation: np.ndarray
    F: np.ndarray
    P: np.ndarray
    free: np.ndarray


def mean_control(F_mean: Any, P_mean: Any) -> MeanControl:
    """Sort what is given of F and P.

    Where all of F = R U is given the cell feels U alone, and R turns the answer.

    Args:
        F_mean: (3, 3); None or NaN where P is given.
        P_mean: (3, 3), GPa; None or NaN where F is given. None if all of F is.

    Raises:
        InputError: arrays of another shape, a component of which both or neither is given, F_iJ
            and F_Ji both free, values that are not finite, or det F <= 0.
    """
    F, P = _components(F_mean), _components(np.full((3, 3), None) if P_mean is None else P_mean)
    whole = "the mean deformation gradient must be a finite 3 x 3, det F > 0"
    if F is None or P is None:
        raise InputError(f"{whole}, and so must P_mean be 3 x 3, with None where F_mean has none")
    free = np.isnan(F)
    for i, j in np.ndindex(3, 3):
        name = f"{i + 1}{j + 1}"
        if not free[i, j] and not np.isnan(P[i, j]):
            raise InputError(f"F{name} and P{name} are both given: leave one of them None")
        if free[i, j] and np.isnan(P[i, j]):
            raise InputError(f"neither F{name} nor P{name} is given; without P_mean, {whole}")
        if i < j and free[i, j] and free[j, i]:
            raise InputError(
                f"F{name} and F{j + 1}{i + 1} are both free, so the cell may turn: prescribe one "
                f"of them, as a rule F{name} = 0"
            )
    if not free.any():
        rotation, stretch = polar(checked_mean(F))
    elif np.isfinite(F[~free]).all() and np.isfinite(P[free]).all():
        rotation, stretch = np.eye(3), np.where(free, np.eye(3), F)
    else:
        raise InputError("F_mean and P_mean must be finite where they are given")
    return MeanControl(
        rotation=rotation,
        F=stretch.ravel(),
        P=np.where(free, P, 0.0).ravel(),
        free=np.flatnonzero(free),
    )


def _components(values: Any) -> np.ndarray | None:
    """As float64 (3, 3), None as NaN; None if that is not what they are."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == (3, 3) else None
