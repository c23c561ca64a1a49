"""A family of materials: one law of strain and of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError, OutsideDomainWarning
from objstress.io.weights import read_tensors, rebuilding, write_tensors
from objstress.laws.base import as_deformation
from objstress.laws.learned import LearnedLaw
from objstress.laws.outside import check_action
from objstress.laws.reference import OfCrystal
from objstress.laws.strain_energy import StrainEnergyLaw, mandel_strain, tensor_from_mandel
from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings
from objstress.symmetry.point_group import PointGroup

if TYPE_CHECKING:
    from pymatgen.core import Structure

type Values = Mapping[str, float] | Sequence[float] | np.ndarray | Tensor


class LawFamily(OfCrystal):
    r"""The laws of materials that differ by parameters, such as strut radii or a composition.

    .. math:: W(C; p), \qquad P = \partial W / \partial F

    Every member is objective, has exactly the group's symmetry and is free of stress at F = I.

    Args:
        structure: the lone node that stands for the materials, or its dictionary.
        network: energy density in GPa, of strain and parameters from -1 to 1.
        names: of the parameters, in their order.
        lower, upper: least and largest values of the materials that it was fitted to, (q,).
        domain, density: where their strains lie, (6, 6) and (28, 28), see `LearnedLaw`.
        metadata: JSON-able facts about the fit.

    Attributes:
        point_group: of all members.
        outside_action: what is done with parameters outside those of the fit, and by members at
            strains outside: "warn", "error" or "ignore".

    Raises:
        InputError: names, bounds and the network's parameters differ in number.
    """

    kind = "family"

    def __init__(
        self,
        structure: Structure | dict[str, Any],
        network: StrainNetwork,
        names: Sequence[str],
        lower: Any,
        upper: Any,
        domain: Any = None,
        density: Any = None,
        metadata: dict[str, Any] | None = None,
    ):
        self._structure = structure
        self.network, self.names = network, tuple(names)
        network.requires_grad_(False)
        self.point_group = network.group
        self.lower, self.upper = (torch.as_tensor(x, dtype=torch.float64) for x in (lower, upper))
        number = network.settings.parameters
        if not len(self.names) == len(self.lower) == len(self.upper) == number:
            raise InputError(f"{len(self.names)} names for {number} parameters of the network")
        self._strains = LearnedLaw(
            structure, self.point_group, None, None, domain, None, None, density
        )
        self.metadata = metadata or {}
        self.outside_action = "warn"

    def at(self, p: Values) -> LearnedLaw:
        """The law of one member, a law like any other.

        Args:
            p: its parameters, {name: value} or in the order of `names`.

        Raises:
            InputError: missing, unknown or non-finite parameters; with `outside_action` "error"
                also parameters outside those of the fit.
        """
        values = self._values(p)
        if values.ndim != 1:
            raise InputError(f"parameters of shape {tuple(values.shape)}: give one of each name")
        self.report(values[None])
        known = dict(zip(self.names, values.tolist(), strict=True))
        law = LearnedLaw(
            self.structure,
            self.point_group,
            network=self.network.at(self._scaled(values)),
            domain=self._strains.domain,
            density=self._strains.density,
            metadata=self.metadata | {"parameters": known},
        )
        law.outside_action = self.outside_action
        return law

    def response(self, F: Any, p: Any, order: int) -> tuple[Tensor, ...]:
        """Energy, stress and tangent of points of different members.

        Args:
            F: deformation gradients, (n, 3, 3).
            p: parameters of each point, (n, q), or of all, (q,).
            order: 0, 1 or 2, the order of the last derivative.

        Returns:
            (W,), (W, P) or (W, P, A) in GPa, see `MaterialLaw.response`.

        Raises:
            InputError: F that no law takes; parameters that are not finite or of another shape.
        """
        f = as_deformation(F).reshape(-1, 3, 3)
        z = self._scaled(self._values(p)).to(f.device).expand(len(f), len(self.names))
        size = self.network.chunk
        parts = [
            _AtPoints(self, its).response(some, order)
            for some, its in zip(f.split(size), z.split(size), strict=True)
        ]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def by_parameters(self, F: Any, p: Any) -> tuple[Tensor, Tensor]:
        r"""Derivatives by the parameters, as designs need them.

        .. math:: \partial W / \partial p_k, \qquad \partial P_{iJ} / \partial p_k

        Args:
            F: deformation gradients, (n, 3, 3).
            p: parameters of each point, (n, q), or of all, (q,).

        Returns:
            (n, q) and (n, 3, 3, q), GPa over each parameter's own unit.
        """
        f = as_deformation(F).reshape(-1, 3, 3)
        values = self._values(p).to(f.device).expand(len(f), len(self.names))
        energies, stresses = [], []
        size = self.network.chunk
        for some, its in zip(f.split(size), values.split(size), strict=True):
            with torch.enable_grad():
                q = its.clone().requires_grad_()
                w, s = self.network.derivatives(mandel_strain(some), 1, self._scaled(q))
                rows = [torch.autograd.grad(w.sum(), q, retain_graph=True)[0]]
                rows += [
                    torch.autograd.grad(s[:, a].sum(), q, retain_graph=a < 5)[0] for a in range(6)
                ]
            energies.append(rows[0])
            second = tensor_from_mandel(torch.stack(rows[1:], dim=2))  # (n, q, 3, 3)
            stresses.append((some[:, None] @ second).permute(0, 2, 3, 1))
        return torch.cat(energies), torch.cat(stresses)

    def outside(self, p: Any) -> Tensor:
        """Which parameters lie outside those of the fit.

        Args:
            p: (n, q) or (q,), each in its own unit.

        Returns:
            Boolean tensor, shape (n,).
        """
        values = self._values(p).reshape(-1, len(self.names))
        margin = 1e-9 * (self.upper - self.lower)
        return ((values < self.lower - margin) | (values > self.upper + margin)).any(dim=1)

    def strains_outside(self, F: Any) -> Tensor:
        """Which points lie outside the strains of the fit.

        Args:
            F: deformation gradients, (n, 3, 3).

        Returns:
            Boolean tensor, shape (n,).
        """
        return self._strains.outside(F)

    def report(self, p: Any) -> None:
        """Warn of parameters outside those of the fit, or refuse them, as `outside_action` says.

        Args:
            p: (n, q) or (q,), each in its own unit.

        Raises:
            InputError: there are such parameters, and `outside_action` is "error".
        """
        values = self._values(p).reshape(-1, len(self.names))
        outside = self.outside(values)
        if self.outside_action == "ignore" or not outside.any():
            return
        worst = (self._scaled(values).abs() - 1).flatten().argmax()
        k = int(worst) % len(self.names)
        text = (
            f"parameter {self.names[k]} = {float(values.flatten()[worst]):.4g} is outside the "
            f"{float(self.lower[k]):.4g} to {float(self.upper[k]):.4g} of the materials fitted"
        )
        if len(values) > 1:
            text += f" ({int(outside.sum())} of {len(values)} points are)"
        if self.outside_action == "error":
            raise InputError(text)
        warnings.warn(text, OutsideDomainWarning, stacklevel=3)

    def save(self, path: str | Path) -> None:
        """Write the family to one file, whole or not at all.

        Args:
            path: of the file; `load_family` reads it.

        Raises:
            InputError: the file cannot be written.
        """
        description = {
            "kind": self.kind,
            "structure": self.structure_dict(),
            "names": list(self.names),
            "network": self.network.describe(),
            "metadata": self.metadata,
        }
        tensors = {
            "operations": torch.tensor(self.point_group.operations),
            "lower": self.lower,
            "upper": self.upper,
        }
        tensors |= self._strains.domain_tensors()
        for name, value in self.network.state_dict().items():
            tensors[f"network.{name}"] = value
        write_tensors(path, description, tensors)

    def _values(self, p: Values) -> Tensor:
        if isinstance(p, Mapping):
            if wrong := [name for name in p if name not in self.names]:
                raise InputError(f"no parameter {wrong[0]!r}: there are {', '.join(self.names)}")
            if missing := [name for name in self.names if name not in p]:
                raise InputError(f"parameter {missing[0]!r} is missing")
            p = [p[name] for name in self.names]
        values = torch.as_tensor(p, dtype=torch.float64)
        if values.ndim not in (1, 2) or values.shape[-1] != len(self.names):
            raise InputError(
                f"parameters of shape {tuple(values.shape)}: give {', '.join(self.names)} in the "
                "last place"
            )
        if not torch.isfinite(values).all():
            raise InputError("a parameter is not a finite number")
        return values

    def _scaled(self, values: Tensor) -> Tensor:
        """Parameters from -1 to 1."""
        lower, upper = self.lower.to(values.device), self.upper.to(values.device)
        return (2 * values - lower - upper) / (upper - lower)


class _AtPoints(StrainEnergyLaw):
    """The members of one chunk of points, each with its own parameters."""

    def __init__(self, family: LawFamily, p: Tensor):
        self.point_group, self.network, self.p = family.point_group, family.network, p

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.network.derivatives(x, order, self.p)


def is_family(path: str | Path) -> bool:
    """Whether a file holds a family of laws.

    Args:
        path: the file of a law or of a family.

    Raises:
        InputError: the file is missing, damaged, or of a newer format.
    """
    return read_tensors(path, "law")[0].get("kind") == LawFamily.kind


def load_family(path: str | Path, outside: str = "warn") -> LawFamily:
    """Load the family of laws in a file.

    Args:
        path: a file that `LawFamily.save` wrote.
        outside: what is done with parameters, and strains, outside those of the fit: "warn",
            "error" or "ignore".

    Raises:
        InputError: the file is missing, damaged, of a newer format, or one law.
    """
    check_action(outside)
    description, tensors = read_tensors(path, "family")
    if description.get("kind") != LawFamily.kind:
        raise InputError(f"{path}: no family of laws; load one law with load_law")
    with rebuilding(path, "family"):
        group = PointGroup.from_operations(tensors["operations"].numpy())
        network = StrainNetwork(group, StrainNetworkSettings(**description["network"]))
        prefix = "network."
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        family = LawFamily(
            description["structure"],
            network,
            description["names"],
            tensors["lower"],
            tensors["upper"],
            tensors.get("domain"),
            tensors.get("density"),
            description["metadata"],
        )
    family.outside_action = outside
    return family
