"""Bulk and shear moduli of binary compounds under a universal potential, raw and corrected.

Against the Materials Project's (MatCalc's set, not part of this repository). The elastic constants
of an interrupted run go on from out/bench/moduli-MODEL.csv.partial.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pymatgen.core import Structure
from scipy.optimize import least_squares
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from benchmarks.structures import moduli_set
from objstress.models.corrected_tensors import ionicity
from objstress.properties import screen

SEED = 22
JUDGED, LARGE = 150, 30
"""Crystals that judge, of so many atoms at most: the time goes with the square of their number."""
FITTED, SMALL = 200, 12
"""Others that a correction is fitted to."""
WRONG = 0.6
"""Residual, in the logarithm, beyond which a crystal tells no more: some data are wrong."""
KERNEL = 0.1 * RBF([2.0] * 11, (0.3, 30.0)) + WhiteKernel(0.03)


def moduli_errors(model: str) -> dict[str, Any]:
    """Errors of K and G, and after a correction fitted to other crystals.

    K is corrected by one factor. The factor of G is linear in `inputs`, by Huber's loss, and a
    Gaussian process of its residuals; its form was chosen by cross-validation over the fitted
    crystals.
    """
    known = moduli_set()
    drawn = [known[i] for i in np.random.default_rng(SEED).permutation(len(known))]
    sizes = [len(row["structure"]["sites"]) for row in drawn]
    judges = [row for row, size in zip(drawn, sizes, strict=True) if size <= LARGE][:JUDGED]
    others = [row for row, size in zip(drawn, sizes, strict=True) if size <= SMALL]
    rows = judges + [row for row in others if row not in judges][:FITTED]
    out = Path("out/bench") / f"moduli-{model}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    structures = [Structure.from_dict(row["structure"]) for row in rows]
    named = zip((row["mp_id"] for row in rows), structures, strict=True)
    screen(sorted(named, key=lambda pair: len(pair[1])), model, out)
    true = pd.DataFrame(rows).set_index("mp_id")
    table = pd.read_csv(out).set_index("name").loc[true.index]
    found = table[["K_hill_GPa", "G_hill_GPa"]].to_numpy(float)
    wanted = true[["bulk_modulus_vrh", "shear_modulus_vrh"]].to_numpy(float)
    answered = np.isfinite(found).all(axis=1)
    judging = np.arange(len(rows)) < JUDGED
    judged, fitted = answered & judging, answered & ~judging & (wanted > 0).all(axis=1)
    off = np.log(wanted[fitted] / found[fitted])
    one = np.ones((len(rows), 1))
    factors = np.exp([one @ _robust_slopes(one[fitted], off[:, 0]), np.zeros(len(rows))]).T
    x = inputs(table[answered], [s for s, known in zip(structures, answered, strict=True) if known])
    factors[answered, 1] = np.exp(_learned(x, fitted[answered], off[:, 1]))
    result: dict[str, Any] = {
        "crystals": int(judged.sum()),
        "fitted": int(fitted.sum()),
        "unstable_or_failed": int((judging & ~answered).sum()),
    }
    for k, name in enumerate(("K", "G")):
        error = {
            "raw": np.abs(found - wanted)[judged, k],
            "corrected": np.abs(found * factors - wanted)[judged, k],
            "mean_predictor": np.abs(wanted[judged, k] - wanted[fitted, k].mean()),
        }
        result[name] = {f"{way}_mae_GPa": float(e.mean()) for way, e in error.items()} | {
            "median_relative_error": float(np.median(error["raw"] / wanted[judged, k])),
            "median_ratio": float(np.median((found / wanted)[judged, k])),
        }
    return result


def inputs(table: pd.DataFrame, structures: list[Structure]) -> np.ndarray:
    """What the factor of G depends on, (n, 11): the potential's own answer, and the composition."""

    def mean(of: str) -> list[float]:
        return [float(np.mean([getattr(x.specie, of) for x in s])) for s in structures]

    volumes = [s.volume / len(s) for s in structures]
    heavy = np.maximum(mean("is_rare_earth"), mean("is_actinoid"))
    columns = [
        np.log(table.G_hill_GPa / table.K_hill_GPa),
        [ionicity(s) for s in structures],
        np.log1p(table.universal_anisotropy),
        np.log(table.G_voigt_GPa / table.G_reuss_GPa),
        mean("is_transition_metal"),
        heavy,
        np.log(table.K_hill_GPa),
        np.log(volumes),
        mean("row"),
        mean("X"),
        mean("group"),
    ]
    x = np.array([np.asarray(c, dtype=float) for c in columns]).T
    return (x - x.mean(axis=0)) / x.std(axis=0)


def _learned(x: np.ndarray, fitted: np.ndarray, off: np.ndarray) -> np.ndarray:
    """The logarithm of the factor of all crystals, from that of those that are fitted."""
    line = np.hstack([np.ones((len(x), 1)), x])
    slopes = _robust_slopes(line[fitted], off)
    rest = np.clip(off - line[fitted] @ slopes, -WRONG, WRONG)
    process = GaussianProcessRegressor(KERNEL, random_state=0).fit(x[fitted], rest)
    return line @ slopes + process.predict(x)


def _robust_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares by Huber's loss: some crystals are wrong by a factor in one of the two."""
    start = np.zeros(x.shape[1])
    return least_squares(lambda slopes: x @ slopes - y, start, loss="huber", f_scale=0.2).x
