"""Errors of a law on labels, in the project's own measure."""

from __future__ import annotations

import numpy as np
from ase.units import GPa

from objstress.labels.strain_labels import Labels
from objstress.laws.base import MaterialLaw


def relative_rmse(predicted: np.ndarray, stress: np.ndarray, floor: float) -> float:
    """Root mean square over labels of |dP| / max(|P|, floor), a pure number.

    Args:
        predicted, stress: first Piola-Kirchhoff, (n, 3, 3), GPa.
        floor: GPa; 1e-3 of the largest C_ij by the project's convention.
    """
    gap = np.linalg.norm((predicted - stress).reshape(len(stress), -1), axis=1)
    size = np.linalg.norm(stress.reshape(len(stress), -1), axis=1)
    return float(np.sqrt(np.mean((gap / np.maximum(size, floor)) ** 2)))


def stress_errors(law: MaterialLaw, labels: Labels) -> dict[str, float]:
    """Errors of a law's first Piola-Kirchhoff stress.

    Args:
        law: a material law.
        labels: of its crystal, against its reference.

    Returns:
        "relative_rmse", root mean square of |dP| over `Labels.stress_sizes`; "rmse_GPa";
        "total_relative", |dP| / |P| of the set; "labels", their number.
    """
    stress = labels.piola
    predicted = law.response(labels.F, 1)[1].numpy()
    gaps = np.linalg.norm(predicted - stress, axis=(1, 2))
    relative = gaps / labels.stress_sizes(law.stress_floor())
    return {
        "relative_rmse": float(np.sqrt(np.mean(relative**2))),
        "rmse_GPa": float(np.sqrt(np.mean((predicted - stress) ** 2))),
        "total_relative": float(np.linalg.norm(predicted - stress) / np.linalg.norm(stress)),
        "labels": float(len(stress)),
    }


def energy_errors(law: MaterialLaw, labels: Labels) -> dict[str, float]:
    """Errors of a law's energy after the best constant offset; empty without energies.

    Args:
        law: a material law.
        labels: of its crystal, against its reference.

    Returns:
        "rmse_meV_per_atom" and "labels", their number.
    """
    known = np.isfinite(labels.energy)
    if known.sum() < 2:
        return {}
    volume = labels.structure.volume
    predicted = law.response(labels.F[known], 0)[0].numpy() * GPa * volume
    gap = predicted - labels.energy[known]
    atoms = len(labels.structure)
    return {
        "rmse_meV_per_atom": float(1e3 * np.std(gap) / atoms),
        "labels": float(known.sum()),
    }
