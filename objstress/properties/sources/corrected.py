"""Elastic constants of a calculator, corrected towards those of a better method."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from objstress.elasticity.bounds import rotated_stiffness
from objstress.properties.sources.base import CellStiffness, Crystal, Ions, Source, check_ions
from objstress.properties.sources.calculator import CalculatorSource
from objstress.symmetry.voigt import tensor_to_voigt, voigt_to_tensor

if TYPE_CHECKING:
    from objstress.models.corrected_tensors import CorrectedTensors


@dataclass(frozen=True)
class CorrectedSource(Source):
    """A calculator's elastic tensor and its correction; the files are those of `EnsembleSource`.

    Attributes:
        name, what, elements, symprec: see `Source` (symprec in Angstrom).
        correction: its ions are those of its training set.
        prior: the calculator.
    """

    correction: CorrectedTensors
    prior: CalculatorSource

    @classmethod
    def of(cls, name: str, correction: CorrectedTensors) -> CorrectedSource:
        """A source of the correction under this name.

        Args:
            name: what results call it.
            correction: see the class.

        Raises:
            InputError: its calculator is not installed.
        """
        prior = CalculatorSource.named(correction.prior)
        return cls(name, f"corrected tensors of {prior.name}", prior.elements, correction, prior)

    @classmethod
    def from_object(cls, model: Any) -> CorrectedSource | None:
        if "objstress.models.corrected_tensors" not in sys.modules:
            return None  # nobody has made one; the import takes seconds
        from objstress.models.corrected_tensors import CorrectedTensors

        return cls.of(type(model).__name__, model) if isinstance(model, CorrectedTensors) else None

    def stiffness(self, structure: Crystal | None, ions: Ions) -> CellStiffness:
        """C of the cell relaxed by the calculator, corrected, with its deviation."""
        check_ions(self.correction.metadata, ions, "this correction is")
        found = replace(self.prior, symprec=self.symprec).stiffness(structure, ions)
        q = found.to_ieee
        own = voigt_to_tensor(rotated_stiffness(found.stiffness, q.T[None])[0])
        corrected = self.correction.correct(found.structure, own)
        return replace(
            found,
            stiffness=rotated_stiffness(tensor_to_voigt(corrected.tensor), q[None])[0],
            deviation=tensor_to_voigt(corrected.deviation),
            note=corrected.note,
        )
