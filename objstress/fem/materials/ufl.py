"""A compiled law inside the form: no law is evaluated outside of the assembly."""

from __future__ import annotations

from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.materials.grains import Grains, GrainsLaw
from objstress.fem.materials.quadrature import Material, gradient
from objstress.fem.materials.ufl_polynomial import UflResponse, total
from objstress.laws.base import MaterialLaw
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.rotated import RotatedLaw


class UflMaterial(Material):
    r"""P and A of a polynomial law written out in UFL, for dolfinx to compile to C.

    .. math::

        r(u; v) = \int P : \nabla v \, dX, \qquad
        J(u; \delta u, v) = \int (A : \nabla \delta u) : \nabla v \, dX

    No memory at the quadrature points; compiling takes seconds once for each law and degree of
    elements, dolfinx keeps the result.

    Args:
        u: displacement, a vector function in three dimensions, or in two for plane strain; a
            length.
        law: a polynomial law (see `compile_law`) in the sample's frame, or `Grains` of one.
        degree: quadrature degree.

    Raises:
        InputError: a mesh with inverted cells, a law that is no polynomial, or grains of several
            laws.
    """

    def __init__(self, u: fem.Function, law: MaterialLaw | Grains, degree: int):
        super().__init__(u, law, degree)
        # In the crystal's frame, where symmetry leaves the fewest terms: W(F Q), gradients times Q.
        inner, self._Q = self.law, None
        if isinstance(inner, RotatedLaw):
            self._Q, inner = ufl.as_matrix(inner.Q.tolist()), inner.law
        elif isinstance(inner, GrainsLaw):
            self._Q, inner = self._orientations(inner), inner.only_law()
        if not isinstance(inner, PolynomialLaw):
            raise InputError("assembly 'ufl' takes a polynomial law; make one with compile_law")
        deformation = self._rotated(ufl.Identity(3) + gradient(u))
        self._response = UflResponse(inner.polynomial.terms(), deformation)

    def _evaluate(self, tangent: bool) -> None:
        rows = self.F.transpose(1, 0, 2)
        bad = int((np.einsum("ni,ni->n", rows[0], np.cross(rows[1], rows[2])) <= 0).sum())
        if bad:
            raise InputError(
                f"det F <= 0 at {bad} of {len(self.F)} points: the material would be inverted"
            )

    @property
    def energy(self) -> np.ndarray:  # type: ignore[override]
        """W at the points as of the last `update`, GPa, (n_points,)."""
        return self.law.response(self.F, 0)[0].numpy()

    def residual(self, v: Any) -> Any:
        return ufl.inner(ufl.as_matrix(self._response.stress()), self._gradient_of(v)) * self.dx

    def jacobian(self, du: Any, v: Any) -> Any:
        a, left, right = self._response.tangent(), self._gradient_of(v), self._gradient_of(du)
        entries = [
            a[i, J, k, L] * right[k, L] * left[i, J] for i, J, k, L in np.ndindex(3, 3, 3, 3)
        ]
        return total(entries) * self.dx

    def piola(self) -> np.ndarray:
        return self.law.response(self.F, 1)[1].numpy()

    def _orientations(self, law: GrainsLaw) -> fem.Function:
        return self.cell_function(law.Q.numpy()[law.cell_grains])

    def _gradient_of(self, w: Any) -> Any:
        return self._rotated(gradient(w))

    def _rotated(self, tensor: Any) -> Any:
        return tensor if self._Q is None else tensor * self._Q
