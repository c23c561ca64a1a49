"""The fewest strains and displacements whose responses, with their images, tell all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from pymatgen.core import Structure

from objstress.symmetry.crystal import moved_vectors, site_operations
from objstress.symmetry.voigt import mandel_rotations

DIRECTIONS = [np.array(d) / np.linalg.norm(d) for d in product((0, 1), repeat=3) if any(d)]
"""In which an ion is moved: along the axes, or between them where that saves a displacement."""
SPAN = 0.1
"""Sine below which a direction counts as one that others already tell."""


def signs(opposite: int | None) -> tuple[int, ...]:
    """Of the steps that a central difference computes: both, or one whose opposite is its image.

    Args:
        opposite: the operation that takes the step to its opposite, if any.
    """
    return (1, -1) if opposite is None else (1,)


@dataclass(frozen=True)
class IrreducibleSteps:
    r"""Strains and displacements of a cell, and how their images make all responses.

    .. math:: S(g E g^T) = g\, S(E)\, g^T, \qquad
        K_{g(k)\, g(i)} = g\, K_{k i}\, g^T

    for every operation g of the space group, which takes site i to g(i). Responses are not averaged
    over images: what differences miss of the symmetry stays to be seen.

    Attributes:
        rotations: g (m, 3, 3), Cartesian.
        permutations: g takes site k to permutations[k], (m, atoms).
    """

    rotations: np.ndarray
    permutations: np.ndarray

    @classmethod
    def of(cls, structure: Structure) -> IrreducibleSteps:
        """Those of a crystal.

        Args:
            structure: exactly symmetric, see `symmetrized`.
        """
        rotations, permutations = site_operations(structure)
        # Proper ones first: not every potential knows that mirror images are alike.
        order = np.argsort(-np.linalg.det(rotations), kind="stable")
        return cls(rotations[order], permutations[order])

    @cached_property
    def _mandel(self) -> np.ndarray:
        return mandel_rotations(self.rotations)

    @cached_property
    def strains(self) -> list[tuple[int, int | None]]:
        """(Mandel component, the operation that takes it to its opposite, if any) of each."""
        found = []
        for component in sorted({step for step, _ in self._strain_images}):
            turned = self._mandel[:, :, component]
            away = np.abs(turned + np.eye(6)[component]).max(axis=1)
            opposites = np.flatnonzero(away < 1e-6)
            found.append((component, int(opposites[0]) if len(opposites) else None))
        return found

    @cached_property
    def _strain_images(self) -> list[tuple[int, int]]:
        """(component, operation) whose images are six independent strains."""
        images: list[tuple[int, int]] = []
        basis = np.zeros((0, 6))
        for component in range(6):
            for g, m in enumerate(self._mandel):
                basis, new = _extend(basis, m[:, component])
                if new:
                    images.append((component, g))
        return images

    @cached_property
    def displacements(self) -> list[tuple[int, np.ndarray, int | None]]:
        """(atom, direction, the operation that takes it to its opposite, if any) of each."""
        steps, _ = self._site_steps
        found = []
        for atom, direction in steps:
            opposite = None
            for g in np.flatnonzero(self.permutations[:, atom] == atom):
                if np.allclose(self.rotations[g] @ direction, -direction, atol=1e-6):
                    opposite = int(g)
                    break
            found.append((atom, direction, opposite))
        return found

    @cached_property
    def _site_steps(
        self,
    ) -> tuple[list[tuple[int, np.ndarray]], dict[int, list[tuple[int, int]]]]:
        """Displacements, and for each first atom of an orbit the (step, operation) that span."""
        steps: list[tuple[int, np.ndarray]] = []
        images: dict[int, list[tuple[int, int]]] = {}
        for atom in range(self.permutations.shape[1]):
            if self.permutations[:, atom].min() < atom:
                continue  # an image of an atom before
            site = np.flatnonzero(self.permutations[:, atom] == atom)
            basis, mine = np.zeros((0, 3)), []
            while len(basis) < 3:
                gains = []
                for direction in DIRECTIONS:
                    trial, used = basis, []
                    for g in site:
                        trial, new = _extend(trial, self.rotations[g] @ direction)
                        if new:
                            used.append(int(g))
                    gains.append((len(used), trial, used))
                best = max(range(len(gains)), key=lambda k: gains[k][0])
                basis = gains[best][1]
                mine += [(len(steps), g) for g in gains[best][2]]
                steps.append((atom, DIRECTIONS[best]))
            images[atom] = mine
        return steps, images

    def image_of_stress(self, stress: np.ndarray, g: int) -> np.ndarray:
        """A stress (6,), Mandel, as operation g turns it.

        Args:
            stress: of a strain.
            g: the number of the operation.
        """
        return self._mandel[g] @ stress

    def image(self, forces: np.ndarray, g: int) -> np.ndarray:
        """Forces (atoms, 3) as operation g moves them.

        Args:
            forces: of a strain or displacement.
            g: the number of the operation.
        """
        return moved_vectors(forces, self.rotations[g], self.permutations[g])

    def by_strain(self, stresses: np.ndarray, forces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dS/dE (6, 6) and df/dE (3 atoms, 6) from the slopes of `strains`.

        Args:
            stresses: slopes of S, Mandel, (steps, 6).
            forces: slopes of the forces, reference frame, (steps, atoms, 3).
        """
        number = {component: k for k, (component, _) in enumerate(self.strains)}
        x, s, f = [], [], []
        for component, g in self._strain_images:
            k = number[component]
            x.append(self._mandel[g][:, component])
            s.append(self.image_of_stress(stresses[k], g))
            f.append(self.image(forces[k], g).ravel())
        inverse = np.linalg.inv(np.array(x))
        return (inverse @ np.array(s)).T, (inverse @ np.array(f)).T

    def by_displacement(self, forces: np.ndarray) -> np.ndarray:
        """df/du (3 atoms, 3 atoms) from the slopes of `displacements`.

        Args:
            forces: slopes, (steps, atoms, 3).
        """
        steps, images = self._site_steps
        atoms = forces.shape[1]
        found = np.empty((atoms, 3, atoms, 3))
        for first, mine in images.items():
            x = np.array([self.rotations[g] @ steps[k][1] for k, g in mine])
            f = np.array([self.image(forces[k], g) for k, g in mine])
            block = np.einsum("da,dki->kia", np.linalg.inv(x).T, f)
            for atom in np.unique(self.permutations[:, first]):
                g = int(np.flatnonzero(self.permutations[:, first] == atom)[0])
                r = self.rotations[g]
                found[self.permutations[g], :, atom] = r @ block @ r.T
        return found.reshape(3 * atoms, 3 * atoms)


def _extend(basis: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, bool]:
    rest = vector - basis.T @ (basis @ vector)
    size = np.linalg.norm(rest)
    if len(basis) == len(vector) or size < SPAN * np.linalg.norm(vector):
        return basis, False
    return np.vstack([basis, rest / size]), True
