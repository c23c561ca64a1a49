"""The interface of a material law, and the laws that are energies of the Green-Lagrange strain."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objstress.claims import Claim
from objstress.errors import InputError, OutsideDomainWarning
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.tensors import INDEX, mandel_strain, tensor_to_voigt

_SHEAR = torch.tensor([1, 1, 1, 0.5, 0.5, 0.5], dtype=torch.float64).sqrt()[:, None]
"""Tensor components over Mandel components."""
_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""Which Voigt (or Mandel) component ij is."""


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
        return torch.zeros(_as_tensor(F).reshape(-1, 3, 3).shape[0], dtype=torch.bool)

    def stiffness(self) -> np.ndarray:
        """Elastic constants C_ab at F = I in GPa, 6 x 6 Voigt (xx yy zz yz xz xy)."""
        a = self.response(np.eye(3), 2)[2].numpy()
        # At F = I and without stress A_iJkL = C_iJkL.
        return tensor_to_voigt(a)

    def stress_floor(self) -> float:
        """1e-3 times the largest C_ab, GPa: the floor of relative stress errors near F = I."""
        return 1e-3 * float(np.abs(self.stiffness()).max())

    def stress_error(self, F: Any) -> Tensor | None:
        """Error bar of |P|, GPa, shape (n,); None for laws that have none (see `fit_ensemble`)."""
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
        from objstress.laws.ellipticity import acoustic_tensor

        direction = torch.as_tensor(n, dtype=torch.float64)
        if not (direction.norm(dim=-1) > 0).all():
            raise InputError("a direction of length zero has no acoustic tensor")
        return acoustic_tensor(self.response(F, 2)[2], direction)

    def ellipticity(self, F: Any) -> tuple[Tensor, Tensor]:
        """Least eigenvalue of Q(n) over all n (GPa, shape (n,)) and that n; <= 0: ellipticity lost.

        See `laws.ellipticity.smallest_acoustic`.
        """
        from objstress.laws.ellipticity import smallest_acoustic

        f = _as_tensor(F)
        values, directions = smallest_acoustic(self.response(f.reshape(-1, 3, 3), 2)[2])
        return (values[0], directions[0]) if f.ndim == 2 else (values, directions)

    def guarded(self) -> MaterialLaw:
        """The same law inside its trained strains, its energy growing everywhere outside.

        See `laws.guarded.GuardedLaw`.
        """
        from objstress.laws.guarded import GuardedLaw

        return GuardedLaw(self)

    def rotated(self, Q: Any) -> MaterialLaw:
        """The law of a grain turned by Q (crystal frame to sample frame): W_Q(F) = W(F Q)."""
        from objstress.laws.rotated import RotatedLaw

        return RotatedLaw(self, Q)

    def compile(self, tolerance: float = 1e-3, kind: str = "polynomial") -> MaterialLaw:
        """A faster law of the same symmetry, domain and interface.

        Args:
            tolerance: largest relative error of P that "polynomial" may make. A guarded law is
                compiled inside and guarded again; of an ensemble the mean is compiled, its error
                bars stay with the ensemble.
            kind: "polynomial" fits one G-invariant polynomial of E, see
                `laws.compiled.compile_polynomial`; "torch" fuses the law as it is into one
                program, see `laws.fused.FusedLaw`.

        Raises:
            InputError: a tolerance that cannot be met (the best is named), an unknown kind.
        """
        from objstress.laws.compiled import compile_law

        return compile_law(self, tolerance, kind)

    def to_ufl(self, F: Any) -> Any:
        """W as a UFL expression of a UFL tensor F, GPa; compiled laws have one.

        Raises:
            InputError: a law that is no polynomial.
        """
        raise InputError("this law has no UFL form; law.compile() makes one that has")

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


class StrainEnergyLaw(MaterialLaw):
    r"""A law given by W(E): objective by construction.

    S = dW/dE,   P = F S,   A_iJkL = delta_ik S_JL + F_iM (dS_MJ/dE_NL) F_kN
    """

    def _evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        # Components first, points last: every product runs along contiguous rows, which for
        # matrices as small as these is several times faster than batched matrix products.
        n = len(F)
        f = F.permute(1, 2, 0).contiguous()
        parts = self.strain_energy(_mandel_strain(f).T, order)
        out = [parts[0]]
        if order >= 1:
            second = (parts[1].T * _SHEAR)[_VOIGT.ravel()].view(3, 3, n)
            out.append(_sum_products(f[:, :, None].unbind(1), second.unbind(), torch.empty_like(f)))
        if order >= 2:
            # C_MJNL, rows and columns numbered as Voigt does; half[MJ, k, L] = C_MJNL F_kN.
            c = parts[2].permute(1, 2, 0) * (_SHEAR[:, None] * _SHEAR)
            half = f.new_empty(6, 3, 3, n)
            for L in range(3):
                columns = [c[:, v, None] for v in _VOIGT[:, L]]
                _sum_products(f.unbind(1), columns, half[:, :, L])
            tangent = f.new_empty(3, 3, 3, 3, n)
            for J in range(3):
                rows = [half[v] for v in _VOIGT[:, J]]
                _sum_products(f[:, :, None, None].unbind(1), rows, tangent[:, J])
            for i in range(3):
                tangent[i, :, i] += second
            out.append(tangent)
        return tuple(out[:1]) + tuple(t.view(-1, n).T.view(n, *t.shape[:-1]) for t in out[1:])

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """W (n,), dW/dx (n, 6), d2W/dx2 (n, 6, 6) up to `order` at Mandel strains x (n, 6)."""
        raise NotImplementedError


def outside_domain(F: Any, domain: Tensor | None) -> Tensor:
    """Which F (n, 3, 3) have x M x > 1, x Mandel's E and M the domain (6, 6), bool (n,)."""
    x = mandel_strain(_as_tensor(F).reshape(-1, 3, 3))
    if domain is None:
        return torch.zeros(len(x), dtype=torch.bool)
    return ((x @ domain) * x).sum(-1) > 1 + 1e-9


def _mandel_strain(f: Tensor) -> Tensor:
    """E of F (3, 3, n) in Mandel form, (6, n)."""
    c = torch.stack([(f[:, i] * f[:, j]).sum(0) for i, j in INDEX])
    c[:3] -= 1.0
    return c / (2 * _SHEAR)


def _determinant(f: Tensor) -> Tensor:
    """det F of F (3, 3, n)."""
    a, b, c = f
    return (a * torch.linalg.cross(b, c, dim=0)).sum(0)


def _sum_products(left: Sequence[Tensor], right: Sequence[Tensor], out: Tensor) -> Tensor:
    """sum_m left[m] right[m], written into `out`."""
    torch.mul(left[0], right[0], out=out)
    for a, b in zip(left[1:], right[1:], strict=True):
        out.addcmul_(a, b)
    return out


def _as_tensor(F: Any) -> Tensor:
    f = torch.as_tensor(F, dtype=torch.float64)
    if f.shape[-2:] != (3, 3) or f.ndim not in (2, 3):
        raise InputError(f"F has shape {tuple(f.shape)}; give (n, 3, 3) or (3, 3)")
    return f.detach()
