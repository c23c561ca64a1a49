"""What a law answers under an electric field."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from objstress.errors import InputError

ELECTRIC_SHAPES: tuple[tuple[int, ...], ...] = (
    (), (3, 3), (3,), (3, 3, 3, 3), (3, 3, 3), (3, 3)
)  # fmt: skip
"""Shapes of H, P, D0, dP/dF, dP/dE0 and dD0/dE0 at one point."""


class UnderField:
    """A law's answers under an electric field, all from `electric_response`; most refuse one.

    Attributes:
        knows_field: whether there is an answer.
        largest_field: |E0| in V/nm up to which the law was fitted; None where it has no end.
    """

    knows_field: bool = False
    largest_field: float | None = None

    def enthalpy(self, F: Any, E0: Any) -> Tensor:
        """Electric enthalpy density H per reference volume.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: material fields F^T e in V/nm, (n, 3) or (3,).

        Returns:
            H in GPa, shape (n,).

        Raises:
            InputError: see `electric_response`; with `outside_action` "error" also strains or
                fields outside those of the fit.
        """
        return self._under_field(F, E0, 0)[0]

    def displacement(self, F: Any, E0: Any) -> Tensor:
        """Electric displacement D0 = -dH/dE0, the charge per reference area.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: material fields in V/nm, (n, 3) or (3,).

        Returns:
            D0 in C/m^2, shape (n, 3).

        Raises:
            InputError: see `enthalpy`.
        """
        return self._under_field(F, E0, 1)[2]

    def coupling(self, F: Any, E0: Any) -> Tensor:
        """Derivative of the stress by the field, dP/dE0 = -(dD0/dF): minus e at rest.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: material fields in V/nm, (n, 3) or (3,).

        Returns:
            GPa over V/nm, which is C/m^2, shape (n, 3, 3, 3), index order iJK.

        Raises:
            InputError: see `enthalpy`.
        """
        return self._under_field(F, E0, 2)[4]

    def permittivity(self, F: Any, E0: Any) -> Tensor:
        """Derivative of the displacement by the field, dD0/dE0.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: material fields in V/nm, (n, 3) or (3,).

        Returns:
            C/m^2 over V/nm, which is nF/m, shape (n, 3, 3).

        Raises:
            InputError: see `enthalpy`.
        """
        return self._under_field(F, E0, 2)[5]

    def electric_response(self, F: Any, E0: Any, order: int) -> tuple[Tensor, ...]:
        """Enthalpy and its derivatives under a field, without a warning about the trained domain.

        Args:
            F: deformation gradients, (n, 3, 3) or (3, 3).
            E0: material fields in V/nm, (n, 3) or (3,).
            order: 0, 1 or 2, the order of the last derivative.

        Returns:
            (H,), (H, P, D0) or (H, P, D0, dP/dF, dP/dE0, dD0/dE0); units and shapes as above.

        Raises:
            InputError: a law that knows no field, which most do not; F or E0 of another shape or
                not finite, det F <= 0.
        """
        raise InputError(
            f"a {type(self).__name__} knows no electric field: give a law of strain and field, "
            "such as an ElectricLaw around it"
        )

    def _under_field(self, F: Any, E0: Any, order: int) -> tuple[Tensor, ...]:
        raise NotImplementedError


def as_field(E0: Any, f: Tensor) -> Tensor:
    """Material fields as a float64 tensor without gradient, one for each point of F.

    Args:
        E0: V/nm, (n, 3) or (3,).
        f: deformation gradients, (n, 3, 3) or (3, 3).

    Returns:
        Shape (n, 3), on the device of f.

    Raises:
        InputError: E0 has another shape, or is not finite.
    """
    field = torch.as_tensor(E0, dtype=torch.float64, device=f.device).detach()
    n = f.reshape(-1, 3, 3).shape[0]
    if field.shape not in ((3,), (n, 3)):
        raise InputError(f"E0 has shape {tuple(field.shape)}; give ({n}, 3) or (3,)")
    if not torch.isfinite(field).all():
        raise InputError("the electric field has entries that are not finite")
    return field.expand(n, 3)
