"""Crystals that no special calculator of the package knows, as they were measured."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

MODULI = Path(__file__).parents[2] / "shared/data/elastic-moduli/mp-binary-moduli.json.gz"
"""Binary compounds of the Materials Project, MatCalc's set; not part of this repository."""


def moduli_set() -> list[dict[str, Any]]:
    """The rows of `MODULI`: mp_id, structure, bulk_modulus_vrh and shear_modulus_vrh in GPa."""
    return json.loads(gzip.decompress(MODULI.read_bytes()))


def rutile() -> Atoms:
    """TiO2; Abrahams and Bernstein (1971)."""
    sites = [(0, 0, 0), (0.305, 0.305, 0)]
    cell = [4.594, 4.594, 2.959, 90, 90, 90]
    return crystal(["Ti", "O"], sites, spacegroup=136, cellpar=cell)


def anatase() -> Atoms:
    """TiO2; Howard et al. (1991)."""
    sites = [(0, 0, 0), (0, 0, 0.2081)]
    cell = [3.785, 3.785, 9.514, 90, 90, 90]
    return crystal(["Ti", "O"], sites, spacegroup=141, cellpar=cell)


def calcite() -> Atoms:
    """CaCO3; Graf (1961)."""
    sites = [(0, 0, 0), (0, 0, 0.25), (0.257, 0, 0.25)]
    cell = [4.99, 4.99, 17.06, 90, 90, 120]
    return crystal(["Ca", "C", "O"], sites, spacegroup=167, cellpar=cell)


def aragonite() -> Atoms:
    """Orthorhombic CaCO3; de Villiers (1971), its axes cab."""
    sites = [
        (0.7597, 0.25, 0.4150),
        (-0.0862, 0.25, 0.7622),
        (-0.0962, 0.25, 0.9225),
        (-0.0873, 0.4736, 0.6810),
    ]
    cell = [5.7404, 4.9614, 7.9671, 90, 90, 90]
    return crystal(["Ca", "C", "O", "O"], sites, spacegroup=62, cellpar=cell)


def lithium_niobate() -> Atoms:
    """LiNbO3; Abrahams et al. (1966)."""
    sites = [(0, 0, 0.2787), (0, 0, 0), (0.0492, 0.3446, 0.0647)]
    cell = [5.148, 5.148, 13.863, 90, 90, 120]
    return crystal(["Li", "Nb", "O"], sites, spacegroup=161, cellpar=cell)


def barium_titanate() -> Atoms:
    """Tetragonal BaTiO3; Kwei et al. (1993)."""
    sites = [(0, 0, 0), (0.5, 0.5, 0.5224), (0.5, 0.5, -0.0244), (0.5, 0, 0.4895)]
    cell = [3.9945, 3.9945, 4.0335, 90, 90, 90]
    return crystal(["Ba", "Ti", "O", "O"], sites, spacegroup=99, cellpar=cell)


def zinc_oxide() -> Atoms:
    """Wurtzite ZnO."""
    return bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382)


def molybdenite() -> Atoms:
    """2H MoS2; Bronsema et al. (1986)."""
    sites = [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)]
    cell = [3.160, 3.160, 12.294, 90, 90, 120]
    return crystal(["Mo", "S"], sites, spacegroup=194, cellpar=cell)


def nitinol_b19() -> Atoms:
    """Monoclinic NiTi, B19'; Kudoh et al. (1985)."""
    sites = [(0.4176, 0.25, 0.2164), (0.0372, 0.25, 0.6752)]
    cell = [2.898, 4.108, 4.646, 90, 97.78, 90]
    return crystal(["Ti", "Ni"], sites, spacegroup=11, cellpar=cell)


def baddeleyite() -> Atoms:
    """Monoclinic ZrO2; Smith and Newkirk (1965)."""
    sites = [(0.275, 0.04, 0.208), (0.07, 0.33, 0.345), (0.449, 0.757, 0.479)]
    cell = [5.15, 5.21, 5.32, 90, 99.2, 90]
    return crystal(["Zr", "O", "O"], sites, spacegroup=14, cellpar=cell)


def manganese_phosphide() -> Atoms:
    """Triclinic MnP4, of `MODULI`."""
    row = next(row for row in moduli_set() if row["mp_id"] == "mp-487")
    return AseAtomsAdaptor.get_atoms(Structure.from_dict(row["structure"]), msonable=False)


TWELVE: dict[str, Callable[[], Atoms]] = {
    "gallium arsenide": lambda: bulk("GaAs", "zincblende", a=5.653),
    "halite, NaCl": lambda: bulk("NaCl", "rocksalt", a=5.64),
    "nitinol B2, NiTi": lambda: bulk("NiTi", "cesiumchloride", a=3.015),
    "rutile, TiO2": rutile,
    "anatase, TiO2": anatase,
    "barium titanate, BaTiO3": barium_titanate,
    "aragonite, CaCO3": aragonite,
    "lithium niobate, LiNbO3": lithium_niobate,
    "zinc oxide": zinc_oxide,
    "molybdenite, MoS2": molybdenite,
    "nitinol B19', NiTi": nitinol_b19,
    "triclinic MnP4": manganese_phosphide,
}
