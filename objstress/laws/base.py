"""The interface of a material law, and the laws that are energies of the Green-Lagrange strain."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.claims import Claim
from objstress.errors import InputError, OutsideDomainWarning
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.tensors import (
    MANDEL,
    mandel_strain,
    mandel_to_voigt,
    tensor_from_mandel,
)

_BASIS = torch.tensor(MANDEL)


class MaterialLaw:
    r"""W(F), P_iJ = dW/dF_iJ, A_iJkL = dP_iJ/dF_kL of a hyperelastic crystal.

    F has shape (n, 3, 3) (or (3, 3) for one point) in the crystal's frame; float64 tensors come
    back, energy density and stress in GPa. Points are evaluated in chunks of `chunk`, so that
    memory does not grow with n beyond the answer itself. A law is never changed by evaluating it.

    Attributes:
        point_group: the symmetry group of the material.
        outside_action: what `energy`, `stress` and `tangent` do at strains outside the trained
            domain: "warn" (with the count), "error" or "ignore".
    """

    point_group: SymmetryGroup
    chunk: int = 65536
    outside_action: str = "warn"

    def energy(self, F: Any) -> Tensor:
        """Energy density W per reference volume, GPa, shape (n,)."""
        return self._public(F, 0)[0]

    def stress(self, F: Any) -> Tensor:
        """First Piola-Kirchhoff stress P = dW/dF, GPa, shape (n, 3, 3)."""
        return self._public(F, 1)[1]

    def tangent(self, F: Any) -> Tensor:
        """A = dP/dF, GPa, shape (n, 3, 3, 3, 3), index order iJkL."""
        return self._public(F, 2)[2]

    def cauchy_stress(self, F: Any) -> Tensor:
        """sigma = P F^T / J, GPa, shape (n, 3, 3), positive in tension."""
        f = _as_tensor(F)
        sigma = self.stress(f) @ f.transpose(-1, -2)
        return sigma / torch.linalg.det(f)[..., None, None]

    def response(self, F: Any, order: int) -> tuple[Tensor, ...]:
        """(W,), (W, P) or (W, P, A) for order 0, 1, 2; no warning about the domain.

        Raises:
            InputError: F of a wrong shape, not finite, or with det F <= 0 (the count is named).
        """
        f = _as_tensor(F)
        points = f.reshape(-1, 3, 3)
        n = len(points)
        shapes = ((), (3, 3), (3, 3, 3, 3))[: order + 1]
        # Filled chunk by chunk: concatenating at the end would hold everything twice.
        whole = tuple(torch.empty(n, *shape, dtype=torch.float64) for shape in shapes)
        bad = 0
        for start in range(0, n, self.chunk):
            part = points[start : start + self.chunk]
            if not torch.isfinite(part).all():
                raise InputError("the deformation gradient has entries that are not finite")
            inverted = int((torch.linalg.det(part) <= 0).sum())
            bad += inverted
            if bad == 0:
                values = self._evaluate(part, order)
                for target, value in zip(whole, values, strict=True):
                    target[start : start + self.chunk] = value
        if bad:
            raise InputError(f"det F <= 0 at {bad} of {n} points: no material there")
        return tuple(w[0] for w in whole) if f.ndim == 2 else whole

    def outside(self, F: Any) -> Tensor:
        """Which points lie outside the strains that the law was trained on, bool (n,)."""
        return torch.zeros(_as_tensor(F).reshape(-1, 3, 3).shape[0], dtype=torch.bool)

    def stiffness(self) -> np.ndarray:
        """Elastic constants C_ab at F = I in GPa, 6 x 6 Voigt (xx yy zz yz xz xy)."""
        a = self.response(np.eye(3), 2)[2].numpy()
        # At F = I and without stress A_iJkL = C_iJkL.
        return mandel_to_voigt(np.einsum("aij,ijkl,bkl->ab", MANDEL, a, MANDEL))

    def stress_floor(self) -> float:
        """1e-3 times the largest C_ab, GPa: the floor of relative stress errors near F = I."""
        return 1e-3 * float(np.abs(self.stiffness()).max())

    def rotated(self, Q: Any) -> MaterialLaw:
        """The law of a grain turned by Q (crystal frame to sample frame): W_Q(F) = W(F Q)."""
        from objstress.laws.rotated import RotatedLaw

        return RotatedLaw(self, Q)

    def check(self, samples: int = 1000, seed: int = 0) -> list[Claim]:
        """Measure what the law promises: objectivity, symmetry, zero, tangent, work, spin."""
        from objstress.laws.conformance import check_law

        return check_law(self, samples, seed)

    def save(self, path: str | Path) -> None:
        """Write the law to one file (safetensors with JSON inside), whole or not at all."""
        from objstress.laws.files import save_law

        save_law(self, path)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """JSON description and tensors from which `from_dict` makes the law again."""
        raise NotImplementedError

    def _evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _public(self, F: Any, order: int) -> tuple[Tensor, ...]:
        if self.outside_action != "ignore":
            points = _as_tensor(F).reshape(-1, 3, 3)
            total = len(points)
            outside = sum(int(self.outside(part).sum()) for part in points.split(65536))
            if outside:
                text = f"{outside} of {total} points lie outside the strains the law was trained on"
                if self.outside_action == "error":
                    raise InputError(text)
                warnings.warn(text, OutsideDomainWarning, stacklevel=3)
        return self.response(F, order)


class StrainEnergyLaw(MaterialLaw):
    r"""A law given by W(E): objective by construction.

    S = dW/dE,   P = F S,   A_iJkL = delta_ik S_JL + F_iM (dS_MJ/dE_NL) F_kN
    """

    def _evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        parts = self.strain_energy(mandel_strain(F), order)
        out = [parts[0]]
        if order >= 1:
            second = tensor_from_mandel(parts[1])
            out.append(F @ second)
        if order >= 2:
            push = torch.einsum("nim,amj->naij", F, _BASIS).reshape(-1, 6, 9)
            tangent = (push.transpose(1, 2) @ parts[2] @ push).reshape(-1, 3, 3, 3, 3)
            geometric = torch.einsum("ik,njl->nijkl", torch.eye(3, dtype=F.dtype), second)
            out.append(tangent + geometric)
        return tuple(out)

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6) up to `order` at Mandel strains x (n, 6)."""
        raise NotImplementedError


def _as_tensor(F: Any) -> Tensor:
    f = torch.as_tensor(F, dtype=torch.float64)
    if f.shape[-2:] != (3, 3) or f.ndim not in (2, 3):
        raise InputError(f"F has shape {tuple(f.shape)}; give (n, 3, 3) or (3, 3)")
    return f.detach()
