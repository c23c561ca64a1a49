"""What the elastic constants of a crystal are, and what follows from them, from one structure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from objstress.elasticity.averages import (
    PolycrystalAverages,
    Stability,
    ThermalProperties,
    born_stability,
    cauchy_pressures,
    plain_record,
    polycrystal_averages,
    thermal_properties,
    zener_ratio,
)
from objstress.elasticity.bounds import rotated_stiffness
from objstress.elasticity.frames import ieee_rotation, rotated_structure
from objstress.elasticity.moduli import ModulusExtremes, modulus_extremes
from objstress.elasticity.waves import SoundWaves, sound_waves
from objstress.errors import InputError
from objstress.labels.deformation import find_deformation
from objstress.labels.relaxation import relaxed_crystal
from objstress.laws.strain_energy import StrainEnergyLaw, third_order_stiffness
from objstress.properties.response import harmonic_response
from objstress.properties.sources import PropertyModel, find_model
from objstress.symmetry.crystal import SYMPREC, primitive_cell, read_structure
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import tensor_to_voigt, voigt_to_tensor

Ions = Literal["relaxed", "clamped"]
FORCES = 1e-7
"""eV/Angstrom, left in the relaxed crystal."""


@dataclass(frozen=True)
class CrystalProperties:
    """Elastic constants of a crystal, in GPa, and what follows from them.

    Attributes:
        structure: the primitive cell free of stress under the model, in the frame it came in.
        point_group: in that frame.
        space_group: symbol and number.
        model: what was asked.
        ions: relaxed, or clamped (the ions only follow the cell).
        stiffness: 6 x 6 Voigt in the structure's own frame, of exactly the crystal's form.
        to_ieee: Q, v_IEEE = Q v.
        stiffness_ieee: 6 x 6 Voigt in the standard frame.
        asymmetry: largest part that the point group forbids, of the largest constant, before it
            was taken out: the noise of the model.
        least_ion_stiffness: smallest eigenvalue of the force constants at fixed cell,
            eV/Angstrom^2; negative where the ions leave their places; None for one atom or a law.
        third_order: Brugger's constants (6, 6, 6) in the structure's own frame, of a law.
        deviation: standard deviation of each constant in the structure's own frame, of an ensemble.
        distance: of the crystal from those that an ensemble knows, see `TensorPrediction`.
    """

    structure: Structure
    point_group: PointGroup
    space_group: tuple[str, int]
    model: str
    ions: str
    stiffness: np.ndarray
    to_ieee: np.ndarray
    stiffness_ieee: np.ndarray
    asymmetry: float
    least_ion_stiffness: float | None = None
    third_order: np.ndarray | None = None
    deviation: np.ndarray | None = None
    distance: float | None = None

    @property
    def stability(self) -> Stability:
        """Born's condition; unstable crystals have no averages, extremes or waves."""
        return born_stability(self.stiffness)

    @property
    def stable(self) -> bool:
        """Whether every strain and every move of the ions costs energy."""
        return self.stability.stable and (self.least_ion_stiffness or 0.0) >= 0

    @property
    def averages(self) -> PolycrystalAverages | None:
        """Voigt, Reuss and Hill; None of an unstable crystal, as are the next ones."""
        return polycrystal_averages(self.stiffness) if self.stability.stable else None

    @property
    def thermal(self) -> ThermalProperties | None:
        """Sound speeds of the polycrystal, Debye temperature, limits of heat conduction."""
        return thermal_properties(self.stiffness, self.structure) if self.stability.stable else None

    @property
    def extremes(self) -> dict[str, ModulusExtremes] | None:
        """Of E, G, nu and the linear compressibility; directions in the structure's frame."""
        return modulus_extremes(self.stiffness) if self.stability.stable else None

    def sound_waves(self, directions: np.ndarray) -> SoundWaves:
        """See `sound_waves`; directions in the structure's own frame."""
        return sound_waves(self.stiffness, float(self.structure.density), directions)

    def form(self) -> list[list[str]]:
        """Zeros and equalities of C in the standard frame: rows of "c11", "0", "(c11 - c12)/2"."""
        return TensorForm(self.point_group.rotated(self.to_ieee), "elastic").table("c")

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, lists and texts; keys name their units."""
        stability = self.stability
        result: dict[str, Any] = {
            "formula": self.structure.composition.reduced_formula,
            "point_group": self.point_group.symbol,
            "crystal_system": self.point_group.crystal_system,
            "space_group": {"symbol": self.space_group[0], "number": self.space_group[1]},
            "model": self.model,
            "ions": self.ions,
            "atoms": len(self.structure),
            "lattice_A": self.structure.lattice.matrix.tolist(),
            "density_g_per_cm3": float(self.structure.density),
            "stiffness_GPa": self.stiffness.tolist(),
            "to_ieee": self.to_ieee.tolist(),
            "stiffness_ieee_GPa": self.stiffness_ieee.tolist(),
            "form_ieee": self.form(),
            "asymmetry": self.asymmetry,
            "least_ion_stiffness_eV_per_A2": self.least_ion_stiffness,
            "stable": self.stable,
            "stability": plain_record(stability),
            "cauchy_pressures_ieee_GPa": cauchy_pressures(self.stiffness_ieee),
        }
        if self.point_group.crystal_system == "cubic":
            result["zener_ratio"] = zener_ratio(self.stiffness_ieee)
        if self.third_order is not None:
            result["third_order_GPa"] = self.third_order.tolist()
        if self.deviation is not None:
            result["deviation_GPa"] = self.deviation.tolist()
        if self.distance is not None:
            result["distance"] = self.distance
        means, heat, ends = self.averages, self.thermal, self.extremes
        if means is not None and heat is not None and ends is not None:
            result["averages"] = plain_record(means)
            result["thermal"] = plain_record(heat)
            result["extremes"] = {name: plain_record(e) for name, e in ends.items()}
        return result


def crystal_properties(
    structure: Structure | Atoms | str | Path | None,
    model: Any,
    arguments: dict[str, Any] | None = None,
    ions: Ions = "relaxed",
) -> CrystalProperties:
    r"""The elastic constants of a crystal under a model, and what follows from them.

        C = d^2 W / dE dE / V0 at no stress,   projected on the point group (`TensorForm`)

    The cell is relaxed and differenced in its standard frame and turned back, so that a crystal
    that is turned, or given by another cell, gives the same tensor, turned.

    Args:
        structure: a file, a pymatgen structure or ASE atoms; None takes a law's own crystal.
        model: an ASE calculator; a name for `make_calculator` with its `arguments`; a law, or a
            file of one (.law), of a potential (.potential) or of networks of the elastic tensor
            (.tensor), which take the cell as it is; see `find_model`.
        ions: relaxed follows the forces inside the cell, clamped does not. A law and networks have
            those of their labels.

    Raises:
        InputError: see `read_structure`, `relaxed_crystal`, `find_model`; an element that the model
            does not know; a law of another crystal or of other ions.
    """
    if ions not in ("relaxed", "clamped"):
        raise InputError(f"ions = {ions!r}: give 'relaxed' or 'clamped'")
    asked = find_model(model, arguments)
    if structure is not None:
        structure = read_structure(structure)
        asked.check_elements(structure)
    if asked.law is not None:
        return _of_law(structure, asked, ions)
    if structure is None:
        raise InputError("give the structure of the crystal")
    cell = primitive_cell(structure)
    q = ieee_rotation(cell)
    if asked.ensemble is not None:
        _check_ions(asked.ensemble.metadata, ions, "these networks are")
        (said,) = asked.ensemble.predict([cell])
        group = PointGroup.of_primitive_cell(said.structure).rotated(q)
        stiffness = rotated_stiffness(tensor_to_voigt(said.tensor), q[None])[0]
        known = _result(said.structure, group, q, asked.name, ions, stiffness, None)
        deviation = None if said.deviation is None else tensor_to_voigt(said.deviation)
        return replace(known, deviation=deviation, distance=said.distance)
    cell = relaxed_crystal(rotated_structure(cell, q), asked.calculator, fmax=FORCES)
    response = harmonic_response(cell, asked.calculator)
    group = PointGroup.of_primitive_cell(cell)
    least = None
    if len(cell) > 1:
        least = float(response.stiffness_of_ions[0])
    found = response.relaxed if ions == "relaxed" else response.clamped
    return _result(rotated_structure(cell, q.T), group, q, asked.name, ions, found, least)


def _check_ions(metadata: dict[str, Any], ions: str, subject: str) -> None:
    trained = metadata.get("ions", ions)
    if trained != ions:
        raise InputError(f"{subject} of {trained} ions; ask for ions = {trained!r}")


def _of_law(structure: Structure | None, asked: PropertyModel, ions: str) -> CrystalProperties:
    law = asked.law
    own, group = getattr(law, "structure", None), getattr(law, "point_group", None)
    if not isinstance(law, StrainEnergyLaw) or own is None or group is None:
        raise InputError("this law knows no crystal; its stiffness() is all that it can say")
    _check_ions(getattr(law, "metadata", {}), ions, "this law is")
    turn = np.eye(3)
    if structure is not None:
        cell = primitive_cell(structure)
        f, _ = find_deformation(AseAtomsAdaptor.get_atoms(cell, msonable=False), own)
        left, _, right = np.linalg.svd(f)
        turn = left @ right
    q = ieee_rotation(own)
    found = rotated_stiffness(law.stiffness(), q[None])[0]
    third = third_order_stiffness(law) if structure is None else None
    return _result(
        rotated_structure(own, turn),
        group.rotated(q),
        q @ turn.T,
        asked.name,
        ions,
        found,
        None,
        third,
    )


def _result(
    structure: Structure,
    group: PointGroup,
    q: np.ndarray,
    model: str,
    ions: str,
    stiffness: np.ndarray,
    least: float | None,
    third: np.ndarray | None = None,
) -> CrystalProperties:
    """Group and stiffness in the standard frame, the structure in its own."""
    tensor = voigt_to_tensor(stiffness)
    exact = TensorForm(group, "elastic").project(tensor)
    standard = tensor_to_voigt(exact)
    analyzer = SpacegroupAnalyzer(structure, symprec=SYMPREC)
    return CrystalProperties(
        structure=structure,
        point_group=group.rotated(q.T),
        space_group=(analyzer.get_space_group_symbol(), analyzer.get_space_group_number()),
        model=model,
        ions=ions,
        stiffness=rotated_stiffness(standard, q.T[None])[0],
        to_ieee=q,
        stiffness_ieee=standard,
        asymmetry=float(np.abs(tensor - exact).max() / np.abs(exact).max()),
        least_ion_stiffness=least,
        third_order=third,
    )
