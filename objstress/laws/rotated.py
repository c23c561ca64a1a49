"""A law in the frame of a sample in which the crystal is rotated."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import MaterialLaw, as_deformation
from objstress.laws.under_field import as_field
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import mandel_rotations


class RotatedLaw(MaterialLaw):
    r"""A law in the frame of a sample in which the crystal is rotated by Q.

    .. math:: W_Q(F) = W(F Q), \qquad P_Q = P(F Q) Q^T, \qquad
        A_{Q,iJkL} = A_{iMkN}(F Q) Q_{JM} Q_{LN}

    A field is turned alike, H_Q(F, E_0) = H(F Q, Q^T E_0), and D_0 with it.

    Args:
        law: in the crystal's frame.
        Q: proper rotation (3, 3), crystal frame to sample frame: a crystal vector v is Q v in
            the sample.

    Raises:
        InputError: Q is not a rotation.
    """

    def __init__(self, law: MaterialLaw, Q: Any):
        q = np.asarray(Q, dtype=np.float64)
        proper = q.shape == (3, 3) and abs(np.linalg.det(q) - 1) < 1e-8
        if not proper or np.abs(q @ q.T - np.eye(3)).max() > 1e-8:
            raise InputError("the orientation is not a rotation matrix (Q Q^T = I, det Q = 1)")
        self.law, self.Q = law, torch.tensor(q)
        self.chunk, self.outside_action = law.chunk, law.outside_action
        self.knows_field = law.knows_field
        group = law.point_group
        self.point_group = group.rotated(q) if isinstance(group, PointGroup) else group

    @property
    def largest_field(self) -> float | None:  # type: ignore[override]
        """|E0| in V/nm up to which the law was fitted; None where it has no end."""
        return self.law.largest_field

    def in_crystal(self, F: Any) -> Tensor:
        return self.law.in_crystal(self._turned(F))

    def outside(self, F: Any) -> Tensor:
        return self.law.outside(self._turned(F))

    @property
    def domain(self) -> Tensor | None:
        """Matrix M (6, 6) of the trained strains in the sample's frame; None without a domain."""
        domain = getattr(self.law, "domain", None)
        rotation = torch.tensor(mandel_rotations(self.Q.numpy()[None])[0])
        return None if domain is None else rotation @ domain @ rotation.T

    def internal_displacements(self, F: Any) -> np.ndarray:
        """Displacements in the sample's frame: an ion at Q X lies at F Q (X + u_crystal) = F (Q X +
        u).
        """
        return self.law.internal_displacements(self._turned(F)) @ self.Q.numpy().T

    def stress_error(self, F: Any) -> Tensor | None:
        return self.law.stress_error(self._turned(F))

    def _turned(self, F: Any) -> Tensor:
        f = as_deformation(F)
        return f @ self.Q.to(f.device)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        raise InputError("save the law in the crystal's frame; the orientation belongs to the body")

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        parts = self.law.evaluate(F @ self.Q, order)
        out = [parts[0]]
        if order >= 1:
            out.append(parts[1] @ self.Q.T)
        if order >= 2:
            out.append(torch.einsum("nimkp,jm,lp->nijkl", parts[2], self.Q, self.Q))
        return tuple(out)

    def electric_response(self, F: Any, E0: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        q = self.Q.to(f.device)
        parts = self.law.electric_response(f @ q, as_field(E0, f) @ q, order)
        out = [parts[0]]
        if order >= 1:
            out += [parts[1] @ q.T, parts[2] @ q.T]
        if order >= 2:
            a, b, k = parts[3:]
            out.append(torch.einsum("...imkp,jm,lp->...ijkl", a, q, q))
            out.append(torch.einsum("...iml,jm,kl->...ijk", b, q, q))
            out.append(q @ k @ q.T)
        return tuple(out)
