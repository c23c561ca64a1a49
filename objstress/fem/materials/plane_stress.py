"""Plane stress: the stretch through the thickness is solved for at each point."""

from __future__ import annotations

import numpy as np
import torch
from dolfinx import fem
from torch import Tensor

from objstress.errors import InputError
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.materials.quadrature import QuadratureMaterial
from objstress.laws.base import MaterialLaw
from objstress.parallel import on_every_rank

ITERATIONS = 30
"""Newton iterations at a point, after which it has no answer."""

ACCURACY = 1e-13
"""Stress across the plane that is left, relative to the stiffness there."""


class PlaneStressMaterial(QuadratureMaterial):
    r"""A law in a thin plate: no stress acts on the plane of the mesh.

    .. math::

        \min_{F_{13}, F_{23}, F_{33}} W(F) \quad \Rightarrow \quad P_{i3} = 0, \qquad
        A_{iJkL} \leftarrow A_{iJkL} - A_{iJm3} (A_{m3n3})^{-1} A_{n3kL}

    with F31 = F32 = 0, which takes the rotation out of it. The shears F13 and F23 are zero unless
    the crystal couples them to the plane. Thickness 1: forces are per thickness.

    Args:
        u, law, degree: see `QuadratureMaterial`; u of two dimensions.

    Attributes:
        F: with the stretch and the shears across the plane.

    Raises:
        InputError: a mesh in three dimensions; a law that is not stable across the plane.
    """

    def __init__(self, u: fem.Function, law: MaterialLaw | Grains | Graded, degree: int):
        if u.function_space.mesh.topology.dim != 2:
            raise InputError("plane = 'stress': the mesh is not plane, give one of two dimensions")
        super().__init__(u, law, degree)
        self._across = np.tile([0.0, 0.0, 1.0], (len(self.F), 1))
        on_every_rank(u.function_space.mesh.comm, self._check_rest)

    def _check_rest(self) -> None:
        at_rest = self.law.response(self.F, 2)[2][:, :, 2, :, 2]
        if len(at_rest) and float(torch.linalg.eigvalsh(at_rest).min()) <= 0:
            raise InputError("plane = 'stress': the law is not stable across the plane at F = 1")

    def deformation_at(self, cells: np.ndarray, reference: np.ndarray, F: np.ndarray) -> np.ndarray:
        f = torch.tensor(F)
        _relaxed(self.law_in(cells), f)
        return f.numpy()

    def _evaluate(self, tangent: bool) -> None:
        f = torch.tensor(self.F)
        f[:, :, 2] = torch.tensor(self._across)
        energy, stress, a = _relaxed(self.law, f)
        self.F, self._across = f.numpy(), f[:, :, 2].numpy().copy()
        self.energy = energy.numpy()
        self._fill(self.stress, stress.numpy())
        if tangent:
            inner = torch.linalg.inv(a[:, :, 2, :, 2])
            condensed = torch.einsum("nijm,nmk,nklp->nijlp", a[..., 2], inner, a[:, :, 2])
            self._fill(self.tangent, (a - condensed).numpy())


def _relaxed(law: MaterialLaw, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W, P and A where P_i3 = 0; the third columns of f are changed to those of that state."""
    for _ in range(ITERATIONS):
        energy, stress, a = law.response(f, 2)
        across, stiff = stress[:, :, 2], a[:, :, 2, :, 2]
        size = stiff.abs().amax((1, 2))
        if bool((across.norm(dim=1) <= ACCURACY * size).all()):
            return energy, stress, a
        step = -torch.linalg.solve(stiff, across)
        # The plate keeps its sides, and a step no longer than half of its thickness.
        short = 0.5 * f[:, 2, 2] / step.norm(dim=1).clamp(min=1e-300)
        f[:, :, 2] += step * short.clamp(max=1.0)[:, None]
    left = across.norm(dim=1) > 1e3 * ACCURACY * size
    if not bool(left.any()):  # round-off of a stiff law
        return energy, stress, a
    raise InputError(
        f"plane = 'stress': {int(left.sum())} of {len(f)} points have no state without stress "
        "across the plane"
    )
