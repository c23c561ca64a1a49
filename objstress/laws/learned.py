"""The learned law: a polynomial of E by least squares plus a network for what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from objstress.laws.base import as_deformation
from objstress.laws.domain import FittedLaw
from objstress.laws.reference import OfCrystal
from objstress.laws.strain_energy import StrainEnergyLaw, mandel_strain
from objstress.models.displacements import InternalDisplacements
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup, SymmetryGroup, symmetry_group

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from objstress.models.constitutive import ConstitutiveNetwork
    from objstress.models.strain_network import StrainNetwork


class LearnedLaw(OfCrystal, FittedLaw):
    r"""A fitted law: a polynomial of E by least squares plus a network for what is left.

    .. math:: W = W_\mathrm{poly}(E) + W_\mathrm{net}(E) - W_\mathrm{net}(0) - S_\mathrm{net}(0) : E

    W_poly starts at second order, so W(I) = 0 and P(I) = 0 hold whatever was learned.

    Args:
        structure: the stress-free reference crystal, symmetrised, primitive, or its dictionary; a
            lone node for a material without listed atoms.
        point_group: its point group, in the structure's frame.
        polynomial: energy density in GPa; may be None.
        network: energy density in GPa; may be None.
        domain, density: where the labels lie, (6, 6) and (28, 28), see `FittedLaw`.
        metadata: JSON-able facts about the fit (ions, calculator, errors).
        displacements: how the ions leave the homogeneous deformation, where labels carried them.
    """

    kind = "learned"
    point_group: PointGroup

    def __init__(
        self,
        structure: Structure | dict[str, Any],
        point_group: PointGroup,
        polynomial: InvariantPolynomial | None = None,
        network: ConstitutiveNetwork | StrainNetwork | None = None,
        domain: np.ndarray | Tensor | None = None,
        metadata: dict[str, Any] | None = None,
        displacements: InternalDisplacements | None = None,
        density: np.ndarray | Tensor | None = None,
    ):
        self.displacements = displacements
        self._structure, self.point_group = structure, point_group
        self.polynomial, self.network = polynomial, network
        self.set_domain(domain, density)
        self.metadata = metadata or {}
        self.chunk = 4096 if network is None else network.chunk
        if network is not None:
            network.requires_grad_(False)
            self._origin = network.derivatives(torch.zeros(1, 6, dtype=torch.float64), 1)

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        parts: list[Tensor] = [x.new_zeros(len(x), *[6] * k) for k in range(order + 1)]
        if self.polynomial is not None:
            parts = [a + b for a, b in zip(parts, self.polynomial(x, order), strict=True)]
        if self.network is not None:
            w, s = self._origin
            learned = self.network.derivatives(x, order)
            parts[0] = parts[0] + learned[0] - w - x @ s[0]
            if order >= 1:
                parts[1] = parts[1] + learned[1] - s
            if order >= 2:
                parts[2] = parts[2] + learned[2]
        return tuple(parts)

    def internal_displacements(self, F: Any) -> np.ndarray:
        if self.displacements is None:
            return super().internal_displacements(F)
        x = mandel_strain(as_deformation(F).reshape(-1, 3, 3))
        return self.displacements(x.cpu().numpy())

    def parts(self) -> dict[str, StrainEnergyLaw]:
        """The polynomial and the network as laws of their own, for reports."""
        crystal = (self.structure, self.point_group)
        return {
            "polynomial": LearnedLaw(*crystal, polynomial=self.polynomial),
            "network": LearnedLaw(*crystal, network=self.network),
        }

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description: dict[str, Any] = {
            "kind": self.kind,
            "structure": self.structure_dict(),
            "metadata": self.metadata,
        }
        tensors = {"operations": torch.tensor(self.point_group.operations)}
        tensors |= self.domain_tensors()
        if self.polynomial is not None:
            description["degree"] = self.polynomial.degree
            tensors["polynomial.coefficients"] = self.polynomial.coefficients
        if self.displacements is not None:
            description["displacements"] = self.displacements.degree
            tensors["displacements"] = torch.tensor(self.displacements.coefficients)
        if self.network is not None:
            description["network"] = self.network.describe()
            if hasattr(self.network, "pairs"):
                description["filter_group"] = self.network.group.symbol
                if isinstance(self.network.group, PointGroup):
                    # The symbol alone would be the group in its standard frame.
                    tensors["filter_operations"] = torch.tensor(self.network.group.operations)
            for name, value in self.network.state_dict().items():
                tensors[f"network.{name}"] = value
        return description, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> LearnedLaw:
        structure = description["structure"]
        group = PointGroup.from_operations(tensors["operations"].numpy())
        polynomial = network = displacements = None
        if "degree" in description:
            polynomial = InvariantPolynomial(group, description["degree"])
            polynomial.set_coefficients(tensors["polynomial.coefficients"].numpy())
        if "network" in description:
            network = _network(description, tensors, group)
            prefix = "network."
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        if "displacements" in tensors:
            coefficients = tensors["displacements"].numpy()
            displacements = InternalDisplacements(description["displacements"], coefficients)
        domain, density = tensors.get("domain"), tensors.get("density")
        metadata = description["metadata"]
        return cls(structure, group, polynomial, network, domain, metadata, displacements, density)


def _network(
    description: dict[str, Any], tensors: dict[str, Tensor], group: PointGroup
) -> ConstitutiveNetwork | StrainNetwork:
    """The network that a file describes, its weights not yet those of the file."""
    # Imported here alone, because networks take seconds to import.
    if "filter_group" not in description:
        from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings

        return StrainNetwork(group, StrainNetworkSettings(**description["network"]))
    from pymatgen.core import Structure

    from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings

    name = description["filter_group"]
    filters: SymmetryGroup
    if "filter_operations" in tensors:
        filters = PointGroup.from_operations(tensors["filter_operations"].numpy())
    else:  # O(3), SO(3), and files of 0.1
        filters = group if name == group.symbol else symmetry_group(name)
    settings = NetworkSettings(**description["network"])
    return ConstitutiveNetwork(Structure.from_dict(description["structure"]), filters, settings)
