"""objstress: constitutive modelling of crystals, from a structure file to a FEniCSx simulation.

Names are loaded when they are first used: importing the package costs nothing, and
`objstress.fem` (FEniCSx) is imported only by those who ask for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    "InputError": "objstress.errors",
    "OutsideDomainWarning": "objstress.errors",
    "PointGroup": "objstress.symmetry.point_group",
    "O3": "objstress.symmetry.point_group",
    "SO3": "objstress.symmetry.point_group",
    "label_strains": "objstress.teachers.label",
    "label_adaptively": "objstress.laws.adaptive",
    "fit_law": "objstress.laws.fit",
    "fit_ensemble": "objstress.laws.ensemble",
    "load_law": "objstress.laws.files",
    "SaintVenantKirchhoff": "objstress.laws.analytic",
    "NeoHooke": "objstress.laws.analytic",
    "orientation": "objstress.laws.rotated",
    "Potential": "objstress.models.potential",
    "PotentialSettings": "objstress.models.potential",
    "load_potential": "objstress.models.potential_files",
    "train_potential": "objstress.training.potential_fit",
    "evaluate_potential": "objstress.training.potential_fit",
    "PotentialCalculator": "objstress.dynamics.calculator",
    "run_md": "objstress.dynamics.md",
    "run_replicas": "objstress.dynamics.replicas",
    "harmonic_spectrum": "objstress.spectra.harmonic",
}
__all__ = ["__version__", "fem", *_NAMES]

if TYPE_CHECKING:
    from objstress import fem
    from objstress.dynamics.calculator import PotentialCalculator
    from objstress.dynamics.md import run_md
    from objstress.dynamics.replicas import run_replicas
    from objstress.errors import InputError, OutsideDomainWarning
    from objstress.laws.adaptive import label_adaptively
    from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
    from objstress.laws.ensemble import fit_ensemble
    from objstress.laws.files import load_law
    from objstress.laws.fit import fit_law
    from objstress.laws.rotated import orientation
    from objstress.models.potential import Potential, PotentialSettings
    from objstress.models.potential_files import load_potential
    from objstress.spectra.harmonic import harmonic_spectrum
    from objstress.symmetry.point_group import O3, SO3, PointGroup
    from objstress.teachers.label import label_strains
    from objstress.training.potential_fit import evaluate_potential, train_potential


def __getattr__(name: str) -> Any:
    if name == "fem":
        return importlib.import_module("objstress.fem")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'objstress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
