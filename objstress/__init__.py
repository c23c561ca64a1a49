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
    "label_strains": "objstress.labels.labelling",
    "label_adaptively": "objstress.training.laws.adaptive",
    "fit_law": "objstress.training.laws.fit",
    "fit_law_ensemble": "objstress.training.laws.ensemble",
    "load_law": "objstress.laws.loading",
    "SaintVenantKirchhoff": "objstress.laws.analytic",
    "NeoHooke": "objstress.laws.analytic",
    "orientation": "objstress.elasticity.orientations",
    "Potential": "objstress.models.potential",
    "PotentialSettings": "objstress.models.potential",
    "load_potential": "objstress.models.potential",
    "fit_potential": "objstress.training.potential.fit",
    "evaluate_potential": "objstress.training.potential.evaluate",
    "PotentialCalculator": "objstress.calculators.potential",
    "run_md": "objstress.md.run",
    "run_replicas": "objstress.md.replicas",
    "harmonic_spectrum": "objstress.spectra.harmonic",
}
__all__ = ["__version__", "fem", *_NAMES]

if TYPE_CHECKING:
    from objstress import fem
    from objstress.calculators.potential import PotentialCalculator
    from objstress.elasticity.orientations import orientation
    from objstress.errors import InputError, OutsideDomainWarning
    from objstress.labels.labelling import label_strains
    from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
    from objstress.laws.loading import load_law
    from objstress.md.replicas import run_replicas
    from objstress.md.run import run_md
    from objstress.models.potential import Potential, PotentialSettings, load_potential
    from objstress.spectra.harmonic import harmonic_spectrum
    from objstress.symmetry.point_group import O3, SO3, PointGroup
    from objstress.training.laws.adaptive import label_adaptively
    from objstress.training.laws.ensemble import fit_law_ensemble
    from objstress.training.laws.fit import fit_law
    from objstress.training.potential.evaluate import evaluate_potential
    from objstress.training.potential.fit import fit_potential


def __getattr__(name: str) -> Any:
    if name == "fem":
        return importlib.import_module("objstress.fem")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'objstress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
