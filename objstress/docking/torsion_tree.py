"""Motions that keep bonds, angles and chirality: SE(3) times torsions, for many poses at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor


@dataclass(frozen=True)
class TorsionTree:
    """Which atoms turn about which bonds.

    Attributes:
        axes: (t, 2) atoms of the rotatable bonds; the second one is on the side that moves.
        moves: (t, n) bool, the atoms that move: the smaller side.
        body: the first so many atoms move together; others (side chains) by their torsions only.
    """

    axes: Tensor
    moves: Tensor
    body: int

    def __len__(self) -> int:
        return len(self.axes)

    def slopes(self, x: Tensor, forces: Tensor) -> Tensor:
        r"""dE / d(step) at no step, from dE / dx.

            dE/dt = sum_i f_i,  dE/dw = sum_i (x_i - c) x f_i,
            dE/dphi_k = a_k . sum_(i moved by k) (x_i - p_k) x f_i

        Args:
            x: (b, n, 3) Angstrom; c is the body's mean.
            forces: (b, n, 3), dE / dx.

        Returns:
            (b, 6 + t).
        """
        some, pull = x[:, : self.body], forces[:, : self.body]
        torque = torch.linalg.cross(some - some.mean(1, keepdim=True), pull).sum(1)
        parts = [pull.sum(1), torque]
        if len(self):
            start = x[:, self.axes[:, 0]]
            axis = torch.nn.functional.normalize(x[:, self.axes[:, 1]] - start, dim=-1)
            moves = self.moves.to(x.dtype)
            # sum (x_i - p) x f_i = sum x_i x f_i - p x sum f_i
            turning = torch.einsum("tn,bni->bti", moves, torch.linalg.cross(x, forces))
            pushing = torch.einsum("tn,bni->bti", moves, forces)
            parts.append(((turning - torch.linalg.cross(start, pushing)) * axis).sum(-1))
        return torch.cat(parts, dim=1)

    def moved(self, x: Tensor, step: Tensor) -> Tensor:
        """x after a step: torsions one after the other, then exp(w) about the body's mean, then t.

        Args:
            x: (b, n, 3) Angstrom.
            step: (b, 6 + t): translation in Angstrom, rotation vector and torsions in radians.
        """
        for k in range(len(self)):
            start = x[:, self.axes[k, 0], None]
            axis = torch.nn.functional.normalize(x[:, self.axes[k, 1], None] - start, dim=-1)
            turn = rotations(axis[:, 0] * step[:, 6 + k, None])
            some = self.moves[k]
            x = x.clone()
            x[:, some] = start + (x[:, some] - start) @ turn.mT
        body = x[:, : self.body]
        centre = body.mean(1, keepdim=True)
        body = (body - centre) @ rotations(step[:, 3:6]).mT + centre + step[:, None, :3]
        return torch.cat([body, x[:, self.body :]], dim=1)


def rotations(vectors: Tensor) -> Tensor:
    """exp of rotation vectors (b, 3) in radians: matrices (b, 3, 3), by Rodrigues' formula."""
    angle = vectors.norm(dim=-1, keepdim=True)[..., None]
    x, y, z = (vectors / angle[..., 0].clamp_min(1e-12)).unbind(-1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    one = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return one + angle.sin() * k + (1 - angle.cos()) * (k @ k)


def random_rotations(number: int, generator: torch.Generator) -> Tensor:
    """(number, 3, 3), uniform: unit quaternions from normal numbers."""
    q = torch.randn(number, 4, generator=generator, dtype=torch.float64)
    return torch.from_numpy(Rotation.from_quat(q.numpy(), scalar_first=True).as_matrix())
