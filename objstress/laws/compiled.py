"""Compiled laws: any law as one invariant polynomial, or evaluated as one fused program."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import factorial, prod
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure
from scipy.stats import qmc
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import MaterialLaw, StrainEnergyLaw, outside_domain
from objstress.laws.ufl_response import UflResponse
from objstress.models.polynomial import InvariantPolynomial, invariant_polynomials
from objstress.symmetry.point_group import PointGroup, SymmetryGroup, symmetry_group
from objstress.symmetry.tensors import MANDEL, from_mandel, to_mandel
from objstress.teachers.strains import directions, right_stretch

DEGREES = range(2, 9)
BALL = 0.08
"""|E| up to which laws without a trained domain are compiled."""
CHECKS = 4000
"""Strains at which the error of a compiled law is measured; a quarter of them on the boundary."""


class PolynomialLaw(StrainEnergyLaw):
    r"""W(E) = sum_k c_k phi_k(E), phi_k the G-invariant polynomials of degree 2 to `degree`.

    Its symmetry is exactly the group's; its coefficients are the elastic constants of second,
    third and higher order.

    Args:
        polynomial: with its coefficients set.
        point_group: its group.
        domain: (6, 6) matrix M; strains with x M x <= 1 (Mandel) are inside the trained domain.
        metadata: JSON-able facts; `compile` adds "compiled".
        structure: the reference crystal, if there are atoms.
    """

    kind = "polynomial"
    chunk = 4096

    def __init__(
        self,
        polynomial: InvariantPolynomial,
        point_group: SymmetryGroup,
        domain: np.ndarray | None = None,
        metadata: dict[str, Any] | None = None,
        structure: Structure | None = None,
    ):
        self.polynomial, self.point_group = polynomial, point_group
        self.domain = None if domain is None else torch.as_tensor(domain)
        self.metadata = metadata or {}
        self.structure = structure

    @property
    def degree(self) -> int:
        """Highest degree in E."""
        return self.polynomial.degree

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.polynomial(x, order)

    def outside(self, F: Any) -> Tensor:
        return outside_domain(F, self.domain)

    def elastic_constants(self, order: int) -> dict[str, float]:
        r"""C_ab... = d^order W / d eta_a d eta_b ... at F = I, GPa, the independent ones.

        eta_1..6 = E_11, E_22, E_33, 2 E_23, 2 E_13, 2 E_12. Independent ones are taken greedily in
        lexicographic order: C11, C12, C44 and C111, C112, C123, C144, C155, C456 for m-3m.

        Brugger, Phys. Rev. 133 (1964) A1611.

        Args:
            order: 2 (C_ab), 3 (C_abc), ... up to `degree`.

        Returns:
            {"C11": value, ...}.

        Raises:
            InputError: an order that the polynomial does not have.
        """
        if not 2 <= order <= self.degree:
            raise InputError(f"constants of order {order}: this law has orders 2 to {self.degree}")
        words = list(combinations_with_replacement(range(6), order))
        basis = invariant_polynomials(self.point_group, order)
        terms = self.polynomial.terms()
        out: dict[str, float] = {}
        found = np.zeros((0, len(basis)))
        for k, word in enumerate(words):
            # A constant is new if its row of the invariants is no combination of those before.
            row = basis[:, k]
            rest = row - found.T @ (found @ row)
            rest = rest - found.T @ (found @ rest)
            if np.linalg.norm(rest) <= 1e-6 * np.linalg.norm(basis):
                continue
            found = np.vstack([found, rest / np.linalg.norm(rest)])
            # x_a = eta_a, but eta_a / sqrt 2 for shear; x^m has the derivative m! at zero.
            repeats = prod(factorial(word.count(a)) for a in set(word))
            shear = 0.5 ** (0.5 * sum(a >= 3 for a in word))
            name = "C" + "".join(str(a + 1) for a in word)
            out[name] = float(terms.get(word, 0.0) * repeats * shear)
        return out

    def constants_table(self) -> str:
        """The independent elastic constants of all orders as a Markdown table, in GPa."""
        lines = ["| order | constant | GPa |", "| --- | --- | --- |"]
        for order in range(2, self.degree + 1):
            for name, value in self.elastic_constants(order).items():
                lines.append(f"| {order} | {name} | {value:.6g} |")
        return "\n".join(lines)

    def to_ufl(self, F: Any) -> Any:
        """W as a UFL expression of a UFL tensor F, GPa; `ufl.derivative` gives stress and tangent.

        For speed use `assembly="ufl"` of `StaticProblem`, which writes both out.
        """
        return UflResponse(self.polynomial.terms(), F).energy()

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description: dict[str, Any] = {
            "kind": self.kind,
            "group": self.point_group.symbol,
            "degree": self.degree,
            "metadata": self.metadata,
            "structure": None if self.structure is None else self.structure.as_dict(),
        }
        tensors = {"coefficients": self.polynomial.coefficients}
        if isinstance(self.point_group, PointGroup):
            tensors["operations"] = torch.tensor(self.point_group.operations)
        if self.domain is not None:
            tensors["domain"] = self.domain
        return description, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> PolynomialLaw:
        group: SymmetryGroup
        if "operations" in tensors:
            group = PointGroup.from_operations(tensors["operations"].numpy())
        else:
            group = symmetry_group(description["group"])
        polynomial = InvariantPolynomial(group, description["degree"])
        polynomial.set_coefficients(tensors["coefficients"].numpy())
        structure = description["structure"]
        return cls(
            polynomial,
            group,
            tensors["domain"].numpy() if "domain" in tensors else None,
            description["metadata"],
            None if structure is None else Structure.from_dict(structure),
        )


def compile_law(law: MaterialLaw, tolerance: float, kind: str) -> MaterialLaw:
    """See `MaterialLaw.compile`."""
    from objstress.laws.guarded import GuardedLaw

    if kind == "polynomial":
        if isinstance(law, GuardedLaw):
            return GuardedLaw(compile_polynomial(law.law, tolerance))
        return compile_polynomial(law, tolerance)
    if kind == "torch":
        if isinstance(law, GuardedLaw):
            raise InputError("a guarded law cannot be fused: which points are outside is data")
        from objstress.laws.fused import FusedLaw

        return FusedLaw(law)
    raise InputError(f"unknown kind {kind!r} of compiled law: give 'polynomial' or 'torch'")


def compile_polynomial(law: MaterialLaw, tolerance: float) -> PolynomialLaw:
    r"""The invariant polynomial of least degree that follows a law to a tolerance.

        min sum |P - P_law|^2 / max(|P_law|, floor)^2   over c in W = sum c_k phi_k

    at quasi-random strains in the trained domain x M x <= 1 (|E| <= 0.08 without one); the
    tolerance is held by the *largest* relative error at fresh strains.

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
    own = _own_polynomial(law)
    best = (np.inf, 0)
    for degree in DEGREES:
        if own is not None and own.degree == degree:
            polynomial = own
        else:
            polynomial = InvariantPolynomial(law.point_group, degree)
            fitted = _Samples(law, matrix, max(600, len(polynomial.degrees)), floor, seed=0)
            polynomial.set_coefficients(fitted.least_squares(polynomial))
        compiled = PolynomialLaw(
            polynomial,
            law.point_group,
            matrix,
            structure=getattr(law, "structure", None),
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
                "of": getattr(law, "kind", type(law).__name__),
            }
            compiled.metadata = getattr(law, "metadata", {}) | {"compiled": facts}
            return compiled
    raise InputError(
        f"no polynomial up to degree {DEGREES[-1]} follows the law to {tolerance:g}: the best is "
        f"{best[0]:.2g} at degree {best[1]}; allow a larger tolerance, or fit without a network"
    )


def _own_polynomial(law: MaterialLaw) -> InvariantPolynomial | None:
    """The polynomial of a law that is nothing else."""
    polynomial = getattr(law, "polynomial", None)
    alone = getattr(law, "network", None) is None and isinstance(law, StrainEnergyLaw)
    return polynomial if alone and isinstance(polynomial, InvariantPolynomial) else None


class _Samples:
    """A law's stresses at quasi-random strains of an ellipsoid, weighted for relative errors."""

    def __init__(self, law: MaterialLaw, matrix: np.ndarray, count: int, floor: float, seed: int):
        try:
            ellipsoid = np.linalg.inv(np.linalg.cholesky(matrix)).T
        except np.linalg.LinAlgError:
            raise InputError("the law's trained domain is not bounded in every strain") from None
        points = qmc.Sobol(7, scramble=True, rng=seed).random_base2(int(np.ceil(np.log2(count))))
        # Radii crowd at the boundary, where polynomials go astray first; a quarter lies on it.
        radius = np.sin(0.5 * np.pi * points[:count, 6])
        radius[::4] = 1.0
        x = (radius[:, None] * directions(points[:count])) @ ellipsoid.T
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
