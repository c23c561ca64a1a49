"""The polynomial law: one invariant polynomial of the strain."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import factorial, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.domain import FittedLaw
from objstress.laws.reference import OfCrystal
from objstress.models.invariants import invariant_polynomials
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup, SymmetryGroup, symmetry_group
from objstress.symmetry.voigt import SHEAR

if TYPE_CHECKING:
    from pymatgen.core import Structure


class PolynomialLaw(OfCrystal, FittedLaw):
    r"""An energy that is one G-invariant polynomial of the strain.

    .. math:: W(E) = \sum_k c_k \phi_k(E)

    with the invariants phi_k of degree 2 to `degree`. Its symmetry is exactly the group's; its
    coefficients are the elastic constants of second, third and higher order.

    Args:
        polynomial: with its coefficients set, GPa.
        point_group: its group.
        domain, density: where the labels lie, (6, 6) and (28, 28), see `FittedLaw`.
        metadata: JSON-able facts; `compile_law` adds "compiled".
        structure: the reference crystal or its dictionary, if there are atoms.
    """

    kind = "polynomial"
    chunk = 4096

    def __init__(
        self,
        polynomial: InvariantPolynomial,
        point_group: SymmetryGroup,
        domain: np.ndarray | Tensor | None = None,
        metadata: dict[str, Any] | None = None,
        structure: Structure | dict[str, Any] | None = None,
        density: np.ndarray | Tensor | None = None,
    ):
        self.polynomial, self.point_group = polynomial, point_group
        self.set_domain(domain, density)
        self.metadata = metadata or {}
        self._structure = structure

    @property
    def degree(self) -> int:
        """Highest degree in E."""
        return self.polynomial.degree

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.polynomial(x, order)

    def elastic_constants(self, order: int) -> dict[str, float]:
        r"""Independent elastic constants of one order at F = I, Brugger's definition.

        .. math:: C_{ab\ldots} = \partial^n W / \partial \eta_a \partial \eta_b \ldots, \qquad
            \eta_{1 \ldots 6} = E_{11}, E_{22}, E_{33}, 2 E_{23}, 2 E_{13}, 2 E_{12}

        Independent ones are taken greedily in lexicographic order: C11, C12, C44 and C111, C112,
        C123, C144, C155, C456 for m-3m. Brugger, Phys. Rev. 133 (1964) A1611.

        Args:
            order: 2 (C_ab), 3 (C_abc), ... up to `degree`.

        Returns:
            {"C11": value, ...} in GPa.

        Raises:
            InputError: an order that the polynomial does not have.
        """
        if not 2 <= order <= self.degree:
            raise InputError(f"constants of order {order}: this law has orders 2 to {self.degree}")
        words = list(combinations_with_replacement(range(6), order))
        basis = invariant_polynomials(self.point_group, order)
        terms = self.polynomial.terms()
        out: dict[str, float] = {}
        independent = np.zeros((0, len(basis)))
        for k, word in enumerate(words):
            # A constant is new if its row of the invariants is no combination of those before.
            row = basis[:, k]
            rest = row - independent.T @ (independent @ row)
            rest = rest - independent.T @ (independent @ rest)
            if np.linalg.norm(rest) <= 1e-6 * np.linalg.norm(basis):
                continue
            independent = np.vstack([independent, rest / np.linalg.norm(rest)])
            # x_a = eta_a, but eta_a / sqrt 2 for shear; x^m has the derivative m! at zero.
            repeats = prod(factorial(word.count(a)) for a in set(word))
            shear = float(np.prod(SHEAR[list(word)]))
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

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description: dict[str, Any] = {
            "kind": self.kind,
            "group": self.point_group.symbol,
            "degree": self.degree,
            "metadata": self.metadata,
            "structure": self.structure_dict(),
        }
        tensors = {"coefficients": self.polynomial.coefficients}
        if isinstance(self.point_group, PointGroup):
            tensors["operations"] = torch.tensor(self.point_group.operations)
        return description, tensors | self.domain_tensors()

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> PolynomialLaw:
        group = symmetry_group(description["group"], tensors.get("operations"))
        polynomial = InvariantPolynomial(group, description["degree"])
        polynomial.set_coefficients(tensors["coefficients"].numpy())
        domain, density = tensors.get("domain"), tensors.get("density")
        crystal = description["structure"]
        return cls(polynomial, group, domain, description["metadata"], crystal, density)
