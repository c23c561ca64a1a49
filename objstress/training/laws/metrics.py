"""Errors of a law on labels, in the project's own measure."""

from __future__ import annotations

import numpy as np
from ase.units import GPa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from objstress.labels.strain_labels import Labels
from objstress.laws.base import MaterialLaw
from objstress.symmetry.voigt import to_mandel

SAME = 1e-5
"""Difference of strains, relative to the largest, below which they are the same."""
CONTRADICTS = 1e-3
"""Spread of stresses of equal strain from which it is told."""
WORTH = 0.9
"""Part of the polynomial's error that a network on top of it may leave at most: it makes a law some
hundred times slower."""


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


def stress_spread(labels: Labels, floor: float) -> tuple[float, int]:
    r"""How far stresses of equal strain differ, as after loading and unloading.

    .. math::
        e_0^2 = \frac{1}{N} \sum_n \frac{|F_n (S_n - \bar S_n)|^2}{s_n^2}

    S-bar is the mean over the labels of the same strain (and parameters), which is the best that an
    energy can do: no law's error is below e_0.

    Args:
        labels: of one material or of a family.
        floor: of the stresses' sizes s_n, GPa, see `Labels.stress_sizes`.

    Returns:
        e_0, and the number of labels whose strain another one has.
    """
    x = to_mandel(labels.strain)
    places = x / (np.abs(x).max() or 1.0)
    if labels.parameters is not None:
        p = labels.parameters - labels.parameters.min(axis=0)
        places = np.hstack([places, p / np.where(p.any(axis=0), p.max(axis=0), 1.0)])
    n = len(labels)
    pairs = cKDTree(places).query_pairs(SAME, output_type="ndarray")
    near = coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    _, member = connected_components(near, directed=False)
    counts = np.bincount(member)
    second = np.linalg.solve(labels.F, labels.piola)
    means = np.zeros((len(counts), 3, 3))
    np.add.at(means, member, second)
    gap = labels.F @ (second - (means / counts[:, None, None])[member])
    squares = np.linalg.norm(gap, axis=(1, 2)) / labels.stress_sizes(floor)
    return float(np.sqrt(np.mean(squares**2))), int((counts[member] > 1).sum())


def spread_note(spread: float, number: int) -> str:
    """What is said of a spread that limits every law, in words.

    Args:
        spread, number: see `stress_spread`.
    """
    return (
        f"{number} labels share their strain with another one, whose stress differs, as after "
        f"unloading: no law's error can be below {spread:.2%}"
    )


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


def worthwhile(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a network on top of a polynomial is worth its time.

    The mean gain must exceed its own standard error, and the error left be `WORTH` of the old one
    at most.

    Args:
        before, after: squared relative errors without and with it, (n,), of labels that neither
            part was fitted to or stopped by.
    """
    gain = before - after
    least = (1 - WORTH**2) * before.mean()
    return bool(gain.mean() > max(least, gain.std(ddof=1) / np.sqrt(len(gain))))
