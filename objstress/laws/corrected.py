"""A prior law corrected by a few labels, with the error bars that these leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from objstress.laws.base import as_deformation
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.strain_energy import mandel_strain, tensor_from_mandel
from objstress.models.displacements import InternalDisplacements
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.voigt import MANDEL

if TYPE_CHECKING:
    from pymatgen.core import Structure

CHUNK = 2048
"""Points at which error bars are computed at a time."""


@dataclass(frozen=True)
class Uncertainty:
    r"""What is not known of a polynomial law: its coefficients, its reference, and its form.

    Attributes:
        factor: L of the covariance L L^T, (k + 6, r): of the first k coefficients (GPa), and of
            the logarithm of the stretch from the law's reference to the crystal's stress-free
            state (six Mandel components, pure numbers).
        misfit: s, the relative error that no coefficients mend.
        floor: P_0, GPa; the misfit is s sqrt(|P|^2 + P_0^2).
    """

    factor: Tensor
    misfit: float
    floor: float


class CorrectedLaw(PolynomialLaw):
    r"""A polynomial law whose coefficients are known up to a covariance.

    .. math:: e(F)^2 = \mathrm{tr}\,\Big(\frac{\partial P}{\partial \theta} L L^T
        \frac{\partial P}{\partial \theta}^T\Big) + s^2 (|P|^2 + P_0^2)

    e is the root mean square that is expected of |P_label - P|; theta are the coefficients, and
    the stretch from the law's reference to the stress-free crystal.

    Args:
        polynomial, point_group, domain, metadata, structure, density: see `PolynomialLaw`;
            the coefficients are in GPa, the matrices (6, 6) and (28, 28).
        uncertainty: of the coefficients and of the reference.
        displacements: how the ions leave the homogeneous deformation, where that is known.
    """

    kind = "corrected"

    def __init__(
        self,
        polynomial: InvariantPolynomial,
        point_group: SymmetryGroup,
        uncertainty: Uncertainty,
        domain: np.ndarray | Tensor | None = None,
        metadata: dict[str, Any] | None = None,
        structure: Structure | dict[str, Any] | None = None,
        density: np.ndarray | Tensor | None = None,
        displacements: InternalDisplacements | None = None,
    ):
        super().__init__(polynomial, point_group, domain, metadata, structure, density)
        self.uncertainty, self.displacements = uncertainty, displacements

    def stress_error(self, F: Any) -> Tensor:
        f = as_deformation(F)
        points = f.reshape(-1, 3, 3).cpu()
        # The response checks the deformations before any of them is used.
        stress = self.response(points, 1)[1]
        known = self.uncertainty
        variance = known.misfit**2 * (stress.pow(2).sum((-1, -2)) + known.floor**2)
        for start in range(0, len(points), CHUNK):
            part = points[start : start + CHUNK]
            moved = stress_directions(self.polynomial, mandel_strain(part), known.factor)
            piola = torch.einsum("nij,najk->naik", part, tensor_from_mandel(moved))
            variance[start : start + CHUNK] += piola.pow(2).sum((1, 2, 3))
        return variance.sqrt().reshape(f.shape[:-2]).to(f.device)

    def internal_displacements(self, F: Any) -> np.ndarray:
        if self.displacements is None:
            return super().internal_displacements(F)
        return self.displacements(mandel_strain(as_deformation(F).reshape(-1, 3, 3)).cpu().numpy())

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description, tensors = super().to_dict()
        known = self.uncertainty
        description |= {"misfit": known.misfit, "floor": known.floor}
        tensors["uncertainty"] = known.factor
        if self.displacements is not None:
            description["displacements"] = self.displacements.degree
            tensors["displacements"] = torch.tensor(self.displacements.coefficients)
        return description, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> CorrectedLaw:
        law = PolynomialLaw.from_dict(description, tensors)
        displacements = None
        if "displacements" in tensors:
            coefficients = tensors["displacements"].numpy()
            displacements = InternalDisplacements(description["displacements"], coefficients)
        return cls(
            law.polynomial,
            law.point_group,
            Uncertainty(tensors["uncertainty"], description["misfit"], description["floor"]),
            law.domain,
            law.metadata,
            description["structure"],
            law.density,
            displacements,
        )


def stress_directions(polynomial: InvariantPolynomial, x: Tensor, factor: Tensor) -> Tensor:
    r"""Changes of the second Piola-Kirchhoff stress with a law's coefficients and reference.

    .. math::
        \delta S = \sum_k \frac{\partial \phi_k}{\partial E} \delta c_k + \mathrm{tr}(h) S - h S
            - S h - \tfrac12 \frac{\partial^2 W}{\partial E^2} : (h C + C h)

    h is the logarithm of the stretch from the reference to the crystal's stress-free state.

    Args:
        polynomial: coefficients c in GPa, invariants phi.
        x: Mandel strains, (n, 6).
        factor: changes of the first k coefficients (GPa) and of h (six Mandel components),
            (k + 6, r).

    Returns:
        Mandel's form, GPa, (n, r, 6).
    """
    count = len(factor) - 6
    design = torch.tensor(polynomial.design(x)[:, :, :count])
    moved = torch.einsum("nak,kr->nra", design, factor[:count])
    _, second, hessian = polynomial(x, 2)
    h = torch.tensor(MANDEL)
    s, c = tensor_from_mandel(second), 2 * tensor_from_mandel(x) + torch.eye(3, dtype=x.dtype)
    trace = h.diagonal(dim1=1, dim2=2).sum(-1)

    def anti(t: Tensor) -> Tensor:  # h t + t h in Mandel's form, (n, 6 stretches, 6)
        product = torch.einsum("hij,njk->nhik", h, t)
        return torch.einsum("aij,nhij->nha", h, product + product.transpose(-1, -2))

    columns = trace[:, None] * second[:, None] - anti(s)
    columns = columns - 0.5 * torch.einsum("nha,nab->nhb", anti(c), hessian)
    return moved + torch.einsum("nha,hr->nra", columns, factor[count:])
