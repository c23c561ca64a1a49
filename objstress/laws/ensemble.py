"""Several laws of one crystal: their mean, and an error bar on its stress from their spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import as_deformation
from objstress.laws.domain import FittedLaw
from objstress.laws.learned import LearnedLaw

if TYPE_CHECKING:
    from pymatgen.core import Structure


class EnsembleLaw(FittedLaw):
    r"""Several laws of one crystal: their mean, and an error bar on its stress from their spread.

    .. math:: W = \langle W_m \rangle, \qquad
        e(F) = c \sqrt{\langle |P_m(F) - P(F)|^2 \rangle}

    c is measured once, on labels that part of the members did not see: it makes the relative mean
    squares of |P_label - mean of those members' P| and of e alike.

    Args:
        members: laws of one crystal against one reference.
        calibration: c, a pure factor.
        domain, density: where the labels lie, (6, 6) and (28, 28), see `FittedLaw`.
        metadata: JSON-able facts about the fit.

    Raises:
        InputError: fewer than two members.
    """

    kind = "ensemble"

    def __init__(
        self,
        members: Sequence[LearnedLaw],
        calibration: float = 1.0,
        domain: np.ndarray | Tensor | None = None,
        metadata: dict[str, Any] | None = None,
        density: np.ndarray | Tensor | None = None,
    ):
        if len(members) < 2:
            raise InputError("an ensemble needs at least two laws")
        self.members, self.calibration = list(members), calibration
        self.point_group = self.members[0].point_group
        self.set_domain(domain, density)
        self.chunk = min(m.chunk for m in self.members)
        self.metadata = metadata or {}

    @property
    def structure(self) -> Structure:
        """The reference crystal of the members."""
        return self.members[0].structure

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        parts = [m.strain_energy(x, order) for m in self.members]
        return tuple(torch.stack(p).mean(0) for p in zip(*parts, strict=True))

    def internal_displacements(self, F: Any) -> np.ndarray:
        return np.mean([m.internal_displacements(F) for m in self.members], axis=0)

    def stress_error(self, F: Any) -> Tensor:
        f = as_deformation(F)
        points = f.reshape(-1, 3, 3)
        stresses = torch.stack([m.response(points, 1)[1] for m in self.members])
        return self.calibration * stress_spread(stresses).reshape(f.shape[:-2])

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        descriptions = []
        tensors: dict[str, Tensor] = {}
        for k, member in enumerate(self.members):
            description, weights = member.to_dict()
            descriptions.append(description)
            tensors |= {f"{k}.{name}": value for name, value in weights.items()}
        return {
            "kind": self.kind,
            "members": descriptions,
            "calibration": self.calibration,
            "metadata": self.metadata,
        }, tensors | self.domain_tensors()

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> EnsembleLaw:
        members = []
        for k, one in enumerate(description["members"]):
            mark = f"{k}."
            weights = {n.removeprefix(mark): t for n, t in tensors.items() if n.startswith(mark)}
            members.append(LearnedLaw.from_dict(one, weights))
        domain, density = tensors.get("domain"), tensors.get("density")
        return cls(members, description["calibration"], domain, description["metadata"], density)


def stress_spread(stresses: Tensor) -> Tensor:
    gap = stresses - stresses.mean(0)
    return gap.pow(2).sum((-1, -2)).mean(0).sqrt()
