"""Labelled strains of one crystal."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pymatgen.core import Structure


@dataclass(frozen=True)
class Labels:
    """Strained cells of one crystal with their stresses.

    Attributes:
        structure: the reference crystal, primitive, symmetrised.
        F: deformation gradients against it, (n, 3, 3).
        cauchy: Cauchy stress, GPa, positive in tension, (n, 3, 3).
        energy: eV for one reference cell, (n,); NaN where a label has none.
        ions: "relaxed", "clamped", "unknown" or "unlisted" (a material without atoms).
        source: the calculator, or the file.
        notes: what the reader had to infer.
        moves: internal displacements F^-1 x - X of the ions, Angstrom in the reference frame,
            relative to their mean, (n, atoms, 3); None where the labels do not carry them.
        lone: the structure is a lone node that stands for a material without listed atoms.
        cases: name of each label's load case, (n,), where every case is to count alike.
        weights: of each label's square, (n,), or None for equal ones.
        parameters: of a family of materials, the values of each label, (n, q).
    """

    structure: Structure
    F: np.ndarray
    cauchy: np.ndarray
    energy: np.ndarray
    ions: str
    source: str
    notes: tuple[str, ...] = ()
    moves: np.ndarray | None = None
    lone: bool = False
    cases: np.ndarray | None = None
    weights: np.ndarray | None = None
    parameters: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.F)

    @property
    def piola(self) -> np.ndarray:
        """First Piola-Kirchhoff stress P = J sigma F^-T, GPa, (n, 3, 3)."""
        j = np.linalg.det(self.F)[:, None, None]
        return j * self.cauchy @ np.linalg.inv(self.F).transpose(0, 2, 1)

    @property
    def strain(self) -> np.ndarray:
        """Green-Lagrange strain E = (F^T F - I) / 2, (n, 3, 3)."""
        return 0.5 * (self.F.transpose(0, 2, 1) @ self.F - np.eye(3))

    def stress_sizes(self, floor: float) -> np.ndarray:
        r"""The stress s_n that the error of each label is relative to.

        .. math::
            e^2 = \frac{1}{N} \sum_n \frac{|\Delta P_n|^2}{s_n^2}, \qquad
            s_n = \max(|P_n|, P_0)

        With load cases s_n^2 is C / N times the sum of |P|^2 over the label's case, C the number
        of cases: e^2 is then the mean over cases of the relative square error of each whole case.
        Weights w_n divide s_n^2 by w_n over their mean.

        Args:
            floor: P_0, GPa.

        Returns:
            GPa, (n,).
        """
        squares = np.maximum((self.piola**2).sum(axis=(1, 2)), floor**2)
        if self.cases is not None:
            names, case = np.unique(self.cases, return_inverse=True)
            squares = np.bincount(case, squares)[case] * len(names) / len(self)
        if self.weights is not None:
            squares = squares * self.weights.mean() / self.weights
        return np.sqrt(squares)

    def subset(self, index: np.ndarray) -> Labels:
        """The labels with these indices.

        Args:
            index: the number of each label, (m,), or which to keep, bool (n,).
        """
        return replace(
            self,
            F=self.F[index],
            cauchy=self.cauchy[index],
            energy=self.energy[index],
            moves=None if self.moves is None else self.moves[index],
            cases=None if self.cases is None else self.cases[index],
            weights=None if self.weights is None else self.weights[index],
            parameters=None if self.parameters is None else self.parameters[index],
        )

    def rereferenced(self, stretch: np.ndarray) -> Labels:
        """The same labels against a stretched reference: F' = F U^-1.

        Args:
            stretch: U (3, 3), dimensionless.
        """
        labels = replace(self, F=self.F @ np.linalg.inv(stretch))
        if self.lone:  # the node's lattice stays; its energy is that of a fixed volume
            return replace(labels, energy=self.energy / np.linalg.det(stretch))
        lattice = self.structure.lattice.matrix @ stretch.T
        structure = Structure(lattice, self.structure.species, self.structure.frac_coords)
        moves = None if self.moves is None else self.moves @ stretch.T
        return replace(labels, structure=structure, moves=moves)
