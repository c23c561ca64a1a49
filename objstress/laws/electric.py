"""Laws of strain and electric field: the electric enthalpy of a crystal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import (
    LawAround,
    MaterialLaw,
    as_deformation,
    in_chunks,
    law_from_dict,
)
from objstress.laws.strain_energy import from_strain, mandel_rows
from objstress.laws.under_field import ELECTRIC_SHAPES, as_field
from objstress.models.polynomial import ElectricPolynomial
from objstress.symmetry.point_group import PointGroup, SymmetryGroup, symmetry_group
from objstress.symmetry.supergroups import contains, laue_group
from objstress.symmetry.voigt import MANDEL, VOIGT_PAIRS

EPS0 = 8.8541878188e-3
"""Permittivity of the vacuum in GPa/(V/nm)^2, which is C/m^2 over V/nm, or nF/m (CODATA 2022)."""


class ElectricLaw(LawAround):
    r"""A law of strain and electric field: the electric enthalpy of a crystal.

    .. math::

        H(F, E_0) = W(F) + h(E, E_0)
            - \tfrac12 \varepsilon_0 \varepsilon_b J\, E_0 \cdot C^{-1} E_0, \qquad
        P = \partial H / \partial F, \qquad D_0 = -\partial H / \partial E_0

    per reference volume; E0 = F^T e is the material field, minus the gradient of the potential by
    X, and D0 = J F^-1 d the charge per reference area. W is any law of strain, h a polynomial of E
    and E0 that vanishes with E0: without a field the law is W to the last digit. With one it has
    exactly the symmetry of one of the 32 point groups, where laws of strain know 11 Laue classes:

    .. math:: h(g^T E g, g^T E_0) = h(E, E_0) \quad \text{for all } g \in G

    The last term is exact at any strain: with eps_b = 1 that of the vacuum; with that of an
    elastomer the ideal dielectric of Zhao and Suo, Appl. Phys. Lett. 93 (2008) 251902.

    Fields are in V/nm (GV/m) and D0 in C/m^2, so that their product is in GPa. `energy`, `stress`,
    `tangent` and `response` of F alone are those at E0 = 0: all electrodes at one potential.

    Args:
        law: W, in the crystal's frame.
        polynomial: h, with its coefficients set.
        background: eps_b; 0 leaves the last term out.
        largest_field: |E0| in V/nm up to which h was fitted; None where it has no end.
        facts: JSON-able ones about the fit of h.

    Raises:
        InputError: a negative background; a law of strain that breaks the polynomial's group, or
            that knows a field itself.
    """

    kind = "electric"
    knows_field = True

    def __init__(
        self,
        law: MaterialLaw,
        polynomial: ElectricPolynomial,
        background: float = 0.0,
        largest_field: float | None = None,
        facts: dict[str, Any] | None = None,
    ):
        if not 0 <= background < np.inf:
            raise InputError(f"background = {background}: give a relative permittivity >= 0")
        if law.knows_field:
            raise InputError("the law of strain knows a field already: give one without")
        self.law, self.polynomial, self.background = law, polynomial, float(background)
        self.largest_field, self.facts = largest_field, facts or {}
        self.point_group = _common_group(law.point_group, polynomial.group)
        self.chunk, self.outside_action = min(law.chunk, 4096), law.outside_action

    @property
    def metadata(self) -> dict[str, Any]:
        """The facts of W, and under "field" those of h."""
        return {**super().metadata, "field": self.facts}

    @property
    def structure(self) -> Any:
        """The reference crystal of the law of strain, or None."""
        return getattr(self.law, "structure", None)

    @property
    def domain(self) -> Tensor | None:
        """Matrix M (6, 6) of the trained strains, x M x <= 1; None without one."""
        return getattr(self.law, "domain", None)

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.law.evaluate(F, order)

    def electric_response(self, F: Any, E0: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        field = as_field(E0, f)
        shapes = ELECTRIC_SHAPES[: (1, 3, 6)[order]]
        return in_chunks(
            self, f, shapes, lambda law, x, rows: law.evaluate_electric(x, field[rows], order)
        )

    def evaluate_electric(self, F: Tensor, E0: Tensor, order: int) -> tuple[Tensor, ...]:
        """The law itself at one chunk of points under a field.

        Args:
            F: deformation gradients, (n, 3, 3), float64, finite, det F > 0.
            E0: material fields in V/nm, (n, 3).
            order: 0, 1 or 2.

        Returns:
            As `electric_response`.
        """
        f = F.permute(1, 2, 0).contiguous()
        parts = self.polynomial(torch.cat([mandel_rows(f), E0.T]).T, order)
        strain = [p[(slice(None), *[slice(6)] * k)] for k, p in enumerate(parts)]
        h = from_strain(f, strain)
        w = self.law.evaluate(F, order)
        out = [w[0] + h[0]]
        if order >= 1:
            out += [w[1] + h[1], -parts[1][:, 6:]]
        if order >= 2:
            mixed = torch.einsum("nak,aij->nijk", parts[2][:, :6, 6:], F.new_tensor(MANDEL))
            out += [w[2] + h[2], torch.einsum("nim,nmjk->nijk", F, mixed), -parts[2][:, 6:, 6:]]
        if self.background:
            space = _of_space(F, E0, order)
            out = [a + EPS0 * self.background * b for a, b in zip(out, space, strict=True)]
        return tuple(out)

    def constants(self) -> dict[str, np.ndarray]:
        r"""Material constants at rest, in the frame of the law.

        .. math::

            c = \partial^2 H / \partial \eta^2, \qquad
            e = -\partial^2 H / \partial E_0 \partial \eta, \qquad
            \varepsilon = -\partial^2 H / \partial E_0^2

        and so on by the material field E0, eta = E_11, E_22, E_33, 2 E_23, 2 E_13, 2 E_12; c at
        constant field, epsilon at constant strain.

        Returns:
            "elastic" (6, 6), GPa; "piezoelectric" (3, 6), C/m^2; "dielectric" (3, 3), over the
            permittivity of the vacuum; and as far as the polynomial has them "nonlinear
            piezoelectric" (3, 6, 6), C/m^2, and "electrostriction" (3, 3, 6), C/m^2 over V/nm.
        """
        out = {"elastic": self.stiffness(), "piezoelectric": self.polynomial.tensor(1, 1)}
        one = np.eye(3)
        out["dielectric"] = self.polynomial.tensor(0, 2) / EPS0 + self.background * one
        if (2, 1) in self.polynomial.parts:
            out["nonlinear piezoelectric"] = self.polynomial.tensor(2, 1)
        if (1, 2) in self.polynomial.parts or self.background:
            # J C^-1 = 1 + (tr E) 1 - 2 E + ...
            space = np.einsum("ij,kl->ijkl", one, one)
            space = space - space.transpose(0, 2, 1, 3) - space.transpose(0, 2, 3, 1)
            rows, columns = np.array(VOIGT_PAIRS).T
            out["electrostriction"] = (
                self.polynomial.tensor(1, 2) + EPS0 * self.background * space[:, :, rows, columns]
            )
        return out

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description, tensors = self.law.to_dict()
        group = self.polynomial.group
        own = {"field.coefficients": self.polynomial.coefficients}
        if isinstance(group, PointGroup):
            own["field.operations"] = torch.tensor(group.operations)
        return {
            "kind": self.kind,
            "law": description,
            "group": group.symbol,
            "strain_degrees": list(self.polynomial.strain_degrees),
            "background": self.background,
            "largest_field": self.largest_field,
            "facts": self.facts,
        }, tensors | own

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> ElectricLaw:
        group = symmetry_group(description["group"], tensors.get("field.operations"))
        polynomial = ElectricPolynomial(group, description["strain_degrees"])
        polynomial.set_coefficients(tensors["field.coefficients"].numpy())
        law = law_from_dict(description["law"], tensors)
        limit, facts = description["largest_field"], description["facts"]
        return cls(law, polynomial, description["background"], limit, facts)


def _common_group(strain: SymmetryGroup, electric: SymmetryGroup) -> SymmetryGroup:
    """The group of a law of strain and one of a field together."""
    if not isinstance(strain, PointGroup):
        return electric
    if not isinstance(electric, PointGroup):
        return strain
    # A law of strain has the inversion whatever its group says.
    known = laue_group(strain)
    if not contains(known, electric):
        raise InputError(
            f"the law of strain has point group {strain.symbol}, which is not one of "
            f"{electric.symbol}, that of its part of the field: give both the crystal's"
        )
    return electric


def _of_space(F: Tensor, E0: Tensor, order: int) -> list[Tensor]:
    """-J E0 . C^-1 E0 / 2 and its derivatives, as `electric_response` orders them."""
    j = torch.linalg.det(F)
    inverse = torch.linalg.inv(F)
    e = torch.einsum("nji,nj->ni", inverse, E0)  # the field in space
    c = torch.einsum("nij,nj->ni", inverse, e)  # C^-1 E0
    square = (e * e).sum(-1)
    out = [-0.5 * j * square]
    if order >= 1:
        turned = inverse.transpose(1, 2)
        p = e[:, :, None] * c[:, None] - 0.5 * square[:, None, None] * turned
        out += [j[:, None, None] * p, j[:, None] * c]
    if order >= 2:
        metric = inverse @ turned  # C^-1
        a = torch.einsum("nlk,nij->nijkl", inverse, p)
        a = a - torch.einsum("nli,nk,nj->nijkl", inverse, e, c)
        a = a - torch.einsum("ni,njk,nl->nijkl", e, inverse, c)
        a = a - torch.einsum("ni,nk,njl->nijkl", e, e, metric)
        a = a + torch.einsum("nl,nk,nji->nijkl", c, e, inverse)
        half = 0.5 * square[:, None, None, None, None]
        a = a + half * torch.einsum("njk,nli->nijkl", inverse, inverse)
        b = torch.einsum("nki,nj->nijk", inverse, c) + torch.einsum("ni,njk->nijk", e, metric)
        b = b - torch.einsum("nk,nji->nijk", c, inverse)
        scale = j[:, None, None, None]
        out += [scale[..., None] * a, scale * b, scale[..., 0] * metric]
    return out
