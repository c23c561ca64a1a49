"""Fits of G-invariant polynomials by least squares; degree and ridge by leave-one-out errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import eigsh

from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.models.invariants import invariant_polynomials
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import MANDEL, mandel_to_voigt, to_mandel

RIDGES = 10.0 ** np.arange(-12, 0)
"""Candidates, relative to the largest eigenvalue of the scaled normal equations."""
DEGREES = range(2, 9)
"""Highest degrees that are tried."""
GAIN = 0.85
"""Error, relative to the best of lower degrees, below which a higher one is taken: each degree
makes every evaluation dearer."""
MOST = 6
"""Unknowns a label: two thirds of its nine stress components."""
WORK = 3e10
"""Multiplications (equations times unknowns squared) that a degree may cost, a few seconds: beyond
it a higher degree is not tried. It is counted, not timed, so that a fit is the same everywhere."""


@dataclass(frozen=True)
class PolynomialFit:
    """A fitted polynomial and its errors on labels left out one at a time.

    Attributes:
        polynomial: with its coefficients set.
        ridge: the chosen one of `RIDGES`, relative.
        error: relative RMSE, each label predicted from the others; median over load cases, each
            predicted from the others, where the labels name them.
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
    degrees: Sequence[int] = DEGREES,
    lowest: int = 2,
) -> PolynomialFit:
    r"""Fit an invariant polynomial to the labels' stresses.

    .. math::
        \min_c \sum_n \frac{|P(F_n) - P_n|^2}{s_n^2}, \qquad W = \sum_k c_k \phi_k(E)

    For each degree and ridge the leave-one-label-out error comes in closed form from the hat
    matrix (e_i = (I - H_ii)^-1 r_i for the nine components of a label). Where the labels name
    their load cases, each whole case is left out instead, and the median of the cases' errors
    counts: neighbours on a load path predict each other whatever the law. A higher degree, which
    every evaluation pays for, is taken where it lowers the error by 15 %. The search ends
    where two degrees in a row did not, where a degree has more than `MOST` unknowns a label, or
    where it would cost more than `WORK`.

    Args:
        labels: of one crystal.
        group: its point group.
        floor: P_0 in s_n, GPa, see `stress_floor` and `Labels.stress_sizes`.
        degrees: highest degrees tried, ascending.
        lowest: lowest degree; 1 admits a residual stress at F = I.

    Raises:
        InputError: fewer labels than the first of the degrees needs.
    """
    equations = StressEquations(labels, group, floor, lowest)
    best: tuple[float, int, float] | None = None
    errors: dict[int, float] = {}
    for degree in degrees:
        count = count_coefficients(group, degree, lowest)
        costly = 9 * len(labels) * count**2 > WORK and best is not None
        if count > MOST * len(labels) or costly:
            break
        by_ridge = equations.leave_one_out(degree)
        errors[degree] = float(by_ridge.min())
        if best is None or errors[degree] < GAIN * best[0]:
            best = (errors[degree], degree, float(RIDGES[by_ridge.argmin()]))
        elif degree >= best[1] + 2:
            break
    if best is None:
        raise InputError(
            f"{len(labels)} labels are too few for a polynomial of degree {degrees[0]}, which has "
            f"{count} coefficients"
        )
    error, degree, ridge = best
    return PolynomialFit(equations.solve(degree, ridge), ridge, error, errors)


def count_coefficients(group: PointGroup, degree: int, lowest: int = 2) -> int:
    """Number of invariants of degree `lowest` to `degree`."""
    return sum(len(invariant_polynomials(group, d)) for d in range(lowest, degree + 1))


def degrees_of(degree: int | None) -> Sequence[int]:
    """The degrees that a fit tries: the given one, or all of `DEGREES`.

    Raises:
        InputError: a degree that is none of them.
    """
    if degree is None:
        return DEGREES
    if degree not in DEGREES:
        raise InputError(f"degree = {degree}: give {DEGREES[0]} to {DEGREES[-1]}, or None")
    return [degree]


class StressEquations:
    """The weighted linear equations for a polynomial's coefficients, one for each stress component.

    The invariants are ordered by degree: the equations of a lower degree are the first columns of
    those of a higher one, which add their own when they are first asked for.

    Args:
        labels, group, floor, lowest: see `fit_polynomial`.
    """

    def __init__(self, labels: Labels, group: PointGroup, floor: float, lowest: int):
        self.group, self.lowest, n = group, lowest, len(labels)
        stress = labels.piola.reshape(n, 9)
        weight = 1 / labels.stress_sizes(floor)
        self.x = torch.tensor(to_mandel(labels.strain))
        self.scale = float(self.x.norm(dim=1).max())
        self.target = (weight[:, None] * stress).ravel()
        # dP/dc = F (sum_a B_a dphi/dx_a)
        push = np.einsum("nim,amj->nija", labels.F, MANDEL, optimize=True).reshape(n, 9, 6)
        self.push = weight[:, None, None] * push
        self.design = np.zeros((9 * n, 0))
        self.normal = np.zeros((0, 0))
        self.size = np.zeros(0)
        self.top = lowest - 1
        self.cases = labels.cases

    def leave_one_out(self, degree: int) -> np.ndarray:
        """Relative RMSE of labels left out one at a time, for each of `RIDGES` that may be best."""
        if self.cases is not None and len(set(self.cases)) > 1:
            return self._leave_case_out(*self._up_to(degree), self.cases)
        errors = np.full(len(RIDGES), np.inf)
        for k, gaps in enumerate(self._left_out(degree, RIDGES)):
            errors[k] = np.sqrt(np.mean((gaps**2).sum(1)))
            if errors[k] > 2 * errors.min():
                break  # larger ones smooth too much
        return errors

    def left_out(self, degree: int, ridge: float) -> np.ndarray:
        """Weighted P less that of the polynomial that is fitted to all other labels, (n, 3, 3).

        Labels are left out one at a time, also where they are of several load cases.

        Args:
            degree: highest degree.
            ridge: relative, see `RIDGES`.
        """
        (gaps,) = self._left_out(degree, [ridge])
        return gaps.reshape(-1, 3, 3)

    def _left_out(self, degree: int, ridges: Iterable[float]) -> Iterator[np.ndarray]:
        """For each ridge the weighted residuals of labels left out one at a time, (n, 9)."""
        design, normal = self._up_to(degree)
        n = len(self.x)
        values, vectors = np.linalg.eigh(normal)
        known = values > 1e-15 * values[-1]
        values, vectors = values[known], vectors[:, known]
        u = design @ (vectors / np.sqrt(values))
        projected, blocks = u.T @ self.target, u.reshape(n, 9, -1)
        for ridge in ridges:
            shrink = values / (values + ridge * values[-1])
            residual = (self.target - u @ (shrink * projected)).reshape(n, 9)
            hat = (blocks * shrink) @ blocks.transpose(0, 2, 1)
            yield np.linalg.solve(np.eye(9) - hat, residual[..., None])[..., 0]

    def _leave_case_out(
        self, design: np.ndarray, normal: np.ndarray, cases: np.ndarray
    ) -> np.ndarray:
        rows = np.repeat(cases, 9)
        errors = []
        for case in np.unique(rows):
            left, target = design[rows == case], self.target[rows == case]
            values, vectors = np.linalg.eigh(normal - left.T @ left)
            right = vectors.T @ (design.T @ self.target - left.T @ target)
            filtered = right / (values.clip(min=0) + RIDGES[:, None] * values[-1])
            gap = left @ vectors @ filtered.T - target[:, None]
            errors.append(np.linalg.norm(gap, axis=0) / max(np.linalg.norm(target), 1e-300))
        return np.median(errors, axis=0)

    def solve(self, degree: int, ridge: float) -> InvariantPolynomial:
        """The polynomial of that degree.

        Args:
            degree: highest degree.
            ridge: relative, see `RIDGES`.
        """
        design, normal = self._up_to(degree)
        largest = eigsh(normal, k=1, v0=np.ones(len(normal)), return_eigenvectors=False)
        shift = ridge * float(largest[0])
        factor = cho_factor(normal + shift * np.eye(len(normal)))
        solution = np.zeros(len(normal))
        for _ in range(3):  # the residual of the equations themselves mends the round-off
            rest = design.T @ (self.target - design @ solution) - shift * solution
            solution = solution + cho_solve(factor, rest)
        polynomial = InvariantPolynomial(self.group, degree, self.lowest)
        polynomial.set_coefficients(self.size[: len(normal)] * solution)
        return polynomial

    def _up_to(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        if degree > self.top:
            # Columns of about equal size.
            new = InvariantPolynomial(self.group, degree, self.top + 1)
            size = self.scale ** (1.0 - np.array(new.degrees))
            columns = (self.push @ new.design(self.x)).reshape(len(self.target), -1) * size
            cross = self.design.T @ columns
            self.normal = np.block([[self.normal, cross], [cross.T, columns.T @ columns]])
            self.design = np.hstack([self.design, columns])
            self.size = np.concatenate([self.size, size])
            self.top = degree
        count = count_coefficients(self.group, degree, self.lowest)
        return self.design[:, :count], self.normal[:count, :count]


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
    if not labels.cauchy.any():
        raise InputError("every stress is zero: the labels carry no information")
    polynomial = InvariantPolynomial(group, 2, 1)
    second = to_mandel(np.linalg.inv(labels.F) @ labels.piola)
    solution, *_ = np.linalg.lstsq(
        polynomial.design(torch.tensor(x)).reshape(n * 6, -1), second.reshape(-1), rcond=1e-10
    )
    polynomial.set_coefficients(solution)
    hessian = polynomial(torch.zeros(1, 6, dtype=torch.float64), 2)[2][0].numpy()
    return 1e-3 * float(np.abs(mandel_to_voigt(hessian)).max())
