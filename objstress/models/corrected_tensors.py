"""Elastic tensors of a calculator, corrected towards those of a better method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import null_space
from torch import Tensor

from objstress.errors import InputError
from objstress.graphs.elements import NAMES, element_descriptors
from objstress.io.weights import write_tensors
from objstress.symmetry.voigt import (
    mandel_to_voigt,
    tensor_to_voigt,
    voigt_to_mandel,
    voigt_to_tensor,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

SOFT = 0.05
"""Stiffness, over that against a change of volume, that a calculator hardly tells from zero."""
VOLUME = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) / 3**0.5
"""Unit change of volume, Mandel (6,)."""
SHAPES = null_space(VOLUME[None])
"""Orthonormal changes of shape, Mandel (6, 5)."""
UNSTABLE = "{} has this crystal unstable: its shear stiffness is an estimate"


@dataclass(frozen=True)
class PriorTensor:
    r"""Logarithm of a calculator's elastic tensor, and the stiffnesses that are corrected.

    .. math::

        \log C^+ = \sum_i \log \tfrac{1}{2} \Bigl( \lambda_i + \sqrt{\lambda_i^2 + 4 \epsilon^2}
            \Bigr) v_i v_i^T, \qquad \epsilon = 0.05\, m \cdot C m

    with the eigenvalues and eigenvectors of C (Mandel) and the unit change of volume m: log C, but
    for stiffnesses that are small or negative, of which it is a smooth function all the same.

    Attributes:
        logarithm: log C+ (6, 6), Mandel, C in GPa.
        bulk: m . log C+ m; of a cubic crystal log 3 K.
        shears: eigenvalues of log C+ on changes of shape, ascending, (5,); of a cubic crystal
            log 2 C' twice and log 2 C44 three times.
        shapes: their eigenvectors, Mandel (6, 5).
        stable: whether C is positive definite.
    """

    logarithm: np.ndarray
    bulk: float
    shears: np.ndarray
    shapes: np.ndarray
    stable: bool

    @classmethod
    def of(cls, tensor: np.ndarray) -> PriorTensor:
        """The logarithm of an elastic tensor.

        Args:
            tensor: (3, 3, 3, 3), GPa.

        Raises:
            InputError: a tensor without stiffness against a change of volume.
        """
        c = voigt_to_mandel(tensor_to_voigt(tensor))
        stiffness = float(VOLUME @ c @ VOLUME)
        if not stiffness > 0:
            raise InputError(
                f"a bulk modulus of {stiffness / 3:.3g} GPa (Voigt) under the calculator: nothing "
                "that could be corrected; take another calculator"
            )
        values, vectors = np.linalg.eigh(c)
        raised = (values + np.hypot(values, 2 * SOFT * stiffness)) / 2
        logarithm = (vectors * np.log(raised)) @ vectors.T
        shears, turns = np.linalg.eigh(SHAPES.T @ logarithm @ SHAPES)
        bulk = float(VOLUME @ logarithm @ VOLUME)
        return cls(logarithm, bulk, shears, SHAPES @ turns, bool(values[0] > 0))

    def shear_inputs(self, structure: Structure) -> np.ndarray:
        """What the correction of each shear stiffness depends on.

        Args:
            structure: the crystal, any cell.

        Returns:
            (5, 3): one, the logarithm of the stiffness over the bulk one, and the `ionicity`.
        """
        known = np.full(5, ionicity(structure))
        return np.stack([np.ones(5), self.shears - self.bulk, known], axis=1)


@dataclass(frozen=True)
class CorrectedTensor:
    """Elastic tensor of one crystal, corrected.

    Attributes:
        tensor: (3, 3, 3, 3), GPa, in the frame of the calculator's.
        deviation: standard deviation by what the correction leaves of the training set, likewise.
        note: a line on what makes the tensor doubtful; empty if nothing does.
    """

    tensor: np.ndarray
    deviation: np.ndarray
    note: str


@dataclass(frozen=True)
class CorrectedTensors:
    r"""Elastic tensors of a calculator, corrected towards those of a better method.

    .. math::

        \log C = \log C^+ + a\, m m^T + \sum_i b_i\, w_i w_i^T, \qquad
        b_i = \beta_0 + \beta_1 (s_i - \kappa) + \beta_2 \chi

    C+ is the calculator's tensor (`PriorTensor`), kappa its bulk stiffness, s_i and w_i its shear
    stiffnesses and their strains, chi the `ionicity`. All four numbers multiply invariants, so
    that C rotates with the crystal and has the symmetry of the calculator's tensor; the
    exponential makes it positive definite.

    Attributes:
        prior: name of the calculator.
        bulk: a.
        shear: beta (3,), dimensionless as is a.
        scatter: standard deviations (2,) of a and b in the training set.
        metadata: facts of the fit.
    """

    prior: str
    bulk: float
    shear: np.ndarray
    scatter: np.ndarray
    metadata: dict[str, Any]

    kind = "elastic"

    def correct(self, structure: Structure, tensor: np.ndarray) -> CorrectedTensor:
        """Correct the calculator's tensor of a crystal.

        Args:
            structure: the crystal, any cell.
            tensor: (3, 3, 3, 3), GPa, by the calculator, with the ions of the training set; need
                not be positive definite.

        Raises:
            InputError: see `PriorTensor.of`.
        """
        known = PriorTensor.of(tensor)
        volume = np.outer(VOLUME, VOLUME)
        shift = known.shear_inputs(structure) @ self.shear
        logarithm = known.logarithm + self.bulk * volume
        logarithm = logarithm + (known.shapes * shift) @ known.shapes.T
        there = _exponential(logarithm)
        moved = [
            _exponential(logarithm + size * part) - there
            for size, part in zip(self.scatter, (volume, np.eye(6) - volume), strict=True)
        ]
        note = "" if known.stable else UNSTABLE.format(self.prior)
        return CorrectedTensor(there, np.hypot(*moved), note)

    def save(self, path: str | Path) -> None:
        """Write to one file, whole or not at all; `load_tensors` reads it.

        Args:
            path: of the file.

        Raises:
            InputError: the file cannot be written.
        """
        tensors = {
            "bulk": torch.tensor(self.bulk, dtype=torch.float64),
            "shear": torch.tensor(self.shear),
            "scatter": torch.tensor(self.scatter),
        }
        description = {"kind": KIND, "prior": self.prior, "metadata": self.metadata}
        write_tensors(path, description, tensors)

    @classmethod
    def from_file(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> CorrectedTensors:
        """What `save` wrote.

        Args:
            description: of the file.
            tensors: {name: tensor} (n, ...), dimensionless, see the attributes.
        """
        shear, scatter = (tensors[name].numpy() for name in ("shear", "scatter"))
        bulk = float(tensors["bulk"])
        return cls(description["prior"], bulk, shear, scatter, description["metadata"])


KIND = "corrected tensors"
"""What files of `CorrectedTensors` say they are."""


def ionicity(structure: Structure) -> float:
    """Standard deviation of the atoms' electronegativity (Pauling's, by `element_descriptors`).

    Args:
        structure: a crystal of elements up to plutonium.
    """
    scale = element_descriptors()[:, NAMES.index("electronegativity")]
    return float(scale[[site.specie.Z - 1 for site in structure]].std())


def _exponential(logarithm: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(logarithm)
    return voigt_to_tensor(mandel_to_voigt((vectors * np.exp(values)) @ vectors.T))
