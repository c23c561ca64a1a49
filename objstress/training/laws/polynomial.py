"""Fits of G-invariant polynomials by least squares; degree and ridge by leave-one-out errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import MANDEL, mandel_to_voigt, to_mandel

RIDGES = 10.0 ** np.arange(-12, 0)
"""Candidates, relative to the largest singular value squared of the scaled design matrix."""


@dataclass(frozen=True)
class PolynomialFit:
    """A fitted polynomial and its errors on labels left out one at a time.

    Attributes:
        polynomial: with its coefficients set.
        ridge: the chosen one of `RIDGES`, relative.
        error: relative RMSE, each label predicted from the others.
        errors: {degree: least such error}.
    """

    polynomial: InvariantPolynomial
    ridge: float
    error: float
    errors: dict[int, float]


def fit_polynomial(
    labels: Labels,
    group: PointGroup,
    floor: float,
    degrees: range = range(2, 7),
    lowest: int = 2,
) -> PolynomialFit:
    r"""Fit an invariant polynomial to the labels' stresses.

    .. math::
        \min_c \sum_n \frac{|P(F_n) - P_n|^2}{\max(|P_n|, P_0)^2}, \qquad W = \sum_k c_k \phi_k(E)

    For each degree and ridge the leave-one-label-out error comes in closed form from the hat
    matrix (e_i = (I - H_ii)^-1 r_i for the nine components of a label); the least one decides.

    Args:
        labels: of one crystal.
        group: its point group.
        floor: P_0, GPa, see `stress_floor`.
        degrees: highest degrees tried.
        lowest: lowest degree; 1 admits a residual stress at F = I.

    Raises:
        InputError: fewer labels than the lowest degree needs.
    """
    stress = labels.piola
    n = len(stress)
    weight = 1 / np.maximum(np.linalg.norm(stress.reshape(n, -1), axis=1), floor)
    x = to_mandel(labels.strain)
    scale = float(np.linalg.norm(x, axis=1).max())
    target = (weight[:, None] * stress.reshape(n, 9)).reshape(-1)
    # dP/dc = F (sum_a B_a dphi/dx_a)
    push = np.einsum("nim,amj->nija", labels.F, MANDEL, optimize=True).reshape(n, 9, 6)
    push = weight[:, None, None] * push
    best: tuple[float, float, InvariantPolynomial, np.ndarray] | None = None
    errors: dict[int, float] = {}
    for degree in degrees:
        polynomial = InvariantPolynomial(group, degree, lowest)
        design = push @ polynomial.design(torch.tensor(x))
        size = scale ** (1.0 - np.array(polynomial.degrees))  # columns of about equal size
        design = design.reshape(n * 9, -1) * size
        if design.shape[1] > 6 * n:
            break
        u, s, vt = np.linalg.svd(design, full_matrices=False)
        projected = u.T @ target
        blocks = u.reshape(n, 9, -1)
        for ridge in RIDGES:
            shrink = s**2 / (s**2 + ridge * s[0] ** 2)
            residual = (target - u @ (shrink * projected)).reshape(n, 9)
            hat = (blocks * shrink) @ blocks.transpose(0, 2, 1)
            left_out = np.linalg.solve(np.eye(9) - hat, residual[..., None])
            error = float(np.sqrt(np.mean((left_out**2).sum((1, 2)))))
            errors[degree] = min(error, errors.get(degree, np.inf))
            if best is None or error < best[0]:
                solution = size * (vt.T @ (shrink / s * projected))
                best = (error, float(ridge), polynomial, solution)
    if best is None:
        raise InputError(f"{n} labels are too few to fit the elastic constants")
    error, ridge, polynomial, solution = best
    polynomial.set_coefficients(solution)
    return PolynomialFit(polynomial, ridge, error, errors)


def stress_floor(labels: Labels, group: PointGroup) -> float:
    """The project's stress floor: 1e-3 of the largest elastic constant of a linear fit, GPa.

    Args:
        labels: of one crystal.
        group: its point group.

    Raises:
        InputError: no strain, or no stress, in the labels.
    """
    n = len(labels)
    x = to_mandel(labels.strain)
    if n < 2 or np.linalg.norm(x, axis=1).max() < 1e-6:
        raise InputError(f"{n} labels without strain: the elastic constants need strained cells")
    if np.abs(labels.cauchy).max() < 1e-9:
        raise InputError("every stress is zero: the labels carry no information")
    polynomial = InvariantPolynomial(group, 2, 1)
    second = to_mandel(np.linalg.inv(labels.F) @ labels.piola)
    solution, *_ = np.linalg.lstsq(
        polynomial.design(torch.tensor(x)).reshape(n * 6, -1), second.reshape(-1), rcond=1e-10
    )
    polynomial.set_coefficients(solution)
    hessian = polynomial(torch.zeros(1, 6, dtype=torch.float64), 2)[2][0].numpy()
    return 1e-3 * float(np.abs(mandel_to_voigt(hessian)).max())
