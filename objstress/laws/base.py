"""The interface of a material law, and the register of the kinds of law."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.elasticity.acoustic import acoustic_tensor, smallest_acoustic
from objstress.errors import InputError, OutsideDomainWarning
from objstress.io.weights import write_tensors
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.voigt import tensor_to_voigt

KINDS: dict[str, type[MaterialLaw]] = {}
"""The kinds of law that files know, by name; a class with a `kind` enters itself."""


class MaterialLaw:
    r"""W(F), P_iJ = dW/dF_iJ, A_iJkL = dP_iJ/dF_kL of a hyperelastic crystal.

    F has shape (n, 3, 3) (or (3, 3) for one point) in the crystal's frame; float64 tensors come
    back, energy density and stress in GPa. Points are evaluated in chunks of `chunk`, so that
    memory does not grow with n beyond the answer itself. A law is never changed by evaluating it.

    Attributes:
        point_group: the symmetry group of the material.
        outside_action: what `energy`, `stress` and `tangent` do at strains outside the trained
            domain: "warn" (with the count), "error" or "ignore".
        kind: what a file calls this kind of law; a class that gives one is registered under it in
            `KINDS`, and `from_dict` makes a law of it from a file.
    """

    point_group: SymmetryGroup
    chunk: int = 65536
    outside_action: str = "warn"
    kind: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            KINDS[cls.kind] = cls

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
        f = as_deformation(F)
        sigma = self.stress(f) @ f.transpose(-1, -2)
        return sigma / torch.linalg.det(f)[..., None, None]

    def response(self, F: Any, order: int) -> tuple[Tensor, ...]:
        """(W,), (W, P) or (W, P, A) for order 0, 1, 2; no warning about the domain.

        Raises:
            InputError: F of a wrong shape, not finite, or with det F <= 0 (the count is named).
        """
        f = as_deformation(F)
        points = f.reshape(-1, 3, 3)
        n = len(points)
        shapes = ((), (3, 3), (3, 3, 3, 3))[: order + 1]
        # Filled chunk by chunk: concatenating at the end would hold everything twice.
        whole = tuple(torch.empty(n, *shape, dtype=torch.float64) for shape in shapes)
        bad = 0
        for start in range(0, n, self.chunk):
            part = points[start : start + self.chunk]
            jacobian = _determinant(part.permute(1, 2, 0))
            if not torch.isfinite(jacobian).all():
                raise InputError("the deformation gradient has entries that are not finite")
            bad += int((jacobian <= 0).sum())
            if bad == 0:
                k = len(part)
                for target, value in zip(whole, self._evaluate(part, order), strict=True):
                    # As matrices: their transposed copy, if it is one, is a fast one.
                    target[start : start + k].view(k, -1).copy_(value.reshape(k, -1))
        if bad:
            raise InputError(f"det F <= 0 at {bad} of {n} points: no material there")
        return tuple(w[0] for w in whole) if f.ndim == 2 else whole

    def outside(self, F: Any) -> Tensor:
        """Which points lie outside the strains that the law was trained on, bool (n,)."""
        return torch.zeros(as_deformation(F).reshape(-1, 3, 3).shape[0], dtype=torch.bool)

    def stiffness(self) -> np.ndarray:
        """Elastic constants C_ab at F = I in GPa, 6 x 6 Voigt (xx yy zz yz xz xy)."""
        a = self.response(np.eye(3), 2)[2].numpy()
        # At F = I and without stress A_iJkL = C_iJkL.
        return tensor_to_voigt(a)

    def stress_floor(self) -> float:
        """1e-3 times the largest C_ab, GPa: the floor of relative stress errors near F = I."""
        return 1e-3 * float(np.abs(self.stiffness()).max())

    def stress_error(self, F: Any) -> Tensor | None:
        """Error bar of |P|, GPa, shape (n,); None for laws without one, see `fit_law_ensemble`."""
        return None

    def internal_displacements(self, F: Any) -> np.ndarray:
        """u (n, atoms, 3) in Angstrom: an ion at X in the reference cell lies at F (X + u).

        Raises:
            InputError: a law whose labels carried no relaxed ions.
        """
        raise InputError(
            "this law knows no internal displacements: its labels carried no relaxed ions"
        )

    def acoustic_tensor(self, F: Any, n: Any) -> Tensor:
        """Q_ik(n) = A_iJkL n_J n_L, GPa, (..., 3, 3), n a direction of the reference body."""
        direction = torch.as_tensor(n, dtype=torch.float64)
        if not (direction.norm(dim=-1) > 0).all():
            raise InputError("a direction of length zero has no acoustic tensor")
        return acoustic_tensor(self.response(F, 2)[2], direction)

    def ellipticity(self, F: Any) -> tuple[Tensor, Tensor]:
        """Least eigenvalue of Q(n) over all n (GPa, shape (n,)) and that n; <= 0: ellipticity lost.

        See `laws.ellipticity.smallest_acoustic`.
        """
        f = as_deformation(F)
        values, directions = smallest_acoustic(self.response(f.reshape(-1, 3, 3), 2)[2])
        return (values[0], directions[0]) if f.ndim == 2 else (values, directions)

    def save(self, path: str | Path) -> None:
        """Write the law to one file (safetensors with JSON inside), whole or not at all.

        Raises:
            InputError: the file cannot be written, or the law is not to be saved (a rotated one).
        """
        write_tensors(path, *self.to_dict())

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """JSON description and tensors from which `from_dict` makes the law again."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> MaterialLaw:
        """The law that `to_dict` described."""
        raise NotImplementedError

    def _evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _public(self, F: Any, order: int) -> tuple[Tensor, ...]:
        if self.outside_action != "ignore":
            points = as_deformation(F).reshape(-1, 3, 3)
            total = len(points)
            outside = sum(int(self.outside(part).sum()) for part in points.split(65536))
            if outside:
                text = f"{outside} of {total} points lie outside the strains the law was trained on"
                if self.outside_action == "error":
                    raise InputError(text)
                warnings.warn(text, OutsideDomainWarning, stacklevel=3)
        return self.response(F, order)


class LawAround(MaterialLaw):
    """A law around another one of the same crystal and frame: what is known of it is that one's."""

    law: Any

    @property
    def metadata(self) -> dict[str, Any]:
        """The facts of the law inside."""
        return getattr(self.law, "metadata", {})

    def outside(self, F: Any) -> Tensor:
        return self.law.outside(F)

    def internal_displacements(self, F: Any) -> np.ndarray:
        return self.law.internal_displacements(F)

    def stress_error(self, F: Any) -> Tensor | None:
        return self.law.stress_error(F)


def _determinant(f: Tensor) -> Tensor:
    """det F of F (3, 3, n)."""
    a, b, c = f
    return (a * torch.linalg.cross(b, c, dim=0)).sum(0)


def as_deformation(F: Any) -> Tensor:
    f = torch.as_tensor(F, dtype=torch.float64)
    if f.shape[-2:] != (3, 3) or f.ndim not in (2, 3):
        raise InputError(f"F has shape {tuple(f.shape)}; give (n, 3, 3) or (3, 3)")
    return f.detach()


def law_from_dict(description: dict[str, Any], tensors: dict[str, Tensor]) -> MaterialLaw:
    """The law that `to_dict` described; a law around another one asks for that one here."""
    return KINDS[description["kind"]].from_dict(description, tensors)
