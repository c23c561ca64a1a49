"""From stresses and charges under fields to the electric part of a law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from objstress.errors import InputError, check_seed
from objstress.laws.base import MaterialLaw, as_deformation
from objstress.laws.electric import ElectricLaw
from objstress.laws.strain_energy import mandel_strain
from objstress.laws.under_field import as_field
from objstress.models.polynomial import ElectricPolynomial
from objstress.symmetry.point_group import PointGroup, SymmetryGroup
from objstress.symmetry.voigt import to_mandel


def fit_electric_law(
    law: MaterialLaw,
    F: Any,
    E0: Any,
    stress: Any,
    displacement: Any,
    point_group: SymmetryGroup | str,
    strain_degrees: Sequence[int] = (2, 1),
    *,
    background: float = 1.0,
    held_out: float = 0.2,
    seed: int = 0,
) -> ElectricLaw:
    r"""Fit the electric part of a law to stresses and electric displacements under fields.

    .. math:: \min_h \sum_n \frac{|P(F_n, E_{0n}) - P_n|^2}{\langle |P_n - P_W|^2 \rangle}
        + \frac{|D_0(F_n, E_{0n}) - D_n|^2}{\langle |D_n|^2 \rangle}

    by linear least squares; W and the background stay as they are. P_W is the stress without h.

    Args:
        law: W, fitted to labels without a field.
        F: deformation gradients, (n, 3, 3).
        E0: material fields, V/nm, (n, 3).
        stress: P in GPa, (n, 3, 3).
        displacement: D0 in C/m^2, (n, 3), counted from the crystal's own polarization.
        point_group: of the crystal, in the frame of the labels.
        strain_degrees: see `ElectricPolynomial`.
        background: see `ElectricLaw`; 1 for labels that hold the vacuum's part.
        held_out: fraction of the labels that the fit does not see.
        seed: of the choice of these.

    Returns:
        The law; `metadata["field"]` holds the relative root mean squares that are left of P - P_W
        and of D0, of fitted and held-out labels.

    Raises:
        InputError: shapes that do not go together, labels that are not finite, too few labels for
            the constants (both numbers are named), no field in any label.
    """
    check_seed(seed)
    if not 0 <= held_out < 1:
        raise InputError(f"held_out = {held_out}: give a number in [0, 1)")
    f = as_deformation(F).reshape(-1, 3, 3)
    n = len(f)
    field = as_field(E0, f)
    p, d = (np.asarray(x, dtype=np.float64) for x in (stress, displacement))
    for name, values, shape in (("stress", p, (n, 3, 3)), ("displacement", d, (n, 3))):
        if values.shape != shape or not np.isfinite(values).all():
            raise InputError(
                f"the {name} of {n} labels must be finite, {shape}; its shape is {values.shape}"
            )
    if not bool(field.any()):
        raise InputError("no label has a field: fit the law of strain to them")
    group = PointGroup(point_group) if isinstance(point_group, str) else point_group
    polynomial = ElectricPolynomial(group, strain_degrees)
    fitted = np.ones(n, dtype=bool)
    fitted[np.random.default_rng(seed).permutation(n)[: round(held_out * n)]] = False
    if 9 * int(fitted.sum()) < len(polynomial.degrees):
        raise InputError(
            f"{int(fitted.sum())} labels for {len(polynomial.degrees)} constants: give more, or "
            "lower strain_degrees"
        )
    without = ElectricLaw(law, polynomial, background)
    _, p0, d0 = without.electric_response(f, field, 1)
    left_p, left_d = p - p0.numpy(), d - d0.numpy()
    # The second Piola-Kirchhoff stress is linear in the coefficients.
    second = np.linalg.solve(f.numpy(), left_p)
    second = to_mandel((second + second.transpose(0, 2, 1)) / 2)
    design = polynomial.design(torch.cat([mandel_strain(f), field], dim=1))
    size_p, size_d = (max(float(np.sqrt((x**2).mean())), 1e-300) for x in (second, d))
    rows = np.concatenate(
        [design[fitted, :6] / size_p, -design[fitted, 6:] / size_d], axis=1
    ).reshape(-1, design.shape[2])
    target = np.concatenate([second[fitted] / size_p, left_d[fitted] / size_d], axis=1).ravel()
    scale = np.linalg.norm(rows, axis=0).clip(min=1e-300)
    solution, _, rank, _ = np.linalg.lstsq(rows / scale, target, rcond=1e-12)
    if rank < len(scale):
        raise InputError(
            f"the labels tell {rank} of {len(scale)} constants: give fields and strains in more "
            "directions, or lower strain_degrees"
        )
    polynomial.set_coefficients(solution / scale)
    largest = float(field.norm(dim=1).max())
    made = ElectricLaw(law, polynomial, background, largest)
    _, p1, d1 = made.electric_response(f, field, 1)
    parts = {"fitted": fitted, "held_out": ~fitted}
    made.facts = {
        "labels": n,
        **{
            name: {
                "stress": _left(p - p1.numpy(), left_p, which),
                "displacement": _left(d - d1.numpy(), d, which),
            }
            for name, which in parts.items()
            if which.any()
        },
    }
    return made


def _left(gap: np.ndarray, whole: np.ndarray, which: np.ndarray) -> float:
    size = float(np.sqrt((whole[which] ** 2).sum()))
    return float(np.sqrt((gap[which] ** 2).sum())) / size if size else 0.0
