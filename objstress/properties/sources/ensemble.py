"""Elastic constants as networks of the tensor predict them, without a relaxation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from objstress.elasticity.bounds import rotated_stiffness
from objstress.elasticity.frames import ieee_rotation
from objstress.errors import InputError
from objstress.properties.sources.base import CellStiffness, Crystal, Ions, Source, check_ions
from objstress.properties.sources.corrected import CorrectedSource
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import tensor_to_voigt

if TYPE_CHECKING:
    from objstress.models.tensor_ensemble import TensorEnsemble


@dataclass(frozen=True)
class EnsembleSource(Source):
    """Networks of the elastic tensor.

    Attributes:
        name, what, elements, symprec: see `Source` (symprec in Angstrom).
        ensemble: of kind "elastic"; its ions are those of its labels.
    """

    ensemble: TensorEnsemble
    suffix: ClassVar[str] = ".tensor"

    @classmethod
    def of(cls, name: str, ensemble: TensorEnsemble) -> EnsembleSource:
        """A source of the ensemble under this name.

        Args:
            name: what results call it.
            ensemble: see the class.

        Raises:
            InputError: an ensemble of another tensor.
        """
        if ensemble.kind != "elastic":
            raise InputError(f"{name} gives tensors of kind {ensemble.kind!r}, not elastic ones")
        return cls(name, "networks of the elastic tensor", None, ensemble)

    @classmethod
    def from_object(cls, model: Any) -> EnsembleSource | None:
        if "objstress.models.tensor_ensemble" not in sys.modules:
            return None  # nobody has made one; the import takes seconds
        from objstress.models.tensor_ensemble import TensorEnsemble

        return cls.of(type(model).__name__, model) if isinstance(model, TensorEnsemble) else None

    @classmethod
    def from_file(cls, path: Path) -> Source:
        from objstress.models.tensor_ensemble import TensorEnsemble, load_tensors

        found = load_tensors(path)
        if isinstance(found, TensorEnsemble):
            return cls.of(path.name, found)
        return CorrectedSource.of(path.name, found)

    def stiffness(self, structure: Crystal | None, ions: Ions) -> CellStiffness:
        """The mean of the networks for the cell as it is, with its deviation and distance."""
        cell = self.read(structure)
        q = ieee_rotation(cell)
        check_ions(self.ensemble.metadata, ions, "these networks are")
        (prediction,) = self.ensemble.predict([cell])
        deviation = prediction.deviation
        return CellStiffness(
            structure=prediction.structure,
            point_group=PointGroup.of_primitive_cell(prediction.structure).rotated(q),
            to_ieee=q,
            stiffness=rotated_stiffness(tensor_to_voigt(prediction.tensor), q[None])[0],
            deviation=None if deviation is None else tensor_to_voigt(deviation),
            distance=prediction.distance,
        )
