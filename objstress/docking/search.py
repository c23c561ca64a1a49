"""The search for poses: many starts, descent on SE(3) times torsions, basin hopping."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from objstress.docking.box import Box
from objstress.docking.field import PoseField
from objstress.docking.grid import GridField
from objstress.docking.torsion_tree import uniform_rotations
from objstress.docking.torsions import torsion_angles, torsion_strain

STEPS = 60
"""Steps of descent after each jump."""
RATES = (0.25, 0.1, 0.15)
"""First steps along translation (Angstrom), rotation and torsions (radians)."""
WARM = 1.0
"""kcal/mol, kT at which torsions are drawn."""
TURNS = 72
"""Angles from which torsions are drawn."""
WALL = 2.0
"""kcal/mol/Angstrom^2, the penalty of atoms beyond the box."""


class Search:
    """A search for the poses of one complex with the least energy, many poses at once.

    Args:
        field: their energy.
        box: where the ligand's atoms may be; None sets no wall, and then only `descend` and
            `jumped` work.
        seed: of the random numbers.

    Attributes:
        evaluations: number of energies with gradients so far.
    """

    def __init__(self, field: PoseField, box: Box | None, seed: int = 0):
        self.field, self.tree = field, field.complex.tree
        self.random = torch.Generator().manual_seed(seed)
        self.box: tuple[Tensor, Tensor] | None = None
        if box is not None:
            self.box = torch.tensor(box.centre), torch.tensor(box.size)
        self.evaluations = 0
        # The torsions whose strain is known, and the odds of each of their angles.
        c = field.complex
        self.bonds = (c.torsions[:, None, 1:3] == self.tree.axes).all(-1).nonzero()[:, 1]
        self.angles = 2 * math.pi / TURNS * torch.arange(TURNS, dtype=torch.float64)
        strain, _ = torsion_strain(self.angles[:, None], c.torsion_terms)
        self.odds = (-strain.T / WARM).softmax(-1)
        # The torsions of the ligand, not of a side chain.
        self.ligands = self.tree.axes[:, 0] < self.tree.body
        # A rotation by one radian moves atoms by about the radius of gyration.
        atoms = field.complex.ligand.pos
        size = (atoms - atoms.mean(0)).square().sum(1).mean().sqrt().clamp_min(1.0)
        rate = torch.full((6 + len(self.tree),), RATES[2], dtype=torch.float64)
        rate[:3], rate[3:6] = RATES[0], RATES[1] * 4 / (1 + size)
        self.rate = rate

    def run(self, starts: int, hops: int, until: float = math.inf) -> tuple[Tensor, Tensor]:
        """Search from random poses; all but the last descent is on a grid.

        Args:
            starts: number of random poses.
            hops: jumps of each.
            until: value of `time.perf_counter` (seconds) after which no further jump begins.

        Returns:
            The best pose of each start, (starts, n + f, 3) Angstrom, and its energy, (starts,)
            kcal/mol.
        """
        assert self.box is not None
        exact, self.field = self.field, GridField(self.field, *self.box)
        x, energy = self.descend(self.random_poses(starts))
        best, lowest = x.clone(), energy.clone()
        for _ in range(hops):
            if time.perf_counter() > until:
                break
            y, new = self.descend(self.jumped(x))
            taken = torch.rand(len(x), generator=self.random) < torch.exp(
                (energy - new).clamp(max=0)
            )
            x = torch.where(taken[:, None, None], y, x)
            energy = torch.where(taken, new, energy)
            better = energy < lowest
            best = torch.where(better[:, None, None], x, best)
            lowest = torch.where(better, energy, lowest)
        self.field = exact
        return self.descend(best, 2 * STEPS, 0.2)

    def random_poses(self, number: int) -> Tensor:
        """Random poses, uniform in place and orientation, torsions drawn by their strain.

        Side chains stay as they are.

        Args:
            number: how many.

        Returns:
            (number, n + f, 3) Angstrom.
        """
        assert self.box is not None
        native, n = self.field.complex.native, self.tree.body
        step = torch.zeros(number, 6 + len(self.tree), dtype=torch.float64)
        step[:, 6:] = self.torsion_steps(native.expand(number, -1, -1)) * self.ligands
        x = self.tree.moved(native.expand(number, -1, -1), step)
        body = x[:, :n] - x[:, :n].mean(1, keepdim=True)
        centre, size = self.box
        inner = (size - 2 * native[:n].std(0, correction=0).mean()).clamp_min(1.0)
        body = body @ uniform_rotations(number, self.random).mT + centre
        return torch.cat([body + (self._uniform(number, 1, 3) - 0.5) * inner, x[:, n:]], dim=1)

    def torsion_steps(self, x: Tensor) -> Tensor:
        """Steps to new torsions, drawn from exp(-strain / kT), uniform where none is known.

        A ligand of many bonds has many minima, nearly all of them too strained to be of use.

        Args:
            x: (b, n + f, 3) Angstrom.

        Returns:
            (b, t) radians.
        """
        new = 2 * math.pi * self._uniform(len(x), len(self.tree))
        if len(self.bonds):
            drawn = torch.multinomial(self.odds, len(x), True, generator=self.random).T
            new[:, self.bonds] = self.angles[drawn] - torsion_angles(x, self.field.complex.torsions)
        return new

    def jumped(self, x: Tensor) -> Tensor:
        """Each pose after one of three jumps: a shift, a rotation, or new values of some torsions.

        Args:
            x: (b, n + f, 3) Angstrom.

        Returns:
            (b, n + f, 3) Angstrom.
        """
        step = torch.zeros(len(x), 6 + len(self.tree), dtype=torch.float64)
        normal = torch.randn(step.shape, generator=self.random, dtype=torch.float64)
        kind = torch.randint(3 if len(self.tree) else 2, (len(x),), generator=self.random)
        step[:, :3] = torch.where((kind == 0)[:, None], 1.5 * normal[:, :3], 0.3 * normal[:, :3])
        step[:, 3:6] = torch.where((kind == 1)[:, None], 1.2 * normal[:, 3:6], 0.2 * normal[:, 3:6])
        if len(self.tree):
            few = self._uniform(len(x), len(self.tree)) < max(0.3, 1.0 / len(self.tree))
            step[:, 6:] = torch.where(
                (kind == 2)[:, None] & few, self.torsion_steps(x), 0.1 * normal[:, 6:]
            )
        return self.tree.moved(x, step)

    def descend(self, x: Tensor, steps: int = STEPS, start: float = 1.0) -> tuple[Tensor, Tensor]:
        """Descend the energy by Adam's steps, which shrink to nearly zero.

        Args:
            x: (b, n + f, 3) Angstrom.
            steps: number of steps.
            start: factor of the first steps.

        Returns:
            The lowest pose of each path, (b, n + f, 3) Angstrom, and its energy, (b,) kcal/mol.
        """
        first = torch.zeros(len(x), len(self.rate), dtype=torch.float64)
        second = torch.zeros_like(first)
        best, lowest = x, torch.full((len(x),), torch.inf, dtype=torch.float64)
        for k in range(steps):
            energy, forces = self._energy(x)
            better = energy < lowest
            best = torch.where(better[:, None, None], x, best)
            lowest = torch.where(better, energy, lowest)
            slope = self.tree.slopes(x, forces)
            first = 0.8 * first + 0.2 * slope
            second = 0.9 * second + 0.1 * slope.square()
            mean, size = first / (1 - 0.8 ** (k + 1)), second / (1 - 0.9 ** (k + 1))
            fall = start * 0.5 * (1 + math.cos(math.pi * k / steps)) + 0.01
            x = self.tree.moved(x, -fall * self.rate * mean / (size.sqrt() + 1e-3))
        energy, _ = self._energy(x)
        better = energy < lowest
        return torch.where(better[:, None, None], x, best), torch.where(better, energy, lowest)

    def _energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += len(x)
        energy, forces = self.field(x)
        if self.box is None:
            return energy, forces
        centre, size = self.box
        beyond = x - centre
        beyond = beyond - torch.maximum(torch.minimum(beyond, size / 2), -size / 2)
        beyond[:, self.tree.body :] = 0
        energy = energy + WALL * beyond.square().sum((1, 2))
        return energy, forces + 2 * WALL * beyond

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.random, dtype=torch.float64)
