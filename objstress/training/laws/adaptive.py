"""Adaptive labels: an ensemble picks the strains on which its members disagree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from pymatgen.core import Structure

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.labels.labelling import StrainLabels
from objstress.labels.reading import labels_of
from objstress.labels.strains import sample_strains
from objstress.laws.ensemble import EnsembleLaw
from objstress.symmetry.voigt import to_mandel
from objstress.training.laws.ensemble import fit_law_ensemble

FIRST = 32
"""Number of quasi-random labels that the first ensemble is fitted to."""
POOL = 2048
"""Number of strains that the next ones are picked from."""


def label_adaptively(
    structure: Structure | Atoms | str | Path,
    calculator: str | Callable[[], Any] | GetPropertiesMixin,
    *,
    out: str | Path,
    target: float,
    samples: int = 300,
    batch: int = 16,
    max_strain: float = 0.08,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    **labelling: Any,
) -> dict[str, Any]:
    r"""Label strains in batches, each where an ensemble's error bar on the stress is largest.

    .. math::
        b(F) = \frac{e(F)}{\max(|P|, P_0)}

    e comes from `fit_law_ensemble` (polynomials alone) on the labels so far, P_0 is the stress
    floor. A batch takes the largest bars b among 2,048 quasi-random strains, no two strains closer
    than half the mean distance of as many points. Labelling ends when the root mean square of b
    over all 2,048 is below `target`.

    Args:
        structure, calculator, out: see `label_strains`.
        target: relative error of the stress, such as 0.01.
        samples: largest number of labels.
        batch: number of labels between two fits.
        max_strain, seed: see `sample_strains`.
        say: called with a line after each fit.
        labelling: further arguments of `label_strains` (ions, arguments, workers, ...).

    Returns:
        As `label_strains`, with "error_bars": [[labels, root mean square bar], ...] and
        "reached": whether the error bar is below the target.

    Raises:
        InputError: see `label_strains`; a target that is not positive.
    """
    if not target > 0:
        raise InputError(f"target = {target}: give a positive relative error such as 0.01")
    if batch < 1 or samples < FIRST:
        raise InputError(f"adaptive labelling needs a batch of 1 and at least {FIRST} samples")
    run = StrainLabels(structure, calculator, out, **labelling)
    strains = sample_strains(FIRST, max_strain, seed, run.group)
    pool = sample_strains(POOL, max_strain, seed + 1, run.group)
    history: list[list[float]] = []
    while True:
        # A resumed run picks the same strains again, from the same labels.
        run.label(strains)
        frames = run.frames(len(strains))
        error, bars = _error_bars(frames, run, pool, seed)
        history.append([len(frames), error])
        say(f"{len(frames)} labels: error bar {error:.2%} (root mean square)")
        reached = error < target
        size = min(batch, samples - len(strains))
        if reached or size < 1:
            break
        strains = np.concatenate([strains, _pick(pool, bars, strains, size)])
    return run.finish(len(strains)) | {"error_bars": history, "reached": reached}


def _error_bars(
    frames: list[Atoms], run: StrainLabels, pool: np.ndarray, seed: int
) -> tuple[float, np.ndarray]:
    labels = labels_of(frames, run.reference)
    law: EnsembleLaw = fit_law_ensemble(
        labels, held_out=0.0, seed=seed, use_network=False, progress=False
    )
    f = right_stretch(pool)
    size = law.response(f, 1)[1].flatten(1).norm(dim=1).clamp(min=law.stress_floor())
    bars = (law.stress_error(f) / size).numpy()
    return float(np.sqrt(np.mean(bars**2))), bars


def _pick(pool: np.ndarray, bars: np.ndarray, strains: np.ndarray, size: int) -> np.ndarray:
    x, taken = to_mandel(pool), to_mandel(strains)
    radius = np.linalg.norm(x, axis=1).max()
    apart = 0.5 * radius * (len(taken) + size) ** (-1 / 6)
    picked: list[int] = []
    for k in np.argsort(-bars):
        if np.linalg.norm(taken - x[k], axis=1).min() > apart:
            picked.append(int(k))
            taken = np.concatenate([taken, x[k : k + 1]])
        if len(picked) == size:
            break
    # Where no more strains are far enough apart, the largest bars are taken.
    rest = [int(k) for k in np.argsort(-bars) if int(k) not in picked]
    return pool[(picked + rest)[:size]].copy()
