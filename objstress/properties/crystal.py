"""Elastic constants of a crystal, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymatgen.core import Structure
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
from objstress.elasticity.moduli import ModulusExtremes, modulus_extremes
from objstress.elasticity.waves import SoundWaves, sound_waves
from objstress.errors import InputError
from objstress.properties.sources.base import Crystal, Ions
from objstress.properties.sources.find import find_model
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import tensor_to_voigt, voigt_to_tensor


@dataclass(frozen=True)
class CrystalProperties:
    """Elastic constants of a crystal, in GPa, and what follows from them.

    Attributes:
        structure: the primitive cell free of stress under the model, in the frame it came in.
        point_group: in that frame.
        space_group: symbol and number.
        model: name of the model.
        ions: "relaxed", or "clamped" (the ions only follow the cell).
        stiffness: (6, 6) Voigt, GPa, in the structure's frame, of exactly the crystal's form.
        to_ieee: Q (3, 3), v_IEEE = Q v.
        stiffness_ieee: (6, 6) Voigt, GPa, in the IEEE frame.
        asymmetry: largest part that the point group forbids, relative to the largest constant,
            before the projection: the noise of the model.
        least_ion_stiffness: smallest eigenvalue of the force constants at fixed cell,
            eV/Angstrom^2; negative where the ions leave their sites; None for one atom or a law.
        softest_mode: displacements of the ions that cost so little, (atoms, 3), of length 1
            together, in the structure's frame.
        driven: whether a strain drives ions along such a mode of negative stiffness; constants of
            relaxed ions then have no meaning, and averages, extremes and sound do not exist.
        third_order: Brugger's constants (6, 6, 6), GPa, in the structure's frame, of a law.
        deviation: standard deviation of each constant (6, 6), GPa, in the structure's frame: of the
            members of an ensemble, or by the noise of a calculator (None where it is small).
        distance: from the crystals that an ensemble was fitted to, see `TensorPrediction`.
        note: a line on what makes the constants doubtful; empty if the model knows of nothing.
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
    softest_mode: np.ndarray | None = None
    driven: bool = False
    third_order: np.ndarray | None = None
    deviation: np.ndarray | None = None
    distance: float | None = None
    note: str = ""

    @property
    def stability(self) -> Stability:
        """Born's stability condition; unstable crystals have no averages, extremes or waves."""
        return born_stability(self.stiffness)

    @property
    def _convex(self) -> bool:
        return self.stability.stable and not self.driven

    @property
    def stable(self) -> bool:
        """Whether every strain and every displacement of the ions costs energy."""
        return self.stability.stable and (self.least_ion_stiffness or 0.0) >= 0

    @property
    def unstable_mode(self) -> str:
        """Which ions leave their sites, and along which direction; empty if none does."""
        mode = self.softest_mode
        if mode is None or (self.least_ion_stiffness or 0.0) >= 0:
            return ""
        moved = (mode**2).sum(axis=1)
        symbols = np.array([site.specie.symbol for site in self.structure])
        shares = {name: moved[symbols == name].sum() for name in dict.fromkeys(symbols)}
        first = moved.argmax()
        along = mode[first] / np.sqrt(moved[first])
        along *= np.sign(along[np.abs(along).argmax()])
        direction = ", ".join(f"{x + 0.0:.2f}" for x in np.round(along, 2))
        return (
            ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share > 0.005)
            + f" of the motion; {symbols[first]} {first + 1} along ({direction})"
        )

    @property
    def averages(self) -> PolycrystalAverages | None:
        """Voigt, Reuss and Hill averages, GPa; None for an unstable crystal."""
        return polycrystal_averages(self.stiffness) if self._convex else None

    @property
    def thermal(self) -> ThermalProperties | None:
        """Sound speeds, Debye temperature and thermal conductivity; None for an unstable crystal.

        Sound speeds of the polycrystal in km/s, temperature in K, limits of the thermal
        conductivity in W/(m K).
        """
        return thermal_properties(self.stiffness, self.structure) if self._convex else None

    @property
    def extremes(self) -> dict[str, ModulusExtremes] | None:
        """Extremes over all directions; None for an unstable crystal.

        Young's modulus and shear modulus in GPa, Poisson's ratio and the linear compressibility
        (1/GPa), with their directions in the structure's frame.
        """
        return modulus_extremes(self.stiffness) if self._convex else None

    def sound_waves(self, directions: np.ndarray) -> SoundWaves:
        """Speeds and polarisations of the three sound waves along directions.

        Args:
            directions: (..., 3), any length, in the structure's frame.

        Returns:
            See `objstress.elasticity.sound_waves`; speeds (..., 3) in km/s.
        """
        return sound_waves(self.stiffness, float(self.structure.density), directions)

    def form(self) -> list[list[str]]:
        """Zeros and equalities of C in the IEEE frame: rows of "c11", "0", "(c11 - c12)/2"."""
        return TensorForm(self.point_group.rotated(self.to_ieee), "elastic").table("c")

    def to_dict(self) -> dict[str, Any]:
        """All properties as numbers, lists and texts; keys name their units."""
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
        if self.unstable_mode:
            result["unstable_mode"] = self.unstable_mode
            result["strain_drives_it"] = self.driven
        if self.third_order is not None:
            result["third_order_GPa"] = self.third_order.tolist()
        if self.deviation is not None:
            result["deviation_GPa"] = self.deviation.tolist()
        if self.distance is not None:
            result["distance"] = self.distance
        if self.note:
            result["note"] = self.note
        means, heat, ends = self.averages, self.thermal, self.extremes
        if means is not None and heat is not None and ends is not None:
            result["averages"] = plain_record(means)
            result["thermal"] = plain_record(heat)
            result["extremes"] = {name: plain_record(e) for name, e in ends.items()}
        return result


def crystal_properties(
    structure: Crystal | None,
    model: Any = None,
    arguments: dict[str, Any] | None = None,
    ions: Ions = "relaxed",
    symprec: float = SYMPREC,
) -> CrystalProperties:
    r"""The elastic constants of a crystal under a model, and what follows from them.

    .. math::

        C_{IJKL} = \frac{1}{V_0} \frac{\partial^2 W}{\partial E_{IJ} \partial E_{KL}}

    at zero stress, projected on the point group (`TensorForm`). The cell is relaxed and differenced
    in its standard frame and rotated back, so that a crystal that is rotated, or given by another
    cell, gives the same tensor, rotated.

    Args:
        structure: a file, a pymatgen structure or ASE atoms; None takes a law's own crystal.
        model: an ASE calculator; a name for `make_calculator`; a law, or a file of one (.law), of a
            potential (.potential), of networks of the elastic tensor (.tensor), which take the
            cell as it is, or of a correction of a calculator's tensors (.tensor); None takes the
            best universal potential that is installed; see `find_model`.
        arguments: of a calculator given by name.
        ions: "relaxed" ions follow the forces inside the cell, "clamped" ones only the cell. A law
            and networks have the ions of their labels.
        symprec: distance in Angstrom under which sites are equivalent.

    Returns:
        Elastic constants (6, 6) in GPa with averages, stability, extremes and sound speeds.

    Raises:
        InputError: see `read_structure`, `relaxed_crystal`, `find_model`; an element that the model
            does not know; a law of another crystal or of other ions.
    """
    if ions not in ("relaxed", "clamped"):
        raise InputError(f"ions = {ions!r}: give 'relaxed' or 'clamped'")
    source = replace(find_model(model, arguments), symprec=symprec)
    cell = source.stiffness(structure, ions)
    q = cell.to_ieee
    tensor = voigt_to_tensor(cell.stiffness)
    exact = TensorForm(cell.point_group, "elastic").project(tensor)
    stiffness = tensor_to_voigt(exact)
    analyzer = SpacegroupAnalyzer(cell.structure, symprec=min(symprec, SYMPREC))
    return CrystalProperties(
        structure=cell.structure,
        point_group=cell.point_group.rotated(q.T),
        space_group=(analyzer.get_space_group_symbol(), analyzer.get_space_group_number()),
        model=source.name,
        ions=ions,
        stiffness=rotated_stiffness(stiffness, q.T[None])[0],
        to_ieee=q,
        stiffness_ieee=stiffness,
        asymmetry=float(np.abs(tensor - exact).max() / np.abs(exact).max()),
        least_ion_stiffness=cell.least_ion_stiffness,
        softest_mode=cell.softest_mode,
        driven=cell.driven,
        third_order=cell.third_order,
        deviation=cell.deviation,
        distance=cell.distance,
        note=cell.note,
    )
