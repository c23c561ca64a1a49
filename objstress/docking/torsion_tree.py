"""Motions that keep bonds, angles and chirality: SE(3) times torsions, many poses at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor


@dataclass(frozen=True)
class TorsionTree:
    """The rotatable bonds of a pose, and the atoms that each of them moves.

    Attributes:
        axes: (t, 2) int, atoms of the bonds; the second one is on the side that moves.
        moves: (t, n) bool, the atoms that move: those on the smaller side.
        body: number of the first atoms, which translate and rotate together; the others (side
            chains) move by their torsions only.
    """

    axes: Tensor
    moves: Tensor
    body: int

    def __len__(self) -> int:
        return len(self.axes)

    def slopes(self, x: Tensor, forces: Tensor) -> Tensor:
        r"""Derivatives of an energy with respect to the step of `moved`, at step zero.

        .. math::

            \frac{dE}{dt} = \sum_i f_i, \qquad
            \frac{dE}{dw} = \sum_i (x_i - c) \times f_i, \qquad
            \frac{dE}{d\varphi_k} = a_k \cdot \sum_{i\ \mathrm{moved\ by}\ k} (x_i - p_k) \times f_i

        with f = dE/dx, the body's mean c, and a point p_k and the direction a_k of bond k.

        Args:
            x: (b, n, 3) Angstrom.
            forces: (b, n, 3) kcal/mol/Angstrom, dE/dx.

        Returns:
            (b, 6 + t): kcal/mol/Angstrom of the translation, kcal/mol/rad of rotation and torsions.
        """
        body, pull = x[:, : self.body], forces[:, : self.body]
        torque = torch.linalg.cross(body - body.mean(1, keepdim=True), pull).sum(1)
        parts = [pull.sum(1), torque]
        if len(self):
            start = x[:, self.axes[:, 0]]
            axis = torch.nn.functional.normalize(x[:, self.axes[:, 1]] - start, dim=-1)
            moves = self.moves.to(x.dtype)
            # sum (x_i - p) x f_i = sum x_i x f_i - p x sum f_i
            twisting = torch.einsum("tn,bni->bti", moves, torch.linalg.cross(x, forces))
            pushing = torch.einsum("tn,bni->bti", moves, forces)
            parts.append(((twisting - torch.linalg.cross(start, pushing)) * axis).sum(-1))
        return torch.cat(parts, dim=1)

    def moved(self, x: Tensor, step: Tensor) -> Tensor:
        """Poses after a step: first the torsions in turn, then the rotation, then the translation.

        The rotation is exp(w) about the mean of the body.

        Args:
            x: (b, n, 3) Angstrom.
            step: (b, 6 + t): translation in Angstrom, rotation vector w and torsions in radians.

        Returns:
            (b, n, 3) Angstrom.
        """
        for k in range(len(self)):
            start = x[:, self.axes[k, 0], None]
            axis = torch.nn.functional.normalize(x[:, self.axes[k, 1], None] - start, dim=-1)
            rotation = rotation_matrices(axis[:, 0] * step[:, 6 + k, None])
            moved = self.moves[k]
            x = x.clone()
            x[:, moved] = start + (x[:, moved] - start) @ rotation.mT
        body = x[:, : self.body]
        centre = body.mean(1, keepdim=True)
        body = (body - centre) @ rotation_matrices(step[:, 3:6]).mT + centre + step[:, None, :3]
        return torch.cat([body, x[:, self.body :]], dim=1)


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Matrices (b, 3, 3) of rotation vectors (b, 3) in radians, by Rodrigues' formula."""
    angle = vectors.norm(dim=-1, keepdim=True)[..., None]
    x, y, z = (vectors / angle[..., 0].clamp_min(1e-12)).unbind(-1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    one = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return one + angle.sin() * k + (1 - angle.cos()) * (k @ k)


def uniform_rotations(number: int, generator: torch.Generator) -> Tensor:
    """Uniform rotations (number, 3, 3) of a torch generator: unit quaternions of normal numbers."""
    q = torch.randn(number, 4, generator=generator, dtype=torch.float64)
    return torch.from_numpy(Rotation.from_quat(q.numpy(), scalar_first=True).as_matrix())
