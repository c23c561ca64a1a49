"""The stress-free reference of labels whose own reference bears a stress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import from_mandel, invariant_strains
from objstress.training.laws.polynomial import (
    DEGREES,
    PolynomialFit,
    StressEquations,
    fit_polynomial,
    stress_floor,
)

LARGEST_SHIFT = 0.02
"""Principal stretch to the stress-free structure, less one, beyond which a fit is refused."""
LOW = 4
"""Highest degree of the first fits."""


def stress_free_labels(
    labels: Labels, group: PointGroup, degrees: Sequence[int] = DEGREES
) -> tuple[Labels, np.ndarray, PolynomialFit]:
    """The labels against the stress-free crystal, and the stretch U to it.

    A polynomial with a linear term is fitted, its stationary strain among the G-invariant ones
    becomes the new reference (a stretch with less symmetry would change the crystal), and both
    steps are repeated until the strain vanishes: first at low degree, then at the one that
    leave-one-out errors choose once.

    Args:
        labels: of one crystal.
        group: its point group.
        degrees: highest degrees tried, see `fit_polynomial`.

    Returns:
        The labels with F U^-1 and the stretched structure; U (3, 3), a G-invariant stretch; and
        the fit to these labels: its linear term has vanished, and is left out.

    Raises:
        InputError: the stress-free state is more than 2 % away, or not found.
    """
    basis = invariant_strains(group.operations)
    total = np.eye(3)

    def refer(polynomial: InvariantPolynomial) -> float:
        nonlocal labels, total
        shift = _stationary(polynomial, basis)
        if shift is None:
            raise InputError("the labels show no stress-free state near the given structure")
        stretch = right_stretch(from_mandel(shift))
        labels = labels.rereferenced(stretch)
        total = stretch @ total
        size = stretch_size(total)
        if size > LARGEST_SHIFT:
            raise InputError(
                f"the stress-free cell is stretched by {size:.1%} from the given structure (limit "
                f"{LARGEST_SHIFT:.0%}); give the relaxed structure of the method that made the "
                "labels"
            )
        return float(np.linalg.norm(shift))

    low = [degree for degree in degrees if degree <= max(LOW, degrees[0])]
    for _ in range(20):
        fit = fit_polynomial(labels, group, stress_floor(labels, group), low, lowest=1)
        if refer(fit.polynomial) < 1e-5:
            break
    fit = fit_polynomial(labels, group, stress_floor(labels, group), degrees, lowest=1)
    polynomial = fit.polynomial
    for _ in range(20):
        if refer(polynomial) < 1e-9:
            break
        equations = StressEquations(labels, group, stress_floor(labels, group), lowest=1)
        polynomial = equations.solve(polynomial.degree, fit.ridge)
    without = InvariantPolynomial(group, polynomial.degree)
    without.set_coefficients(polynomial.coefficients.numpy()[-len(without.degrees) :])
    return labels, total, replace(fit, polynomial=without)


def stretch_size(stretch: np.ndarray) -> float:
    """Largest |lambda - 1| over the principal stretches lambda of U (3, 3)."""
    return float(np.abs(np.linalg.eigvalsh(stretch) - 1).max())


def _stationary(polynomial: InvariantPolynomial, basis: np.ndarray) -> np.ndarray | None:
    x = np.zeros(6)
    for _ in range(30):
        _, gradient, hessian = (t[0].numpy() for t in polynomial(torch.tensor(x)[None], 2))
        matrix = basis.T @ hessian @ basis
        if np.linalg.eigvalsh(matrix).min() <= 0:
            return None
        step = -basis @ np.linalg.solve(matrix, basis.T @ gradient)
        x = x + step
        if np.linalg.norm(x) > 0.2:
            return None
        if np.linalg.norm(step) < 1e-13:
            break
    return x
