"""A polynomial of the strain in UFL: energy, stress and tangent written out for form compilers.

UFL would differentiate W node by node, and a form compiler carries each of the 9 (twice: 81)
components of the test functions through every one of those nodes. The derivatives of a polynomial
are polynomials: written out, the test functions meet only the finished entries of P and A.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.laws.base import MaterialLaw
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.rotated import RotatedLaw
from objstress.symmetry.voigt import SHEAR, VOIGT_INDEX, VOIGT_PAIRS

Terms = dict[tuple[int, ...], float]
"""{(a, b, ...): c} for the sum of c x_a x_b ..., see `InvariantPolynomial.terms`."""


class UflResponse:
    r"""W(E), P = F S and A_iJkL = delta_ik S_JL + F_iM (dS_MJ/dE_NL) F_kN of a UFL tensor F.

    Each is made when it is asked for.

    Args:
        terms: W as monomials of Mandel's E.
        F: UFL tensor of shape (3, 3).
    """

    def __init__(self, terms: Terms, F: Any):
        self._f = [[F[i, j] for j in range(3)] for i in range(3)]
        strain = []
        for a, (i, j) in enumerate(VOIGT_PAIRS):
            c = total(row[i] * row[j] for row in self._f)
            strain.append((c - 1.0 if i == j else c) * (0.5 / SHEAR[a]))
        self._terms = terms
        self._strain = strain

    def energy(self) -> Any:
        """W, a UFL scalar, GPa."""
        return self._polynomial(self._terms)

    def stress(self) -> list[list[Any]]:
        """P_iJ as UFL scalars, GPa."""
        f, s = self._f, self._second()
        return [
            [total(f[i][m] * s[v] for m, v in enumerate(VOIGT_INDEX[:, J])) for J in range(3)]
            for i in range(3)
        ]

    def tangent(self) -> np.ndarray:
        """A_iJkL as UFL scalars, GPa, object array (3, 3, 3, 3); A_kLiJ is the same object."""
        f = self._f
        # Degree by degree, H_d; Euler's S_d = H_d x / (d - 1) costs less than S written out.
        hessian, second = np.zeros((6, 6), dtype=object), [0.0] * 6
        x = self._strain
        for degree in sorted({len(word) for word in self._terms}):
            terms = {w: c for w, c in self._terms.items() if len(w) == degree}
            part = np.zeros((6, 6), dtype=object)
            for a in range(6):
                first = _derivative(terms, a)
                for b in range(a, 6):
                    part[a, b] = part[b, a] = self._polynomial(_derivative(first, b))
            for a, b in np.ndindex(6, 6):
                hessian[a, b] = total([hessian[a, b], part[a, b]])
            for a in range(6):
                row = total(part[a, b] * x[b] for b in range(6))
                second[a] = total([second[a], row * (SHEAR[a] / (degree - 1))])
        stiffness = hessian * SHEAR * SHEAR[:, None]
        half = np.zeros((6, 3, 3), dtype=object)
        for a, k, L in np.ndindex(half.shape):
            half[a, k, L] = total(
                stiffness[a, v] * f[k][n] for n, v in enumerate(VOIGT_INDEX[:, L])
            )
        out = np.zeros((3, 3, 3, 3), dtype=object)
        for i, J, k, L in np.ndindex(out.shape):
            if (i, J) <= (k, L):
                rows = [f[i][m] * half[v, k, L] for m, v in enumerate(VOIGT_INDEX[:, J])]
                entry = total([*rows, second[VOIGT_INDEX[J, L]]] if i == k else rows)
                out[i, J, k, L] = out[k, L, i, J] = entry
        return out

    def _second(self) -> list[Any]:
        return [self._polynomial(_derivative(self._terms, a), SHEAR[a]) for a in range(6)]

    def _polynomial(self, terms: Terms, factor: float = 1.0) -> Any:
        # Horner's rule, variable by variable: the strain stays in registers, each term costs one
        # product and one sum with a constant.
        inner: list[Terms] = [{} for _ in self._strain]
        for word, c in terms.items():
            if word:
                inner[word[0]][word[1:]] = c
        parts = [
            x * self._polynomial(t, factor) for x, t in zip(self._strain, inner, strict=True) if t
        ]
        return total([*parts, factor * terms.get((), 0.0)])


def energy_density(law: MaterialLaw, F: Any) -> Any:
    """W(F) of a polynomial law as a UFL expression; `ufl.derivative` gives stress and tangent.

    For speed use `assembly="ufl"` of `StaticProblem`, which writes both out.

    Args:
        law: a `PolynomialLaw` (see `compile_law`), or `RotatedLaw(law, Q)` of one.
        F: deformation gradient, UFL tensor of shape (3, 3).

    Returns:
        A UFL scalar, GPa.

    Raises:
        InputError: a law that is no polynomial.
    """
    if isinstance(law, RotatedLaw):
        import ufl

        return energy_density(law.law, F * ufl.as_matrix(law.Q.tolist()))
    if not isinstance(law, PolynomialLaw):
        raise InputError("this law has no UFL form; compile_law makes one that has")
    return UflResponse(law.polynomial.terms(), F).energy()


def _derivative(terms: Terms, a: int) -> Terms:
    out = {}
    for word, c in terms.items():
        if a in word:
            k = word.index(a)
            out[word[:k] + word[k + 1 :]] = c * word.count(a)
    return out


def total(parts: Iterable[Any]) -> Any:
    """The sum of UFL scalars as a balanced tree, plain zeros left out; 0.0 if nothing is left."""
    # UFL walks expressions by their depth: a chain of hundreds of additions would be slow.
    rest = [p for p in parts if not (isinstance(p, float | int) and p == 0)]
    while len(rest) > 1:
        pairs = zip(rest[::2], rest[1::2], strict=False)
        rest = [a + b for a, b in pairs] + (rest[-1:] if len(rest) % 2 else [])
    return rest[0] if rest else 0.0
