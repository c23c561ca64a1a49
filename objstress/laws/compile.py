"""Compiled laws: any law as one invariant polynomial, or evaluated as one fused program."""

from __future__ import annotations

import numpy as np
import torch

from objstress.elasticity.directions import strain_directions
from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.laws.base import MaterialLaw
from objstress.laws.electric import ElectricLaw
from objstress.laws.fused import FusedLaw
from objstress.laws.guarded import GuardedLaw
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.strain_energy import StrainEnergyLaw
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.voigt import MANDEL, from_mandel, to_mandel

DEGREES = range(2, 9)
BALL = 0.08
"""|E| up to which laws without a trained domain are compiled."""
CHECKS = 4000
"""Strains at which the error of a compiled law is measured; a quarter of them on the boundary."""


def compile_law(law: MaterialLaw, tolerance: float = 1e-3, kind: str = "polynomial") -> MaterialLaw:
    """Make a faster law of the same symmetry, domain and interface.

    Args:
        law: any law; a guarded one is compiled inside and guarded again; of an ensemble the mean
            is compiled, its error bars stay with the ensemble; of an `ElectricLaw` the law of
            strain, as its part of the field is a polynomial already.
        tolerance: largest relative error of P that "polynomial" may make.
        kind: "polynomial" fits one G-invariant polynomial of E, see `compile_polynomial`; "torch"
            fuses the law as it is into one program, see `FusedLaw`.

    Returns:
        A `PolynomialLaw`, a `FusedLaw`, or a `GuardedLaw` or `ElectricLaw` around one.

    Raises:
        InputError: a tolerance that cannot be met (the best is named), or an unknown kind.
    """
    if isinstance(law, ElectricLaw):
        inner = compile_law(law.law, tolerance, kind)
        made = ElectricLaw(inner, law.polynomial, law.background, law.largest_field, law.facts)
        made.outside_action = law.outside_action
        return made
    if law.knows_field:
        raise InputError("compile the law of strain and field before it is rotated")
    if kind == "polynomial":
        if isinstance(law, GuardedLaw):
            return GuardedLaw(compile_polynomial(law.law, tolerance))
        return compile_polynomial(law, tolerance)
    if kind == "torch":
        if isinstance(law, GuardedLaw):
            raise InputError("a guarded law cannot be fused: it branches on the strain")
        return FusedLaw(law)
    raise InputError(f"unknown kind {kind!r} of compiled law: give 'polynomial' or 'torch'")


def compile_polynomial(law: MaterialLaw, tolerance: float) -> PolynomialLaw:
    r"""Fit the invariant polynomial of least degree that follows a law to a tolerance.

    .. math:: \min_c \sum_n |P - P_\mathrm{law}|^2 / \max(|P_\mathrm{law}|, \mathrm{floor})^2,
        \qquad W = \sum_k c_k \phi_k

    at quasi-random strains in the trained domain x M x <= 1 (|E| <= 0.08 without one); the
    *largest* relative error at fresh strains keeps the tolerance.

    Args:
        law: W a function of E, under a point group, O(3) or SO(3).
        tolerance: largest |dP| / max(|P|, floor), floor = `law.stress_floor()`.

    Raises:
        InputError: a tolerance that is not positive, or that no degree up to 8 meets.
    """
    if not 0 < tolerance < np.inf:
        raise InputError(f"tolerance = {tolerance}: give a positive number")
    domain = getattr(law, "domain", None)
    matrix = np.eye(6) / BALL**2 if domain is None else domain.numpy()
    floor = law.stress_floor()
    tested = _Samples(law, matrix, CHECKS, floor, seed=1)
    known = own_polynomial(law)
    best = (np.inf, 0)
    for degree in DEGREES:
        if known is not None and known.degree == degree:
            polynomial = known
        else:
            polynomial = InvariantPolynomial(law.point_group, degree)
            fitted = _Samples(law, matrix, max(600, len(polynomial.degrees)), floor, seed=0)
            polynomial.set_coefficients(fitted.least_squares(polynomial))
        compiled = PolynomialLaw(
            polynomial,
            law.point_group,
            matrix,
            structure=getattr(law, "structure", None),
            density=getattr(law, "density", None),
        )
        compiled.outside_action = law.outside_action
        errors = tested.errors(compiled)
        best = min(best, (float(errors.max()), degree))
        if errors.max() <= tolerance:
            facts = {
                "tolerance": tolerance,
                "degree": degree,
                "worst_error": float(errors.max()),
                "rms_error": float(np.sqrt((errors**2).mean())),
                "points": len(errors),
                "of": law.kind or type(law).__name__,
            }
            compiled.metadata = getattr(law, "metadata", {}) | {"compiled": facts}
            return compiled
    raise InputError(
        f"no polynomial up to degree {DEGREES[-1]} follows the law to {tolerance:g}: the best is "
        f"{best[0]:.2g} at degree {best[1]}; allow a larger tolerance, or fit without a network"
    )


def own_polynomial(law: MaterialLaw) -> InvariantPolynomial | None:
    """The polynomial of a law that is nothing else."""
    polynomial = getattr(law, "polynomial", None)
    alone = getattr(law, "network", None) is None and isinstance(law, StrainEnergyLaw)
    return polynomial if alone and isinstance(polynomial, InvariantPolynomial) else None


class _Samples:
    """A law's stresses at quasi-random strains of an ellipsoid, weighted for relative errors."""

    def __init__(self, law: MaterialLaw, matrix: np.ndarray, count: int, floor: float, seed: int):
        from scipy.stats import qmc

        try:
            ellipsoid = np.linalg.inv(np.linalg.cholesky(matrix)).T
        except np.linalg.LinAlgError:
            raise InputError("the law's trained domain is not bounded in every strain") from None
        points = qmc.Sobol(7, scramble=True, rng=seed).random_base2(int(np.ceil(np.log2(count))))
        # Radii crowd at the boundary, where polynomials go astray first; a quarter lies on it.
        radius = np.sin(0.5 * np.pi * points[:count, 6])
        radius[::4] = 1.0
        x = (radius[:, None] * strain_directions(points[:count])) @ ellipsoid.T
        strain = from_mandel(x)
        if np.linalg.eigvalsh(strain).min() <= -0.5:
            raise InputError("the law's trained domain reaches strains at which J = 0")
        self.F = right_stretch(strain)
        self.x = torch.tensor(to_mandel(strain))
        self.stress = law.response(self.F, 1)[1].numpy()
        self.weight = 1 / np.maximum(np.linalg.norm(self.stress, axis=(1, 2)), floor)

    def least_squares(self, polynomial: InvariantPolynomial) -> np.ndarray:
        n = len(self.F)
        # dP/dc = F (sum_a B_a dphi/dx_a)
        push = np.einsum("nim,amj->nija", self.F, MANDEL).reshape(n, 9, 6)
        design = ((self.weight[:, None, None] * push) @ polynomial.design(self.x)).reshape(
            9 * n, -1
        )
        size = np.linalg.norm(design, axis=0)
        q, r = np.linalg.qr(design / size)
        target = (self.weight[:, None] * self.stress.reshape(n, 9)).ravel()
        return np.linalg.solve(r, q.T @ target) / size

    def errors(self, law: MaterialLaw) -> np.ndarray:
        gap = law.response(self.F, 1)[1].numpy() - self.stress
        return self.weight * np.linalg.norm(gap, axis=(1, 2))
