"""Elastic constants of the crystal that a law was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.units import GPa
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from objstress.elasticity.bounds import rotated_stiffness
from objstress.elasticity.frames import ieee_rotation, rotated_structure
from objstress.errors import InputError
from objstress.labels.deformation import find_deformation
from objstress.properties.sources.base import CellStiffness, Crystal, Ions, Source, check_ions
from objstress.symmetry.tensor_forms import TensorForm

if TYPE_CHECKING:
    from objstress.laws.base import MaterialLaw


@dataclass(frozen=True)
class LawSource(Source):
    """A law of one crystal.

    Attributes:
        name, what, elements, symprec: see `Source` (symprec in Angstrom).
        law: with `structure` and `point_group`; its ions are those of its labels.
    """

    law: MaterialLaw
    suffix: ClassVar[str] = ".law"

    @classmethod
    def from_object(cls, model: Any) -> LawSource | None:
        from objstress.laws.base import MaterialLaw

        if not isinstance(model, MaterialLaw):
            return None
        return cls(type(model).__name__, "a law", _elements(model), model)

    @classmethod
    def from_file(cls, path: Path) -> LawSource:
        from objstress.laws.loading import load_law

        law = load_law(path)
        return cls(path.name, "a law of one crystal", _elements(law), law)

    def stiffness(self, structure: Crystal | None, ions: Ions) -> CellStiffness:
        """C of the law at F = I; third-order constants, too, in its own frame (no structure)."""
        from objstress.laws.strain_energy import StrainEnergyLaw, third_order_stiffness

        cell = None if structure is None else self.read(structure)
        law = self.law
        crystal, group = getattr(law, "structure", None), getattr(law, "point_group", None)
        if not isinstance(law, StrainEnergyLaw) or crystal is None or group is None:
            raise InputError("this law has no crystal structure; it offers only stiffness()")
        check_ions(getattr(law, "metadata", {}), ions, "this law is")
        rotation = np.eye(3)
        if cell is not None:
            atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
            f, _ = find_deformation(atoms, crystal)
            left, _, right = np.linalg.svd(f)
            rotation = left @ right
        q = ieee_rotation(crystal)
        return CellStiffness(
            structure=rotated_structure(crystal, rotation),
            point_group=group.rotated(q),
            to_ieee=q @ rotation.T,
            stiffness=rotated_stiffness(law.stiffness(), q[None])[0],
            third_order=third_order_stiffness(law) if cell is None else None,
        )

    def energy_of_volume(self, structure: Crystal | None) -> tuple[float, Callable[[float], float]]:
        """Energy of the law's own cell, lowest over the shapes that its symmetry allows."""
        from scipy.linalg import expm
        from scipy.optimize import minimize

        law = self.law
        crystal, group = getattr(law, "structure", None), getattr(law, "point_group", None)
        if crystal is None or group is None:
            raise InputError("this law has no crystal structure, and so no cell volume")
        # Stretches that keep the symmetry, without change of volume.
        shapes = TensorForm(group, "[V2]").basis
        shapes = shapes - np.trace(shapes, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
        shapes = shapes[np.linalg.norm(shapes, axis=(1, 2)) > 1e-9]
        volume, unit = float(crystal.volume), float(np.abs(law.stiffness()).max())

        def energy(ratio: float) -> float:
            def at(x: np.ndarray) -> float:
                f = ratio ** (1 / 3) * expm(np.tensordot(x, shapes, axes=1))
                return float(law.energy(f[None])[0]) / unit

            start = np.zeros(len(shapes))
            lowest = at(start)
            if len(shapes):
                bounds = [(-0.1, 0.1)] * len(shapes)
                options = {"ftol": 1e-15, "gtol": 1e-10}
                lowest = minimize(at, start, method="L-BFGS-B", bounds=bounds, options=options).fun
            return float(lowest) * unit * volume * GPa

        return volume, energy


def _elements(law: MaterialLaw) -> tuple[str, ...] | None:
    crystal: Structure | None = getattr(law, "structure", None)
    return None if crystal is None else tuple(sorted({s.specie.symbol for s in crystal}))
