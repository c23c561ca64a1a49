"""The interface of a material law, and the register of the kinds of law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from objstress.elasticity.acoustic import acoustic_tensor, smallest_acoustic
from objstress.errors import InputError
from objstress.io.weights import write_tensors
from objstress.laws.outside import OutsideWatch, report_fields
from objstress.laws.under_field import UnderField
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.voigt import tensor_to_voigt

SHAPES: tuple[tuple[int, ...], ...] = ((), (3, 3), (3, 3, 3, 3))
"""Shapes of W, P and A at one point."""
KINDS: dict[str, type[MaterialLaw]] = {}
"""The kinds of law that files know, by name; a class with a `kind` enters itself."""


class MaterialLaw(UnderField):
    r"""A hyperelastic material law: energy density, stress and tangent of a deformation gradient.

    .. math:: W(F), \qquad P_{iJ} = \partial W / \partial F_{iJ}, \qquad
        A_{iJkL} = \partial P_{iJ} / \partial F_{kL}

    F has shape (n, 3, 3), or (3, 3) for one point, in the crystal's frame. Results are float64
    tensors in GPa on the device of F. Points are evaluated in chunks of `chunk`, so that memory
    does not grow with n beyond the result itself. Evaluating a law never changes it: its own
    tensors stay on the CPU, and for another device a copy of it is made once and kept.

    A law of your own gives `evaluate` and `point_group`; with a `kind`, `to_dict` and `from_dict`
    it can also be saved and loaded.

    Attributes:
        point_group: the symmetry group of the material.
        chunk: number of points evaluated at a time.
        outside_action: what is done at strains outside those of the fit: "warn" (with the count
            and the worst point), "error" or "ignore"; by `energy`, `stress` and `tangent` at each
            call, by finite elements after each step.
        kind: what a file calls this kind of law; a class that gives one is registered under it in
            `KINDS`, and its `from_dict` makes a law from a file.
    """

    point_group: SymmetryGroup
    chunk: int = 65536
    outside_action: str = "warn"
    kind: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind := cls.__dict__.get("kind"):
            other = KINDS.get(kind, cls)
            # The same class again, as where a notebook's cell is run twice, takes its own place.
            if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise TypeError(f"kind = {kind!r} is that of {other.__qualname__}: give another")
            KINDS[kind] = cls

    def energy(self, F: Any) -> Tensor:
        """Energy density W per reference volume.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).

        Returns:
            W in GPa, shape (n,).

        Raises:
            InputError: see `response`; with `outside_action` "error" also points outside the
                domain.
        """
        return self._public(F, 0)[0]

    def stress(self, F: Any, E0: Any = None) -> Tensor:
        """First Piola-Kirchhoff stress P = dW/dF, or dH/dF under an electric field.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: material fields in V/nm, (n, 3) or (3,), for laws that know one.

        Returns:
            P in GPa, shape (n, 3, 3).

        Raises:
            InputError: see `response`; with `outside_action` "error" also points outside the
                domain; a field for a law that knows none.
        """
        return self._public(F, 1)[1] if E0 is None else self._under_field(F, E0, 1)[1]

    def tangent(self, F: Any, E0: Any = None) -> Tensor:
        """Tangent A = dP/dF.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: as for `stress`.

        Returns:
            A in GPa, shape (n, 3, 3, 3, 3), index order iJkL.

        Raises:
            InputError: see `response`; with `outside_action` "error" also points outside the
                domain.
        """
        return self._public(F, 2)[2] if E0 is None else self._under_field(F, E0, 2)[3]

    def cauchy_stress(self, F: Any) -> Tensor:
        """Cauchy stress sigma = P F^T / J, positive in tension.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).

        Returns:
            sigma in GPa, shape (n, 3, 3).
        """
        f = as_deformation(F)
        sigma = self.stress(f) @ f.transpose(-1, -2)
        return sigma / torch.linalg.det(f)[..., None, None]

    def response(self, F: Any, order: int) -> tuple[Tensor, ...]:
        """Energy, stress and tangent together, without a warning about the trained domain.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            order: 0, 1 or 2, the order of the last derivative.

        Returns:
            (W,), (W, P) or (W, P, A) in GPa, shapes (n,), (n, 3, 3) and (n, 3, 3, 3, 3).

        Raises:
            InputError: F has another shape, is not finite, or has det F <= 0 (the count is named).
        """
        f = as_deformation(F)
        return in_chunks(self, f, SHAPES[: order + 1], lambda law, x, _: law.evaluate(x, order))

    def outside(self, F: Any) -> Tensor:
        """Which points lie outside the strains that the law was trained on.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).

        Returns:
            Boolean tensor, shape (n,).
        """
        f = as_deformation(F).reshape(-1, 3, 3)
        return f.new_zeros(len(f), dtype=torch.bool)

    def in_crystal(self, F: Any) -> Tensor:
        """F as the crystal has it, in the frame of its labels.

        Args:
            F: deformation gradients of the sample, (n, 3, 3).

        Returns:
            F Q for a crystal that is rotated by Q, (n, 3, 3).
        """
        return as_deformation(F)

    def stiffness(self) -> np.ndarray:
        """Elastic constants C_ab at F = I in GPa, 6 x 6 Voigt (xx yy zz yz xz xy)."""
        a = self.response(np.eye(3), 2)[2].numpy()
        # At F = I and without stress A_iJkL = C_iJkL.
        return tensor_to_voigt(a)

    def stress_floor(self) -> float:
        """1e-3 times the largest C_ab, GPa: the floor of relative stress errors near F = I."""
        return 1e-3 * float(np.abs(self.stiffness()).max())

    def stress_error(self, F: Any) -> Tensor | None:
        """Error bar of |P| where the law has one: those of `fit_law_ensemble` and `correct_law` do.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).

        Returns:
            GPa, shape (n,), or None for laws without error bars.
        """
        return None

    def internal_displacements(self, F: Any) -> np.ndarray:
        """Displacements u of the ions: an ion at X in the reference cell lies at F (X + u).

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).

        Returns:
            u in Angstrom, shape (n, atoms, 3), in the reference frame.

        Raises:
            InputError: the law's labels carried no relaxed ions.
        """
        raise InputError(
            "this law has no internal displacements: its labels carried no relaxed ions"
        )

    def acoustic_tensor(self, F: Any, n: Any) -> Tensor:
        """Acoustic tensor Q_ik(n) = A_iJkL n_J n_L.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            n: directions of the reference body, (3,) or (n, 3), any length but zero.

        Returns:
            Q in GPa, shape (..., 3, 3).

        Raises:
            InputError: a direction of length zero.
        """
        f = as_deformation(F)
        direction = torch.as_tensor(n, dtype=torch.float64, device=f.device)
        if not (direction.norm(dim=-1) > 0).all():
            raise InputError("a direction of length zero has no acoustic tensor")
        return acoustic_tensor(self.response(f, 2)[2], direction)

    def ellipticity(self, F: Any) -> tuple[Tensor, Tensor]:
        """Least eigenvalue of the acoustic tensor over all directions: <= 0 if not elliptic.

        See `objstress.elasticity.smallest_acoustic`.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).

        Returns:
            The eigenvalue in GPa, shape (n,), and the direction of the reference body, (n, 3).
        """
        f = as_deformation(F)
        values, directions = smallest_acoustic(self.response(f.reshape(-1, 3, 3), 2)[2])
        return (values[0], directions[0]) if f.ndim == 2 else (values, directions)

    def save(self, path: str | Path) -> None:
        """Write the law to one file (safetensors with JSON inside), whole or not at all.

        Args:
            path: of the file; `load_law` reads it.

        Raises:
            InputError: the file cannot be written, or the law cannot be saved (a rotated one).
        """
        write_tensors(path, *self.to_dict())

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and tensors from which `from_dict` makes the law again.

        Returns:
            A JSON-able dictionary with the law's `kind`, and {name: tensor} of any shape; a
            polynomial's coefficients are (k,), in GPa.
        """
        raise NotImplementedError

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> MaterialLaw:
        """The law that `to_dict` described.

        Args:
            description: the JSON-able part.
            tensors: {name: tensor}, such as (k,) coefficients in GPa.
        """
        raise NotImplementedError

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        """The law itself at one chunk of points; what an own kind of law implements.

        Args:
            F: deformation gradients, (n, 3, 3), float64, finite, det F > 0.
            order: 0, 1 or 2, the order of the last derivative.

        Returns:
            (W,), (W, P) or (W, P, A) in GPa, shapes (n,), (n, 3, 3) and (n, 3, 3, 3, 3).
        """
        raise NotImplementedError

    def _on(self, device: torch.device) -> MaterialLaw:
        """The law itself on the CPU, else the copy of it that lies on the device."""
        if device.type == "cpu":
            return self
        copies = self.__dict__.setdefault("_copies", {})
        if device not in copies:
            copies[device] = _moved(self, device)
        return copies[device]

    def _public(self, F: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        OutsideWatch(self)(f.reshape(-1, 3, 3), stacklevel=3)
        return self.response(f, order)

    def _under_field(self, F: Any, E0: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        parts = self.electric_response(f, E0, order)
        OutsideWatch(self)(f.reshape(-1, 3, 3), stacklevel=3)
        report_fields(self, E0, stacklevel=3)
        return parts


def _moved(value: Any, device: torch.device) -> Any:
    """A law's attribute, or a law, with all its tensors on a device; what has none is shared."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, nn.Module):
        return deepcopy(value).to(device)
    if isinstance(value, list | tuple):
        return type(value)(_moved(v, device) for v in value)
    if not isinstance(value, MaterialLaw):
        return value
    law = copy(value)
    vars(law).pop("_copies", None)
    vars(law).update({name: _moved(v, device) for name, v in vars(law).items()})
    return law


class LawAround(MaterialLaw):
    """A law around another one of the same crystal and frame, whose facts it passes on."""

    law: Any

    @property
    def metadata(self) -> dict[str, Any]:
        """The facts of the law inside."""
        return getattr(self.law, "metadata", {})

    def in_crystal(self, F: Any) -> Tensor:
        return self.law.in_crystal(F)

    def outside(self, F: Any) -> Tensor:
        return self.law.outside(F)

    def internal_displacements(self, F: Any) -> np.ndarray:
        return self.law.internal_displacements(F)

    def stress_error(self, F: Any) -> Tensor | None:
        return self.law.stress_error(F)


def in_chunks(
    law: MaterialLaw,
    f: Tensor,
    shapes: Sequence[tuple[int, ...]],
    evaluate: Callable[[Any, Tensor, slice], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """What `evaluate` gives of a law on the device of F, a chunk of points after the other.

    Args:
        law: whose `chunk` it is.
        f: deformation gradients, (n, 3, 3) or (3, 3).
        shapes: of the results at one point.
        evaluate: of the law, some of the points (m, 3, 3), and which they are.

    Raises:
        InputError: F is not finite, or det F <= 0 (the count is named).
    """
    points = f.reshape(-1, 3, 3)
    n, there = len(points), law._on(f.device)
    # Filled chunk by chunk: concatenating at the end would hold everything twice.
    parts = tuple(f.new_empty(n, *shape) for shape in shapes)
    bad = 0
    for start in range(0, n, law.chunk):
        part = points[start : start + law.chunk]
        jacobian = _determinant(part.permute(1, 2, 0))
        if not torch.isfinite(jacobian).all():
            raise InputError("the deformation gradient has entries that are not finite")
        bad += int((jacobian <= 0).sum())
        if bad == 0:
            rows = slice(start, start + len(part))
            for target, value in zip(parts, evaluate(there, part, rows), strict=True):
                # As matrices: their transposed copy, if it is one, is a fast one.
                target[rows].view(len(part), -1).copy_(value.reshape(len(part), -1))
    if bad:
        raise InputError(f"det F <= 0 at {bad} of {n} points: the material would be inverted")
    return tuple(value[0] for value in parts) if f.ndim == 2 else parts


def _determinant(f: Tensor) -> Tensor:
    """det F of F (3, 3, n)."""
    a, b, c = f
    return (a * torch.linalg.cross(b, c, dim=0)).sum(0)


def as_deformation(F: Any) -> Tensor:
    """F as a float64 tensor without gradient.

    Args:
        F: (n, 3, 3) or (3, 3).

    Raises:
        InputError: F has another shape.
    """
    f = torch.as_tensor(F, dtype=torch.float64)
    if f.shape[-2:] != (3, 3) or f.ndim not in (2, 3):
        raise InputError(f"F has shape {tuple(f.shape)}; give (n, 3, 3) or (3, 3)")
    return f.detach()


def law_from_dict(description: dict[str, Any], tensors: dict[str, Tensor]) -> MaterialLaw:
    """The law that `to_dict` described; a law around another one makes the inner law by it.

    Args:
        description: the JSON-able part; its "kind" names the class in `KINDS`.
        tensors: {name: tensor}, such as (k,) coefficients in GPa.

    Raises:
        InputError: a kind that no class has.
    """
    kind = str(description["kind"])
    if kind not in KINDS:
        raise InputError(f"unknown kind of law {kind!r}: import the module that defines it")
    return KINDS[kind].from_dict(description, tensors)
